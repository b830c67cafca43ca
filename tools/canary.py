"""Look at the world outside the locks: every Python, the newest releases, links to the outside.

`make canary [LOOKS="links sphinx"]`; all looks without any named. Each look works in a copy of the
course under _build/canary/ and writes what it does to a log there; after a failure the others go
on. What resolves freely turns red by the calendar: no part of `make test` does this. It needs a
network and takes hours.
"""

import argparse
import functools
import html
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import requires
from pathlib import Path
from time import perf_counter

from packaging.requirements import Requirement
from project import BUILD, LOCKED, ROOT, address, files, published_site, read, run_tool, write

COPIES = BUILD / "canary"
PYTHONS = ("3.11", "3.12", "3.13")
# The parts of `make test` that depend on what is installed; linters of tomorrow are another matter.
PARTS = ("book", "unit64", "notebooks", "ledger", "unit32", "once")
LIBRARY_PARTS = ("unit64", "ledger", "unit32")


class Finding(Exception):
    """What a look has found to be wrong."""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """What a command prints, also to the end of its copy's log; a finding if it fails."""
    outside = {k: v for k, v in os.environ.items() if k not in {*LOCKED, "MAKEFLAGS", "MAKELEVEL"}}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=outside,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    shown = " ".join(map(str, command))
    COPIES.mkdir(parents=True, exist_ok=True)
    with (COPIES / f"{cwd.name}.log").open("a", encoding="utf-8") as log:
        log.write(f"$ {shown}\n{done.stdout}")
    if done.returncode:
        raise Finding(f"{shown}\n" + "\n".join(done.stdout.splitlines()[-40:]))
    return done.stdout


def uv(*arguments: str | Path, cwd: Path = ROOT) -> str:
    """Run uv."""
    return run(sys.executable, "-m", "uv", *arguments, cwd=cwd)


def copy(name: str) -> Path:
    """A new copy of the course, as git would have it, and nothing built in it."""
    target = COPIES / name
    shutil.rmtree(target, ignore_errors=True)
    target.with_suffix(".log").unlink(missing_ok=True)
    for path in files():
        place = target / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
    run("git", "init", "--quiet", cwd=target)
    (target / "_build").mkdir()
    return target


def interpreter(version: str) -> str:
    """A Python of this version, from this machine or fetched."""
    try:
        return uv("python", "find", version).strip().splitlines()[-1]
    except Finding:
        uv("python", "install", version)
        return uv("python", "find", version).strip().splitlines()[-1]


def environment(course: Path, *requirements: str | Path) -> Path:
    """The Python of a new environment of a copy, with the course in it; uv chooses the versions."""
    python = course / ".venv" / "bin" / "python"
    uv("venv", "--quiet", "--seed", "--python", interpreter(PYTHONS[-1]), ".venv", cwd=course)
    chosen = ("--upgrade", "--editable", ".[book]", *requirements)
    uv("pip", "install", "--quiet", "--python", python, *chosen, cwd=course)
    return python


def check(course: Path, python: Path, parts: Iterable[str]) -> None:
    """Run parts of the tests in a copy."""
    run(python, "tools/check.py", *parts, cwd=course)


def whole(version: str) -> None:
    """Both commands, with the lock, on one Python."""
    course, chosen = copy(f"python{version}"), f"PYTHON={interpreter(version)}"
    for command in ("test", "book"):
        run("make", command, chosen, cwd=course)


def newest() -> None:
    """The newest JAX and the newest of the rest."""
    course = copy("newest")
    check(course, environment(course, "--group", "dev"), PARTS)


def lowest() -> None:
    """The newest JAX with the oldest of the rest that the library and its chapters allow."""
    course = copy("lowest")
    plainly = ("--quiet", "--no-header", "--no-annotate", "--python-version", PYTHONS[-1])
    write(course / "_build" / "jax.in", "jax\n")
    found = uv("pip", "compile", *plainly, "_build/jax.in", cwd=course)
    (jax,) = re.findall(r"^jax==\S+$", found, re.MULTILINE)
    write(course / "_build" / "jax.txt", f"{jax}\n")
    oldest = ("--resolution", "lowest-direct", "--constraint", "_build/jax.txt")
    wheels = ("--only-binary", ":all:", "--output-file", "_build/lowest.txt")
    uv("pip", "compile", *plainly, "pyproject.toml", "--extra=book", *oldest, *wheels, cwd=course)
    python = environment(course, "--group", "dev", "--constraint", "_build/lowest.txt")
    check(course, python, LIBRARY_PARTS)


