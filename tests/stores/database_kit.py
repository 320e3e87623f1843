"""Steps, clocks and assertions for the tests of a database and its workers."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from reactors import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from waiting import PATIENCE
from zope.interface import implementer

from djoauth2_twisted.clock import IWorkerReactor
from djoauth2_twisted.errors import ConfigurationError, TemporarilyUnavailable
from djoauth2_twisted.stores.sql import schema

#: Nothing that is logged may hold it.
SECRET = "SECRET-THAT-NO-LOG-MAY-HOLD"


def add_user(connection: sa.Connection, name: str) -> str:
    """A step that writes."""
    row: dict[str, Any] = {field.name: "" for field in schema.user.c}
    row |= {"admin": False, "disabled": False, "email_verified": False, "updated_at": 0}
    row |= {"folded": schema.folded_digest(name), "namesake": 0}
    connection.execute(sa.insert(schema.user), row | {"username": name})
    return name


def add_and_fail(connection: sa.Connection, name: str) -> None:
    """A step that writes and fails by itself."""
    add_user(connection, name)
    raise ZeroDivisionError(name)


def hang(_: sa.Connection, gate: threading.Event) -> str:
    """A step that hangs until the gate opens."""
    assert gate.wait(PATIENCE)
    return "waited"


def names_in(path: Path | None) -> list[str]:
    """The users that another process would see in a database's file."""
    assert path is not None, "the database is not in a file"
    connection = sqlite3.connect(path)
    try:
        return [name for (name,) in connection.execute("SELECT username FROM djoauth2_user ORDER BY 1")]
    finally:
        connection.close()


@implementer(IWorkerReactor)
class ThreadedClock(Clock):
    """A clock that the test moves; threads call the real reactor."""

    def callFromThread(self, callable: Any, *arguments: object, **named: object) -> None:
        reactor.callFromThread(callable, *arguments, **named)


async def error_of(step: Deferred[Any]) -> Exception:
    """The error that a step fails with."""
    with pytest.raises(Exception) as raised:  # noqa: PT011
        await step
    return raised.value


async def unavailable(*steps: Deferred[Any]) -> None:
    """Assert that the steps are refused for now."""
    for error in await gatherResults([Deferred.fromCoroutine(error_of(step)) for step in steps]):
        assert isinstance(error, TemporarilyUnavailable)


def one_line(raised: pytest.ExceptionInfo[ConfigurationError]) -> str:
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    return message
