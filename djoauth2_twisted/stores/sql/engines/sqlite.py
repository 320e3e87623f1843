"""SQLite: a file, or memory."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from ....errors import ConfigurationError
from ....finding import Finding
from .. import schema
from . import engine
from .counters import RAISED, Counters
from .engine import Displaced, InvalidationChannel, WorkerConnection
from .sqlite_files import COMPANIONS, copy_file

#: The first version that removes columns, as a migration does.
_OLDEST = (3, 35)

_READ_ONLY = "PRAGMA query_only=ON"
_DURABLE = "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"


def from_url(url: sa.URL) -> SQLite:
    """The engine of a URL such as ``sqlite:///djoauth2.db``.

    :raises ConfigurationError: the URL has more than a path.
    """
    if url.query:
        raise ConfigurationError("a SQLite URL takes no options: write it like sqlite:///djoauth2.db")
    # sqlite://djoauth2.db names a host and no file: SQLAlchemy would open a database in memory.
    if url.host or url.username or not (url.database or "").isprintable():
        raise ConfigurationError("a SQLite URL has three slashes and a path: sqlite:///djoauth2.db")
    if url.database in {None, "", ":memory:"}:
        return SQLite(None)
    return SQLite(Path(os.path.abspath(str(url.database))))


class SQLite:
    """A database of SQLite. One thread writes, as SQLite lets one connection write at a time.

    :param path: the file; None for a database in memory.
    """

    writers = 1
    prepares_itself = True
    driver_error: type[Exception] = sqlite3.Error
    table_options: Mapping[str, Any] = {}
    backup_tools: Sequence[str] = ()
    clock = ""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.is_private = path is None
        #: In memory the one connection is the database: it reads, too, and is never replaced.
        self.readers = 2 if path else 0
        self.reconnects = path is not None
        self.invalidations: InvalidationChannel | None = SQLiteCounters() if path else None
        self._memory: sa.Engine | None = None
        self._identity: tuple[int, int] | None = None
        self._counting = threading.Lock()
        self._connections = 0
        self._log_identity: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        return str(self.path or "in memory")

    @property
    def location(self) -> Hashable:
        # A symbolic link leads to the same file.
        return self.path.resolve() if self.path else id(self)

    def exists(self) -> bool:
        return self.path is None or self.path.exists()

    def create(self) -> None:
        """Create a file that its owner alone may read; SQLite gives its companions the same mode."""
        if self.path is not None:
            # It may exist, or another process that starts now was faster.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def keep_copy(self, ending: str) -> Path | None:
        if self.path is None:
            return None
        kept = self.path.with_name(f"{self.path.name}.{ending}")
        copy_file(self.path, kept)
        return kept

    def remove(self) -> None:
        if self.path is not None:
            for ending in ("", *COMPANIONS):
                Path(f"{self.path}{ending}").unlink(missing_ok=True)

    def open(self) -> None:
        if self.path is not None:
            self._identity = _identify(self.path)

    def close(self) -> None:
        """Close the connection to memory. A worker that has used it has closed it already."""
        if self._memory is not None:
            self._memory.dispose()
            self._memory = None

    def connect(self, writes: bool, patient: bool = False) -> sa.Connection:
        """A connection to the file. It never creates one: a file that vanished is not empty."""
        if self.path is None:
            self._memory = self._memory or self._engine("BEGIN", ":memory:", ())
            return self._memory.connect()
        # A reader of a WAL needs no setting for it, and must not change the file's own.
        pragmas = _DURABLE if writes else (_READ_ONLY,)
        begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        return self._engine(begin, f"file:{quote(str(self.path))}?mode=rw", pragmas).connect()

    def connect_to_look(self) -> sa.Connection:
        assert self.path is not None, "a database in memory has nothing to look at"
        # SQLite would create the files beside a database for a reader, too. They are there while others
        # have it open, or where the last one was killed; otherwise no process writes.
        is_used = all(Path(f"{self.path}{ending}").exists() for ending in COMPANIONS)
        how = "mode=ro" if is_used else "immutable=1"
        address = f"file:{quote(str(self.path))}?{how}"
        return self._engine("BEGIN", address, (_READ_ONLY,)).connect()

    def judge(self, connection: sa.Connection) -> list[Finding]:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise ConfigurationError(f"SQLite is {sqlite3.sqlite_version} here: 3.35 or newer is needed")
        if self.path is None:
            return []
        encoding = connection.exec_driver_sql("PRAGMA encoding").scalar()
        if encoding != "UTF-8":
            raise ConfigurationError(f"the file has the encoding {encoding}: UTF-8 is needed")
        # Who only looks cannot turn the log on.
        writes = not connection.exec_driver_sql("PRAGMA query_only").scalar()
        if writes and connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
            raise ConfigurationError("the file cannot have a write-ahead log: is it on a network drive?")
        return []

    def connect_to_copy(self) -> sa.Connection:
        return self.connect(writes=True, patient=True)

    def _engine(self, begin: str, address: str, pragmas: tuple[str, ...]) -> sa.Engine:
        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                address, uri=True, timeout=engine.WAIT, isolation_level=None, check_same_thread=False
            )
            try:
                for pragma in pragmas:
                    _execute(connection, pragma)
            except sqlite3.Error:
                connection.close()
                raise
            return connection

        pool = sa.pool.StaticPool if self.path is None else sa.pool.NullPool
        # Parameters are digests and names, and an error's text may end in a log.
        made = sa.create_engine("sqlite://", creator=connect, hide_parameters=True, poolclass=pool)
        sa.event.listen(made, "begin", lambda connection: connection.exec_driver_sql(begin))
        return made

    def worker_connection(self, writes: bool) -> WorkerConnection:
        return SQLiteConnection(self, writes)

    def connect_counted(self, writes: bool) -> sa.Connection:
        """A connection that is counted until `disconnected` is called."""
        with self._counting:
            self.check()
            connection = self.connect(writes)
            if self.path is not None and not self._connections:
                # SQLite opens the log at its first look at the file, and keeps it open.
                connection.exec_driver_sql("SELECT 1 FROM sqlite_schema")
                connection.rollback()
                self._log_identity = _identify(_log_of(self.path))
            self._connections += 1
            return connection

    def disconnected(self) -> None:
        """Count one connection less."""
        with self._counting:
            self._connections -= 1

    def check(self) -> None:
        """Raise OSError where the file, or the log beside it, is not the one that was opened."""
        if self.path is None:
            return
        if _identify(self.path) != self._identity:
            raise OSError("the file was replaced")
        # SQLite removes the log itself, but not before the last connection is closed.
        if self._connections and _identify(_log_of(self.path)) != self._log_identity:
            raise Displaced("the file's -wal was removed or replaced: stop all that use it, in order")

    def is_conflict(self, error: Exception) -> bool:
        return False


class SQLiteConnection:
    """A worker connection to a file. No thread hangs on it: a step waits for `WAIT` at most."""

    def __init__(self, sqlite: SQLite, writes: bool) -> None:
        self.connection: sa.Connection | None = None
        self._sqlite = sqlite
        self._writes = writes

    def connect(self) -> sa.Connection:
        if self.connection is None:
            self.connection = self._sqlite.connect_counted(self._writes)
        return self.connection

    def check(self) -> None:
        self._sqlite.check()

    def interrupt(self) -> None:
        """There is nothing to interrupt."""

    def disconnect(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
            self._sqlite.disconnected()


class SQLiteCounters(Counters):
    """Counters that are read only where SQLite says that another connection has written."""

    _VERSION = "djoauth2_data_version"

    def __init__(self) -> None:
        insertion = sqlite.insert(schema.invalidation_counter)
        super().__init__(insertion.on_conflict_do_update(index_elements=["part"], set_=RAISED))

    def poll(self, connection: sa.Connection) -> set[int] | None:
        version = connection.exec_driver_sql("PRAGMA data_version").scalar()
        if connection.info.get(self._VERSION) == version:
            return set()
        connection.info[self._VERSION] = version
        return super().poll(connection)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _execute(connection: sqlite3.Connection, pragma: str) -> None:
    """Execute a pragma, and wait for the lock of a process that starts now. SQLite itself does not."""
    give_up = time.monotonic() + engine.WAIT
    while True:
        try:
            connection.execute(pragma)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
