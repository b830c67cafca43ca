"""Compare the library's speed with public tools', side by side in one run.

Seconds differ between machines, and on one machine from hour to hour: so the sides of a case take
turns, each in a process of its own, with what it compiled kept; medians are compared. Compiling is
timed apart, and so is the memory by which a process grows in a run.

`make benchmark` computes all cases and replaces what the page shows. It keeps each case when it is
done: a run that was interrupted goes on where it stopped. `python -m benchmark NAME ...` computes
some cases, shows them and keeps nothing. With a JAX that finds an accelerator, as after
`JAX_PLATFORMS=cuda`, the library is compared there with what runs beside it in one environment; the
page shows that apart.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import IO, Any

from project import BUILD, ROOT, Obstacle, chapters, read, write

RESULTS = ROOT / "book" / "reference"
WORKER = Path(__file__).with_name("worker.py")
PEERS = BUILD / "peers"

# Which sides run elsewhere than in the library's own environment.
ENVIRONMENTS = {"neural-tangents": "neural-tangents", "netket": "netket"}
# Bytes of a Jacobian up to which it is stored, and on an accelerator: twice that is in work.
STORED, STORED_THERE = 4e9, 16e9
# A side that has taken as many seconds takes no more turns than these.
PATIENCE, FEWEST = 30.0, 3
# On an accelerator, products of single precision have fewer digits unless one asks for all, and the
# first process would take all of its memory.
ON_ACCELERATOR = {
    "JAX_DEFAULT_MATMUL_PRECISION": "float32",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
# Single precision, sums of some thousand terms in another order, and units of ReLU that are on
# for one side and off for the other.
AGREEMENT = 2e-3


@dataclass(frozen=True)
class Case:
    """What is computed by several sides.

    Attributes:
        name: by which it is known.
        what: `full` or `trace` for the kernel of a model, `infinite` for a limit, `flow` for
            training by a kernel.
        sides: who computes it; the first is the library.
        turns: how often each of them, at most.
        points: N.
        inputs: the dimension of a point.
        model: one of the worker's `MODELS`.
        width: of its hidden layers.
        outputs: K.
        depth: hidden layers of a limit.
    """

    name: str
    what: str
    sides: tuple[str, ...]
    turns: int
    points: int
    inputs: int = 784
    model: str = ""
    width: int = 1024
    outputs: int = 1
    depth: int = 3

    @property
    def jacobian(self) -> float:
        """The bytes of all gradients of an `mlp`, 0 for anything else."""
        if self.model != "mlp":
            return 0.0
        w, k = self.width, self.outputs
        return 4.0 * self.points * k * (self.inputs * w + 2 * w * w + k * w)

    @property
    def products(self) -> float:
        """The operations that the kernel of an `mlp` needs at least, 0 for anything else.

        Forwards and backwards once for each point, and for each layer two Gram matrices, of which
        half is enough. What is done element by element is not counted.
        """
        if self.model != "mlp":
            return 0.0
        w, n, k = self.width, self.points, self.outputs
        weights = self.inputs * w + 2 * w * w + k * w
        back = k * (2 * w * w + k * w)
        pairs = n * (n + 1) / 2
        signals = 3 * w * (1 if self.what == "trace" else k) * k
        entering = self.inputs + 3 * w
        return 2 * n * (weights + back) + 2 * pairs * (entering + signals)


def kernel_of_mlp(points: int, turns: int, **changes: Any) -> Case:
    """The network of three hidden layers, by all who can hold what they need."""
    sides = ("ours", "ours, written out", "neural-tangents", "one product")
    what = changes.pop("what", "full")
    name = f"mlp-{points}" + (f"-{changes['outputs']}-{what}" if changes else "")
    case = Case(name, what, sides, turns, points, model="mlp", **changes)
    stored = ("netket", "stored Jacobian") if case.jacobian <= STORED else ()
    return replace(case, sides=sides + stored)


CASES = [
    kernel_of_mlp(256, 15),
    kernel_of_mlp(1000, 11),
    kernel_of_mlp(4000, 5),
    kernel_of_mlp(8000, 3),
    kernel_of_mlp(1000, 5, outputs=10),
    kernel_of_mlp(1000, 5, outputs=10, what="trace"),
    *(
        Case(
            model,
            "full",
            ("ours", "neural-tangents", "netket", "stored Jacobian"),
            9,
            128,
            model=model,
        )
        for model in ("convolutions", "attention")
    ),
    *(
        Case(
            f"infinite-{depth}",
            "infinite",
            ("ours", "neural-tangents", "one product"),
            9,
            2000,
            depth=depth,
        )
        for depth in (1, 3, 5)
    ),
    Case("flow-4000", "flow", ("ours", "lapack evd", "lapack evr"), 3, 4000),
]


# The cases on an accelerator.
THERE = ("mlp-1000", "mlp-8000", "convolutions", "attention", "infinite-3")


def accelerated() -> bool:
    """Whether JAX computes on an accelerator here."""
    import jax

    return jax.default_backend() != "cpu"


def cases() -> list[Case]:
    """What is compared here: on an accelerator a part, by whoever needs no other environment."""
    if not accelerated():
        return CASES
    found = []
    for case in CASES:
        sides = [side for side in case.sides if side not in ENVIRONMENTS]
        if STORED < case.jacobian <= STORED_THERE:
            sides.append("stored Jacobian")
        if case.name in THERE:
            found.append(replace(case, sides=tuple(sides)))
    return found


@dataclass
class Measured:
    """What was measured of one side of a case.

    Attributes:
        side: whose.
        compile_seconds: what the first run took beyond a later one.
        seconds: of each turn.
        megabytes: the memory that a run takes; None where nobody counts it.
        versions: of what it ran with.
    """

    side: str
    compile_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    megabytes: float | None = None
    versions: dict[str, str] = field(default_factory=dict)


class Worker:
    """The process of one side: see `worker`."""

    def __init__(self, side: str, case: Case) -> None:
        home = PEERS / ENVIRONMENTS[side] / "bin" if side in ENVIRONMENTS else None
        python = sys.executable if home is None else str(home / "python")
        # What a run has compiled is not kept, or compiling would take no time; flags for tests
        # would make slow programs.
        left_out = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_X64", "XLA_FLAGS")
        env = {
            name: value
            for name, value in os.environ.items()
            # A kind of processor that is named for old builds slows the new ones.
            if name not in left_out and (home is not None or not name.startswith("OPENBLAS_"))
        }
        self.name = f"{case.name}, {side}"
        self.process = subprocess.Popen(
            [python, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=env,
        )
        self.first = self.ask(json.dumps({"side": side, "case": asdict(case)}))

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line, wait for the answer."""
        stdin, stdout = pipe(self.process.stdin), pipe(self.process.stdout)
        with contextlib.suppress(BrokenPipeError):
            stdin.write(line + "\n")
            stdin.flush()
        answer = stdout.readline()
        if not answer:
            said = pipe(self.process.stderr).read().strip().splitlines() or ["nothing"]
            raise Obstacle(f"{self.name}: ended with {self.process.wait()}: {said[-1]}")
        return dict(json.loads(answer))

    def end(self) -> None:
        """Close the process."""
        pipe(self.process.stdin).close()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            pipe(stream).close()


