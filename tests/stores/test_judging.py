"""A store judges itself without being opened: it changes nothing, and no fault hides another store's."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
import sqlalchemy as sa
from reactors import reactor
from servers import MARIADB, POSTGRESQL, REDIS, WITH_MARIADB, WITH_POSTGRESQL, made, prepare_now

from djoauth2_twisted.finding import Finding
from djoauth2_twisted.server import AuthorizationServer
from djoauth2_twisted.stores.drift import judge_clock
from djoauth2_twisted.stores.redis import connection as redis_connection
from djoauth2_twisted.stores.sql import schema, upgrade
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.engines import engine
from djoauth2_twisted.stores.urls import from_url

#: Where nothing listens.
NOWHERE = "redis://:geheim@127.0.0.1:1/0"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def judge(url: str, token_store: str | None = None) -> list[tuple[str, str]]:
    """The weight and the text of each finding."""
    opened, _, _ = from_url(reactor, url, token_store)
    return said(await opened.judge())


def said(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.weight.name, each.text) for each in findings]


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What is in a folder: each file's time and content."""
    return {each.name: (each.stat().st_mtime_ns, each.read_bytes()) for each in folder.iterdir()}


async def serve(url: str, token_store: str | None = None) -> None:
    """Start and stop a server."""
    server = AuthorizationServer.from_url(
        reactor, url, issuer="https://a.example", token_store=token_store
    )
    server.startService()
    await server.when_ready()
    await server.stopService()


