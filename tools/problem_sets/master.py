"""What a master says, read strictly: whatever otter would let through in silence is an error here.

A master is a notebook in the format of otter-grader 7, with exception-based tests. A raw cell opens
or closes a block; whatever is solution or hidden test stands inside one.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nbformat
import yaml
from project import ROOT, Obstacle

from problem_sets import variants

MASTERS = ROOT / "book" / "problem-sets"
# Stands in every solution and hidden test, in a string, since otter strips comments. One word of
# letters and digits, so that no index cuts it and no markup splits it.
CANARY = "heron5b1e0c77q"
# A code cell outside of a block that students are meant to get.
GIVEN = "given"

PYTHON_VERSION = "3.12"
_CONFIG = {
    "init_cell": False,
    "check_all_cell": False,
    "export_cell": False,
    "show_question_points": True,
    "run_tests": False,
    "python_version": PYTHON_VERSION,
    "tests": {"files": True, "ok_format": False},
    "generate": {"show_hidden": False, "show_stdout": False},
}
_BLOCKS = ("QUESTION", "SOLUTION", "TESTS")
_MARKERS = {f"# {edge} {block}" for edge in ("BEGIN", "END") for block in _BLOCKS}
_RAW = {"# ASSIGNMENT CONFIG", variants.MARKER, *_MARKERS}
_WORDS = "question|solution|tests?|prompt|ignore|test config|assignment config|no prompt"
_LIKE_A_MARKER = re.compile(
    rf"#\s*(?:(?:begin|end)\b\s*(?:{_WORDS})|(?:solution|hidden|seed|ignore)\s*(?:no prompt)?\s*$)",
    re.IGNORECASE,
)
_IN_CODE = {"# BEGIN SOLUTION", "# END SOLUTION"}
_TEST_HEAD = re.compile(
    r'\A"""\s*# BEGIN TEST CONFIG\n(?P<config>.*?)\n"""\s*# END TEST CONFIG\n(?P<code>.*)\Z',
    re.DOTALL,
)
# What every test begins with, in one set or another.
_IMPORTS = ("import", "fromntklab.courseworkimport")
_TEST_KEYS = {"points", "hidden", "success_message", "failure_message"}


@dataclass(frozen=True)
class Test:
    """One check of an answer."""

    name: str
    points: float
    hidden: bool
    success: str
    failure: str
    code: str


@dataclass
class Question:
    """A graded question `q1`, or a written one `w1`, with what belongs to it."""

    name: str
    points: float
    manual: bool
    cell: int
    prompt: list[str] = field(default_factory=list)
    solution: list[Any] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)


@dataclass(frozen=True)
class Master:
    """A master for one term: its notebook with the term's constants, and its questions."""

    name: str
    notebook: Any
    questions: dict[str, Question]
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answers(self) -> dict[str, Any]:
        """The solutions of the graded questions, as functions, in a namespace of their own."""
        names: dict[str, Any] = {}
        for cell in self.notebook.cells:
            if cell.cell_type == "code" and GIVEN in cell.metadata.get("tags", []):
                exec(compile(cell.source, f"<{self.name} given>", "exec"), names)
        for question in self.graded():
            for cell in question.solution:
                exec(compile(cell.source, f"<{self.name} {question.name}>", "exec"), names)
        return {question.name: names[question.name] for question in self.graded()}

    def checks(self, question: str) -> dict[str, Callable[[Any], None]]:
        """The tests of a question, public and hidden, as functions of the answer."""
        found: dict[str, Callable[[Any], None]] = {}
        for test in self.questions[question].tests:
            names: dict[str, Any] = {}
            exec(compile(test.code, f"<{self.name} {test.name}>", "exec"), names)
            found[test.name] = names[test.name]
        return found

    def graded(self) -> Iterator[Question]:
        """The questions that functions answer."""
        return (question for question in self.questions.values() if not question.manual)

    def secrets(self) -> Iterator[str]:
        """The lines that no student may see: of solutions, of hidden tests, of rubrics."""
        public = {
            _packed(line)
            for cell in self.notebook.cells
            if cell.cell_type == "markdown" or GIVEN in cell.metadata.get("tags", [])
            for line in cell.source.splitlines()
        }
        hidden: list[str] = []
        for question in self.questions.values():
            for cell in question.solution:
                public -= {_packed(line) for line in cell.source.splitlines()}
                hidden += solution_lines(cell)
            for test in question.tests:
                lines = test.code.splitlines()
                if test.hidden:
                    hidden += lines
                else:
                    public |= {_packed(line) for line in lines}
        for line in hidden:
            packed = _packed(line)
            # What is short, or a call that anybody writes, betrays nothing.
            if len(packed) >= 24 and packed not in public and not packed.startswith(_IMPORTS):
                yield packed


def _packed(line: str) -> str:
    return re.sub(r"\s+", "", line)


def solution_lines(cell: Any) -> list[str]:
    """The lines of a solution cell that students do not get."""
    lines = cell.source.splitlines()
    if cell.cell_type == "markdown":
        return lines
    inside, kept = False, []
    for line in lines:
        if line.strip() in _IN_CODE:
            inside = line.strip() == "# BEGIN SOLUTION"
        elif inside:
            kept.append(line)
    return kept


