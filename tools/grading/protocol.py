"""Frames between the judge and a submission: binary, fixed, and bounded before they are read.

A frame is a header and a payload. The header has a mark, a kind, a number (of a call, of a cell)
and the length of the payload. A payload of values holds numbers alone: scalars and arrays of four
dtypes. Nothing is ever evaluated, and what a header claims is checked before anything is read.
"""

import math
import os
import select
import struct
from collections.abc import Sequence
from time import monotonic
from typing import Any

import numpy as np

MARK = b"ntk1"
HEADER = struct.Struct("<4sBQI")
LARGEST = 32 << 20  # bytes of one payload
MOST_VALUES = 16
MOST_DIMENSIONS = 8
LONGEST_TEXT = 1000

# What the judge says.
START, CALL = 1, 2
# What comes back: on the way through the notebook, and for a call.
CELL, READY, MALFORMED = 16, 17, 18
RETURNED, RAISED, MISSING, LATE, UNUSABLE, NOTHING = 32, 33, 34, 35, 36, 37
ANSWERS = frozenset({*range(CELL, MALFORMED + 1), *range(RETURNED, NOTHING + 1)})

#: The dtypes that travel, by their code.
DTYPES = ("|b1", "<i8", "<f4", "<f8")
TEXT = len(DTYPES)

#: The classes that a report names. Texts of exceptions never leave the sandbox.
EXCEPTIONS = (
    "Exception",
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "EOFError",
    "FloatingPointError",
    "ImportError",
    "IndexError",
    "KeyError",
    "LookupError",
    "MemoryError",
    "ModuleNotFoundError",
    "NameError",
    "NotImplementedError",
    "OSError",
    "OverflowError",
    "PermissionError",
    "RecursionError",
    "RuntimeError",
    "StopIteration",
    "SyntaxError",
    "SystemExit",
    "TypeError",
    "UnboundLocalError",
    "UnicodeError",
    "ValueError",
    "ZeroDivisionError",
)

Value = bool | int | float | str | np.ndarray


class Broken(Exception):
    """A frame that no honest side sends."""


class Ended(Exception):
    """The other side has closed its end."""


class Overdue(Exception):
    """The deadline has passed."""


def plain(value: Any) -> Value:
    """A number as Python's own, anything that NumPy reads as an array of one of four dtypes.

    Raises:
        TypeError: for what is no real number, nor an array of them.
    """
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise TypeError("an integer of more than 64 bits")
        return int(value)
    if isinstance(value, float):
        return float(value)
    array = np.asarray(value)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return np.array(array, "|b1")
    if kind in "iu":
        if kind == "u" and size == 8 and array.size and array.max() >= 2**63:
            raise TypeError("an integer of more than 64 bits")
        return np.array(array, "<i8")
    if kind == "f":
        return np.array(array, "<f4" if size <= 4 else "<f8")
    if kind == "V" and array.dtype.name == "bfloat16":
        return np.array(array, "<f4")
    raise TypeError(f"no array of real numbers but of {array.dtype.name}")


def encode(values: Sequence[Value], *, several: bool = False) -> bytes:
    """The payload of values that are `plain`; `several` tells a tuple of one from one value."""
    if len(values) > MOST_VALUES:
        raise Broken(f"{len(values)} values; at most {MOST_VALUES}")
    pieces = [struct.pack("<BB", several, len(values))]
    for value in values:
        if isinstance(value, str):
            text = value.encode()
            if len(text) > LONGEST_TEXT:
                raise Broken("a text that is too long")
            pieces += [struct.pack("<BBBQ", TEXT, 1, 1, len(text)), text]
            continue
        scalar = not isinstance(value, np.ndarray)
        array = np.asarray(value)
        if isinstance(value, int) and not isinstance(value, bool):
            array = np.asarray(value, "<i8")
        code = DTYPES.index(array.dtype.str)
        if array.ndim > MOST_DIMENSIONS:
            raise Broken(f"{array.ndim} dimensions; at most {MOST_DIMENSIONS}")
        pieces.append(struct.pack("<BBB", code, scalar, array.ndim))
        pieces.append(struct.pack(f"<{array.ndim}Q", *array.shape))
        pieces.append(array.tobytes())
    if sum(map(len, pieces)) > LARGEST:
        raise Broken(f"more than {LARGEST} bytes")
    return b"".join(pieces)


