"""The database behind the SQL stores: its URL, its file, its faults, its end."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from database_kit import (
    SECRET,
    ThreadedClock,
    add_user,
    error_of,
    hang,
    names_in,
    one_line,
    unavailable,
)
from reactors import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs

from djoauth2_twisted.errors import ConfigurationError, TemporarilyUnavailable
from djoauth2_twisted.models import User
from djoauth2_twisted.stores.contract import new_grant, new_issuance, proof_of
from djoauth2_twisted.stores.sql import schema, upgrade, workers
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.registry import SQLRegistry
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore


class TestURL:
    """How a URL is judged before anything is opened."""

    async def test_a_relative_path_is_taken_from_the_folder_of_now(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A daemon changes its folder after its options were read."""
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        database = Database(reactor, "sqlite:///store.db")
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert database.path == tmp_path / "store.db"
        database.open()
        assert (tmp_path / "store.db").exists()
        assert list((tmp_path / "elsewhere").iterdir()) == []
        await database.close()

    @pytest.mark.parametrize("started", [0, 1, 2])
    async def test_without_threads_is_an_error_in_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: int
    ) -> None:
        """Those that were started are ended, and the database can be opened later."""
        starting, left = workers._Daemon.start, [started]

        def start(self: threading.Thread) -> None:
            if not left[0]:
                raise RuntimeError("can't start new thread")
            left[0] -= 1
            starting(self)

        before = threading.active_count()
        monkeypatch.setattr(workers._Daemon, "start", start)
        database = Database(reactor, f"sqlite:///{tmp_path}/store.db")
        with pytest.raises(ConfigurationError, match="cannot be used: can't start new thread") as caught:
            database.open()
        assert one_line(caught)
        assert threading.active_count() == before
        monkeypatch.undo()
        database.open()
        assert await database.read(upgrade.current) == schema.HEAD
        await database.close()

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
    async def test_in_memory(self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """No file is made."""
        monkeypatch.chdir(tmp_path)
        database = Database(reactor, url)
        assert database.path is None
        assert database.version() is None
        database.open()
        assert await database.read(upgrade.current) == schema.HEAD
        await database.close()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "nonsense",
            "://",
            "sqlite",
            "sqlite:",
            "sqlite:store.db",
            f"postgresql://user:{SECRET}@host",
            f"mysql://user:{SECRET}@host",
            f"postgresql://user:{SECRET}@host:port/name",
            f"redis://:{SECRET}@host",
            "bogus://host/name",
            "sqlite:///store.db?mode=ro",
            "sqlite:///store.db?timeout=5&cache=shared",
            "sqlite://store.db",
            "sqlite://host/store.db",
            f"sqlite://user:{SECRET}@/store.db",
            "sqlite://host:99999/store.db",
            "sqlite://host:port/store.db",
            "sqlite:///two\nlines.db",
            "sqlite:///nul\0.db",
            "sqlite:///not-utf-8-\udcff.db",
        ],
    )
    def test_that_cannot_be_used(self, url: str) -> None:
        """One line says so, without the password in it."""
        with pytest.raises(ConfigurationError) as raised:
            Database(reactor, url)
        assert SECRET not in one_line(raised)


