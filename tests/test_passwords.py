"""Password threads: a bounded queue, in which everybody's turn comes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from threading import Event, Semaphore, get_native_id
from threading import enumerate as enumerate_threads
from typing import Any

import pytest
import pytest_twisted
from reactors import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from waiting import PATIENCE

from djoauth2_twisted import credentials, passwords
from djoauth2_twisted.errors import TemporarilyUnavailable
from djoauth2_twisted.passwords import (
    ACQUAINTANCES,
    MANY,
    MAX_QUEUE_LENGTH,
    MAX_WAITING_PER_KEY,
    STRANGERS,
    THREADS,
    FairQueue,
    PasswordThreads,
    Turn,
)
from djoauth2_twisted.threads import NICENESS, PatientThread, PoolThread

# The queue by itself.


def _served(queue: FairQueue[str], times: int) -> list[str]:
    return [queue.take() for _ in range(times)]


def _fill(queue: FairQueue[str], *places: str, times: int = 1) -> None:
    for number in range(times):
        for place in places:
            assert queue.put(place, f"{place}{number}") is None


def test_places_take_turns() -> None:
    """A crowd at one place delays another by one turn."""
    queue: FairQueue[str] = FairQueue()
    _fill(queue, "a", times=5)
    _fill(queue, "b", "c")
    assert _served(queue, 7) == ["a0", "b0", "c0", "a1", "a2", "a3", "a4"]
    assert len(queue) == 0


def test_a_new_key_goes_before_keys_that_have_had_a_turn() -> None:
    """A flood from many addresses does not keep a new one waiting for a whole round."""
    queue: FairQueue[str] = FairQueue()
    flood = [f"flood{number}-" for number in range(20)]
    _fill(queue, *flood)
    _served(queue, 20)
    _fill(queue, *flood)
    _fill(queue, "new")
    assert queue.take() == "new0"
    # It came last to its second turn.
    _fill(queue, "new")
    assert _served(queue, 21)[-1] == "new0"


def test_a_place_has_so_many() -> None:
    """Beyond that it is refused, and no other is."""
    queue: FairQueue[str] = FairQueue()
    _fill(queue, "a", times=MAX_WAITING_PER_KEY)
    assert queue.put("a", "one more") == "one more"
    assert queue.put("b", "another") is None
    assert len(queue) == MAX_WAITING_PER_KEY + 1


def test_the_place_with_the_most_makes_room() -> None:
    """The queue has a length; where it is full, a new key still gets a place."""
    queue: FairQueue[str] = FairQueue()
    crowds = [str(number) for number in range(MAX_QUEUE_LENGTH // MAX_WAITING_PER_KEY)]
    _fill(queue, *crowds, times=MAX_WAITING_PER_KEY)
    assert len(queue) == MAX_QUEUE_LENGTH
    for _ in crowds:
        out = queue.put("new", "n")
        assert out is not None
        assert out.endswith(str(MAX_WAITING_PER_KEY - 1))
    assert len(queue) == MAX_QUEUE_LENGTH


def test_of_many_places_those_that_had_their_turn_make_room() -> None:
    """Also where each has one: who was served lately gives way, and the others stay."""
    queue: FairQueue[str] = FairQueue()
    places = [f"{number}-" for number in range(MAX_QUEUE_LENGTH)]
    _fill(queue, *places)
    assert queue.take() == "0-0"
    _fill(queue, "0-")
    assert queue.put("new", "n") == "0-0"
    # Now all are new alike, and the first of them were there before.
    assert queue.put("1-", "again") == "again"
    assert len(queue) == MAX_QUEUE_LENGTH


def test_removed_work_waits_no_longer() -> None:
    queue: FairQueue[str] = FairQueue()
    _fill(queue, "a", "b", times=2)
    for _ in range(2):
        queue.remove("a", "a0")
    queue.remove("nowhere", "a0")
    assert len(queue) == 3
    assert _served(queue, 3) == ["a1", "b0", "b1"]


def test_only_so_many_places_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """AB-01: those whose turn is longest ago are forgotten, and new again."""
    monkeypatch.setattr(passwords, "MAX_KEYS", 2)
    queue: FairQueue[str] = FairQueue()
    _fill(queue, "a", "b", "c")
    _served(queue, 3)
    _fill(queue, "b", "a")
    assert queue.take() == "a0"


# The threads behind the queue: threads that the test moves on, in the order that it says, and true ones.


class Threads:
    """Works only when the test says so, and then at once."""

    def __init__(self) -> None:
        self.busy: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.hashed: list[str] = []

    def defer(self, reactor: Any, pool: Any, work: Callable[[], Any]) -> Deferred[Any]:
        """As `deferToThreadPool`."""
        assert len(self.busy) < THREADS
        self.busy.append((work, Deferred()))
        return self.busy[-1][1]

    def go_on(self, times: int = 1) -> None:
        """End the work that began first, so many times."""
        for _ in range(times):
            work, done = self.busy.pop(0)
            done.callback(work())

    def end(self) -> None:
        """End all work."""
        while self.busy:
            self.go_on()

    def hash(self, password: str) -> str:
        self.hashed.append(password)
        return f"<{password}>"

    def verify(self, password_hash: str, password: str) -> bool:
        return self.hash(password) == password_hash


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Threads:
    slow = Threads()
    monkeypatch.setattr(passwords, "deferToThreadPool", slow.defer)
    monkeypatch.setattr(credentials, "hash_password", slow.hash)
    monkeypatch.setattr(credentials, "verify_password", slow.verify)
    return slow


@pytest.fixture
def threads(slow: Threads) -> Iterator[PasswordThreads]:
    """Password threads that are all busy."""
    threads = PasswordThreads(reactor)
    threads.start()
    for number in range(THREADS):
        _verify(threads, f"busy {number}", "busy")
    yield threads
    threads.stop()
    slow.end()


def _verify(threads: PasswordThreads, password: str, place: str, kind: str = STRANGERS) -> list[Any]:
    """Ask whether a password is right, which it is; the list gets the answer."""
    return _answers(threads.verify(f"<{password}>", password, Turn(kind, place)))


def _new(threads: PasswordThreads, password: str, place: str) -> list[Any]:
    return _answers(threads.hash(password, key=place))


def _answers(deferred: Deferred[Any]) -> list[Any]:
    answers: list[Any] = []

    def keep(answer: Any) -> None:
        answers.append(answer.type if isinstance(answer, Failure) else answer)

    deferred.addBoth(keep)
    return answers


def test_an_unknown_users_password_costs_a_hash_too(threads: PasswordThreads, slow: Threads) -> None:
    """UI-24: a right password, a wrong one, and one for a user who does not exist."""
    right = _verify(threads, "right", "a")
    wrong = _answers(threads.verify("<right>", "wrong", Turn(STRANGERS, "b")))
    unknown = [_answers(threads.verify(None, "guess", Turn(STRANGERS, each))) for each in "cd"]
    slow.end()
    assert (right, wrong, unknown) == (["right"], [None], [[None], [None]])
    assert slow.hashed.count("guess") == 2


def test_a_client_that_hangs_up_leaves_the_queue_at_once(
    threads: PasswordThreads, slow: Threads
) -> None:
    """CC-10: the queue shrinks, and the password is never compared."""
    for _ in range(20):
        waiting = [
            threads.verify("", "gone", Turn(STRANGERS, "flood")) for _ in range(MAX_WAITING_PER_KEY)
        ]
        answers = [_answers(each) for each in waiting]
        for each in waiting:
            each.cancel()
        assert answers == [[CancelledError]] * MAX_WAITING_PER_KEY
    patient = _verify(threads, "patient", "flood")
    slow.end()
    assert patient == ["patient"]
    assert slow.hashed == ["busy 0", "busy 1", "patient"]


def test_a_comparison_that_has_begun_keeps_its_thread_to_the_end(slow: Threads) -> None:
    """A thread cannot be stopped: clients that hang up do not cause a third thread."""
    threads = PasswordThreads(reactor)
    threads.start()
    begun = [threads.verify("", "begun", Turn(STRANGERS, "a")) for _ in range(THREADS)]
    answers = [_answers(each) for each in begun]
    for each in begun:
        each.cancel()
    assert answers == [[CancelledError]] * THREADS
    after = _verify(threads, "after", "a")
    assert len(slow.busy) == THREADS
    slow.go_on()
    assert (slow.hashed, len(slow.busy)) == (["begun"], THREADS)
    slow.end()
    assert after == ["after"]
    threads.stop()


def test_a_crowd_at_one_address_is_refused_alone(threads: PasswordThreads, slow: Threads) -> None:
    """Its places are taken; another address has its turn as the next."""
    crowd = [_verify(threads, f"crowd {n}", "crowd") for n in range(MAX_WAITING_PER_KEY)]
    assert _verify(threads, "one more", "crowd") == [TemporarilyUnavailable]
    other = _verify(threads, "other", "elsewhere")
    slow.go_on(THREADS + 2)
    assert other == ["other"]
    slow.end()
    assert crowd == [[f"crowd {n}"] for n in range(MAX_WAITING_PER_KEY)]
    assert slow.hashed[THREADS:][:3] == ["crowd 0", "other", "crowd 1"]


def test_a_password_dropped_from_the_queue_gets_503(threads: PasswordThreads, slow: Threads) -> None:
    crowds = [str(number) for number in range(MAX_QUEUE_LENGTH // MAX_WAITING_PER_KEY)]
    waiting = [_verify(threads, f"{n}", place) for place in crowds for n in range(MAX_WAITING_PER_KEY)]
    newcomer = _verify(threads, "newcomer", "elsewhere")
    assert waiting.count([TemporarilyUnavailable]) == 1
    slow.end()
    assert newcomer == ["newcomer"]
    assert len([each for each in waiting if each != [TemporarilyUnavailable]]) == MAX_QUEUE_LENGTH - 1


def test_each_kind_has_its_share(threads: PasswordThreads, slow: Threads) -> None:
    """Neither new passwords nor known browsers wait for all strangers, nor these for them."""
    for place in "abcdefgh":
        _verify(threads, "stranger", place)
    for _ in range(3):
        _new(threads, "new", "admin")
        _verify(threads, "known", "alice", ACQUAINTANCES)
    slow.end()
    order = slow.hashed[THREADS:]
    for turn in (order[:3], order[3:6], order[6:9]):
        assert sorted(turn) == ["known", "new", "stranger"]
    assert order[9:] == ["stranger"] * 5


def test_each_kind_has_a_queue_of_its_own(threads: PasswordThreads, slow: Threads) -> None:
    crowd = [_verify(threads, "stranger", f"place {n}") for n in range(MAX_QUEUE_LENGTH)]
    assert _verify(threads, "one more", "busy") == [TemporarilyUnavailable]
    others = [_new(threads, "new", "admin"), _verify(threads, "known", "alice", ACQUAINTANCES)]
    slow.end()
    assert others == [["<new>"], ["known"]]
    assert crowd == [["stranger"]] * MAX_QUEUE_LENGTH


def test_one_administrators_passwords_do_not_delay_anothers(
    threads: PasswordThreads, slow: Threads
) -> None:
    for _ in range(MAX_WAITING_PER_KEY):
        _new(threads, "one's", "one")
    assert _new(threads, "one more", "one") == [TemporarilyUnavailable]
    _new(threads, "other's", "other")
    slow.end()
    assert slow.hashed[THREADS:][:3] == ["one's", "other's", "one's"]


def test_a_fault_is_passed_on(
    threads: PasswordThreads, slow: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one has the thread."""
    broken, after = _new(threads, "broken", "a"), _new(threads, "after", "b")
    slow.go_on(THREADS)
    _, done = slow.busy.pop(0)
    done.errback(ZeroDivisionError())
    slow.end()
    assert (broken, after) == ([ZeroDivisionError], ["<after>"])


