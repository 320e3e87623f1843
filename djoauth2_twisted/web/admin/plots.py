"""Plots over time, as the points of the lines in an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

WIDTH, HEIGHT = 480, 140

#: The margin around the lines, so that the highest point is not cut.
MARGIN = 2

#: The largest number of lines that a reader can distinguish; the other kinds share one line.
MAX_LINES = 5


@frozen
class Line:
    """The total of one kind of event, and the points of its line."""

    kind: str
    total: int
    points: str


@frozen
class Plot:
    """Lines, and the labels of the axes."""

    lines: Sequence[Line]
    top: int  #: the count at the upper edge
    first: str
    last: str


def plot(counts: Mapping[str, Sequence[int]], labels: Sequence[str]) -> Plot:
    """Draw the counts of each kind, one for each of the labels."""
    top = _round(max((max(each) for each in counts.values()), default=0))
    lines = [Line(kind, sum(each), _points(each, top)) for kind, each in counts.items()]
    return Plot(lines, top, labels[0], labels[-1])


def _points(counts: Sequence[int], top: int) -> str:
    across = (WIDTH - 2 * MARGIN) / max(len(counts) - 1, 1)
    up, bottom = (HEIGHT - 2 * MARGIN) / top, HEIGHT - MARGIN
    return " ".join(
        f"{round(MARGIN + index * across)},{round(bottom - count * up)}"
        for index, count in enumerate(counts)
    )


def _round(number: int) -> int:
    """The next number that is easy to read: 1, 2 or 5 with zeros."""
    size = 1
    while True:
        for digit in (1, 2, 5):
            if number <= digit * size:
                return digit * size
        size *= 10


def most_frequent(counts: Mapping[str, Sequence[int]], rest: str) -> dict[str, Sequence[int]]:
    """The counts of the most frequent kinds, and the sum of the others.

    :param rest: the name of that sum.
    """
    in_order = sorted(counts, key=lambda kind: (-sum(counts[kind]), kind))
    if len(in_order) <= MAX_LINES:
        return {kind: counts[kind] for kind in in_order}
    kept = {kind: counts[kind] for kind in in_order[: MAX_LINES - 1]}
    others = [counts[kind] for kind in in_order[MAX_LINES - 1 :]]
    return {**kept, rest: [sum(each) for each in zip(*others, strict=True)]}
