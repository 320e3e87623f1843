"""Log lines with priorities, for the journal of systemd (sd-daemon(3))."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

import pytest
from twisted.logger import LogLevel, textFileLogObserver
from twisted.python.failure import Failure

from djoauth2_twisted.standalone import files
from djoauth2_twisted.standalone.files import Log
from djoauth2_twisted.standalone.journal import is_journal, with_priorities
from djoauth2_twisted.standalone.json_log import json_log_observer


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file in the place of the journal."""
    with (tmp_path / "journal").open("w") as file:
        status = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        yield file


def _lines(file: IO[Any]) -> list[str]:
    file.flush()
    return Path(file.name).read_text().splitlines()


@pytest.mark.parametrize("make", [textFileLogObserver, json_log_observer])
def test_each_line_begins_with_the_priority_of_its_level(journal: IO[Any], make: Any) -> None:
    observer = with_priorities(make)(journal)
    for level in LogLevel.iterconstants():
        observer({"log_level": level, "log_format": "something", "log_time": 0.0})
    found = {line.partition(">")[0] for line in _lines(journal)}
    assert found == {"<2", "<3", "<4", "<6", "<7"}


def test_all_lines_of_a_traceback_have_the_priority(journal: IO[Any]) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        failure = Failure()
    event = {"log_level": LogLevel.critical, "log_format": "a fault", "log_failure": failure}
    with_priorities(textFileLogObserver)(journal)({**event, "log_time": 0.0})
    lines = _lines(journal)
    assert len(lines) > 2
    assert all(line.startswith("<2>") for line in lines)


def test_an_event_without_a_message_is_not_written(journal: IO[Any]) -> None:
    with_priorities(textFileLogObserver)(journal)({"log_time": 0.0})
    assert _lines(journal) == []


def test_only_the_file_that_systemd_names_is_the_journal(
    journal: IO[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_journal(journal)
    with (tmp_path / "other").open("w") as other:
        assert not is_journal(other)
    assert not is_journal(other)
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not is_journal(journal)


@pytest.mark.parametrize("as_json", [False, True])
def test_twistd_logs_with_priorities_to_the_journal_alone(
    journal: IO[Any], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setattr("sys.stdout", journal)
    twistd = {"nodaemon": True, "debug": False, "logfile": None, "syslog": False, "logger": None}
    log = Log()
    log.stand_in(twistd, as_json)
    assert twistd["logger"] == f"{files.__name__}.LOG.open"
    log.open()({"log_level": LogLevel.warn, "log_format": "careful", "log_time": 0.0})
    assert [line[:3] for line in _lines(journal)] == ["<4>"]
    monkeypatch.delenv("JOURNAL_STREAM")
    twistd["logger"] = None
    Log().stand_in(twistd, False)
    assert twistd["logger"] is None


def test_twist_logs_with_priorities_to_the_journal(
    journal: IO[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", journal)
    twist = {"logFile": journal, "fileLogObserverFactory": textFileLogObserver}
    Log().take_over(twist, False)
    observer: Any = twist["fileLogObserverFactory"]
    observer(journal)({"log_level": LogLevel.error, "log_format": "broken", "log_time": 0.0})
    assert [line[:3] for line in _lines(journal)] == ["<3>"]
