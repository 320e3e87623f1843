"""One SQL database: opened, written, read, closed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.logger import Logger

from ...clock import IWorkerReactor
from ...credentials import random_string
from ...errors import AlreadyExists, ConfigurationError, TemporarilyUnavailable
from ...events import write_line
from ...finding import Finding
from ...models import SigningKey
from ..invalidation import InvalidationFeed
from ..outage import Outage, Report
from ..pool import Pool
from . import token_place, upgrade, writability
from .engines import engine_of
from .engines.engine import clock_findings, unusable
from .schema import HEAD
from .workers import Step, Worker

_T = TypeVar("_T")


class Database:
    """A database of any supported engine.

    :param url: an SQLAlchemy URL; a relative SQLite path is taken from the current folder now.
    :raises ConfigurationError: the URL cannot be read, or its engine is not supported.
    """

    _log = Logger()

    def __init__(self, reactor: IWorkerReactor, url: str) -> None:
        self._reactor = reactor
        #: The time, in seconds.
        self.seconds: Callable[[], float] = reactor.seconds
        self._engine = engine_of(url)
        self._writers: list[Worker] = []
        self._readers: list[Worker] = []
        self._watcher: Worker | None = None
        self._outages: dict[bool, Outage] = {}
        self._lease = f"writable {random_string(22)}"
        self._report: Report = write_line
        channel = self._engine.invalidations
        #: The partitions in which any process has ended access tokens or changed clients.
        self.invalidation = InvalidationFeed(
            reactor, partial(self._watch, channel.poll) if channel else None
        )

    @property
    def name(self) -> str:
        """The database, for people, without its password."""
        return self._engine.name

    @property
    def location(self) -> Hashable:
        """Equal for two that are the same database, as far as can be known without a connection."""
        return self._engine.location

    @property
    def path(self) -> Path | None:
        """The database's file, where it is one."""
        return self._engine.path

    def files(self) -> list[Path]:
        """The files in which the database keeps secrets; none where it is a server."""
        path = self.path
        return [] if path is None else [Path(f"{path}{ending}") for ending in ("", "-wal", "-shm")]

    def key_file(self) -> Path | None:
        """Where a key file is made if none is named; None if the database is not a file."""
        return None if self.path is None else Path(f"{self.path}.key")

    def judge(self, place: str | None = token_place.HERE) -> Deferred[list[Finding]]:
        """Judge the database, which is not opened and not changed. Blocks.

        :param place: see `judging.judge`.
        """
        # It needs the users, which need this module.
        from .judging import judge

        return succeed(judge(self._engine, place))

    def signing_keys_at_rest(self) -> list[SigningKey]:
        """The signing keys, of a database that is not opened; see `judging.read_signing_keys`."""
        from .judging import read_signing_keys

        return read_signing_keys(self._engine)

    def open(self, prepare: bool | None = None) -> None:
        """Open the database, which must have today's schema. Blocks; does nothing where it is open.

        :param prepare: whether a new or older database may be brought to today's schema. By default only
            SQLite's may; that of a server is prepared by its administrator.
        :raises ConfigurationError: the database cannot be opened, or has an unknown schema.
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
        try:
            self._start_workers()
        except RuntimeError as error:
            self.close()
            raise unusable(self._engine, error) from None

    def _check_schema(self, prepare: bool) -> None:
        with self._engine.connect(writes=True) as connection, connection.begin():
            findings = self._engine.judge(connection) + clock_findings(self._engine, connection)
            for finding in findings:
                self._log.warn("{warning}.", warning=finding.text)
            found = upgrade.current(connection)
        if found == HEAD:
            return
        if not prepare:
            raise upgrade.unknown(found)
        with self._engine.connect(writes=True, patient=True) as connection, connection.begin():
            # Another process may have been faster.
            if upgrade.current(connection) != HEAD:
                keep_copy = partial(self._keep_copy, found)
                upgrade.upgrade(connection, self._engine.table_options, keep_copy)

    def _keep_copy(self, version: str | None) -> None:
        kept = self._engine.keep_copy(f"before-{HEAD}")
        if kept is not None:
            self._log.info(
                "The database is upgraded from schema {upgraded_from} to {version}; "
                "as it was before, it is kept in {kept}",
                upgraded_from=version,
                version=HEAD,
                kept=kept,
            )

    def report_outages(self, report: Report) -> None:
        """See `stores.urls.Opened`."""
        self._report = report

    def _start_workers(self) -> None:
        engine = self._engine
        # Writing may fail where reading does not. All writers fail together, and so do all readers.
        self._outages = {
            writes: Outage(self._reactor, "The database", self._report) for writes in (False, True)
        }
        # One by one: those that were started are ended where the system has no thread for the next.
        for number in range(engine.writers):
            self._writers.append(self._worker(f"write-{number}", True))
        for number in range(engine.readers):
            self._readers.append(self._worker(f"read-{number}", False))
        self.invalidation.start()

    def _worker(self, name: str, writes: bool) -> Worker:
        outage, invalidate = self._outages[writes], self.invalidation.publish
        return Worker(self._reactor, f"djoauth2-{name}", self._engine, writes, outage, invalidate)

    def _watch(self, poll: Step) -> Deferred[Any]:
        """Poll for the invalidations of other processes, over a separate connection."""
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

    def connect(self, serves: bool = True) -> Deferred[None]:
        """Record that the tokens are here, if a server opens the database; `open` has done the rest."""
        return self.record_place(token_place.HERE) if serves else succeed(None)

    def record_place(self, place: str) -> Deferred[None]:
        """Record where the tokens are, for the commands.

        The Deferred fails with `ConfigurationError` where the database does not answer.
        """
        return Deferred.fromCoroutine(self._record_place(place))

    async def _record_place(self, place: str) -> None:
        try:
            before = await self.read(token_place.find)
            if before == place:
                return
            # Where it fails so, another server starts at this moment.
            with suppress(AlreadyExists):
                await self.write(token_place.record, place, key="token place")
        except TemporarilyUnavailable:
            raise ConfigurationError(f"the database {self.name} does not answer") from None
        if before is not None:
            self._log.warn(
                "The tokens are in {place} from now on. Those in {before} are no longer valid.",
                place=place or self.name,
                before=before or self.name,
            )

    def tokens_elsewhere(self, here: str = token_place.HERE) -> Deferred[str | None]:
        """The place of the tokens that a server has recorded, if that is not ``here``."""

        def differing(place: str | None) -> str | None:
            return None if place == here else place

        return self.read(token_place.find).addCallback(differing)

    def check_writable(self) -> Deferred[None]:
        """Write a row. The Deferred fails with `TemporarilyUnavailable` where that is not possible."""
        if self.path is not None and not writability.has_space(self.path):
            return fail(TemporarilyUnavailable("there is no space"))
        return self.write(writability.write, self._lease, int(self.seconds()), key=self._lease)

    def pools(self) -> list[Pool]:
        """The load of the workers, which have one connection each."""
        named = (("write", self._writers), ("read", self._readers))
        return [_pool(name, workers) for name, workers in named if workers]

    def invalidation_lag(self) -> float | None:
        """See `InvalidationFeed.lag`."""
        return self.invalidation.lag()

    def write(self, step: Callable[..., _T], *arguments: Any, key: str | bytes) -> Deferred[_T]:
        """Run a step in a transaction. The Deferred fires with its result once that is committed.

        :param key: steps with the same key run one after the other, in the order of the calls. Steps
            with different keys may run at once, in different threads. Choose the key so that two steps
            that lock the same rows have the same one: the second then waits here, and not in the
            database, where it could meet a deadlock.
        """
        worker = self._writers[hash(key) % len(self._writers)] if self._writers else None
        return self._submit(worker, step, arguments)

    def read(self, step: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        """Run a step that only reads what is committed, while others write."""
        worker = min(self._readers or self._writers, key=len, default=None)
        return self._submit(worker, step, arguments)

    def _submit(self, worker: Worker | None, step: Step, arguments: tuple[Any, ...]) -> Deferred[Any]:
        if worker is None:
            return fail(TemporarilyUnavailable("the store is not open"))
        return worker.submit(step, arguments)

    def close(self) -> Deferred[None]:
        """Finish the steps that were submitted, and close. Does nothing where it is not open."""
        self.invalidation.stop()
        workers = [*self._writers, *self._readers]
        if self._watcher is not None:
            workers.append(self._watcher)
        self._writers, self._readers, self._watcher = [], [], None
        stopping = DeferredList([worker.stop() for worker in workers])
        return stopping.addCallback(lambda _: self._engine.close())


def _pool(name: str, workers: list[Worker]) -> Pool:
    return Pool(
        name,
        connections=sum(worker.is_connected for worker in workers),
        busy=sum(worker.is_busy for worker in workers),
        waiting=sum(worker.waiting for worker in workers),
    )


@frozen
class OnDatabase:
    """The base of the classes that provide one interface each on a database."""

    database: Database