def pipe(stream: IO[str] | None) -> IO[str]:
    """A stream of a process that was opened with one."""
    assert stream is not None
    return stream


def run(case: Case) -> dict[str, Any]:
    """Compute a case by all of its sides in turns."""
    workers: list[Worker] = []
    loads = []
    try:
        for side in case.sides:
            workers.append(Worker(side, case))
        compare(case, [worker.first["head"] for worker in workers])
        measured = [
            Measured(side, versions=worker.first["versions"])
            for side, worker in zip(case.sides, workers, strict=True)
        ]
        for one, worker in zip(measured, workers, strict=True):
            taken = worker.ask("memory")["bytes"]
            one.megabytes = None if taken is None else taken / 1e6
        for turn in range(case.turns):
            loads.append(os.getloadavg()[0])
            for one, worker in zip(measured, workers, strict=True):
                if turn < FEWEST or sum(one.seconds) < PATIENCE:
                    one.seconds.append(worker.ask("run")["seconds"])
        for one, worker in zip(measured, workers, strict=True):
            one.compile_seconds = max(0.0, worker.first["seconds"] - median(one.seconds))
    finally:
        for worker in workers:
            worker.end()
    return {
        **asdict(case),
        "products": case.products,
        "load": median(loads),
        "measured": [asdict(one) for one in measured],
    }