def sphinx() -> None:
    """The book on the newest Sphinx and themes, without Jupyter Book's pins: the same numbers."""
    course = copy("sphinx")
    groups = tomllib.loads(read(ROOT / "pyproject.toml"))["dependency-groups"]
    asked = [line for line in [*groups["build"], *groups["dev"]] if isinstance(line, str)]
    book = [line for line in asked if Requirement(line).name == "jupyter-book"]
    needed = [Requirement(line) for line in requires("jupyter-book") or []]
    unpinned = [one.name for one in needed if one.marker is None]
    python = environment(course, *(line for line in asked if line not in book), *unpinned)
    pip = ("pip", "install", "--quiet", "--python", python)
    uv(*pip, "--no-deps", *book, cwd=course)
    run(python, "tools/book.py", "--as-stored", cwd=course)
    before, after = (numbers(site(place)) for place in (rendered(), course))
    if before != after:
        pages = [page for page in before | after if before.get(page) != after.get(page)]
        shown = [f"{page}: {before.get(page)} became {after.get(page)}" for page in sorted(pages)]
        raise Finding("the statements have other numbers\n" + "\n".join(shown))


@functools.cache
def rendered() -> Path:
    """A copy whose site is rendered with the versions of the lock."""
    course = copy("locked")
    run(sys.executable, "tools/book.py", "--as-stored", cwd=course)
    return course


def site(course: Path) -> dict[str, str]:
    """The pages of a copy's site."""
    folder = course / "_build" / "html"
    return {str(p.relative_to(folder)): read(p) for p in sorted(folder.rglob("*.html"))}


def numbers(pages: dict[str, str]) -> dict[str, list[str]]:
    """The numbers of statements and figures, page by page, where there are any."""
    caption = re.compile(r'<span class="caption-number">\s*([^<]*?)\s*</span>')
    found = {page: caption.findall(text) for page, text in pages.items()}
    return {page: shown for page, shown in found.items() if shown}


def links() -> None:
    """Links from the site and from the papers beside it to the outside: each leads somewhere."""
    course = rendered()
    papers = {name: read(ROOT / name) for name in ("README.md", "CONTRIBUTING.md", "CITATION.cff")}
    found = outward(site(course) | papers, ours())
    if not found:
        raise Finding("the site has no link to the outside")
    with ThreadPoolExecutor(8) as pool:
        verdicts = dict(zip(found, pool.map(verdict, found), strict=True))
    unsure = [f"{link}: {said}" for link, (good, said) in verdicts.items() if good is None]
    print("\n".join(["look at these yourself:", *unsure]) if unsure else "", flush=True)
    if bad := [
        f"{k} in {found[k]}: {said}" for k, (good, said) in verdicts.items() if good is False
    ]:
        raise Finding("links that lead nowhere\n" + "\n".join(bad))


def ours() -> tuple[str, str]:
    """What the addresses of this repository and of its site have in them."""
    path = address().removeprefix("https://github.com/")
    return path, published_site(*path.split("/"))


def outward(texts: dict[str, str], ours: tuple[str, ...]) -> dict[str, str]:
    """The addresses that texts link to, each with the first text that does; not our own."""
    link = re.compile(r"""href="(https?://[^"]+)"|\]\((https?://[^)\s]+)\)|<(https?://[^>\s]+)>""")
    found: dict[str, str] = {}
    for name, text in texts.items():
        for match in link.finditer(text):
            target = html.unescape(next(filter(None, match.groups()))).partition("#")[0]
            if not any(own in target for own in ours):
                found.setdefault(target, name)
    return found


def verdict(link: str) -> tuple[bool | None, str]:
    """Whether an address leads somewhere; None if its host does not say so to a program."""
    said = ""
    for _ in range(2):
        asked = urllib.request.Request(link, headers={"User-Agent": "Mozilla/5.0 (a link check)"})
        try:
            with urllib.request.urlopen(asked, timeout=30):
                return True, "leads somewhere"
        except urllib.error.HTTPError as error:
            said = f"{error.code} {error.reason}"
            error.close()
            if error.code in (404, 410):
                return False, said
        except OSError as error:
            said = str(error)
    return (None if said[:1].isdigit() else False), said


LOOKS: dict[str, Callable[[], None]] = {
    **{f"python{version}": functools.partial(whole, version) for version in PYTHONS},
    "newest": newest,
    "lowest": lowest,
    "sphinx": sphinx,
    "links": links,
}


def main() -> int:
    """Take the looks asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("look", nargs="*", help=" ".join(LOOKS))
    asked = parser.parse_args().look or list(LOOKS)
    if unknown := set(asked) - LOOKS.keys():
        parser.error(f"no such look: {', '.join(sorted(unknown))}; there are {' '.join(LOOKS)}")
    found = {}
    for name in asked:
        print(f"... {name}", flush=True)
        start = perf_counter()
        try:
            LOOKS[name]()
        except Finding as finding:
            found[name] = str(finding)
        seen = "FOUND SOMETHING" if name in found else "well"
        print(f"=== {name}: {seen}, {perf_counter() - start:.0f} s", flush=True)
    for name, what in found.items():
        print(f"\n=== {name}\n{what}")
    print(f"\n{len(asked) - len(found)} looks well, {len(found)} found something; logs: {COPIES}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(run_tool("canary", main))
