"""What tells one SQL engine from another: how it is connected to, and how it fails."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import sqlalchemy as sa
from attrs import field, frozen

from ...errors import ConfigurationError
from .changes import Changes, MySQLCounters, Notifications, SQLiteCounters, is_pooled
from .links import Displaced, ServerLink, WorkerConnection, remember

#: How long SQLite waits for another process to let go of the file, and a server for a lock or a
#: statement, in seconds. Shorter than a step's deadline, so that the thread is free again when its
#: requests have been answered.
WAIT = 1.0

#: How long a server may take to let us in, in seconds.
CONNECT_WAIT = 2

_DURABLE = "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"

_EXAMPLES = (
    "write the URL like sqlite:///djoauth2.db, postgresql://user:password@host/database "
    "or mysql://user:password@host/database"
)


def reason_of(error: Exception) -> str:
    """What a database or the system says of an error, in one line and without what was asked."""
    reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
    return (str(reason).strip().splitlines() or [type(error).__name__])[0]


def unusable(engine: Engine, error: Exception) -> ConfigurationError:
    """The error for a database that cannot be connected to, read or prepared."""
    return ConfigurationError(f"the database {engine.name} cannot be used: {reason_of(error)}")


class Engine(Protocol):
    """What a `Database` asks of an engine."""

    #: How many threads write, and read, at once.
    writers: int
    readers: int
    #: Whether a new or older database is prepared by whoever opens it.
    prepares_itself: bool
    #: Whether a connection that has failed is given up for a new one.
    reconnects: bool

    @property
    def changes(self) -> Changes | None:
        """How other processes are told what has ended; None where there can be none."""

    @property
    def name(self) -> str:
        """The database, for people, without its password."""

    def exists(self) -> bool:
        """Whether there is a database that could be connected to."""

    def create(self) -> None:
        """Make the database's file, where it is one."""

    def open(self) -> None:
        """Note what `check` compares with."""

    def connect(self, writes: bool, patient: bool = False) -> sa.Connection:
        """A new connection. A patient one has no deadline, for changes of the schema."""

    def connection_of_worker(self, writes: bool) -> WorkerConnection:
        """What a lane connects by."""

    def is_conflict(self, error: Exception) -> bool:
        """Whether a transaction was undone because it met another, so that it may be tried again."""