def names() -> list[str]:
    """The sets that have a master."""
    return sorted(path.stem for path in MASTERS.glob("set-*.ipynb"))


def load(name: str, term_seed: str = "", folder: Path = MASTERS) -> Master:
    """The master of a set with this term's constants.

    Raises:
        Obstacle: for whatever is not as it must be, with the cell named.
    """
    path = folder / f"{name}.ipynb"
    if not path.is_file():
        raise Obstacle(f"{path}: there is no such master")
    notebook = nbformat.read(path, as_version=4)
    _check_markers(notebook, name)
    filled, chosen = variants.filled(notebook, name, term_seed)
    return replace(read(filled, name), variants=chosen)


def read(notebook: Any, name: str) -> Master:
    """The questions of a master whose constants are filled in."""
    _check_markers(notebook, name)
    questions: dict[str, Question] = {}
    open_blocks: list[str] = []
    question: Question | None = None
    configured = False
    for place, cell in enumerate(notebook.cells):
        where = f"{name}, cell {place}"
        if cell.cell_type == "raw":
            marker = cell.source.splitlines()[0]
            if marker == "# ASSIGNMENT CONFIG":
                _check_config(cell, name, where)
                configured = True
                continue
            edge, block = marker.removeprefix("# ").split()
            if edge == "END":
                if not open_blocks or open_blocks[-1] != block:
                    raise Obstacle(f"{where}: {marker} closes no open block")
                open_blocks.pop()
                if block == "QUESTION" and question:
                    _check_question(question, name)
                    question = None
                continue
            if (block == "QUESTION") != (not open_blocks) or len(open_blocks) > 1:
                inside = open_blocks[-1] if open_blocks else "no question"
                raise Obstacle(f"{where}: {marker} stands inside {inside}")
            open_blocks.append(block)
            if block == "QUESTION":
                question = _question(cell, place, where)
                if question.name in questions:
                    raise Obstacle(f"{where}: a second question {question.name}")
                questions[question.name] = question
            continue
        block = open_blocks[-1] if open_blocks else ""
        if question and block == "SOLUTION":
            question.solution.append(cell)
        elif question and block == "TESTS":
            question.tests.append(_test(cell, question.name, where))
        elif cell.cell_type == "code":
            if GIVEN not in cell.metadata.get("tags", []):
                raise Obstacle(
                    f"{where}: a code cell outside of a block must have the tag {GIVEN}, or it "
                    "would be handed out by accident"
                )
            if re.search(r"\bdef [qw]\d+\b|\b[qw]\d+ *=", cell.source):
                raise Obstacle(f"{where}: an answer stands outside of a solution block")
        elif question:
            question.prompt.append(cell.source)
        if block != "SOLUTION" and block != "TESTS" and CANARY in cell.source:
            raise Obstacle(f"{where}: the canary stands outside of a block")
        if cell.get("outputs"):
            raise Obstacle(f"{where}: a master has no outputs")
    if open_blocks:
        raise Obstacle(f"{name}: the block {open_blocks[-1]} is never closed")
    if not configured:
        raise Obstacle(f"{name}: there is no cell # ASSIGNMENT CONFIG")
    if not questions:
        raise Obstacle(f"{name}: no question is marked")
    return Master(name, notebook, questions)


def _check_markers(notebook: Any, name: str) -> None:
    """Markers are exact, and stand where they do something."""
    for place, cell in enumerate(notebook.cells):
        where = f"{name}, cell {place}"
        lines = cell.source.splitlines() or [""]
        if cell.cell_type == "raw" and lines[0] not in _RAW:
            raise Obstacle(
                f"{where}: {lines[0]!r} is no marker; there are {', '.join(sorted(_RAW))}"
            )
        unknown = set(cell.metadata.get("tags", [])) - {GIVEN}
        if unknown:
            raise Obstacle(f"{where}: {', '.join(sorted(unknown))} is no tag; there is {GIVEN}")
        head = _TEST_HEAD.match(cell.source) if cell.cell_type == "code" else None
        start = head.start("code") if head else 0
        body = lines[1:] if cell.cell_type == "raw" else cell.source[start:].splitlines()
        for line in body:
            if _LIKE_A_MARKER.search(line):
                exact = cell.cell_type == "code" and line.strip() in _IN_CODE
                if not exact:
                    raise Obstacle(f"{where}: {line.strip()!r} looks like a marker and is none")


def _check_config(cell: Any, name: str, where: str) -> None:
    config = yaml.safe_load(cell.source)
    expected = {"name": name, **_CONFIG}
    if config != expected:
        wrong = sorted(
            key
            for key in {*config, *expected}
            if config.get(key, name) != expected.get(key) or key not in expected
        )
        raise Obstacle(f"{where}: the assignment's {', '.join(wrong)} must be as in every set")


