"""A leak of one test is reported once, by that test."""

from __future__ import annotations

from leaks import cancel_new_calls
from twisted.internet.task import Clock, LoopingCall


def test_call_that_repeats_itself_is_reported_once() -> None:
    clock, rounds = Clock(), 0

    def count() -> None:
        nonlocal rounds
        rounds += 1

    loop = LoopingCall(count)
    loop.clock = clock
    loop.start(1)
    (left,) = cancel_new_calls(clock, ())
    assert "LoopingCall" in left
    clock.advance(1)
    assert (rounds, cancel_new_calls(clock, ())) == (1, [])


def test_second_leak_is_reported_too() -> None:
    clock = Clock()
    clock.callLater(1, str)
    assert len(cancel_new_calls(clock, ())) == 1
    clock.callLater(1, str)
    assert len(cancel_new_calls(clock, ())) == 1


def test_what_was_there_before_is_left_alone() -> None:
    clock = Clock()
    kept = clock.callLater(1, str)
    assert cancel_new_calls(clock, clock.getDelayedCalls()) == []
    assert kept.active()
