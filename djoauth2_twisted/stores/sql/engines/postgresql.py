"""PostgreSQL, by psycopg."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from ....errors import ConfigurationError
from ....finding import Finding, warning
from ....pem import refuse_encrypted
from . import engine
from .server import CONNECT_WAIT, DatabaseServer, check_options, refused, with_driver

#: All processes on a database notify and listen here.
CHANNEL = "djoauth2_ended"

#: Where a connection keeps the notifications that it has received.
_RECEIVED = "djoauth2_received"

_NOTIFY = sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("payload")))


def from_url(url: sa.URL) -> DatabaseServer:
    """The engine of a URL such as ``postgresql://user:password@host/database``.

    :raises ConfigurationError: the driver is not installed, the URL names no database, or its key is
        encrypted and has no password.
    """
    url, error = with_driver(url, "psycopg", "postgresql")
    # libpq asks at the terminal for the password of an encrypted key, unless it has one.
    no_question = {}
    if "sslpassword" not in url.query:
        refuse_encrypted(str(url.query.get("sslkey", "")))
        no_question = {"sslpassword": "none"}
    keywords = _keywords()
    url = check_options(url, keywords.keys() - _NOT_JOINED, _OURS)
    # PostgreSQL would take the environment's, or a service file's, only where the URL has none.
    theirs = str(url.query.get("options") or keywords["options"])
    _check_run_time_options(theirs)
    milliseconds = int(engine.WAIT * 1000)
    options = f"{theirs} -c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
    return DatabaseServer(
        url=url,
        driver_error=error,
        judge=_judge,
        invalidations=Notifications(),
        # serialization_failure, deadlock_detected
        conflicts=frozenset({"40001", "40P01"}),
        patient={**_PATIENT, **no_question, "options": theirs},
        deadlines={"options": options.strip()},
        socket_of=lambda connection: int(connection.fileno()),
        set_up=_prepare_nothing_for_others,
        # Not looked for, since each question before the first step is a way there and back.
        clock="SELECT extract(epoch FROM clock_timestamp())",
        options={"use_native_hstore": False},
        backup_tools=(
            f"pg_dump --format=custom --file=FILE {url.database}",
            f"pg_restore --clean --if-exists --dbname={url.database} FILE",
        ),
    )


_PATIENT = {
    "connect_timeout": CONNECT_WAIT,
    "client_encoding": "utf8",
    # No transaction around what SQLAlchemy asks before it sets the isolation level.
    "autocommit": True,
    # A network that loses everything is noticed within seconds.
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 3000,
}

_OURS = {**dict.fromkeys((*_PATIENT, "keepalives"), ""), "client_encoding": "utf8"}

#: What cannot be joined with ours, or makes another kind of connection.
_NOT_JOINED = {"service", "replication", "dbname"}

#: Parameters of a session that we set, or rely on.
_OUR_PARAMETERS = {"statement_timeout", "lock_timeout", "client_encoding"}

#: The oldest version that the tests' statements are known to run on, as `server_version_num`.
_OLDEST = 12_00_00


def _keywords() -> dict[str, str]:
    """The options that PostgreSQL's library knows, with their defaults in this environment."""
    from psycopg.pq import Conninfo

    defaults = Conninfo.get_defaults()
    return {each.keyword.decode(): (each.val or b"").decode("utf-8", "replace") for each in defaults}


def _check_run_time_options(options: str) -> None:
    for name in re.findall(r"(?:-c\s*|--)([\w.-]+)\s*=", options):
        parameter = name.lower().replace("-", "_")
        if parameter in _OUR_PARAMETERS:
            raise refused(parameter)


_SETTINGS = sa.select(
    *(
        sa.func.current_setting(name)
        for name in (
            *("server_version_num", "server_encoding", "transaction_read_only"),
            *("fsync", "full_page_writes", "synchronous_commit"),
        )
    )
)


def _judge(connection: sa.Connection) -> list[Finding]:
    """See `Engine.judge`. Times are integers here, so that no time zone matters."""
    row = connection.execute(_SETTINGS).one()
    version, encoding, read_only, *durable = row
    if int(version) < _OLDEST:
        raise ConfigurationError(f"this PostgreSQL is too old: {_OLDEST // 10000} or newer is needed")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database has the encoding {encoding}, which cannot keep every name: make it with "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    if read_only == "on":
        raise ConfigurationError("this PostgreSQL is read-only: name the one that is written to")
    return [
        warning(
            f"PostgreSQL has {name}=off: if its machine fails, acknowledged changes may be lost",
            f"Set {name}=on",
        )
        for name, value in zip(("fsync", "full_page_writes", "synchronous_commit"), durable, strict=True)
        if value == "off"
    ]


def _prepare_nothing_for_others(connection: Any) -> None:
    """Prepare no statements behind a pooler.

    A prepared statement belongs to a backend, which a pooler gives to another client the next time. All
    processes give their statements the same names, so that the other's would be executed.
    """
    if is_pooled(connection):
        connection.prepare_threshold = None


class Notifications:
    """An `InvalidationChannel` over PostgreSQL's own notifications, which a commit sends."""

    def publish(self, connection: sa.Connection, partitions: Iterable[int]) -> None:
        # All 1025 numbers have 4014 digits and commas together, and 7999 are allowed.
        connection.execute(_NOTIFY, {"payload": ",".join(map(str, partitions))})

    def poll(self, connection: sa.Connection) -> set[int] | None:
        received: list[str] | None = connection.info.get(_RECEIVED)
        if received is None:
            self._listen(connection)
            return None
        # What was notified before the first of them is sent before the second is answered.
        for _ in range(2):
            connection.exec_driver_sql("SELECT 1")
        payloads = received[:]
        received.clear()
        return {int(partition) for payload in payloads for partition in payload.split(",")}

    def _listen(self, connection: sa.Connection) -> None:
        raw: Any = connection.connection.driver_connection
        # A pooler gives each transaction another backend, which does not listen for us.
        if is_pooled(raw):
            raise ConfigurationError("there is a pooler before PostgreSQL, and LISTEN needs a session")
        received: list[str] = []
        raw.add_notify_handler(lambda notification: received.append(notification.payload))
        connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        connection.info[_RECEIVED] = received


def is_pooled(connection: Any) -> bool:
    """Whether a pooler stands before PostgreSQL: the backend is not the one that was announced.

    :param connection: psycopg's.
    """
    (backend,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    return bool(backend != connection.info.backend_pid)
