"""The canary's own reasoning; what it looks at is outside, and no part of these tests."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import canary
import check
import pytest
from project import ROOT, address, read

pytestmark = pytest.mark.once


def test_no_part_of_the_tests_takes_a_look():
    assert not [part for part in check.PARTS if "canary" in " ".join(part.command)]
    assert "canary" not in read(ROOT / ".ci" / "run")
    rules = re.findall(r"^([\w $()]+):([^=#\n]*)", read(ROOT / "Makefile"), re.MULTILINE)
    assert not [rule for rule in rules if "canary" in rule[1]]
    assert ("canary", " env ") in rules


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The commands of a look, each as one line, in place of running them."""
    called = []

    def run(*command, cwd=ROOT):
        called.append(" ".join(map(str, command)))
        if "compile" in command:
            return "jax==9.9.9\njaxlib==9.9.9\n"
        return "Python\n/some/python\n" if "find" in command else ""

    def copy(name):
        (tmp_path / name / "_build" / "html").mkdir(parents=True, exist_ok=True)
        return tmp_path / name

    monkeypatch.setattr(canary, "run", run)
    monkeypatch.setattr(canary, "copy", copy)
    canary.rendered.cache_clear()
    yield called
    canary.rendered.cache_clear()


def steps(commands: list[str], word: str) -> list[str]:
    return [command for command in commands if word in command]


@pytest.mark.parametrize("python", canary.PYTHONS)
def test_every_python_runs_both_commands(python, commands):
    canary.LOOKS[f"python{python}"]()
    assert steps(commands, "find")[0].endswith(f"find {python}")
    assert steps(commands, "make") == [
        "make test PYTHON=/some/python",
        "make book PYTHON=/some/python",
    ]


def test_the_newest_of_everything_is_chosen_freely(commands):
    canary.newest()
    (install,) = steps(commands, " install ")
    assert "--upgrade --editable .[book] --group dev" in install
    assert not re.search(r"constraint|hashes|\.lock", install)
    (checked,) = steps(commands, "check.py")
    assert set(checked.split()[2:]) == set(canary.PARTS) <= {part.name for part in check.PARTS}


def test_the_oldest_of_the_rest_meets_the_newest_jax(commands, tmp_path):
    canary.lowest()
    first, second = steps(commands, "compile")
    assert "pyproject" not in first and "lowest" not in first
    assert read(tmp_path / "lowest" / "_build" / "jax.txt") == "jax==9.9.9\n"
    assert "--resolution lowest-direct --constraint _build/jax.txt" in second
    assert "--constraint _build/lowest.txt" in steps(commands, " install ")[0]
    (checked,) = steps(commands, "check.py")
    assert set(checked.split()[2:]) == set(canary.LIBRARY_PARTS)
    assert set(canary.LIBRARY_PARTS) <= {part.name for part in check.PARTS}


def test_the_newest_sphinx_comes_without_jupyter_books_pins(commands):
    canary.sphinx()
    chosen, book = steps(commands, " install ")
    assert "jupyter-book" not in chosen and "--no-deps jupyter-book" in book
    assert {"sphinx", "myst-parser", "sphinx-book-theme"} <= set(chosen.split())
    assert len(steps(commands, "tools/book.py --as-stored")) == 2  # here and there


def test_other_numbers_of_statements_are_found(commands, monkeypatch):
    page = '<p><span class="caption-number">{} </span>Title</p>'
    pages = {"locked": {"a.html": page.format("Theorem 1.1"), "b.html": "no statement"}}
    monkeypatch.setattr(canary, "site", lambda course: pages[course.name])
    pages["sphinx"] = {"a.html": page.format("Theorem 1.1"), "c.html": ""}
    canary.sphinx()
    pages["sphinx"] = {"a.html": page.format("Theorem 1.2")}
    with pytest.raises(canary.Finding, match=r"a\.html: \['Theorem 1\.1'\] became \['Theorem 1"):
        canary.sphinx()


def test_links_to_the_outside_are_those_that_a_reader_follows():
    texts = {
        "a.html": '<a href="https://a.org/x?a=1&amp;b=2#part">a</a> <img src="https://b.org/b.png">'
        '<a href="other.html">b</a> <a href="https://github.com/own/it/issues">c</a>',
        "README.md": "[a](https://a.org/x?a=1&b=2) <https://c.org/> https://d.org",
    }
    assert canary.outward(texts, ("own/it", "own.github.io/it/")) == {
        "https://a.org/x?a=1&b=2": "a.html",
        "https://c.org/": "README.md",
    }
    assert not canary.outward({"a.html": f'<a href="{address()}/issues">'}, canary.ours())


@contextmanager
def host():
    """A host on this machine whose pages answer with the number that is their name."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            code = int(self.path.strip("/"))
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "/200")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Nothing: the tests print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("page", "good"),
    [(200, True), (302, True), (404, False), (410, False), (403, None), (500, None)],
)
def test_a_link_leads_somewhere_or_nowhere_or_its_host_does_not_say(page, good):
    with host() as there:
        seen, said = canary.verdict(f"{there}/{page}")
    assert seen is good and (good or said.startswith(str(page)))


def test_a_link_to_no_host_leads_nowhere():
    with host() as there:
        pass
    assert canary.verdict(f"{there}/200")[0] is False


def test_links_that_lead_nowhere_are_named_with_their_page(commands, monkeypatch, capsys):
    pages = {
        "a.html": '<a href="https://good.org"> <a href="https://bad.org"> <a href="https://shy.org">'
    }
    said = {"https://good.org": True, "https://bad.org": False, "https://shy.org": None}
    monkeypatch.setattr(canary, "site", lambda course: pages)
    monkeypatch.setattr(canary, "verdict", lambda link: (said.get(link, True), "said"))
    with pytest.raises(canary.Finding, match=r"nowhere\nhttps://bad\.org in a\.html: said$"):
        canary.links()
    assert "https://shy.org: said" in capsys.readouterr().out


def test_a_finding_stops_no_other_look_and_fails_the_whole(monkeypatch, capsys):
    def finds():
        raise canary.Finding("it broke")

    looks = {"first": finds, "second": lambda: None}
    monkeypatch.setattr(canary, "LOOKS", looks)
    monkeypatch.setattr("sys.argv", ["canary.py"])
    assert canary.main() == 1
    out = capsys.readouterr().out
    assert "=== first: FOUND SOMETHING" in out and "=== second: well" in out and "it broke" in out
    monkeypatch.setattr("sys.argv", ["canary.py", "second"])
    assert canary.main() == 0
    monkeypatch.setattr("sys.argv", ["canary.py", "third"])
    with pytest.raises(SystemExit):
        canary.main()
    assert "no such look: third" in capsys.readouterr().err


def test_a_command_that_fails_is_a_finding_with_what_it_said(monkeypatch, tmp_path):
    monkeypatch.setattr(canary, "COPIES", tmp_path)
    monkeypatch.setenv("PIP_REQUIRE_HASHES", "1")
    shown = canary.run("sh", "-c", "echo ${PIP_REQUIRE_HASHES:-free}", cwd=tmp_path)
    assert shown == "free\n"  # here, and here alone, what resolves freely may
    with pytest.raises(canary.Finding, match="odd"):
        canary.run("sh", "-c", "echo odd; exit 3", cwd=tmp_path)
    assert "odd" in read(tmp_path / f"{tmp_path.name}.log")
