"""The database behind the SQL stores: its file, its commits, its deadline, its end, its schema."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from djoauth2_twisted.errors import AlreadyExists, ConfigurationError, TemporarilyUnavailable
from djoauth2_twisted.models import User
from djoauth2_twisted.stores.contract import new_grant, new_issuance, new_user, proof_of
from djoauth2_twisted.stores.sql import schema, sessions, upgrade, users, workers
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.registry import SQLRegistry
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore

SECRET = "SECRET-THAT-NO-LOG-MAY-HOLD"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest_twisted.async_yield_fixture
async def database(path: Path) -> AsyncIterator[Database]:
    """An open database in a file."""
    database = Database(reactor, f"sqlite:///{path}")
    database.open()
    yield database
    await database.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a step waits for in its thread: opened by the test, or at its end."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def commits() -> Iterator[list[sa.Connection]]:
    """The commits of all engines."""
    made: list[sa.Connection] = []

    def note(connection: sa.Connection) -> None:
        made.append(connection)

    sa.event.listen(sa.Engine, "commit", note)
    yield made
    sa.event.remove(sa.Engine, "commit", note)


def add_user(connection: sa.Connection, name: str) -> str:
    """A step that writes."""
    row = {field.name: "" for field in schema.user.c} | {"admin": False, "disabled": False}
    connection.execute(sa.insert(schema.user), row | {"username": name})
    return name


def add_and_fail(connection: sa.Connection, name: str) -> None:
    """A step that writes and fails by itself."""
    add_user(connection, name)
    raise ZeroDivisionError(name)


def wait_for(_: sa.Connection, gate: threading.Event) -> str:
    """A step that hangs."""
    assert gate.wait(30)
    return "waited"


def names_in(path: Path) -> list[str]:
    """The users that another process would see."""
    connection = sqlite3.connect(path)
    try:
        return [name for (name,) in connection.execute("SELECT username FROM djoauth2_user ORDER BY 1")]
    finally:
        connection.close()


class ThreadedClock(Clock):
    """A clock that the test moves, and the true reactor for what comes back from a thread."""

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        reactor.callFromThread(function, *arguments)


@pytest_twisted.async_yield_fixture
async def timed(path: Path) -> AsyncIterator[tuple[ThreadedClock, Database]]:
    """A clock, and an open database in a file that goes by it."""
    clock = ThreadedClock()
    database = Database(clock, f"sqlite:///{path}")
    database.open()
    yield clock, database
    await database.close()


async def error_of(step: Deferred[Any]) -> Exception:
    """The error that a step fails with."""
    with pytest.raises(Exception) as raised:  # noqa: PT011
        await step
    return raised.value


async def unavailable(*steps: Deferred[Any]) -> None:
    """Assert that the steps are refused for now, and in time."""
    since = time.monotonic()
    for error in await gatherResults([Deferred.fromCoroutine(error_of(step)) for step in steps]):
        assert isinstance(error, TemporarilyUnavailable)
    assert time.monotonic() - since < 2


def one_line(raised: pytest.ExceptionInfo[ConfigurationError]) -> str:
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    return message


class TestURL:
    """What is said of a URL before anything is opened."""

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
        """The file and those beside it hold who let which client in."""
        await database.write(add_user, "name", key="key")
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["store.db", "store.db-shm", "store.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    async def test_odd_names(self, tmp_path: Path) -> None:
        """A path is a path, and no part of it an option or an escape."""
        for name in ("a b.db", "a#b.db", "a&mode=memory.db", "%zz.db", "\u00e9\U0001f511.db", "'.db"):
            database = Database(reactor, f"sqlite:///{tmp_path}/{name}")
            database.open()
            assert (tmp_path / name).stat().st_size
            await database.close()

    async def test_opened_twice(self, database: Database) -> None:
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
        """Of several that find no file, one makes it and all go on."""
        for attempt in range(5):
            databases = [Database(reactor, f"sqlite:///{path}{attempt}") for _ in range(4)]
            barrier, errors = threading.Barrier(4), []

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
        """F-18: a start waits for who has the file."""
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
        """Nobody can have a file made elsewhere by leaving a link."""
        path.symlink_to(path.parent / "elsewhere.db")
        with pytest.raises(ConfigurationError) as raised:
            Database(reactor, f"sqlite:///{path}").open()
        assert str(path) in one_line(raised)
        assert not path.exists()

    async def test_is_kept_safely(self, database: Database) -> None:
        """F-05: what was answered is on the disk, and readers do not wait for the writer."""

        def pragmas(connection: sa.Connection) -> list[Any]:
            names = ("journal_mode", "synchronous", "query_only")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

        assert await database.write(pragmas, key="key") == ["wal", 2, 0]
        assert await database.read(pragmas) == ["wal", 2, 1]


class TestSchema:
    """The migrations and the tables of today."""

    @pytest.fixture
    def upgraded(self, path: Path) -> Iterator[sa.Connection]:
        with sa.create_engine(f"sqlite:///{path}").begin() as connection:
            upgrade.upgrade(connection, {})
            yield connection
        connection.engine.dispose()

    def test_migrations_make_the_tables(self, upgraded: sa.Connection) -> None:
        """Nothing is missing in either."""
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(upgraded, opts=options)
        assert compare_metadata(context, schema.metadata) == []

    def test_of_the_first_release_is_migrated(self, path: Path) -> None:
        """The migrations, one after the other, end at the tables that a new database gets at once."""
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            command.upgrade(upgrade._config(connection), "0001")
            connection.exec_driver_sql(
                "INSERT INTO djoauth2_client VALUES ('id', 'name', x'00', '', '', '[]', NULL, 0, 0)"
            )
            connection.exec_driver_sql(
                "INSERT INTO djoauth2_user VALUES ('alice', '', '', '', '', 0, 0)"
            )
            connection.exec_driver_sql(
                "INSERT INTO djoauth2_session VALUES (x'00', 'alice', "
                """'{"first_name": "", "last_name": "", "email": ""}', 9)"""
            )
        with engine.begin() as connection:
            upgrade.upgrade(connection, {})
            options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, schema.metadata) == []
            assert upgrade.current(connection) == schema.HEAD
            assert connection.execute(sa.select(schema.client.c.name)).scalars().all() == ["name"]
            # Who was there before has the name for a subject, and stays logged in.
            assert users.find_user(connection, "alice") == User("alice", "", subject="alice")
            assert sessions.find_session(connection, b"\0", 0) is not None
        engine.dispose()

    def test_head_is_the_newest_migration(self, upgraded: sa.Connection) -> None:
        scripts = ScriptDirectory.from_config(upgrade._config(upgraded))
        assert scripts.get_heads() == [schema.HEAD]
        assert upgrade.current(upgraded) == schema.HEAD

    def test_upgraded_twice(self, upgraded: sa.Connection) -> None:
        """The second time does nothing."""
        upgrade.upgrade(upgraded, {})
        assert upgrade.current(upgraded) == schema.HEAD

    def test_what_is_looked_up_has_an_index(self, upgraded: sa.Connection) -> None:
        """No request reads a whole table."""
        columns = {
            "djoauth2_grant": ("id", "code_digest", "client_id", "username", "expires", "created"),
            "djoauth2_token": ("access_digest", "refresh_digest", "grant_id"),
            "djoauth2_session": ("digest", "username", "expires"),
        }
        for table, names in columns.items():
            for name in names:
                plan = upgraded.exec_driver_sql(
                    f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE {name} = ?", ("",)
                ).all()
                assert "USING INDEX" in str(plan), (table, name)


class TestCommit:
    """Many steps to a commit, each of them whole."""

    async def test_many_steps_share_one(
        self, database: Database, gate: threading.Event, commits: list[sa.Connection]
    ) -> None:
        first = database.write(wait_for, gate, key="key")
        steps = [database.write(add_user, f"{number:02}", key="key") for number in range(50)]
        gate.set()
        assert await first == "waited"
        names = await gatherResults(steps)
        assert names == [f"{number:02}" for number in range(50)]
        assert len(commits) == 2
        assert names_in(database.path) == names

    async def test_no_more_than_the_largest_batch(
        self, database: Database, gate: threading.Event, commits: list[sa.Connection]
    ) -> None:
        """The first of many does not wait for the last."""
        first = database.write(wait_for, gate, key="key")
        steps = [
            database.write(add_user, str(n), key="key") for n in range(2 * workers.MAX_BATCH_SIZE + 1)
        ]
        gate.set()
        await gatherResults([first, *steps])
        assert len(commits) == 1 + 3

    async def test_comes_before_the_answer(self, database: Database, gate: threading.Event) -> None:
        """Whoever is answered can rely on it: another process sees it already."""

        def seen(name: str) -> bool:
            return name in names_in(database.path)

        first = database.write(wait_for, gate, key="key")
        steps = [
            database.write(add_user, str(number), key="key").addCallback(seen) for number in range(20)
        ]
        gate.set()
        await first
        assert await gatherResults(steps) == [True] * 20

    async def test_leaves_out_a_step_that_fails(
        self, database: Database, gate: threading.Event, commits: list[sa.Connection]
    ) -> None:
        """It is undone alone; those before and after it in the same commit are not."""
        first = database.write(wait_for, gate, key="key")
        before = database.write(add_user, "before", key="key")
        failing = database.write(add_and_fail, "failing", key="key")
        taken = database.write(add_user, "before", key="key")
        after = database.write(add_user, "after", key="key")
        gate.set()
        await first
        assert await before == "before"
        assert isinstance(await error_of(failing), ZeroDivisionError)
        assert isinstance(await error_of(taken), AlreadyExists)
        assert await after == "after"
        assert names_in(database.path) == ["after", "before"]
        assert len(commits) == 2

    @pytest.mark.parametrize(
        ("table", "row"),
        [
            (schema.scope, {"name": "name", "description": "\udcff"}),
            (schema.scope, {"name": "\udcff", "description": ""}),
            (schema.session, {"digest": b"", "username": "", "profile": {}, "expires": 2**70}),
            (schema.session, {"digest": "text", "username": "", "profile": {}, "expires": 1}),
            (schema.session, {"digest": b"", "username": "", "profile": object(), "expires": 1}),
        ],
    )
    async def test_leaves_out_what_cannot_be_kept(
        self, database: Database, gate: threading.Event, table: sa.Table, row: dict[str, Any]
    ) -> None:
        """A value of no use is one step's fault, and no outage for its neighbours."""

        def add(connection: sa.Connection) -> None:
            connection.execute(sa.insert(table), row)

        with capturedLogs() as logs:
            first = database.write(wait_for, gate, key="key")
            failing = Deferred.fromCoroutine(error_of(database.write(add, key="key")))
            after = database.write(add_user, "after", key="key")
            gate.set()
            await first
            assert not isinstance(await failing, TemporarilyUnavailable)
        assert await after == "after"
        assert logs == []

    async def test_fails_for_all_where_a_statement_fails(
        self, database: Database, gate: threading.Event
    ) -> None:
        """F-15: a full disk undoes the whole transaction, and so nobody's step was taken."""

        def find_no_space(connection: sa.Connection) -> None:
            connection.exec_driver_sql("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")

        first = database.write(wait_for, gate, key="key")
        steps = [
            database.write(add_user, "before", key="key"),
            database.write(find_no_space, key="key"),
            database.write(add_user, "after", key="key"),
        ]
        gate.set()
        await first
        with capturedLogs() as logs:
            await unavailable(*steps)
        assert [event["error"] for event in logs] == ["database or disk is full"]
        await database.write(add_user, "later", key="key")
        assert names_in(database.path) == ["later"]

    async def test_fails_for_all_where_it_cannot_be_kept(
        self, database: Database, gate: threading.Event
    ) -> None:
        """F-16: nobody is told that a step was taken that the disk did not take."""

        def fail(_: sa.Connection) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        first = database.write(wait_for, gate, key="key")
        steps = [database.write(add_user, str(number), key="key") for number in range(10)]
        gate.set()
        await first
        sa.event.listen(sa.Engine, "commit", fail)
        try:
            await unavailable(*steps)
        finally:
            sa.event.remove(sa.Engine, "commit", fail)
        await database.write(add_user, "later", key="key")
        assert names_in(database.path) == ["later"]

    async def test_reads_beside_a_write(self, database: Database, gate: threading.Event) -> None:
        """Who reads does not wait for who writes, and sees what is committed."""
        writing = database.write(wait_for, gate, key="key")
        version = await database.read(upgrade.current)
        assert version == schema.HEAD
        assert not writing.called
        gate.set()
        await writing

    async def test_reads_write_nothing(self, database: Database) -> None:
        """A step that writes is no step for `read`."""
        with capturedLogs():
            await unavailable(database.read(add_user, "name"))
        assert names_in(database.path) == []

    async def test_in_memory_outlives_a_fault(self) -> None:
        """There the connection is the database, and is never exchanged for an empty one."""
        database = Database(reactor, "sqlite://")
        database.open()
        await database.write(add_user, "name", key="key")
        with capturedLogs():
            await unavailable(
                database.write(lambda c: c.exec_driver_sql("SELECT * FROM nothing"), key="key")
            )
        assert isinstance(await error_of(database.write(add_user, "name", key="key")), AlreadyExists)
        await database.close()


