"""The rooms of the library: who may import whom, and one home for each name."""

import ast
import importlib
import pkgutil
import types
from pathlib import Path

import ntklab
import pytest
from ntklab.ledger import CHAPTERS

pytestmark = pytest.mark.once

LIBRARY = Path(__file__).parents[1] / "lib" / "ntklab"
#: Rooms that draw; whoever computes does without them.
DRAWERS = {"figures", "player"}


def imported(path: Path) -> set[str]:
    """The modules of the library that a file imports, anywhere in it, as `networks`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "ntklab":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ntklab."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {name[1] for name in names if name[0] == "ntklab" and len(name) > 1}
    return found


def wrong_arrows(rooms: dict[str, set[str]]) -> list[str]:
    """What points the wrong way: shared rooms ← chapters, earlier ones only ← ledger."""
    wrong = []
    for room, uses in rooms.items():
        if room.startswith("ledger"):
            forbidden = DRAWERS
        elif room in CHAPTERS:
            forbidden = {"ledger", *DRAWERS, *CHAPTERS[CHAPTERS.index(room) :]}
        elif room in DRAWERS:
            forbidden = {"ledger", *CHAPTERS}
        else:
            forbidden = {"ledger", *DRAWERS, *CHAPTERS}
        wrong += [f"{room} imports {name}" for name in sorted(uses & forbidden)]
    return wrong


def test_the_arrows_of_the_library_point_one_way():
    rooms = {
        ".".join(path.relative_to(LIBRARY).with_suffix("").parts): imported(path)
        for path in sorted(LIBRARY.rglob("*.py"))
    }
    assert set(CHAPTERS) <= rooms.keys()
    assert {f"ledger.{chapter}" for chapter in CHAPTERS} <= rooms.keys()
    assert rooms["sparse_parities"] and rooms["ledger.linearization"]
    assert wrong_arrows(rooms) == []


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("networks", "linearization"),
        ("descent", "ledger"),
        ("checks", "figures"),
        ("linearization", "tangent_kernel"),
        ("sparse_parities", "weak_learning"),
        ("tangent_kernel", "ledger"),
        ("ledger.tangent_kernel", "player"),
        ("figures", "linearization"),
    ],
)
def test_a_wrong_arrow_is_found(room, name):
    assert wrong_arrows({room: {"_validate", name}}) == [f"{room} imports {name}"]


def test_no_room_exports_what_another_one_holds():
    for module in pkgutil.iter_modules(ntklab.__path__):
        loaded = importlib.import_module(f"ntklab.{module.name}")
        public = {name: getattr(loaded, name) for name in getattr(loaded, "__all__", [])}
        foreign = [
            name
            for name, value in public.items()
            if isinstance(value, type | types.FunctionType) and value.__module__ != loaded.__name__
        ]
        assert foreign == [], module.name


def test_every_room_has_a_test_file_of_its_name():
    """`_random` and `_search` are tried by what they draw and find for others."""
    rooms = {module.name.removeprefix("_") for module in pkgutil.iter_modules(ntklab.__path__)}
    tested = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert rooms - tested <= {"random", "search", "extras", "tables"}
