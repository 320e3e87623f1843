"""What only an SQL server can suffer.

Behaviours F-10, F-11, F-12, F-13, DB-07, DB-08, DB-13, BG-17.
"""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from outage_kit import (
    Kept,
    MariaDB,
    PostgreSQL,
    Tried,
    database_of,
    error_of,
    eventually,
    one_outage_is_logged,
    opened,
    refused,
)
from twisted.internet.defer import gatherResults
from waiting import PATIENCE, until

from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.stores.contract import new_grant
from djoauth2_twisted.stores.sql import schema


async def test_read_only_postgresql(tried_postgresql: Tried) -> None:
    """F-10: what reads is served, what writes is refused and not kept."""
    engine, kept = tried_postgresql.engine, tried_postgresql.kept
    engine.set("default_transaction_read_only", "on")
    try:
        await _reads_go_on(kept)
    finally:
        engine.set("default_transaction_read_only", None)
    await kept.is_whole()


async def test_read_only_mariadb(tried_mariadb: Tried) -> None:
    """F-10: the same."""
    engine, kept = tried_mariadb.engine, tried_mariadb.kept
    engine.administer("SET GLOBAL read_only = 1")
    try:
        await _reads_go_on(kept)
    finally:
        engine.administer("SET GLOBAL read_only = 0")
    await kept.is_whole()


async def _reads_go_on(kept: Kept) -> None:
    with one_outage_is_logged():
        for _ in range(3):
            await refused(*kept.writes())
            await refused(kept.check_writable())
            assert await kept.find() is not None


async def test_locked(tried_sql: Tried) -> None:
    """F-11: a lock that others hold is waited for no longer than a request may take."""
    unlock = tried_sql.engine.block()
    await refused(*tried_sql.kept.writes())
    await refused(*tried_sql.kept.writes())
    unlock()
    await tried_sql.kept.is_whole()


def _crosswise(first: str, second: str, together: threading.Barrier) -> Any:
    """A step that locks one row, waits until another has locked the other, and wants that, too."""
    tries: list[int] = []

    def step(connection: sa.Connection) -> int:
        tries.append(1)
        for position, grant_id in enumerate((first, second)):
            statement = sa.update(schema.grant).where(schema.grant.c.id == grant_id)
            connection.execute(statement.values(last_used=schema.grant.c.last_used + 1))
            if position == 0 and len(tries) == 1:
                together.wait(PATIENCE)
        return len(tries)

    return step


async def test_deadlock(tried_sql: Tried) -> None:
    """F-12, DB-08: the step that loses is tried again, and no step is refused."""
    database = database_of(tried_sql.store)
    first, second = tried_sql.kept.grant.id, tried_sql.kept.waiting.id
    keys = _keys_of_two_workers(database)
    together = threading.Barrier(2)
    tries = await gatherResults(
        [
            database.write(_crosswise(first, second, together), key=keys[0]),
            database.write(_crosswise(second, first, together), key=keys[1]),
        ]
    )
    assert sorted(tries) == [1, 2]
    await tried_sql.kept.is_whole()


def _keys_of_two_workers(database: Any) -> tuple[str, str]:
    """Names that are written in two different threads."""
    first = "0"
    count = len(database._writers)
    return first, next(str(n) for n in range(1, 1000) if hash(str(n)) % count != hash(first) % count)


