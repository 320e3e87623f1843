"""Steps of SQL run in threads of their own, many to a hop and many to a commit.

A *step* is a function of a connection and its arguments that is one whole action. A *lane* is a thread
with a connection: while it works, further steps gather, and the next hop takes all of them. A step is
answered only when what it wrote is committed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from attrs import define
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from ...errors import AlreadyExists, ConfigurationError, TemporarilyUnavailable
from . import upgrade
from .schema import HEAD

_T = TypeVar("_T")
Step = Callable[..., Any]

#: How long a step may take, in seconds, before whoever asked is told to come again.
DEADLINE = 1.5

#: How long SQLite waits for another process to let go of the file, in seconds. Shorter than the
#: deadline, so that the thread is free again when its requests have been answered.
BUSY_TIMEOUT = 1.0

#: Steps of one transaction at most, so that the first of many is not kept waiting for the last.
LARGEST_BATCH = 64

READ_LANES = 2

_DURABLE = "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"


class Database:
    """One SQL database: opened, read, written, closed.

    :param reactor: provides IReactorTime and IReactorFromThreads.
    :param url: an SQLAlchemy URL; a relative SQLite path is taken from the current folder now.
    :raises ConfigurationError: the URL is not one, or of an engine that is not supported.
    """

    def __init__(self, reactor: Any, url: str) -> None:
        self._reactor = reactor
        self._url = _absolute(url)
        self._engines: list[sa.Engine] = []
        self._writer: _Lane | None = None
        self._readers: list[_Lane] = []
        self._identity: tuple[int, int] | None = None

    @property
    def path(self) -> Path | None:
        """The database's file, or None where it is in memory."""
        return Path(self._url.database) if self._url.database else None

    def open(self, prepare: bool = True) -> None:
        """Open the database and bring it to today's schema. Blocks; does nothing where it is open.

        :param prepare: whether a new or older database may be brought to today's schema.
        :raises ConfigurationError: it cannot be opened, or is not one of ours.
        """
        if self._writer is not None:
            return
        try:
            if prepare:
                self._create_file()
            write_engine = self._engine("BEGIN IMMEDIATE", *_DURABLE)
            with write_engine.begin() as connection:
                found = upgrade.current(connection)
                if found != HEAD:
                    if not prepare:
                        raise upgrade.unknown(found)
                    upgrade.upgrade(connection)
        except (sa.exc.DBAPIError, sqlite3.Error, OSError) as error:
            self._dispose()
            raise ConfigurationError(self._unusable(error)) from None
        except ConfigurationError:
            self._dispose()
            raise
        self._start_lanes(write_engine)

    def _start_lanes(self, write_engine: sa.Engine) -> None:
        lasting = self.path is not None

        def lane(name: str, engine: sa.Engine, savepoints: bool) -> _Lane:
            return _Lane(self._reactor, name, engine.connect, self._check_file, savepoints, lasting)

        if self.path is None:
            self._writer = lane("djoauth2-write", write_engine, True)
            self._readers = [self._writer]
            return
        status = self.path.stat()
        self._identity = (status.st_dev, status.st_ino)
        self._writer = lane("djoauth2-write", write_engine, True)
        read_engine = self._engine("BEGIN", *_DURABLE, "PRAGMA query_only=ON")
        self._readers = [
            lane(f"djoauth2-read-{number}", read_engine, False) for number in range(READ_LANES)
        ]

    def version(self) -> str | None:
        """The schema's version, without changing anything; None for a new database. Blocks.

        :raises ConfigurationError: the database cannot be read.
        """
        if self.path is not None and not self.path.exists():
            return None
        engine = self._engine("BEGIN")
        try:
            with engine.connect() as connection:
                return upgrade.current(connection)
        except (sa.exc.DBAPIError, sqlite3.Error, OSError) as error:
            raise ConfigurationError(self._unusable(error)) from None
        finally:
            engine.dispose()
            self._engines.remove(engine)

    def write(self, step: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        """Run a step in a transaction; the Deferred fires with its result once that is committed."""
        return self._submit(self._writer, step, arguments)

    def read(self, step: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        """Run a step that only reads, beside the writer, on what is committed."""
        lane = min(self._readers, key=len, default=None)
        return self._submit(lane, step, arguments)

    def _submit(self, lane: _Lane | None, step: Step, arguments: tuple[Any, ...]) -> Deferred[Any]:
        if lane is None:
            return fail(TemporarilyUnavailable("the store is not open"))
        return lane.submit(step, arguments)

    def close(self) -> Deferred[None]:
        """Finish the steps that are under way, and close. Does nothing where it is not open."""
        if self._writer is None:
            return succeed(None)
        lanes = {id(lane): lane for lane in [self._writer, *self._readers]}.values()
        self._writer, self._readers = None, []
        return DeferredList([lane.stop() for lane in lanes]).addCallback(lambda _: self._dispose())

    def _dispose(self) -> None:
        for engine in self._engines:
            engine.dispose()
        self._engines = []

    def _create_file(self) -> None:
        """Make a new file readable by its owner alone; SQLite gives its companions the same mode."""
        if self.path is not None:
            # There it is already, or another process that starts now was faster.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def _engine(self, begin: str, *pragmas: str) -> sa.Engine:
        """An engine on the file. It never makes one: a file that went away must not come back empty."""
        path = self.path
        if path is None:
            pool: dict[str, Any] = {"poolclass": sa.pool.StaticPool}
            address = ":memory:"
        else:
            pool = {"poolclass": sa.pool.QueuePool, "pool_size": READ_LANES, "max_overflow": 0}
            address = f"file:{quote(str(path))}?mode=rw"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                address,
                uri=True,
                timeout=BUSY_TIMEOUT,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                for pragma in pragmas:
                    _execute(connection, pragma)
            except sqlite3.Error:
                connection.close()
                raise
            return connection

        # Parameters are digests and names, and an error's text may end in a log.
        engine = sa.create_engine("sqlite://", creator=connect, hide_parameters=True, **pool)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        self._engines.append(engine)
        return engine

    def _check_file(self) -> None:
        """Refuse to go on where the file was replaced or removed under an open connection."""
        if self.path is not None:
            status = self.path.stat()
            if (status.st_dev, status.st_ino) != self._identity:
                raise OSError("the file was replaced")

    def _unusable(self, error: Exception) -> str:
        reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
        return f"the database {self.path or 'in memory'} cannot be used: {reason}"


def _absolute(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise ConfigurationError(
            "the database's URL cannot be read: write it like sqlite:///djoauth2.db"
        ) from None
    if parsed.get_backend_name() != "sqlite":
        raise ConfigurationError(
            f"databases of {parsed.get_backend_name()} are not supported: "
            "write the URL like sqlite:///djoauth2.db"
        )
    if parsed.query:
        raise ConfigurationError("a SQLite URL takes no options: write it like sqlite:///djoauth2.db")
    # sqlite://djoauth2.db names a host and no file, and would forget everything at exit.
    if parsed.host or parsed.username or not (parsed.database or "").isprintable():
        raise ConfigurationError("a SQLite URL has three slashes and a path: sqlite:///djoauth2.db")
    if parsed.database in {None, "", ":memory:"}:
        return parsed.set(database="")
    return parsed.set(database=os.path.abspath(str(parsed.database)))


def _execute(connection: sqlite3.Connection, pragma: str) -> None:
    """Execute, and wait for other processes that have just begun, too: SQLite itself does not."""
    give_up = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute(pragma)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


@define(eq=False)
class _Waiting:
    step: Step
    arguments: tuple[Any, ...]
    deferred: Deferred[Any]
    since: float


class _Lane:
    """A thread with a connection, and the steps that wait for it."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        name: str,
        connect: Callable[[], sa.Connection],
        check: Callable[[], None],
        savepoints: bool,
        lasting: bool,
    ) -> None:
        self._reactor = reactor
        self._connect = connect
        self._check = check
        self._savepoints = savepoints
        self._lasting = lasting
        self._connection: sa.Connection | None = None
        self._failing = False
        self._waiting: list[_Waiting] = []
        self._running: list[_Waiting] = []
        self._overdue: IDelayedCall | None = None
        self._idle: Deferred[None] | None = None
        self._pool = ThreadPool(1, 1, name)
        self._pool.start()

    def __len__(self) -> int:
        """How many steps are under way or waiting."""
        return len(self._running) + len(self._waiting)

    def submit(self, step: Step, arguments: tuple[Any, ...]) -> Deferred[Any]:
        """Take a step in its turn. Cancelling leaves it out, unless it is under way already."""

        def leave_out(_: object) -> None:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

        waiting = _Waiting(step, arguments, Deferred(leave_out), self._reactor.seconds())
        self._waiting.append(waiting)
        if not self._running:
            self._dispatch()
        return waiting.deferred

    def _dispatch(self) -> None:
        self._running = self._waiting[:LARGEST_BATCH]
        del self._waiting[:LARGEST_BATCH]
        # The first has waited longest, and some of it for the batch before.
        left = self._running[0].since + DEADLINE - self._reactor.seconds()
        self._overdue = self._reactor.callLater(max(left, 0), self._too_late)
        self._pool.callInThread(self._run, self._running)

    def _too_late(self) -> None:
        """Answer all who wait on a thread that hangs, and go on waiting for it."""
        late = [*self._running, *self._waiting]
        self._waiting.clear()
        self._overdue = self._reactor.callLater(DEADLINE, self._too_late)
        self._note("no answer in time")
        self._answer(late, [Failure(TemporarilyUnavailable())] * len(late))

    def _answer(self, batch: list[_Waiting], results: list[Any]) -> None:
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.deferred.called:
                waiting.deferred.callback(result)

    def _done(self, results: list[Any], error: str | None) -> None:
        batch, self._running = self._running, []
        if self._overdue is not None:
            self._overdue.cancel()
        self._note(error)
        self._answer(batch, results)
        # An answer may have submitted the next step, and with it dispatched what waits.
        if self._waiting and not self._running:
            self._dispatch()
        idle = self._idle
        if not self._running and idle is not None:
            self._idle = None
            idle.callback(None)

    def _note(self, error: str | None) -> None:
        """Log an outage when it begins and when it ends, and no line for each request between."""
        if error is not None and not self._failing:
            self._log.error("The database does not answer: {error}", error=error)
        elif error is None and self._failing:
            self._log.info("The database answers again.")
        self._failing = error is not None

    def stop(self) -> Deferred[None]:
        """Finish what was submitted, then end the thread."""
        if not self._running:
            self._end(None)
            return succeed(None)
        self._idle = Deferred()
        return self._idle.addCallback(self._end)

    def _end(self, _: object) -> None:
        self._pool.callInThread(self._disconnect)
        self._pool.stop()

    # Below: in the thread.

    def _run(self, batch: list[_Waiting]) -> None:
        reason = None
        try:
            self._check()
            if self._connection is None:
                self._connection = self._connect()
            with self._connection.begin():
                results = [self._take(self._connection, waiting) for waiting in batch]
        except Exception as error:  # Whatever it was, those who wait must be answered.
            reason = str(getattr(error, "orig", None) or error)
            results = [Failure(TemporarilyUnavailable())] * len(batch)
            if self._lasting:
                self._disconnect()
        self._reactor.callFromThread(self._done, results, reason)

    def _take(self, connection: sa.Connection, waiting: _Waiting) -> Any:
        """One step, undone alone where it fails by itself."""
        if waiting.deferred.called:
            # Given up while the connection was waited for: better not taken than not known of.
            return None
        try:
            if not self._savepoints:
                return waiting.step(connection, *waiting.arguments)
            with connection.begin_nested():
                return waiting.step(connection, *waiting.arguments)
        except sa.exc.IntegrityError:
            return Failure(AlreadyExists("that name is taken"))
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            # A value that cannot be bound is this step's fault, and no outage for the others.
            if isinstance(error, sa.exc.DataError) or type(error) is sa.exc.StatementError:
                return Failure()
            raise
        except Exception:
            return Failure()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
