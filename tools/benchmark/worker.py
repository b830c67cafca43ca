"""One side of a comparison, in an environment of its own: JSON in and out, a line each.

Run by path, with the interpreter of that environment: nothing of this repository is imported but
the library, and that only for its own sides. The first line names a side and a case; what is said
back is what a first run took, compiling and all, and some entries of the result, by which the sides
are seen to compute the same. Each further line asks for a run, or for the memory that one takes.
"""

import ctypes
import functools
import itertools
import json
import math
import platform
import sys
import types
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

# A result's leading entries are shown along each axis.
SHOWN = 3

_Case = dict[str, Any]
_Model = tuple[Callable[[Any, Any], Any], Any, Any]


def normals(*shape: int) -> Any:
    """Standard normal numbers, the same for every side."""
    import jax.numpy as jnp

    drawn = np.random.default_rng(math.prod(shape)).standard_normal(shape, np.float32)
    return jnp.asarray(drawn)


# --- the models -----------------------------------------------------------------------------------


def mlp(case: _Case) -> _Model:
    """Three hidden ReLU layers in the NTK parameterization, as a plain function."""
    import jax
    import jax.numpy as jnp

    widths = [case["inputs"], *[case["width"]] * 3, case["outputs"]]
    params = [normals(fan_out, fan_in) for fan_in, fan_out in itertools.pairwise(widths)]

    def apply(params: Any, x: Any) -> Any:
        for index, weight in enumerate(params):
            x = x @ weight.T / math.sqrt(weight.shape[1])
            x = jax.nn.relu(x) if index < len(params) - 1 else x
        return x

    return apply, [jnp.asarray(weight) for weight in params], normals(case["points"], widths[0])


def convolutions(case: _Case) -> _Model:
    """Two convolutions, a mean over places and a dense layer."""
    import jax
    import jax.numpy as jnp

    def apply(params: Any, x: Any) -> Any:
        for kernel in params[:-1]:
            x = jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jnp.tanh(x)
        return jnp.mean(x, axis=(1, 2)) @ params[-1]

    params = [
        normals(3, 3, 3, 16) / 5,
        normals(3, 3, 16, 16) / 12,
        normals(16, case["outputs"]),
    ]
    return apply, params, normals(case["points"], 16, 16, 3)