async def test_serialization_failures(postgresql: PostgreSQL) -> None:
    """F-12, DB-08: tried again, but not without end; the tries are whole."""
    async with opened(postgresql) as store:
        kept = await Kept.put_into(store)
        tries: list[int] = []

        def fail(connection: sa.Connection) -> None:
            tries.append(1)
            connection.execute(sa.insert(schema.scope), {"name": "x", "description": ""})
            connection.exec_driver_sql("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

        await refused(database_of(store).write(fail, key="key"))
        assert len(tries) == 3
        assert await database_of(store).read(lambda c: c.execute(sa.select(schema.scope)).all()) == []
        await kept.is_whole()


async def test_connections_exhausted_postgresql(tried_postgresql: Tried) -> None:
    """F-13: refused at once while others hold all connections, and good when they let go."""
    engine, kept = tried_postgresql.engine, tried_postgresql.kept
    engine.administer("ALTER ROLE tried CONNECTION LIMIT 0")
    engine.end_connections()
    try:
        await refused(*kept.all())
    finally:
        engine.administer("ALTER ROLE tried CONNECTION LIMIT -1")
    await kept.is_whole()


async def test_connections_exhausted_mariadb(mariadb: MariaDB) -> None:
    """F-13: the same, by the server's own limit."""
    async with opened(mariadb) as store:
        kept = await Kept.put_into(store)
        others: list[Any] = []
        mariadb.administer("SET GLOBAL max_connections = 10")
        mariadb.end_connections()
        try:
            _connect_until_refused(mariadb, others)
            await refused(*kept.all())
        finally:
            for connection in others:
                connection.close()
            await eventually(kept.find)
            mariadb.administer("SET GLOBAL max_connections = 151")
        await kept.is_whole()


def _connect_until_refused(engine: MariaDB, others: list[Any]) -> None:
    where = {"host": "127.0.0.1", "port": engine.port, "database": "tried"}
    while len(others) < 20:
        try:
            others.append(pymysql.connect(user="tried", password="right", **where))
        except pymysql.OperationalError:
            return
    raise AssertionError("there is no limit")


async def test_idle_connections_end_by_themselves(mariadb: MariaDB) -> None:
    """F-14: MariaDB's wait_timeout has passed; the first request afterwards is answered."""
    mariadb.administer("SET GLOBAL wait_timeout = 1")
    try:
        async with opened(mariadb) as store:
            kept = await Kept.put_into(store)
            listed = "SELECT count(*) FROM information_schema.processlist WHERE user = 'tried'"
            await until(lambda: mariadb.administer(listed)[0][0] == 0, "the end of the connections")
            assert await kept.find() is not None
            assert await kept.add() is True
            await kept.is_whole()
    finally:
        mariadb.administer("SET GLOBAL wait_timeout = 28800")


@pytest.mark.parametrize("wrong", ["password", "database"])
async def test_wrong_at_the_start(sql_engine: Any, wrong: str) -> None:
    """It is said in one line, without the password."""
    url = sql_engine.url(password="SECRET") if wrong == "password" else f"{sql_engine.url()}x"
    with pytest.raises(ConfigurationError) as raised:
        async with opened(sql_engine, url):
            raise AssertionError("it was opened")
    assert "\n" not in str(raised.value)
    assert "SECRET" not in str(raised.value)
    assert "right" not in str(raised.value)


async def test_password_changed_while_it_runs(tried_sql: Tried) -> None:
    """Refused as long as it is wrong, and good by itself when it is right again."""
    engine, kept = tried_sql.engine, tried_sql.kept
    change = "ALTER USER tried PASSWORD '{}'"
    if isinstance(engine, MariaDB):
        change = "ALTER USER 'tried'@'127.0.0.1' IDENTIFIED BY '{}'"
    engine.administer(change.format("other"))
    engine.end_connections()
    await refused(*kept.all())
    await refused(*kept.all())
    engine.administer(change.format("right"))
    await kept.is_whole()


async def test_revocation_is_seen_by_another_process(sql_engine: Any) -> None:
    """DB-07: a connection that has read before has no snapshot of before the revocation."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(opened(sql_engine))
        other = await stack.enter_async_context(opened(sql_engine))
        kept = await Kept.put_into(one)
        for _ in range(3):
            assert await other.find_access_token(kept.pair.access_digest) is not None
        assert await one.revoke_grant(kept.grant.id)
        for _ in range(3):
            assert await other.find_access_token(kept.pair.access_digest) is None


async def test_commit_that_is_not_answered(postgresql: PostgreSQL) -> None:
    """F-25: the backend dies while it commits. No success is answered, and it is not tried twice."""
    async with opened(postgresql) as store:
        kept = await Kept.put_into(store)
        postgresql.administer(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON djoauth2_grant "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()",
            database="tried",
        )
        postgresql.administer("GRANT pg_signal_backend TO tried")
        lost = new_grant()
        await refused(store.add_code(lost))
        postgresql.administer("DROP FUNCTION slow CASCADE", database="tried")
        await kept.is_whole()
        assert await error_of(store.add_code(lost)) is None


def test_kit_has_its_own_servers(postgresql: PostgreSQL) -> None:
    """The tests use no server that was running before."""
    assert postgresql.port != 5432
    with psycopg.connect(host="127.0.0.1", port=postgresql.port, user="postgres") as connection:
        [row] = connection.execute("SHOW data_directory").fetchall()
    assert row[0] == f"{postgresql.folder}/data"
