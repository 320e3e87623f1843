"""Which stores there are. Nothing else knows; an engine's code is imported when its URL is opened."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ..interfaces import IRegistry, ITokenStore


class Opened(Protocol):
    """What has to be opened before a store answers, and closed after it."""

    def open(self, prepare: bool | None = None) -> None:
        """Open; blocks. Raises `ConfigurationError` where that cannot be."""

    def version(self) -> str | None:
        """The schema's version, while it is not open; None for a new one. Blocks, changes nothing."""

    def close(self) -> Deferred[None]:
        """Finish what is under way, and close."""


def from_url(reactor: Any, url: str) -> tuple[Opened, IRegistry, ITokenStore]:
    """A database, not yet open, and the two stores in it.

    :param url: an SQLAlchemy URL.
    :raises ConfigurationError: no store has such URLs.
    """
    from .sql.database import Database
    from .sql.registry import SQLRegistry
    from .sql.tokens import SQLTokenStore

    database = Database(reactor, url)
    return database, SQLRegistry(database), SQLTokenStore(database)
