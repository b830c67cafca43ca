"""Names of JAX, NumPy and SciPy that lead to their documentation.

The inventories for `sphinx.ext.intersphinx` are written here, from the names below, so that a build
needs no network and does not change from one day to the next. Short names stand for what
annotations print. `make canary` looks whether the addresses still exist.
"""

import zlib
from pathlib import Path
from typing import Any

from project import write
from sphinx.application import Sphinx
from sphinx.config import Config

_JAX = "_autosummary/{}.html"
_GENERATED = "reference/generated/{}.html"
#: Project: its documentation, where a name's page is, and its classes and functions.
PROJECTS: dict[str, tuple[str, str, dict[str, tuple[str, ...]]]] = {
    "jax": (
        "https://docs.jax.dev/en/latest/",
        _JAX,
        {
            "class": ("jax.Array", "jax.ShapeDtypeStruct"),
            "function": ("jax.checkpoint", "jax.custom_vjp", "jax.grad", "jax.jit", "jax.vmap"),
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        _GENERATED,
        {"class": ("numpy.ndarray",), "function": ("numpy.load", "numpy.memmap")},
    ),
    "scipy": (
        "https://docs.scipy.org/doc/scipy/",
        _GENERATED,
        {"class": ("scipy.sparse.linalg.LinearOperator",), "function": ()},
    ),
}
#: What annotations print without its module.
SHORT = {
    "Array": "jax.Array",
    "ndarray": "numpy.ndarray",
    "LinearOperator": "scipy.sparse.linalg.LinearOperator",
}
NAMES = frozenset(
    name for _, _, kinds in PROJECTS.values() for names in kinds.values() for name in names
)


def inventory(project: str) -> bytes:
    """The names of a project in the form that Sphinx reads."""
    _, page, kinds = PROJECTS[project]
    lines = [
        f"{alias} py:{kind} 1 {page.format(name)}#{name} -\n"
        for kind, names in kinds.items()
        for name in names
        for alias in (name, *(short for short, full in SHORT.items() if full == name))
    ]
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    return head.encode() + zlib.compress("".join(lines).encode())


def _write(app: Sphinx, config: Config) -> None:
    folder = Path(app.doctreedir, "inventories")
    folder.mkdir(parents=True, exist_ok=True)
    for name, (site, _, _) in PROJECTS.items():
        path = folder / f"{name}.inv"
        write(path, inventory(name))
        config.intersphinx_mapping[name] = (site, str(path))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("sphinx.ext.intersphinx")
    # Before intersphinx looks at its mapping.
    app.connect("config-inited", _write, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