class TestSQLite:
    @pytest_twisted.ensureDeferred
    async def test_a_good_database_is_not_changed(self, path: Path, url: str) -> None:
        """Also no file is made beside it, as SQLite would for a usual reader."""
        await serve(url)
        before = files_of(path.parent)
        assert await judge(url) == []
        assert files_of(path.parent) == before
        assert list(before) == [path.name]

    @pytest_twisted.ensureDeferred
    async def test_a_database_in_use_is_read_as_it_is_now(self, path: Path, url: str) -> None:
        """What is in the write-ahead log counts."""
        database = Database(reactor, url)
        database.open()
        try:
            await database.connect()
            assert (path.parent / f"{path.name}-wal").stat().st_size > 0
            before = set(files_of(path.parent))
            assert await judge(url) == []
            assert set(files_of(path.parent)) == before
        finally:
            await database.close()

    @pytest_twisted.ensureDeferred
    async def test_a_new_database_is_not_made(self, path: Path, url: str) -> None:
        [(weight, text)] = await judge(url)
        assert (weight, list(path.parent.iterdir())) == ("NOTE", [])
        assert "there is no database" in text

    @pytest_twisted.ensureDeferred
    async def test_an_empty_file_is_left_empty(self, path: Path, url: str) -> None:
        path.touch()
        [(weight, text)] = await judge(url)
        assert weight == "NOTE"
        assert "is empty" in text
        assert path.read_bytes() == b""

    @pytest_twisted.ensureDeferred
    async def test_a_missing_folder_is_an_error(self, path: Path) -> None:
        [(weight, text)] = await judge(f"sqlite:///{path.parent}/nowhere/a.db")
        assert weight == "ERROR"
        assert "there is no folder" in text

    @pytest.mark.parametrize("closed", ["file", "folder"])
    @pytest_twisted.ensureDeferred
    async def test_what_cannot_be_written_is_an_error(
        self, path: Path, url: str, monkeypatch: pytest.MonkeyPatch, closed: str
    ) -> None:
        """The tests may run as root, who can write everything: the system's answer is replaced."""
        await serve(url)
        forbidden = path if closed == "file" else path.parent
        monkeypatch.setattr(os, "access", lambda name, _: name != forbidden)
        [(weight, text)] = await judge(url)
        assert weight == "ERROR"
        assert f"{forbidden} is read-only" in text
        path.unlink()
        found = await judge(url)
        assert [each for each, _ in found] == ["NOTE" if closed == "file" else "ERROR"]

    @pytest_twisted.ensureDeferred
    async def test_an_older_schema_is_a_note_and_stays(self, path: Path, url: str) -> None:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            upgrade.migrate(connection, "0001")
        engine.dispose()
        before = files_of(path.parent)
        [(weight, text)] = await judge(url)
        assert weight == "NOTE"
        assert f"has schema 0001, and this release needs {schema.HEAD}" in text
        assert files_of(path.parent) == before

    @pytest_twisted.ensureDeferred
    async def test_a_schema_of_a_newer_release_is_an_error(self, path: Path, url: str) -> None:
        await serve(url)
        connection = sqlite3.connect(path)
        with connection:
            connection.execute(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
        connection.close()
        [(weight, text)] = await judge(url)
        assert weight == "ERROR"
        assert "the database has schema 9999" in text

    @pytest_twisted.ensureDeferred
    async def test_another_encoding_is_an_error(self, path: Path, url: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA encoding='UTF-16le'")
        connection.execute("CREATE TABLE theirs (id)")
        connection.close()
        [(weight, text)] = await judge(url)
        assert weight == "ERROR"
        assert "UTF-16le" in text

    @pytest_twisted.ensureDeferred
    async def test_a_file_that_is_no_database_is_an_error(self, path: Path, url: str) -> None:
        path.write_bytes(b"junk" * 1000)
        [(weight, text)] = await judge(url)
        assert weight == "ERROR"
        assert "file is not a database" in text

    @pytest_twisted.ensureDeferred
    async def test_a_database_in_memory_is_a_warning(self) -> None:
        [(weight, text)] = await judge("sqlite://")
        assert weight == "WARNING"
        assert "in memory" in text

    @pytest_twisted.ensureDeferred
    async def test_names_that_are_alike_are_a_warning(self, path: Path, url: str) -> None:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            upgrade.migrate(connection, "0005")
            row = "INSERT INTO djoauth2_user VALUES (?, '', '', '', '', 0, 0, NULL)"
            connection.exec_driver_sql(row, [("ALICE",), ("alice",), ("bob",)])
        engine.dispose()
        await serve(url)
        [(weight, text)] = await judge(url)
        assert weight == "WARNING"
        assert "'ALICE', 'alice'" in text
        assert "bob" not in text

    @pytest_twisted.ensureDeferred
    async def test_tokens_that_were_elsewhere_are_a_warning(self, path: Path, url: str) -> None:
        """Once the store that the database knows of is not named, and once another one is."""
        tokens = path.with_name("tokens.db")
        await serve(url, f"sqlite:///{tokens}")
        assert await judge(url, f"sqlite:///{tokens}") == []
        [(weight, text)] = await judge(url)
        assert weight == "WARNING"
        assert f"the tokens were in {tokens} until now" in text
        await serve(url)
        [(weight, text)] = await judge(url, f"sqlite:///{tokens}")
        assert weight == "WARNING"
        assert f"the tokens were in the database {path} until now" in text

    def test_its_files_are_told(self, path: Path, url: str) -> None:
        """For the check of their modes."""
        opened, _, _ = from_url(reactor, url, f"sqlite:///{path}.tokens")
        names = [
            f"{name}{ending}" for name in (path, f"{path}.tokens") for ending in ("", "-wal", "-shm")
        ]
        assert list(map(str, opened.files())) == names
        opened, _, _ = from_url(reactor, url, NOWHERE)
        assert len(opened.files()) == 3


class TestRedis:
    GOOD: dict[str, str] = {"aof_enabled": "1", "maxmemory_policy": "noeviction", "maxmemory": "0"}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({}, None),
            ({"maxmemory_policy": "allkeys-lru"}, None),
            ({"maxmemory": "1000"}, None),
            ({"aof_enabled": "0"}, "appendonly yes"),
            ({"maxmemory_policy": "allkeys-lru", "maxmemory": "1000"}, "maxmemory-policy noeviction"),
        ],
        ids=str,
    )
    def test_settings_that_lose_grants_are_warnings(
        self, changed: dict[str, str], words: str | None
    ) -> None:
        found = said(redis_connection._warnings_of(self.GOOD | changed))
        assert [weight for weight, _ in found] == ["WARNING"] * (words is not None)
        assert all(words in text for _, text in found if words)

    @pytest_twisted.ensureDeferred
    async def test_one_that_is_not_there_hides_nothing_else(self, url: str) -> None:
        """And its password is not told."""
        found = await judge(url, NOWHERE)
        assert [weight for weight, _ in found] == ["NOTE", "ERROR"]
        assert "the token store cannot be used" in found[1][1]
        assert "geheim" not in str(found)

    @pytest.mark.engine
    @pytest_twisted.ensureDeferred
    async def test_a_real_one_is_judged(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """It saves to a file or not: only that may be told."""
        await serve(url, REDIS)
        found = await judge(url, REDIS)
        assert {weight for weight, _ in found} <= {"WARNING"}
        assert all("appendonly" in text or "maxmemory" in text for _, text in found)
        redis = redis_connection.Redis(reactor, REDIS)
        monkeypatch.setattr(
            redis_connection, "judge_clock", lambda name, *_: judge_clock(name, 20, 0, 9)
        )
        assert "clock of redis://" in said(await redis.judge())[-1][1]


class TestClock:
    @pytest.mark.parametrize("theirs", [96.0, 100.0, 103.0, 108.0])
    def test_clocks_that_agree_are_no_finding(self, theirs: float) -> None:
        """Five seconds are allowed, and the time that the answer took."""
        assert judge_clock("the database", theirs, 100.0, 103.0) == []

    @pytest.mark.parametrize(
        ("theirs", "words"), [(94.0, "6 seconds behind"), (109.0, "6 seconds ahead of")]
    )
    def test_clocks_that_differ_are_a_warning(self, theirs: float, words: str) -> None:
        [(weight, text)] = said(judge_clock("the database", theirs, 100.0, 103.0))
        assert weight == "WARNING"
        assert f"the clock of the database is {words}" in text


@pytest.mark.parametrize("kind", [WITH_POSTGRESQL, WITH_MARIADB])
class TestServers:
    @pytest.fixture
    def url(self, kind: str) -> Iterator[str]:
        with made(POSTGRESQL if kind == "postgresql" else MARIADB) as url:
            yield url

    @pytest_twisted.ensureDeferred
    async def test_a_prepared_one_is_good(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        await prepare_now(url)
        assert [each for each in await judge(url) if "may be lost" not in each[1]] == []
        monkeypatch.setattr(engine, "time", lambda: 0.0)
        found = [text for weight, text in await judge(url) if "clock" in text]
        assert len(found) == 1
        assert "seconds ahead of" in found[0]

    @pytest_twisted.ensureDeferred
    async def test_one_without_a_schema_is_an_error_and_stays_empty(self, url: str) -> None:
        found = [each for each in await judge(url) if "may be lost" not in each[1]]
        assert [weight for weight, _ in found] == ["ERROR"]
        assert "`djoauth2 database upgrade`" in found[0][1]
        empty = sa.create_engine(url, poolclass=sa.pool.NullPool)
        assert sa.inspect(empty).get_table_names() == []

    @pytest_twisted.ensureDeferred
    async def test_one_that_does_not_answer_is_an_error(self, url: str) -> None:
        wrong = sa.make_url(url).set(port=1, password="geheim")
        [(weight, text)] = await judge(wrong.render_as_string(hide_password=False))
        assert weight == "ERROR"
        assert "cannot be used" in text
        assert "geheim" not in text