def engine_of(url: str) -> Engine:
    """The engine of an SQLAlchemy URL. A relative SQLite path is taken from the current folder now.

    :raises ConfigurationError: the URL cannot be read, or its engine is not supported.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise ConfigurationError(f"the database's URL cannot be read: {_EXAMPLES}") from None
    match parsed.get_backend_name():
        case "sqlite":
            return SQLite(_sqlite_path(parsed))
        case "postgresql":
            return _postgresql(parsed)
        case "mysql" | "mariadb":
            return _mysql(parsed)
        case name:
            raise ConfigurationError(f"databases of {name} are not supported: {_EXAMPLES}")


def _sqlite_path(url: sa.URL) -> Path | None:
    if url.query:
        raise ConfigurationError("a SQLite URL takes no options: write it like sqlite:///djoauth2.db")
    # sqlite://djoauth2.db names a host and no file, and would forget everything at exit.
    if url.host or url.username or not (url.database or "").isprintable():
        raise ConfigurationError("a SQLite URL has three slashes and a path: sqlite:///djoauth2.db")
    if url.database in {None, "", ":memory:"}:
        return None
    return Path(os.path.abspath(str(url.database)))


class SQLite:
    """A file, or memory where there is no path. One writes at a time, in one thread."""

    writers = 1
    prepares_itself = True

    def __init__(self, path: Path | None) -> None:
        self.path = path
        #: In memory there is but one connection, which is the database.
        self.readers = 2 if path else 0
        self.reconnects = path is not None
        self.changes: Changes | None = SQLiteCounters() if path else None
        self._memory: sa.Engine | None = None
        self._identity: tuple[int, int] | None = None
        self._linking = threading.Lock()
        self._links = 0
        self._log_identity: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        return str(self.path or "in memory")

    def exists(self) -> bool:
        return self.path is None or self.path.exists()

    def create(self) -> None:
        """Make a new file readable by its owner alone; SQLite gives its companions the same mode."""
        if self.path is not None:
            # There it is already, or another process that starts now was faster.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def open(self) -> None:
        if self.path is not None:
            self._identity = _identify(self.path)

    def connect(self, writes: bool, patient: bool = False) -> sa.Connection:
        """A connection to the file. It never makes one: what went away must not come back empty."""
        if self.path is None:
            self._memory = self._memory or self._engine("BEGIN", ":memory:", ())
            return self._memory.connect()
        # Readers use WAL, too, but whoever only looks at a version changes nothing.
        pragmas = (*_DURABLE,) if writes else ("PRAGMA query_only=ON",)
        begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        return self._engine(begin, f"file:{quote(str(self.path))}?mode=rw", pragmas).connect()

    def _engine(self, begin: str, address: str, pragmas: tuple[str, ...]) -> sa.Engine:
        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                address, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False
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
        engine = sa.create_engine("sqlite://", creator=connect, hide_parameters=True, poolclass=pool)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    def connection_of_worker(self, writes: bool) -> WorkerConnection:
        return SQLiteLink(self, writes)

    def link_up(self, writes: bool) -> sa.Connection:
        """A connection that is counted until `unlink`."""
        with self._linking:
            self.check()
            connection = self.connect(writes)
            if self.path is not None and not self._links:
                # From its first look at the file on, SQLite holds the log open.
                connection.exec_driver_sql("SELECT 1 FROM sqlite_schema")
                connection.rollback()
                self._log_identity = _identify(self._log(self.path))
            self._links += 1
            return connection

    def unlink(self) -> None:
        """A counted connection is closed."""
        with self._linking:
            self._links -= 1

    def check(self) -> None:
        """Raise OSError where the file, or the log beside it, is not the one that was opened."""
        if self.path is None:
            return
        if _identify(self.path) != self._identity:
            raise OSError("the file was replaced")
        # SQLite removes the log itself, but not before the last connection is closed.
        if self._links and _identify(self._log(self.path)) != self._log_identity:
            raise Displaced("the file's -wal was removed or replaced: stop all that use it, in order")

    def _log(self, path: Path) -> Path:
        return path.with_name(f"{path.name}-wal")

    def is_conflict(self, error: Exception) -> bool:
        return False


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


class SQLiteLink:
    """A connection to a file. Nobody else can interrupt it, but it waits for a second at most."""

    def __init__(self, sqlite: SQLite, writes: bool) -> None:
        self.connection: sa.Connection | None = None
        self._sqlite = sqlite
        self._writes = writes

    def connect(self) -> sa.Connection:
        if self.connection is None:
            self.connection = self._sqlite.link_up(self._writes)
        return self.connection

    def check(self) -> None:
        self._sqlite.check()

    def interrupt(self) -> None:
        """Nothing to be done."""

    def disconnect(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
            self._sqlite.unlink()


def _execute(connection: sqlite3.Connection, pragma: str) -> None:
    """Execute, and wait for other processes that have just begun, too: SQLite itself does not."""
    give_up = time.monotonic() + WAIT
    while True:
        try:
            connection.execute(pragma)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


@frozen
class Server:
    """A database server, on this machine or another."""

    url: sa.URL
    _hasty: dict[str, Any] = field(repr=False)  #: how to connect with deadlines
    _patient: dict[str, Any] = field(repr=False)  #: and how without
    _socket_of: Callable[[Any], int]
    #: The codes by which the engine says that a transaction lost to another.
    _conflicts: frozenset[str | int]
    changes: Changes
    #: What is done with each new connection of the driver's.
    _greet: Callable[[Any, Any], None] = lambda connection, record: None
    #: One for all lanes, so that what SQLAlchemy asks a server at first is asked once, and that each
    #: statement is compiled once.
    _shared: sa.Engine = field(init=False, repr=False)

    # Several, since each commit waits for the disk of a server that can do more than one at a time.
    writers = 4
    readers = 2
    prepares_itself = False
    reconnects = True

    @property
    def name(self) -> str:
        port = f":{self.url.port}" if self.url.port else ""
        return f"{self.url.get_backend_name()}://{self.url.host or ''}{port}/{self.url.database}"

    def exists(self) -> bool:
        return True

    def create(self) -> None:
        """That is its administrator's to do."""

    def open(self) -> None:
        """Nothing to note: a server is known by its address."""

    @_shared.default
    def _(self) -> sa.Engine:
        return self._engine(self._hasty)

    def connect(self, writes: bool, patient: bool = False) -> sa.Connection:
        engine = self._engine(self._patient) if patient else self._shared
        return _isolated(engine, writes).connect()

    def connection_of_worker(self, writes: bool) -> WorkerConnection:
        return ServerLink(_isolated(self._shared, writes), self._socket_of)

    def _engine(self, arguments: dict[str, Any]) -> sa.Engine:
        # Not looked for, since each question before the first step is a way there and back.
        options = {"use_native_hstore": False} if self.url.get_backend_name() == "postgresql" else {}
        engine = sa.create_engine(
            self.url,
            **options,
            hide_parameters=True,
            poolclass=sa.pool.NullPool,
            connect_args=arguments,
            # There is nothing to roll back, but MySQL's driver would ask for it.
            skip_autocommit_rollback=True,
        )
        sa.event.listen(engine, "connect", remember, insert=True)
        sa.event.listen(engine, "connect", self._greet)
        return engine

    def is_conflict(self, error: Exception) -> bool:
        cause: Any = getattr(error, "orig", None)
        # PyMySQL has had the one longer than the other, and psycopg has but the first.
        codes = {getattr(cause, "sqlstate", None), *getattr(cause, "args", ())[:1]}
        return not self._conflicts.isdisjoint(codes)


