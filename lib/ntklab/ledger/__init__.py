"""The ledger: every numbered result of the sources as a check that can fail.

The module of a chapter here, `ntklab.ledger.linearization`, registers the chapter's results with
the decorator `result`: each is a function that measures something and returns a `Check` or several.
Beside what must hold stands what must fail: a hypothesis broken, and mutants, false neighbours of
the statement and of the code under test. `python -m ntklab.ledger` runs the whole ledger.
"""

import functools
import html
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax

from ntklab import _validate
from ntklab.checks import Check, Checks, rows, table

__all__ = [
    "CHAPTERS",
    "EVIDENCE",
    "SOURCES",
    "Mutant",
    "Report",
    "Result",
    "all_results",
    "closeness",
    "result",
]

#: The chapters in the order of the book; each has its entries in the module of its name.
CHAPTERS = (
    "linearization",
    "tangent_kernel",
    "gradient_flow",
    "convergence",
    "lazy_training",
    "spectral_bias",
    "learning_frequencies",
    "boolean_kernels",
    "sparse_parities",
    "weak_learning",
    "leaky_parities",
    "hierarchical_learning",
    "single_neuron",
    "beyond_kernels",
)

#: The sources by their keys.
SOURCES = {
    "S24": "Sutherland 2024",
    "B23": "Bowman 2023",
    "M21": "Malach et al. 2021",
    "AZL19": "Allen-Zhu and Li 2019",
}

#: What an entry's measurement is worth: all cases or a closed form (`exact`), an identity up to
#: floating-point errors (`rounding`), draws at a stated level (`sampled`), the worst case that a
#: search has found (`searched`).
EVIDENCE = ("exact", "rounding", "sampled", "searched")


