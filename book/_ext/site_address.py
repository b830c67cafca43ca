"""Everything that follows from the repository's address in `_config.yml`.

Jupyter Book hands `repository: url:` to the theme; the site's own address and the places where
the Colab copies live are derived from it here, so that a fork changes one line.
"""

import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import ntklab
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

# What the repository's scripts share, the address of the site among it.
sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
from project import published_site

_GITHUB = re.compile(r"https://github\.com/(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)")


class Address(NamedTuple):
    """A GitHub repository, and what it publishes."""

    owner: str
    name: str

    @property
    def site(self) -> str:
        """Where GitHub Pages serves the book, with a closing slash."""
        return published_site(self.owner, self.name)

    def colab(self, page: str) -> str:
        """Where Colab opens the generated copy of a page, such as `book/linearization`."""
        github = f"https://colab.research.google.com/github/{self.owner}/{self.name}"
        return f"{github}/blob/gh-pages/{copy_path(page)}"


def copy_path(page: str) -> str:
    """Where the Colab copy of a page lies in the built site."""
    return f"colab/{page.rsplit('/', 1)[-1]}.ipynb"


def parse(url: str) -> Address:
    """Read `https://github.com/owner/name`.

    Raises:
        ConfigError: for any other form.
    """
    match = _GITHUB.fullmatch(url)
    if match is None:
        raise ConfigError(
            f"repository: url: in _config.yml must be https://github.com/owner/name, got {url!r}"
        )
    return Address(match["owner"], match["name"])


def address(config: Config) -> Address:
    """The address of the repository that the book is built from."""
    return parse(config.html_theme_options.get("repository_url", ""))


def _derive(_app: Sphinx, config: Config) -> None:
    site = address(config).site
    config.html_baseurl = site
    config.ogp_site_url = site
    # What an EPUB and a title page state is the library's.
    config.version = config.release = ntklab.__version__


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    # Ahead of the sitemap and the page metadata, which read these values.
    app.connect("config-inited", _derive, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
