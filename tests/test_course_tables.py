"""Reports under their heads and the results map, in a small book, under each builder."""

import io

import pytest
from course_tables import formulas
from ntklab import ledger
from ntklab.ledger import linearization
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("default")]

ENTRY = linearization.first_order_expansion
SITE = "https://somebody.github.io/course/"
CODE = f"_modules/{ENTRY.function.__module__.replace('.', '/')}.html"

CONFIGURATION = """
extensions = [
    "myst_parser", "sphinx_proof", "sphinx_exercise", "sphinx.ext.autodoc", "sphinx.ext.viewcode",
    "site_address", "course_tables",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
html_theme = "sphinx_book_theme"
html_theme_options = {"repository_url": "https://github.com/somebody/course"}
project, copyright, numfig = "Book", "2026", True
"""

INDEX = """
# Book

```{toctree}

book/linearization
book/reference/results
```
"""

CHAPTER = f"""
# First

:::{{prf:theorem}} An expansion
:label: {ENTRY.theorem}
It is $x$.
:::

:::{{exercise}} Of it
:label: {ENTRY.exercise}
Find it.
:::

```{{raw}} html
{ENTRY.report()._repr_html_()}
```
"""


RESULTS = """
# Results

They are a file, {ledger-file}`ledger.json`.

:::{results-map} S24
:::
"""


@pytest.mark.parametrize(
    ("builder", "page", "address"),
    [
        ("html", "book/linearization.html", f"../{CODE}"),
        ("html", "book/reference/results.html", f"../../{CODE}"),
        # Without pages for the code, its place is the published site.
        ("epub", "book/linearization.xhtml", f"{SITE}{CODE}"),
        ("latex", "book.tex", f"{SITE}{CODE}".replace("_", r"\_")),
    ],
)
def test_a_result_leads_to_its_code_under_every_builder(
    tmp_path, monkeypatch, builder, page, address
):
    monkeypatch.setattr(ledger, "all_results", lambda: iter([ENTRY]))
    texts = {"conf.py": CONFIGURATION, "index.md": INDEX, "book/linearization.md": CHAPTER}
    for name, text in (texts | {"book/reference/results.md": RESULTS}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    output, warnings = tmp_path / builder, io.StringIO()
    places = (tmp_path, tmp_path, output, tmp_path / "trees")
    with docutils_namespace():
        Sphinx(*places, builder, status=None, warning=warnings).build()
    assert not warnings.getvalue()
    assert address in (output / page).read_text(encoding="utf-8")
    if builder == "html":
        assert (output / CODE).is_file()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no formula", "no formula"),
        ("a_j and λ_min(H_t)", "a[j] and λ[min](H[t])"),
        ("F_{t+1} is w_{i,n}", "F[t+1] is w[i,n]"),
        ("k_{w_0}, x_{s_i}", "k[w[0]], x[s[i]]"),
        ("m^{-1/2}, 2^(n+1), n^(−½), X^4", "m{-1/2}, 2{(n+1)}, n{(−½)}, X{4}"),
        ("α^3.9 and α^3.", "α{3.9} and α{3}."),
        ("e^{−λ_min t}", "e{−λ[min] t}"),
        ("‖r_t‖², C_f², χ²_k, (βᵢ⁶)^{1/2}", "‖r[t]‖², C[f]², χ²[k], (βᵢ⁶){1/2}"),
        ("lim_{λ→0} of λ_(j)", "lim[λ→0] of λ[(j)]"),
        ("`scale=0.4` of `limit_ntk`", "<scale=0.4> of <limit_ntk>"),
        ("two_regimes", "two_regimes"),
    ],
)
def test_indices_exponents_and_code_in_texts_of_the_ledger(text, shown):
    marks = {"subscript": "[]", "superscript": "{}", "literal": "<>"}

    def plainly(node):
        inner = "".join(map(plainly, node.children)) or node.astext()
        opening, closing = marks.get(node.tagname, ("", ""))
        return f"{opening}{inner}{closing}"

    assert "".join(map(plainly, formulas(text))) == shown