class _Reader:
    """A payload, read from its beginning, never beyond its end."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.place = memoryview(payload), 0

    def take(self, size: int) -> memoryview:
        if size > len(self.payload) - self.place:
            raise Broken("a payload that ends too early")
        piece = self.payload[self.place : self.place + size]
        self.place += size
        return piece

    def unpack(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))


def decode(payload: bytes, *, text: bool = False) -> tuple[list[Value], bool]:
    """The values of a payload, arrays as writable copies, and whether they were a tuple.

    Text is taken where the judge is the one who speaks (`text=True`).

    Raises:
        Broken: for anything that `encode` does not make.
    """
    reader = _Reader(payload)
    several, count = reader.unpack("<BB")
    if count > MOST_VALUES or several > 1 or (count != 1 and not several):
        raise Broken("a wrong number of values")
    values: list[Value] = []
    for _ in range(count):
        code, scalar, ndim = reader.unpack("<BBB")
        if code > TEXT or scalar > 1 or (code == TEXT and not text):
            raise Broken("a value of unknown kind")
        if ndim > MOST_DIMENSIONS or (scalar and ndim and code != TEXT):
            raise Broken("too many dimensions")
        shape = reader.unpack(f"<{ndim}Q")
        if code == TEXT:
            if len(shape) != 1 or shape[0] > LONGEST_TEXT:
                raise Broken("a text that is too long")
            values.append(bytes(reader.take(shape[0])).decode())
            continue
        # Python's integers do not overflow: the product is what it claims to be.
        size = math.prod(shape) * np.dtype(DTYPES[code]).itemsize
        if max(shape, default=0) > LARGEST or size > LARGEST:
            raise Broken("an array that is too large")
        data = reader.take(size)
        if code == 0:
            # A byte other than 0 and 1 would be a truth value that is neither.
            array = np.frombuffer(data, np.uint8).reshape(shape) != 0
        else:
            array = np.frombuffer(data, DTYPES[code]).reshape(shape).copy()
        array = np.asarray(array)
        values.append(array.item() if scalar else array)
    if reader.place != len(reader.payload):
        raise Broken("a payload that goes on after its end")
    return values, bool(several)


class Channel:
    """Two pipes, one to read and one to write, neither of which ever blocks beyond a deadline."""

    def __init__(self, incoming: int, outgoing: int, largest: int = LARGEST) -> None:
        # `largest` is for what comes in.
        self.incoming, self.outgoing, self.largest = incoming, outgoing, largest
        os.set_blocking(incoming, False)
        os.set_blocking(outgoing, False)

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        left = deadline - monotonic()
        if left <= 0 or not poll.poll(min(left, 3600) * 1000 + 1):
            raise Overdue

    def _read(self, size: int, deadline: float) -> bytes:
        parts, missing = [], size
        while missing:
            self._wait(self.incoming, select.POLLIN, deadline)
            try:
                part = os.read(self.incoming, min(missing, 1 << 20))
            except BlockingIOError:
                continue
            if not part:
                raise Ended
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def receive(self, deadline: float, kinds: frozenset[int]) -> tuple[int, int, bytes]:
        """The next frame: kind, number, payload. The header is judged before more is read."""
        mark, kind, number, length = HEADER.unpack(self._read(HEADER.size, deadline))
        if mark != MARK:
            raise Broken("a frame without its mark")
        if kind not in kinds:
            raise Broken("a frame of unknown kind")
        if length > self.largest:
            raise Broken("a frame that is too long")
        return kind, number, self._read(length, deadline)

    def send(self, deadline: float, kind: int, number: int, payload: bytes = b"") -> None:
        """Write a frame; `encode` has bounded its payload."""
        rest = memoryview(HEADER.pack(MARK, kind, number, len(payload)) + payload)
        while rest:
            self._wait(self.outgoing, select.POLLOUT, deadline)
            try:
                rest = rest[os.write(self.outgoing, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise Ended from None
