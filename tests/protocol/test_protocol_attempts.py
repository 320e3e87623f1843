"""Attempts: how many still count, and which are one too many."""

from __future__ import annotations

import pytest

from djoauth2_twisted.models import Limit
from djoauth2_twisted.protocol import attempts

TEN = Limit(10)
HOURLY = Limit(100, 3600)


@pytest.mark.parametrize(
    ("level", "passed", "limit", "left"),
    [
        (10.0, 0, TEN, 10.0),
        (10.0, 6, TEN, 9.0),
        (10.0, 60, TEN, 0.0),
        (10.0, 6000, TEN, 0.0),
        (10.0, -60, TEN, 10.0),
        (100.0, 36, HOURLY, 99.0),
        (0.0, 0, TEN, 0.0),
    ],
)
def test_attempts_leak_away_with_time(level: float, passed: int, limit: Limit, left: float) -> None:
    assert attempts.level(level, 1000, 1000 + passed, limit) == pytest.approx(left)


def test_attempts_up_to_the_limit_pass_at_once() -> None:
    assert attempts.waits({b"a": 9.0}, {b"a": TEN}) == {}
    assert attempts.waits({b"a": 10.0}, {b"a": TEN}) == {b"a": 6.0}
    assert attempts.waits({b"a": 9.5}, {b"a": TEN}) == {b"a": 3.0}


def test_each_place_has_its_own_limit() -> None:
    levels = {b"a": 10.0, b"b": 10.0, b"c": 100.0}
    waits = attempts.waits(levels, {b"a": TEN, b"b": HOURLY, b"c": HOURLY})
    assert waits == {b"a": 6.0, b"c": 36.0}


def test_after_the_wait_an_attempt_is_allowed() -> None:
    """What is said is long enough, and no longer."""
    for limit in (TEN, HOURLY):
        full = float(limit.most)
        wait = attempts.waits({b"a": full}, {b"a": limit})[b"a"]
        in_time = attempts.level(full, 0, int(wait), limit)
        too_soon = attempts.level(full, 0, int(wait) - 1, limit)
        assert attempts.waits({b"a": in_time}, {b"a": limit}) == {}
        assert attempts.waits({b"a": too_soon}, {b"a": limit}) != {}
