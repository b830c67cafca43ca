"""What the last `make benchmark` measured, as tables.

`{benchmark} mlp` shows the cases whose names begin so; `{benchmark-machine}` the machine; with the
option `:accelerator:` those of the run on one.
"""

import json
from statistics import median
from typing import Any, ClassVar

import project
from course_tables import table
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_FOLDER = project.ROOT / "book" / "reference"


class _Measured(SphinxDirective):
    option_spec: ClassVar[dict[str, Any]] = {"accelerator": directives.flag}

    def stored(self) -> dict[str, Any]:
        name = "benchmark-accelerator" if "accelerator" in self.options else "benchmark"
        file = _FOLDER / f"{name}.json"
        self.env.note_dependency(str(file))
        return dict(json.loads(project.read(file)))


def rows(case: dict[str, Any], gflops: float) -> list[list[str]]:
    """A line for each side of a case; the library comes first."""
    sides = case["measured"]
    ours = median(sides[0]["seconds"])
    found = []
    for side in sides:
        seconds = median(side["seconds"])
        kernel = case["products"] and side["side"].startswith("ours")
        rate = case["products"] / seconds / 1e9 / gflops
        found.append(
            [
                case["name"] if side is sides[0] else "",
                side["side"],
                f"{seconds:.3g} s",
                f"{seconds / ours:.2f}",
                f"{rate:.2f}" if kernel else "",
                f"{side['compile_seconds']:.1f} s",
                "" if side["megabytes"] is None else f"{side['megabytes']:.0f} MB",
                f"{case['load']:.1f}" if side is sides[0] else "",
            ]
        )
    return found


class _Benchmark(_Measured):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        stored = self.stored()
        gflops = stored["machine"]["matrix_product_gflops"]
        cases = [case for case in stored["cases"] if case["name"].startswith(self.arguments[0])]
        if not cases:
            raise self.error(f"no case of the benchmark begins with {self.arguments[0]!r}")
        heads = ["Case", "Side", "Median", "Over ours", "Rate", "Compiling", "Memory", "Load"]
        lines = [line for case in cases for line in rows(case, gflops)]
        return [table(heads, lines, "course-benchmark")]


class _Machine(_Measured):
    def run(self) -> list[nodes.Node]:
        stored = self.stored()
        machine = stored["machine"]
        accelerators = ", ".join(machine["accelerators"]) or "no GPU"
        seen: dict[str, set[str]] = {}
        for case in stored["cases"]:
            for side in case["measured"]:
                name = side["side"] if side["side"] in ("neural-tangents", "netket") else "ours"
                versions = side["versions"].items()
                seen.setdefault(name, set()).update(f"{key} {value}" for key, value in versions)
        imports = stored["import_seconds"]
        text = (
            f"Measured on {stored['day']}: {machine['processor']}, {machine['cores']} cores, "
            f"{machine['gigabytes']} GB of memory, {machine['system']}; {accelerators}. A product "
            f"of two matrices of 4096 rows runs at {machine['matrix_product_gflops']} GFLOP/s. "
            f"Importing the library takes {imports['library'] / imports['jax']:.2f} times as long "
            "as importing JAX. "
        )
        text += " ".join(f"{name}: {', '.join(sorted(held))}." for name, held in seen.items())
        return [nodes.paragraph("", text)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("benchmark", _Benchmark)
    app.add_directive("benchmark-machine", _Machine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
