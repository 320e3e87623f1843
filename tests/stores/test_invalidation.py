"""When a store is sure that it has told of all that has ended: by the clock.

Behaviours RV-10, BG-17.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from djoauth2_twisted.errors import ConfigurationError, TemporarilyUnavailable
from djoauth2_twisted.stores.invalidation import (
    CURRENT_FOR,
    IDLE_INTERVAL,
    INTERVAL,
    RETRY,
    USED_FOR,
    InvalidationFeed,
)


class Asked:
    """`InvalidationFeed`, and those who ask and answer."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.questions: list[Deferred[Any]] = []
        self.told: list[Any] = []
        self.invalidation = InvalidationFeed(self.clock, self._ask, self.clock.seconds)
        self.invalidation.subscribe(self.told.append)
        self.invalidation.start()

    def _ask(self) -> Deferred[Any]:
        question: Deferred[Any] = Deferred()
        self.questions.append(question)
        return question

    def answer(self, parts: Any = ()) -> None:
        self.questions.pop().callback(parts)

    def fail(self, error: Exception | None = None) -> None:
        self.questions.pop().errback(error or TemporarilyUnavailable())

    def is_current(self) -> bool:
        return self.invalidation.is_current()

    def begin(self) -> None:
        """Become sure, and forget how."""
        assert not self.is_current()
        self.answer()
        assert self.is_current()
        self.told.clear()


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_nothing_is_asked_before_somebody_wants_to_know(asked: Asked):
    """Whoever keeps nothing pays nothing."""
    assert asked.clock.getDelayedCalls() == []
    assert asked.questions == []


def test_it_is_sure_with_the_first_answer(asked: Asked):
    """And tells first that anything may have ended before."""
    assert not asked.is_current()
    assert asked.told == []
    asked.answer({1})
    assert asked.told == [None]
    assert asked.is_current()


def test_what_has_ended_is_told(asked: Asked):
    """Where nothing has, there is nothing to tell."""
    asked.begin()
    for parts in ({1, 2}, set(), None):
        asked.clock.advance(INTERVAL)
        asked.answer(parts)
    assert asked.told == [{1, 2}, None]


def test_it_is_sure_from_the_question_on(asked: Asked):
    """An answer says nothing of what happened while it was on its way."""
    asked.begin()
    asked.clock.advance(INTERVAL)
    asked.clock.advance(CURRENT_FOR - 0.01)
    asked.answer()
    assert asked.is_current()
    asked.clock.advance(0.011)
    assert not asked.is_current()


def test_an_answer_that_took_too_long(asked: Asked):
    """A store that hangs leaves nobody sure, nor does a reactor that was busy elsewhere."""
    asked.begin()
    asked.clock.advance(INTERVAL)
    asked.clock.advance(CURRENT_FOR)
    assert not asked.is_current()
    asked.answer()
    assert not asked.is_current()
    asked.clock.advance(INTERVAL)
    asked.answer()
    assert asked.is_current()
    assert asked.told == []


def test_one_question_at_a_time(asked: Asked):
    """Whoever waits for long does not ask again meanwhile."""
    asked.begin()
    for _ in range(100):
        asked.clock.advance(USED_FOR)
        asked.is_current()
    assert len(asked.questions) == 1


def test_it_goes_on_while_somebody_wants_to_know(asked: Asked):
    """At short intervals."""
    asked.begin()
    for _ in range(500):
        asked.clock.advance(INTERVAL)
        asked.answer()
        assert asked.is_current()


def test_it_slows_down_when_nobody_does(asked: Asked):
    """And is honest about it, and soon sure again; what ended meanwhile is told before."""
    asked.begin()
    for _ in range(int(USED_FOR / INTERVAL) + 2):
        asked.clock.advance(INTERVAL)
        if asked.questions:
            asked.answer()
    assert asked.questions == []
    (waiting,) = asked.clock.getDelayedCalls()
    assert waiting.getTime() - asked.clock.seconds() > IDLE_INTERVAL - 2 * INTERVAL
    asked.clock.advance(CURRENT_FOR)
    assert not asked.is_current()
    asked.answer({7})
    assert asked.told == [{7}]
    assert asked.is_current()


def test_after_a_failure_anything_may_have_ended(asked: Asked):
    """An answer may be the one that was lost; so what comes first is no matter."""
    asked.begin()
    asked.clock.advance(INTERVAL)
    asked.fail()
    asked.clock.advance(CURRENT_FOR)
    assert not asked.is_current()
    asked.clock.advance(RETRY)
    asked.answer()
    assert asked.told == [None]
    assert asked.is_current()


def test_own_endings_are_told_at_once(asked: Asked):
    """Sure or not."""
    asked.invalidation.publish([3])
    assert asked.told == [[3]]


def test_it_ends(asked: Asked):
    """No timer is left, and nothing begins anew; nor does an answer that was on its way."""
    asked.begin()
    asked.clock.advance(INTERVAL)
    asked.invalidation.stop()
    asked.answer({1})
    assert asked.told == []
    assert not asked.is_current()
    assert asked.questions == []
    assert asked.clock.getDelayedCalls() == []


def test_it_ends_while_it_waits(asked: Asked):
    """The same between two questions, and where the last is not answered."""
    asked.begin()
    asked.invalidation.stop()
    assert asked.clock.getDelayedCalls() == []
    asked.invalidation.start()
    assert not asked.is_current()
    asked.invalidation.stop()
    asked.fail()
    assert asked.clock.getDelayedCalls() == []


def test_it_begins_again(asked: Asked):
    """As if nothing had been known."""
    asked.begin()
    asked.invalidation.stop()
    asked.invalidation.start()
    assert not asked.is_current()
    asked.answer()
    assert asked.told == [None]
    assert asked.is_current()


def test_who_cannot_ask_is_told_of_once(asked: Asked):
    """In the log, by what stands in the way."""
    with capturedLogs() as logs:
        assert not asked.is_current()
        for _ in range(3):
            asked.fail(ConfigurationError("a pooler stands before it"))
            asked.clock.advance(RETRY)
    assert [str(event["error"]) for event in logs] == ["a pooler stands before it"]
    assert not asked.is_current()


def test_where_there_is_nobody_else():
    """What is in memory is this process's alone."""
    assert InvalidationFeed().is_current()
