"""The students' public checks of the problem sets, and what every check of an answer begins with.

A question `q1` is answered by one function of that name. `check("set-1", "q1", q1)` runs the public
checks of the question and says what is off, never what would be right. The checks are data of this
package, written by `make problem-sets` from the masters of the sets; more checks, which are not
here, give the grade.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

__all__ = ["Outcome", "agree", "check", "generator", "numbers", "repeatable"]

_DATA = Path(__file__).parent
# Where a check leaves the length open: it may form a matrix of all pairs.
_LONGEST = 2000


@dataclass(frozen=True)
class Outcome:
    """What the public checks of a question came to.

    Attributes:
        passed: how many of the checks hold.
        total: how many there are.
        lines: what each of them says.
    """

    passed: int
    total: int
    lines: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether all of them hold."""
        return self.passed == self.total

    def __repr__(self) -> str:
        """The lines, and a count."""
        return "\n".join([*self.lines, f"{self.passed} of {self.total} public checks hold."])


def check(set: str, question: str, answer: Any) -> Outcome:
    """The public checks of a question, run on an answer.

    Args:
        set: the problem set, `"set-1"`.
        question: the question, `"q1"`.
        answer: your function.

    Raises:
        ValueError: for a set or a question that does not exist, and an answer that is no function.

    Examples:
        >>> check("set-1", "q4", lambda dimension: None)
        ✗ q4 returned None: does your function end with a return?
        0 of 1 public checks hold.
    """
    checks = _public(set)
    if question not in checks:
        raise ValueError(f"question must be one of {', '.join(checks)} in {set}, got {question!r}")
    if not callable(answer):
        raise ValueError(
            f"answer must be your function {question}, without calling it, got "
            f"{type(answer).__name__}"
        )
    lines, passed = [], 0
    for public in checks[question]:
        try:
            _loaded(set, question, public["name"])(answer)
        except AssertionError as error:
            lines.append(f"✗ {error}")
        except Exception as error:  # whatever an answer raises is its author's to read
            lines.append(f"✗ {question} raised {type(error).__name__}: {error}")
        else:
            passed += 1
            lines.append(f"✓ {public['success']}")
    return Outcome(passed, len(lines), tuple(lines))


@cache
def _public(set: str) -> Any:
    """The public checks of a set: of each question the name, the success and the code."""
    sets = sorted(path.stem for path in _DATA.glob("set-*.json"))
    if set not in sets:
        raise ValueError(f"set must be one of {', '.join(sets)}, got {set!r}")
    return json.loads((_DATA / f"{set}.json").read_text(encoding="utf-8"))


@cache
def _loaded(set: str, question: str, name: str) -> Callable[[Callable[..., Any]], None]:
    """The check of that name as a function of the answer."""
    (code,) = (public["code"] for public in _public(set)[question] if public["name"] == name)
    names: dict[str, Any] = {}
    exec(compile(code, f"<{set} {question} {name}>", "exec"), names)
    loaded: Callable[[Callable[..., Any]], None] = names[name]
    return loaded