@pytest_twisted.ensureDeferred
async def test_threads_finish_what_has_begun_when_they_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that waits when the threads stop is answered with `TemporarilyUnavailable`."""
    begun, gate = Semaphore(0), Event()

    def hash_password(password: str) -> str:
        begun.release()
        gate.wait(PATIENCE)
        return f"<{password}>"

    monkeypatch.setattr(credentials, "hash_password", hash_password)
    threads = PasswordThreads(reactor)
    with pytest.raises(TemporarilyUnavailable):
        await threads.hash("too early")
    threads.start()
    busy = [threads.hash("busy") for _ in range(THREADS)]
    for _ in busy:
        assert begun.acquire(timeout=PATIENCE)
    waiting = threads.hash("waiting")
    gate.set()
    threads.stop()
    with pytest.raises(TemporarilyUnavailable):
        await waiting
    assert [await each for each in busy] == ["<busy>"] * THREADS
    with pytest.raises(TemporarilyUnavailable):
        await threads.hash("too late")


def test_logins_are_kept_from_beginning_while_many_passwords_of_their_kind_wait(
    slow: Threads, threads: PasswordThreads
) -> None:
    """AB-03: the other kinds go on."""
    for number in range(MANY):
        assert not threads.are_many(STRANGERS)
        threads.verify("", "flood", Turn(STRANGERS, f"{number}"))
    assert threads.are_many(STRANGERS)
    assert not threads.are_many(ACQUAINTANCES)
    slow.go_on()
    assert not threads.are_many(STRANGERS)
    slow.end()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_a_password_thread_has_a_lower_priority_than_the_reactor() -> None:
    """Its neighbours keep theirs."""
    found: list[int] = []
    for kind in (PatientThread, PoolThread):
        thread = kind(target=lambda: found.append(os.getpriority(os.PRIO_PROCESS, get_native_id())))
        thread.start()
        thread.join(PATIENCE)
    here = os.getpriority(os.PRIO_PROCESS, get_native_id())
    assert found == [min(here + NICENESS, 19), here]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_a_password_thread_runs_where_it_may_not_change_its_priority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a sandbox."""

    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    has_run: list[bool] = []
    thread = PatientThread(target=lambda: has_run.append(True))
    thread.start()
    thread.join(PATIENCE)
    assert has_run == [True]


@pytest_twisted.ensureDeferred
async def test_passwords_are_checked_in_threads_of_lower_priority() -> None:
    threads = PasswordThreads(reactor)
    threads.start()
    try:
        await threads.hash("correct horse battery staple")
        working = [thread for thread in enumerate_threads() if "djoauth2-passwords" in thread.name]
        assert working
        assert {type(thread) for thread in working} == {PatientThread}
    finally:
        threads.stop()
