"""MySQL and MariaDB, by PyMySQL."""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from ....errors import ConfigurationError
from ....finding import Finding, warning
from ....pem import refuse_encrypted
from .. import schema
from .counters import KNOWN, RAISED, Counters
from .server import CONNECT_WAIT, DatabaseServer, check_options, with_driver

# What does not fit is refused and not cut.
_PATIENT_SESSION = "SET SESSION sql_mode='TRADITIONAL'"
# MariaDB ends statements that take too long.
_SESSION = (
    f"{_PATIENT_SESSION}, innodb_lock_wait_timeout=1, lock_wait_timeout=1 /*M! , max_statement_time=1 */"
)

#: The options that an operator may give: where the server is, and TLS.
_KNOWN = {
    *("unix_socket", "bind_address", "program_name", "read_default_file", "read_default_group"),
    *("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_cipher", "ssl_check_hostname"),
}
_OURS = {
    "charset": "utf8mb4",
    **dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout", "init_command"), ""),
    **dict.fromkeys(("sql_mode", "collation", "autocommit", "client_flag", "use_unicode"), ""),
}

#: The oldest versions that the tests' statements are known to run on.
_OLDEST = {"MySQL": (8, 0), "MariaDB": (10, 5)}
_SETTINGS = (
    "version",
    "log_bin",
    "binlog_format",
    "read_only",
    "innodb_read_only",
    "innodb_flush_log_at_trx_commit",
    "sync_binlog",
)


def from_url(url: sa.URL) -> DatabaseServer:
    """The engine of a URL such as ``mysql://user:password@host/database``.

    :raises ConfigurationError: the driver is not installed, the URL names no database, or its key is
        encrypted.
    """
    url, error = with_driver(url, "pymysql", "mysql")
    refuse_encrypted(str(url.query.get("ssl_key", "")))
    return DatabaseServer(
        url=check_options(url, _KNOWN, _OURS),
        driver_error=error,
        judge=_judge,
        invalidations=MySQLCounters(),
        # ER_LOCK_DEADLOCK
        conflicts=frozenset({1213}),
        patient={
            "connect_timeout": CONNECT_WAIT,
            "charset": "utf8mb4",
            "init_command": _PATIENT_SESSION,
            # The driver would encode a text as Latin-1. The server hashes what it got as UTF-8.
            **({"password": str(url.password).encode("utf-8")} if url.password else {}),
        },
        deadlines={
            "read_timeout": CONNECT_WAIT,
            "write_timeout": CONNECT_WAIT,
            "init_command": _SESSION,
        },
        socket_of=lambda connection: int(connection._sock.fileno()),
        table_options=schema.MYSQL_TABLE,
        clock="SELECT UNIX_TIMESTAMP(NOW(6))",
        backup_tools=(
            f"mariadb-dump --single-transaction --hex-blob {url.database} > FILE",
            f"mariadb {url.database} < FILE",
        ),
    )


def _judge(connection: sa.Connection) -> list[Finding]:
    """See `Engine.judge`. Encoding, isolation and SQL mode are those that we ask for ourselves."""
    wanted = ", ".join(f"'{name}'" for name in _SETTINGS)
    rows = connection.exec_driver_sql(f"SHOW VARIABLES WHERE Variable_name IN ({wanted})")
    settings = {name: str(value).upper() for name, value in rows}
    version = settings["version"]
    product = "MariaDB" if "MARIADB" in version else "MySQL"
    found = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if found < _OLDEST[product]:
        oldest = ".".join(map(str, _OLDEST[product]))
        raise ConfigurationError(f"this is {product} {version}: {oldest} or newer is needed")
    if "ON" in (settings.get("read_only"), settings.get("innodb_read_only")):
        raise ConfigurationError(f"this {product} is read-only: name the one that is written to")
    logs = settings.get("log_bin") == "ON"
    if logs and settings.get("binlog_format") == "STATEMENT":
        raise ConfigurationError(
            f"this {product} has binlog_format=STATEMENT, which cannot log READ COMMITTED: set it to ROW"
        )
    lax = [("innodb_flush_log_at_trx_commit", "1"), *([("sync_binlog", "1")] if logs else [])]
    return [
        warning(
            f"{product} has {name}={settings[name]}: "
            "if its machine fails, acknowledged changes may be lost",
            f"Set {name}={durable}",
        )
        for name, durable in lax
        if settings.get(name, durable) != durable
    ]


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
