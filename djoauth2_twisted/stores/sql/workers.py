"""Workers: threads that run steps of SQL, many steps in one transaction.

A *step* is a function of a connection and further arguments, and is one whole action. A *worker* is a
thread with a connection. While it runs a batch of steps, further steps gather, and the next batch takes
all of them. A step is answered only when what it wrote is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa
from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from ...clock import IWorkerReactor
from ...errors import AlreadyExists, TemporarilyUnavailable
from ...exhaustion import exhausted
from ...threads import PoolThread
from ..outage import Outage
from . import partitions
from .engines.engine import Displaced, Engine, reason_of

Step = Callable[..., Any]

#: How long a step may take before its caller gets `TemporarilyUnavailable`, in seconds.
DEADLINE = 1.5

#: How many steps a transaction has at most, so that the first of many does not wait for the last.
MAX_BATCH_SIZE = 64

#: How often a transaction is tried that meets another one, or finds its connection lost.
MAX_TRIES = 3

#: How long `Worker.stop` waits for a thread that hangs, in seconds.
CLOSE_DEADLINE = 5.0


@define(eq=False)
class _Waiting:
    """A step that was submitted."""

    step: Step
    arguments: tuple[Any, ...]
    deferred: Deferred[Any]
    since: float  #: when it was submitted, in seconds


class _Daemon(PoolThread):
    """A thread that does not keep the process from ending if it hangs."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named, daemon=True)


