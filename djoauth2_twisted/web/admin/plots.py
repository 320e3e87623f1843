"""Plots over time, as the bars of an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

WIDTH, HEIGHT = 480, 140

#: The margin of a line, so that its highest point is not cut.
MARGIN = 2

#: The space between the bars of two times.
GAP = 4

# The length of a label of the time axis: ``18:00``, or a date without its year.
_MARK = 5

#: The number of bars from one mark of the time axis to the next.
STEP = 6


@frozen
class Line:
    """One kind of event.

    :param total: of all times.
    :param path: its bars, as the ``d`` of an SVG path: one upright line for each, whose foot is at 0.
    :param width: of a bar.
    """

    kind: str
    total: int
    path: str
    width: int
    _counts: Sequence[int] = field(repr=False)
    _top: int

    @property
    def points(self) -> str:
        """The same as a line, which a template of an operator may draw in place of bars."""
        across = (WIDTH - 2 * MARGIN) / max(len(self._counts) - 1, 1)
        up, bottom = (HEIGHT - 2 * MARGIN) / self._top, HEIGHT - MARGIN
        return " ".join(
            f"{round(MARGIN + index * across)},{round(bottom - count * up)}"
            for index, count in enumerate(self._counts)
        )


@frozen
class Plot:
    """Bars, and what is on the axes.

    :param lines: one for each kind.
    :param top: the count at the upper edge.
    :param marks: the labels of the time axis, at equal distances from its beginning.
    """

    lines: Sequence[Line]
    top: int
    first: str
    last: str
    marks: Sequence[str]

    @property
    def total(self) -> int:
        """The number of events of all kinds."""
        return sum(line.total for line in self.lines)


def plot(counts: Mapping[str, Sequence[int]], labels: Sequence[str]) -> Plot:
    """Draw the counts of each kind, one for each of the labels."""
    top = _round(max((max(each) for each in counts.values()), default=0))
    width = (WIDTH // len(labels) - GAP) // max(len(counts), 1)
    lines = [
        Line(kind, sum(each), _bars(each, top, index * width + width // 2), width, each, top)
        for index, (kind, each) in enumerate(counts.items())
    ]
    return Plot(lines, top, labels[0], labels[-1], [label[-_MARK:] for label in labels[::STEP]])


def _bars(counts: Sequence[int], top: int, middle: int) -> str:
    slot = WIDTH // len(counts)
    return "".join(
        f"M{index * slot + GAP // 2 + middle},0V{max(round(count * HEIGHT / top), 1)}"
        for index, count in enumerate(counts)
        if count
    )


def _round(number: int) -> int:
    """The next number that is easy to read: one digit, and zeros."""
    size = 1
    while True:
        for digit in (1, 2, 3, 4, 5, 6, 8):
            if number <= digit * size:
                return digit * size
        size *= 10
