"""Which stores there are. Nothing else knows; an engine's code is imported when its URL is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults

from ..errors import ConfigurationError
from ..interfaces import IRegistry, ITokenStore

_REDIS = ("redis://", "rediss://", "unix://", "redis+sentinel://")


class Opened(Protocol):
    """What has to be opened before a store answers, and closed after it."""

    def open(self, prepare: bool | None = None) -> None:
        """Open what can be opened before the reactor runs; blocks.

        :raises ConfigurationError: that cannot be.
        """

    def connect(self) -> Deferred[None]:
        """Open what needs the reactor. Fails with `ConfigurationError`."""

    def version(self) -> str | None:
        """The schema's version, while it is not open; None for a new one. Blocks, changes nothing."""

    def close(self) -> Deferred[None]:
        """Finish what is under way, and close."""


def from_url(
    reactor: Any, url: str, token_store: str | None = None
) -> tuple[Opened, IRegistry, ITokenStore]:
    """What is to be opened, and the two stores that are in it.

    :param url: an SQLAlchemy URL of the registry and, where nothing else is said, of the tokens.
    :param token_store: an SQLAlchemy URL, or one that begins with ``redis://``, ``rediss://``,
        ``unix://`` or ``redis+sentinel://``.
    :raises ConfigurationError: no store has such URLs.
    """
    from .sql.database import Database
    from .sql.registry import SQLRegistry
    from .sql.tokens import SQLTokenStore

    database = Database(reactor, url)
    registry = SQLRegistry(database)
    if not token_store or token_store == url:
        return database, registry, SQLTokenStore(database)
    if not token_store.startswith(_REDIS):
        second = Database(reactor, token_store)
        return _Both([database, second]), registry, SQLTokenStore(second)
    try:
        from .redis.connection import Redis
        from .redis.tokens import RedisTokenStore
    except ImportError:
        raise ConfigurationError("Redis needs a driver: pip install 'djoauth2-twisted[redis]'") from None
    redis = Redis(reactor, token_store)
    return _Both([database, redis]), registry, RedisTokenStore(redis)


def copy_database(source: str, target: str) -> dict[str, int]:
    """Copy everything from one SQL database into another, which is prepared and empty. Blocks.

    Returns how many rows each table had.

    :raises ConfigurationError: one of them cannot be used, or the target is not empty.
    """
    from .sql.copying import copy

    return copy(source, target)


@frozen
class _Both:
    """A registry and a token store that are not in one database."""

    _parts: Sequence[Opened]

    def open(self, prepare: bool | None = None) -> None:
        for part in self._parts:
            part.open(prepare)

    def connect(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._connect())

    async def _connect(self) -> None:
        for part in self._parts:
            await part.connect()

    def version(self) -> str | None:
        return self._parts[0].version()

    def close(self) -> Deferred[None]:
        return gatherResults([part.close() for part in self._parts]).addCallback(lambda _: None)
