"""A drawing of an acyclic graph in rows: what others build on stands above them.

Boxes of given sizes are spread over rows of one width, a box below all that leads to it; an edge
that passes a row gets a lane of its own there. Rows are ordered so that few edges cross, and boxes
pulled over their neighbours. No box overlaps another, and no edge runs behind a box.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

Edge = tuple[str, str]

_ROUNDS = 12  # sweeps over the rows, down and up; more of them change nothing in this book
_GAP = 10.0  # between two boxes of a row
_LANE = 7.0  # for an edge that passes a row
_BETWEEN = 30.0  # between two rows: room for the edges to turn


class Point(NamedTuple):
    """A place in the drawing."""

    x: float
    y: float


@dataclass(frozen=True)
class Box:
    """What is to be placed; `reference` marks what stands right above its first user."""

    key: str
    width: float
    height: float
    reference: bool = False


class Rectangle(NamedTuple):
    """Where a box was placed: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Drawing:
    """Places of the boxes, and for each edge the points that it runs through, from above."""

    boxes: Mapping[str, Rectangle]
    routes: Mapping[Edge, Sequence[Point]]
    width: float
    height: float


class CircleError(ValueError):
    """What was to stand in rows runs in a circle."""


@dataclass(eq=False)
class _Item:
    """A box in its row, or the lane of an edge that passes."""

    key: str
    width: float
    height: float
    lane: bool
    center: float = 0.0
    above: list["_Item"] = field(default_factory=list)
    below: list["_Item"] = field(default_factory=list)


def circle(nodes: Sequence[str], edges: Sequence[Edge]) -> list[str]:
    """Some nodes that lead to one another in a circle, the first repeated at the end, or none."""
    below: dict[str, list[str]] = defaultdict(list)
    for upper, lower in edges:
        below[upper].append(lower)
    done: set[str] = set()
    for start in nodes:
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = []
        if start not in done:
            path, stack = [start], [(start, iter(below[start]))]
        while stack:
            _, following = stack[-1]
            reached = next(following, None)
            if reached is None:
                stack.pop()
                done.add(path.pop())
            elif reached in path:
                return [*path[path.index(reached) :], reached]
            elif reached not in done:
                path.append(reached)
                stack.append((reached, iter(below[reached])))
    return []


def lay_out(boxes: Sequence[Box], edges: Sequence[Edge], width: float) -> Drawing:
    """Place `boxes`, whose order decides where nothing else does, in rows of `width`.

    Raises:
        CircleError: if the edges, from the upper box to the lower one, run in a circle.
        ValueError: for a box wider than a row, or an edge of a box that is not there.
    """
    known = {box.key: box for box in boxes}
    for box in boxes:
        if box.width > width:
            raise ValueError(f"boxes must be at most {width} wide, got {box}")
    for edge in edges:
        if not set(edge) <= known.keys():
            raise ValueError(f"edges must join two of the boxes, got {edge}")
    if around := circle([*known], edges):
        raise CircleError(f"edges must not run in a circle, got {' → '.join(around)}")
    rows, items = _rows(boxes, edges, width)
    lanes = _add_lanes(rows, items, edges)
    _order(rows)
    _pull(rows, width)
    return _finish(rows, items, lanes, width)


