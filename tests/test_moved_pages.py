"""What is left at the address of a page that has moved, in a small book."""

import io

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("default")]

CONFIGURATION = """
extensions = ["myst_parser", "moved_pages"]
html_theme_options = {{}}
html_context = {{}}
moved_pages = {moved!r}


def setup(app):
    # The address stands in an option of the site's theme, which the small book does not have.
    app.config.html_theme_options = {{"repository_url": "https://github.com/somebody/course"}}
"""


def build(folder, moved):
    """The site and the warnings of a book of two pages, with these pages moved."""
    (folder / "part").mkdir()
    (folder / "conf.py").write_text(CONFIGURATION.format(moved=moved), encoding="utf-8")
    (folder / "index.md").write_text("# Book\n\n```{toctree}\npart/new\n```\n", encoding="utf-8")
    (folder / "part" / "new.md").write_text("# A & B\n\nText.\n", encoding="utf-8")
    warnings = io.StringIO()
    places = (folder, folder, folder / "html", folder / "trees")
    with docutils_namespace():
        app = Sphinx(*places, "html", status=None, warning=warnings)
        app.build()
    return folder / "html", warnings.getvalue()


def test_an_old_address_leads_on(tmp_path):
    moved = {"old": "part/new", "part/older": "part/new", "gone/deep/oldest": "part/new"}
    site, warnings = build(tmp_path, moved)
    assert "moved_pages" not in warnings
    for old, target in {
        "old": "part/new.html",
        "part/older": "new.html",
        "gone/deep/oldest": "../../part/new.html",
    }.items():
        page = (site / f"{old}.html").read_text(encoding="utf-8")
        assert ((site / old).parent / target).resolve() == (site / "part" / "new.html").resolve()
        assert f'<a href="{target}">A &amp; B</a>' in page
        assert f"url={target}" in page and f"location.replace({target!r} + location.hash)" in page
        assert 'href="https://somebody.github.io/course/part/new.html"' in page


@pytest.mark.parametrize(
    ("moved", "warning"),
    [
        ({"part/new": "index"}, "moved_pages: part/new is a page"),
        ({"old": "part/none"}, "moved_pages: old has moved to part/none, which is no page"),
    ],
)
def test_an_address_that_leads_nowhere_is_a_warning(tmp_path, moved, warning):
    site, warnings = build(tmp_path, moved)
    assert warning in warnings
    assert "moved:" not in (site / "part" / "new.html").read_text(encoding="utf-8").lower()
    assert not (site / "old.html").exists()
