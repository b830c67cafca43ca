"""What the scripts share: files in UTF-8, written whole or not at all, and what stops a tool."""

import ast
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import adopt
import nbformat
import project
import pytest
from project import ROOT, Obstacle, read, write
from sqlalchemy.exc import OperationalError

import book

pytestmark = pytest.mark.once


# How files are written


def test_what_is_written_is_read_again_to_the_byte(tmp_path):
    path = tmp_path / "f"
    for content in ["λ ≤ 1\n", "a\r\nb\rc", ""]:
        write(path, content)
        assert (path.read_bytes(), read(path)) == (content.encode(), content)
    write(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"


def test_a_file_keeps_its_mode_and_a_link_its_end(tmp_path):
    path, link = tmp_path / "f", tmp_path / "link"
    write(path, "a")
    assert path.stat().st_mode == (tmp_path / "f").stat().st_mode
    path.chmod(0o750)
    link.symlink_to(path)
    write(link, "b")
    assert link.is_symlink() and read(path) == "b"
    assert path.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("stage", ["fsync", "open"])
def test_a_refused_file_is_left_as_it_was_and_named(stage, monkeypatch, tmp_path):
    path = tmp_path / "f"
    write(path, "old")

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "another path")

    monkeypatch.setattr(*(project.os, "fsync") if stage == "fsync" else (Path, "open"), refuse)
    with pytest.raises(OSError) as refused:
        write(path, "new")
    monkeypatch.undo()
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(path))
    assert read(path) == "old" and os.listdir(tmp_path) == ["f"]


def test_a_file_that_must_not_be_written_is_not_replaced(monkeypatch, tmp_path):
    path, opened = tmp_path / "f", Path.open
    write(path, "old")

    def refuse(self, mode="r", **options):
        if self == path and "+" in mode:  # as root may write everything, its mode would not do
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return opened(self, mode, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError) as refused:
        write(path, "new")
    assert refused.value.filename == str(path) and read(path) == "old"


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "f"
    write(path, "old")
    program = (
        "import os, signal, sys, pathlib, project\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "project.write(pathlib.Path(sys.argv[1]), 'new' * 10**6)"
    )
    killed = subprocess.run([sys.executable, "-c", program, path], cwd=ROOT / "tools")
    assert killed.returncode == -signal.SIGKILL
    assert read(path) == "old"
    (rest,) = set(os.listdir(tmp_path)) - {"f"}
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", rest], cwd=ROOT)
    assert ignored.returncode == 0, f"{rest} would be taken for a file of the course"


# No file in the encoding of one machine, none truncated before it is written

NOT_FILES = {"Image", "archive", "os", "tarfile", "webbrowser"}  # whose `open` is another function


