"""What the repository's scripts share: its places, its address, its files and its timings."""

import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
SITE = BUILD / "html"
TIMINGS = BUILD / "timings.json"
# Variables under which pip and uv install nothing but what a lock names, with its hash.
LOCKED = {"PIP_REQUIRE_HASHES": "1", "UV_REQUIRE_HASHES": "1"}
CELL_TIMEOUT = 600  # seconds for one cell: ten times what a whole chapter may take


class Obstacle(Exception):
    """What keeps a tool from its work and is no fault of the tool's: one line, for its user."""


def run_tool(name: str, main: Callable[[], int]) -> int:
    """The exit code of a tool's `main`; an obstacle, or a file that is refused, is one line.

    A file is refused by a disk that is full or may not be written, for example.
    """
    # A console that lacks a letter shows another one: that is no reason to stop.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return main()
    except Obstacle as obstacle:
        message = str(obstacle)
    except OSError as error:
        if error.filename is None:
            raise
        message = f"{error.filename}: {error.strerror}"
    print(f"make {name}: {message}", file=sys.stderr)
    return 1


def read(path: Path) -> str:
    """The text of a file, in UTF-8, its line ends as they are."""
    return path.read_bytes().decode()


def write(path: Path, content: str | bytes) -> None:
    """Replace what a file holds, in one step; text as UTF-8, its line ends as they are.

    Whoever reads the file meanwhile, or after the writer was killed or the disk was full, finds the
    old content or the new one, whole. An `OSError` names `path`.
    """
    target = path.resolve()  # a link goes on leading where it leads
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if target.exists():
            target.open("r+b").close()  # the file may be one that must not be written
        try:
            with beside.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def address(root: Path = ROOT) -> str:
    """The repository's address, from its one home: `repository: url:` in _config.yml."""
    url = yaml.safe_load(read(root / "_config.yml"))["repository"]["url"]
    return str(url)


def published_site(owner: str, name: str) -> str:
    """Where GitHub Pages serves the site of a repository, with a closing slash.

    A repository that has the name of its owner's host is served at the root of it.
    """
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of the book, in alphabetical order; not the problem sets' masters."""
    found = sorted((root / "book").rglob("*.ipynb"))
    others = {".ipynb_checkpoints", "problem-sets"}
    return [path for path in found if not others & {*path.parts}]


def files(root: Path = ROOT) -> list[Path]:
    """The files that are in git or would be: tracked or new, and not ignored.

    Raises:
        Obstacle: without git, outside of a repository, or in one that git does not trust.
    """
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(
            listing, cwd=root, capture_output=True, env={**os.environ, "LC_ALL": "C"}
        )
    except FileNotFoundError as error:
        missing = "git, which knows the course's files, is not installed"
        raise Obstacle(missing) from error
    if done.returncode:
        cause = os.fsdecode(done.stderr).removeprefix("fatal: ").partition("\n")[0]
        if "dubious ownership" in cause:
            cause += f"; if you trust it: git config --global --add safe.directory {root}"
        elif not (root / ".git").exists():
            cause += "; a download is no clone: get the course with git clone"
        raise Obstacle(f"git does not list the course's files: {cause}")
    names = sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name})
    return [root / name for name in names if (root / name).is_file()]


def text_files(root: Path = ROOT) -> dict[Path, str]:
    """The text of each of these files that is text in UTF-8, line ends as they are."""
    texts = {}
    for path in files(root):
        try:
            texts[path] = read(path)
        except UnicodeDecodeError:
            continue
    return texts


def timings() -> dict[str, Any]:
    """The seconds measured so far, by what was measured; empty before the first run."""
    return json.loads(read(TIMINGS)) if TIMINGS.exists() else {}


def record(measured: dict[str, float]) -> None:
    """Add measured seconds to the timings."""
    BUILD.mkdir(exist_ok=True)
    merged = {**timings(), **{name: round(seconds, 1) for name, seconds in measured.items()}}
    write(TIMINGS, json.dumps(merged, indent=1, sort_keys=True) + "\n")


def one_pass(level: int) -> dict[str, str]:
    """Variables for work whose programs run once each: compiling them is what takes time.

    At `level` 1 XLA leaves out the costly half of its optimizations, at 0 nearly all of them. To
    compile what the tests of `tangent_kernel` need took 0.53 and 0.29 of the time at level 3.
    """
    # One core compiles a program and computes its linear algebra; the other has work of its own,
    # and threads that wait for one another on a busy core cost more than the work.
    flags = [
        "--xla_cpu_parallel_codegen_split_count=1",
        f"--xla_backend_optimization_level={level}",
    ]
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        # Later versions do not know the flag and refuse to start.
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return {"XLA_FLAGS": " ".join(flags), "OPENBLAS_NUM_THREADS": "1"}
