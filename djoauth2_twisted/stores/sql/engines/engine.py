"""What a `Database` and its workers ask of an engine."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any, Protocol

import sqlalchemy as sa

from ....errors import ConfigurationError
from ....finding import Finding
from ...drift import judge_clock

#: How long SQLite waits for a lock on the file, and a server for a lock or a statement, in seconds. It
#: is shorter than a step's deadline, so that the thread is free again when its requests are answered.
WAIT = 1.0

EXAMPLES = (
    "write the URL like sqlite:///djoauth2.db, postgresql://user:password@host/database "
    "or mysql://user:password@host/database"
)

#: Said where a URL has more than one ``@``.
AT_SIGN = "in a name or password write @ as %40, : as %3A and / as %2F"


class WorkerConnection(Protocol):
    """The connection of a worker, which is replaced when it is lost.

    All but `interrupt` is called in the worker's thread.
    """

    #: None before the first, and after one was lost.
    connection: sa.Connection | None

    def connect(self) -> sa.Connection:
        """The connection; a new one where there is none."""

    def check(self) -> None:
        """Raise OSError where the connection does not lead to the database of now any more."""

    def interrupt(self) -> None:
        """Free the worker's thread where it hangs on the connection. Called in another thread."""

    def disconnect(self) -> None:
        """Close the connection, if there is one."""


class InvalidationChannel(Protocol):
    """How one process tells the others on its database in which partitions access tokens ended."""

    def publish(self, connection: sa.Connection, partitions: Iterable[int]) -> None:
        """Name these partitions to the others if, and when, the connection's transaction commits."""

    def poll(self, connection: sa.Connection) -> set[int] | None:
        """The partitions that were named since this connection last asked; None at its first time."""


class Engine(Protocol):
    """A database of one kind."""

    #: How many threads write at once, and how many read.
    writers: int
    readers: int
    #: Whether a new or older database is prepared at its opening, without the administrator.
    prepares_itself: bool
    #: Whether a failed connection is replaced by a new one.
    reconnects: bool
    #: Whether nothing but this object can ever connect to the database.
    is_private: bool
    #: The base class of the errors that the driver raises.
    driver_error: type[Exception]
    #: Arguments of SQLAlchemy for each table that is created.
    table_options: Mapping[str, Any]
    #: A query for the time of the server, in seconds since 1970; empty for SQLite.
    clock: str
    #: The engine's own commands for a backup and for its restore; empty for SQLite.
    backup_tools: Sequence[str]

    @property
    def invalidations(self) -> InvalidationChannel | None:
        """None where no other process can use the database."""

    @property
    def name(self) -> str:
        """The database, for people, without its password."""

    @property
    def path(self) -> Path | None:
        """The database's file, where it is one."""

    @property
    def location(self) -> Hashable:
        """Equal for two engines on the same database, as far as can be known without a connection."""

    def exists(self) -> bool:
        """Whether there is a database that could be connected to."""

    def create(self) -> None:
        """Create the database's file, where it is one."""

    def keep_copy(self, ending: str) -> Path | None:
        """Copy the database's file to one beside it, whose name has the ending, and say its path.

        Others cannot write meanwhile: the caller's transaction does. None where there is no file.
        """

    def remove(self) -> None:
        """Remove what `create` has created."""

    def open(self) -> None:
        """Note what worker connections compare with in their `check`."""

    def close(self) -> None:
        """Close what no worker has closed. The workers have ended."""

    def connect(self, writes: bool, patient: bool = False) -> sa.Connection:
        """A new connection.

        :param patient: without deadlines, for changes of the schema.
        """

    def connect_to_look(self) -> sa.Connection:
        """A connection that changes nothing: no row, and no file beside the database."""

    def judge(self, connection: sa.Connection) -> list[Finding]:
        """Ask the database for what the stores rely on: its encoding, version and settings.

        :param connection: one that writes, in a transaction; or one that only looks, which SQLite
            cannot tell everything.
        :returns: a warning for each setting that makes answers less durable than they should be.
        :raises ConfigurationError: the database cannot be used as it is.
        """

    def connect_to_copy(self) -> sa.Connection:
        """A patient connection whose transaction sees the whole database as it is at one moment."""

    def worker_connection(self, writes: bool) -> WorkerConnection:
        """A connection for a worker. It connects when it is first used."""

    def is_conflict(self, error: Exception) -> bool:
        """Whether a transaction was rolled back because of another one, and may be tried again."""


class Displaced(OSError):
    """A file that the connection has open is no longer where others look for it.

    The connection is the last that has the file, and is kept.
    """


def reason_of(error: Exception) -> str:
    """What a database or the system says of an error, in one line and without what was asked."""
    if isinstance(error, MemoryError):
        return "the system is out of memory"
    reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
    return (str(reason).strip().splitlines() or [type(error).__name__])[0]


def clock_findings(engine: Engine, connection: sa.Connection) -> list[Finding]:
    """Compare the clock of a database server with ours."""
    if not engine.clock:
        return []
    before = time()
    theirs = float(connection.exec_driver_sql(engine.clock).scalar_one())
    return judge_clock(f"the database {engine.name}", theirs, before, time())


def unusable(engine: Engine, error: Exception) -> ConfigurationError:
    """The error for a database that cannot be connected to, read or prepared."""
    return ConfigurationError(f"the database {engine.name} cannot be used: {reason_of(error)}")
