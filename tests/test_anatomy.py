"""What every chapter has, as CONTRIBUTING lists it, and how it is told."""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import nbformat
import pytest
import tries
from ntklab import tables
from project import ROOT, address, chapters, read

pytestmark = pytest.mark.once

CHAPTERS = {path.stem: path for path in chapters()}
each_chapter = pytest.mark.parametrize("path", CHAPTERS.values(), ids=CHAPTERS)


def source_of_setup() -> str:
    return (
        "try:\n"
        "    import ntklab\n"
        "except ImportError:\n"
        f'    %pip install -q "ntklab[book] @ git+{address()}"'
    )


def missing(notebook: Any) -> list[str]:
    """What a chapter must have, as CONTRIBUTING lists it, and this one has not."""
    title, setup, *_, end = notebook.cells
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    exercises = re.split(r"^:{3,}\{exercise\} ", "\n".join(texts), flags=re.MULTILINE)[1:]
    head = "## What this chapter showed, and what it did not"
    _, _, closing = f"\n{end.source}".partition(f"\n{head}\n")
    blocks = closing.strip().split("\n\n")
    table = "\n".join(block for block in blocks if block.startswith("|"))
    present = {
        "a title": title.cell_type == "markdown" and re.match(r"# \S", title.source),
        "what the reader can do afterwards": "**After this chapter** you can" in title.source,
        "what the reader needs": re.search(r"^\*\*You need\*\* \S", title.source, re.MULTILINE),
        "the set-up cell behind the title": setup.source == source_of_setup(),
        "the tag of the set-up cell": setup.metadata.get("tags") == ["remove-cell"],
        "a moving figure": any(
            re.search(r"^(player\.explore|(player\.)?Player)\(", source, re.MULTILINE)
            for source in code
        ),
        "three exercises": len(exercises) >= 3,
    }
    for number, exercise in enumerate(exercises, 1):
        label = re.search(r"^:label: (ex-\S+)$", exercise, re.MULTILINE)
        solution = rf"^:{{3,}}\{{solution\}} {re.escape(label[1])}$" if label else "(?!)"
        hint = r"^:{3,}\{dropdown\} Hint$"
        present |= {
            f"the stars of exercise {number}": re.match(r"★{1,3} \S", exercise),
            f"a hint to exercise {number}": re.search(hint, exercise, re.MULTILINE),
            f"a solution of exercise {number}": re.search(solution, exercise, re.MULTILINE),
        }
    present |= {
        "the closing section": closing and not re.search("^#+ ", closing, re.MULTILINE),
        # A list or paragraph for each.
        "what it showed and what it did not": sum(block[:1] != "|" for block in blocks) >= 2,
        "the table of the sources' results": "{cite:t}`" in table and "{prf:ref}`" in table,
    }
    return [what for what, there in present.items() if not there]


@each_chapter
def test_a_chapter_has_all_that_a_chapter_has(path):
    assert not missing(nbformat.read(path, as_version=4))


def edited(pattern: str, by: str = "", after: int = 0) -> Callable[[Any], None]:
    """A function that replaces what matches in a notebook, the first `after` matches aside."""

    def edit(notebook: Any) -> None:
        places = itertools.count()
        for cell in notebook.cells:
            cell.source = re.sub(
                pattern, lambda match: by if next(places) >= after else match[0], cell.source
            )

    return edit


