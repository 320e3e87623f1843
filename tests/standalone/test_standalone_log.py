"""The log as JSON."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from djoauth2_twisted.standalone.json_log import (
    MAX_LENGTH,
    MAX_TRACEBACK_LENGTH,
    json_log_observer,
)


class Written:
    """A logger, and the lines that are written of what it logs."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        self.log = Logger("example", observer=LogPublisher(json_log_observer(self._file)))

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file.getvalue().splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        (line,) = self.lines
        return line


@pytest.fixture
def written() -> Written:
    return Written()


def test_line_has_time_level_logger_message_and_fields(written: Written) -> None:
    written.log.warn("{count} of {name}", count=3, name="x", ok=True, none=None)
    assert datetime.fromisoformat(written.line["time"]).utcoffset() == timedelta(0)
    assert {**written.line, "time": ""} == {
        "time": "",
        "level": "warn",
        "logger": "example",
        "message": "3 of x",
        "fields": {"count": 3, "name": "x", "ok": True, "none": None},
    }


def test_message_without_values_has_no_fields(written: Written) -> None:
    written.log.info("Serving")
    assert "fields" not in written.line


@pytest.mark.parametrize("text", ["a\nb", 'a"b', "\x1b[31m", "\ud800", "ü", "\x00"])
def test_each_event_is_one_line_of_ascii(written: Written, text: str) -> None:
    """LG-03."""
    written.log.info("said {text}", text=text)
    written.log.info("next")
    assert written.lines[0]["fields"]["text"] == text
    assert written.lines[1]["message"] == "next"
    assert written._file.getvalue().isascii()


def test_long_values_are_cut(written: Written) -> None:
    """LG-03."""
    written.log.info("said {text}", text="x" * 1_000_000)
    assert len(written.line["message"]) == MAX_LENGTH
    assert len(written.line["fields"]["text"]) == MAX_LENGTH


def test_failure_has_the_end_of_its_traceback(written: Written) -> None:
    try:
        raise ZeroDivisionError("x" * 100_000)
    except ZeroDivisionError:
        written.log.failure("It failed", Failure())
    line = written.line
    assert line["message"].startswith("It failed")
    assert len(line["traceback"]) == MAX_TRACEBACK_LENGTH
    assert "log_failure" not in line.get("fields", {})


def test_value_that_json_has_not_becomes_its_text(written: Written) -> None:
    written.log.info("at {where}", where=("a", 1))
    assert written.line["fields"]["where"] == "('a', 1)"


def test_event_without_a_message_is_not_written(written: Written) -> None:
    written.log.info("")
    assert written.lines == []
