"""The grades as a table, and merged into the instructor's own export of Canvas' gradebook."""

import csv
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from project import Obstacle, write

from grading.judge import Grade
from grading.submissions import Submission

#: With these a spreadsheet begins a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
COLUMNS = ("ID", "SIS User ID", "SIS Login ID")
NEVER_GRADED = "ungradable"


@dataclass(frozen=True)
class Row:
    """A submission and its grade."""

    submission: Submission
    grade: Grade


def shown(text: str) -> str:
    """A text as one line without signs that steer a terminal or turn letters around."""
    kept = (
        " "
        if char.isspace()
        else "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn")
        else char
        for char in text
    )
    return "".join(kept).strip()[:200]


def number(value: float) -> str:
    """Points with two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    clean = shown(text)
    return f"'{clean}" if clean.startswith(FORMULA) or text.startswith(FORMULA) else clean


def plain(rows: Sequence[Row], target: Path) -> None:
    """Write the table: a row for every submission."""
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    questions = [answer.name for answer in rows[0].grade.answers] if rows else []
    table.writerow(["student", "identifiers", "state", "score", "possible", *questions, "note"])
    for row in rows:
        grade, submission = row.grade, row.submission
        scores = [number(answer.score) for answer in grade.answers]
        table.writerow(
            [
                harmless(submission.student),
                harmless(" ".join(submission.identifiers)),
                grade.state,
                number(grade.score),
                number(grade.possible),
                *scores,
                harmless(grade.note),
            ]
        )
    write(target, out.getvalue())


@dataclass
class _Cell:
    """A cell of a CSV: its value, and the text that stood there."""

    value: str
    text: str


def _cells(text: str, delimiter: str) -> list[tuple[list[_Cell], str]]:
    """The records of a CSV, each with its line end, so that what is not changed stays as it is."""
    records: list[tuple[list[_Cell], str]] = []
    cells: list[_Cell] = []
    place, start, quoted = 0, 0, False

    def cell(end: int) -> None:
        raw = text[start:end]
        value = raw
        if raw.startswith('"') and raw.endswith('"') and len(raw) > 1:
            value = raw[1:-1].replace('""', '"')
        cells.append(_Cell(value, raw))

    while place < len(text):
        char = text[place]
        if quoted and char == '"' and text.startswith('""', place):
            place += 1
        elif char == '"' and (quoted or place == start):
            quoted = not quoted
        elif not quoted and char == delimiter:
            cell(place)
            start = place + 1
        elif not quoted and char in "\r\n":
            cell(place)
            ending = "\r\n" if text.startswith("\r\n", place) else char
            records.append((cells, ending))
            cells = []
            place += len(ending)
            start = place
            continue
        place += 1
    if quoted:
        raise Obstacle("CANVAS: a quote is not closed")
    if start < len(text) or cells:
        cell(len(text))
        records.append((cells, ""))
    return records


def _table(path: Path) -> tuple[str, str, list[tuple[list[_Cell], str]]]:
    """Byte order mark, delimiter and records of an export."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise Obstacle("CANVAS must be the export as Canvas writes it, in UTF-8") from None
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    for delimiter in (",", ";", "\t"):
        records = _cells(text, delimiter)
        head = [cell.value.strip() for cell in records[0][0]] if records else []
        if "Student" in head and "ID" in head:
            return mark, delimiter, records
    raise Obstacle("CANVAS must be a gradebook export with the columns Student and ID")


def _column(head: list[str], points: list[str], title: str, possible: float) -> int:
    """The column of the assignment, by the beginning of its name."""

    def simple(text: str) -> str:
        return "".join(char for char in text.lower() if char.isalnum())

    wanted = simple(title)
    names = [simple(name.rpartition(" (")[0] or name) for name in head]
    found = [
        place
        for place, name in enumerate(names)
        if name in (wanted, f"problem{wanted}") or simple(head[place]) == wanted
    ]
    if len(found) != 1:
        many = "no column" if not found else f"{len(found)} columns"
        raise Obstacle(
            f"CANVAS has {many} for {title}; name the assignment “Problem {title}” in Canvas, "
            "or give its name: COLUMN=…"
        )
    (place,) = found
    if "read only" in points[place].lower():
        raise Obstacle(f"CANVAS: the column {head[place]} is read only")
    try:
        there = float(points[place])
    except ValueError:
        there = -1.0
    if there != possible:
        raise Obstacle(
            f"CANVAS: {head[place]} has {points[place].strip() or 'no'} points possible; "
            f"the set has {number(possible)}"
        )
    return place


def merged(path: Path, rows: Sequence[Row], title: str, possible: float) -> str:
    """The export with the scores in it, all else as it was, and without the test student.

    A cell with `EX`, and one whose student handed in nothing or nothing gradable, stays.

    Raises:
        Obstacle: if a student is not found, or found twice; if the column is not, or is another's.
    """
    mark, delimiter, records = _table(path)
    head = [cell.value.strip() for cell in records[0][0]]
    student = head.index("Student")
    keys = [head.index(name) for name in COLUMNS if name in head]
    points = next(
        (cells for cells, _ in records if cells[student].value.strip() == "Points Possible"), None
    )
    if points is None:
        raise Obstacle("CANVAS has no row Points Possible")
    width = len(head)
    if any(len(cells) != width for cells, _ in records if len(cells) > 1):
        raise Obstacle("CANVAS has rows of different lengths")
    place = _column(head, [cell.value for cell in points], title, possible)
    last = next(n for n, (cells, _) in enumerate(records) if cells is points)
    people = {
        n: [cells[key].value.strip() for key in keys]
        for n, (cells, _) in enumerate(records)
        if n > last and len(cells) == width and cells[student].value.strip() != "Student, Test"
    }
    given: dict[int, Row] = {}
    faults = []
    for row in rows:
        who = shown(row.submission.student)
        found: list[int] = []
        for column in range(len(keys)):
            found = [n for n, ids in people.items() if ids[column] in row.submission.identifiers]
            if found:
                break
        if len(found) != 1:
            stripped = {key.lstrip("0") for key in row.submission.identifiers} - {""}
            alike = [i for ids in people.values() for i in ids if i and i.lstrip("0") in stripped]
            if found:
                faults.append(f"{who} is there {len(found)} times")
            elif alike:
                faults.append(f"{who}: zeros in front were lost, the export has {shown(alike[0])}")
            else:
                faults.append(f"{who} is not there")
        elif found[0] in given:
            faults.append(f"{who} and {shown(given[found[0]].submission.student)} are the same")
        else:
            given[found[0]] = row
    if faults:
        raise Obstacle(f"CANVAS was not filled in: {'; '.join(faults[:10])}")
    lines = [mark]
    for n, (cells, ending) in enumerate(records):
        if len(cells) == width and cells[student].value.strip() == "Student, Test":
            continue
        excused = cells[place].value.strip().upper() == "EX" if n in given else False
        if n in given and not excused and given[n].grade.state != NEVER_GRADED:
            cells[place].text = number(given[n].grade.score)
        lines += [delimiter.join(cell.text for cell in cells), ending]
    return "".join(lines)
