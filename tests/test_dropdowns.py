"""What is closed on a page, what is marked, and formulas with punctuation, in a small book."""

import io
import re
from types import SimpleNamespace

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("default")]

CONFIGURATION = """
from site_pages import _KeepTogether, _MarkTries

extensions = ["myst_parser", "sphinx_exercise", "sphinx_design", "dropdowns"]
myst_enable_extensions = ["colon_fence", "dollarmath"]


def setup(app):
    app.add_post_transform(_KeepTogether)
    app.add_post_transform(_MarkTries)
"""

INDEX = """
# Book

```{toctree}
:numbered: 2

book/first
book/second
book/reference/notation
```
"""

FIRST = """
# First

:::{symbols}
:::

For $a$, $b$ ($c$) and $\\mu$-close $d$ there is {ref}`an answer <ex-one-solution>`.

For *this*, and $e$, and $f$.

**Try** `m = 2`: this.

**Words** and **Try** that.

:::{exercise} ★ $x$ and a long title
:label: ex-one
Find it.
:::

:::{solution} ex-one
:class: dropdown

It is $y$.
:::
"""

SECOND = """
# Second

:::{symbols}
:::

:::{question}
Is $2 < 3$?

- It is, by one.

  **Right.** For $3 - 2 = 1$.

- Only on Sundays.

  **Wrong.** On others too:

  $$3 > 2$$
:::
"""

NOTATION = """
# Notation

| key | source |
| --- | --- |
| S24 | notes |

| symbol | meaning | in the sources | chapters |
| --- | --- | --- | --- |
| $a$ | of {doc}`../first` | | first |
| $b$ | of both | $B$ in S24 | first, second |

## More

| symbol | meaning | in the sources | chapters |
| --- | --- | --- | --- |
| $c$ | of every one | | all |
| $d$ | of the second | | second |
"""


