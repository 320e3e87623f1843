"""What the stores rely on in a database is judged when it is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from database_kit import one_line
from servers import MARIADB, POSTGRESQL, WITH_MARIADB, WITH_POSTGRESQL, made, prepare_now
from twisted.internet import reactor as the_reactor
from twisted.logger import capturedLogs

from djoauth2_twisted.credentials import random_string
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.finding import Finding
from djoauth2_twisted.stores.redis import connection as redis_connection
from djoauth2_twisted.stores.sql import schema
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.engines import mysql, postgresql, sqlite

reactor: Any = the_reactor

POSTGRESQL_SETTINGS = ("150000", "UTF8", "off", "on", "on", "on")
MARIADB_SETTINGS = {
    "version": "10.11.6-MariaDB-log",
    "log_bin": "ON",
    "binlog_format": "MIXED",
    "read_only": "OFF",
    "innodb_flush_log_at_trx_commit": "1",
    "sync_binlog": "1",
}


def judge_postgresql(*row: str) -> list[Finding]:
    asked: Any = SimpleNamespace(execute=lambda _: SimpleNamespace(one=lambda: row))
    return postgresql._judge(asked)


def judge_mysql(**changed: str) -> list[Finding]:
    rows = (MARIADB_SETTINGS | changed).items()
    asked: Any = SimpleNamespace(exec_driver_sql=lambda _: rows)
    return mysql._judge(asked)


def test_what_a_server_should_have_is_nothing_to_tell() -> None:
    assert judge_postgresql(*POSTGRESQL_SETTINGS) == []
    assert judge_mysql() == []
    assert judge_mysql(version="8.0.36") == []
    assert judge_mysql(log_bin="OFF", sync_binlog="0", binlog_format="STATEMENT") == []


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, "110099", "12 or newer"),
        (1, "SQL_ASCII", "the encoding SQL_ASCII"),
        (1, "LATIN1", "ENCODING 'UTF8' TEMPLATE template0"),
        (2, "on", "read-only"),
    ],
)
def test_a_postgresql_that_cannot_be_used(place: int, value: str, said: str) -> None:
    row = list(POSTGRESQL_SETTINGS)
    row[place] = value
    with pytest.raises(ConfigurationError, match=said):
        judge_postgresql(*row)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": "5.7.44-log"}, "MySQL 5.7.44-LOG: 8.0 or newer"),
        ({"version": "10.4.1-MariaDB"}, "10.5 or newer"),
        ({"binlog_format": "STATEMENT"}, "binlog_format"),
        ({"read_only": "ON"}, "read-only"),
        ({"innodb_read_only": "ON"}, "read-only"),
    ],
    ids=str,
)
def test_a_mysql_that_cannot_be_used(changed: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        judge_mysql(**changed)


@pytest.mark.parametrize(
    ("warnings", "name"),
    [
        (judge_postgresql(*POSTGRESQL_SETTINGS[:3], "off", "on", "on"), "fsync"),
        (judge_postgresql(*POSTGRESQL_SETTINGS[:3], "on", "off", "on"), "full_page_writes"),
        (judge_postgresql(*POSTGRESQL_SETTINGS[:3], "on", "on", "off"), "synchronous_commit"),
        (judge_mysql(innodb_flush_log_at_trx_commit="2"), "innodb_flush_log_at_trx_commit"),
        (judge_mysql(sync_binlog="0"), "sync_binlog"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_answers_less_durable_is_warned_of(warnings: list[Finding], name: str) -> None:
    [warning] = warnings
    assert name in warning.fault
    assert name in warning.mend


@pytest.mark.parametrize(
    "changed",
    [{"redis_version": "6.0.16"}, {"redis_version": ""}, {"cluster_enabled": "1"}, {"role": "slave"}],
    ids=str,
)
def test_a_redis_that_cannot_be_used(changed: dict[str, str]) -> None:
    good = {"redis_version": "6.2.0", "cluster_enabled": "0", "role": "master"}
    redis_connection._judge(good)
    with pytest.raises(ConfigurationError, match="this Redis is"):
        redis_connection._judge(good | changed)


def test_no_time_of_a_database_is_used() -> None:
    """A time zone of the server or of a session is of no meaning: times are whole numbers."""
    kinds = {type(column.type) for table in schema.metadata.tables.values() for column in table.c}
    assert not any(issubclass(kind, sa.DateTime | sa.Date | sa.Time | sa.Interval) for kind in kinds)


class TestSQLite:
    def test_a_file_in_another_encoding_is_refused(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA encoding='UTF-16le'")
        connection.execute("CREATE TABLE theirs (id)")
        connection.close()
        before = path.read_bytes()
        with pytest.raises(ConfigurationError) as raised:
            Database(reactor, f"sqlite:///{path}").open()
        assert "UTF-16le" in one_line(raised)
        # The write-ahead log is set; no table was made.
        assert len(path.read_bytes()) == len(before)

    def test_an_old_library_is_refused(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite, "_OLDEST", (99, 0))
        with pytest.raises(ConfigurationError, match="or newer is needed"):
            Database(reactor, f"sqlite:///{path}").open()

    def test_a_file_without_a_write_ahead_log_is_refused(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on a network drive, where SQLite says so by the mode that it answers."""
        monkeypatch.setattr(sqlite, "_DURABLE", ("PRAGMA journal_mode=DELETE",))
        with pytest.raises(ConfigurationError, match="write-ahead log"):
            Database(reactor, f"sqlite:///{path}").open()


