"""An open database in a file, and what its tests need."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
import sqlalchemy as sa
from database_kit import (
    ThreadedClock,
)
from twisted.internet import reactor

from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.workers import IWorkerReactor


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest_twisted.async_yield_fixture
async def database(path: Path) -> AsyncIterator[Database]:
    """An open database in a file."""
    database = Database(cast("IWorkerReactor", reactor), f"sqlite:///{path}")
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
    database = Database(cast("IWorkerReactor", clock), f"sqlite:///{path}")
    database.open()
    yield clock, database
    await database.close()
