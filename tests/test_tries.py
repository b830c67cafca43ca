"""What a chapter invites its readers to run is found, changed and run."""

import re

import nbformat
import pytest
import tries
from IPython.core.interactiveshell import InteractiveShell

pytestmark = pytest.mark.once


def notebook(*cells):
    """A notebook of code cells, and of Markdown cells where a text begins with M."""
    new = {True: nbformat.v4.new_markdown_cell, False: nbformat.v4.new_code_cell}
    return nbformat.v4.new_notebook(
        cells=[new[text[0] == "M"](text.removeprefix("M ")) for text in cells]
    )


def changed(source, code):
    (extra,) = tries.extras(notebook(source, f"M **Try** `{code}`: look."), "chapter")
    return extra.source


@pytest.mark.parametrize(
    ("source", "code", "expected"),
    [
        ("m = 4\nprint(m)", "m = 64", "m = 64\nprint(m)"),
        ("m, d = 4, 10", "m = 64", "m, d = 64, 10"),
        ("m, d = 4, 10", "d = 2; m = 8", "m, d = 8, 2"),
        ("draw(m=[1, 2],\n     n=3)", "m = [8]", "draw(m=[8],\n     n=3)"),
        ("def f():\n    β = 'é'; m = 1", "m = 2", "def f():\n    β = 'é'; m = 2"),
        # An assignment comes before the keyword arguments of the same name.
        ("m = 1\nf(m=m)\ng(m=m)", "m = 2", "m = 2\nf(m=m)\ng(m=m)"),
        ("run(3)", "run(4)", "run(3)\nrun(4)"),
        ("run(3)", "m = 1; run(m)", "run(3)\nm = 1; run(m)"),
        ("run(3)", "import math", "run(3)\nimport math"),
    ],
)
def test_a_cell_is_changed_as_its_try_says(source, code, expected):
    assert changed(source, code) == expected


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["m = 4", "M **Try** `n = 1`: look."], "cell 1, Try `n = 1`: the cell above has no n"),
        (["m = 4", "M **Try** `m = 4`: look."], "cell 1, .* m has this value"),
        (["f(m=1)\nf(m=2)", "M **Try** `m = 3`"], "cell 1, .* has m = … 2 times"),
        (["for m in (1, 2): f(m)", "M **Try** `m = 3`"], "cell 1, .* has no m"),
        (["m = 4", "M **Try** something else."], "cell 1: a Try must have its code in backticks"),
        (["m = 4", "M text", "M **Try** `m = 3`"], "cell 2, .* right below a code cell"),
        (["M **Try** `m = 3`"], "cell 0, .* right below a code cell"),
        (["m = 4", "M **Try** `m =`"], "cell 1, .* must be Python, got 'm ='"),
        (["m = 4", "M **Try** `# m`"], "cell 1, .* code that does something"),
        (
            ["M :::{solution} ex-a\n\n```python\nm =\n```\n:::"],
            "cell 0, solution ex-a: must be Python",
        ),
    ],
)
def test_a_try_that_cannot_be_run_is_named(cells, message):
    with pytest.raises(ValueError, match=f"^chapter, {message}"):
        tries.extras(notebook(*cells), "chapter")


SOLUTIONS = """M :::{exercise} ★ One
:label: ex-a

```python
not_run
```
:::

:::{solution} ex-a
:class: dropdown

```python
a = 1
```

and then, with `code` in the line,

```python
b = a
```
:::

::::{solution} ex-b

No code.
::::

::::{solution} ex-c
```sh
not python
```
```python
c = 3
```
::::"""


def test_solutions_run_behind_the_last_cell_each_as_one():
    found = tries.extras(notebook("x = 0", SOLUTIONS, "y = 0"), "chapter")
    assert [(extra.after, extra.source) for extra in found] == [
        (1, "a = 1\n\nb = a\n"),
        (1, "c = 3\n"),
    ]
    assert [extra.where for extra in found] == [
        "chapter, cell 1, solution ex-a",
        "chapter, cell 1, solution ex-c",
    ]


def test_only_a_cell_that_begins_so_is_a_try():
    assert tries.extras(notebook("m = 4", "M One can **Try** `m = 4`."), "chapter") == []
    (extra,) = tries.extras(notebook("m = 4", "M **Try** ``m = 5`` and `m = 6`."), "chapter")
    assert extra.source == "m = 5"


@pytest.fixture
def run():
    """A function that runs cells as a notebook's kernel would: the first error, or None."""
    shell = InteractiveShell()

    def run(*cells: str) -> str | None:
        book = notebook(*cells)
        for cell in tries.with_extras(book, tries.extras(book, "chapter")).cells:
            if cell.cell_type == "code":
                outcome = shell.run_cell(cell.source)
                if not outcome.success:
                    return str(outcome.error_in_exec or outcome.error_before_exec)
        return None

    yield run
    # Outside IPython nothing must take this process for a kernel.
    InteractiveShell.clear_instance()


def test_a_try_leaves_the_notebook_as_it_was(run):
    assert not run(
        "import matplotlib.pyplot as plt, numpy as np\nrng, m = np.random.default_rng(0), 1",
        "m = 4\nnew = m\ndrawn = rng.random()\nfigure = plt.figure()\nplt.close()",
        "M **Try** `m = 64`: nothing of it stays.",
        "assert m == 4 and new == 4 and rng.random() == np.random.default_rng(0).random(2)[1]",
        "m + 1",
        "M **Try** `only_here = plt.figure(); assert m == 4`: nor of this.",
        "assert 'only_here' not in globals() and not plt.get_fignums()",
        "M :::{solution} ex-a\n```python\nassert m == 4; m = 5\n```\n:::",
        "M :::{solution} ex-b\n```python\nassert m == 4\n```\n:::",
    )


@pytest.mark.parametrize(
    ("cells", "where"),
    [
        (("m = 4\n1 / m", "M **Try** `m = 0`: no."), "cell 1, Try `m = 0`: ZeroDivisionError"),
        (("m = 4", "M **Try** `m.wrong`: no."), "cell 1, Try `m.wrong`: AttributeError"),
        (("m = 4", "M :::{solution} ex-a\n```python\nn\n```\n:::"), "solution ex-a: NameError"),
    ],
)
def test_what_fails_is_named_by_chapter_and_cell(cells, where, run):
    failure = run(*cells)
    assert failure and re.search(f"^chapter, .*{where}", failure), failure


def test_a_notebook_is_run_with_its_tries_and_not_written(tmp_path, capsys):
    path = tmp_path / "chapter.ipynb"
    nbformat.write(notebook("m = 4\n1 / m", "M **Try** `m = 2`: yes.", "m"), path)
    before = path.read_bytes()
    assert tries.main([str(path)]) == 0
    assert capsys.readouterr().out == "chapter: 1 run\n"
    assert path.read_bytes() == before
    nbformat.write(notebook("m = 4\n1 / m", "M **Try** `n = 2`: no.", "m"), path)
    assert tries.main([str(path)]) == 1
    assert "chapter, cell 1, Try `n = 2`: the cell above" in capsys.readouterr().err
