"""The files that the server creates: who may read them, and a log that goes on after a rename."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogLevel, jsonFileLogObserver, textFileLogObserver

from djoauth2_twisted.standalone import files
from djoauth2_twisted.standalone.files import Log, ServiceLog

EVENT = {"log_format": "said {what}", "what": "this", "log_level": LogLevel.info, "log_time": 0.0}


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The mask of this process, which the tests change."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """The log of the process, new."""
    log = Log()
    monkeypatch.setattr(files, "LOG", log)
    yield log
    if log._file is not None:
        log._file.close()


def mode_of(path: Path) -> int:
    """The mode of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("before", "after"), [(None, 0o640), (0o600, 0o600), (0o644, 0o640), (0o666, 0o640)]
)
def test_log_is_read_by_its_owner_and_group_alone(
    tmp_path: Path, before: int | None, after: int
) -> None:
    """An existing file keeps a narrower mode."""
    path = tmp_path / "the.log"
    if before is not None:
        path.touch()
        path.chmod(before)
    opened = ServiceLog.at(str(path))
    opened.close()
    assert mode_of(path) == after


def test_device_keeps_its_mode() -> None:
    """As does everything else that is not a file of ours."""
    before = mode_of(Path(os.devnull))
    ServiceLog.at(os.devnull).close()
    assert mode_of(Path(os.devnull)) == before


@pytest.mark.parametrize("asked", [None, 0o000, 0o077])
def test_files_of_the_server_are_never_for_others(log: Log, tmp_path: Path, asked: int | None) -> None:
    """Whatever `--umask` says; it may say more."""
    starter: dict[str, Any] = {"umask": asked, "nodaemon": True, "debug": False}
    starter |= {"logfile": None, "syslog": False}
    assert files.take_files(starter) is log
    if starter["umask"] is not None:
        os.umask(starter["umask"])
    made = tmp_path / "made"
    made.touch(0o666)
    assert mode_of(made) & 0o027 == 0
    assert starter["umask"] in (None, 0o027, 0o077)


def twistd(**changes: Any) -> dict[str, Any]:
    """The options of `twistd`."""
    plain: dict[str, Any] = {"nodaemon": True, "debug": False, "logfile": None, "syslog": False}
    return {**plain, "umask": None, **changes}


def test_twistd_logs_into_a_file_that_is_reopened_after_a_rename(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As logrotate does it; SIGUSR1 is for those who rotate by `twistd`'s own way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("SIGUSR1 has a handler"))
    monkeypatch.setattr(signal, "getsignal", lambda _: lambda *_: None)
    path, renamed = tmp_path / "the.log", tmp_path / "the.log.1"
    files.take_files(options := twistd(logfile="the.log"))
    assert options["logger"] == "djoauth2_twisted.standalone.files.LOG.open"
    assert log.is_file
    observer = log.open()
    observer(EVENT)
    path.rename(renamed)
    observer(EVENT)
    assert not path.exists()
    assert log.reopen() == path
    observer(EVENT)
    log.copy(b"of a worker\n")
    assert renamed.read_text().count("said this") == 2
    assert path.read_text().splitlines()[1:] == ["of a worker"]
    assert mode_of(path) == 0o640


def test_log_that_cannot_be_reopened_goes_on_in_its_file(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    files.take_files(twistd(logfile=str(folder / "the.log")))
    monkeypatch.setattr(signal, "getsignal", lambda _: lambda *_: None)
    observer = log.open()
    folder.rename(tmp_path / "renamed")
    with pytest.raises(OSError, match=r"the\.log"):
        log.reopen()
    observer(EVENT)
    assert "said this" in (tmp_path / "renamed" / "the.log").read_text()


def test_sigusr1_rotates_the_log_of_twistd(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the reactor's next turn, since a signal may interrupt any code."""
    later: list[Any] = []
    monkeypatch.setattr(files, "_from_signal", later.append)
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        files.take_files(twistd(logfile=str(tmp_path / "the.log")))
        log.open()(EVENT)
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    (rotate,) = later
    rotate()
    assert "said this" in (tmp_path / "the.log.1").read_text()
    assert (tmp_path / "the.log").read_text() == ""


def test_twistd_in_the_foreground_logs_to_standard_output(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    files.take_files(options := twistd(), as_json=True)
    assert "logger" in options
    log.open()(EVENT)
    assert '"message": "said this"' in capsys.readouterr().out
    assert not log.is_file
    assert log.reopen() is None
    # There is no file for the lines of a worker.
    log.copy(b"of a worker\n")


@pytest.mark.parametrize(
    "changes", [{"syslog": True}, {"logger": "a.logger"}, {"nodaemon": False, "logfile": "-"}]
)
def test_log_of_the_operators_own_choice_is_left_alone(log: Log, changes: dict[str, Any]) -> None:
    files.take_files(options := twistd(**changes))
    assert options == twistd(**changes)
    assert not log.is_file
    assert log.accesses(reactor_that_is_not_used()) is None


def reactor_that_is_not_used() -> Any:
    """Nothing is asked of it."""
    return None


@pytest.mark.parametrize(
    ("given", "as_json", "form"),
    [
        (textFileLogObserver, False, "text"),
        (textFileLogObserver, True, "json"),
        (jsonFileLogObserver, False, "twisted-json"),
    ],
)
def test_log_file_of_twist_becomes_one_that_others_cannot_read(
    log: Log, tmp_path: Path, given: Any, as_json: bool, form: str
) -> None:
    """`twist` has opened it before it asks us."""
    path = tmp_path / "the.log"
    opened = path.open("w")
    path.chmod(0o666)
    twist = {"fileLogObserverFactory": given, "logLevel": LogLevel.info, "logFile": opened}
    files.take_files(twist, as_json)
    assert opened.closed
    twist["fileLogObserverFactory"](twist["logFile"])(EVENT)
    assert (mode_of(path), log.form, log.is_file) == (0o640, form, True)
    assert "this" in path.read_text()
    assert (log.accesses(reactor_that_is_not_used()) is None) == (form == "twisted-json")


def test_standard_output_of_twist_is_not_closed(log: Log) -> None:
    out = sys.stdout
    twist = {"fileLogObserverFactory": textFileLogObserver, "logLevel": LogLevel.info, "logFile": out}
    files.take_files(twist)
    assert (twist["logFile"], out.closed, log.is_file) == (out, False, False)
