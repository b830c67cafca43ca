"""What every test shares: the floating-point mode, strict dtypes and repeatable random cases."""

import gc
import os

# Without a reader: figures need no window.
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import jax.numpy as jnp
import jaxtyping
import pytest
from hypothesis import settings
from project import LOCKED

# No test installs what no lock names, nor does what it starts.
os.environ.update(LOCKED)

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(params=["float32", pytest.param("float64", marks=pytest.mark.float64)])
def dtype(request):
    """The floating-point types that results must follow; float64 in 64-bit mode only."""
    return jnp.dtype(request.param)


@pytest.fixture(autouse=True)
def strict_dtypes(request):
    """Mixing dtypes by accident fails in a unit test; the book runs as a reader would run it."""
    as_reader = {"site", "colab"} & {mark.name for mark in request.node.iter_markers()}
    with jax.numpy_dtype_promotion("standard" if as_reader else "strict"):
        yield


@pytest.fixture(autouse=True, scope="module")
def compiled_programs():
    """Those of one file are dropped after it: kept, they come to gigabytes in one process."""
    yield
    jax.clear_caches()


def pytest_collection_finish():
    """Garbage is collected a thousand times: not again among what the imports have made."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config, items):
    """In 32-bit mode leave out what needs float64, and what names its dtype.

    The 64-bit run has had the latter's float32 cases, where mixing dtypes shows.
    """
    if jax.config.jax_enable_x64:
        return
    left_out = {
        item
        for item in items
        if item.get_closest_marker("float64") or "dtype" in getattr(item, "fixturenames", ())
    }
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def no_hook():
    """The library's own errors, which the shape checks of the tests would come before."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
