"""What the database servers share: their connections, over a network that may fail."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from attrs import field, frozen

from ....errors import ConfigurationError
from ....finding import Finding
from .engine import EXAMPLES, InvalidationChannel, WorkerConnection

#: The options of a URL that hold a secret.
SECRET_OPTIONS = ("password", "sslpassword", "scram_client_key", "oauth_client_secret")

#: How long a connection to a server may take, in seconds.
CONNECT_WAIT = 2


def with_driver(url: sa.URL, module: str, extra: str) -> tuple[sa.URL, type[Exception]]:
    """The URL of a database with the driver that connects to it, and the base of the driver's errors.

    :param module: the driver's module.
    :param extra: the extra of this package that installs it, and the name of the dialect.
    :raises ConfigurationError: the driver is not installed, or the URL names no database.
    """
    try:
        driver = import_module(module)
    except ImportError:
        raise ConfigurationError(
            f"{url.get_backend_name()} needs a driver: pip install 'djoauth2-twisted[{extra}]'"
        ) from None
    if not url.database:
        raise ConfigurationError(f"the database's URL names no database: {EXAMPLES}")
    return url.set(drivername=f"{extra}+{module}"), driver.Error


def check_options(url: sa.URL, known: Collection[str], ours: Mapping[str, str]) -> sa.URL:
    """The URL without those options that say what is done anyway.

    :param known: the options that an operator may give.
    :param ours: the options whose values the stores rely on; empty where the value is not fixed.
    :raises ConfigurationError: an option is not known, is given twice, or has another value than ours.
    """
    for name, value in url.query.items():
        if name in ours:
            if not ours[name] or str(value).lower() != ours[name]:
                raise refused(name)
            url = url.difference_update_query([name])
        elif name not in known:
            raise ConfigurationError(f"the database's URL has the option {name!r}, which is not known")
        elif not isinstance(value, str) and name != "host":
            raise ConfigurationError(f"the database's URL has the option {name!r} twice")
    return url


def refused(option: str) -> ConfigurationError:
    """The error for an operator's option that would change what the stores rely on."""
    return ConfigurationError(
        f"the database's options set {option!r}, which the server sets itself: leave it out"
    )


def _leave_as_it_is(connection: Any) -> None:
    """Set up nothing."""


