"""How one process tells the others on its database that access tokens have ended.

Grants are dealt out among a thousand parts, and what is told is in which of them something ended: so
little is written, and read, however many grants there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol
from zlib import crc32

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from ...errors import ConfigurationError
from . import schema

#: So many that one ending is seldom mistaken for another's, and so few that their counters fit on two
#: pages, and all their numbers into one notification.
PARTS = 1024

CHANNEL = "djoauth2_ended"

#: Where a connection holds what its transaction ends, and what it was told before.
_ENDED = "djoauth2_ended"
_KNOWN = "djoauth2_known"


def partition(grant_id: str) -> int:
    """The part that a grant is in."""
    return crc32(grant_id.encode("utf-8", "surrogateescape")) % PARTS


def collect(connection: sa.Connection, ended: set[int]) -> None:
    """Have noted in ``ended`` what the connection's transaction ends."""
    connection.info[_ENDED] = ended


def note(connection: sa.Connection, parts: Iterable[int]) -> None:
    """The transaction ends access tokens in these parts."""
    connection.info[_ENDED].update(parts)


class Changes(Protocol):
    """What an engine has to tell other processes by."""

    def publish(self, connection: sa.Connection, parts: Iterable[int]) -> None:
        """Tell of these parts if the transaction is committed, and when it is."""

    def poll(self, connection: sa.Connection) -> set[int] | None:
        """In which parts something ended since this connection last asked. None at the first time."""


class Counters:
    """A counter for each part, which is raised in the transaction itself."""

    def __init__(self, raised: Any) -> None:
        #: Raises a counter that is there already. Without a parameter, so that PyMySQL sends all rows
        #: at once.
        self._raise = raised

    def publish(self, connection: sa.Connection, parts: Iterable[int]) -> None:
        # Last in the transaction and in one order everywhere, so that nobody waits in a circle.
        connection.execute(self._raise, [{"part": part, "counter": 1} for part in sorted(parts)])

    def poll(self, connection: sa.Connection) -> set[int] | None:
        known, found = connection.info.get(_KNOWN), self._read(connection)
        connection.info[_KNOWN] = found
        return None if known is None else {int(entry.split()[0]) for entry in found - known}

    def _read(self, connection: sa.Connection) -> frozenset[str]:
        # All in one text, since a thousand rows cost a driver written in Python some milliseconds.
        return frozenset((connection.scalar(_COUNTERS) or "").split(",")) - {""}


_change = schema.change
_COUNTERS = sa.select(
    sa.func.group_concat(
        sa.cast(_change.c.part, sa.String).concat(" ").concat(sa.cast(_change.c.counter, sa.String))
    )
)
_ONE_MORE: dict[str, Any] = {"counter": sa.literal_column("djoauth2_change.counter + 1")}


class MySQLCounters(Counters):
    """Counters that are read as often as anybody asks."""

    def __init__(self) -> None:
        # A MiB that other engines have no use for.
        from sqlalchemy.dialects import mysql

        super().__init__(mysql.insert(_change).on_duplicate_key_update(**_ONE_MORE))

    def poll(self, connection: sa.Connection) -> set[int] | None:
        if _KNOWN not in connection.info:
            # MySQL cuts at 1024 bytes.
            connection.exec_driver_sql("SET SESSION group_concat_max_len = 65536")
        return super().poll(connection)


class SQLiteCounters(Counters):
    """Counters that are read only where SQLite says that anything was written."""

    _VERSION = "djoauth2_data_version"

    def __init__(self) -> None:
        raised = sqlite.insert(_change).on_conflict_do_update(index_elements=["part"], set_=_ONE_MORE)
        super().__init__(raised)

    def poll(self, connection: sa.Connection) -> set[int] | None:
        version = connection.exec_driver_sql("PRAGMA data_version").scalar()
        if connection.info.get(self._VERSION) == version:
            return set()
        connection.info[self._VERSION] = version
        return super().poll(connection)


def is_pooled(connection: Any) -> bool:
    """Whether a pooler stands before PostgreSQL: then the backend is not the one that we were told of.

    :param connection: psycopg's.
    """
    (backend,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    return bool(backend != connection.info.backend_pid)


class Notifications:
    """PostgreSQL's own, which are sent by a commit."""

    def publish(self, connection: sa.Connection, parts: Iterable[int]) -> None:
        # All parts together have 5000 digits and commas, and 7999 are allowed.
        payload = ",".join(map(str, parts))
        connection.execute(_NOTIFY, {"payload": payload})

    def poll(self, connection: sa.Connection) -> set[int] | None:
        received: list[str] | None = connection.info.get(_KNOWN)
        if received is None:
            self._listen(connection)
            return None
        # What was notified before the first of them is sent before the second is answered.
        for _ in range(2):
            connection.exec_driver_sql("SELECT 1")
        payloads = received[:]
        received.clear()
        return {int(part) for payload in payloads for part in payload.split(",")}

    def _listen(self, connection: sa.Connection) -> None:
        raw: Any = connection.connection.driver_connection
        # A pooler that gives us another backend for each transaction gives us no notification.
        if is_pooled(raw):
            raise ConfigurationError("a pooler stands before PostgreSQL, and LISTEN needs a session")
        received: list[str] = []
        raw.add_notify_handler(lambda notification: received.append(notification.payload))
        connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        connection.info[_KNOWN] = received


_NOTIFY = sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("payload")))
