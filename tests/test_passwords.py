"""Password threads: whoever hangs up leaves a queue that is bounded all the same."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Semaphore

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults

from djoauth2_twisted import credentials
from djoauth2_twisted.errors import TemporarilyUnavailable
from djoauth2_twisted.resource_owners import LONGEST_QUEUE, THREADS, PasswordThreads


class SlowHash:
    """A hash that takes as long as the test wants."""

    def __init__(self) -> None:
        self.begun = Semaphore(0)
        self.gate = Event()
        self.hashed: list[str] = []

    def __call__(self, password: str) -> str:
        self.hashed.append(password)
        self.begun.release()
        self.gate.wait(20)
        return f"<{password}>"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowHash:
    hash_password = SlowHash()
    monkeypatch.setattr(credentials, "hash_password", hash_password)
    return hash_password


@pytest.fixture
def threads(slow: SlowHash) -> Iterator[PasswordThreads]:
    threads = PasswordThreads(reactor)
    threads.start()
    yield threads
    slow.gate.set()
    threads.stop()


@pytest_twisted.ensureDeferred
async def test_hanging_up_makes_no_room_before_the_work_is_done(
    threads: PasswordThreads, slow: SlowHash
) -> None:
    """CC-10: or whoever sends logins and hangs up could fill the queue without end."""
    waiting = [threads.hash(str(number)) for number in range(LONGEST_QUEUE)]
    for _ in range(THREADS):
        assert slow.begun.acquire(timeout=20)
    for each in waiting:
        each.cancel()
        with pytest.raises(CancelledError):
            await each
    with pytest.raises(TemporarilyUnavailable):
        await threads.hash("one more")


@pytest_twisted.ensureDeferred
async def test_whoever_has_hung_up_keeps_nobody_waiting(
    threads: PasswordThreads, slow: SlowHash
) -> None:
    """CC-10: what is left in the queue is not worked on."""
    waiting = [threads.hash(str(number)) for number in range(LONGEST_QUEUE)]
    for _ in range(THREADS):
        assert slow.begun.acquire(timeout=20)
    patient = waiting.pop()
    for each in waiting:
        each.cancel()
    cancelled = gatherResults([each.addErrback(lambda f: f.trap(CancelledError)) for each in waiting])
    slow.gate.set()
    assert await patient == f"<{LONGEST_QUEUE - 1}>"
    await cancelled
    assert len(slow.hashed) == THREADS + 1
    assert await threads.hash("one more") == "<one more>"