def _isolated(engine: sa.Engine, writes: bool) -> sa.Engine:
    # Each statement sees what is committed, never a snapshot of before a revocation. Whoever only reads
    # needs no transaction.
    return engine.execution_options(isolation_level="READ COMMITTED" if writes else "AUTOCOMMIT")


def _postgresql(url: sa.URL) -> Server:
    milliseconds = int(WAIT * 1000)
    options = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
    patient = {
        "connect_timeout": CONNECT_WAIT,
        # Until it is said which isolation is wanted: no transaction around what is asked before.
        "autocommit": True,
        # A network that swallows everything is noticed within seconds.
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": 3000,
    }
    return Server(
        _with_driver(url, "postgresql+psycopg", "psycopg", "postgresql"),
        {**patient, "options": options},
        patient,
        lambda connection: int(connection.fileno()),
        # serialization_failure, deadlock_detected
        frozenset({"40001", "40P01"}),
        Notifications(),
        _prepare_nothing_for_others,
    )


def _prepare_nothing_for_others(connection: Any, _: Any) -> None:
    """What psycopg prepares belongs to a session, which a pooler gives to somebody else the next time.

    Each process counts from the same name on, so another's statement would be executed for ours.
    """
    if is_pooled(connection):
        connection.prepare_threshold = None


def _mysql(url: sa.URL) -> Server:
    # What does not fit is refused and not cut, and MariaDB ends statements that take too long.
    session = (
        "SET SESSION sql_mode='TRADITIONAL', innodb_lock_wait_timeout=1, lock_wait_timeout=1 "
        "/*M! , max_statement_time=1 */"
    )
    patient = {"connect_timeout": CONNECT_WAIT, "charset": "utf8mb4"}
    hasty = {
        **patient,
        "read_timeout": CONNECT_WAIT,
        "write_timeout": CONNECT_WAIT,
        "init_command": session,
    }
    return Server(
        _with_driver(url, "mysql+pymysql", "pymysql", "mysql"),
        hasty,
        patient,
        lambda connection: int(connection._sock.fileno()),
        # ER_LOCK_DEADLOCK
        frozenset({1213}),
        MySQLCounters(),
    )


def _with_driver(url: sa.URL, name: str, module: str, extra: str) -> sa.URL:
    try:
        __import__(module)
    except ImportError:
        raise ConfigurationError(
            f"{url.get_backend_name()} needs a driver: pip install 'djoauth2-twisted[{extra}]'"
        ) from None
    if not url.database:
        raise ConfigurationError(f"the database's URL names no database: {_EXAMPLES}")
    return url.set(drivername=name)