def careless(source: str, *, whole: bool) -> Iterator[str]:
    """The calls that leave the encoding to the machine, and, if `whole`, those that write in place.

    What is written whole is written by `project.write`.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        owned_by = owner.id if isinstance(owner, ast.Name) else ""
        given = {word.arg: word.value for word in node.keywords}
        where = f"line {node.lineno}: {ast.unparse(node)[:80]}"
        mode = ""
        if name == "fdopen" or (name == "open" and owned_by not in NOT_FILES):
            # `open(path, mode)`, but `path.open(mode)`.
            place = 0 if owner is not None and owned_by not in {"os", "io"} else 1
            stated = given.get("mode", node.args[place] if len(node.args) > place else None)
            mode = ast.literal_eval(stated) if stated is not None else "r"
        truncates = name in {"write_text", "write_bytes"} or (set(mode) & set("wax+"))
        if whole and (truncates or (owned_by, name) == ("nbformat", "write")):
            yield f"{where}: in place"
        text = name in {"read_text", "write_text"} or (mode and "b" not in mode)
        decoded = name != "decode" and any(  # the grading's own protocol
            word in given and ast.unparse(given[word]) == "True"
            for word in ("text", "universal_newlines")
        )
        if (text or decoded) and "encoding" not in given:
            yield f"{where}: no encoding"


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("path.read_text()", ["no encoding"]),
        ("open(path)", ["no encoding"]),
        ("path.open()", ["no encoding"]),
        ("path.open(newline='')", ["no encoding"]),
        ("io.open(path, 'r')", ["no encoding"]),
        ("subprocess.run(command, text=True)", ["no encoding"]),
        ("path.write_text('a')", ["in place", "no encoding"]),
        ("open(path, 'w')", ["in place", "no encoding"]),
        ("open(path, mode='x')", ["in place", "no encoding"]),
        ("path.open('a', newline='')", ["in place", "no encoding"]),
        ("os.fdopen(3, 'w')", ["in place", "no encoding"]),
        ("path.write_text('a', encoding='utf-8')", ["in place"]),
        ("path.write_bytes(b'a')", ["in place"]),
        ("open(path, 'wb')", ["in place"]),
        ("path.open('ab')", ["in place"]),
        ("path.open('r+b')", ["in place"]),
        ("nbformat.write(notebook, path)", ["in place"]),
        ("path.read_text(encoding='utf-8')", []),
        ("path.open('rb')", []),
        ("open(path, 'rb')", []),
        ("Image.open(path)", []),
        ("os.open(path, os.O_RDONLY)", []),
        ("nodes.literal(text=name)", []),
        ("subprocess.run(command, encoding='utf-8')", []),
        ("project.write(path, 'a')", []),
    ],
)
def test_a_careless_call_is_seen(source, faults):
    assert [fault.rpartition(": ")[2] for fault in careless(source, whole=True)] == faults
    # What a test writes for itself may be written in place.
    unread = [fault.rpartition(": ")[2] for fault in careless(source, whole=False)]
    assert unread == [fault for fault in faults if fault != "in place"]


FOLDERS = ("lib", "tools", "tests", "book/_ext")
SOURCES = [
    path
    for path in project.files()
    if path.suffix == ".py" and any(path.is_relative_to(ROOT / folder) for folder in FOLDERS)
]


# What `project.write` opens takes the other's place, or is only opened; a log grows.
IN_PLACE = {
    ("tools/project.py", "beside.open('wb')"),
    ("tools/project.py", "target.open('r+b')"),
    ("lib/ntklab/operators.py", "new.open('w', encoding='utf-8')"),  # likewise
    (
        "tools/benchmark/worker.py",
        "Path('/proc/self/clear_refs').write_text('5', encoding='ascii')",
    ),
    ("tools/grading/judge.py", "place.write_bytes(content)"),  # in a folder made for it
    ("tools/canary.py", "(COPIES / f'{cwd.name}.log').open('a', encoding='utf-8')"),
}


def test_no_file_is_read_or_written_carelessly():
    """Tests make their own files, to be thrown away: these may be written in place."""
    names = {path: path.relative_to(ROOT).as_posix() for path in SOURCES}
    assert {name.split("/")[0] for name in names.values()} == {"lib", "tools", "tests", "book"}
    found = [
        f"{name}, {fault}"
        for path, name in names.items()
        for fault in careless(read(path), whole=not name.startswith("tests/"))
        if not any(name == file and f": {call}: in" in fault for file, call in IN_PLACE)
    ]
    assert not found, "\n".join(found)


LATIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # ASCII: less than Latin-1


# What a full disk does, within reach of a test: nothing longer is written. The limit is set by a
# Python that becomes the script's: JAX warns of a process that forks, wherever it runs.
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def run_script(
    root: Path, name: str, *arguments: str | Path, longest_file: int | None = None, **options
):
    """A script of `root`, as the Makefile calls it, under a locale that lacks most letters."""
    environment = {**os.environ, **LATIN, **options.pop("env", {})}
    limited = [] if longest_file is None else ["-c", LIMITED, str(longest_file)]
    return subprocess.run(
        [sys.executable, *limited, root / "tools" / name, *arguments],
        env=environment,
        encoding="utf-8",
        errors="replace",
        capture_output=True,
        **options,
    )


@pytest.fixture
def chapter(tmp_path) -> Path:
    """A notebook that says more than Latin letters can."""
    cells = [
        nbformat.v4.new_markdown_cell("σ ≤ λ"),
        nbformat.v4.new_code_cell("print('λ ≤ σ' * 40_000)"),
    ]
    path = tmp_path / "chapter.ipynb"
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)), encoding="utf-8")
    return path


def test_a_notebook_is_executed_where_the_locale_lacks_its_letters(chapter):
    done = run_script(ROOT, "notebooks.py", chapter)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "λ ≤ σ" in nbformat.read(chapter, as_version=4).cells[1].outputs[0].text


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_a_notebook_that_finds_no_room_stays_and_is_named(chapter):
    before = chapter.read_bytes()
    done = run_script(ROOT, "notebooks.py", chapter, longest_file=200_000)
    assert one_line(done) == f"make notebooks: {chapter}: File too large"
    assert chapter.read_bytes() == before
    assert [path.name for path in chapter.parent.iterdir()] == ["chapter.ipynb"]


# Where a tool cannot do its work


@pytest.fixture
def course(tmp_path) -> Path:
    """The scripts, and what `make adopt` needs, as a download has them: no repository."""
    root = tmp_path / "course"
    shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "_config.yml", root)
    write(root / "README.md", f"{project.address()} ≤\n")
    write(root / "requirements.lock", "")
    return root


NEW = "https://github.com/someone-else/" + "a-fork"


def test_adopting_a_download_says_that_it_is_no_clone(course):
    before = read(course / "README.md")
    # No repository further up, whatever the place of the tests' files.
    above = {"GIT_CEILING_DIRECTORIES": str(course.parent)}
    line = one_line(run_script(course, "adopt.py", NEW, env=above))
    assert line.startswith("make adopt: ") and "not a git repository" in line
    assert "git clone" in line
    assert read(course / "README.md") == before


def test_adopting_someone_elses_clone_says_so(course):
    subprocess.run(["git", "init", "--quiet"], cwd=course, check=True)
    # Git's own switch for its tests: it takes the owner of the folder for another user.
    other = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "LC_ALL": "C"}
    line = one_line(run_script(course, "adopt.py", NEW, env=other))
    assert line.startswith("make adopt: ") and "dubious ownership" in line
    assert f"git config --global --add safe.directory {course}" in line


def test_git_is_understood_where_it_speaks_another_language(course, tmp_path):
    git = tmp_path / "git"
    english = "fatal: detected dubious ownership in repository"
    write(git, f'#!/bin/sh\n[ "$LC_ALL" = C ] && echo "{english}" >&2\nexit 128\n')
    git.chmod(0o755)
    place = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "de_DE.UTF-8"}
    assert "safe.directory" in one_line(run_script(course, "adopt.py", NEW, env=place))


def test_adopting_without_git_says_so(course, tmp_path):
    line = one_line(run_script(course, "adopt.py", NEW, env={"PATH": str(tmp_path)}))
    assert line.startswith("make adopt: git") and "not installed" in line


def test_adopting_a_folder_that_git_ignores_says_so(course):
    outer = course.parent
    subprocess.run(["git", "init", "--quiet"], cwd=outer, check=True)
    write(outer / ".gitignore", "course/\n")
    line = one_line(run_script(course, "adopt.py", NEW))
    assert line.startswith("make adopt: ") and str(course / "_config.yml") in line


def test_a_wrong_address_is_one_line(course):
    assert "URL must be https://github.com/owner/name" in one_line(
        run_script(course, "adopt.py", "nonsense")
    )


def test_an_adoption_that_was_stopped_is_completed_by_another(course, monkeypatch):
    subprocess.run(["git", "init", "--quiet"], cwd=course, check=True)

    def once(path: Path, content: str) -> None:
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        written.append(path)
        write(path, content)

    written: list[Path] = []
    monkeypatch.setattr(adopt, "write", once)
    with pytest.raises(OSError):
        adopt.adopt(NEW, course)
    monkeypatch.undo()
    adopt.adopt(NEW, course)
    assert project.address(course) == NEW
    assert read(course / "README.md") == f"{NEW} ≤\n"


def test_the_book_names_what_it_cannot_write(course):
    write(course / "_build", "a file where a folder is needed")
    line = one_line(run_script(course, "book.py", "--as-stored"))
    assert line == f"make book: {course / '_build'}: File exists"


def test_the_book_names_the_data_base_that_finds_no_room(course):
    (course / "book").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), course / "book" / "chapter.ipynb")
    done = run_script(course, "book.py", longest_file=1000)
    assert one_line(done).startswith(f"make book: {course / '_build' / '.jupyter_cache'}: ")


def test_the_book_says_what_its_data_base_and_its_disk_lack(monkeypatch):
    locked = OperationalError("select", {}, Exception("attempt to write a readonly database"))

    def failing(error: Exception, cause: Exception | None) -> None:
        def build(*, as_stored: bool) -> None:
            raise error from cause

        monkeypatch.setattr(book, "build", build)
        book.main([])

    for error, cause in [(locked, None), (RuntimeError("unexpected"), locked)]:
        with pytest.raises(Obstacle, match=r"\.jupyter_cache: attempt to write a readonly"):
            failing(error, cause)
    with pytest.raises(RuntimeError, match="ours"):
        failing(RuntimeError("a fault of ours"), None)
    monkeypatch.setattr(book, "build", lambda *, as_stored: (1, {}))
    monkeypatch.setattr(book.shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(Obstacle, match="html: no space left"):
        book.main([])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Obstacle("no"), "make thing: no"),
        (
            OSError(errno.EROFS, "Read-only file system", "a/b"),
            "make thing: a/b: Read-only file sys",
        ),
    ],
)
def test_an_obstacle_is_one_line(error, line, capsys):
    def main() -> int:
        raise error

    assert project.run_tool("thing", main) == 1
    assert capsys.readouterr().err.startswith(line)


def test_a_console_that_lacks_a_letter_shows_another(capfdbinary):
    program = "import project; project.run_tool('thing', lambda: print('a ≤ b') or 0)"
    console = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT / "tools", env=console)
    assert (done.returncode, capfdbinary.readouterr()) == (0, (b"a ? b\n", b""))


@pytest.mark.parametrize("error", [OSError("nothing about a file"), ValueError("a fault of ours")])
def test_a_fault_keeps_its_traceback(error):
    def main() -> int:
        raise error

    with pytest.raises(type(error)):
        project.run_tool("thing", main)
