"""The judge of the problem sets: frames, what is handed in, gradebooks, and pages."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from grading import feedback, gradebook, protocol, runner, seccomp, submissions
from grading.gradebook import Row
from grading.judge import Answer, Grade, Verdict, seed
from grading.submissions import Submission
from project import Obstacle

pytestmark = pytest.mark.once


# Frames


def test_values_come_back_as_they_were():
    values = [True, 3, 2.5, np.arange(6.0).reshape(2, 3), np.float32([1, 2]), np.array([True])]
    back, several = protocol.decode(protocol.encode(values, several=True))
    assert several
    for value, found in zip(values, back, strict=True):
        assert type(found) is type(value)
        np.testing.assert_array_equal(found, value)
    assert back[3].flags.writeable


def claimed(code=3, scalar=0, shape=(1,), data=bytes(8), count=1, several=0):
    head = struct.pack("<BB", several, count) + struct.pack("<BBB", code, scalar, len(shape))
    return head + struct.pack(f"<{len(shape)}Q", *shape) + data


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        (claimed(code=9), "unknown kind"),
        (claimed(code=protocol.TEXT, data=b"a"), "unknown kind"),
        (claimed(shape=(1,) * 9), "too many dimensions"),
        (claimed(scalar=1), "too many dimensions"),
        (claimed(scalar=2), "unknown kind"),
        (claimed(shape=(2**62, 4)), "too large"),
        (claimed(shape=(0, 2**62)), "too large"),
        (claimed(shape=(2**22, 2)), "too large"),
        (claimed(shape=(2,)), "ends too early"),
        (claimed(data=bytes(9)), "after its end"),
        (claimed(count=17, several=1), "wrong number"),
        (claimed(count=0), "wrong number"),
        (claimed(several=2), "wrong number"),
        (b"", "ends too early"),
    ],
)
def test_a_payload_that_claims_too_much_is_refused(payload, cause):
    with pytest.raises(protocol.Broken, match=cause):
        protocol.decode(payload)


def test_a_truth_value_is_one_of_two():
    (value,), _ = protocol.decode(claimed(code=0, data=b"\x07"))
    assert value.tobytes() == b"\x01"


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        ((b"evil", protocol.READY, 0, 0), "mark"),
        ((protocol.MARK, 99, 0, 0), "unknown kind"),
        ((protocol.MARK, protocol.READY, 0, protocol.LARGEST + 1), "too long"),
    ],
)
def test_a_header_is_judged_before_more_is_read(header, cause):
    import os
    from time import monotonic

    read, write = os.pipe()
    try:
        channel = protocol.Channel(read, write)
        os.write(write, protocol.HEADER.pack(*header))
        with pytest.raises(protocol.Broken, match=cause):
            channel.receive(monotonic() + 1, protocol.ANSWERS)
        with pytest.raises(protocol.Overdue):
            channel.receive(monotonic() + 0.05, protocol.ANSWERS)
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("value", [1j, "text", None, object(), 2**64, np.array(["a"])])
def test_what_is_no_real_number_does_not_travel(value):
    with pytest.raises(TypeError):
        protocol.plain(value)


# The runner and the filter


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ("%pip install x\ny = 1", "pass\ny = 1"),
        ("if a:\n    !ls\n", "if a:\n    pass\n"),
        ("%%time\nx = 1", "x = 1"),
        ("%%bash\nrm -r x", ""),
        ("f?", "pass"),
    ],
)
def test_magics_are_taken_out(source, left):
    assert runner.without_magics(source) == left


@pytest.mark.parametrize(
    ("source", "left_out"),
    [
        ("coursework.check('set-1', 'q1', q1)", True),
        ("x = coursework.check('set-1', 'q1', q1)", False),
        ("check('set-1', 'q1', q1)", False),
        ("q1(coursework.check)", False),
    ],
)
def test_only_a_check_that_prints_is_left_out(source, left_out):
    (statement,) = runner.statements(source)
    assert runner.printing(statement) == left_out


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"[]", b"3", b'{"cells": 3}', b"[" * 100_000, b'{"cells": [{}]}']
)
def test_what_is_no_notebook_is_refused(text):
    with pytest.raises(ValueError, match="no notebook"):
        runner.code_cells(text)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_denies_what_it_lists(machine):
    """Run as the kernel would run it."""
    code = [
        struct.unpack_from("<HBBI", seccomp.program(machine), 8 * n)
        for n in range(10**3)
        if 8 * n < len(seccomp.program(machine))
    ]
    column, audit = seccomp.MACHINES[machine]

    def verdict(number, argument=0, architecture=audit):
        value, place = 0, 0
        while True:
            kind, yes, no, constant = code[place]
            if kind == seccomp.RETURN:
                return constant
            if kind == seccomp.LOAD:
                value = {0: number, 4: architecture, 16: argument}[constant]
                place += 1
                continue
            holds = {
                seccomp.EQUAL: value == constant,
                seccomp.ABOVE: value >= constant,
                seccomp.ANY_BIT: bool(value & constant),
            }[kind]
            place += 1 + (yes if holds else no)

    denied = seccomp.DENY | seccomp.EPERM
    for numbers in seccomp.DENIED.values():
        if numbers[column] is not None:
            assert verdict(numbers[column]) == denied
    assert verdict(5000) == seccomp.ALLOW
    assert verdict(5000, architecture=1) == seccomp.KILL
    assert verdict(0x40000001) == seccomp.DENY | seccomp.ENOSYS
    assert verdict(seccomp.CLONE3[column]) == seccomp.DENY | seccomp.ENOSYS
    assert verdict(seccomp.CLONE[column], 0x10000000) == denied
    assert verdict(seccomp.CLONE[column], 0x11) == seccomp.ALLOW
    for call in (seccomp.SOCKET, seccomp.SOCKETPAIR):
        for family in (1, 2, 40):
            assert verdict(call[column], family) == seccomp.DENY | seccomp.EAFNOSUPPORT


# What is handed in


def archive(*entries, mode=0):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(info, content)
    return out.getvalue()


def found(tmp_path, content, largest=1000):
    place = tmp_path / "in.zip"
    place.write_bytes(content)
    return list(submissions.read(place, "set-1", largest))


def test_canvas_names_say_who(tmp_path):
    got = found(
        tmp_path,
        archive(("noetheremmy_LATE_17_99_set-1-2.ipynb", b"a"), ("gauss_18_98_my.ipynb", b"b")),
    )
    assert [(s.student, s.identifiers, s.content) for s in got] == [
        ("gauss", ("18",), b"b"),
        ("noetheremmy", ("17",), b"a"),
    ]


def test_gradescopes_list_says_who(tmp_path):
    listed = "submission_5:\n  :submitters:\n  - :name: Emmy\n    :sid: '0042'\n    :email: e@x.y\n"
    got = found(
        tmp_path,
        archive(
            ("assignment/submission_metadata.yml", listed.encode()),
            ("assignment/submission_5/renamed.ipynb", b"a"),
        ),
    )
    assert [(s.student, s.identifiers, s.content) for s in got] == [
        ("Emmy", ("0042", "e@x.y"), b"a")
    ]


def test_folders_and_loose_files_are_taken(tmp_path):
    (tmp_path / "emmy").mkdir()
    (tmp_path / "emmy" / "set-1.ipynb").write_bytes(b"a")
    (tmp_path / "gauss.ipynb").write_bytes(b"b")
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "gauss.ipynb")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_bytes(b"c")
    got = {s.student: s for s in submissions.read(tmp_path, "set-1", 1000)}
    assert got["emmy"].content == b"a" and got["gauss"].content == b"b"
    assert got["link"].content is None and got["empty"].content is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (archive(("s/a.ipynb", b"x" * 1001)), "larger"),
        (archive(("s/a.ipynb", b"/etc/shadow"), mode=stat.S_IFLNK | 0o777), "plain"),
        (archive(("s/a.ipynb", b"a"), ("s/b.ipynb", b"b")), "2 notebooks"),
        (archive(("s/a.txt", b"a")), "no notebook"),
        (archive(("s/a.zip", b"no zip")), "cannot be read"),
    ],
)
def test_a_file_that_is_refused_keeps_its_row(tmp_path, content, fault):
    (got,) = found(tmp_path, content)
    assert got.content is None and fault in got.fault


def test_a_zip_that_lies_about_its_sizes_is_counted(tmp_path):
    content = archive(("s/a.ipynb", b"x" * 5000))
    declared = struct.pack("<I", 5000)
    assert content.count(declared) == 2
    (got,) = found(tmp_path, content.replace(declared, struct.pack("<I", 10)))
    assert got.content is None or len(got.content) <= 1000


def test_what_leads_outside_is_not_read(tmp_path):
    got = found(
        tmp_path, archive(("../evil.ipynb", b"x"), ("/abs.ipynb", b"y"), ("ok.ipynb", b"z"))
    )
    assert [s.student for s in got] == ["ok"]
    assert not (tmp_path.parent / "evil.ipynb").exists()


# Tables and pages


def row(student="Emmy", keys=("17",), score=3.0, state="partial", message="off"):
    verdict = Verdict("test_q1", True, 4.0, "wrong", message)
    return Row(
        Submission(student, keys, b""),
        Grade(state, score, 4.0, [Answer("q1", 4.0, score, [verdict])]),
    )


def test_no_cell_is_a_formula(tmp_path):
    target = tmp_path / "grades.csv"
    gradebook.plain([row("=cmd()", ("+1", "\x1b[2J\udc80")), row("\t=x"), row("-2")], target)
    text = target.read_text(encoding="utf-8")
    assert "'=cmd()" in text and "'=x" in text and "'-2" in text
    assert "\x1b" not in text and "\udc80" not in text


CANVAS = (
    "\ufeffStudent;ID;SIS User ID;SIS Login ID;Section;Problem set 1 (77);Final Score\r\n"
    "    Points Possible;;;;;4;(read only)\r\n"
    '"Noether; Emmy";17;0042;emmy;"=A";;1\r\n'
    "Gauss;18;0043;carl;A;EX;2\r\n"
    "Abel;19;0044;niels;A;;3\r\n"
    '"Student, Test";20;;;A;;\r\n'
)


def merged(tmp_path, rows, text=CANVAS, possible=4.0, title="set-1"):
    place = tmp_path / "export.csv"
    place.write_bytes(text.encode())
    return gradebook.merged(place, rows, title, possible)


@pytest.mark.parametrize("key", ["17", "0042", "emmy"])
def test_the_export_keeps_all_but_the_scores(tmp_path, key):
    rows = [row(keys=(key,)), row("Gauss", ("18",)), row("Abel", ("19",), 0, "ungradable")]
    expected = CANVAS.replace('"=A";;1', '"=A";3;1').replace('"Student, Test";20;;;A;;\r\n', "")
    assert merged(tmp_path, rows) == expected


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"rows": [row(keys=("99",))]}, "is not there"),
        ({"rows": [row(keys=("42",))]}, "zeros in front"),
        ({"rows": [row(), row("Other", ("emmy",))]}, "are the same"),
        ({"possible": 5.0}, "points possible"),
        ({"title": "Final Score"}, "read only"),
        ({"title": "set-2"}, "no column"),
        ({"text": CANVAS.replace("Section", "set-1")}, "2 columns"),
        ({"text": CANVAS.replace("    Points Possible", "x")}, "no row Points Possible"),
        ({"text": CANVAS.replace("18;", "17;")}, "2 times"),
        ({"text": "a,b\n1,2\n"}, "columns Student and ID"),
    ],
)
def test_an_export_that_does_not_fit_is_refused(tmp_path, changes, cause):
    with pytest.raises(Obstacle, match=cause):
        merged(tmp_path, **{"rows": [row()], **changes})


def test_a_page_runs_nothing():
    hostile = "<script>alert(1)</script>\u202e\x1b[2J"
    page = feedback.student_page(row(hostile, message=hostile), "set-1")
    assert "<script" not in page and "\u202e" not in page and "\x1b" not in page
    assert "default-src 'none'" in page.replace("&#x27;", "'")
    assert Path(feedback.file_name(row("../../evil"))).name == feedback.file_name(row("../../evil"))
    assert "<script" not in feedback.analysis([row(message=hostile)], "set-1")


def test_inputs_depend_on_secret_submission_and_question():
    seeds = {seed(b"s", b"a", "q1"), seed(b"t", b"a", "q1"), seed(b"s", b"b", "q1")}
    assert len(seeds | {seed(b"s", b"a", "q2")}) == 4
    assert seed(b"s", b"a", "q1") in seeds
