"""The judge of the problem sets: frames, what is handed in, gradebooks, and pages."""

import csv
import io
import os
import re
import stat
import struct
import threading
import zipfile
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from grading import feedback, gradebook, judge, protocol, runner, seccomp, submissions
from grading.gradebook import Row
from grading.judge import Answer, Grade, Verdict, seed
from grading.questions import Case, load
from grading.sandbox import Limits
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


@pytest.mark.parametrize("shape", [(), (1, 1), (protocol.LONGEST_TEXT + 1,)])
def test_a_text_has_one_dimension_and_a_length(shape):
    data = b"a" * (protocol.LONGEST_TEXT + 1)
    payload = claimed(protocol.TEXT, 1, shape, data[: shape[0] if shape else 0])
    with pytest.raises(protocol.Broken, match="too long"):
        protocol.decode(payload, text=True)


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ([1] * 17, "17 values"),
        (["a" * 1001], "a text"),
        ([np.zeros((1,) * 9)], "9 dimensions"),
        ([np.zeros(protocol.LARGEST // 8)], "bytes"),
    ],
)
def test_no_more_is_sent_than_is_taken(values, cause):
    with pytest.raises(protocol.Broken, match=cause):
        protocol.encode(values, several=True)


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
    read, write = os.pipe()
    try:
        channel = protocol.Channel(read, write)
        os.write(write, protocol.HEADER.pack(*header))
        with pytest.raises(protocol.Broken, match=cause):
            channel.receive(monotonic() + 1, protocol.ANSWERS)
        began = monotonic()
        with pytest.raises(protocol.Overdue):
            channel.receive(began + 0.05, protocol.ANSWERS)
        assert monotonic() - began < 3
    finally:
        os.close(read)
        os.close(write)


def test_who_reads_nothing_keeps_nobody_waiting():
    read, write = os.pipe()
    channel = protocol.Channel(read, write)
    assert not os.get_blocking(read)
    # A write that waits ends when the reader has gone.
    gone = threading.Timer(3, os.close, [read])
    gone.start()
    began = monotonic()
    with pytest.raises(protocol.Overdue):
        channel.send(began + 0.05, protocol.CALL, 0, bytes(1 << 20))
    assert monotonic() - began < 2.5
    gone.join()
    with pytest.raises(protocol.Ended):
        channel.send(monotonic() + 1, protocol.CALL, 0)
    os.close(write)


def test_a_side_that_has_gone_has_ended():
    read, write = os.pipe()
    channel = protocol.Channel(read, write)
    os.write(write, protocol.MARK)
    os.close(write)
    with pytest.raises(protocol.Ended):
        channel.receive(monotonic() + 1, protocol.ANSWERS)
    os.close(read)


@pytest.mark.parametrize(
    "value",
    [1j, "text", None, object(), 2**63, -(2**63) - 1, 2**64, np.uint64([2**63]), np.array(["a"])],
)
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


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (None, protocol.NOTHING),
        (9.0, protocol.RETURNED),
        ((9.0,), protocol.RETURNED),
        (1j, protocol.UNUSABLE),
        ((9.0, "a"), protocol.UNUSABLE),
        ([[1], [2, 3]], protocol.UNUSABLE),
        ((9.0,) * 17, protocol.UNUSABLE),
        (2**63, protocol.UNUSABLE),
    ],
)
def test_what_a_function_gives_is_an_answer_or_unusable(given, kind):
    payload = protocol.encode(["q1", "", 3.0], several=True)
    names = {"q1": lambda x: given, "q2": 9.0}
    clock = runner.Clock(2.0)
    found, answer = runner.called(protocol, names, clock, 5.0, payload)
    assert found == kind and bool(answer) == (kind == protocol.RETURNED)
    for missing in ("q2", "q3"):
        payload = protocol.encode([missing, "", 3.0], several=True)
        assert runner.called(protocol, names, clock, 5.0, payload) == (protocol.MISSING, b"")


