"""*Cite this chapter*: a closed entry for BibTeX at the end of each chapter."""

from typing import Any

import site_address
from docutils import nodes
from dropdowns import dropdown
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms.post_transforms import SphinxPostTransform


def entry(config: Config, page: str, title: str) -> str:
    """The entry of a page such as `book/linearization`."""
    fields = {
        # Doubled braces: the title's capitals stay, and the author is not taken apart into names.
        "author": f"{{{config.author}}}",
        "title": f"{{{title}}}",
        "booktitle": f"{{{config.project}}}",
        "year": config.copyright,
        "note": f"Version {config.release}",
        "url": f"{site_address.address(config).site}{page}.html",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@incollection{{tangent-kernels-{page.rsplit('/')[-1]},", *lines, "}"])


class _CiteChapter(SphinxPostTransform):
    # Before sphinx-design writes what is closed.
    default_priority = 8

    def run(self, **_options: Any) -> None:
        page = self.env.docname
        if str(self.env.doc2path(page)).endswith(".ipynb"):
            text = entry(self.config, page, self.env.titles[page].astext())
            code = nodes.literal_block(text, text, language="bibtex")
            chapter = next(iter(self.document.findall(nodes.section)))
            chapter += dropdown([nodes.Text("Cite this chapter")], [code])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_post_transform(_CiteChapter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