def numbers(what: str, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """An answer as real numbers of this shape, in double precision.

    Lists, NumPy's and JAX's arrays and scalars, whole numbers and every floating-point type will
    do; truth values, complex numbers, text and what is not finite will not.

    Args:
        what: what a message calls the answer.
        value: what a function returned.
        shape: what it has to have, None where any length up to 2000 will do; `()` is a single
            number.

    Raises:
        AssertionError: that says what is off.

    Examples:
        >>> numbers("q1", [1, 2], (2,))
        array([1., 2.])
        >>> numbers("q1", [1, 2], (2, 1))
        Traceback (most recent call last):
        AssertionError: q1 must have shape (2, 1), got (2,)
    """
    if value is None:
        raise AssertionError(f"{what} returned None: does your function end with a return?")
    if value is Ellipsis:
        raise AssertionError(f"{what} returned …: nothing is filled in yet")
    try:
        array = np.asarray(value)
    except Exception:  # ragged lists, tracers and whatever refuses to be an array
        array = np.asarray(None)
    if array.dtype.kind == "V" and "float" in array.dtype.name:
        array = array.astype(np.float32)  # JAX's short types
    if array.dtype.kind not in "iuf":
        kinds = {"b": "truth values", "c": "complex numbers"}
        got = kinds.get(array.dtype.kind, type(value).__name__)
        raise AssertionError(f"{what} must be an array of real numbers, got {got}")
    fits = array.ndim == len(shape) and all(
        asked in (None, length) for asked, length in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = "be a single number" if shape == () else f"have shape {shape}"
        wanted = wanted.replace("None", "any")
        raise AssertionError(f"{what} must {wanted}, got {array.shape}")
    if max(array.shape, default=0) > max(_LONGEST, *(length or 0 for length in (*shape, 0))):
        raise AssertionError(f"{what} is longer than any answer here: got {array.shape}")
    if not np.isfinite(array).all():
        raise AssertionError(f"{what} must be finite, got NaN or infinity")
    return array.astype(np.float64)


def agree(
    what: str,
    value: Any,
    expected: ArrayLike,
    *,
    rtol: float,
    atol: float = 0.0,
    mistakes: Mapping[str, ArrayLike] | None = None,
) -> None:
    r"""That $|v - e| \le \mathrm{atol} + \mathrm{rtol} \max |e|$ in every entry.

    Shape, kind and finiteness come first, as in `numbers`.

    Args:
        what: what a message calls the answer.
        value: what a function returned.
        expected: what it should have, which no message shows.
        rtol: a share of the largest entry.
        atol: the part of the tolerance that does not depend on the size.
        mistakes: what typical mistakes give, under what there is to say about them. An answer that
            agrees with one is told so.

    Raises:
        AssertionError: that says what is off.
    """
    wanted = np.asarray(expected, np.float64)
    found = numbers(what, value, wanted.shape)
    tolerance = atol + rtol * float(np.max(np.abs(wanted), initial=0.0))
    if np.all(np.abs(found - wanted) <= tolerance):
        return
    for hint, wrong in (mistakes or {}).items():
        other = np.broadcast_to(np.asarray(wrong, np.float64), wanted.shape)
        if np.all(np.abs(found - other) <= tolerance):
            raise AssertionError(f"{what} is wrong: {hint}")
    square = wanted.ndim == 2 and wanted.shape[0] == wanted.shape[1]
    if square and np.all(np.abs(found.T - wanted) <= tolerance):
        raise AssertionError(f"{what} is wrong: rows and columns are exchanged")
    scale = np.vdot(found, wanted) / max(np.vdot(found, found), 1e-300)
    if found.size > 2 and np.any(found) and np.all(np.abs(scale * found - wanted) <= tolerance):
        raise AssertionError(f"{what} is wrong by one and the same factor in every entry")
    raise AssertionError(f"{what} is off by more than rounding")


_SEED: ContextVar[bytes | None] = ContextVar("seed", default=None)
_DRAWN: ContextVar[int] = ContextVar("drawn", default=0)


def generator() -> np.random.Generator:
    """A source of fresh inputs: other ones at every call, the same ones within `repeatable`."""
    seed = _SEED.get()
    if seed is None:
        return np.random.default_rng()
    _DRAWN.set(_DRAWN.get() + 1)
    digest = hashlib.sha256(seed + _DRAWN.get().to_bytes(8, "big")).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


@contextmanager
def repeatable(seed: bytes) -> Iterator[None]:
    """Let `generator` give the same inputs, one after another, whenever it is given this seed.

    Examples:
        >>> with repeatable(b"an appeal"):
        ...     first = generator().normal()
        >>> with repeatable(b"an appeal"):
        ...     first == generator().normal()
        True
    """
    tokens = _SEED.set(seed), _DRAWN.set(0)
    try:
        yield
    finally:
        _SEED.reset(tokens[0])
        _DRAWN.reset(tokens[1])