@dataclass(frozen=True)
class Mutant:
    """A false neighbour of an entry, which must turn it red: made by `statement` or by `code`.

    Attributes:
        what: how it differs, in a few words.
        arguments: of the entry's function, for a false statement.
        target: the object of the library that is replaced, for faulty code.
        make: what turns the right object into the faulty one.
    """

    what: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""
    make: Callable[[Any], Any] | None = None

    @classmethod
    def statement(cls, what: str, **arguments: Any) -> "Mutant":
        """A false neighbour of the statement, such as a constant halved or an exponent moved.

        Args:
            what: how it differs.
            arguments: of the entry's function, under which it checks the false statement.

        Raises:
            ValueError: for an empty text, or without arguments.
        """
        if not arguments:
            raise ValueError(f"arguments must make the statement false, got none for {what!r}")
        return cls(_described(what), arguments)

    @classmethod
    def code(cls, what: str, target: str, make: Callable[[Any], Any]) -> "Mutant":
        """A fault in the code under test, such as a factor, a gain or a term that is missing.

        Args:
            what: how it differs.
            target: what is replaced, as `networks.shallow` or `problems.LeakyParities.moments`.
            make: the faulty object, made of the right one.

        Raises:
            ValueError: for an empty text, a target that is not there, or a `make` that is none.
        """
        _owner(target)
        if not callable(make):
            raise ValueError(f"make must be a function of the right object, got {make!r}")
        return cls(_described(what), {}, target, make)

    @property
    def kind(self) -> str:
        """`statement` or `code`: what is false."""
        return "code" if self.target else "statement"

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While this lasts, the library has the fault, wherever it uses the object."""
        if self.make is None:
            yield
            return
        owner, name = _owner(self.target)
        right = inspect.getattr_static(owner, name)
        faulty = self.make(getattr(owner, name))
        # A function that others have imported by name is bound in their modules too.
        owners = [owner, *_modules()] if inspect.ismodule(owner) else [owner]
        bound = [
            (place, key)
            for place in {id(place): place for place in owners}.values()
            for key, value in list(vars(place).items())
            if value is right
        ]
        _forget_programs()
        try:
            for place, key in bound:
                setattr(place, key, faulty)
            yield
        finally:
            for place, key in bound:
                setattr(place, key, right)
            _forget_programs()


def _described(what: str) -> str:
    if not what:
        raise ValueError("what must say how the mutant differs, got an empty string")
    return what


def _owner(target: str) -> tuple[Any, str]:
    """The module or class that holds the target, and the target's name in it."""
    module, *path = target.split(".")
    try:
        owner: Any = importlib.import_module(f"ntklab.{module}")
        for name in path[:-1]:
            owner = getattr(owner, name)
        getattr(owner, path[-1])
    except (ImportError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(
            f"target must be something of the library, as `networks.shallow`, got {target!r}"
        ) from error
    return owner, path[-1]


def _modules() -> list[Any]:
    return [module for name, module in sys.modules.items() if name.split(".")[0] == "ntklab"]


def _forget_programs() -> None:
    """Compiled programs and kept values were made with what is being replaced."""
    jax.clear_caches()
    for module in _modules():
        for value in vars(module).values():
            if isinstance(value, functools._lru_cache_wrapper):
                value.cache_clear()


@dataclass(frozen=True)
class Report:
    """The checks of a result as stated and with a hypothesis broken; shows itself as a table.

    Attributes:
        entry: the result.
        stated: the checks under its hypotheses.
        broken: the checks under `entry.falsified_by`; at least one should fail.
        arguments: what was changed for both.
    """

    entry: "Result"
    stated: Checks
    broken: Checks
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def _title(self) -> str:
        changed = f", with {_listed(self.arguments)}" if self.arguments else ""
        return f"{self.entry.title}{changed}"

    @property
    def _broken_hypothesis(self) -> str:
        return f"a hypothesis broken: {_listed(self.entry.falsified_by)}"

    def __str__(self) -> str:
        return f"{self._title}\n{self.stated}\n{self._broken_hypothesis}\n{self.broken}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        def body(run: str, role: str, head: str, checks: Checks, code: str = "") -> str:
            title = f'<th colspan="5" scope="rowgroup" data-role="{role}">{html.escape(head)}'
            lines = rows(checks, must_fail=run == "broken")
            return f'<tbody data-run="{run}"><tr>{title}{code}</th></tr>{lines}</tbody>'

        entry = self.entry
        code = f" <code>ledger.{entry.chapter}.{entry.name}</code>"
        data = {
            "entry": entry.key,
            "theorem": entry.theorem or "",
            "source": entry.title,
            "arguments": _listed(self.arguments),
        }
        return table(
            [
                body("stated", "title", self._title, self.stated, code),
                body("broken", "break", self._broken_hypothesis, self.broken),
            ],
            "".join(f' data-{name}="{html.escape(text)}"' for name, text in data.items()),
        )


def _listed(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in arguments.items())


@dataclass(frozen=True)
class Result:
    """A numbered result of a source, with the function that checks it.

    Calling it runs the check, with any of the function's arguments changed, and returns `Checks`.

    Attributes:
        source: the source's key, such as `S24`.
        label: the result's name there, such as `Proposition 14.1`.
        function: what measures.
        falsified_by: arguments that break a hypothesis; under them the check must fail.
        sweep: further argument sets under which the check must hold.
        mutants: false neighbours, each of which must turn the check red.
        evidence: what the measurement is worth, one of `EVIDENCE`.
        level: probability that sampling alone turns a true statement red, if it is `sampled`.
        seeds: number of independent draws that it rests on, if it is `sampled`.
        theorem: label of the statement in the chapter.
        exercise: label of an exercise about it, if there is one.
    """

    source: str
    label: str
    function: Callable[..., Check | Sequence[Check]]
    falsified_by: Mapping[str, Any]
    sweep: Sequence[Mapping[str, Any]] = ()
    mutants: Sequence[Mutant] = ()
    evidence: str = "rounding"
    level: float | None = None
    seeds: int | None = None
    theorem: str | None = None
    exercise: str | None = None

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    @property
    def chapter(self) -> str:
        """The chapter that proves it: the name of the module in which it is registered."""
        return self.function.__module__.rpartition(".")[2]

    @property
    def statement(self) -> str:
        """What is claimed: the first paragraph of the function's docstring."""
        return next(self._paragraphs(), "")

    @property
    def loose(self) -> str:
        """Why an inequality stays below half of its bound: the paragraph `Loose: …` of the
        docstring; empty where none does.
        """
        mark = "Loose: "
        found = (text for text in self._paragraphs() if text.startswith(mark))
        return next(found, "").removeprefix(mark)

    def _paragraphs(self) -> Iterator[str]:
        for paragraph in (inspect.getdoc(self.function) or "").split("\n\n"):
            yield " ".join(paragraph.split())

    @property
    def title(self) -> str:
        """Source and label, such as `S24, Equation (14.1)`: the head of its report."""
        return f"{self.source}, {self.label}"

    @property
    def key(self) -> str:
        """A name for tests, unique on the ledger, such as `S24-Equation-14.1`."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.source} {self.label}").strip("-")

    @property
    def settings(self) -> list[Mapping[str, Any]]:
        """The arguments under which it must hold: its own, and its sweep."""
        return [{}, *self.sweep]

    def __call__(self, *places: Any, **arguments: Any) -> Checks:
        """The checks of one run, for these arguments."""
        outcome = self.function(*places, **arguments)
        return Checks([outcome] if isinstance(outcome, Check) else outcome)

    @property
    def report(self) -> Callable[..., Report]:
        """A function that shows the checks as stated and under `falsified_by` as a table.

        It takes the arguments of the entry, to change what both measure.
        """

        def report(**arguments: Any) -> Report:
            broken = self(**{**arguments, **self.falsified_by})
            return Report(self, self(**arguments), broken, arguments)

        report.__doc__ = f"{self.title}: the checks as stated, and with a hypothesis broken."
        signature = inspect.signature(self.function)
        keywords = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in signature.parameters.values()
        ]
        signature = signature.replace(parameters=keywords, return_annotation=Report)
        report.__signature__ = signature  # type: ignore[attr-defined]
        return report

    def survives(self, mutant: Mutant) -> bool:
        """Whether a false neighbour stays unnoticed: no check fails, whatever the setting."""
        with mutant.applied():
            return all(self(**{**setting, **mutant.arguments}).hold for setting in self.settings)


def closeness(runs: Iterable[Checks]) -> dict[str, float]:
    """How close each inequality of an entry comes to its bound: the largest `Check.closeness` over
    these runs, by its name without the numbers that are in it.

    Args:
        runs: the checks under each of the entry's settings.

    Examples:
        >>> runs = [Checks([Check(f"edge at n = {n}", 3, "<=", n)]) for n in (4, 8)]
        >>> closeness(runs)
        {'edge at n = #': 0.75}
    """
    found: dict[str, float] = {}
    for checks in runs:
        for check in checks:
            if check.closeness is not None:
                name = re.sub(r"\d+(\.\d+)?", "#", check.what)
                found[name] = max(found.get(name, 0.0), check.closeness)
    return found


_LEDGER: dict[tuple[str, str], Result] = {}


def result(
    source: str,
    label: str,
    *,
    falsified_by: Mapping[str, Any],
    sweep: Sequence[Mapping[str, Any]] = (),
    mutants: Sequence[Mutant] = (),
    evidence: str = "rounding",
    level: float | None = None,
    seeds: int | None = None,
    theorem: str | None = None,
    exercise: str | None = None,
) -> Callable[[Callable[..., Check | Sequence[Check]]], Result]:
    """Register a function as the check of a source's result; the name becomes a `Result`.

    Its chapter is the module that it stands in.

    Args:
        source: key of the source, one of `SOURCES`.
        label: the result's name in the source; with its source unique on the ledger.
        falsified_by: arguments of the function that break a hypothesis of the result.
        sweep: other arguments, within the hypotheses, that the tests run as well.
        mutants: false neighbours, of the statement and of the code under test.
        evidence: one of `EVIDENCE`.
        level: probability that a true statement fails; for `sampled` evidence, and only there.
        seeds: number of independent draws; for `sampled` evidence, and only there.
        theorem: label of the statement's block in the chapter.
        exercise: label of an exercise about the result.

    Raises:
        ValueError: for an unknown source, chapter or evidence, a label taken already, no
            falsification, or arguments that the function does not have.
    """
    _validate.choice("source", source, tuple(SOURCES))
    _validate.choice("evidence", evidence, EVIDENCE)
    if (evidence == "sampled") != (level is not None and seeds is not None):
        raise ValueError(
            f"level and seeds must be given for sampled evidence and for no other, got {evidence} "
            f"evidence with level {level} and seeds {seeds}"
        )
    if level is not None and seeds is not None:
        level = _validate.probability("level", level)
        seeds = _validate.integer("seeds", seeds, at_least=1)
    if not falsified_by:
        raise ValueError(
            f"falsified_by must name a broken hypothesis of {source} {label}, got none"
        )

    def register(function: Callable[..., Check | Sequence[Check]]) -> Result:
        entry = Result(
            source,
            label,
            function,
            dict(falsified_by),
            tuple(sweep),
            tuple(mutants),
            evidence,
            level,
            seeds,
            theorem,
            exercise,
        )
        _validate.choice("chapter", entry.chapter, CHAPTERS)
        if not entry.statement:
            raise ValueError(f"{function.__name__} must state {source} {label} in its docstring")
        known = set(inspect.signature(function).parameters)
        for name, arguments in (
            ("falsified_by", falsified_by),
            *(("sweep", setting) for setting in sweep),
            *(("mutants", mutant.arguments) for mutant in mutants),
        ):
            unknown = set(arguments) - known
            if unknown:
                raise ValueError(
                    f"{name} must name arguments of {function.__name__}, got {sorted(unknown)}"
                )
        taken = _LEDGER.get((source, label))
        if taken is not None and taken.function.__qualname__ != function.__qualname__:
            raise ValueError(f"label must be new on the ledger, got {source} {label} again")
        _LEDGER[source, label] = entry
        # Shows up where a function would: in the API pages, in doctests, in an editor.
        object.__setattr__(entry, "__doc__", function.__doc__)
        object.__setattr__(entry, "__name__", function.__name__)
        signature = inspect.signature(function).replace(return_annotation=Checks)
        object.__setattr__(entry, "__signature__", signature)
        return entry

    return register


def all_results() -> Iterator[Result]:
    """All results of the ledger, chapter by chapter in the order of the book.

    Examples:
        >>> {entry.source for entry in all_results()} == set(SOURCES)
        True
    """
    for chapter in CHAPTERS:
        importlib.import_module(f"ntklab.ledger.{chapter}")
    order = {chapter: place for place, chapter in enumerate(CHAPTERS)}
    yield from sorted(_LEDGER.values(), key=lambda entry: order[entry.chapter])