class TestCancellation:
    """Who waits no longer."""

    async def test_before_the_step_is_under_way(self, database: Database, gate: threading.Event) -> None:
        """It is left out."""
        first = database.write(wait_for, gate, key="key")
        waiting = database.write(add_user, "waiting", key="key")
        waiting.cancel()
        assert isinstance(await error_of(waiting), CancelledError)
        gate.set()
        await first
        assert await database.write(add_user, "next", key="key") == "next"
        assert names_in(database.path) == ["next"]

    async def test_while_the_step_is_under_way(self, database: Database, gate: threading.Event) -> None:
        """It is taken wholly or not at all."""
        begun = threading.Event()

        def wait_and_add(connection: sa.Connection) -> None:
            begun.set()
            wait_for(connection, gate)
            add_user(connection, "running")

        running = database.write(wait_and_add, key="key")
        assert begun.wait(30)
        running.cancel()
        assert isinstance(await error_of(running), CancelledError)
        gate.set()
        await database.write(add_user, "next", key="key")
        assert names_in(database.path) in (["next"], ["next", "running"])

    async def test_of_all_that_wait(self, database: Database, gate: threading.Event) -> None:
        """The lane goes on when there is nothing left to do, also when it is closed meanwhile."""
        first = database.write(wait_for, gate, key="key")
        waiting = [database.write(add_user, str(number), key="key") for number in range(10)]
        closing = database.close()
        for step in waiting:
            step.cancel()
            assert isinstance(await error_of(step), CancelledError)
        gate.set()
        assert await first == "waited"
        await closing
        assert names_in(database.path) == []


