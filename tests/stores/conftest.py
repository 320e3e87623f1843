"""An open database in a file, and patience: what the tests of stores share."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_twisted
import sqlalchemy as sa
from database_kit import ThreadedClock
from reactors import reactor

from djoauth2_twisted.stores.redis import connection as redis_connection
from djoauth2_twisted.stores.redis import tokens as redis_tokens
from djoauth2_twisted.stores.sql import workers
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.engines import engine


@pytest.fixture(scope="module")
def patient() -> Iterator[None]:
    """Let no step of a store time out, however slow the machine is.

    It is as wide as a module, so that it comes before a store that a module's tests share.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "WAIT", 60)
        patch.setattr(workers, "DEADLINE", 60)
        patch.setattr(redis_connection, "COMMAND_DEADLINE", 60)
        patch.setattr(redis_tokens, "LATEST_WRITE", 60_000)
        yield


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
    """An event that a step waits for in its thread; it is set by the test, or at its end."""
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


@pytest_twisted.async_yield_fixture
async def timed(path: Path) -> AsyncIterator[tuple[ThreadedClock, Database]]:
    """A clock, and an open database whose deadlines go by it."""
    clock = ThreadedClock()
    database = Database(clock, f"sqlite:///{path}")
    database.open()
    yield clock, database
    await database.close()
