"""The ledger as plain data, for a file whose rows a paper can cite."""

import importlib.metadata
import math
import platform
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

import ntklab
from ntklab.checks import Check, Checks
from ntklab.ledger import Result, closeness

__all__ = ["about", "environment", "measured", "plain"]


def environment() -> dict[str, str]:
    """Versions of the library and of what it computes with, and the floating-point type."""
    packages = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    return {
        "ntklab": ntklab.__version__,
        "python": platform.python_version(),
        **packages,
        "float": str(jnp.result_type(float)),
    }


def about(entry: Result) -> dict[str, Any]:
    """What is fixed about an entry before anything is measured."""
    return {
        "key": entry.key,
        "source": entry.source,
        "label": entry.label,
        "statement": entry.statement,
        "chapter": entry.chapter,
        "entry": f"ledger.{entry.chapter}.{entry.name}",
        "theorem": entry.theorem,
        "exercise": entry.exercise,
        "evidence": entry.evidence,
        "level": entry.level,
        "seeds": entry.seeds,
        "loose": entry.loose or None,
        "mutants": [{"of": mutant.kind, "what": mutant.what} for mutant in entry.mutants],
    }


def measured(entry: Result) -> dict[str, Any]:
    """What is fixed, and all that is measured: under every setting, and with a hypothesis broken.

    `closeness` is the largest share of its bound that each inequality comes to over the settings.
    """
    runs = [entry(**setting) for setting in entry.settings]
    return {
        **about(entry),
        "runs": [_run(*pair) for pair in zip(entry.settings, runs, strict=True)],
        "broken": _run(entry.falsified_by, entry(**entry.falsified_by)),
        "closeness": closeness(runs),
    }


def _run(arguments: Mapping[str, Any], checks: Checks) -> dict[str, Any]:
    return {
        "arguments": plain(arguments),
        "checks": [_check(check) for check in checks],
    }


def _check(check: Check) -> dict[str, Any]:
    """A check as its report shows it, and its numbers as they were computed."""
    numbers = {
        "value": check.measured,
        "relation": check.relation,
        "bound": check.bound,
        "tolerance": check.tolerance,
        "slack": check.slack,
        "closeness": check.closeness,
    }
    return {
        "what": check.what,
        "measured": check.measured_text,
        "expected": check.bound_text,
        "margin": check.margin_text,
        "holds": check.holds,
        **plain(numbers),
    }


def plain(value: Any) -> Any:
    """A value as JSON has it: what it has no form for becomes a text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return getattr(value, "__name__", None) or repr(value)