def test_a_class_is_named_only_if_it_is_pythons_own():
    names = protocol.EXCEPTIONS
    forged = type("SystemExit", (KeyError,), {"__module__": "__main__"})
    assert names[runner.class_code(forged(), names)] == "KeyError"
    assert names[runner.class_code(UnicodeDecodeError("a", b"", 0, 1, ""), names)] == "UnicodeError"
    assert names[runner.class_code(KeyboardInterrupt(), names)] == "Exception"


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
    for bit in (7, 17, *range(25, 31)):  # CLONE_NEWTIME, NEWNS, NEWCGROUP to NEWNET
        assert verdict(seccomp.CLONE[column], 0x11 | 1 << bit) == denied
    assert verdict(seccomp.CLONE[column], 0x11) == seccomp.ALLOW
    for call in (seccomp.SOCKET, seccomp.SOCKETPAIR):
        for family in (1, 2, 40):
            assert verdict(call[column], family) == seccomp.DENY | seccomp.EAFNOSUPPORT


# What each of them reaches, so that none is lost from the filter's list unnoticed.
REACH = {
    "other processes": "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise "
    "perf_event_open userfaultfd move_pages migrate_pages",
    "keys": "add_key request_key keyctl",
    "the kernel's own machines": "io_uring_setup io_uring_enter io_uring_register bpf",
    "mounts": "mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick "
    "mount_setattr quotactl swapon swapoff",
    "name spaces": "unshare setns",
    "memory that no file counts": "memfd_create memfd_secret shmget shmat shmctl semget semop "
    "semtimedop semctl msgget msgsnd msgrcv msgctl mq_open",
    "cores and order": "sched_setaffinity sched_setscheduler sched_setattr ioprio_set",
    "the machine": "personality acct reboot init_module finit_module delete_module kexec_load "
    "kexec_file_load syslog settimeofday clock_settime adjtimex clock_adjtime iopl ioperm "
    "modify_ldt uselib",
    "files past their names": "name_to_handle_at open_by_handle_at fanotify_init lookup_dcookie",
}


def test_the_filter_lists_all_that_reaches_out():
    assert set(seccomp.DENIED) == {name for names in REACH.values() for name in names.split()}


@pytest.mark.parametrize(
    ("column", "header"), [(0, "x86_64-linux-gnu/asm/unistd_64.h"), (1, "asm-generic/unistd.h")]
)
def test_the_numbers_are_the_kernels(column, header):
    place = Path("/usr/include", header)
    if not place.exists():
        pytest.skip("the kernel's headers are not installed")
    text = place.read_text(encoding="utf-8")
    told = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text))
    others = {"socket": seccomp.SOCKET, "socketpair": seccomp.SOCKETPAIR}
    others |= {"clone": seccomp.CLONE, "clone3": seccomp.CLONE3}
    for name, numbers in {**seccomp.DENIED, **others}.items():
        expected = told.get(name)
        assert numbers[column] == (None if expected is None else int(expected)), name


# What the judge believes: frames of one form


class Said:
    """A sandbox that says what a test has it say."""

    seconds = peak = 0
    too_long = False

    def __init__(self, *frames):
        self.channel, self.frames, self.asked = self, list(frames), 0

    def allow(self, seconds):
        pass

    def send(self, deadline, kind, number, payload):
        self.number, self.asked = number, self.asked + 1

    def receive(self, deadline, kinds):
        kind, number, payload = self.frames.pop(0)
        return kind, self.number if number is None else number, payload


def examined(*frames, **limits):
    examination = judge.Examination(Path("notebook"), Limits(**limits))
    examination.box = Said(*frames)
    examination._ends = examination._question_ends = monotonic() + 60
    return examination


CELLS = 3


@pytest.mark.parametrize(
    "frames",
    [
        [(protocol.CELL, CELLS, b"")],
        [(protocol.CELL, 0, b"a")],
        [(protocol.CELL, 0, b"")] * (CELLS + 1),
        [(protocol.MALFORMED, 1, b"a")],
        [(protocol.READY, 1, b"")],
        [(protocol.READY, 1, bytes(5))],
        [(protocol.RETURNED, 1, b"")],
    ],
)
def test_a_notebook_that_runs_says_nothing_else(frames):
    examination = examined(*frames, cells=CELLS)
    with pytest.raises(protocol.Broken):
        list(examination._cells(examination.box))


def test_a_notebook_runs_through():
    frames = [(protocol.CELL, n, b"") for n in range(CELLS)]
    examination = examined(*frames, (protocol.READY, 7, struct.pack("<I", 2)), cells=CELLS)
    assert list(examination._cells(examination.box)) == [0, 1, 2]
    assert (examination.ran, examination.late) == (7, 2)