class TestDeadline:
    """Where the database does not answer, whoever asked is told so within two seconds."""

    @pytest.fixture
    def locked(self, database: Database, path: Path) -> Iterator[sqlite3.Connection]:
        """Another process that does not let go of the file."""
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        yield other
        other.close()

    async def test_of_a_locked_file(self, database: Database, locked: sqlite3.Connection) -> None:
        """F-11: writes are refused in time, those too that come while others wait; reads go on."""
        registry = SQLRegistry(database)
        late: list[Deferred[None]] = []

        def ask_again() -> None:
            late.append(Deferred.fromCoroutine(unavailable(registry.add_user(new_user("late")))))

        for delay in (0.2, 0.5, 0.9):
            reactor.callLater(delay, ask_again)
        await unavailable(*(registry.add_user(new_user(str(n))) for n in range(100)))
        assert await registry.find_user("0") is None
        assert len(late) == 3
        await gatherResults(late)
        locked.execute("ROLLBACK")
        await registry.add_user(new_user("after"))
        assert names_in(database.path) == ["after"]

    async def test_is_logged_once(self, database: Database, locked: sqlite3.Connection) -> None:
        """One line when the outage begins and one when it ends, however many asked."""
        registry = SQLRegistry(database)
        with capturedLogs() as logs:
            await unavailable(*(registry.add_user(new_user(SECRET)) for _ in range(10)))
            locked.execute("ROLLBACK")
            for _ in range(2):
                assert await registry.end_sessions("user") is None
        assert [event["log_level"].name for event in logs] == ["error", "info"]
        assert logs[0]["error"] == "database is locked"

    async def test_of_a_thread_that_hangs(
        self, timed: tuple[ThreadedClock, Database], gate: threading.Event
    ) -> None:
        """F-08: all steps that wait for it are refused, and are not run later."""
        clock, database = timed
        with capturedLogs() as logs:
            hanging = database.write(wait_for, gate, key="key")
            waiting = [database.write(add_user, str(number), key="key") for number in range(10)]
            clock.advance(workers.DEADLINE)
            await unavailable(hanging, *waiting)
            still = database.write(add_user, "still", key="key")
            clock.advance(workers.DEADLINE)
            await unavailable(still)
            gate.set()
            await database.write(add_user, "after", key="key")
        assert names_in(database.path) == ["after"]
        assert [event["log_level"].name for event in logs] == ["error", "info"]

    async def test_counts_from_the_question(
        self, timed: tuple[ThreadedClock, Database], gate: threading.Event
    ) -> None:
        """The time that a step waits for others is part of it."""
        clock, database = timed
        second_gate = threading.Event()
        first, second = (database.write(wait_for, each, key="key") for each in (gate, second_gate))
        clock.advance(workers.DEADLINE * 0.75)
        gate.set()
        assert await first == "waited"
        # The next is begun when all have been answered.
        await deferLater(reactor, 0)
        assert not second.called
        with capturedLogs():
            clock.advance(workers.DEADLINE * 0.25)
        assert second.called
        assert isinstance(await error_of(second), TemporarilyUnavailable)
        second_gate.set()
        await database.write(add_user, "after", key="key")

    async def test_of_one_who_asks_again(
        self, timed: tuple[ThreadedClock, Database], gate: threading.Event
    ) -> None:
        """A step that is submitted by the refusal of another is run in its turn."""
        clock, database = timed

        def again(failure: Failure) -> Deferred[str]:
            failure.trap(TemporarilyUnavailable)
            return database.write(add_user, "again", key="key")

        step = database.write(wait_for, gate, key="key").addErrback(again)
        with capturedLogs():
            clock.advance(workers.DEADLINE)
        gate.set()
        assert await step == "again"


