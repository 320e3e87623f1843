"""Lines over time, as the points of an SVG that the server draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

WIDTH, HEIGHT = 480, 140

#: What is left around the lines, so that the highest is not cut.
MARGIN = 2

#: No more lines than can be told apart; the rest become one.
MAX_LINES = 5


@frozen
class Line:
    """How often one kind of thing happened, and where its line runs."""

    kind: str
    total: int
    points: str


@frozen
class Plot:
    """Some lines, and what is written beside them."""

    lines: Sequence[Line]
    top: int  #: what the upper edge stands for
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
        f"{round(MARGIN + place * across)},{round(bottom - count * up)}"
        for place, count in enumerate(counts)
    )


def _round(number: int) -> int:
    """The next number that is easily read: 1, 2 or 5 with zeros."""
    size = 1
    while True:
        for digit in (1, 2, 5):
            if number <= digit * size:
                return digit * size
        size *= 10


def most_frequent(counts: Mapping[str, Sequence[int]], rest: str) -> dict[str, Sequence[int]]:
    """The most frequent kinds, and the sum of the others under a name of its own."""
    in_order = sorted(counts, key=lambda kind: (-sum(counts[kind]), kind))
    if len(in_order) <= MAX_LINES:
        return {kind: counts[kind] for kind in in_order}
    kept = {kind: counts[kind] for kind in in_order[: MAX_LINES - 1]}
    others = [counts[kind] for kind in in_order[MAX_LINES - 1 :]]
    return {**kept, rest: [sum(each) for each in zip(*others, strict=True)]}
