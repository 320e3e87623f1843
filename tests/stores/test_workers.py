"""The workers of a database: batches, commits, cancelled steps, deadlines."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from database_kit import (
    SECRET,
    ThreadedClock,
    add_and_fail,
    add_user,
    error_of,
    hang,
    names_in,
    unavailable,
)
from reactors import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from waiting import PATIENCE

from djoauth2_twisted.errors import AlreadyExists, TemporarilyUnavailable
from djoauth2_twisted.stores.contract import new_user
from djoauth2_twisted.stores.sql import schema, upgrade, workers
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.registry import SQLRegistry


class TestCommit:
    """A commit has many steps, and each of them is taken as a whole."""

    async def test_many_steps_share_one(
        self, database: Database, gate: threading.Event, commits: list[sa.Connection]
    ) -> None:
        first = database.write(hang, gate, key="key")
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
        first = database.write(hang, gate, key="key")
        steps = [
            database.write(add_user, str(n), key="key") for n in range(2 * workers.MAX_BATCH_SIZE + 1)
        ]
        gate.set()
        await gatherResults([first, *steps])
        assert len(commits) == 1 + 3

    async def test_comes_before_the_answer(self, database: Database, gate: threading.Event) -> None:
        """What is answered is durable: another process sees it already."""

        def seen(name: str) -> bool:
            return name in names_in(database.path)

        first = database.write(hang, gate, key="key")
        steps = [
            database.write(add_user, str(number), key="key").addCallback(seen) for number in range(20)
        ]
        gate.set()
        await first
        assert await gatherResults(steps) == [True] * 20

    async def test_leaves_out_a_step_that_fails(
        self, database: Database, gate: threading.Event, commits: list[sa.Connection]
    ) -> None:
        """It is rolled back alone; those before and after it in the same commit are not."""
        first = database.write(hang, gate, key="key")
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
        """A value that cannot be stored is one step's fault, and no outage for the others."""

        def add(connection: sa.Connection) -> None:
            connection.execute(sa.insert(table), row)

        with capturedLogs() as logs:
            first = database.write(hang, gate, key="key")
            failing = Deferred.fromCoroutine(error_of(database.write(add, key="key")))
            after = database.write(add_user, "after", key="key")
            gate.set()
            await first
            assert not isinstance(await failing, TemporarilyUnavailable)
        assert await after == "after"
        assert logs == []

    @pytest.mark.parametrize(
        "error", [MemoryError(), RuntimeError("can't start new thread"), OSError(24, "too many files")]
    )
    async def test_that_runs_out_of_something_is_an_outage(
        self, database: Database, error: Exception
    ) -> None:
        """No fault of the step's own: it is refused for now, and one line is logged."""

        def run_out(connection: sa.Connection) -> None:
            add_user(connection, "gone")
            raise error

        with capturedLogs() as logs:
            for _ in range(3):
                await unavailable(database.write(run_out, key="key"))
            assert await database.write(add_user, "after", key="key") == "after"
        assert names_in(database.path) == ["after"]
        assert [event["log_level"].name for event in logs] == ["error", "info"]
        assert logs[0]["reason"]
        with capturedLogs():
            await unavailable(database.read(run_out))

    async def test_fails_for_all_where_a_statement_fails(
        self, database: Database, gate: threading.Event
    ) -> None:
        """F-15: a full disk rolls back the whole transaction, and so no step was taken."""

        def find_no_space(connection: sa.Connection) -> None:
            connection.exec_driver_sql("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")

        first = database.write(hang, gate, key="key")
        steps: list[Deferred[Any]] = [
            database.write(add_user, "before", key="key"),
            database.write(find_no_space, key="key"),
            database.write(add_user, "after", key="key"),
        ]
        gate.set()
        await first
        with capturedLogs() as logs:
            await unavailable(*steps)
        assert [event["reason"] for event in logs] == ["database or disk is full"]
        await database.write(add_user, "later", key="key")
        assert names_in(database.path) == ["later"]

    async def test_fails_for_all_where_it_cannot_be_kept(
        self, database: Database, gate: threading.Event
    ) -> None:
        """F-16: no step is answered as taken that the disk did not take."""

        def fail(_: sa.Connection) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        first = database.write(hang, gate, key="key")
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
        """A reader does not wait for the writer, and sees what is committed."""
        writing = database.write(hang, gate, key="key")
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
    """Steps whose callers wait no longer."""

    async def test_before_the_step_is_under_way(self, database: Database, gate: threading.Event) -> None:
        """The step is left out."""
        first = database.write(hang, gate, key="key")
        waiting = database.write(add_user, "waiting", key="key")
        waiting.cancel()
        assert isinstance(await error_of(waiting), CancelledError)
        gate.set()
        await first
        assert await database.write(add_user, "next", key="key") == "next"
        assert names_in(database.path) == ["next"]

    async def test_while_the_step_is_under_way(self, database: Database, gate: threading.Event) -> None:
        """The step is taken as a whole or not at all."""
        begun = threading.Event()

        def wait_and_add(connection: sa.Connection) -> None:
            begun.set()
            hang(connection, gate)
            add_user(connection, "running")

        running = database.write(wait_and_add, key="key")
        assert begun.wait(PATIENCE)
        running.cancel()
        assert isinstance(await error_of(running), CancelledError)
        gate.set()
        await database.write(add_user, "next", key="key")
        assert names_in(database.path) in (["next"], ["next", "running"])

    async def test_worker_goes_on_after_all_waiting_steps_were_cancelled(
        self, database: Database, gate: threading.Event
    ) -> None:
        """The worker continues when there is nothing left to do, also when it is being closed."""
        first = database.write(hang, gate, key="key")
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
    """Where the database does not answer, the step is refused within two seconds."""

    @pytest.fixture
    def locked(self, database: Database, path: Path) -> Iterator[sqlite3.Connection]:
        """Another process that does not let go of the file."""
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        yield other
        other.close()

    async def test_writes_to_a_locked_file_are_refused_in_time(
        self, database: Database, locked: sqlite3.Connection
    ) -> None:
        """F-11: writes are refused in time, those too that come while others wait; reads continue."""
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
                await registry.end_sessions("user")
        assert [event["log_level"].name for event in logs] == ["error", "info"]
        assert logs[0]["reason"] == "database is locked"

    async def test_of_a_thread_that_hangs(
        self, timed: tuple[ThreadedClock, Database], gate: threading.Event
    ) -> None:
        """F-08: all steps that wait for it are refused, and are not run later."""
        clock, database = timed
        with capturedLogs() as logs:
            hanging = database.write(hang, gate, key="key")
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
        first, second = (database.write(hang, each, key="key") for each in (gate, second_gate))
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

        step = database.write(hang, gate, key="key").addErrback(again)
        with capturedLogs():
            clock.advance(workers.DEADLINE)
        gate.set()
        assert await step == "again"
