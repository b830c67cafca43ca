"""Execute the book's notebooks in place, so that running one again leaves it byte for byte.

`python tools/notebooks.py [NOTEBOOK ...]`; all of the book's without arguments.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from project import CELL_TIMEOUT, LOCKED, ROOT, chapters, one_pass, read, run_tool, write

CELL_METADATA = {"tags", "mystnb"}
NOTEBOOK_METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
# The place of an object in memory differs from run to run.
MEMORY_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook, executed in its own folder and normalized."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    normalize(notebook)
    return notebook


def normalize(notebook: nbformat.NotebookNode) -> None:
    """Drop what differs between runs and machines; keep what the book reads."""
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for index, cell in enumerate(notebook.cells):
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in CELL_METADATA}
        cell.setdefault("id", f"cell-{index}")
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)


def merge_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join neighbouring pieces of one stream: where it is cut depends on the clock."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and last.output_type == output.output_type == "stream" and last.name == output.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def output_faults(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """What a committed notebook's outputs must not hold, cell by cell."""
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
            if output.output_type == "error":
                yield f"cell {index} raises {output.ename}: {output.evalue}"
            elif output.get("name") == "stderr":
                yield f"cell {index} writes to stderr: {text.strip()}"
            elif MEMORY_ADDRESS.search(text):
                yield f"cell {index} shows a place in memory: {text.strip()}"


def refresh(path: Path) -> list[str]:
    """Execute one notebook and write it if it changed; the faults found, then nothing written."""
    start = perf_counter()
    try:
        notebook = execute(path)
    except CellExecutionError as error:
        return [str(error)]
    if faults := list(output_faults(notebook)):
        return faults
    before, after = read(path), nbformat.writes(notebook) + "\n"
    if after != before:
        write(path, after)
    change = "changed" if after != before else "unchanged"
    print(f"{name(path)}: {change}, {perf_counter() - start:.1f} s", flush=True)
    return []


def name(path: Path) -> str:
    """The notebook's path from the root of the repository."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def main() -> int:
    """Execute the notebooks named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", nargs="*", type=Path)
    paths = [path.resolve() for path in parser.parse_args().notebook] or chapters()
    if missing := [path for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(name(path) for path in missing)}")
    os.environ.update(LOCKED | one_pass(level=1))
    faults = [f"{name(path)}: {fault}" for path in paths for fault in refresh(path)]
    print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(run_tool("notebooks", main))