def _question(cell: Any, place: int, where: str) -> Question:
    config = yaml.safe_load(cell.source) or {}
    if not isinstance(config, dict) or not {"name", "points"} <= config.keys():
        raise Obstacle(f"{where}: a question must have a name and points")
    if mistyped := config.keys() - {"name", "points", "manual"}:
        raise Obstacle(f"{where}: {', '.join(map(str, mistyped))} is no setting of a question")
    name, points, manual = config["name"], config["points"], config.get("manual", False)
    if not re.fullmatch(r"w\d+" if manual else r"q\d+", str(name)):
        raise Obstacle(f"{where}: a graded question is called q1, a written one w1, got {name!r}")
    if isinstance(points, bool) or not isinstance(points, int | float) or points <= 0:
        raise Obstacle(f"{where}: the points of {name} must be a number above 0, got {points!r}")
    return Question(name, points, manual, place)


def _test(cell: Any, question: str, where: str) -> Test:
    """The one test of a cell."""
    if cell.cell_type != "code":
        raise Obstacle(f"{where}: a block of tests holds code cells only")
    head = _TEST_HEAD.match(cell.source)
    if head is None:
        raise Obstacle(f"{where}: a test must begin with its BEGIN TEST CONFIG … END TEST CONFIG")
    config = yaml.safe_load(head["config"])
    if not isinstance(config, dict) or config.keys() != _TEST_KEYS:
        given = ", ".join(map(str, config)) if isinstance(config, dict) else config
        raise Obstacle(f"{where}: a test has {', '.join(sorted(_TEST_KEYS))}, got {given}")
    if not isinstance(config["hidden"], bool):
        raise Obstacle(f"{where}: hidden must be true or false, got {config['hidden']!r}")
    for key in ("success_message", "failure_message"):
        # Otter writes them between quotes as they are.
        if not isinstance(config[key], str) or re.search(r'["\\\n]', config[key]):
            raise Obstacle(f"{where}: {key} must be one line without quotes or backslashes")
    tree = ast.parse(head["code"])
    if len(tree.body) != 1 or not isinstance(function := tree.body[0], ast.FunctionDef):
        raise Obstacle(f"{where}: a test cell must hold one function and nothing else")
    if not re.fullmatch(rf"test_{question}_\w+", function.name):
        raise Obstacle(f"{where}: the test must be called test_{question}_…, got {function.name}")
    if [argument.arg for argument in function.args.args] != [question]:
        raise Obstacle(f"{where}: {function.name} must take {question} alone")
    documented = CANARY in (ast.get_docstring(function) or "")
    if documented != config["hidden"]:
        missing = "lacks the canary in its docstring" if config["hidden"] else "has the canary"
        raise Obstacle(f"{where}: {function.name} {missing}")
    return Test(
        function.name,
        config["points"],
        config["hidden"],
        config["success_message"],
        config["failure_message"],
        ast.unparse(function) + "\n",
    )


def _check_question(question: Question, name: str) -> None:
    where = f"{name}, cell {question.cell}"
    if not question.prompt or not question.solution:
        raise Obstacle(f"{where}: {question.name} must have a text and a solution")
    for cell in question.solution:
        if CANARY not in "\n".join(solution_lines(cell)):
            raise Obstacle(f"{where}: a solution cell of {question.name} lacks the canary")
    if question.manual:
        if question.tests or any(cell.cell_type == "code" for cell in question.solution):
            raise Obstacle(f"{where}: {question.name} is written, it has a rubric and no code")
        return
    if any(cell.cell_type != "code" for cell in question.solution) or len(question.solution) != 1:
        raise Obstacle(f"{where}: the solution of {question.name} must be one code cell")
    _check_solution(question, where)
    if not any(test.hidden for test in question.tests):
        raise Obstacle(f"{where}: {question.name} has no hidden test")
    if all(test.hidden for test in question.tests):
        raise Obstacle(f"{where}: {question.name} has no public test")
    if len({test.name for test in question.tests}) < len(question.tests):
        raise Obstacle(f"{where}: two tests of {question.name} have one name")
    total = sum(test.points for test in question.tests)
    if abs(total - question.points) > 1e-9:
        raise Obstacle(
            f"{where}: the tests of {question.name} give {total:g} points, "
            f"the question {question.points:g}"
        )


def _check_solution(question: Question, where: str) -> None:
    """What students get of it is the head of one function, its docstring and nothing else."""
    lines = question.solution[0].source.splitlines()
    hidden = solution_lines(question.solution[0])
    rest = [line for line in lines if line not in hidden and line.strip() not in _IN_CODE]
    tree = ast.parse("\n".join([*rest, "    ..."]))
    edges = [line.strip() for line in lines if line.strip() in _IN_CODE]
    if edges != ["# BEGIN SOLUTION", "# END SOLUTION"]:
        raise Obstacle(f"{where}: the code of {question.name} must have one marked solution")
    match tree.body:
        case [
            ast.FunctionDef(name=question.name, body=[ast.Expr(ast.Constant(str())), ast.Expr()])
        ]:
            return
    raise Obstacle(
        f"{where}: outside of the marked solution the cell of {question.name} must hold "
        f"def {question.name}(…), its docstring and nothing else"
    )