@pytest.mark.parametrize(
    ("edit", "lacks"),
    [
        (edited(r"^# "), ["a title"]),
        (edited(r"\*\*After this chapter\*\*"), ["what the reader can do afterwards"]),
        (edited(r"\*\*You need\*\*"), ["what the reader needs"]),
        (edited("import ntklab", "import jax"), ["the set-up cell behind the title"]),
        (
            lambda notebook: notebook.cells.insert(1, notebook.cells.pop(2)),
            ["the set-up cell behind the title", "the tag of the set-up cell"],
        ),
        (
            lambda notebook: notebook.cells[1].metadata.pop("tags"),
            ["the tag of the set-up cell"],
        ),
        (edited(r"player\.(explore|Player)\("), ["a moving figure"]),
        (edited(r"\{exercise\}", "{note}", after=2), ["three exercises"]),
        (edited("★+ "), ["the stars of exercise {}"]),
        (edited(r"\{dropdown\} Hint"), ["a hint to exercise {}"]),
        (edited(r"\{solution\} ", "{solution} ex-"), ["a solution of exercise {}"]),
        (edited(":label: ex-"), ["a solution of exercise {}"]),
        (
            edited("## What this chapter showed"),
            [
                "the closing section",
                "what it showed and what it did not",
                "the table of the sources' results",
            ],
        ),
        (edited("it did not\n", "it did not\n\n### More\n"), ["the closing section"]),
        (edited(r"(?<=it did not\n\n)(.+\n)+\n"), ["what it showed and what it did not"]),
        (edited(r"\{cite:t\}`(?=.*\|)"), ["the table of the sources' results"]),
    ],
)
def test_what_a_chapter_lacks_is_named(edit, lacks):
    notebook = nbformat.read(CHAPTERS["linearization"], as_version=4)
    exercises = range(1, 1 + sum(cell.source.count("{exercise}") for cell in notebook.cells))
    edit(notebook)
    # What is edited in every exercise is lacking in each.
    each = [what.format(number) for what in lacks for number in exercises if "{}" in what]
    assert missing(notebook) == (each or lacks)


# How it is told

HIDDEN = {"hide-input", "remove-input", "remove-cell"}
COLUMNS, LINES = 80, 25
FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
DRAWS = re.compile(r"\b(?:plt\.|figures\.(?!use_style\b))")
PICTURES = {"image/png", "image/svg+xml"}
BEFORE = "in front of the text that refers to it"


def untold(notebook: Any) -> list[str]:
    """What keeps a chapter from being read and played with, as CONTRIBUTING lists it."""
    title = notebook.cells[0].source
    minutes = re.search(
        r"\*\*Time:\*\* (\d+) minutes? to read, (\d+) with the proofs, (\d+) to run\b", title
    )
    present = {
        "the minutes": minutes and int(minutes[1]) <= int(minutes[2]),
        "the symbols": re.search(r"^:::\{symbols\}\n:::$", title, re.MULTILINE),
        "two to four questions": sum(c.source.count(":::{question}\n") for c in notebook.cells)
        in (2, 3, 4),
    }
    for number, cells in enumerate(sections(notebook)):
        code = [cell for cell in cells if cell.cell_type == "code"]
        if number == 0:
            present["a cell that does something before the first section"] = any(
                cell.outputs for cell in code
            )
        elif code:
            heading = re.search(r"^## (.+)$", cells[0].source, re.MULTILINE)
            present[f"a Try in “{heading[1] if heading else ''}”"] = any(
                cell.source.startswith("**Try**") for cell in cells
            )
    faults = [*shown_plotting(notebook), *crowded(notebook), *early_references(notebook)]
    return [what for what, there in present.items() if not there] + faults


def sections(notebook: Any) -> Iterator[list[Any]]:
    """The cells in front of the first heading of the second level, and those under each."""
    cells: list[Any] = []
    for cell in notebook.cells:
        for part in parts(cell):
            if part.cell_type == "markdown" and re.search(r"^## ", part.source, re.MULTILINE):
                yield cells
                cells = []
            cells.append(part)
    yield cells


def parts(cell: Any) -> list[Any]:
    """A Markdown cell cut in front of its headings of the second level; comments are none."""
    if cell.cell_type != "markdown":
        return [cell]
    texts = re.split(r"^(?=## )", FENCED.sub("", cell.source), flags=re.MULTILINE)
    return [nbformat.v4.new_markdown_cell(text) for text in texts if text]


def visible(cell: Any) -> bool:
    return cell.cell_type == "code" and not HIDDEN & set(cell.metadata.get("tags", []))


