"""Which stores there are. No other module knows. A store is imported where its URL is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs
from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from ..clock import worker_reactor
from ..errors import ConfigurationError, concerning
from ..finding import Finding
from ..interfaces import IRegistry, ITokenStore
from ..models import SigningKey
from .outage import Report
from .pool import Pool

if TYPE_CHECKING:
    from .redis.connection import Redis
    from .sql.database import Database

_REDIS = ("redis://", "rediss://", "unix://", "redis+sentinel://")


class Opened(Protocol):
    """What must be opened before a store answers, and closed afterwards."""

    def open(self, prepare: bool | None = None) -> None:
        """Open what can be opened before the reactor runs. Blocks.

        :param prepare: whether a new or older database may be brought to today's schema; None leaves it
            to the engine.
        :raises ConfigurationError: it cannot be opened.
        """

    @property
    def name(self) -> str:
        """The URL or path, for people, without its password."""

    def connect(self, serves: bool = True) -> Deferred[None]:
        """Open what needs the reactor. Fails with `ConfigurationError`.

        :param serves: whether a server opens it, which records in the registry's database where the
            tokens are; a command does not.
        """

    def tokens_elsewhere(self) -> Deferred[str | None]:
        """Where a server keeps the tokens, if that is not where this looks for them.

        It is a URL or path without its password; empty where they are in the registry's database.
        """

    def files(self) -> list[Path]:
        """The files on this machine that it keeps secrets in, whether they are there yet or not."""

    def key_file(self) -> Path | None:
        """Where a key file is made if none is named: beside a SQLite file. None elsewhere."""

    def judge(self) -> Deferred[list[Finding]]:
        """Find out whether it could be opened, and what an operator should change. It never fails.

        Nothing is changed, and a new database is not made. An SQL database blocks.
        """

    def signing_keys_at_rest(self) -> list[SigningKey]:
        """The keys that sign ID tokens, read before it is opened. Blocks, changes nothing.

        The list is empty where it cannot be read, which `judge` says.
        """

    def report_outages(self, report: Report) -> None:
        """Report the begin and the end of outages in this way, and not by a line of the log.

        It is called before `open`.
        """

    def version(self) -> str | None:
        """The schema's version before it is opened; None for a new database. Blocks, changes nothing."""

    def check_writable(self) -> Deferred[None]:
        """Write something. Fails with `TemporarilyUnavailable` where a store can only be read."""

    def pools(self) -> list[Pool]:
        """The load of the connections now."""

    def invalidation_lag(self) -> float | None:
        """How old the token store's invalidation feed is, in seconds; see `InvalidationFeed.lag`."""

    def close(self) -> Deferred[None]:
        """Finish the steps that were begun, and close."""


def from_url(
    reactor: IReactorTime, url: str, token_store: str | None = None
) -> tuple[Opened, IRegistry, ITokenStore]:
    """What must be opened, the registry and the token store.

    :param reactor: provides `IReactorTime`, `IReactorFromThreads` and, for Redis, the interfaces that
        connect.
    :param url: the SQLAlchemy URL of the registry, and of the tokens where ``token_store`` is not given.
    :param token_store: an SQLAlchemy URL, or one that begins with ``redis://``, ``rediss://``,
        ``unix://`` or ``redis+sentinel://``.
    :raises ConfigurationError: a URL cannot be read, or its store is not supported.
    """
    from .sql.database import Database
    from .sql.registry import SQLRegistry
    from .sql.tokens import SQLTokenStore

    with concerning("database"):
        database = Database(worker_reactor(reactor), url)
    registry = SQLRegistry(database)
    if not token_store:
        return database, registry, SQLTokenStore(database)
    with concerning("token_store"):
        if not token_store.startswith(_REDIS):
            second = Database(worker_reactor(reactor), token_store)
            if second.location == database.location:
                return database, registry, SQLTokenStore(database)
            return _Both(database, second), registry, SQLTokenStore(second)
        try:
            from .redis.connection import Redis
            from .redis.tokens import RedisTokenStore
        except ImportError:
            raise ConfigurationError(
                "Redis needs a driver: pip install 'djoauth2-twisted[redis]'"
            ) from None
        redis = Redis(reactor, token_store)
        return _Both(database, redis), registry, RedisTokenStore(redis)


