"""How large the next step of a long work is: as large as takes a moment, so that others hardly wait."""

from __future__ import annotations

#: How long a step should take, in seconds. What it works on is halved or doubled until it does.
AIM = 0.05

#: How many rows the first step works on, and any step.
FIRST = 100
MIN_LIMIT = 10
MOST = 1000


def next_limit(limit: int, took: float, most: int = MOST) -> int:
    """How many rows to work on after a step that has taken so long, in seconds."""
    if took > 2 * AIM:
        limit = max(limit // 2, MIN_LIMIT)
    elif took <= AIM:
        limit *= 2
    return min(limit, most)
