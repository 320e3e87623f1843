"""The size of the next step of a long job, so small that other work waits only briefly for it."""

from __future__ import annotations

#: How long a step should take, in seconds. The number of rows is halved or doubled to come near it.
AIM = 0.05

#: How many rows the first step works on, and the least and the most of any step.
FIRST_LIMIT = 100
MIN_LIMIT = 10
MAX_LIMIT = 1000


def next_limit(limit: int, took: float, most: int = MAX_LIMIT) -> int:
    """How many rows the next step works on, after one of ``limit`` rows that took ``took`` seconds.

    :param most: the result is not more than this.
    """
    if took > 2 * AIM:
        limit = max(limit // 2, MIN_LIMIT)
    elif took <= AIM:
        limit *= 2
    return min(limit, most)