def build(folder, **pages):
    """The warnings and the pages of the small book, with some of its texts replaced."""
    texts = {"conf": CONFIGURATION, "index": INDEX}
    texts |= {"book/first": FIRST, "book/second": SECOND, "book/reference/notation": NOTATION}
    for name, text in (texts | pages).items():
        path = folder / f"{name}{'.py' if name == 'conf' else '.md'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    output, warnings = folder / "html", io.StringIO()
    places = (folder, folder, output, folder / "trees")
    # What the extensions register with docutils goes again with the build.
    with docutils_namespace():
        Sphinx(*places, "html", status=None, warning=warnings).build()
    found = {path.stem: path.read_text(encoding="utf-8") for path in output.rglob("*.html")}
    return SimpleNamespace(warnings=warnings.getvalue(), **found)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The small book as it stands."""
    return build(tmp_path_factory.mktemp("book"))


def rows(page):
    """The texts of a page's rows of symbols, tags and space aside."""
    (box,) = re.findall(r"<details(?:(?!</details>).)*Symbols of.*?</details>", page, re.DOTALL)
    found = re.findall(r"<tr.*?</tr>", box, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def test_a_chapter_shows_its_own_symbols_and_everybodys(built):
    assert not built.warnings
    head = "symbol meaning"
    first = [head, r"\(a\) of First", r"\(b\) of both", r"\(c\) of every one"]
    second = [head, r"\(b\) of both", r"\(c\) of every one", r"\(d\) of the second"]
    assert (rows(built.first), rows(built.second)) == (first, second)
    # Links lead from where they stand now, and back to the whole.
    assert 'href="#"' in built.first and 'href="reference/notation.html"' in built.first
    assert len(re.findall('href="../first.html"><span class="doc">first<', built.notation)) == 2


def test_symbols_of_nobody_and_chapters_that_do_not_exist_are_named(tmp_path):
    nobody = NOTATION.replace("first", "frist").replace("../frist", "../first")
    pages = {"book/reference/notation": nobody.replace("| all", "| second")}
    built = build(tmp_path, **pages)
    assert "names no symbol of first" in built.warnings
    assert "no chapters ['frist']: a of" in " ".join(built.warnings.split())
    assert "no chapters ['frist']: b of both" in " ".join(
        re.sub(r"\s+", " ", built.warnings).split()
    )


def test_a_solution_is_closed_under_a_title_that_leads_nowhere_and_can_be_linked_to(built):
    page = built.first
    (box,) = re.findall(r'<details[^>]*id="ex-one-solution".*?</details>', page, re.DOTALL)
    summary = re.search(r"<summary.*?</summary>", box, re.DOTALL)[0]
    assert "Solution to Exercise 1" in summary and "<a" not in summary and "long" not in summary
    assert not re.match(r"<details[^>]* open", box)
    assert r"It is <span" in box
    assert re.search(r'href="#ex-one-solution"><span class="[^"]*">an answer<', page)


def test_what_the_reader_may_try_is_marked(built):
    page = built.first
    assert page.count("course-try") == 1
    assert '<p class="course-try"><strong>Try</strong>' in page


@pytest.mark.parametrize(
    "kept",
    [
        r'<span class="course-together"><span class="math[^"]*">\\\(a\\\)</span>,</span> <span',
        r'<span class="course-together">\(<span class="math[^"]*">\\\(c\\\)</span>\)</span> and',
        r'<span class="course-together"><span class="math[^"]*">\\\(\\mu\\\)</span>-</span>close',
        # A text that says what an earlier one says.
        r'<em>this</em>, and <span class="course-together"><span class="math[^"]*">\\\(e\\\)</span>'
        r',</span> and <span class="course-together">',
        r',</span> <span class="math[^"]*">\\\(b\\\)</span> <span',
        r'close <span class="math[^"]*">\\\(d\\\)</span> there',
    ],
)
def test_a_formula_keeps_the_punctuation_around_it(built, kept):
    assert re.search(kept, built.first)


def test_a_question_shows_its_answers_and_closes_their_reasons(built):
    (asked,) = re.findall(r'<div class="course-question.*', built.second, re.DOTALL)
    assert "Do you see it?" in asked and r"Is <span" in asked
    answers = re.findall(r"<details[^>]*>.*?</details>", asked, re.DOTALL)
    titles = [re.search(r"<summary.*?</summary>", answer, re.DOTALL)[0] for answer in answers]
    assert ["It is, by one." in titles[0], "Only on Sundays." in titles[1]] == [True, True]
    assert ["Right." in answers[0], "Wrong." in answers[1]] == [True, True]
    assert not any(re.search(r"Right|Wrong\.|For|others", title) for title in titles)
    assert not any(re.match(r"<details[^>]* open", answer) for answer in answers)
    assert "3 &gt; 2" in answers[1] or "3 > 2" in answers[1]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("None.", "must end with a list of two answers or more"),
        ("- It is.\n\n  **Right.** So.", "must end with a list of two answers or more"),
        ("- It.\n\n  **Right.** So.\n- No.\n\n  **Right.** So.", "a right answer and a wrong one"),
        ("- $2$ is.\n\n  **Right.** So.\n- Not.\n\n  **Wrong.** So.", "must be without TeX"),
        ("- It is.\n- Not.\n\n  **Wrong.** So.", "or **Wrong.**: 'It is.'"),
        ("- It is.\n\n  True.\n- Not.\n\n  **Wrong.** So.", "must begin with **Right.** or"),
        ("- It is.\n\n  **True.**\n- Not.\n\n  **Wrong.** So.", "must begin with **Right.**"),
    ],
)
def test_a_question_without_reasons_for_every_answer_is_named(tmp_path, answers, message):
    second = f"# Second\n\n:::{{symbols}}\n:::\n\n:::{{question}}\nIs it?\n\n{answers}\n:::\n"
    assert message in " ".join(build(tmp_path, **{"book/second": second}).warnings.split())
