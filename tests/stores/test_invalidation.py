"""When the invalidation feed is current, and what it publishes: by the clock.

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


class System:
    """An `InvalidationFeed`, its clock, its subscriber and its store."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.questions: list[Deferred[Any]] = []
        self.published: list[Any] = []
        self.feed = InvalidationFeed(self.clock, self._ask, self.clock.seconds)
        self.feed.subscribe(self.published.append)
        self.feed.start()

    def _ask(self) -> Deferred[Any]:
        question: Deferred[Any] = Deferred()
        self.questions.append(question)
        return question

    def answer(self, partitions: Any = ()) -> None:
        self.questions.pop().callback(partitions)

    def fail(self, error: Exception | None = None) -> None:
        self.questions.pop().errback(error or TemporarilyUnavailable())

    def is_current(self) -> bool:
        return self.feed.is_current()

    def become_current(self) -> None:
        """Answer the first question, and forget what it published."""
        assert not self.is_current()
        self.answer()
        assert self.is_current()
        self.published.clear()


@pytest.fixture
def system() -> System:
    return System()


def test_store_is_not_asked_before_the_feed_is_used(system: System) -> None:
    assert system.clock.getDelayedCalls() == []
    assert system.questions == []


def test_feed_is_current_with_the_first_answer(system: System) -> None:
    """It publishes first that any token may have become invalid before."""
    assert not system.is_current()
    assert system.published == []
    system.answer({1})
    assert system.published == [None]
    assert system.is_current()


def test_partitions_of_an_answer_are_published(system: System) -> None:
    """An empty answer is not."""
    system.become_current()
    for partitions in ({1, 2}, set(), None):
        system.clock.advance(INTERVAL)
        system.answer(partitions)
    assert system.published == [{1, 2}, None]


def test_feed_is_current_from_the_question_on(system: System) -> None:
    """An answer says nothing of what happened after the question."""
    system.become_current()
    system.clock.advance(INTERVAL)
    system.clock.advance(CURRENT_FOR - 0.01)
    system.answer()
    assert system.is_current()
    system.clock.advance(0.011)
    assert not system.is_current()


def test_late_answer_does_not_make_the_feed_current(system: System) -> None:
    """Neither the store may hang nor the reactor be busy for too long."""
    system.become_current()
    system.clock.advance(INTERVAL)
    system.clock.advance(CURRENT_FOR)
    assert not system.is_current()
    system.answer()
    assert not system.is_current()
    system.clock.advance(INTERVAL)
    system.answer()
    assert system.is_current()
    assert system.published == []


def test_one_question_is_asked_at_a_time(system: System) -> None:
    """Also where the store does not answer for long."""
    system.become_current()
    for _ in range(100):
        system.clock.advance(USED_FOR)
        system.is_current()
    assert len(system.questions) == 1


def test_feed_stays_current_while_it_is_used(system: System) -> None:
    system.become_current()
    for _ in range(500):
        system.clock.advance(INTERVAL)
        system.answer()
        assert system.is_current()


def test_feed_that_is_not_used_asks_seldom(system: System) -> None:
    """It is then not current. At the next use it publishes what it missed, and is current again."""
    system.become_current()
    for _ in range(int(USED_FOR / INTERVAL) + 2):
        system.clock.advance(INTERVAL)
        if system.questions:
            system.answer()
    assert system.questions == []
    (waiting,) = system.clock.getDelayedCalls()
    assert waiting.getTime() - system.clock.seconds() > IDLE_INTERVAL - 2 * INTERVAL
    system.clock.advance(CURRENT_FOR)
    assert not system.is_current()
    system.answer({7})
    assert system.published == [{7}]
    assert system.is_current()


def test_any_partition_is_published_after_a_failure(system: System) -> None:
    """The answer that was lost may have named some, so the next answer does not matter."""
    system.become_current()
    system.clock.advance(INTERVAL)
    system.fail()
    system.clock.advance(CURRENT_FOR)
    assert not system.is_current()
    system.clock.advance(RETRY)
    system.answer()
    assert system.published == [None]
    assert system.is_current()


def test_question_that_cannot_be_asked_is_asked_again(system: System) -> None:
    """As where the system starts no thread for it: looking at the feed does not fail."""
    ask, system.feed._ask = system.feed._ask, fail_at_once
    assert not system.is_current()
    system.feed._ask = ask
    system.clock.advance(RETRY)
    system.answer()
    assert system.is_current()


def fail_at_once() -> Deferred[Any]:
    raise RuntimeError("can't start new thread")


def test_own_invalidations_are_published_at_once(system: System) -> None:
    """Whether the feed is current or not."""
    system.feed.publish([3])
    assert system.published == [[3]]


def test_answer_after_the_stop_is_ignored(system: System) -> None:
    """No timer is left, and no question is asked."""
    system.become_current()
    system.clock.advance(INTERVAL)
    system.feed.stop()
    system.answer({1})
    assert system.published == []
    assert not system.is_current()
    assert system.questions == []
    assert system.clock.getDelayedCalls() == []


def test_stop_between_two_questions_leaves_no_timer(system: System) -> None:
    """Nor does a failure after the stop."""
    system.become_current()
    system.feed.stop()
    assert system.clock.getDelayedCalls() == []
    system.feed.start()
    assert not system.is_current()
    system.feed.stop()
    system.fail()
    assert system.clock.getDelayedCalls() == []


def test_feed_can_be_started_again(system: System) -> None:
    """It then publishes first that any token may have become invalid."""
    system.become_current()
    system.feed.stop()
    system.feed.start()
    assert not system.is_current()
    system.answer()
    assert system.published == [None]
    assert system.is_current()


def test_store_that_cannot_be_asked_is_logged_once(system: System) -> None:
    with capturedLogs() as logs:
        assert not system.is_current()
        for _ in range(3):
            system.fail(ConfigurationError("a pooler stands before it"))
            system.clock.advance(RETRY)
    assert [str(event["error"]) for event in logs] == ["a pooler stands before it"]
    assert not system.is_current()


def test_feed_of_a_single_process_is_always_current() -> None:
    assert InvalidationFeed().is_current()