NINE = protocol.encode([9.0])


@pytest.mark.parametrize(
    "frame",
    [
        (protocol.RETURNED, 5, NINE),  # an answer to another call
        (protocol.RETURNED, None, NINE + b"a"),
        (protocol.NOTHING, None, b"a"),
        (protocol.LATE, None, b"a"),
        (protocol.MISSING, None, b"a"),
        (protocol.UNUSABLE, None, b"a"),
        (protocol.RAISED, None, b""),
        (protocol.RAISED, None, b"\x01\x01"),
        (protocol.RAISED, None, bytes([len(protocol.EXCEPTIONS)])),
        (protocol.CELL, None, b""),
        (protocol.READY, None, bytes(4)),
    ],
)
def test_a_frame_that_answers_no_call_ends_the_process(frame):
    examination = examined(frame)
    with pytest.raises(judge.Lost, match="crash"):
        examination.call("q1", 3.0)
    assert examination.box is None and examination.failures == ["crash"]


def test_an_answer_to_a_call_is_taken():
    frames = [(protocol.RETURNED, None, NINE), (protocol.NOTHING, None, b"")]
    examination = examined(*frames)
    assert examination.call("q1", 3.0) == 9.0 and examination.call("q1", 3.0) is None


def test_after_two_calls_that_hang_no_more_is_asked():
    examination = examined(*[(protocol.LATE, None, b"")] * 5)
    for _ in range(4):
        with pytest.raises(judge.Lost, match="timeout"):
            examination.call("q1", 3.0)
    assert examination.box.asked == 2


def test_no_process_is_started_when_the_time_is_over():
    examination = judge.Examination(Path("notebook"), Limits())  # its time ended long ago
    with pytest.raises(judge.Lost, match="timeout"):
        examination.start()
    assert examination.processes == 0


@pytest.mark.parametrize("kind", protocol.EXCEPTIONS)
def test_what_an_answer_raises_is_no_exception_of_the_tests(kind):
    """No loop ends by it, no judge either, and it is told from a test that failed."""
    error = judge._raised("q1", kind)
    assert isinstance(error, Exception) and not isinstance(error, StopIteration)
    verdict = judge._verdict(case(error), examined())
    assert verdict.kind == "raised" and kind in verdict.message


def case(error):
    def test():
        raise error

    return Case("test_q1", 1.0, True, "", "", test)


def test_a_message_is_one_short_line():
    said = judge._verdict(case(AssertionError("x" * 10**4)), examined()).message
    assert said == "x" * judge.LONGEST_MESSAGE
    assert judge._verdict(case(AssertionError("one\ntwo")), examined()).message == "one"
    assert judge._verdict(case(AssertionError("\narrays")), examined()).message


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


def test_a_declared_size_is_enough_to_be_refused(tmp_path):
    content = archive(("s/a.ipynb", b"x" * 10))
    # Of the list at the end: what the entry itself holds is small.
    place = content.index(b"PK\x01\x02") + 24
    declared = content[:place] + struct.pack("<I", 1001) + content[place + 4 :]
    (got,) = found(tmp_path, declared)
    assert got.content is None and "larger" in got.fault


def test_what_is_counted_is_refused_whatever_is_declared():
    """Should the unpacking give more than an entry declares, no more than the limit is read."""
    info = zipfile.ZipInfo("a.ipynb")
    info.file_size = 10
    held = io.BytesIO(b"x" * 5000)
    held.close = lambda: None

    class Archive:
        def infolist(self):
            return [info]

        def open(self, entry):
            return held

    (entry,) = submissions._archive_entries(Archive())
    with pytest.raises(submissions._Refused, match="larger"):
        entry.read(1000)
    assert held.tell() == 1001


def test_what_cannot_be_unpacked_keeps_its_row(tmp_path):
    content = bytearray(archive(("s/a.ipynb", bytes(range(256)))))
    place = content.index(b"a.ipynb") + len("a.ipynb")
    content[place : place + 20] = b"\xff" * 20
    (got,) = found(tmp_path, bytes(content))
    assert "cannot be unpacked" in got.fault


