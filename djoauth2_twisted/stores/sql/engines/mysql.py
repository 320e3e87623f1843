"""MySQL and MariaDB, by PyMySQL."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from ....pem import refuse_encrypted
from .. import schema
from .counters import KNOWN, RAISED, Counters
from .server import CONNECT_WAIT, DatabaseServer, with_driver

# What does not fit is refused and not cut, and MariaDB ends statements that take too long.
_SESSION = (
    "SET SESSION sql_mode='TRADITIONAL', innodb_lock_wait_timeout=1, lock_wait_timeout=1 "
    "/*M! , max_statement_time=1 */"
)


def from_url(url: sa.URL) -> DatabaseServer:
    """The engine of a URL such as ``mysql://user:password@host/database``.

    :raises ConfigurationError: the driver is not installed, the URL names no database, or its key is
        encrypted.
    """
    url, error = with_driver(url, "pymysql", "mysql")
    refuse_encrypted(str(url.query.get("ssl_key", "")))
    return DatabaseServer(
        url=url,
        driver_error=error,
        invalidations=MySQLCounters(),
        # ER_LOCK_DEADLOCK
        conflicts=frozenset({1213}),
        patient={"connect_timeout": CONNECT_WAIT, "charset": "utf8mb4"},
        deadlines={
            "read_timeout": CONNECT_WAIT,
            "write_timeout": CONNECT_WAIT,
            "init_command": _SESSION,
        },
        socket_of=lambda connection: int(connection._sock.fileno()),
        table_options=schema.MYSQL_TABLE,
    )


class MySQLCounters(Counters):
    """Counters that are read at each poll."""

    def __init__(self) -> None:
        insertion = mysql.insert(schema.invalidation_counter)
        super().__init__(insertion.on_duplicate_key_update(**RAISED))

    def poll(self, connection: sa.Connection) -> set[int] | None:
        if KNOWN not in connection.info:
            # MySQL cuts at 1024 bytes.
            connection.exec_driver_sql("SET SESSION group_concat_max_len = 65536")
        return super().poll(connection)