def _rows(
    boxes: Sequence[Box], edges: Sequence[Edge], width: float
) -> tuple[list[list[_Item]], dict[str, tuple[int, _Item]]]:
    """The boxes in rows, each as high as its neighbours above and the width allow."""
    above: dict[str, list[str]] = defaultdict(list)
    below: dict[str, list[str]] = defaultdict(list)
    for upper, lower in edges:
        above[lower].append(upper)
        below[upper].append(lower)
    references = {box.key for box in boxes if box.reference}
    rows: list[list[Box]] = []
    row_of: dict[str, int] = {}

    def room(row: list[Box]) -> float:
        return width - sum(box.width + _GAP for box in row)

    waiting = [box for box in boxes if not box.reference]
    # What has no neighbour at all comes last: it would only push others apart.
    waiting.sort(key=lambda box: not (above[box.key] or below[box.key]))
    while waiting:
        free = (b for b in waiting if all(u in row_of or u in references for u in above[b.key]))
        box = next(free)
        waiting.remove(box)
        uppers = [row_of[upper] for upper in above[box.key] if upper not in references]
        place = max(uppers, default=-1) + 1
        while place < len(rows) and room(rows[place]) < box.width:
            place += 1
        if place == len(rows):
            rows.append([])
        rows[place].append(box)
        row_of[box.key] = place
    for place in reversed(range(len(rows))):
        # References stand in rows of their own, right above the first row that needs them.
        first = [
            box
            for box in boxes
            if box.reference
            and min((row_of[lower] for lower in below[box.key]), default=0) == place
        ]
        extra: list[list[Box]] = []
        for box in first:
            if not extra or room(extra[-1]) < box.width:
                extra.append([])
            extra[-1].append(box)
        rows[place:place] = extra
    placed = [[_Item(box.key, box.width, box.height, lane=False) for box in row] for row in rows]
    return placed, {item.key: (place, item) for place, row in enumerate(placed) for item in row}


def _add_lanes(
    rows: list[list[_Item]], items: Mapping[str, tuple[int, _Item]], edges: Sequence[Edge]
) -> dict[Edge, list[_Item]]:
    """A lane in each row that an edge passes; neighbours are then in neighbouring rows."""
    lanes = {}
    for edge in edges:
        (top, upper), (bottom, lower) = items[edge[0]], items[edge[1]]
        lanes[edge] = [_Item("", 0.0, 0.0, lane=True) for _ in range(top + 1, bottom)]
        chain = [upper, *lanes[edge], lower]
        for place, lane in enumerate(lanes[edge], top + 1):
            rows[place].append(lane)
        for one, other in pairwise(chain):
            one.below.append(other)
            other.above.append(one)
    return lanes


def _order(rows: list[list[_Item]]) -> None:
    """Order every row by the mean place of the neighbours; keep the order with fewest crossings."""
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for turn in range(_ROUNDS):
        down = turn % 2 == 0
        for row in rows if down else rows[::-1]:
            places = {id(item): place for other in rows for place, item in enumerate(other)}

            def mean(item: _Item, down: bool = down, places: dict[int, int] = places) -> float:
                neighbours = item.above if down else item.below
                if not neighbours:
                    return places[id(item)]
                return sum(places[id(other)] for other in neighbours) / len(neighbours)

            row.sort(key=mean)
        if (crossings := _crossings(rows)) < fewest:
            best, fewest = [list(row) for row in rows], crossings
    for row, ordered in zip(rows, best, strict=True):
        row[:] = ordered


def _crossings(rows: list[list[_Item]]) -> int:
    count = 0
    for row, following in pairwise(rows):
        places = {id(item): place for place, item in enumerate(following)}
        ends = [sorted(places[id(other)] for other in item.below) for item in row]
        flat = [(upper, lower) for upper, lowers in enumerate(ends) for lower in lowers]
        count += sum(
            a[0] < b[0] and a[1] > b[1] for place, a in enumerate(flat) for b in flat[place + 1 :]
        )
    return count


def _pull(rows: list[list[_Item]], width: float) -> None:
    """Place the items of every row near the mean of their neighbours, in their order."""
    for row in rows:
        steps = _steps(row, width)
        for item, offset in zip(row, steps, strict=True):
            item.center = offset + (width - steps[-1] - row[-1].width / 2 - row[0].width / 2) / 2
            item.center += row[0].width / 2
    for turn in range(_ROUNDS):
        for row in rows if turn % 2 == 0 else rows[::-1]:
            wanted = []
            for item in row:
                neighbours = [*item.above, *item.below]
                total = sum(other.center for other in neighbours)
                wanted.append(total / len(neighbours) if neighbours else item.center)
            steps = _steps(row, width)
            # In units of the steps the order is a monotone sequence: the nearest one to what is
            # wanted, and then within the drawing.
            free = _monotone([want - step for want, step in zip(wanted, steps, strict=True)])
            least = row[0].width / 2
            most = width - row[-1].width / 2 - steps[-1]
            for item, place, step in zip(row, free, steps, strict=True):
                item.center = min(max(place, least), most) + step


