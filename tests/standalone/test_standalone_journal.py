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
from djoauth2_twisted.standalone.journal import JournalFile, is_journal
from djoauth2_twisted.standalone.json_log import json_log_observer


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file that stands for the journal."""
    with (tmp_path / "journal").open("w") as file:
        status = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        yield file


def observing(make: Any, file: IO[Any]) -> Any:
    """An observer whose lines have priorities."""
    journal = JournalFile(file)
    return journal.with_priorities(make(journal))


def _lines(file: IO[Any]) -> list[str]:
    file.flush()
    return Path(file.name).read_text().splitlines()


@pytest.mark.parametrize("make", [textFileLogObserver, json_log_observer])
def test_each_line_begins_with_the_priority_of_its_level(journal: IO[Any], make: Any) -> None:
    observer = observing(make, journal)
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
    observing(textFileLogObserver, journal)({**event, "log_time": 0.0})
    lines = _lines(journal)
    assert len(lines) > 2
    assert all(line.startswith("<2>") for line in lines)


def test_an_event_without_a_message_is_not_written(journal: IO[Any]) -> None:
    observing(textFileLogObserver, journal)({"log_time": 0.0})
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


def test_without_a_journal_there_are_no_priorities(journal: IO[Any], tmp_path: Path) -> None:
    log = Log()
    with (tmp_path / "other").open("w") as other:
        log._observing(other)({"log_level": LogLevel.warn, "log_format": "careful", "log_time": 0.0})
        assert not any(line.startswith("<") for line in _lines(other))


def test_the_access_log_has_the_priority_of_information(journal: IO[Any]) -> None:
    log = Log()
    observer = log._observing(journal)
    log._write("127.0.0.1 GET /healthz 200 16\n")
    observer({"log_level": LogLevel.error, "log_format": "broken", "log_time": 0.0})
    log._write("127.0.0.1 GET /livez 200 16\n")
    assert [line[:3] for line in _lines(journal)] == ["<6>", "<3>", "<6>"]


def test_twist_logs_with_priorities_to_the_journal(
    journal: IO[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", journal)
    twist = {
        "logFile": journal,
        "fileLogObserverFactory": textFileLogObserver,
        "logLevel": LogLevel.info,
    }
    Log().take_over(twist, False)
    observer: Any = twist["fileLogObserverFactory"]
    observer(journal)({"log_level": LogLevel.error, "log_format": "broken", "log_time": 0.0})
    assert [line[:3] for line in _lines(journal)] == ["<3>"]
