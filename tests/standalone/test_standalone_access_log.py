"""The access log in batches: the lines of the log of all events, in order, and none lost at the end."""

from __future__ import annotations

import io
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import FileLogObserver, LogLevel, LogPublisher, textFileLogObserver
from twisted.web.resource import Resource

from djoauth2_twisted.standalone import access_log
from djoauth2_twisted.standalone.access_log import (
    INTERVAL,
    MAX_WAITING,
    PIECE,
    BatchedLog,
    json_format,
    text_format,
)
from djoauth2_twisted.standalone.files import Log
from djoauth2_twisted.standalone.json_log import json_log_observer
from djoauth2_twisted.standalone.workers.assignment import Assignment
from djoauth2_twisted.standalone.workers.marking import WorkerLog
from djoauth2_twisted.web.access_log import Answered
from djoauth2_twisted.web.site import LimitedSite

WHEN = 1_800_000_000.25
PLAIN = Answered("127.0.0.1", b"GET", b"/a/b?code=secret", 200, 12, "")
ODD = Answered("2001:db8::1", b"G\x1bT", b'/\xff"' + b"x" * 300, 400, 0, "iK3x0bWqPz5A")


class Batched:
    """A batched log, what it writes, and its clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pieces: list[str] = []
        self.log = BatchedLog(self.clock, lambda line, _: line + "\n", self.pieces.append)


@pytest.fixture
def batched() -> Batched:
    return Batched()


@pytest.mark.parametrize("answered", [PLAIN, ODD])
@pytest.mark.parametrize("worker", [None, 2])
@pytest.mark.parametrize("form", ["text", "json"])
def test_line_is_that_of_the_log_of_all_events(
    form: str, worker: int | None, answered: Answered
) -> None:
    file = io.StringIO()
    observer: Any
    if worker is not None:
        observer = WorkerLog(Assignment(worker, (), (), {}, form), file)
    else:
        observers: dict[str, Any] = {"text": textFileLogObserver, "json": json_log_observer}
        observer = observers[form](file)
    site = LimitedSite(Resource(), Clock())
    event: dict[str, Any] = {
        "log_namespace": site._log.namespace,
        "log_level": LogLevel.info,
        "log_format": "{line}",
        "log_time": WHEN,
        "line": answered.line(),
    }
    LogPublisher(observer)(event)
    made = {"text": text_format, "json": json_format}[form](worker)
    assert made(answered.line(), WHEN) == file.getvalue()


def test_line_has_no_query_and_nothing_that_moves_a_terminal() -> None:
    assert PLAIN.line() == "127.0.0.1 GET /a/b 200 12"
    line = ODD.line()
    assert line.isascii()
    assert line.isprintable()
    assert line.endswith("x 400 0 [iK3x0bWqPz5A]")
    assert len(line) < 300


def test_times_of_different_seconds_are_told_apart() -> None:
    form = text_format(None)
    assert form("x", WHEN) == form("x", WHEN + 0.5) != form("x", WHEN + 1)


def test_lines_are_written_together_when_it_is_time(batched: Batched) -> None:
    batched.log.add(PLAIN)
    batched.log.add(PLAIN)
    assert batched.pieces == []
    batched.clock.advance(INTERVAL)
    assert batched.pieces == [(PLAIN.line() + "\n") * 2]
    batched.clock.advance(INTERVAL)
    assert len(batched.pieces) == 1
    assert batched.clock.getDelayedCalls() == []


def test_lines_are_written_when_there_are_many(batched: Batched) -> None:
    for _ in range(MAX_WAITING):
        batched.log.add(PLAIN)
    assert "".join(batched.pieces).count("\n") == MAX_WAITING


def test_no_write_is_larger_than_what_a_pipe_takes_whole(batched: Batched) -> None:
    for _ in range(MAX_WAITING):
        batched.log.add(PLAIN)
    assert len(batched.pieces) > 1
    assert all(len(piece) <= PIECE and piece.endswith("\n") for piece in batched.pieces)


def test_lines_that_wait_at_the_end_are_written_and_later_ones_at_once(batched: Batched) -> None:
    batched.log.add(PLAIN)
    batched.log.close()
    assert "".join(batched.pieces).count("\n") == 1
    batched.log.add(PLAIN)
    assert "".join(batched.pieces).count("\n") == 2
    assert batched.clock.getDelayedCalls() == []


class Twist(dict[str, Any]):
    """The options of ``twist`` that logs to a file of a test."""

    def __init__(self, file: Any, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
        super().__init__(
            {
                "fileLogObserverFactory": textFileLogObserver,
                "logLevel": LogLevel.info,
                "logFile": file,
                **changed,
            }
        )
        # The file stands for standard output, which is not opened again.
        monkeypatch.setattr("sys.stdout", file)


def test_accesses_and_events_are_in_order_in_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file, log, clock = io.StringIO(), Log(), Clock()
    twist = Twist(file, monkeypatch)
    log.take_over(twist, as_json=True)
    observer: FileLogObserver = twist["fileLogObserverFactory"](file)
    accesses = log.accesses(clock)
    assert accesses is not None
    for message in ("first", "second"):
        accesses.add(PLAIN)
        observer({"log_format": message, "log_time": WHEN, "log_level": LogLevel.info})
    accesses.add(PLAIN)
    assert file.getvalue().count("\n") == 4
    log.close()
    found = [line.partition('"message": ')[2].split('"')[1] for line in file.getvalue().splitlines()]
    line = PLAIN.line()
    assert found == [line, "first", line, "second", line]


@pytest.mark.parametrize(
    "changed",
    [{"logLevel": LogLevel.warn}, {"fileLogObserverFactory": lambda file: None}],
    ids=["level", "format"],
)
def test_accesses_go_where_all_events_go_if_the_file_has_not_our_lines(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    log = Log()
    log.take_over(Twist(io.StringIO(), monkeypatch, **changed), as_json=False)
    assert log.accesses(Clock()) is None


def test_full_disk_loses_lines_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    file, log = Full(), Log()
    twist = Twist(file, monkeypatch)
    log.take_over(twist, as_json=False)
    twist["fileLogObserverFactory"](file)
    accesses = log.accesses(Clock())
    assert accesses is not None
    accesses.add(PLAIN)
    log.close()


def test_site_hands_its_requests_to_the_log_that_it_was_given() -> None:
    assert LimitedSite(Resource(), Clock())._log.namespace == access_log._SOURCE