class TestFile:
    """What is opened, and what is not."""

    async def test_is_its_owners_alone(self, database: Database, path: Path) -> None:
        """Only its owner may read the file and those beside it."""
        await database.write(add_user, "name", key="key")
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["store.db", "store.db-shm", "store.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    async def test_path_with_special_characters_is_only_a_path(self, tmp_path: Path) -> None:
        """A path is a path, and no part of it an option or an escape."""
        for name in ("a b.db", "a#b.db", "a&mode=memory.db", "%zz.db", "\u00e9\U0001f511.db", "'.db"):
            database = Database(reactor, f"sqlite:///{tmp_path}/{name}")
            database.open()
            assert (tmp_path / name).stat().st_size
            await database.close()

    async def test_opening_twice_does_nothing(self, database: Database) -> None:
        """The second time does nothing."""
        database.open()
        assert await database.write(add_user, "name", key="key") == "name"

    async def test_opened_again(self, path: Path) -> None:
        """What was written is there after a close, in the same object and in another."""
        database = Database(reactor, f"sqlite:///{path}")
        for number in range(3):
            database.open()
            await database.write(add_user, str(number), key="key")
            await database.close()
        assert names_in(path) == ["0", "1", "2"]
        assert Database(reactor, f"sqlite:///{path}").version() == schema.HEAD

    async def test_opened_at_the_same_instant(self, path: Path) -> None:
        """Of several that find no file, one makes it and all continue."""
        for attempt in range(5):
            databases = [Database(reactor, f"sqlite:///{path}{attempt}") for _ in range(4)]
            barrier = threading.Barrier(4)
            errors: list[ConfigurationError] = []

            def start(database: Database, barrier=barrier, errors=errors) -> None:
                barrier.wait()
                try:
                    database.open()
                except ConfigurationError as error:
                    errors.append(error)

            threads = [threading.Thread(target=start, args=(database,)) for database in databases]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert errors == []
            await gatherResults([database.close() for database in databases])

    async def test_opened_while_another_writes(self, path: Path) -> None:
        """F-18: a start waits for the process that has locked the file."""
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("CREATE TABLE theirs (id)")
        other.execute("BEGIN IMMEDIATE")
        reactor.callLater(0.1, other.close)
        database = Database(reactor, f"sqlite:///{path}")
        await deferToThread(database.open)
        await database.close()

    def test_nothing_is_made_where_nothing_may_be_prepared(self, path: Path) -> None:
        """To look is not to make."""
        database = Database(reactor, f"sqlite:///{path}")
        assert database.version() is None
        with pytest.raises(ConfigurationError) as raised:
            database.open(prepare=False)
        assert str(path) in one_line(raised)
        assert not path.exists()

    async def test_of_another_application(self, path: Path) -> None:
        """Its tables are left alone, and looking at it changes nothing at all."""
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE theirs (id)")
        other.close()
        before = path.read_bytes()
        database = Database(reactor, f"sqlite:///{path}")
        assert database.version() is None
        assert path.read_bytes() == before
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        database.open()
        tables = await database.read(lambda c: sa.inspect(c).get_table_names())
        await database.close()
        assert {"theirs", "djoauth2_client"} <= set(tables)

    async def test_of_an_unknown_release(self, path: Path) -> None:
        """What a newer release made is not touched."""
        database = Database(reactor, f"sqlite:///{path}")
        database.open()
        await database.close()
        with sqlite3.connect(path) as newer:
            newer.execute(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
        newer.close()
        for prepare in (True, False):
            with pytest.raises(ConfigurationError) as raised:
                database.open(prepare)
            assert "9999" in one_line(raised)
        assert database.version() == "9999"

    @pytest.mark.parametrize("name", ["missing/store.db", "folder", "text", "text/store.db", "short"])
    def test_that_cannot_be_used(self, name: str, tmp_path: Path) -> None:
        """One line says which and why, and no thread stays behind."""
        (tmp_path / "folder").mkdir()
        (tmp_path / "text").write_text("This is a letter and no database. " * 100)
        (tmp_path / "short").write_bytes(b"SQLite format 3\0" + b"\xff" * 200)
        database = Database(reactor, f"sqlite:///{tmp_path}/{name}")
        before = threads()
        with pytest.raises(ConfigurationError) as raised:
            database.open()
        assert str(tmp_path / name) in one_line(raised)
        assert threads() == before
        assert not (tmp_path / "missing").exists()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_that_may_not_be_read(self, path: Path) -> None:
        """One line says so."""
        path.touch(0o000)
        database = Database(reactor, f"sqlite:///{path}")
        with pytest.raises(ConfigurationError) as raised:
            database.open()
        assert str(path) in one_line(raised)

    def test_behind_a_link_to_nowhere(self, path: Path) -> None:
        """A link that was left there does not make the server create a file elsewhere."""
        path.symlink_to(path.parent / "elsewhere.db")
        with pytest.raises(ConfigurationError) as raised:
            Database(reactor, f"sqlite:///{path}").open()
        assert str(path) in one_line(raised)
        assert not path.exists()

    async def test_answered_writes_are_on_the_disk(self, database: Database) -> None:
        """F-05: what was answered is on the disk, and readers do not wait for the writer."""

        def pragmas(connection: sa.Connection) -> list[Any]:
            names = ("journal_mode", "synchronous", "query_only")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

        assert await database.write(pragmas, key="key") == ["wal", 2, 0]
        assert await database.read(pragmas) == ["wal", 2, 1]


class TestFault:
    """F-17: a file that goes away."""

    @pytest.mark.parametrize("asked_before", [True, False])
    async def test_removed_file_is_refused_until_it_is_back(
        self, database: Database, path: Path, asked_before: bool
    ) -> None:
        """It is refused, and no empty one takes its place; back in place, it serves again."""
        if asked_before:
            await database.write(add_user, "before", key="key")
            await database.read(upgrade.current)
        aside = path.parent / "aside"
        with capturedLogs() as logs:
            path.rename(aside)
            for _ in range(2):
                await unavailable(
                    database.write(add_user, "meanwhile", key="key"), database.read(upgrade.current)
                )
            assert not path.exists()
            aside.rename(path)
            await database.write(add_user, "after", key="key")
            await database.read(upgrade.current)
        assert names_in(path) == (["after", "before"] if asked_before else ["after"])
        assert sorted(event["log_level"].name for event in logs) == ["error"] * 2 + ["info"] * 2

    @pytest.mark.parametrize("content", [b"", b"nonsense"])
    async def test_replaced_file_is_refused(
        self, database: Database, path: Path, content: bytes
    ) -> None:
        """Another file of that name is not taken for it, and not written to."""
        await database.write(add_user, "before", key="key")
        aside = path.parent / "aside"
        path.rename(aside)
        path.write_bytes(content)
        with capturedLogs():
            for _ in range(2):
                await unavailable(
                    database.write(add_user, "meanwhile", key="key"), database.read(upgrade.current)
                )
        assert path.read_bytes() == content
        with capturedLogs():
            aside.rename(path)
            await database.write(add_user, "after", key="key")

    async def test_tables_removed(self, database: Database, path: Path) -> None:
        """DB-13, U-03: neither the error nor the log repeats what was to be kept."""
        with sqlite3.connect(path) as other:
            other.execute("DROP TABLE djoauth2_user")
            other.execute("DROP TABLE djoauth2_token")
        other.close()
        registry, tokens = SQLRegistry(database), SQLTokenStore(database)
        grant = new_grant(code_challenge=None)
        await tokens.add_code(grant)
        with capturedLogs() as logs:
            errors = [
                await error_of(registry.add_user(User(SECRET, SECRET, SECRET))),
                await error_of(registry.find_user(SECRET)),
                await error_of(tokens.redeem_code(grant.code_digest, proof_of(grant), new_issuance())),
            ]
        for error in errors:
            assert isinstance(error, TemporarilyUnavailable)
            assert SECRET not in "".join(traceback.format_exception(error))
        assert logs
        assert SECRET not in str([event.get("error") for event in logs])

    async def test_error_texts_hide_parameters(self, database: Database) -> None:
        """DB-13: not even where a programming error shows the statement."""
        row = {"digest": "not bytes", "username": SECRET, "profile": {}, "expires": 1}
        error = await error_of(
            database.write(
                lambda connection: connection.execute(sa.insert(schema.session), row), key="key"
            )
        )
        assert "djoauth2_session" in str(error)
        assert SECRET not in str(error)


def threads() -> set[threading.Thread]:
    """The threads of databases that are running."""
    return {thread for thread in threading.enumerate() if "djoauth2" in thread.name}


class TestClose:
    """The end."""

    async def test_before_open(self, path: Path) -> None:
        """What is not open answers so, and closes at once."""
        database = Database(reactor, f"sqlite:///{path}")
        await unavailable(database.write(add_user, "name", key="key"), database.read(upgrade.current))
        await database.close()
        assert not path.exists()

    async def test_finishes_what_is_under_way(self, database: Database, gate: threading.Event) -> None:
        """Steps from before are run and answered; later steps are refused."""
        first = database.write(hang, gate, key="key")
        writes = [database.write(add_user, f"{number:03}", key="key") for number in range(200)]
        reads = [database.read(upgrade.current) for _ in range(200)]
        closing = database.close()
        await unavailable(database.write(add_user, "after", key="key"), database.read(upgrade.current))
        assert not closing.called
        gate.set()
        await closing
        steps: list[Deferred[Any]] = [first, *writes, *reads]
        assert [step.called for step in steps] == [True] * 401
        assert await gatherResults(reads) == [schema.HEAD] * 200
        assert names_in(database.path) == await gatherResults(writes)

    async def test_leaves_nothing_behind(self, database: Database, path: Path) -> None:
        """Threads have ended, connections are closed and the file is one file again."""
        await gatherResults([database.write(add_user, str(n), key="key") for n in range(10)])
        await gatherResults([database.read(upgrade.current) for _ in range(10)])
        assert threads()
        await database.close()
        assert not threads()
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        await database.close()

    async def test_while_it_does_not_answer(
        self, timed: tuple[ThreadedClock, Database], gate: threading.Event
    ) -> None:
        """Steps that wait are refused in time; the end comes when the thread is free again."""
        clock, database = timed
        with capturedLogs():
            hanging = database.write(hang, gate, key="key")
            waiting = database.write(add_user, "waiting", key="key")
            closing = database.close()
            clock.advance(workers.DEADLINE)
            await unavailable(hanging, waiting)
            assert not closing.called
            gate.set()
            await closing
        assert not threads()
        assert names_in(database.path) == []

    async def test_callback_of_an_answer_may_close_the_database(self, database: Database) -> None:
        """The callback of an answer may close the database."""
        assert (
            await database.write(add_user, "name", key="key").addCallback(lambda _: database.close())
            is None
        )
        assert not threads()

    async def test_callback_of_an_answer_may_close_while_other_steps_wait(
        self, database: Database, gate: threading.Event
    ) -> None:
        """Those are run before the end, and no deadline is left behind."""
        first = database.write(hang, gate, key="key").addCallback(lambda _: database.close())
        waiting = [database.write(add_user, str(number), key="key") for number in range(3)]
        gate.set()
        await first
        assert [step.called for step in waiting] == [True] * 3
        assert names_in(database.path) == await gatherResults(waiting)
        assert not threads()
