"""What rests on what: read from a small book, drawn without overlaps, shown under statements."""

import io
import itertools
import random
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest
import statement_graph
from layered_layout import Box, CircleError, lay_out
from sphinx.application import Sphinx
from statements import PROOF, STATEMENT, connect, plain

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("default")]


# The drawing in rows


def random_graph(seed, count=24, edges=40):
    """A graph without circles: an edge leads from a smaller number to a larger one."""
    draw = random.Random(seed)
    sizes = [(draw.choice([90, 128]), draw.choice([40, 54, 68])) for _ in range(count)]
    boxes = [Box(f"n{k}", *size) for k, size in enumerate(sizes)]
    boxes += [Box(f"r{k}", 40, 23, reference=True) for k in range(4)]
    pairs = draw.sample(list(itertools.combinations(range(count), 2)), edges)
    found = [(f"n{upper}", f"n{lower}") for upper, lower in pairs]
    return boxes, [*found, *((f"r{k}", f"n{draw.randrange(count)}") for k in range(4))]


def meets(one, other):
    """Whether two rectangles overlap by more than rounding."""
    return (
        one.x + 1e-6 < other.x + other.width
        and other.x + 1e-6 < one.x + one.width
        and one.y + 1e-6 < other.y + other.height
        and other.y + 1e-6 < one.y + one.height
    )


@pytest.mark.parametrize("width", [340, 700])
@pytest.mark.parametrize("seed", range(4))
def test_no_box_overlaps_another_and_no_edge_runs_behind_one(seed, width):
    boxes, edges = random_graph(seed)
    drawing = lay_out(boxes, edges, width)
    assert drawing.boxes.keys() == {box.key for box in boxes}
    for box in drawing.boxes.values():
        assert box.x >= -1e-6 and box.x + box.width <= width + 1e-6
        assert box.y >= 0 and box.y + box.height <= drawing.height + 1e-6
    for one, other in itertools.combinations(drawing.boxes.values(), 2):
        assert not meets(one, other)
    for (upper, lower), route in drawing.routes.items():
        above, below = drawing.boxes[upper], drawing.boxes[lower]
        assert above.y + above.height < below.y
        assert route[0].y == above.y + above.height and route[-1].y == below.y
        for one, other in itertools.pairwise(route):
            assert one.y <= other.y
            # A turn stays between its ends; a line that passes a row is straight.
            for key, box in drawing.boxes.items():
                if key not in (upper, lower):
                    left, right = sorted((one.x, other.x))
                    inside = box.y + 1e-6 < other.y and one.y + 1e-6 < box.y + box.height
                    assert not (inside and left < box.x + box.width and box.x < right + 1e-6)


def test_a_path_is_drawn_without_crossings_and_upright():
    boxes = [Box(name, 50, 20) for name in "abc"]
    drawing = lay_out(boxes, [("a", "b"), ("b", "c")], 300)
    assert {box.x for box in drawing.boxes.values()} == {125}
    assert [drawing.boxes[name].y for name in "abc"] == [0, 50, 100]


def test_rows_are_ordered_so_that_edges_do_not_cross():
    boxes = [Box(name, 50, 20) for name in "abcdef"]
    edges = [("a", "f"), ("b", "e"), ("c", "d")]
    places = {key: box.x for key, box in lay_out(boxes, edges, 300).boxes.items()}
    upper = sorted("abc", key=places.__getitem__)
    assert sorted("def", key=places.__getitem__) == [dict(edges)[name] for name in upper]


def test_a_reference_stands_right_above_its_first_user():
    boxes = [Box("far", 40, 20, reference=True), *(Box(name, 90, 40) for name in "abc")]
    drawing = lay_out(boxes, [("a", "b"), ("b", "c"), ("far", "c")], 300)
    assert drawing.boxes["b"].y < drawing.boxes["far"].y < drawing.boxes["c"].y


def test_what_runs_in_a_circle_is_refused_by_name():
    boxes = [Box(name, 50, 20) for name in "abc"]
    with pytest.raises(CircleError, match=r"^edges must not run in a circle, got b → c → b$"):
        lay_out(boxes, [("a", "b"), ("b", "c"), ("c", "b")], 300)


