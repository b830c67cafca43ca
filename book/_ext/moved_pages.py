"""A page that has moved leaves its address behind: `moved_pages` in `_config.yml`, old to new.

    moved_pages: {book/old: book/new}

The old address shows where the page is now and goes there, with the place on it that was asked for.
A target that is no page, and an old address that is one again, are warnings.
"""

import html
import posixpath
from pathlib import Path
from typing import Any

import project
import site_address
from sphinx.application import Sphinx
from sphinx.util import logging

_LOG = logging.getLogger(__name__)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Moved: {title}</title>
<link rel="canonical" href="{canonical}">
<meta name="robots" content="noindex">
<meta http-equiv="refresh" content="2; url={target}">
<script>location.replace({target!r} + location.hash)</script>
<p>This page has moved: <a href="{target}">{title}</a>.</p>
</html>
"""


def _write(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    site = site_address.address(app.config).site
    for old, new in app.config.moved_pages.items():
        if old in app.env.found_docs:
            _LOG.warning("moved_pages: %s is a page", old)
        elif new not in app.env.found_docs:
            _LOG.warning("moved_pages: %s has moved to %s, which is no page", old, new)
        else:
            page = Path(app.outdir, f"{old}.html")
            page.parent.mkdir(parents=True, exist_ok=True)
            filled = _PAGE.format(
                title=html.escape(app.env.titles[new].astext()),
                canonical=f"{site}{new}.html",
                target=posixpath.relpath(f"{new}.html", posixpath.dirname(old) or "."),
            )
            project.write(page, filled)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_config_value("moved_pages", {}, "html", dict)
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