@frozen(kw_only=True)
class DatabaseServer:
    """A database on a server, on this machine or another; each engine has its own values."""

    url: sa.URL
    driver_error: type[Exception]
    invalidations: InvalidationChannel | None
    #: See `Engine.judge`.
    judge: Callable[[sa.Connection], list[Finding]]
    #: The codes by which the engine says that a transaction was rolled back because of another one.
    conflicts: frozenset[str | int]
    #: The driver's arguments to connect without deadlines, and what to add to them for deadlines.
    patient: Mapping[str, Any] = field(repr=False)
    deadlines: Mapping[str, Any] = field(repr=False)
    #: The file descriptor of the socket of a driver's connection.
    socket_of: Callable[[Any], int]
    #: Called with each new connection of the driver's.
    set_up: Callable[[Any], None] = _leave_as_it_is
    #: Further arguments of SQLAlchemy's ``create_engine``.
    options: Mapping[str, Any] = field(factory=dict)
    table_options: Mapping[str, Any] = field(factory=dict)
    backup_tools: Sequence[str]
    clock: str
    #: One for all workers: what SQLAlchemy asks of a server at first is asked once, and each statement
    #: is compiled once.
    _shared: sa.Engine = field(init=False, repr=False)

    # Several writers, since each commit waits for the disk of a server that can do more than one at a
    # time.
    writers = 4
    readers = 2
    prepares_itself = False
    reconnects = True
    is_private = False
    path = None

    @_shared.default
    def _(self) -> sa.Engine:
        return self._engine({**self.patient, **self.deadlines})

    @property
    def name(self) -> str:
        port = f":{self.url.port}" if self.url.port else ""
        return f"{self.url.get_backend_name()}://{self.url.host or ''}{port}/{self.url.database}"

    @property
    def _secrets(self) -> list[str]:
        given = self.url.password, *map(self.url.query.get, SECRET_OPTIONS)
        return [secret for secret in given if isinstance(secret, str) and secret]

    @property
    def location(self) -> Hashable:
        # An option may name another host, socket or schema.
        return self.name, tuple(sorted(self.url.query.items()))

    def exists(self) -> bool:
        return True

    def create(self) -> None:
        """Nothing: the server's administrator creates databases."""

    def keep_copy(self, ending: str) -> None:
        """Nothing: its administrator makes backups."""

    def remove(self) -> None:
        """Nothing, as `create`."""

    def open(self) -> None:
        """Nothing to note: a server is known by its address."""

    def close(self) -> None:
        """Nothing: each worker has closed its connection."""

    def connect(self, writes: bool, patient: bool = False) -> sa.Connection:
        engine = self._engine(self.patient) if patient else self._shared
        return _isolated(engine, writes).connect()

    def connect_to_look(self) -> sa.Connection:
        return self.connect(writes=False)

    def connect_to_copy(self) -> sa.Connection:
        connection = self.connect(writes=True, patient=True)
        return connection.execution_options(isolation_level="REPEATABLE READ")

    def worker_connection(self, writes: bool) -> WorkerConnection:
        return ServerConnection(_isolated(self._shared, writes), self.socket_of)

    def is_conflict(self, error: Exception) -> bool:
        cause: Any = getattr(error, "orig", None)
        # psycopg has the first, PyMySQL the second.
        codes = {getattr(cause, "sqlstate", None), *getattr(cause, "args", ())[:1]}
        return not self.conflicts.isdisjoint(codes)

    def _engine(self, arguments: Mapping[str, Any]) -> sa.Engine:
        engine = sa.create_engine(
            self.url,
            **self.options,
            hide_parameters=True,
            poolclass=sa.pool.NullPool,
            connect_args=dict(arguments),
            # There is nothing to roll back, but MySQL's driver would ask the server for it.
            skip_autocommit_rollback=True,
        )
        sa.event.listen(engine, "do_connect", self._connect)
        sa.event.listen(engine, "connect", _remember, insert=True)
        sa.event.listen(engine, "connect", lambda connection, _: self.set_up(connection))
        return engine

    def _connect(self, dialect: Any, _: object, arguments: Any, named: Any) -> Any:
        """Connect. Every failure is an error of the driver, and its text has no secret in it."""
        try:
            return dialect.connect(*arguments, **named)
        except Exception as error:
            # It would name a letter of what cannot be encoded.
            text = "" if isinstance(error, UnicodeError) else str(error)
            for secret in self._secrets:
                text = text.replace(secret, "***")
            if isinstance(error, self.driver_error) and text == str(error):
                raise
            raise dialect.dbapi.OperationalError(text or type(error).__name__) from None


def _isolated(engine: sa.Engine, writes: bool) -> sa.Engine:
    # Each statement sees what is committed, never a snapshot from before a revocation. Reading needs no
    # transaction.
    return engine.execution_options(isolation_level="READ COMMITTED" if writes else "AUTOCOMMIT")


class ServerConnection:
    """A worker connection to a server.

    :param engine: calls `_remember` with each new connection of the driver's before it asks anything.
    :param socket_of: the file descriptor of the socket of a driver's connection.
    """

    def __init__(self, engine: sa.Engine, socket_of: Callable[[Any], int]) -> None:
        self.connection: sa.Connection | None = None
        self._engine = engine
        self._socket_of = socket_of
        #: The driver's connection.
        self.raw: Any = None

    def connect(self) -> sa.Connection:
        if self.connection is None:
            _connecting.worker_connection = self
            self.connection = self._engine.connect()
        return self.connection

    def check(self) -> None:
        """A connection leads to the server that it was made to."""

    def interrupt(self) -> None:
        """Break the socket that the thread waits at; some drivers would wait without end."""
        try:
            with socket.socket(fileno=os.dup(self._socket_of(self.raw))) as copy:
                copy.shutdown(socket.SHUT_RDWR)
        except Exception:  # It was closed in the meantime; drivers differ in how they say so.
            return

    def disconnect(self) -> None:
        raw, self.raw = self.raw, None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
        elif raw is not None:
            # It broke before SQLAlchemy had it.
            with contextlib.suppress(Exception):
                raw.close()


#: The worker connection that a thread is connecting at this moment.
_connecting = threading.local()


def _remember(raw: Any, _: object) -> None:
    """Give a worker connection its driver's connection before SQLAlchemy asks anything over it.

    The thread may hang on that question, and must be interrupted then.
    """
    connecting: ServerConnection | None = getattr(_connecting, "worker_connection", None)
    if connecting is not None:
        connecting.raw = raw
