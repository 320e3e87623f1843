"""The threads in which passwords are hashed and verified, and which password is the next."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from attrs import define, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from . import credentials
from .bounded_dict import BoundedDict
from .errors import TemporarilyUnavailable

_T = TypeVar("_T")

THREADS = 2

#: How much is added to the nice value of a password thread, so that the reactor goes first.
NICENESS = 5

#: How many passwords of one kind wait for a thread. At 0.1 s each, a longer queue is longer than
#: anyone's patience.
MAX_QUEUE_LENGTH = 40

#: How many passwords of one key wait.
MAX_WAITING_PER_KEY = 10

#: How many keys are remembered that have had their turn.
MAX_KEYS = 10_000


@frozen
class Turn:
    """Whose password it is, which decides in what order passwords are served.

    :param kind: the kinds have the threads in turn, however many passwords of each wait.
    :param key: within a kind, the keys have the threads in turn.
    """

    kind: str
    key: str = ""


#: Logins with browsers that the user has not logged in with before; the keys are addresses.
STRANGERS = "strangers"

#: Logins with a browser that the user has logged in with before; the keys are the users.
ACQUAINTANCES = "acquaintances"

#: New passwords; the keys are the administrators.
ADMINISTRATION = "administration"

_KINDS = (ADMINISTRATION, ACQUAINTANCES, STRANGERS)


class FairQueue(Generic[_T]):
    """Work that waits, by key. The next key is the one whose last turn is longest ago.

    So an address with a thousand passwords delays another by one turn; and where there are a thousand
    addresses, one that comes for the first time goes before those that come again and again.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[_T]] = {}
        self._served: BoundedDict[Hashable, int] = BoundedDict(MAX_KEYS)
        self._turns = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, key: Hashable, work: _T) -> _T | None:
        """Add work. Returns the work that there is no room for, this or another."""
        waiting = self._waiting.setdefault(key, [])
        waiting.append(work)
        if len(waiting) > MAX_WAITING_PER_KEY:
            return self._pop(key, -1)
        if len(self) > MAX_QUEUE_LENGTH:
            # The work that would be served last, of the key with the most work.
            largest = max(self._waiting, key=lambda each: (len(self._waiting[each]), self._turn(each)))
            return self._pop(largest, -1)
        return None

    def take(self) -> _T:
        """Remove and return the next work; the queue must not be empty."""
        key = min(self._waiting, key=self._turn)
        self._turns += 1
        self._served.set(key, self._turns)
        return self._pop(key, 0)

    def remove(self, key: Hashable, work: _T) -> None:
        """Remove work, if it is still in the queue."""
        waiting = self._waiting.get(key, [])
        if work in waiting:
            self._pop(key, waiting.index(work))

    def _turn(self, key: Hashable) -> int:
        return self._served.get(key) or 0

    def _pop(self, key: Hashable, index: int) -> _T:
        work = self._waiting[key].pop(index)
        if not self._waiting[key]:
            del self._waiting[key]
        return work


@define(eq=False)
class _Work:
    """Work that waits for a thread, and the Deferred of its result."""

    function: Callable[[], Any]
    answer: Deferred[Any]


class _BackgroundThread(threading.Thread):
    """A thread that gives way to the reactor's, where each thread has a priority of its own."""

    def run(self) -> None:
        if sys.platform == "linux":
            thread = threading.get_native_id()
            # A sandbox may forbid it, and passwords are needed there too.
            with suppress(OSError):
                nice = os.getpriority(os.PRIO_PROCESS, thread)
                os.setpriority(os.PRIO_PROCESS, thread, nice + NICENESS)
        super().run()


class _BackgroundPool(ThreadPool):
    threadFactory = _BackgroundThread


class PasswordThreads:
    """The few threads in which passwords are hashed and verified.

    Work fails with `TemporarilyUnavailable` if too much other work waits. Work whose Deferred is
    cancelled leaves the queue. Work that has begun goes on to its end.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool: ThreadPool | None = None
        self._queues: OrderedDict[str, FairQueue[_Work]] = OrderedDict()
        for kind in _KINDS:
            self._queues[kind] = FairQueue()
        self._running = 0
        self._hash_of_nobody: str | None = None

    def start(self) -> None:
        """Start the threads; they end with `stop`."""
        if self._pool is None:
            self._pool = _BackgroundPool(0, THREADS, "djoauth2-passwords")
            self._pool.start()

    def stop(self) -> None:
        """End the threads after the work that they have begun; the work that waits fails."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            for queue in self._queues.values():
                while queue:
                    queue.take().answer.errback(TemporarilyUnavailable())
            pool.stop()

    def hash(self, password: str, *, key: str = "") -> Deferred[str]:
        """Hash a new password. The Deferred fires with an argon2id string.

        :param key: the name of the administrator who sets the password.
        """
        turn = Turn(ADMINISTRATION, key)
        return self._submit(turn, lambda: credentials.hash_password(password))

    def verify(self, password_hash: str | None, password: str, turn: Turn) -> Deferred[bool]:
        """Whether a password is right. Without a hash it never is, after the same time."""
        return self._submit(turn, lambda: self._verify(password_hash, password))

    def rehash(self, password: str, turn: Turn) -> Deferred[str]:
        """Hash a password that was right anew. The Deferred fires with an argon2id string."""
        return self._submit(turn, lambda: credentials.hash_password(password))

    def _verify(self, password_hash: str | None, password: str) -> bool:
        if password_hash is not None:
            return credentials.verify_password(password_hash, password)
        if self._hash_of_nobody is None:
            self._hash_of_nobody = credentials.hash_password(credentials.random_string(30))
        credentials.verify_password(self._hash_of_nobody, password)
        return False

    def _submit(self, turn: Turn, function: Callable[[], _T]) -> Deferred[_T]:
        if self._pool is None:
            return fail(TemporarilyUnavailable())
        queue = self._queues[turn.kind]
        work = _Work(function, Deferred(lambda _: queue.remove(turn.key, work)))
        out = queue.put(turn.key, work)
        if out is not None:
            out.answer.errback(TemporarilyUnavailable())
        self._begin()
        return work.answer

    def _begin(self) -> None:
        while self._pool is not None and self._running < THREADS and (work := self._next()):
            self._running += 1
            working = deferToThreadPool(self._reactor, self._pool, work.function)
            working.addBoth(self._done, work.answer)

    def _next(self) -> _Work | None:
        for kind, queue in list(self._queues.items()):
            if queue:
                self._queues.move_to_end(kind)
                return queue.take()
        return None

    def _done(self, result: Any, answer: Deferred[Any]) -> None:
        self._running -= 1
        self._begin()
        # The Deferred of a client that has hung up was cancelled meanwhile.
        if not answer.called:
            answer.callback(result)
