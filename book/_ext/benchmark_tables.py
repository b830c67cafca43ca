"""What the last `make benchmark` measured, as tables.

`{benchmark} mlp` shows the cases whose names begin so; `{benchmark-machine}` the machine.
"""

import json
from statistics import median
from typing import Any

import project
from course_tables import table
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_FILE = project.ROOT / "book" / "reference" / "benchmark.json"


def _stored(directive: SphinxDirective) -> dict[str, Any]:
    directive.env.note_dependency(str(_FILE))
    return dict(json.loads(project.read(_FILE)))


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


class _Benchmark(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        stored = _stored(self)
        gflops = stored["machine"]["matrix_product_gflops"]
        cases = [case for case in stored["cases"] if case["name"].startswith(self.arguments[0])]
        if not cases:
            raise self.error(f"no case of the benchmark begins with {self.arguments[0]!r}")
        heads = ["Case", "Side", "Median", "Over ours", "Rate", "Compiling", "Memory", "Load"]
        lines = [line for case in cases for line in rows(case, gflops)]
        return [table(heads, lines, "course-benchmark")]


class _Machine(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        stored = _stored(self)
        machine = stored["machine"]
        accelerators = ", ".join(machine["accelerators"]) or "no GPU was available"
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
