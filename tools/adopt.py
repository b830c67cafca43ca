"""Give the repository another address: `python tools/adopt.py https://github.com/owner/name`.

The address stands in _config.yml; what is derived from it (the chapters' install cells, the links
for Colab, the published site) is rewritten with it in every file of the repository.
"""

import argparse
import re
import sys
from pathlib import Path

from project import ROOT, Obstacle, address, published_site, run_tool, text_files, write

PARTS = re.compile(r"https://github\.com/([A-Za-z0-9_-]+)/([A-Za-z0-9_.-]+)")
# Where a repository's owner and name stand in addresses, and what may not follow the name.
FORMS = (
    "github.com/{owner}/{name}",
    "colab.research.google.com/github/{owner}/{name}",
    "raw.githubusercontent.com/{owner}/{name}",
)
NAME_ENDS = r"(?![A-Za-z0-9_-]|\.(?!git\b)[A-Za-z0-9])"


def owner_and_name(url: str) -> tuple[str, str]:
    """The two parts of a repository's address.

    A slash or `.git` at the end is tolerated; anything else that is not
    https://github.com/owner/name is a ValueError.
    """
    match = PARTS.fullmatch(url.strip().removesuffix("/").removesuffix(".git"))
    if match is None or match[2] in {".", ".."}:
        raise ValueError(f"URL must be https://github.com/owner/name, got {url!r}")
    return match[1], match[2]


def rewrite(text: str, old: tuple[str, str], new: tuple[str, str]) -> str:
    """The text with every form of the old address replaced by the new one's."""
    for form in FORMS:
        before = re.escape(form.format(owner=old[0], name=old[1]))
        after = form.format(owner=new[0], name=new[1])
        text = re.sub(rf"(?<![\w.-]){before}{NAME_ENDS}", after, text)
    before, after = (published_site(*parts).removesuffix("/") for parts in (old, new))
    # A host may be written in large letters too.
    return re.sub(rf"(?i:{re.escape(before)}){NAME_ENDS}", after, text)


def adopt(url: str, root: Path = ROOT) -> list[Path]:
    """Rewrite the address in all files; those that changed.

    Its home is rewritten last, so that a run that was stopped is completed by another one.
    """
    old, new = owner_and_name(address(root)), owner_and_name(url)
    home, texts = root / "_config.yml", text_files(root)
    if home not in texts:
        raise Obstacle(f"git does not list {home}: it ignores this folder")
    changed = []
    for path in sorted(texts, key=lambda path: (path == home, path)):
        rewritten = rewrite(texts[path], old, new)
        if rewritten != texts[path]:
            write(path, rewritten)
            changed.append(path)
    return changed


def main() -> int:
    """Adopt the address named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", metavar="URL")
    url = parser.parse_args().url
    try:
        changed = adopt(url)
    except ValueError as error:
        raise Obstacle(f"{error}; for example: make adopt URL=https://github.com/you/it") from error
    for path in changed:
        print(f"rewritten: {path.relative_to(ROOT)}")
    print(f"The repository's address is {address()}; files changed: {len(changed)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool("adopt", main))
