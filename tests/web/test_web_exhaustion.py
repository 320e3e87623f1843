"""Running out of memory, threads or files: no password counts as wrong, and no client is at fault."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argon2
import pytest
from twisted.cred.checkers import FilePasswordDB
from twisted.internet.defer import fail
from web_driver import PASSWORDS, Answer, System, basic

from djoauth2_twisted import credentials, passwords
from djoauth2_twisted.conf import Settings
from djoauth2_twisted.passwords import PasswordThreads

#: The default limit on wrong passwords.
GUESSES = Settings().max_wrong_passwords

MakeSystem = Callable[..., System]

_SPENT = [
    MemoryError(),
    RuntimeError("can't start new thread"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENFILE, "Too many open files in system"),
    OSError(errno.ENOSPC, "No space left on device"),
]


def log_in(system: System, username: str = "alice", password: str | None = None) -> Answer:
    browser = system.browser()
    form = browser.get("/oauth2/login/").form("password").hidden
    typed = {"username": username, "password": password or PASSWORDS["alice"]}
    return browser.post("/oauth2/login/", {**form, **typed}, faults=True)


@pytest.fixture
def system(make_system: MakeSystem) -> System:
    """Its passwords are argon2id."""
    return make_system(checked_in_memory=False)


def lines(log: Any, text: str) -> int:
    return sum(text in line for line in log.lines)


class Hasher(argon2.PasswordHasher):
    """argon2 as it is where the system gives it nothing."""

    reason = "Memory allocation error"

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:
        raise argon2.exceptions.VerificationError(self.reason)

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        raise argon2.exceptions.HashingError(self.reason)


@pytest.mark.parametrize("reason", ["Memory allocation error", "Threading failure"])
def test_login_without_memory_is_no_wrong_password(
    system: System, monkeypatch: pytest.MonkeyPatch, log: Any, reason: str
) -> None:
    """503 and one line, however often; and no failed login is counted."""
    monkeypatch.setattr(Hasher, "reason", reason)
    monkeypatch.setattr(credentials, "_hasher", Hasher())
    for number in range(GUESSES + 3):
        answer = log_in(system, ("alice", "unknown")[number % 2])
        assert (answer.status, answer.header("retry-after")) == (503, "1")
    assert lines(log, "Passwords cannot be hashed: the system is out of ") == 1
    assert "Traceback" not in str(log.lines)
    assert lines(log, "A login was refused") == 0
    monkeypatch.undo()
    assert log_in(system, password="wrong").status == 403
    assert log_in(system).status == 303
    assert lines(log, "Passwords can be hashed again.") == 1


def test_login_without_threads_is_no_wrong_password(
    system: System, monkeypatch: pytest.MonkeyPatch, log: Any
) -> None:
    """Nor is the place of the thread taken without end."""
    starting = passwords.PatientThread.start

    def start(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(passwords.PatientThread, "start", start)
    for _ in range(GUESSES + 3):
        assert log_in(system).status == 503
    assert lines(log, "Passwords cannot be hashed: the system is out of threads") == 1
    monkeypatch.setattr(passwords.PatientThread, "start", starting)
    assert log_in(system).status == 303


def test_login_that_the_queue_drops_is_not_counted(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MAX_QUEUE_LENGTH", -1)
    for _ in range(GUESSES + 3):
        assert log_in(system).status == 503
    monkeypatch.undo()
    assert log_in(system).status == 303


def test_new_password_without_memory_is_temporarily_unavailable(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_hasher", Hasher())
    with pytest.raises(passwords.TemporarilyUnavailable):
        system.do(system.server.administration.set_password("alice", "another one altogether"))
    monkeypatch.undo()
    assert log_in(system).status == 303


def test_hash_that_cannot_be_renewed_without_memory_is_no_reason_to_refuse(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("djoauth2_twisted.resource_owners.needs_rehash", lambda _: True)

    def hash_password(_: str) -> str:
        raise MemoryError

    monkeypatch.setattr(credentials, "hash_password", hash_password)
    assert log_in(system).status == 303


@pytest.mark.parametrize("error", _SPENT, ids=str)
def test_portal_that_runs_out_is_temporarily_unavailable(
    make_system: MakeSystem, log: Any, error: Exception
) -> None:
    class Portal:
        def login(self, *_: Any) -> Any:
            return fail(error)

    system = make_system(portal=Portal())
    assert log_in(system).status == 503
    assert lines(log, "A request failed: the system is out of ") == 1
    assert "Traceback" not in str(log.lines)


@pytest.mark.parametrize("why", ["missing", "exhausted"])
def test_file_of_passwords_that_cannot_be_read_is_no_wrong_password(
    make_system: MakeSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Twisted's checker refuses everybody then."""
    file = tmp_path / "passwords"
    file.write_text("carol:secret of carol\n")
    system = make_system(checkers=[FilePasswordDB(str(file))])
    if why == "missing":
        file.unlink()
    else:

        def open_nothing(*_: Any) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr("twisted.cred.checkers.open", open_nothing, raising=False)
    for _ in range(GUESSES + 3):
        assert log_in(system, "carol", "secret of carol").status == 503
    monkeypatch.undo()
    file.write_text("carol:secret of carol\n")
    assert log_in(system, "carol", "secret of carol").status == 303
    assert log_in(system, "dora", "secret of carol").status == 403


@pytest.mark.parametrize("error", _SPENT, ids=str)
@pytest.mark.parametrize("verb", ["find_client", "find_access_token"])
def test_store_that_runs_out_is_no_fault_of_ours(
    make_system: MakeSystem, log: Any, error: Exception, verb: str
) -> None:
    """503 and a line without a traceback, for clients and at a guard."""
    system = make_system()
    app = system.add_client("App")
    store: Any = system.registry if verb == "find_client" else system.tokens
    setattr(store, verb, lambda *_: fail(error))
    if verb == "find_client":
        form = app.refresh_form("x")
        authorization = "Authorization", basic(app.client_id, app.secret)
        answer = system.post("/oauth2/token/", form, [authorization], faults=True)
    else:
        bearer = ("Authorization", "Bearer abcdefghijklmnopqrstuvwxyz0123")
        answer = system.send("GET", "/api/user_info/", None, [bearer], faults=True)
    assert answer.status == 503
    assert answer.json["error"] == "temporarily_unavailable"
    assert lines(log, ": the system is out of ") == 1
    assert "Traceback" not in str(log.lines)


def test_other_errors_stay_ours(make_system: MakeSystem, logged_failures: Any) -> None:
    system = make_system()
    system.tokens.find_access_token = lambda *_: fail(RuntimeError("another"))
    bearer = ("Authorization", "Bearer abcdefghijklmnopqrstuvwxyz0123")
    assert system.send("GET", "/api/user_info/", None, [bearer], faults=True).status == 500
    assert logged_failures.take(RuntimeError)


def test_threads_that_never_started_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(passwords.PatientThread, "start", start)
    nothing: Any = None
    threads = PasswordThreads(nothing)
    threads.start()
    outcome: list[Any] = []
    threads.hash("a password").addBoth(outcome.append)
    assert outcome[0].check(passwords.TemporarilyUnavailable)
    threads.stop()
