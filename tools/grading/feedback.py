"""A page for each student, and one about the questions for the instructor."""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from html import escape
from statistics import median

from grading.gradebook import Row, number, shown
from grading.judge import Verdict

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #999;padding:.3rem;"
    "text-align:left;vertical-align:top}:root{color-scheme:light dark}"
)
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)
MEANINGS = {
    "ok": "All tests hold.",
    "partial": "Some tests hold.",
    "wrong": "No test holds.",
    "malformed": "No notebook can be read in what was handed in.",
    "ungradable": "No statement of the notebook ran. This attempt does not count.",
    "timeout": "No test holds, and some answers took longer than they may.",
    "crash": "No test holds, and the process ended while it was asked.",
}


def page(title: str, body: str) -> str:
    """A page that loads and runs nothing. `title` is escaped here, `body` is markup."""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n<h1>{text(title)}</h1>\n"
        f"{body}\n</html>\n"
    )


def text(value: str) -> str:
    """A text on a page."""
    return escape(shown(value), quote=True)


def file_name(row: Row) -> str:
    """That of a student's page: no part of it comes from the student."""
    person = "\0".join([row.submission.student, *row.submission.identifiers])
    return hashlib.sha256(person.encode(errors="replace")).hexdigest()[:16] + ".html"


def student_page(row: Row, title: str) -> str:
    """What one student reads: points, and what each test says. No text of an exception."""
    grade = row.grade
    lines = [
        f"<p>{text(row.submission.student)}: <strong>{number(grade.score)}</strong> of "
        f"{number(grade.possible)} points. {MEANINGS[grade.state]}</p>"
    ]
    if grade.note:
        lines.append(f"<p>Note: {text(grade.note)}.</p>")
    for answer in grade.answers:
        lines.append(
            f"<h2>{text(answer.name)}: {number(answer.score)} of {number(answer.possible)}</h2>"
        )
        if answer.verdicts:
            rows = "".join(_line(verdict) for verdict in answer.verdicts)
            lines.append(f"<table><tr><th>points<th>what the test says</tr>{rows}</table>")
    return page(title, "\n".join(lines))


def _line(verdict: Verdict) -> str:
    mark = "✓" if verdict.kind == "passed" else "✗"
    got = verdict.points if verdict.kind == "passed" else 0.0
    said = verdict.message or ("it holds" if verdict.kind == "passed" else "it fails")
    return f"<tr><td>{number(got)} of {number(verdict.points)}<td>{mark} {text(said)}</tr>"


def analysis(rows: Sequence[Row], title: str) -> str:
    """Of each question: full marks, the mean, what failed most; and what the class took."""
    total = len(rows)
    states = Counter(row.grade.state for row in rows)
    seconds = [row.grade.seconds for row in rows]
    work = [row.grade.processor for row in rows]
    listed = ", ".join(f"{count} {state}" for state, count in states.most_common())
    lines = [f"<p>{total} submissions: {listed}.</p>"]
    if rows:
        lines.append(
            f"<p>Time of one: median {median(seconds):.1f} s, longest {max(seconds):.1f} s; of the "
            f"processor on average {sum(work) / total:.2f} s. Memory: at most "
            f"{max(row.grade.memory for row in rows) >> 20} MB.</p>"
        )
    for place, answer in enumerate(rows[0].grade.answers if rows else []):
        answers = [row.grade.answers[place] for row in rows]
        full = sum(item.score >= item.possible for item in answers)
        mean = sum(item.score for item in answers) / total
        failed = Counter(
            (verdict.case, verdict.message)
            for item in answers
            for verdict in item.verdicts
            if verdict.kind != "passed"
        )
        lines.append(
            f"<h2>{text(answer.name)}</h2><p>Full marks: {full / total:.0%}. Mean: "
            f"{number(mean)} of {number(answer.possible)}.</p>"
        )
        if failed:
            common = "".join(
                f"<tr><td>{count}<td>{text(case)}<td>{text(message)}</tr>"
                for (case, message), count in failed.most_common(10)
            )
            lines.append(f"<table><tr><th>times<th>test<th>what it said</tr>{common}</table>")
    return page(f"{title}: the questions", "\n".join(lines))