def shown_plotting(notebook: Any) -> Iterator[str]:
    """Cells that draw, or show what was drawn, and do not hide how."""
    for place, cell in enumerate(notebook.cells):
        if visible(cell) and (
            DRAWS.search(cell.source)
            or any(PICTURES & set(output.get("data", {})) for output in cell.outputs)
        ):
            yield f"hide-input on the plotting of cell {place}"


def crowded(notebook: Any) -> Iterator[str]:
    """Code that a reader sees and that does not fit the column, or the screen."""
    for place, cell in enumerate(notebook.cells):
        shown = [cell.source] if visible(cell) else []
        if cell.cell_type == "markdown":
            shown = [source for _, source in tries.solution_codes(cell.source)]
        lines = [line for source in shown for line in source.splitlines()]
        # The set-up cell, whose address may be long, is hidden.
        if any(len(line) > COLUMNS for line in lines):
            yield f"at most {COLUMNS} columns in cell {place}"
        if any(len(source.splitlines()) > LINES for source in shown):
            yield f"at most {LINES} lines in cell {place}"


def early_references(notebook: Any) -> Iterator[str]:
    """Figures that the text speaks of before they stand, the opening aside."""
    names = [
        cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in notebook.cells
    ]
    for place, name in enumerate(names):
        text = "\n".join(
            cell.source for cell in notebook.cells[1:place] if cell.cell_type == "markdown"
        )
        if name and f"{{numref}}`{name}`" in text:
            yield f"{name} {BEFORE}"


@each_chapter
def test_a_chapter_is_told_as_chapters_are(path):
    assert not untold(nbformat.read(path, as_version=4))


@each_chapter
def test_what_a_chapter_invites_to_run_can_be_run(path):
    """Whether it runs is for the Colab copies to show."""
    tries.extras(nbformat.read(path, as_version=4), path.stem)


def told() -> Any:
    """A notebook that is told as a chapter should be."""
    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    picture = nbformat.v4.new_output("display_data", {"image/png": "", "text/plain": ""})
    number = nbformat.v4.new_output("stream", name="stdout", text="1\n")
    hidden = {"tags": ["hide-input"]}
    figure = hidden | {"mystnb": {"figure": {"name": "fig-x"}}}
    return nbformat.v4.new_notebook(
        cells=[
            text("# T\n\n{numref}`fig-x`. **Time:** 5 minutes to read, 9 with the proofs, 1 to run"
                 "\n\n:::{symbols}\n:::"),
            code("%pip install " + "long" * 30, metadata={"tags": ["remove-cell"]}),
            code("from ntklab import figures\n\nfigures.use_style()"),
            code("m = 1\nprint(m)", outputs=[number]),
            text("(sec-one)=\n## One"),
            code("axes = plt.plot()\n" + "#\n" * 20, metadata=figure, outputs=[picture]),
            text("**Try** `m = 2`: {numref}`fig-x`."),
            text("More\n\n:::{question}\nA\n:::\n\n:::{question}\nB\n:::\n\n## Two\n\nwords"),
            text("### Three"),
            code("m = 3"),
            text("**Try** `m = 2`."),
            text(":::{solution} ex-a\n```python\n## Not a heading\nm = 4\n```\n:::\n## Words only"),
        ]
    )  # fmt: skip


def test_a_notebook_that_is_told_well_lacks_nothing():
    assert untold(told()) == []


def without(*places: int) -> Callable[[Any], None]:
    def edit(notebook: Any) -> None:
        notebook.cells = [c for place, c in enumerate(notebook.cells) if place not in places]

    return edit


def replaced(place: int, old: str, new: str) -> Callable[[Any], None]:
    def edit(notebook: Any) -> None:
        cell = notebook.cells[place]
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return edit


def shown(place: int, source: str | None = None) -> Callable[[Any], None]:
    def edit(notebook: Any) -> None:
        cell = notebook.cells[place]
        cell.metadata.pop("tags", None)
        cell.source = cell.source if source is None else source

    return edit


