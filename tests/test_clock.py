"""The time by which expiry is judged."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from djoauth2_twisted.clock import LEAP, SteadyClock


class Times:
    """A system's time, and the time that has passed."""

    def __init__(self) -> None:
        self.reactor, self.passed = Clock(), 500.0
        self.reactor.advance(1_000_000)
        self.clock = SteadyClock(self.reactor, lambda: self.passed)

    def go_on(self, seconds: float) -> float:
        """Let time pass as it does."""
        self.reactor.advance(seconds)
        self.passed += seconds
        return self.clock.seconds()

    def leap(self, seconds: float) -> float:
        """Set the system's time to another."""
        self.reactor.rightNow += seconds
        return self.clock.seconds()


@pytest.fixture
def times() -> Times:
    """A system that has been running for some time."""
    return Times()


def test_follows_the_system(times: Times) -> None:
    assert times.clock.seconds() == 1_000_000
    assert times.go_on(0.5) == 1_000_000.5
    assert times.go_on(LEAP * 100) == 1_000_000.5 + LEAP * 100


@pytest.mark.parametrize("back", [0.1, 3600, 10 * 366 * 86400])
def test_goes_on_where_the_system_goes_back(times: Times, back: float) -> None:
    """Nothing lives longer than it would have, neither what was made before nor what is made now."""
    assert times.leap(-back) == 1_000_000
    assert times.go_on(100) == 1_000_100
    assert times.go_on(back) == pytest.approx(1_000_100 + back)


def test_stays_ahead_after_a_leap_forward_and_back(times: Times) -> None:
    """What was refused as expired meanwhile is refused again."""
    assert times.leap(3600) == 1_003_600
    assert times.leap(-3600) == 1_003_600
    assert times.go_on(1) == 1_003_601


def test_small_steps_back_add_up_to_no_more_than_one(times: Times) -> None:
    """As a system's time is corrected."""
    for _ in range(100):
        times.leap(-1)
        times.leap(1)
    assert times.clock.seconds() == 1_000_000


def test_a_reactor_of_a_test_has_no_other_time() -> None:
    """It stands still where that goes back, whatever this machine's clock does."""
    reactor = Clock()
    clock = SteadyClock(reactor)
    reactor.advance(100)
    assert clock.seconds() == 100
    reactor.rightNow = 10
    assert clock.seconds() == 100
    reactor.advance(91)
    assert clock.seconds() == 101


def told(times: Times, *leaps: float) -> list[str]:
    """What is logged of leaps."""
    with capturedLogs() as logged:
        for leap in leaps:
            times.leap(leap)
            times.clock.seconds()
    return [event["log_format"].format(**event) for event in logged]


def test_each_leap_is_logged_once(times: Times) -> None:
    (forward, back) = told(times, 3600, -7200)
    assert forward == "The system clock went forward by 3600 seconds."
    assert back.startswith("The system clock went back by 7200 seconds.")


def test_small_corrections_of_the_clock_are_not_logged(times: Times) -> None:
    assert told(times, LEAP - 0.1, -(LEAP - 0.1)) == []


def test_time_that_passes_is_no_leap(times: Times) -> None:
    """However long nothing has looked."""
    with capturedLogs() as logged:
        times.go_on(30 * 86400)
    assert logged == []


def test_is_a_clock_for_whatever_needs_one(times: Times) -> None:
    """Calls are the reactor's."""
    assert verifyObject(IReactorTime, times.clock)
    called: list[Any] = []
    call = times.clock.callLater(10, called.append, 1)
    assert list(times.clock.getDelayedCalls()) == [call]
    times.go_on(10)
    assert called == [1]