def _steps(row: Sequence[_Item], width: float) -> list[float]:
    """How far to the right of the first center each center stands at the least."""
    gaps = [_LANE if one.lane or other.lane else _GAP for one, other in pairwise(row)]
    solid = sum(item.width for item in row)
    if (total := sum(gaps)) > width - solid:
        # More edges pass than have room: their lanes move together.
        gaps = [gap * (width - solid) / total for gap in gaps]
    steps = [0.0]
    for gap, (one, other) in zip(gaps, pairwise(row), strict=True):
        steps.append(steps[-1] + one.width / 2 + gap + other.width / 2)
    return steps


def _monotone(values: Sequence[float]) -> list[float]:
    """The nondecreasing sequence nearest to `values` in mean square (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, count), (other, more) = pools[-2:]
            pools[-2:] = [((one * count + other * more) / (count + more), count + more)]
    return [value for value, count in pools for _ in range(count)]


def _finish(
    rows: list[list[_Item]],
    items: Mapping[str, tuple[int, _Item]],
    lanes: Mapping[Edge, Sequence[_Item]],
    width: float,
) -> Drawing:
    # What was pulled together stands in the middle.
    rims = [item.center + side * item.width / 2 for row in rows for item in row for side in (-1, 1)]
    shift = (width - min(rims) - max(rims)) / 2 if rims else 0.0
    for row in rows:
        for item in row:
            item.center += shift
    places: dict[str, Rectangle] = {}
    tops, heights = [], []
    top = 0.0
    for row in rows:
        height = max(item.height for item in row)
        for item in row:
            if not item.lane:
                places[item.key] = Rectangle(
                    item.center - item.width / 2, top, item.width, item.height
                )
        tops.append(top)
        heights.append(height)
        top += height + _BETWEEN
    routes = {}
    starts = _ports(lanes, items, upper=True)
    ends = _ports(lanes, items, upper=False)
    for edge, passed in lanes.items():
        number = items[edge[0]][0]
        rectangle = places[edge[0]]
        points = [Point(starts[edge], rectangle.y + rectangle.height)]
        if rectangle.height < heights[number]:
            points.append(Point(starts[edge], tops[number] + heights[number]))
        for place, lane in enumerate(passed, number + 1):
            points += [
                Point(lane.center, tops[place]),
                Point(lane.center, tops[place] + heights[place]),
            ]
        routes[edge] = [*points, Point(ends[edge], places[edge[1]].y)]
    return Drawing(places, routes, width, top - _BETWEEN if rows else 0.0)


def _ports(
    lanes: Mapping[Edge, Sequence[_Item]], items: Mapping[str, tuple[int, _Item]], *, upper: bool
) -> dict[Edge, float]:
    """Where on its box each edge begins or ends: side by side, in the order of the other ends."""
    sides: dict[str, list[tuple[float, Edge]]] = defaultdict(list)
    for edge, passed in lanes.items():
        if upper:
            other = passed[0] if passed else items[edge[1]][1]
            sides[edge[0]].append((other.center, edge))
        else:
            other = passed[-1] if passed else items[edge[0]][1]
            sides[edge[1]].append((other.center, edge))
    ports = {}
    for key, joined in sides.items():
        item = items[key][1]
        for place, (_, edge) in enumerate(sorted(joined), 1):
            share = place / (len(joined) + 1) - 0.5
            ports[edge] = item.center + 0.8 * share * item.width
    return ports