@pytest.mark.parametrize(
    ("edit", "lacks"),
    [
        (replaced(0, "9 with the proofs, ", ""), ["the minutes"]),
        (replaced(0, "9 with", "4 with"), ["the minutes"]),
        (replaced(0, "{symbols}", "{note}"), ["the symbols"]),
        (replaced(7, "{question}\nB", "{note}\nB"), ["two to four questions"]),
        (replaced(7, "B\n:::", "B\n:::" + 3 * ":::{question}\n"), ["two to four questions"]),
        (without(3), ["a cell that does something before the first section"]),
        (without(6), ["a Try in “One”"]),
        (without(10), ["a Try in “Two”"]),
        (replaced(6, "**Try**", "Now **Try**"), ["a Try in “One”"]),
        (shown(5), ["hide-input on the plotting of cell 5"]),
        (shown(5, "show()"), ["hide-input on the plotting of cell 5"]),
        (replaced(9, "m = 3", "figures.band()"), ["hide-input on the plotting of cell 9"]),
        (replaced(9, "m = 3", "m = " + "1" * 77), ["at most 80 columns in cell 9"]),
        (replaced(9, "m = 3", "m = 3\n" * 26), ["at most 25 lines in cell 9"]),
        (replaced(11, "m = 4", "m = " + "1" * 77), ["at most 80 columns in cell 11"]),
        (replaced(4, "ne", "ne\n{numref}`fig-x`"), [f"fig-x {BEFORE}"]),
    ],
)  # fmt: skip
def test_how_a_chapter_is_not_told_is_named(edit, lacks):
    notebook = told()
    edit(notebook)
    assert untold(notebook) == lacks


@each_chapter
def test_a_notebook_stays_small(path):
    assert path.stat().st_size < 1_500_000
    cells = nbformat.read(path, as_version=4).cells
    lengths = [len(cell.source.splitlines()) for cell in cells if cell.cell_type == "code"]
    assert max(lengths) <= 60, "what is longer belongs in the library"


@each_chapter
def test_captions_escape_nothing_twice(path):
    """A doubled backslash ends the line in a formula, and the command's name is shown as text."""
    for cell in nbformat.read(path, as_version=4).cells:
        caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
        assert not re.search(r"\\\\[a-zA-Z]", caption), caption


def test_the_landing_page_states_how_long_the_course_takes():
    page = read(ROOT / "book" / "index.md")
    stated = re.search(r"(\w+) chapters: (\d+) hours, or (\d+) with every proof", page)
    assert stated, "the landing page does not say how long the course takes"
    minutes = []
    for chapter in chapters():
        title = nbformat.read(chapter, as_version=4).cells[0].source
        found = re.search(r"(\d+)\sminutes?\sto\sread,\s(\d+)\swith\sthe\sproofs", title)
        minutes.append([int(number) for number in found.groups()])
    words = ["Ten", "Eleven", "Twelve", "Thirteen", "Fourteen", "Fifteen", "Sixteen"]
    assert words.index(stated[1]) + 10 == len(minutes)
    assert [int(hours) for hours in stated.groups()[1:]] == [
        round(sum(column) / 60) for column in zip(*minutes, strict=True)
    ]


def test_the_landing_page_says_what_its_figure_shows():
    """The numbers of its text are those of the stored run, and the two part after they say so."""
    from opening_figure import errors

    page = " ".join(read(ROOT / "book" / "index.md").split())
    run = tables.provenance("opening")["settings"]
    assert f"{2 * run['pairs']} ReLU units" in page and f"{run['n']} examples" in page
    assert "For the first hundred steps the two are hard to tell apart." in page
    before, *_, after = (errors(step) for step in run["steps"] if step >= 100)
    assert abs(before["kernel"] - before["network"]) < 0.03
    assert after["network"] < 0.2 and after["kernel"] > 0.85
