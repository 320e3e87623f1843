"""The threads in which passwords are hashed and verified, and the queue in front of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from attrs import define, frozen
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from . import credentials
from .bounded_dict import BoundedDict
from .errors import TemporarilyUnavailable
from .exhaustion import exhausted
from .protocol import precis
from .threads import PatientThread

_T = TypeVar("_T")

THREADS = 2

#: How many passwords of one kind may wait for a thread. At 0.1 s each in two threads, the last one waits
#: for some two seconds; longer, if other kinds wait too.
MAX_QUEUE_LENGTH = 40

#: While so many passwords of one kind wait, no further login begins. The others wait before they cost
#: the store anything.
MANY = MAX_QUEUE_LENGTH // 2

#: How many passwords of one key may wait.
MAX_WAITING_PER_KEY = 10

#: For how many keys the last turn is remembered.
MAX_KEYS = 10_000


@frozen
class Turn:
    """The position of a password in the order of service.

    :param kind: the kinds get threads in turn, however many passwords of each kind wait.
    :param key: within a kind, the keys get threads in turn.
    """

    kind: str
    key: str = ""


#: Logins with a browser in which the user has not logged in before. The keys are addresses.
STRANGERS = "strangers"

#: Logins with a browser in which the user has logged in before. The keys are the users.
ACQUAINTANCES = "acquaintances"

#: New passwords. The keys are the administrators.
ADMINISTRATION = "administration"

_KINDS = (ADMINISTRATION, ACQUAINTANCES, STRANGERS)


class FairQueue(Generic[_T]):
    """Waiting work, by key. The next key is the one whose last turn was longest ago.

    So an address with many passwords delays another by one turn only. Among many addresses, a new one
    goes before those that come again and again.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[_T]] = {}
        self._served: BoundedDict[Hashable, int] = BoundedDict(MAX_KEYS)
        self._turns = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, key: Hashable, work: _T) -> _T | None:
        """Add work. If the queue is full, returns the work that is dropped: this or another."""
        waiting = self._waiting.setdefault(key, [])
        waiting.append(work)
        if len(waiting) > MAX_WAITING_PER_KEY:
            return self._pop(key, -1)
        if len(self) > MAX_QUEUE_LENGTH:
            # Drop the last work of the key with the most work. If several have it, of the latest served.
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
    """Work for a thread, and the Deferred of its result."""

    function: Callable[[], Any]
    answer: Deferred[Any]


class PasswordThreads:
    """The few threads in which passwords are hashed and verified.

    Work fails with `TemporarilyUnavailable` if too much other work waits, or if the system has no memory
    or no thread for it. Work whose Deferred is cancelled leaves the queue. Work that has begun runs to
    its end.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool: ThreadPool | None = None
        self._queues: OrderedDict[str, FairQueue[_Work]] = OrderedDict()
        for kind in _KINDS:
            self._queues[kind] = FairQueue()
        self._running = 0
        self._dummy_hash: str | None = None
        self._is_failing = False

    @property
    def running(self) -> int:
        """How many passwords are in a thread now."""
        return self._running

    def waiting(self) -> dict[str, int]:
        """How many passwords of each kind wait for a thread."""
        return {kind: len(queue) for kind, queue in self._queues.items()}

    def are_many(self, kind: str) -> bool:
        """Whether so many passwords of a kind wait that another one is better kept from beginning."""
        return len(self._queues[kind]) >= MANY

    def start(self) -> None:
        """Start the threads. `stop` ends them."""
        if self._pool is None:
            self._pool = ThreadPool(0, THREADS, "djoauth2-passwords")
            self._pool.threadFactory = PatientThread
            self._pool.start()

    def stop(self) -> None:
        """End the threads after their current work. The waiting work fails."""
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
        return self._submit(turn, lambda: credentials.hash_password(precis.password(password)))

    def verify(self, password_hash: str | None, typed: str, turn: Turn) -> Deferred[str | None]:
        """Whether a typed password is right. The Deferred fires with its form that is right, or None.

        The form is that of `precis.password`, or the text as it was typed: hashes from before passwords
        were normalized may need that.

        :param password_hash: None for an unknown user: the result is None, and takes the same time.
        """
        # Both forms in one turn: together they are one guess.
        forms = dict.fromkeys((precis.password(typed), typed))
        cut = [form[: precis.MAX_PASSWORD_LENGTH + 1] for form in forms]
        return self._submit(turn, lambda: self._verify(password_hash, cut))

    def rehash(self, password: str, turn: Turn) -> Deferred[str]:
        """Hash a verified password again. The Deferred fires with an argon2id string."""
        return self._submit(turn, lambda: credentials.hash_password(precis.password(password)))

    def _verify(self, password_hash: str | None, forms: Sequence[str]) -> str | None:
        if password_hash is None:
            if self._dummy_hash is None:
                self._dummy_hash = credentials.hash_password(credentials.random_string(30))
            password_hash = self._dummy_hash
        return next((form for form in forms if credentials.verify_password(password_hash, form)), None)

    def _submit(self, turn: Turn, function: Callable[[], _T]) -> Deferred[_T]:
        if self._pool is None:
            return fail(TemporarilyUnavailable())
        queue = self._queues[turn.kind]
        work = _Work(function, Deferred(lambda _: queue.remove(turn.key, work)))
        dropped = queue.put(turn.key, work)
        if dropped is not None:
            dropped.answer.errback(TemporarilyUnavailable())
        self._begin()
        return work.answer

    def _begin(self) -> None:
        while self._pool is not None and self._running < THREADS and (work := self._next()):
            self._running += 1
            # It fails at once where the system starts no thread.
            working = maybeDeferred(deferToThreadPool, self._reactor, self._pool, work.function)
            working.addBoth(self._done, work.answer)

    def _next(self) -> _Work | None:
        for kind, queue in list(self._queues.items()):
            if queue:
                self._queues.move_to_end(kind)
                return queue.take()
        return None

    def _done(self, result: Any, answer: Deferred[Any]) -> None:
        self._running -= 1
        result = self._judge(result)
        self._begin()
        # It was cancelled if the client has closed the connection.
        if not answer.called:
            answer.callback(result)

    def _judge(self, result: Any) -> Any:
        """The result, or `TemporarilyUnavailable` where the system has run out of something.

        One line is logged when that begins, and one when it has ended.
        """
        lacking = exhausted(result.value) if isinstance(result, Failure) else ""
        if lacking and not self._is_failing:
            self._log.error("Passwords cannot be hashed: the system is out of {what}", what=lacking)
        elif self._is_failing and not lacking:
            self._log.info("Passwords can be hashed again.")
        self._is_failing = bool(lacking)
        return Failure(TemporarilyUnavailable()) if lacking else result
