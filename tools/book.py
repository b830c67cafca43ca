"""Render the book to _build/html; execute only the notebooks whose text or library changed.

`python tools/book.py [--as-stored]`; with the option nothing is executed: the outputs are those
that stand in the notebooks.

As many notebooks as there are processor cores are executed at a time. Jupyter Book keeps a
notebook's outputs as long as the notebook's own code stays the same. What the outputs depend on
besides, the library, the pinned packages and the data, clears them here.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import filterfalse
from pathlib import Path
from time import perf_counter
from typing import Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor
from project import (
    BUILD,
    CELL_TIMEOUT,
    LOCKED,
    ROOT,
    SITE,
    Obstacle,
    chapters,
    one_pass,
    read,
    record,
    run_tool,
    timings,
    write,
)
from sqlalchemy.exc import OperationalError

CACHE = BUILD / ".jupyter_cache"
FINGERPRINT = BUILD / "fingerprint"
JUPYTER_BOOK = Path(sys.executable).with_name("jupyter-book")
STRICTLY = ["-W", "--keep-going", "-n"]  # warnings are errors, all shown; so are missing references


def fingerprint() -> str:
    """A digest of all that a notebook's outputs depend on besides its own text."""
    digest = hashlib.sha256(platform.python_version().encode())
    sources = [*(ROOT / "lib").rglob("*.py"), *(ROOT / "book" / "data").rglob("*")]
    for path in [ROOT / "requirements.lock", *sorted(filter(Path.is_file, sources))]:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def kept_executions() -> Iterator[Any]:
    """What Jupyter Book keeps of the notebooks' executions; its database is closed at the end."""
    cache = get_cache(CACHE)
    try:
        yield cache
    finally:
        cache.db.dispose()


def forget_stale_outputs() -> None:
    """Clear the kept outputs if the library they were computed with is another one."""
    current = fingerprint()
    if not FINGERPRINT.exists() or read(FINGERPRINT) != current:
        shutil.rmtree(CACHE, ignore_errors=True)
        BUILD.mkdir(exist_ok=True)
        write(FINGERPRINT, current)


def keep_outputs(chapter: Path, seconds: float, *, confirmed: bool = True) -> None:
    """Let the next build take a notebook's outputs as they stand.

    Those that no run has confirmed serve one build only: `forget_unconfirmed` clears them.
    """
    with kept_executions() as cache:
        cache.cache_notebook_file(
            str(chapter),
            data={"execution_seconds": seconds, "confirmed": confirmed},
            check_validity=False,
            overwrite=True,
        )


def outputs_are_kept(chapter: Path) -> bool:
    """Whether the outputs that stand in a notebook are those that are kept for its code."""
    notebook = nbformat.read(chapter, as_version=4)
    try:
        with kept_executions() as cache:
            kept = cache.get_cache_bundle(cache.match_cache_notebook(notebook).pk).nb
    except KeyError:
        return False
    return [cell.get("outputs") for cell in kept.cells if cell.cell_type == "code"] == [
        cell.outputs for cell in notebook.cells if cell.cell_type == "code"
    ]


def forget_unconfirmed() -> None:
    """Clear the kept outputs that nothing but a notebook's own word stands for."""
    if CACHE.exists():
        with kept_executions() as cache:
            for entry in cache.list_cache_records():
                if not entry.data.get("confirmed", True):
                    cache.remove_cache(entry.pk)


def kept_outputs() -> dict[int, tuple[str, float]]:
    """The executions that Jupyter Book keeps: number to (chapter, seconds)."""
    if not CACHE.exists():
        return {}
    with kept_executions() as cache:
        return {
            entry.pk: (Path(entry.uri).stem, entry.data["execution_seconds"])
            for entry in cache.list_cache_records()
        }


def execute() -> None:
    """Execute the notebooks whose outputs are not kept, and keep them.

    One that fails is left to Jupyter Book, which executes it again and reports what went wrong.
    """
    notebooks = [str(path) for path in chapters()]
    with kept_executions() as cache:
        for notebook in notebooks:
            cache.add_nb_to_project(notebook)
        executor = load_executor("local-parallel", cache)
        outcome = executor.run_and_cache(filter_uris=notebooks, timeout=CELL_TIMEOUT)
        if outcome.errored:
            # Not a cell that raises, but a kernel that did not start or a database that was
            # locked, as can happen to workers that do the same at the same time.
            executor.run_and_cache(filter_uris=outcome.errored, timeout=CELL_TIMEOUT)


def build(*, as_stored: bool = False) -> tuple[int, dict[str, float]]:
    """Build the site: Jupyter Book's exit code, and the seconds of each notebook executed."""
    forget_stale_outputs()
    forget_unconfirmed()
    os.environ.update(LOCKED | one_pass(level=1))
    if as_stored:
        for path in filterfalse(outputs_are_kept, chapters()):
            keep_outputs(path, timings().get(f"chapter {path.stem}", 0.0), confirmed=False)
    before = kept_outputs()
    if not as_stored:
        execute()
    # Every page is written anew, so that none of a removed chapter stays behind.
    shutil.rmtree(SITE, ignore_errors=True)
    start = perf_counter()
    code = subprocess.run([JUPYTER_BOOK, "build", ".", "--all", *STRICTLY], cwd=ROOT).returncode
    record({"rendering": perf_counter() - start})
    return code, dict(run for key, run in kept_outputs().items() if key not in before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, and say what was executed and where to read it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--as-stored", action="store_true", help="execute nothing")
    as_stored = parser.parse_args(arguments).as_stored
    start = perf_counter()
    try:
        code, executed = build(as_stored=as_stored)
    except (OperationalError, RuntimeError) as error:
        # Of the data base that lists the kept outputs, whose library may raise one for the other.
        cause = error if isinstance(error, OperationalError) else error.__cause__
        if not isinstance(cause, OperationalError):
            raise
        raise Obstacle(f"{CACHE}: {cause.orig}") from error
    seconds = perf_counter() - start
    print(f"Notebooks executed: {len(executed)} ({', '.join(sorted(executed)) or 'none changed'})")
    if code:
        if shutil.disk_usage(BUILD).free < 2**20:
            raise Obstacle(f"{SITE}: no space left on the disk")
        print("make book: the build failed; its warnings and errors stand above", file=sys.stderr)
        return 1
    record({f"chapter {chapter}": duration for chapter, duration in executed.items()})
    print(f"Rendered in {seconds:.0f} s. Open {(SITE / 'index.html').as_uri()} or run: make serve")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool("book", main))