class Worker:
    """A thread with a connection, and the steps that wait for it.

    :param name: the thread's.
    :param writes: whether the steps may write.
    :param invalidate: called before the steps of a batch are answered, with the partitions in which they
        have ended access tokens; with None where it is not known in which.
    """

    def __init__(
        self,
        reactor: IWorkerReactor,
        name: str,
        engine: Engine,
        writes: bool,
        outage: Outage,
        invalidate: Callable[[Collection[int] | None], None],
    ) -> None:
        self._reactor = reactor
        self._engine = engine
        self._connection = engine.worker_connection(writes)
        self._writes = writes
        self._outage = outage
        self._invalidate = invalidate
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
        """How many steps are running or waiting."""
        return len(self._running) + len(self._waiting)

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open."""
        return self._connection.connection is not None

    @property
    def is_busy(self) -> bool:
        """Whether a batch is running."""
        return bool(self._running)

    @property
    def waiting(self) -> int:
        """How many steps wait for the batch that is running."""
        return len(self._waiting)

    def submit(self, step: Step, arguments: tuple[Any, ...]) -> Deferred[Any]:
        """Run a step in its turn. A step that is cancelled is left out, unless it is running already."""
        waiting = _Waiting(step, arguments, Deferred(), self._reactor.seconds())
        self._waiting.append(waiting)
        if not self._running:
            self._dispatch()
        return waiting.deferred

    def _dispatch(self) -> None:
        self._running = self._waiting[:MAX_BATCH_SIZE]
        del self._waiting[:MAX_BATCH_SIZE]
        # The first step has waited longest, and part of that for the batch before.
        left = self._running[0].since + DEADLINE - self._reactor.seconds()
        self._overdue = self._reactor.callLater(max(left, 0), self._too_late)
        self._times_late = 0
        self._pool.callInThread(self._run, self._running)

    def _too_late(self) -> None:
        """Answer all callers of a thread that hangs, and keep waiting for the thread."""
        late = [*self._running, *self._waiting]
        self._waiting.clear()
        self._overdue = self._reactor.callLater(DEADLINE, self._too_late)
        self._outage.failed(self, "no answer in time")
        self._times_late += 1
        # A connection over a slow network may be made by the second time. Interrupted at the first, it
        # would never be made.
        if self._times_late > 1:
            self._connection.interrupt()
        if self._writes:
            # The steps may have been committed by now. If they are committed later, `_done` invalidates.
            self._invalidate(None)
        self._answer(late, [Failure(TemporarilyUnavailable())] * len(late))

    def _answer(self, batch: list[_Waiting], results: list[Any]) -> None:
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.deferred.called:
                waiting.deferred.callback(result)

    def _done(self, results: list[Any], error: str | None, ended: set[int]) -> None:
        batch, self._running = self._running, []
        self._cancel_deadline()
        if error is None:
            self._outage.answered(self)
        else:
            self._outage.failed(self, error)
        if ended:
            # Also where the transaction failed: one look-up too many does no harm.
            self._invalidate(ended)
        self._answer(batch, results)
        # An answer may have submitted the next step, which dispatched all that wait.
        if self._waiting and not self._running:
            self._dispatch()
        if not self._running and self._idle is not None:
            self._end()

    def stop(self) -> Deferred[None]:
        """Finish all steps that were submitted, then end the thread. One that hangs is left behind."""
        idle: Deferred[None] = Deferred()
        self._idle = idle
        # None is running, but others wait, where the answer to a step stops the worker.
        if not self._running and not self._waiting:
            self._end()
        # Long before that time, all callers have been answered.
        return idle.addTimeout(CLOSE_DEADLINE, self._reactor, lambda *_: self._cancel_deadline())

    def _cancel_deadline(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _end(self) -> None:
        self._pool.callInThread(self._connection.disconnect)
        self._pool.stop()
        idle, self._idle = self._idle, None
        if idle is not None and not idle.called:
            idle.callback(None)

    # The methods below run in the thread.

    def _run(self, batch: list[_Waiting]) -> None:
        self._ended = set()
        results, reason = self._transact(batch)
        self._reactor.callFromThread(self._done, results, reason, self._ended)

    def _transact(self, batch: list[_Waiting]) -> tuple[list[Any], str | None]:
        """The results of a batch, or the reason why there are none."""
        reason = ""
        for _ in range(MAX_TRIES):
            fresh = self._connection.connection is None
            self._committing = False
            try:
                return self._try(batch), None
            except Exception as error:  # The callers must be answered after every error.
                reason = reason_of(error)
                if not self._may_try_again(error, fresh) or _is_given_up(batch):
                    break
        return [Failure(TemporarilyUnavailable())] * len(batch), reason

    def _may_try_again(self, error: Exception, fresh: bool) -> bool:
        """Close a connection that is of no more use, and say whether the batch may be tried again."""
        if self._engine.is_conflict(error):
            return True
        if self._engine.reconnects and not isinstance(error, Displaced):
            self._connection.disconnect()
        # Only its use shows that a connection was idle for too long. But where it breaks in a commit,
        # it is unknown whether the transaction was committed.
        stale = getattr(error, "connection_invalidated", False) and not fresh
        return stale and not self._committing

    def _try(self, batch: list[_Waiting]) -> list[Any]:
        self._connection.check()
        connection = self._connection.connect()
        try:
            return self._run_all(connection, batch, singly=False)
        except _StepFailed:
            # A savepoint for each step costs time, and is seldom needed: so only in this second try.
            return self._run_all(connection, batch, singly=True)

    def _run_all(self, connection: sa.Connection, batch: list[_Waiting], singly: bool) -> list[Any]:
        """Run the steps in one transaction.

        :param singly: each step in a savepoint, so that a failed one is rolled back alone.
        """
        partitions.collect(connection, self._ended)
        with connection.begin() as transaction:
            results = [self._run_step(connection, waiting, singly) for waiting in batch]
            if not self._writes or _is_given_up(batch):
                # All callers have been answered that nothing was done, so nothing is. A transaction
                # that only read has nothing to commit, and a commit would be one more way to the
                # server.
                transaction.rollback()
            elif self._ended and self._engine.invalidations is not None:
                self._engine.invalidations.publish(connection, self._ended)
            self._committing = True
        return results

    def _run_step(self, connection: sa.Connection, waiting: _Waiting, singly: bool) -> Any:
        """One step's result, or its own failure.

        :raises _StepFailed: the step failed, and what it wrote must be rolled back.
        """
        if waiting.deferred.called:
            # Cancelled, or too late: its caller would never learn that it was run.
            return None
        try:
            if not self._writes or not singly:
                return waiting.step(connection, *waiting.arguments)
            with connection.begin_nested():
                return waiting.step(connection, *waiting.arguments)
        except Exception as error:
            own = self._own_failure(error)
            if own is None:
                raise
            if self._writes and not singly:
                raise _StepFailed from None
            return own

    def _own_failure(self, error: Exception) -> Failure | None:
        """The failure of a step that failed by its own fault; None where the database is at fault, or
        the system has run out of something.
        """
        if exhausted(error):
            return None
        match error:
            case sa.exc.IntegrityError():
                return Failure(AlreadyExists())
            case sa.exc.DataError():
                # A value that cannot be stored is this step's fault, and no outage for the others.
                return Failure(error)
            case sa.exc.SQLAlchemyError():
                return Failure(error) if type(error) is sa.exc.StatementError else None
            case self._engine.driver_error():
                return None
            case _:
                return Failure(error)


class _StepFailed(Exception):
    """A step failed by itself, in a transaction with others that must not be rolled back with it."""


def _is_given_up(batch: list[_Waiting]) -> bool:
    return all(waiting.deferred.called for waiting in batch)
