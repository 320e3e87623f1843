"""Lanes: threads in which steps of SQL run, many to a hop and many to a commit.

A *step* is a function of a connection and its arguments that is one whole action. A *lane* is a thread
with a connection: while it works, further steps gather, and the next hop takes all of them. A step is
answered only when what it wrote is committed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from threading import Thread
from typing import Any

import sqlalchemy as sa
from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from ...errors import AlreadyExists, TemporarilyUnavailable
from ..outage import Outage
from . import changes
from .engines import Engine, reason_of
from .links import Displaced

Step = Callable[..., Any]

#: How long a step may take, in seconds, before whoever asked is told to come again.
DEADLINE = 1.5

#: Steps of one transaction at most, so that the first of many is not kept waiting for the last.
MAX_BATCH_SIZE = 64

#: How often a transaction is tried that loses to another, or finds its connection gone.
MAX_TRIES = 3

#: How long the end waits for a thread that hangs, in seconds.
CLOSE_DEADLINE = 5.0


@define(eq=False)
class _Waiting:
    step: Step
    arguments: tuple[Any, ...]
    deferred: Deferred[Any]
    since: float


class _Daemon(Thread):
    """A thread that does not keep the process from ending where it hangs for ever."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named, daemon=True)


class Worker:
    """A thread with a connection, and the steps that wait for it.

    :param tell: is told in which parts a batch has ended access tokens, before any of it is answered;
        None where that cannot be said.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        engine: Engine,
        writes: bool,
        outage: Outage,
        tell: Callable[[Collection[int] | None], None],
    ) -> None:
        self._reactor = reactor
        self._engine = engine
        self._link = engine.connection_of_worker(writes)
        self._writes = writes
        self._outage = outage
        self._tell = tell
        self._ended: set[int] = set()
        self._committing = False
        self._times_late = 0
        self._waiting: list[_Waiting] = []
        self._running: list[_Waiting] = []
        self._overdue: IDelayedCall | None = None
        self._idle: Deferred[None] | None = None
        self._pool = ThreadPool(1, 1, name)
        self._pool.threadFactory = _Daemon
        self._pool.start()

    def __len__(self) -> int:
        """How many steps are under way or waiting."""
        return len(self._running) + len(self._waiting)

    def submit(self, step: Step, arguments: tuple[Any, ...]) -> Deferred[Any]:
        """Take a step in its turn. Cancelling leaves it out, unless it is under way already."""
        waiting = _Waiting(step, arguments, Deferred(), self._reactor.seconds())
        self._waiting.append(waiting)
        if not self._running:
            self._dispatch()
        return waiting.deferred

    def _dispatch(self) -> None:
        self._running = self._waiting[:MAX_BATCH_SIZE]
        del self._waiting[:MAX_BATCH_SIZE]
        # The first has waited longest, and some of it for the batch before.
        left = self._running[0].since + DEADLINE - self._reactor.seconds()
        self._overdue = self._reactor.callLater(max(left, 0), self._too_late)
        self._times_late = 0
        self._pool.callInThread(self._run, self._running)

    def _too_late(self) -> None:
        """Answer all who wait on a thread that hangs, and go on waiting for it."""
        late = [*self._running, *self._waiting]
        self._waiting.clear()
        self._overdue = self._reactor.callLater(DEADLINE, self._too_late)
        self._outage.failed(self, "no answer in time")
        self._times_late += 1
        # Where the way is only long, it will have been made by the second time: who broke it off at the
        # first would never arrive.
        if self._times_late > 1:
            self._link.interrupt()
        if self._writes:
            # It may be done by now. What is done later is told then.
            self._tell(None)
        self._answer(late, [Failure(TemporarilyUnavailable())] * len(late))

    def _answer(self, batch: list[_Waiting], results: list[Any]) -> None:
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.deferred.called:
                waiting.deferred.callback(result)

    def _done(self, results: list[Any], error: str | None, ended: set[int]) -> None:
        batch, self._running = self._running, []
        self._forget_time()
        if error is None:
            self._outage.answered(self)
        else:
            self._outage.failed(self, error)
        if ended:
            # Whatever became of it: one look-up too many does no harm.
            self._tell(ended)
        self._answer(batch, results)
        # An answer may have submitted the next step, and with it dispatched what waits.
        if self._waiting and not self._running:
            self._dispatch()
        if not self._running and self._idle is not None:
            self._end()

    def stop(self) -> Deferred[None]:
        """Finish what was submitted, then end the thread; one that hangs is left behind."""
        idle: Deferred[None] = Deferred()
        self._idle = idle
        if not self._running:
            self._end()
        # All who waited have been answered long before.
        return idle.addTimeout(CLOSE_DEADLINE, self._reactor, lambda *_: self._forget_time())

    def _forget_time(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _end(self) -> None:
        self._pool.callInThread(self._link.disconnect)
        self._pool.stop()
        idle, self._idle = self._idle, None
        if idle is not None and not idle.called:
            idle.callback(None)

    # Below: in the thread.

    def _run(self, batch: list[_Waiting]) -> None:
        self._ended = set()
        results, reason = self._transact(batch)
        self._reactor.callFromThread(self._done, results, reason, self._ended)

    def _transact(self, batch: list[_Waiting]) -> tuple[list[Any], str | None]:
        """The results of a batch, or the reason why there are none."""
        reason = ""
        for _ in range(MAX_TRIES):
            fresh = self._link.connection is None
            self._committing = False
            try:
                return self._try(batch), None
            except Exception as error:  # Whatever it was, those who wait must be answered.
                reason = reason_of(error)
                if not self._may_try_again(error, fresh) or _is_given_up(batch):
                    break
        return [Failure(TemporarilyUnavailable())] * len(batch), reason

    def _may_try_again(self, error: Exception, fresh: bool) -> bool:
        """Give up a connection that is of no more use, and say whether another may be."""
        if self._engine.is_conflict(error):
            return True
        if self._engine.reconnects and not isinstance(error, Displaced):
            self._link.disconnect()
        # A connection that had idled too long is found out only by its use. But where it breaks while it
        # commits, nobody knows what became of that.
        stale = getattr(error, "connection_invalidated", False) and not fresh
        return stale and not self._committing

    def _try(self, batch: list[_Waiting]) -> list[Any]:
        self._link.check()
        connection = self._link.connect()
        try:
            return self._run_all(connection, batch, singly=False)
        except _StepFailed:
            # Rare, and not worth a savepoint each time: now each step can be undone by itself.
            return self._run_all(connection, batch, singly=True)

    def _run_all(self, connection: sa.Connection, batch: list[_Waiting], singly: bool) -> list[Any]:
        changes.collect(connection, self._ended)
        with connection.begin() as transaction:
            results = [self._take(connection, waiting, singly) for waiting in batch]
            if not self._writes or _is_given_up(batch):
                # All have been told that nothing was done, so let it be true. And whoever only read has
                # nothing to commit, which would be one more way to the server.
                transaction.rollback()
            elif self._ended and self._engine.changes is not None:
                self._engine.changes.publish(connection, self._ended)
            self._committing = True
        return results

    def _take(self, connection: sa.Connection, waiting: _Waiting, singly: bool) -> Any:
        """One step's result, or its own failure, which undoes it alone.

        :raises _StepFailed: that can be had by a savepoint only.
        """
        if waiting.deferred.called:
            # Given up while the connection was waited for: better not taken than not known of.
            return None
        try:
            if not self._writes or not singly:
                return waiting.step(connection, *waiting.arguments)
            with connection.begin_nested():
                return waiting.step(connection, *waiting.arguments)
        except Exception as error:
            own = _own_failure(error)
            if own is None:
                raise
            if self._writes and not singly:
                raise _StepFailed from None
            return own


class _StepFailed(Exception):
    """A step failed by itself, among others that must not be undone with it."""


def _is_given_up(batch: list[_Waiting]) -> bool:
    return all(waiting.deferred.called for waiting in batch)


def _own_failure(error: Exception) -> Failure | None:
    """What a step fails with by its own fault; None where the database is at fault."""
    match error:
        case sa.exc.IntegrityError():
            return Failure(AlreadyExists())
        case sa.exc.DataError():
            # A value that cannot be stored is this step's fault, and no outage for the others.
            return Failure(error)
        case sa.exc.SQLAlchemyError() | sqlite3.Error():
            return Failure(error) if type(error) is sa.exc.StatementError else None
        case _:
            return Failure(error)