# On real servers.


@contextmanager
def ascii_database() -> Iterator[str]:
    """The URL of an empty database that was made as SQL_ASCII."""
    name = f"d12_ascii_{random_string(6).lower()}"
    engine = sa.create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    try:
        yield sa.make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.engine
def test_a_postgresql_of_sql_ascii_is_refused_in_one_line() -> None:
    with ascii_database() as url:
        for prepare_it in (True, False, None):
            with pytest.raises(ConfigurationError) as raised:
                Database(reactor, url).open(prepare=prepare_it)
            assert "SQL_ASCII" in one_line(raised)
        assert Database(reactor, url).version() is None


@pytest.mark.engine
@pytest.mark.parametrize(
    "setting", ["default_transaction_read_only = on", "default_transaction_isolation = 'serializable'"]
)
async def test_defaults_of_a_postgresql_database(setting: str) -> None:
    """Our isolation is asked for in each transaction; where nothing can be written, it is said."""
    with made(POSTGRESQL) as url:
        await prepare_now(url)
        name = sa.make_url(url).database
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET {setting}")
        database = Database(reactor, url)
        if "read_only" in setting:
            with pytest.raises(ConfigurationError, match="read-only"):
                database.open()
            return
        database.open()
        isolation = lambda connection: connection.scalar(sa.text("SHOW transaction_isolation"))  # noqa: E731
        assert await database.write(isolation, key="") == "read committed"
        await database.close()


@pytest.mark.engine
async def test_less_durable_settings_are_logged_when_a_postgresql_is_opened() -> None:
    with made(POSTGRESQL) as url:
        await prepare_now(url)
        database = Database(reactor, f"{url}?options=-csynchronous_commit%3Doff")
        with capturedLogs() as logged:
            database.open()
        await database.close()
        [warning] = [event["warning"] for event in logged if "warning" in event]
        assert warning.startswith("PostgreSQL has synchronous_commit=off: if its machine fails")


@pytest.mark.parametrize("server", [WITH_POSTGRESQL, WITH_MARIADB])
async def test_the_servers_of_these_tests_can_be_used(server: str) -> None:
    with made({"postgresql": POSTGRESQL, "mariadb": MARIADB}[server]) as url:
        await prepare_now(url)