class TestFault:
    """F-17: a file that goes away."""

    @pytest.mark.parametrize("asked_before", [True, False])
    async def test_removed(self, database: Database, path: Path, asked_before: bool) -> None:
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
    async def test_replaced(self, database: Database, path: Path, content: bytes) -> None:
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
        """Whatever was asked before is done and answered; whatever is asked after is refused."""
        first = database.write(wait_for, gate, key="key")
        writes = [database.write(add_user, f"{number:03}", key="key") for number in range(200)]
        reads = [database.read(upgrade.current) for _ in range(200)]
        closing = database.close()
        await unavailable(database.write(add_user, "after", key="key"), database.read(upgrade.current))
        assert not closing.called
        gate.set()
        await closing
        assert [step.called for step in (first, *writes, *reads)] == [True] * 401
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
            hanging = database.write(wait_for, gate, key="key")
            waiting = database.write(add_user, "waiting", key="key")
            closing = database.close()
            clock.advance(workers.DEADLINE)
            await unavailable(hanging, waiting)
            assert not closing.called
            gate.set()
            await closing
        assert not threads()
        assert names_in(database.path) == []

    async def test_from_an_answer(self, database: Database) -> None:
        """Whoever is answered may close."""
        assert (
            await database.write(add_user, "name", key="key").addCallback(lambda _: database.close())
            is None
        )
        assert not threads()
