"""What was handed in: a folder, Canvas' zip, Gradescope's zip; plain files, by their counted sizes.

Nothing is unpacked to a place that a name chooses: notebooks are read into memory, one at a time.
"""

import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml
from project import Obstacle

LARGEST_ARCHIVE = 2 << 30  # bytes, all entries together
MOST_ENTRIES = 20_000
LARGEST_METADATA = 256 << 20
LIST = "submission_metadata.yml"  # Gradescope's
IGNORED = {"__MACOSX", ".ipynb_checkpoints", ".DS_Store"}

#: name[_LATE]_ID_submission_file, as Canvas names what it hands out.
CANVAS = re.compile(r"^(?P<name>[^_/]+)(?:_LATE)?_(?P<id>\d+)_(?P<number>\d+)_(?P<file>.+)$")


@dataclass(frozen=True)
class Submission:
    """One student's notebook; `content` is None where `fault` says why there is none.

    Attributes:
        student: what the row is called.
        identifiers: what may be an ID, a SIS ID or a login, to find the student in a gradebook.
    """

    student: str
    identifiers: tuple[str, ...]
    content: bytes | None
    fault: str = ""

    @property
    def digest(self) -> str:
        """Of the notebook's bytes."""
        return hashlib.sha256(self.content or b"").hexdigest()


@dataclass(frozen=True)
class _Entry:
    """A plain file, where it stands, and how its bytes are got, or why not."""

    place: PurePosixPath
    read: Callable[[int], bytes]


class _Refused(Exception):
    """A file that is not read; the text says why."""


def _folder_entries(folder: Path) -> Iterator[_Entry]:
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(set(folders) - IGNORED)
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted(set(names + links) - IGNORED):
            path = Path(parent, name)

            def read(largest: int, path: Path = path) -> bytes:
                try:
                    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                except OSError:
                    raise _Refused("it is no file that can be read") from None
                with open(descriptor, "rb") as file:
                    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                        raise _Refused("it is no plain file")
                    content = file.read(largest + 1)
                if len(content) > largest:
                    raise _Refused(f"it is larger than {largest >> 20} MB")
                return content

            yield _Entry(PurePosixPath(path.relative_to(folder).as_posix()), read)


def _inside(name: str) -> PurePosixPath | None:
    """The place of an entry, None for one that leads outside of its archive."""
    place = PurePosixPath(name)
    strange = "\\" in name or ":" in name.split("/")[0] or "\0" in name
    return None if place.is_absolute() or ".." in place.parts or strange else place


