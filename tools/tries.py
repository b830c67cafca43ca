"""Run what a chapter invites its readers to run: every **Try**, and the code of its solutions.

`make tries [NOTEBOOK=...]` executes the notebooks, all of the book's without one, with these in
between, and writes nothing.

A Markdown cell that begins with `**Try**` belongs to the code cell right above. Its first inline
code is an assignment, such as `m = 64`, which replaces the value of that name's assignment or
keyword argument in the cell; or it is anything else, which runs after the cell.
"""

import argparse
import ast
import os
import re
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from project import CELL_TIMEOUT, chapters, one_pass, run_tool

# Cells that a run inserts carry this tag.
TAG = "try"

_TRY = re.compile(r"\*\*Try\*\*")
_INLINE = re.compile(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_SOLUTION = re.compile(
    r"^(?P<fence>:{3,})\{solution\} (?P<label>\S+)$(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Runs a text in the notebook's own namespace, and leaves that as it was: names, and generators of
# random numbers, which would give the cells that follow other numbers. What is changed in place
# stays changed.
_RUN = """
def _run(where, source):
    import matplotlib.pyplot
    import numpy

    names = dict(globals())
    generators = [v for v in names.values() if isinstance(v, numpy.random.Generator)]
    states = [generator.bit_generator.state for generator in generators]
    outcome = get_ipython().run_cell(source, store_history=False)
    matplotlib.pyplot.close("all")
    for name in set(globals()) - set(names):
        del globals()[name]
    globals().update(names)
    for generator, state in zip(generators, states):
        generator.bit_generator.state = state
    if not outcome.success:
        error = outcome.error_before_exec or outcome.error_in_exec
        raise RuntimeError(f"{where}: {type(error).__name__}: {error}")


_run(%r, %r)
del _run
"""


class Extra(NamedTuple):
    """Code that a run adds to a notebook.

    Attributes:
        after: the place, among the notebook's code cells, of the one that it follows.
        where: chapter, cell and what stands there, for messages.
        source: the code.
    """

    after: int
    where: str
    source: str

    def cell(self) -> Any:
        """A code cell that runs it, and fails with `where` if it fails."""
        # nbval looks at the errors of such a cell, not at its outputs.
        metadata = {"tags": [TAG, "nbval-ignore-output"]}
        return nbformat.v4.new_code_cell(_RUN % (self.where, self.source), metadata=metadata)


def extras(notebook: Any, chapter: str) -> list[Extra]:
    """Every Try of a notebook, and the code of every solution behind its last cell.

    Raises:
        ValueError: for a Try without code, without a code cell right above it, or that changes
            nothing there; and for code that is none.
    """
    found, solutions, code = [], [], -1
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            code += 1
            continue
        if cell.cell_type != "markdown":
            continue
        where = f"{chapter}, cell {place}"
        if _TRY.match(cell.source):
            inline = _INLINE.search(cell.source)
            if inline is None:
                raise ValueError(f"{where}: a Try must have its code in backticks")
            where = f"{where}, Try `{inline[2]}`"
            above = notebook.cells[place - 1] if place else cell
            if above.cell_type != "code":
                raise ValueError(f"{where}: must stand right below a code cell")
            found.append(Extra(code, where, _changed(above.source, inline[2].strip(), where)))
        for label, source in solution_codes(cell.source):
            solutions.append((f"{where}, solution {label}", source))
    last = sum(cell.cell_type == "code" for cell in notebook.cells) - 1
    for where, source in solutions:
        _parsed(source, where)
        found.append(Extra(last, where, source))
    return found


def solution_codes(text: str) -> Iterator[tuple[str, str]]:
    """Label and Python code of the solutions in a Markdown text that have some."""
    for solution in _SOLUTION.finditer(text):
        if blocks := _PYTHON.findall(solution["text"]):
            yield solution["label"], "\n".join(blocks)


def with_extras(notebook: Any, added: Sequence[Extra]) -> Any:
    """A copy of the notebook with a cell for each of these."""
    copy = deepcopy(notebook)
    cells, code = [], -1
    for cell in copy.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            code += 1
            cells += [extra.cell() for extra in added if extra.after == code]
    copy.cells = cells
    return copy


def _changed(source: str, code: str, where: str) -> str:
    """The cell with the values that `code` assigns; or with `code` below it."""
    statements = _parsed(code, where).body
    if not statements:
        raise ValueError(f"{where}: must have code that does something")
    assigned = []
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                assigned.append((name, value))
    if len(assigned) < len(statements):
        return f"{source}\n{code}"
    tree, edits = _parsed(source, where), []
    for name, value in assigned:
        old = _value_of(name, tree, where)
        if ast.dump(old) == ast.dump(value):
            raise ValueError(f"{where}: {name} has this value in the cell above already")
        edits.append((_span(source, old), ast.unparse(value)))
    for (start, end), text in sorted(edits, reverse=True):
        source = source[:start] + text + source[end:]
    return source


def _parsed(code: str, where: str) -> ast.Module:
    try:
        return ast.parse(code)
    except SyntaxError as error:
        raise ValueError(f"{where}: must be Python, got {code!r}: {error.msg}") from None


def _value_of(name: str, tree: ast.Module, where: str) -> ast.expr:
    """What a cell assigns to a name or, if it does not, passes as the argument of that name."""
    nodes = list(ast.walk(tree))
    values = [value for node in nodes for target, value in _assignments(node) if target == name]
    if not values:
        values = [
            node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == name
        ]
    if not values:
        raise ValueError(f"{where}: the cell above has no {name} = … to change")
    if len(values) > 1:
        raise ValueError(f"{where}: the cell above has {name} = … {len(values)} times, which one?")
    return values[0]


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names and values of an assignment, also of `m, d = 64, 10`."""
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        match target, node.value:
            case ast.Name(id=name), value:
                yield name, value
            case ast.Tuple(elts=names), ast.Tuple(elts=values) if len(names) == len(values):
                for left, right in zip(names, values, strict=True):
                    if isinstance(left, ast.Name):
                        yield left.id, right


def _span(source: str, node: ast.expr) -> tuple[int, int]:
    """Where a node begins and ends; Python counts lines, and bytes in a line."""
    lines = source.encode().splitlines(keepends=True)

    def position(line: int, column: int) -> int:
        return len(b"".join([*lines[: line - 1], lines[line - 1][:column]]).decode())

    if node.end_lineno is None or node.end_col_offset is None:
        raise ValueError(f"node must come from a text, got {ast.dump(node)}")
    return position(node.lineno, node.col_offset), position(node.end_lineno, node.end_col_offset)


def failure(path: Path) -> str | None:
    """What goes wrong when a notebook runs with its Tries and solutions; None if nothing does."""
    notebook = nbformat.read(path, as_version=4)
    try:
        added = extras(notebook, path.stem)
        client = NotebookClient(
            with_extras(notebook, added),
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(path.parent)}},
        )
        client.execute()
    except (ValueError, CellExecutionError) as error:
        return str(error)
    print(f"{path.stem}: {len(added)} run", flush=True)
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebooks named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", nargs="*", type=Path)
    paths = [path.resolve() for path in parser.parse_args(arguments).notebook] or chapters()
    os.environ.update(one_pass(level=1))
    failures = list(filter(None, map(failure, paths)))
    print("\n".join(failures), end="\n" if failures else "", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(run_tool("tries", main))
