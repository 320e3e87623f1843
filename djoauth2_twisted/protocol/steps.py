"""The size of the next step of a long job: so small that other steps hardly wait for it."""

from __future__ import annotations

#: How long a step should take, in seconds. Its number of rows is halved or doubled until it does.
AIM = 0.05

#: How many rows the first step works on; and at least and at most, any step.
FIRST = 100
MIN_LIMIT = 10
MOST = 1000


def next_limit(limit: int, took: float, most: int = MOST) -> int:
    """How many rows to work on after a step of ``limit`` rows that took ``took`` seconds."""
    if took > 2 * AIM:
        limit = max(limit // 2, MIN_LIMIT)
    elif took <= AIM:
        limit *= 2
    return min(limit, most)