def refuse_processes(url: str, token_store: str | None) -> None:
    """Refuse stores that are for one process.

    SQLite has one writer at a time, and processes of one server would only wait for each other.

    :raises ConfigurationError: one of them is SQLite. The message says what to use.
    """
    for each, option in ((url, "--database"), (token_store or "", "--token-store")):
        if _is_sqlite(each):
            raise ConfigurationError(
                f"{option} is SQLite, which is for one process: use PostgreSQL, MySQL or MariaDB"
            )


def _is_sqlite(url: str) -> bool:
    # The name of a driver may follow: ``sqlite+pysqlite://``.
    return url.partition(":")[0].partition("+")[0] == "sqlite"


def read_ahead(url: str) -> None:
    """Read what the opening of a database may need, for a process that may not read it later."""
    if _is_sqlite(url):
        from .sql.upgrade import read_migrations

        read_migrations()


def copy_database(source: str, target: str) -> dict[str, int]:
    """Copy everything from one SQL database into another, which is prepared and empty. Blocks.

    :returns: how many rows each table had.
    :raises ConfigurationError: one of the databases cannot be used, or the target is not empty.
    """
    from .sql.copying import copy

    return copy(source, target)


def back_up_database(url: str, file: str) -> str | None:
    """Copy a SQLite database, as it is at one moment, into a file. Blocks.

    Servers may use the database meanwhile. The file gets the database's owner and mode. It is there
    whole or not at all, in the place of one that was there.

    :returns: where the server keeps the tokens, if that is elsewhere, so that they are not in the file.
    :raises ConfigurationError: the database has its own tools, which the message names; or it cannot be
        read, or the file not be written.
    """
    from .sql.backup import back_up

    return back_up(url, file)


def restore_database(url: str, file: str) -> bool:
    """Put a backup into a SQLite database, in one step, while servers may use it. Blocks.

    :returns: False where the database's file was damaged or missing, and is another one now: a server
        that has it open must be started again.
    :raises ConfigurationError: as of `back_up_database`. The database is not changed.
    """
    from .sql.backup import restore

    return restore(url, file)


@frozen
class _Both:
    """A registry and a token store that are in two databases."""

    _registry: Database
    _tokens: Database | Redis

    @property
    def name(self) -> str:
        return self._registry.name

    def open(self, prepare: bool | None = None) -> None:
        with concerning("database"):
            self._registry.open(prepare)
        with concerning("token_store"):
            self._tokens.open(prepare)

    def connect(self, serves: bool = True) -> Deferred[None]:
        return Deferred.fromCoroutine(self._connect(serves))

    async def _connect(self, serves: bool) -> None:
        with concerning("token_store"):
            await self._tokens.connect(serves=False)
        if serves:
            await self._registry.record_place(self._tokens.name)

    def tokens_elsewhere(self) -> Deferred[str | None]:
        return self._registry.tokens_elsewhere(self._tokens.name)

    def files(self) -> list[Path]:
        return [*self._registry.files(), *self._tokens.files()]

    def key_file(self) -> Path | None:
        return self._registry.key_file()

    def judge(self) -> Deferred[list[Finding]]:
        return Deferred.fromCoroutine(self._judge())

    async def _judge(self) -> list[Finding]:
        registry = await self._registry.judge(self._tokens.name)
        tokens = await self._tokens.judge(place=None)
        return [
            *(attrs.evolve(each, about=each.about or "database") for each in registry),
            *(attrs.evolve(each, about=each.about or "token_store") for each in tokens),
        ]

    def signing_keys_at_rest(self) -> list[SigningKey]:
        return self._registry.signing_keys_at_rest()

    def report_outages(self, report: Report) -> None:
        self._registry.report_outages(report)
        self._tokens.report_outages(report)

    def version(self) -> str | None:
        return self._registry.version()

    def check_writable(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._check_writable())

    async def _check_writable(self) -> None:
        await self._registry.check_writable()
        await self._tokens.check_writable()

    def pools(self) -> list[Pool]:
        of_tokens = [attrs.evolve(pool, name=f"token {pool.name}") for pool in self._tokens.pools()]
        return [*self._registry.pools(), *of_tokens]

    def invalidation_lag(self) -> float | None:
        return self._tokens.invalidation_lag()

    def close(self) -> Deferred[None]:
        closing = gatherResults([self._registry.close(), self._tokens.close()])
        return closing.addCallback(lambda _: None)
