"""One SQL database: opened, written, read, closed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from twisted.internet.defer import Deferred, DeferredList, fail, succeed

from ...errors import TemporarilyUnavailable
from ..invalidation import InvalidationFeed
from ..outage import Outage
from . import upgrade
from .engines import SQLite, engine_of, unusable
from .schema import HEAD
from .workers import Step, Worker

_T = TypeVar("_T")


class Database:
    """A database of any supported engine.

    :param reactor: provides IReactorTime and IReactorFromThreads.
    :param url: an SQLAlchemy URL; a relative SQLite path is taken from the current folder now.
    :raises ConfigurationError: the URL is not one, or of an engine that is not supported.
    """

    def __init__(self, reactor: Any, url: str) -> None:
        self._reactor = reactor
        #: The time, in seconds.
        self.seconds: Callable[[], float] = reactor.seconds
        self._engine = engine_of(url)
        self._writers: list[Worker] = []
        self._readers: list[Worker] = []
        self._watcher: Worker | None = None
        self._outages: dict[bool, Outage] = {}
        changes = self._engine.changes
        #: What has ended, by this process's steps and by others'.
        self.invalidation = InvalidationFeed(
            reactor, partial(self._watch, changes.poll) if changes else None
        )

    @property
    def path(self) -> Path | None:
        """The database's file, where it is one."""
        return self._engine.path if isinstance(self._engine, SQLite) else None

    def open(self, prepare: bool | None = None) -> None:
        """Open the database, at today's schema. Blocks; does nothing where it is open.

        :param prepare: whether a new or older database may be brought to today's schema; by default
            that is for SQLite alone, and on a server for its administrator to say.
        :raises ConfigurationError: it cannot be opened, or is not one of ours.
        """
        if self._writers:
            return
        prepare = self._engine.prepares_itself if prepare is None else prepare
        try:
            if prepare:
                self._engine.create()
            self._check_schema(prepare)
            self._engine.open()
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise unusable(self._engine, error) from None
        self._start_workers()

    def _check_schema(self, prepare: bool) -> None:
        with self._engine.connect(writes=True) as connection, connection.begin():
            found = upgrade.current(connection)
        if found == HEAD:
            return
        if not prepare:
            raise upgrade.unknown(found)
        with self._engine.connect(writes=True, patient=True) as connection, connection.begin():
            # Another process may have been faster.
            if upgrade.current(connection) != HEAD:
                upgrade.upgrade(connection)

    def _start_workers(self) -> None:
        engine = self._engine
        # Writes may fail where reads do not, but all that write fail together.
        self._outages = {writes: Outage(self._reactor, "The database") for writes in (False, True)}
        self._writers = [self._worker(f"write-{number}", True) for number in range(engine.writers)]
        self._readers = [self._worker(f"read-{number}", False) for number in range(engine.readers)]
        self.invalidation.start()

    def _worker(self, name: str, writes: bool) -> Worker:
        outage, tell = self._outages[writes], self.invalidation.publish
        return Worker(self._reactor, f"djoauth2-{name}", self._engine, writes, outage, tell)

    def _watch(self, poll: Step) -> Deferred[Any]:
        """What has ended since it was last asked, over a connection of its own."""
        if self._watcher is None:
            self._watcher = self._worker("watch", False)
        return self._watcher.submit(poll, ())

    def version(self) -> str | None:
        """The schema's version, without changing anything; None for a new database. Blocks.

        :raises ConfigurationError: the database cannot be read.
        """
        if not self._engine.exists():
            return None
        try:
            with self._engine.connect(writes=False) as connection:
                return upgrade.current(connection)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise unusable(self._engine, error) from None

    def connect(self) -> Deferred[None]:
        """All is done by `open`."""
        return succeed(None)

    def write(self, step: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        """Run a step in a transaction; the Deferred fires with its result once that is committed.

        Steps with the same first argument, where that is a name or digest, run one after the other:
        who would wait for each other's locks waits here instead.
        """
        worker = None
        if self._writers:
            key = arguments[0] if arguments else None
            place = hash(key) if isinstance(key, (str, bytes)) else 0
            worker = self._writers[place % len(self._writers)]
        return self._submit(worker, step, arguments)

    def read(self, step: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        """Run a step that only reads, beside the writer, on what is committed."""
        worker = min(self._readers or self._writers, key=len, default=None)
        return self._submit(worker, step, arguments)

    def _submit(self, worker: Worker | None, step: Step, arguments: tuple[Any, ...]) -> Deferred[Any]:
        if worker is None:
            return fail(TemporarilyUnavailable("the store is not open"))
        return worker.submit(step, arguments)

    def close(self) -> Deferred[None]:
        """Finish the steps that are under way, and close. Does nothing where it is not open."""
        self.invalidation.stop()
        workers = [*self._writers, *self._readers]
        if self._watcher is not None:
            workers.append(self._watcher)
        self._writers, self._readers, self._watcher = [], [], None
        return DeferredList([worker.stop() for worker in workers]).addCallback(lambda _: None)