@pytest.mark.parametrize(
    ("edges", "width", "message"),
    [
        ([], 40, r"^boxes must be at most 40 wide, got Box\(key='a'"),
        ([("a", "z")], 300, r"^edges must join two of the boxes, got \('a', 'z'\)"),
    ],
)
def test_what_cannot_be_drawn_is_named(edges, width, message):
    with pytest.raises(ValueError, match=message):
        lay_out([Box("a", 50, 20)], edges, width)


def test_a_drawing_of_nothing_is_empty():
    assert lay_out([], [], 300).height == 0


# A small book

CONFIGURATION = """
extensions = ["myst_parser", "sphinx_proof", "sphinx_exercise", "sphinx_design", "statement_graph"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
prf_realtyp_to_countertyp = {
    name: "theorem" for name in ("theorem", "lemma", "corollary", "definition", "proposition")
}
exclude_patterns = ["_build"]
"""

INDEX = """
# Book

```{toctree}
:numbered: 2

book/first
book/second
```

```{toctree}
book/reference/errata
```

## Graph

:::{statement-graph}
:::

:::{statement-gaps} unchecked
:::

:::{statement-gaps} without-exercise
:::

:::{statement-gaps} unused
:::
"""

FIRST = """
# First

Running text names {prf:ref}`thm-end`, which does not count.

:::{prf:definition} Words
:label: def-words
What words mean.
:::

:::{prf:lemma} A start with $O(B^2)$
:label: lem-start
In the sense of {prf:ref}`def-words`, with

$$
a = b
$$ (eq-start)
:::

::::{dropdown} Proof
By hand.
::::

:::{prf:theorem} Middle
:label: thm-middle
By itself, {prf:ref}`thm-middle`.
:::

::::{dropdown} Proof
By {eq}`eq-start`.
::::

:::{exercise} ★ Use it
:label: ex-middle
Use {prf:ref}`thm-middle`.
:::
"""

SECOND = """
# Second

:::{prf:corollary} End
:label: thm-end
By {prf:ref}`thm-middle`.
:::

::::{dropdown} Proof
With {prf:ref}`lem-start` and {prf:ref}`thm-middle`.
::::

:::{prf:proposition} Alone
:label: prop-alone
Alone.
:::
"""

ERRATA = """
# Errata

Repaired in {prf:ref}`thm-end`.
"""

ENTRIES = [
    SimpleNamespace(
        theorem=label, title=f"S24, {label}", loose=loose, evidence=evidence, exercise=exercise
    )
    for label, loose, evidence, exercise in [
        ("lem-start", "", "exact", None),
        ("thm-end", "Loose, for a reason.", "sampled", "ex-middle"),
        (None, "", "exact", None),
    ]
]


@pytest.fixture(scope="module", autouse=True)
def entries():
    """The ledger of the small book."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statement_graph.ledger, "all_results", lambda: iter(ENTRIES))
        yield


def builder(folder):
    """Builds the small book, with pages replaced, and returns what is asked for of the build."""

    def build(**pages):
        source = folder / "source"
        texts = {
            "conf.py": CONFIGURATION,
            "index.md": INDEX,
            "book/first.md": FIRST,
            "book/second.md": SECOND,
            "book/reference/errata.md": ERRATA,
        }
        # A page without a text is taken away.
        texts |= {name.replace("__", "/") + ".md": text for name, text in pages.items()}
        for name, text in texts.items():
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
                continue
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
        warnings = io.StringIO()
        output = folder / "html"
        app = Sphinx(
            source, source, output, folder / "trees", "html", status=None, warning=warnings
        )
        app.build()
        pages = {path.stem: path for path in output.rglob("*.html")}
        return SimpleNamespace(
            graph=statement_graph.graph_of(app.env),
            warnings=re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue()),
            page=lambda name: pages[name].read_text(encoding="utf-8"),
            path=lambda name: pages[name],
        )

    return build


@pytest.fixture
def book(tmp_path):
    """The small book, to be built with changes."""
    return builder(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The small book as it stands."""
    return builder(tmp_path_factory.mktemp("book"))()


