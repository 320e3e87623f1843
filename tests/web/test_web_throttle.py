"""Throttles: how much is put up with, from whom, and for how long."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from web_driver import wait

from djoauth2_twisted.errors import TooManyRequests
from djoauth2_twisted.stores.memory import MemoryRegistry
from djoauth2_twisted.web import throttle as module
from djoauth2_twisted.web.throttle import Throttle


class Door:
    """A throttle, at which somebody fails."""

    def __init__(
        self, clock: Clock, registry: MemoryRegistry, per_minute: int = 10, kind: str = "k"
    ) -> None:
        self._throttle = Throttle(clock, registry, kind, per_minute)

    def fail(self, times: int, *place: str) -> None:
        for _ in range(times):
            self._throttle.check(*place)
            self.fail_unchecked(*place)

    def fail_unchecked(self, *place: str) -> None:
        wait(Deferred.fromCoroutine(self._throttle.failed(*place)))

    def lets_in(self, *place: str) -> bool:
        try:
            self._throttle.check(*place)
        except TooManyRequests:
            return False
        return True

    def retry_after(self, *place: str) -> int:
        with pytest.raises(TooManyRequests) as refused:
            self._throttle.check(*place)
        assert refused.value.status_code == 429
        return refused.value.retry_after


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1_000_000)
    return clock


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.fixture
def door(clock: Clock, registry: MemoryRegistry) -> Door:
    return Door(clock, registry)


def test_so_many_failures_are_put_up_with(door: Door) -> None:
    door.fail(10, "here")
    assert not door.lets_in("here")


def test_places_are_counted_apart(door: Door) -> None:
    door.fail(10, "here")
    assert door.lets_in("there")
    assert door.lets_in("here", "too")
    assert door.lets_in()


def test_places_cannot_be_confused(door: Door) -> None:
    """A name may hold whatever a person types."""
    door.fail(10, "a", "b")
    for other in (("a", '", "b'), ('a", "b',), ("ab",), ("b", "a"), ("a", "b", ""), ("a\udcff", "b")):
        assert door.lets_in(*other)


def test_kinds_are_counted_apart(clock: Clock, registry: MemoryRegistry, door: Door) -> None:
    door.fail(10, "here")
    other = Door(clock, registry, kind="other")
    other.fail(10, "here")
    assert not other.lets_in("here")


def test_processes_share_the_count(clock: Clock, registry: MemoryRegistry, door: Door) -> None:
    """Each learns of it by a failure."""
    second = Door(clock, registry)
    door.fail(9, "here")
    second.fail(1, "here")
    assert not second.lets_in("here")
    door.fail(1, "here")
    assert not door.lets_in("here")


def test_failures_leak_away(door: Door, clock: Clock) -> None:
    """Ten a minute: one place is free every six seconds."""
    door.fail(10, "here")
    clock.advance(5.9)
    assert not door.lets_in("here")
    clock.advance(0.1)
    door.fail(1, "here")
    assert not door.lets_in("here")
    clock.advance(60)
    door.fail(10, "here")
    assert not door.lets_in("here")


def test_retry_after_is_long_enough_and_no_longer(door: Door, clock: Clock) -> None:
    """RFC 6585, section 4."""
    door.fail(10, "here")
    for _ in range(5):
        door.fail_unchecked("here")
    assert door.retry_after("here") == 36
    clock.advance(35.9)
    assert door.retry_after("here") == 1
    clock.advance(0.1)
    assert door.lets_in("here")


def test_retry_after_is_at_least_a_second(clock: Clock, registry: MemoryRegistry) -> None:
    door = Door(clock, registry, 300)
    door.fail(300, "here")
    assert door.retry_after("here") == 1


def test_checking_costs_nothing(door: Door) -> None:
    for _ in range(100):
        assert door.lets_in("here")
    door.fail(10, "here")


def test_only_so_many_places_are_remembered(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """AB-01: memory is bounded, and who has waited longest is forgotten first."""
    monkeypatch.setattr(module, "MOST_PLACES", 3)
    for number in range(4):
        door.fail(10, f"place {number}")
    assert [door.lets_in(f"place {number}") for number in range(4)] == [True, False, False, False]
    # What is counted is not forgotten with it.
    door.fail_unchecked("place 0")
    assert not door.lets_in("place 0")


def test_nobody_is_named_in_what_is_kept(door: Door, registry: MemoryRegistry) -> None:
    """U-03: names that people mistype may be passwords."""
    door.fail(2, "192.0.2.1", "correct horse")
    kept = repr(vars(registry))
    assert "192.0.2.1" not in kept
    assert "horse" not in kept
