"""What runs in the sandbox: one notebook, statement by statement, and then the judge's calls.

It shares a process with the student's code, so that nothing here is trusted: it holds no test, no
reference and no secret, and the judge believes nothing but that an answer is an answer.
"""

import __future__

import ast
import builtins
import functools
import json
import os
import re
import resource
import signal
import struct
import sys
import types
from collections.abc import Callable, Iterator
from time import monotonic, process_time
from typing import Any

NOTEBOOK = "/submission/notebook.ipynb"
# Without a time of its own: how long the judge takes is not the runner's to judge.
FOREVER = 1e9
NO_NOTEBOOK, TOO_MANY_CELLS = 1, 2

INDENTED_MAGIC = re.compile(r"^(\s*)(?:[\w.,\s]+=\s*)?[%!].*$|^(\s*)\??[\w.]+\?{1,2}\s*$")
#: Cell magics whose cell is Python.
TRANSPARENT = {"time", "timeit", "capture", "prun", "python", "python3"}


class Late(BaseException):
    """The soft limit of one statement or one call has passed."""


def limit(cpu: int, address: int, processes: int, files: int, file_size: int) -> None:
    """The kernel's limits, hard and soft alike, before a line of the student's runs."""
    for name, value in [
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, address),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ]:
        resource.setrlimit(name, (value, value))