def test_a_statement_uses_what_it_names_and_its_proof_what_the_proof_names(built):
    found = built
    assert not found.warnings
    assert {label: dict(uses) for label, uses in found.graph.uses.items()} == {
        "def-words": {},
        "lem-start": {"def-words": STATEMENT},
        "thm-middle": {"lem-start": PROOF},
        "thm-end": {"lem-start": PROOF, "thm-middle": STATEMENT},
        "prop-alone": {},
    }
    assert found.graph.used_by("lem-start") == ["thm-middle", "thm-end"]
    assert [label for label, item in found.graph.statements.items() if item.proved] == [
        *("lem-start", "thm-middle", "thm-end")
    ]
    assert found.graph.statements["lem-start"].title == "A start with O(B²)"


def test_the_marks_say_what_ledger_exercises_and_errata_say(built):
    marks = built.graph.marks
    assert marks["thm-end"].checks == ("S24, thm-end",)
    assert (marks["thm-end"].loose, marks["thm-end"].sampled) == (True, True)
    assert {label for label in marks if marks[label].differs} == {"thm-end"}
    assert {label for label in marks if marks[label].exercise} == {"thm-middle", "thm-end"}
    assert {label for label in marks if marks[label].checks} == {"lem-start", "thm-end"}


def test_dark_is_what_is_checked_down_to_the_ground(built):
    graph = built.graph
    assert graph.below("thm-end") == {"thm-middle", "lem-start", "def-words"}
    # A definition needs no check; thm-middle has none.
    assert graph.checked_below("lem-start")
    assert not graph.checked_below("thm-end")


def svgs(page, size):
    namespace = 'xmlns="http://www.w3.org/2000/svg" '
    found = re.findall(rf'<svg class="{size}".*?</svg>', page, re.DOTALL)
    return [ElementTree.fromstring(text.replace("<svg ", f"<svg {namespace}", 1)) for text in found]


@pytest.mark.parametrize("size", statement_graph.SIZES)
def test_the_drawing_has_every_statement_as_a_link_with_its_name(built, size):
    svg = "{http://www.w3.org/2000/svg}"
    chapters, first, second = svgs(built.page("index"), size)
    assert [link.get("href") for link in chapters.iter(f"{svg}a")] == [
        *("book/first.html", "book/second.html")
    ]
    assert [link.get("href") for link in first.iter(f"{svg}a")] == [
        *(f"book/first.html#{label}" for label in ("def-words", "lem-start", "thm-middle"))
    ]
    classes = {link.get("data-key"): link.get("class") for link in second.iter(f"{svg}a")}
    assert classes == {
        "lem-start": "reference proved checked deep",
        "thm-middle": "reference proved",
        "thm-end": "claim proved checked",
        "prop-alone": "claim",
    }
    edges = {path.get("data-ends"): path.get("class") for path in second.iter(f"{svg}path")}
    assert edges == {
        "lem-start thm-end": "edge proof",
        "thm-middle thm-end": "edge statement",
    }
    end = next(link for link in second.iter(f"{svg}a") if link.get("data-key") == "thm-end")
    words = [text.text for text in end.iter(f"{svg}text")]
    assert words[0] == "Corollary 2.1" and "End" in words
    assert "≠ ≪ ±" in words
    assert end.find(f"{svg}title").text == (
        "Corollary 2.1, End. proved here, checked (S24, thm-end), "
        "differs from the source, loose, sampled"
    )


def test_the_line_under_a_statement_names_its_neighbours(built):
    def line(page, label):
        # From one statement to the next.
        text = page.split(f'id="{label}"')[1].split('<div class="proof')[0]
        found = re.search(r'<p class="course-neighbours">(.*?)</p>', text, re.DOTALL)
        return found and " ".join(re.sub(r"<[^>]+>", "", found[1]).split())

    found = built
    assert line(found.page("second"), "thm-end") == "Rests on Lemma 1.2, Theorem 1.3"
    assert line(found.page("second"), "prop-alone") is None
    assert line(found.page("first"), "lem-start") == (
        "Rests on Definition 1.1 · used by Theorem 1.3, Corollary 2.1"
    )
    assert line(found.page("first"), "def-words") == "Used by Lemma 1.2"