def compare(case: Case, heads: Sequence[Any]) -> None:
    """Refuse to time sides that compute different things; products stand beside for their speed."""
    import numpy as np

    shown = [np.asarray(head, float) for head in heads]
    for side, head in zip(case.sides, shown, strict=True):
        if side == "one product":
            continue
        if head.shape != shown[0].shape or np.max(np.abs(head - shown[0])) > AGREEMENT * np.max(
            np.abs(shown[0])
        ):
            raise Obstacle(
                f"{case.name}: {side} computes {head.tolist()}, ours {shown[0].tolist()}"
            )


# --- the machine ----------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What of this machine decides the speed, its matrix products' rate among it."""
    import jax

    named = dict(
        line.partition(":")[::2]
        for line in (read(Path("/proc/cpuinfo")) if sys.platform == "linux" else "").splitlines()
    )
    processor = {name.strip(): value.strip() for name, value in named.items()}.get("model name")
    devices = jax.devices()
    gpus = [device.device_kind for device in devices if device.platform != "cpu"]
    return {
        "processor": processor or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "gigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": platform.system(),
        "accelerators": gpus,
        "matrix_product_gflops": round(matrix_product_rate()),
    }


def matrix_product_rate(size: int = 4096) -> float:
    """Operations of a product of two square matrices in single precision, in 10⁹ a second."""
    import jax
    import jax.numpy as jnp

    x = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    product(x).block_until_ready()
    taken = []
    for _ in range(5):
        start = perf_counter()
        product(x).block_until_ready()
        taken.append(perf_counter() - start)
    return 2 * size**3 / median(taken) / 1e9


def import_times(turns: int = 7) -> dict[str, float]:
    """Importing all of the library that computes, and JAX alone, each in a new interpreter."""
    modules = ", ".join(path.stem for path in chapters())
    statements = {
        "library": f"from ntklab import networks, ledger, {modules}",
        "jax": "import jax",
    }
    taken: dict[str, list[float]] = {name: [] for name in statements}
    for turn in range(turns + 1):
        for name, statement in statements.items():
            start = perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            if turn:
                taken[name].append(perf_counter() - start)
    return {name: median(seconds) for name, seconds in taken.items()}


# --- what is kept and shown -----------------------------------------------------------------------


def lines(measured: dict[str, Any]) -> Iterator[str]:
    """A case for the screen: a line for each side."""
    sides = measured["measured"]
    yield f"{measured['name']}  (load {measured['load']:.1f})"
    ours = median(sides[0]["seconds"])
    for side in sides:
        seconds = median(side["seconds"])
        memory = math.nan if side["megabytes"] is None else side["megabytes"]
        yield (
            f"  {side['side']:<20}{seconds:9.4f} s  {seconds / ours:6.2f} times ours"
            f"{side['compile_seconds']:8.1f} s to compile{memory:8.0f} MB"
        )


def rounded(value: Any) -> Any:
    """Numbers with four digits, which is more than a timing has."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: rounded(held) for name, held in value.items()}
    return [rounded(held) for held in value] if isinstance(value, list | tuple) else value


def main() -> int:
    """Compute the cases asked for; all of them for the page."""
    os.environ.update(ON_ACCELERATOR)
    known = cases()
    names = [case.name for case in known]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=" ".join(names))
    asked = parser.parse_args().name
    if unknown := set(asked) - set(names):
        parser.error(f"no such case: {', '.join(unknown)}; there are {' '.join(names)}")
    if asked:
        for case in known:
            if case.name in asked:
                print(*lines(run(case)), sep="\n", flush=True)
        return 0
    BUILD.mkdir(exist_ok=True)
    name = "benchmark-accelerator.json" if accelerated() else "benchmark.json"
    unfinished = BUILD / name
    done = dict(json.loads(read(unfinished))) if unfinished.exists() else {}
    for case in known:
        kept = done.get(case.name)
        # As JSON has it: a case that was changed since is computed anew.
        if kept is None or not json.loads(json.dumps(asdict(case))).items() <= kept.items():
            done[case.name] = rounded(run(case))
            write(unfinished, json.dumps(done) + "\n")
        print(*lines(done[case.name]), sep="\n", flush=True)
    result = {
        "about": "Speed of the library beside public tools; made by `make benchmark`.",
        "day": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "import_seconds": rounded(import_times()),
        "cases": [done[name] for name in names],
    }
    write(RESULTS / name, json.dumps(result, indent=1) + "\n")
    unfinished.unlink()
    return 0
