"""What students must not see, looked for in whatever they get.

`python -m problem_sets.gate PATH …` reads every file of the folders: notebooks and their metadata,
pages, search indexes, wheels, zips, EPUBs within zips, PDFs; and fails for a canary, a marker of
otter's, or a line of a solution, a rubric or a hidden test, marked or not.
"""

import argparse
import base64
import binascii
import html
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import nbformat
from project import ROOT, Obstacle, chapters, read, run_tool

from problem_sets import master

_MARKER = re.compile(
    r"#(?:BEGIN|END)(?:QUESTION|SOLUTION|TESTS?|PROMPT|TESTCONFIG|IGNORE)|#ASSIGNMENTCONFIG"
    r"|#VARIANTS|VARIANT_[qw]\d|<!--(?:BEGIN|END)QUESTION|grader\.check|otter_assign|otter_answer_cell|test_case\(points="
)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\[nrt]|\\(.)")
_ENCODED = re.compile(rb"[A-Za-z0-9+/]{64,}={0,2}")
_ARCHIVES = 4  # archives within archives


def findings(paths: Iterable[Path], masters: Iterable[master.Master]) -> Iterator[str]:
    """What must not be there, as `file: what`."""
    known = _public_text()
    secrets = {line: made.name for made in masters for line in made.secrets() if line not in known}
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        if not files:
            raise Obstacle(f"{path}: there is nothing to look at")
        for file in files:
            if file.is_symlink():
                raise Obstacle(f"{file}: a link, which is not followed")
            if file.is_file():
                for name, content in opened(str(file), file.read_bytes()):
                    yield from (f"{name}: {what}" for what in _found(content, secrets))


@cache
def _public_text() -> str:
    """The library and the chapters, packed: a line that stands there is no secret."""
    sources = [read(path) for path in (ROOT / "lib").rglob("*.py")]
    for path in chapters():
        sources += [cell.source for cell in nbformat.read(path, as_version=4).cells]
    return re.sub(r"\s+", "", "\n".join(sources))


def require_clean(paths: Iterable[Path], masters: Iterable[master.Master]) -> None:
    """Raise an Obstacle that lists what is found."""
    if found := list(findings(paths, masters)):
        more = f"\n… and {len(found) - 10} more" if len(found) > 10 else ""
        raise Obstacle("students would see what they must not:\n" + "\n".join(found[:10]) + more)


def opened(name: str, content: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """A file and, if it is an archive or compressed, what is in it."""
    yield name, content
    if depth > _ARCHIVES:
        raise Obstacle(f"{name}: archives within archives, too many to look at")
    inside: list[tuple[str, bytes]] = []
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = [(item.filename, archive.read(item)) for item in archive.infolist()]
            inside += [("names", "\n".join(archive.namelist()).encode())]
    elif content.startswith(b"\x1f\x8b"):
        inside = [("unpacked", zlib.decompress(content, wbits=47))]
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as archive_:
            for member in archive_:
                if stream := archive_.extractfile(member):
                    inside.append((member.name, stream.read()))
    elif content.startswith(b"%PDF"):
        inside = [("text", _pdf(name, content))]
    for part, bytes_ in inside:
        yield from opened(f"{name}/{part}", bytes_, depth + 1)


def _pdf(name: str, content: bytes) -> bytes:
    """The text of a PDF: its glyphs are numbers, which only a reader of PDFs turns into letters."""
    reader = shutil.which("pdftotext")
    if reader is None:
        raise Obstacle(f"{name}: to look into a PDF pdftotext must be installed (poppler-utils)")
    done = subprocess.run([reader, "-", "-"], input=content, capture_output=True)
    if done.returncode:
        raise Obstacle(f"{name}: pdftotext does not read it")
    return done.stdout


def _found(content: bytes, secrets: dict[str, str]) -> list[str]:
    """What one file's bytes hold of the forbidden, in any of the forms that texts take."""
    texts = [content.decode("utf-8", errors="replace")]
    for run in _ENCODED.findall(content):
        try:
            texts.append(base64.b64decode(run, validate=True).decode("utf-8", errors="ignore"))
        except binascii.Error:
            continue
    found = []
    for text in texts:
        unescaped = _ESCAPE.sub(_unescape, text)
        plain = html.unescape(re.sub(r"<[^<>]*>", "", unescaped))
        for form in (text, unescaped, plain):
            packed = re.sub(r"\s+", "", form)
            if master.CANARY in packed.lower():
                found.append("the canary")
            if marker := _MARKER.search(packed):
                found.append(f"the marker {marker[0]}")
            found += [f"a secret line of {secrets[line]}" for line in secrets if line in packed]
    return sorted(set(found))


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code:
        return chr(int(code, 16))
    return match[3] or "\n"


def main() -> int:
    """Look into the files and folders named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m problem_sets.gate", description=__doc__)
    parser.add_argument("path", nargs="+", type=Path)
    paths = parser.parse_args().path
    seed = os.environ.get("TERM_SEED", "")
    require_clean(paths, [master.load(name, seed) for name in master.names()])
    print(f"Nothing that students must not see in {', '.join(map(str, paths))}")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool("gate", main))
