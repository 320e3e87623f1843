"""Which stores there are. No other module knows. A store is imported where its URL is opened."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults

from ..errors import ConfigurationError, concerning
from ..interfaces import IRegistry, ITokenStore

_REDIS = ("redis://", "rediss://", "unix://", "redis+sentinel://")


class Opened(Protocol):
    """What must be opened before a store answers, and closed afterwards."""

    def open(self, prepare: bool | None = None) -> None:
        """Open what can be opened before the reactor runs. Blocks.

        :param prepare: whether a new or older database may be brought to today's schema; None leaves it
            to the engine.
        :raises ConfigurationError: it cannot be opened.
        """

    def connect(self) -> Deferred[None]:
        """Open what needs the reactor. Fails with `ConfigurationError`."""

    def version(self) -> str | None:
        """The schema's version before it is opened; None for a new database. Blocks, changes nothing."""

    def close(self) -> Deferred[None]:
        """Finish the steps that were begun, and close."""


def from_url(
    reactor: Any, url: str, token_store: str | None = None
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
        database = Database(reactor, url)
    registry = SQLRegistry(database)
    if not token_store or token_store == url:
        return database, registry, SQLTokenStore(database)
    with concerning("token_store"):
        if not token_store.startswith(_REDIS):
            second = Database(reactor, token_store)
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


def read_ahead(url: str) -> None:
    """Read what the opening of a database may need, for a process that may not read it later."""
    if url.startswith("sqlite:"):
        from .sql.upgrade import read_migrations

        read_migrations()


def copy_database(source: str, target: str) -> dict[str, int]:
    """Copy everything from one SQL database into another, which is prepared and empty. Blocks.

    :returns: how many rows each table had.
    :raises ConfigurationError: one of the databases cannot be used, or the target is not empty.
    """
    from .sql.copying import copy

    return copy(source, target)


@frozen
class _Both:
    """A registry and a token store that are in two databases."""

    _database: Opened
    _token_store: Opened

    def open(self, prepare: bool | None = None) -> None:
        with concerning("database"):
            self._database.open(prepare)
        with concerning("token_store"):
            self._token_store.open(prepare)

    def connect(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._connect())

    async def _connect(self) -> None:
        await self._database.connect()
        with concerning("token_store"):
            await self._token_store.connect()

    def version(self) -> str | None:
        return self._database.version()

    def close(self) -> Deferred[None]:
        closing = gatherResults([self._database.close(), self._token_store.close()])
        return closing.addCallback(lambda _: None)