def attention(case: _Case) -> _Model:
    """Tokens, one block of attention with layer normalization, a mean over places."""
    import jax
    import jax.numpy as jnp

    places, width, heads = 16, 64, 4

    def normalized(x: Any) -> Any:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        return centred / jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)

    def apply(params: Any, x: Any) -> Any:
        x = x @ params["in"]
        split = (*x.shape[:2], heads, width // heads)
        q, k, v = ((normalized(x) @ w).reshape(split) for w in params["qkv"])
        weights = jax.nn.softmax(jnp.einsum("nihd,njhd->nhij", q, k) / math.sqrt(split[-1]))
        x = x + jnp.einsum("nhij,njhd->nihd", weights, v).reshape(x.shape) @ params["out"]
        x = x + jax.nn.gelu(normalized(x) @ params["up"]) @ params["down"]
        return jnp.mean(x, axis=1) @ params["read"]

    params = {
        "in": normals(8, width),
        "qkv": [normals(width, width) / math.sqrt(width) * (k + 1) / 2 for k in range(3)],
        "out": normals(width, width) / math.sqrt(width),
        "up": normals(width, 4 * width) / math.sqrt(width),
        "down": normals(4 * width, width) / math.sqrt(4 * width),
        "read": normals(width, case["outputs"]) / math.sqrt(width),
    }
    return apply, params, normals(case["points"], places, 8)


MODELS = {"mlp": mlp, "convolutions": convolutions, "attention": attention}


# --- the sides ------------------------------------------------------------------------------------

_Run = Callable[[], Any]


def ours(case: _Case) -> _Run:
    """The library, on its own network where it has one."""
    if case["what"] == "infinite":
        from ntklab.tangent_kernel import infinite_ntk

        x = normals(case["points"], case["inputs"])
        return lambda: infinite_ntk(x, depth=case["depth"], w_std=2**0.5)
    if case["what"] == "flow":
        from ntklab.gradient_flow import kernel_flow

        kernel, y = flow_problem(case)
        return lambda: kernel_flow(kernel, y, 1.0)
    if case["model"] != "mlp":
        return written_out(case)
    from ntklab import networks

    network = networks.mlp((*[case["width"]] * 3, case["outputs"]))
    _, weights, x = mlp(case)
    return empirical(case, network.apply, tuple({"weight": weight} for weight in weights), x)


def written_out(case: _Case) -> _Run:
    """The library, on the same model as anybody's function."""
    return empirical(case, *MODELS[case["model"]](case))


def empirical(case: _Case, apply: Any, params: Any, x: Any) -> _Run:
    """The library's kernel of a model."""
    from ntklab.tangent_kernel import empirical_ntk

    return lambda: empirical_ntk(apply, params, x, trace=case["what"] == "trace")


def neural_tangents(case: _Case) -> _Run:
    """Neural Tangents: structured derivatives, or its closed recursion at infinite width."""
    # What it imports there wants TensorFlow, and is of no use here.
    name = "neural_tangents.experimental"
    sys.modules[name] = types.ModuleType(name)
    import jax
    import neural_tangents as nt
    from neural_tangents import stax

    if case["what"] == "infinite":
        layers = [stax.Dense(1, W_std=2**0.5), stax.Relu()] * case["depth"]
        _, _, kernel = stax.serial(*layers, stax.Dense(1, W_std=2**0.5))
        limit = jax.jit(lambda x: kernel(x, None, "ntk"))
        points = normals(case["points"], case["inputs"])
        return lambda: limit(points)
    apply, params, x = MODELS[case["model"]](case)
    if case["model"] == "mlp":
        # As its users would write it.
        hidden = [stax.Dense(case["width"], b_std=None), stax.Relu()] * 3
        _, apply, _ = stax.serial(*hidden, stax.Dense(case["outputs"], b_std=None))
        layers = [entry for weight in params for entry in ((weight.T, None), ())]
        params = layers[:-1]
    one = case["outputs"] == 1 or case["what"] == "trace"
    function = nt.empirical_ntk_fn(
        apply,
        trace_axes=(-1,) if one else (),
        vmap_axes=0,
        implementation=nt.NtkImplementation.STRUCTURED_DERIVATIVES,
    )
    # Its parameters as an argument: closed over, each constant would be folded.
    compiled = jax.jit(lambda x, params: function(x, None, params))
    scale = case["outputs"] if case["what"] == "trace" else 1
    return lambda: compiled(x, params) * scale


def netket(case: _Case) -> _Run:
    """NetKet: the contraction of stored Jacobians by which its drivers form a kernel."""
    import jax
    from netket.jax._ntk import empirical_ntk_by_jacobian

    apply, params, x = MODELS[case["model"]](case)
    one = case["outputs"] == 1 or case["what"] == "trace"
    function = empirical_ntk_by_jacobian(apply, trace_axes=(-1,) if one else (), vmap_axes=0)
    compiled = jax.jit(lambda x, params: function(x, None, params))
    scale = case["outputs"] if case["what"] == "trace" else 1
    return lambda: compiled(x, params) * scale


def stored_jacobian(case: _Case) -> _Run:
    """What one writes without a library: all gradients, and their products."""
    import jax

    apply, params, x = MODELS[case["model"]](case)
    one = case["outputs"] == 1 or case["what"] == "trace"
    equation = "nk...,mk...->nm" if one else "nk...,ml...->nmkl"

    @jax.jit
    def kernel(params: Any, x: Any) -> Any:
        def of_row(row: Any) -> Any:
            return jax.jacrev(lambda p: apply(p, row[None])[0])(params)

        rows = [leaf.reshape(*leaf.shape[:2], -1) for leaf in jax.tree.leaves(jax.vmap(of_row)(x))]
        products = [jax.numpy.einsum(equation, leaf, leaf) for leaf in rows]
        return functools.reduce(jax.numpy.add, products)

    return lambda: kernel(params, x)


def one_product(case: _Case) -> _Run:
    """X Xᵀ of the same points, or of as many."""
    import jax

    product = jax.jit(lambda x: x @ x.T)
    x = normals(case["points"], case["inputs"])
    return lambda: product(x)


def flow_problem(case: _Case) -> tuple[Any, Any]:
    """A positive definite kernel and labels."""
    x = np.asarray(normals(case["points"], case["inputs"]))
    kernel = x @ x.T / case["inputs"] + np.eye(len(x), dtype=x.dtype)
    return kernel, np.sign(x[:, 0])


def lapack(driver: str, case: _Case) -> _Run:
    """What the flow is by hand: one eigendecomposition by a driver of LAPACK, through SciPy."""
    import scipy.linalg

    kernel, y = flow_problem(case)

    def flow() -> Any:
        values, vectors = scipy.linalg.eigh(kernel, driver=driver, check_finite=False)
        return vectors @ (-np.expm1(-values) * (vectors.T @ y))

    return flow


SIDES: dict[str, Callable[[_Case], _Run]] = {
    "ours": ours,
    "ours, written out": written_out,
    "neural-tangents": neural_tangents,
    "netket": netket,
    "stored Jacobian": stored_jacobian,
    "one product": one_product,
    "lapack evd": functools.partial(lapack, "evd"),
    "lapack evr": functools.partial(lapack, "evr"),
}


# --- the conversation -----------------------------------------------------------------------------


def ready(result: Any) -> Any:
    """The result, when it is there."""
    wait = getattr(result, "block_until_ready", None)
    return result if wait is None else wait()


def seconds(run: _Run) -> float:
    """Of one run."""
    start = perf_counter()
    ready(run())
    return perf_counter() - start


def status(name: str) -> int:
    """A line of the kernel's account of this process, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {name}")


def memory(run: _Run) -> int | None:
    """By how many bytes this process grew at most while it ran; None where nobody counts.

    On an accelerator the bytes that its first run needed there beyond what lay there before.
    """
    import jax

    if jax.default_backend() != "cpu":
        held = jax.devices()[0].memory_stats() or {}
        return held["peak_bytes_in_use"] - held["bytes_in_use"] if held else None
    try:
        # What was freed goes back to the system first: taken again, it would not show.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = status("VmRSS")
    except (AttributeError, OSError, ValueError):
        return None
    ready(run())
    return max(0, status("VmHWM") - before)


def versions() -> dict[str, str]:
    """What of this environment decides the speed."""
    import importlib.metadata

    found = {"python": platform.python_version()}
    for name in ("jax", "jaxlib", "numpy", "scipy", "neural-tangents", "netket"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Build what the first line asks for, then run it as often as asked."""
    # What a library prints is no part of the conversation.
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    asked = json.loads(sys.stdin.readline())
    run = SIDES[asked["side"]](asked["case"])
    start = perf_counter()
    result = np.asarray(ready(run()))
    first = perf_counter() - start
    head = result[tuple(slice(SHOWN) for _ in result.shape)]
    say(
        {
            "seconds": first,
            "head": head.astype(float).tolist(),
            "versions": versions(),
        }
    )
    del result
    for line in sys.stdin:
        if line.strip() == "memory":
            say({"bytes": memory(run)})
        else:
            say({"seconds": seconds(run)})


if __name__ == "__main__":
    main()