def code_cells(text: bytes) -> list[str]:
    """The sources of the code cells, of notebook formats 3 and 4.

    Raises:
        ValueError: for what is no notebook.
    """
    try:
        notebook = json.loads(text.decode("utf-8-sig"))
        if "cells" not in notebook and "worksheets" in notebook:
            cells = [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
        else:
            cells = notebook["cells"]
        sources = []
        for cell in cells:
            if cell["cell_type"] == "code":
                source = cell["source"] if "source" in cell else cell["input"]
                sources.append(source if isinstance(source, str) else "".join(source))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError("no notebook") from error
    return sources


def without_magics(source: str) -> str:
    """The source as Python would read it: no magics, no shell, no questions to IPython."""
    first, _, rest = source.lstrip().partition("\n")
    if first.startswith("%%"):
        name = first[2:].split()[0] if first[2:].split() else ""
        return without_magics(rest) if name in TRANSPARENT else ""
    lines = []
    for line in source.split("\n"):
        if INDENTED_MAGIC.match(line):
            line = line[: len(line) - len(line.lstrip())] + "pass"
        lines.append(line)
    return "\n".join(lines)


def statements(source: str) -> list[ast.stmt]:
    """The statements of a cell; what is Python as it stands is left alone."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        return ast.parse(without_magics(source)).body


def printing(statement: ast.stmt) -> bool:
    """Whether it is a public check of the notebook's, which prints, and nobody reads it here."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(call := statement.value, ast.Call)
        and isinstance(called := call.func, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and (called.value.id, called.attr) == ("coursework", "check")
    )


class Clock:
    """A soft limit: it interrupts Python code, again and again until it is stopped.

    It counts seconds of the processor, so that a busy machine costs no answer; what waits without
    working is interrupted when `patience` times as much has passed.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        # The student's code may replace what the module has by then.
        self.signal, self.timer = signal.signal, signal.setitimer
        self.now, self.used = monotonic, process_time

    def run(self, seconds: float, work: Callable[[], Any]) -> Any:
        """What `work` gives, unless it is interrupted."""
        began, used = self.now(), self.used()

        def ring(*_: Any) -> None:
            if self.used() - used >= seconds or self.now() - began >= self.patience * seconds:
                raise Late

        self.signal(signal.SIGALRM, ring)
        self.timer(signal.ITIMER_REAL, seconds, 0.25)
        try:
            return work()
        finally:
            # It may ring once more while it is being stopped.
            while True:
                try:
                    self.timer(signal.ITIMER_REAL, 0)
                    break
                except Late:
                    continue


class Notebook:
    """The names that a notebook defines, as they come about."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        self.names = main.__dict__
        self.names["display"] = lambda *values, **options: None
        self.clock, self.seconds, self.flags = clock, seconds, 0
        self.ran = self.late = 0

    def run(self, cell: int, source: str) -> None:
        """Each statement for itself: one that fails, or hangs, loses only itself."""
        for statement in self.parsed(source):
            if printing(statement):
                continue
            try:
                if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
                    for name in statement.names:
                        self.flags |= getattr(__future__, name.name).compiler_flag
                module = ast.Module([statement], [])
                code = compile(module, f"<cell {cell}>", "exec", self.flags, dont_inherit=True)
                self.clock.run(self.seconds, functools.partial(exec, code, self.names))
                self.ran += 1
            except Late:
                self.late += 1
            except BaseException:
                continue

    def parsed(self, source: str) -> Iterator[ast.stmt]:
        """The statements of a cell that is Python; none of another."""
        try:
            yield from self.clock.run(self.seconds, lambda: statements(source))
        except Late:
            self.late += 1
        except BaseException:
            return


def class_code(error: BaseException, names: tuple[str, ...]) -> int:
    """The number of the nearest class that has a name on the fixed list."""
    for kind in type(error).__mro__:
        if kind.__module__ == "builtins" and kind.__name__ in names:
            return names.index(kind.__name__)
    return 0


def main() -> None:
    """Run the notebook that lies at its place, then answer calls until the judge is done."""
    limit(*map(int, sys.argv[1:6]))
    statement_seconds, call_seconds, patience = map(float, sys.argv[6:9])
    most_cells, largest = map(int, sys.argv[9:11])
    # The pipes move away; whatever the student prints or reads is nothing.
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    sys.path[:0] = ["/judge", "/site"]
    from grading import protocol

    sys.path[0] = "/course/lib"
    channel = protocol.Channel(incoming, outgoing)
    judge = frozenset({protocol.START, protocol.CALL})

    def say(kind: int, number: int, payload: bytes = b"") -> None:
        channel.send(monotonic() + FOREVER, kind, number, payload)

    _, _, skipped = channel.receive(monotonic() + FOREVER, judge)
    skip = set(struct.unpack(f"<{len(skipped) // 4}I", skipped))
    try:
        with open(NOTEBOOK, "rb") as file:
            cells = code_cells(file.read())
    except ValueError:
        say(protocol.MALFORMED, NO_NOTEBOOK)
        return
    if len(cells) > most_cells:
        say(protocol.MALFORMED, TOO_MANY_CELLS)
        return
    clock = Clock(patience)
    notebook = Notebook(clock, statement_seconds)
    for number, source in enumerate(cells):
        if number not in skip and source.strip():
            say(protocol.CELL, number)
            notebook.run(number, source)
    say(protocol.READY, notebook.ran, struct.pack("<I", notebook.late))
    while True:
        _, number, payload = channel.receive(monotonic() + FOREVER, judge)
        try:
            kind, answer = called(protocol, notebook.names, clock, call_seconds, payload)
        except Late:
            kind, answer = protocol.LATE, b""
        except BaseException as error:
            kind, answer = protocol.RAISED, bytes([class_code(error, protocol.EXCEPTIONS)])
        if len(answer) > largest:
            kind, answer = protocol.UNUSABLE, b""
        say(kind, number, answer)


def called(
    protocol: types.ModuleType,
    names: dict[str, Any],
    clock: Clock,
    seconds: float,
    payload: bytes,
) -> tuple[int, bytes]:
    """The answer to one call: the function's name, names of keyword arguments, then the values."""
    values, _ = protocol.decode(payload, text=True)
    name, keywords, *arguments = values
    function = names.get(name)
    if not builtins.callable(function):
        return protocol.MISSING, b""
    named = [word for word in keywords.split(",") if word]
    split = len(arguments) - len(named)
    options = dict(zip(named, arguments[split:], strict=True))

    def work() -> tuple[int, bytes]:
        result = function(*arguments[:split], **options)
        if result is None:
            return protocol.NOTHING, b""
        try:
            if isinstance(result, tuple):
                return protocol.RETURNED, protocol.encode(
                    [protocol.plain(item) for item in result], several=True
                )
            return protocol.RETURNED, protocol.encode([protocol.plain(result)])
        except (TypeError, ValueError, OverflowError, protocol.Broken):
            return protocol.UNUSABLE, b""

    return clock.run(seconds, work)


if __name__ == "__main__":
    main()
