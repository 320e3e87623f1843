"""How much is pruned at once: as much as takes a moment, and with pauses for others."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from djoauth2_twisted.errors import TemporarilyUnavailable
from djoauth2_twisted.housekeeping import clean_up
from djoauth2_twisted.models import Pruned
from djoauth2_twisted.protocol.steps import AIM, FIRST_LIMIT, MAX_LIMIT, MIN_LIMIT, next_limit
from djoauth2_twisted.stores.contract import NOW
from djoauth2_twisted.stores.memory import MemoryRegistry


class Store:
    """A store that holds so many rows, each of which takes its time."""

    def __init__(self, clock: Clock, rows: int, seconds: float = 0, most: int = MAX_LIMIT) -> None:
        self.clock, self.rows, self.seconds, self.most = clock, rows, seconds, most
        self.steps: list[int] = []

    def prune(self, now: int, limit: int) -> Deferred[Pruned]:
        self.steps.append(limit)
        if limit > self.most:
            raise TemporarilyUnavailable()
        gone = min(self.rows, limit)
        self.rows -= gone
        # Of a clock of its own: that which is read, and moves nothing that waits.
        self.clock.rightNow += gone * self.seconds
        return succeed(Pruned(gone, grants=gone // 2))


def cleaned(store: Any, clock: Clock | None) -> Deferred[tuple[int, int]]:
    return Deferred.fromCoroutine(clean_up(MemoryRegistry(), store, NOW, clock))


@pytest.mark.parametrize(
    ("limit", "took", "following"),
    [
        (FIRST_LIMIT, 0.0, 2 * FIRST_LIMIT),
        (FIRST_LIMIT, AIM, 2 * FIRST_LIMIT),
        (FIRST_LIMIT, AIM * 1.5, FIRST_LIMIT),
        (FIRST_LIMIT, AIM * 3, FIRST_LIMIT // 2),
        (MAX_LIMIT, 0.0, MAX_LIMIT),
        (MIN_LIMIT, 1.5, MIN_LIMIT),
    ],
)
def test_the_next_step(limit: int, took: float, following: int) -> None:
    assert next_limit(limit, took) == following


def test_quick_steps_grow_to_a_bound() -> None:
    store = Store(Clock(), 5000)
    working = cleaned(store, None)
    assert working.result == (2500, 0)
    assert store.steps[:5] == [100, 200, 400, 800, 1000]
    assert max(store.steps) == MAX_LIMIT
    assert store.rows == 0


def test_slow_steps_shrink_and_leave_room_for_others() -> None:
    """After each there is a pause as long as it was."""
    clock = Clock()
    store = Store(clock, 300, seconds=0.01)
    working = cleaned(store, clock)
    pauses = []
    while not working.called:
        [pause] = clock.getDelayedCalls()
        pauses.append(pause.getTime() - clock.seconds())
        clock.advance(pauses[-1])
    assert store.steps[:5] == [100, 50, 25, 12, 10]
    assert min(store.steps) == MIN_LIMIT
    assert pauses[:4] == pytest.approx([10 * AIM, 0.5, 0.25, 0.12])


def test_what_was_too_much_is_tried_in_the_smallest_steps() -> None:
    store = Store(Clock(), 25, most=50)
    assert cleaned(store, None).result == (12, 0)
    assert store.steps == [100, 10, 20]


def test_a_store_that_is_away_ends_it() -> None:
    failed: list[Any] = []
    cleaned(Store(Clock(), 25, most=5), None).addErrback(failed.append)
    assert failed[0].check(TemporarilyUnavailable)


def test_a_cancelled_clean_up_leaves_no_delayed_call() -> None:
    """As a server that stops."""
    clock = Clock()
    store = Store(clock, 300, seconds=0.01)
    working = cleaned(store, clock)
    working.addErrback(lambda _: None)
    working.cancel()
    assert clock.getDelayedCalls() == []
    assert store.steps == [100]