def test_the_gaps_are_listed_and_counted(built):
    page = " ".join(re.sub(r"<[^>]+>", "", built.page("index")).split())
    gaps = page[page.index("2 of 4.") :]
    assert "2 of 4. 1 First: Theorem 1.3 Middle 2 Second: Proposition 2.2 Alone" in gaps
    assert "2 of 4. 1 First: Lemma 1.2 A start with O(B²) 2 Second: Proposition 2.2 Alone" in gaps
    assert "2 of 4. 2 Second: Corollary 2.1 End; Proposition 2.2 Alone" in gaps


def test_a_circle_is_a_warning_with_its_names(book):
    found = book(book__first=FIRST.replace("By hand.", "By {prf:ref}`thm-middle`."))
    assert (
        "WARNING: statements rest on one another in a circle: lem-start is used by thm-middle is "
        "used by lem-start"
    ) in found.warnings
    assert not svgs(found.page("index"), "wide")


def test_what_rests_on_a_later_chapter_is_a_warning(book):
    found = book(book__first=FIRST.replace("By hand.", "By {prf:ref}`prop-alone`."))
    assert "WARNING: lem-start rests on prop-alone, which comes in a later chapter" in (
        found.warnings
    )


def test_a_proof_of_nothing_is_a_warning(book):
    found = book(
        book__second=SECOND.replace("# Second", "# Second\n\n::::{dropdown} Proof\nOf what?\n::::")
    )
    assert "WARNING: the dropdown 'Proof' follows no statement that it could prove" in (
        found.warnings
    )


def test_an_unknown_kind_of_gap_is_an_error(book):
    found = book(index=INDEX.replace("} unused", "} unloved"))
    assert "'unloved' is none of unchecked, without-exercise, unused" in found.warnings


def test_a_page_is_written_anew_when_another_uses_its_statements(book):
    first = book().path("first")
    index, errata = book().path("index"), book().path("errata")
    before = {path: path.stat().st_mtime_ns for path in (first, index, errata)}
    found = book(book__second=SECOND.replace("Alone.\n", "By {prf:ref}`def-words`.\n"))
    assert found.graph.used_by("def-words") == ["lem-start", "prop-alone"]
    assert "Proposition 2.2" in found.page("first")
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {first, index}


def test_pages_that_are_gone_leave_nothing(book):
    book()
    found = book(index=INDEX.replace("book/second\n", ""), book__second=None)
    assert [*found.graph.statements] == ["def-words", "lem-start", "thm-middle"]
    assert found.graph.used_by("lem-start") == ["thm-middle"]


# Text


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\mathcal F(K, B)", "F(K, B)"),
        (r"O(B^2/\varepsilon^2)", "O(B²/ε²)"),
        (r"p + 1", "p + 1"),
        (r"x_i^{10}", "xi¹⁰"),
        (r"\R^{m}", "ℝm"),
        (r"\lambda_0 > 0", "λ₀ > 0"),
        (r"\sqrt{\abs{\mathcal P}} > 1", "√|P| > 1"),
        (r"\norm{\abs{x_{0}}}^2", "‖|x₀|‖²"),
        (r"", ""),
    ],
)
def test_a_formula_in_a_title_becomes_text(tex, text):
    assert plain(tex) == text


def test_titles_are_broken_into_lines_that_fit():
    lines = statement_graph.wrapped("The expansion as a linear model with features", 110)
    assert " ".join(lines) == "The expansion as a linear model with features"
    assert all(statement_graph.text_width(line) <= 110 for line in lines)
    long = statement_graph.wrapped("one two three four five six seven eight", 30)
    assert len(long) == 4 and long[-1].endswith("…")


def test_an_empty_book_has_an_empty_graph():
    assert connect([]).edges == []
    assert Path(statement_graph.__file__).name == "statement_graph.py"
