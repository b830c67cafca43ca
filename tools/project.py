"""What the repository's scripts share: its places, its address, its files and its timings."""

import importlib.metadata
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
SITE = BUILD / "html"
TIMINGS = BUILD / "timings.json"
CELL_TIMEOUT = 600  # seconds for one cell: ten times what a whole chapter may take


def address(root: Path = ROOT) -> str:
    """The repository's address, from its one home: `repository: url:` in _config.yml."""
    url = yaml.safe_load((root / "_config.yml").read_text())["repository"]["url"]
    return str(url)


def published_site(owner: str, name: str) -> str:
    """Where GitHub Pages serves the site of a repository, with a closing slash.

    A repository that has the name of its owner's host is served at the root of it.
    """
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of the book, in alphabetical order."""
    found = sorted((root / "book").rglob("*.ipynb"))
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def files(root: Path = ROOT) -> list[Path]:
    """The files that are in git or would be: tracked or new, and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return [root / name for name in sorted(set(listed)) if name and (root / name).is_file()]


def text_files(root: Path = ROOT) -> dict[Path, str]:
    """The text of each of these files that is text in UTF-8, line ends as they are."""
    texts = {}
    for path in files(root):
        try:
            texts[path] = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
    return texts


def timings() -> dict[str, Any]:
    """The seconds measured so far, by what was measured; empty before the first run."""
    return json.loads(TIMINGS.read_text()) if TIMINGS.exists() else {}


def record(measured: dict[str, float]) -> None:
    """Add measured seconds to the timings."""
    BUILD.mkdir(exist_ok=True)
    merged = {**timings(), **{name: round(seconds, 1) for name, seconds in measured.items()}}
    TIMINGS.write_text(json.dumps(merged, indent=1, sort_keys=True) + "\n")


def one_pass(level: int) -> dict[str, str]:
    """Variables for work whose programs run once each: compiling them is what takes time.

    At `level` 1 XLA leaves out the costly half of its optimizations, at 0 nearly all of them. To
    compile what the tests of `tangent_kernel` need took 0.53 and 0.29 of the time at level 3.
    """
    # One core compiles a program and computes its linear algebra; the other has work of its own,
    # and threads that wait for one another on a busy core cost more than the work.
    flags = [
        "--xla_cpu_parallel_codegen_split_count=1",
        f"--xla_backend_optimization_level={level}",
    ]
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        # Later versions do not know the flag and refuse to start.
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return {"XLA_FLAGS": " ".join(flags), "OPENBLAS_NUM_THREADS": "1"}