@pytest.mark.parametrize(
    "name", ["/a", "../a", "a/../../b", "a/..", "a\\b", "..\\a", "C:a", "C:/a", "a\0b"]
)
def test_a_name_that_leads_elsewhere_is_no_place(name):
    assert submissions._inside(name) is None
    assert submissions._inside("a/b:c") is not None


def test_a_file_in_a_folder_has_a_size(tmp_path):
    (tmp_path / "a.ipynb").write_bytes(b"x" * 1001)
    (tmp_path / "b.ipynb").write_bytes(b"x" * 1000)
    got = {s.student: s for s in submissions.read(tmp_path, "set-1", 1000)}
    assert "larger" in got["a"].fault and len(got["b"].content) == 1000


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


@pytest.mark.parametrize("sign", "=+-@\t\r\n|%")
def test_no_sign_begins_a_formula(sign, tmp_path):
    assert gradebook.harmless(f"{sign}x").startswith("'")
    one = row(f"{sign}x", (f"{sign}y",))
    one.grade.note = f"{sign}z"
    gradebook.plain([one], tmp_path / "grades.csv")
    with (tmp_path / "grades.csv").open(encoding="utf-8", newline="") as file:
        (cells,) = csv.DictReader(file)
    assert all(cells[key].startswith("'") for key in ("student", "identifiers", "note"))


# Of each kind one: control, format, surrogate, private, unassigned, line, paragraph.
@pytest.mark.parametrize("sign", "\x1b\u202e\ud800\ue000\u0378\u2028\u2029")
def test_no_sign_steers_a_terminal_or_a_page(sign):
    assert sign not in gradebook.shown(f"a{sign}b")
    page = feedback.student_page(row(f"a{sign}b"), "set-1")
    assert sign not in page and "a" in page


def test_a_text_has_a_length():
    assert gradebook.shown("x" * 1000) == "x" * 200


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
        ({"title": "Final Score"}, "is read only"),
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


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (CANVAS.replace("20;;", '20;";').encode(), "a quote is not closed"),
        (CANVAS.encode("utf-16"), "UTF-8"),
        (CANVAS.replace("19;", "19;;").encode(), "different lengths"),
    ],
)
def test_an_export_that_is_no_table_is_refused(tmp_path, content, cause):
    place = tmp_path / "export.csv"
    place.write_bytes(content)
    with pytest.raises(Obstacle, match=cause):
        gradebook.merged(place, [row()], "set-1", 4.0)


@pytest.mark.parametrize("delimiter", ",\t")
def test_an_export_may_have_other_delimiters(tmp_path, delimiter):
    text = CANVAS.replace("Noether; Emmy", "Emmy").replace(";", delimiter)
    merge = merged(tmp_path, [row()], text)
    assert f"A{delimiter}EX{delimiter}2" in merge and f'"=A"{delimiter}3{delimiter}1' in merge


@pytest.mark.parametrize("field", ["student", "title", "note", "question", "case", "message"])
def test_what_stands_on_a_page_is_escaped(field):
    hostile = "<b>&\"'"
    names = dict.fromkeys(["student", "title", "note", "question", "case", "message"], "plain")
    names[field] = hostile
    verdict = Verdict(names["case"], True, 1.0, "wrong", names["message"])
    answer = Answer(names["question"], 1.0, 0.0, [verdict])
    grade = Grade("wrong", 0.0, 1.0, [answer], names["note"])
    one = Row(Submission(names["student"], ("17",), b""), grade)
    pages = [
        feedback.student_page(one, names["title"]),
        feedback.analysis([one], names["title"]),
    ]
    assert not any(hostile[:3] in page or "&\"'" in page for page in pages)
    assert any("&lt;b&gt;&amp;&quot;&#x27;" in page for page in pages)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (None, "no tests in"),
        ("1 / 0", "does not run: ZeroDivisionError"),
        ("OK_FORMAT = False", "no test file"),
        (
            "from otter.test_files import test_case\n@test_case()\ndef test_q1(q1): pass",
            "no test file",
        ),
    ],
)
def test_tests_that_are_none_are_refused(tmp_path, text, cause):
    if text is not None:
        (tmp_path / "q1.py").write_text(text, encoding="utf-8")
    with pytest.raises(Obstacle, match=cause):
        load(tmp_path)


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