def _archive_entries(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    """The plain files of a zip.

    Raises:
        _Refused: for too many entries or too many bytes, by what the archive declares.
    """
    infos = archive.infolist()
    if len(infos) > MOST_ENTRIES:
        raise _Refused(f"the archive has more than {MOST_ENTRIES} entries")
    if sum(info.file_size for info in infos) > LARGEST_ARCHIVE:
        raise _Refused(f"the archive holds more than {LARGEST_ARCHIVE >> 30} GB")
    for info in infos:
        place = _inside(info.filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if place is None or info.is_dir() or IGNORED & set(place.parts):
            continue

        def read(largest: int, info: zipfile.ZipInfo = info, kind: int = kind) -> bytes:
            if kind not in (0, stat.S_IFREG):
                raise _Refused("it is no plain file")
            if info.flag_bits & 1:
                raise _Refused("it is encrypted")
            if info.file_size > largest:
                raise _Refused(f"it is larger than {largest >> 20} MB")
            try:
                with archive.open(info) as file:
                    # What an entry declares need not be what it holds.
                    content = file.read(largest + 1)
            except Exception as error:  # each compression has errors of its own
                raise _Refused(f"it cannot be unpacked: {type(error).__name__}") from None
            if len(content) > largest:
                raise _Refused(f"it is larger than {largest >> 20} MB")
            return content

        yield _Entry(place, read)


def _chosen(entries: list[_Entry], wanted: str) -> _Entry | str:
    """The notebook among what one student handed in, or why there is none."""
    notebooks = [entry for entry in entries if entry.place.suffix.lower() == ".ipynb"]
    if len(notebooks) > 1:
        named = [entry for entry in notebooks if wanted in entry.place.name.lower()]
        notebooks = named if len(named) == 1 else notebooks
    if len(notebooks) > 1:
        return f"it has {len(notebooks)} notebooks"
    return notebooks[0] if notebooks else "it has no notebook"


def _content(entries: list[_Entry], wanted: str, largest: int, deep: bool = True) -> bytes:
    """The notebook of one student, also where it was handed in as a zip.

    Raises:
        _Refused: if there is none.
    """
    chosen = _chosen(entries, wanted)
    zips = [entry for entry in entries if entry.place.suffix.lower() == ".zip"]
    if isinstance(chosen, _Entry):
        return chosen.read(largest)
    if deep and len(entries) == len(zips) == 1:
        inner = zips[0].read(4 * largest)
        if inner.count(b"PK\x01\x02") > MOST_ENTRIES:
            raise _Refused(f"its zip has more than {MOST_ENTRIES} entries")
        try:
            with zipfile.ZipFile(io.BytesIO(inner)) as archive:
                return _content(list(_archive_entries(archive)), wanted, largest, deep=False)
        except zipfile.BadZipFile:
            raise _Refused("its zip cannot be read") from None
    raise _Refused(chosen)


class _Metadata(yaml.SafeLoader):  # type: ignore[misc]
    """Gradescope's list of who handed in, without references, which could grow without end."""

    def compose_node(self, parent: object, index: object) -> object:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("references are not expected")
        return super().compose_node(parent, index)


def _submitters(text: str) -> Iterator[tuple[str, str]]:
    """Of each submission its folder, and the lines of the list that say who handed it in.

    The list also has what autograders printed, which students decide about, and as much of it as
    they like. It stands deeper than the keys looked for here, so that it can forge none, and it is
    not parsed.
    """
    folder = ""
    lines: list[str] | None = None
    for line in [*text.split("\n"), "end:"]:
        if lines is not None:
            if line.startswith(("  - ", "  -\t", "   ")):
                lines.append(line)
                continue
            yield folder, "\n".join(lines)
            folder, lines = "", None
        if line[:1] not in (" ", "", "-", "#") and line.rstrip().endswith(":"):
            folder = line.rstrip()[:-1].strip("'\"")
        elif line.rstrip() == "  :submitters:" and folder:
            lines = []


def _gradescope(entry: _Entry) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Who handed in each submission: its folder, then of each of its authors name and identifiers.

    Raises:
        Obstacle: if it is no such list.
    """
    try:
        text = entry.read(LARGEST_METADATA).decode(errors="replace")
    except _Refused as refused:
        raise Obstacle(f"{LIST} cannot be read: {refused}") from None
    people = {}
    for folder, lines in _submitters(text):
        try:
            people[folder] = [
                (
                    str(one.get(":name") or folder),
                    tuple(str(one[key]) for key in (":sid", ":email") if one.get(key)),
                )
                for one in yaml.load(lines, _Metadata) or [{}]
            ]
        except (yaml.YAMLError, TypeError, AttributeError, RecursionError):
            people[folder] = [(folder, ())]
    if not people:
        raise Obstacle(f"{LIST} is not what Gradescope writes: it lists no submission")
    return people


def _grouped(entries: list[_Entry]) -> dict[str, tuple[str, tuple[str, ...], list[_Entry]]]:
    """What belongs to one student: key, then name, identifiers and files."""
    while entries and len({entry.place.parts[0] for entry in entries}) == 1:
        if any(len(entry.place.parts) < 3 for entry in entries):
            # One folder around it all; the folder of a single student stays.
            inside = any(entry.place.parts[1:] == (LIST,) for entry in entries)
            flat = all(CANVAS.match(entry.place.name) for entry in entries)
            if any(len(entry.place.parts) == 1 for entry in entries) or not (inside or flat):
                break
        entries = [_Entry(PurePosixPath(*entry.place.parts[1:]), entry.read) for entry in entries]
    people: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    groups: dict[str, tuple[str, tuple[str, ...], list[_Entry]]] = {}
    for entry in entries:
        # Beside the submissions, not in one: a student may call a file what he likes.
        if entry.place.parts == (LIST,):
            people = _gradescope(entry)
    for entry in entries:
        if entry.place.parts == (LIST,):
            continue
        first = entry.place.parts[0]
        if len(entry.place.parts) > 1:
            # A zero byte stands in no name: no loose file has the key of a folder.
            authors = people.get(first, [(first, (first,))])
            named = [(f"{first}\0{n}", *author) for n, author in enumerate(authors)]
        elif match := CANVAS.match(entry.place.name):
            named = [(f"{match['name']}\0{match['id']}", match["name"], (match["id"],))]
        else:
            named = [(entry.place.name, entry.place.stem, (entry.place.stem,))]
        for key, name, keys in named:
            groups.setdefault(key, (name, keys, []))[2].append(entry)
    for folder, authors in people.items():
        for n, (name, keys) in enumerate(authors):
            groups.setdefault(f"{folder}\0{n}", (name, keys, []))
    return groups


def read(place: Path, wanted: str, largest: int) -> Iterator[Submission]:
    """The submissions in a folder or a zip, in the order of their names.

    Args:
        place: the folder or the zip.
        wanted: what the right one of several notebooks is called, `"set-1"`.
        largest: bytes that one may have.

    Raises:
        Obstacle: if it is neither, or larger than anything honest.
    """
    archive = None
    try:
        if place.is_dir():
            entries = list(_folder_entries(place))
        elif place.is_file() and zipfile.is_zipfile(place):
            archive = zipfile.ZipFile(place)
            entries = list(_archive_entries(archive))
        else:
            raise Obstacle(f"IN must be a folder or a zip of submissions, got {place}")
        for _, (name, keys, files) in sorted(_grouped(entries).items()):
            try:
                yield Submission(name, keys, _content(files, wanted, largest))
            except _Refused as refused:
                yield Submission(name, keys, None, str(refused))
    except (_Refused, zipfile.BadZipFile) as error:
        raise Obstacle(f"{place}: {error}") from None
    finally:
        if archive is not None:
            archive.close()
