"""How commands run, and how they report errors; some are started as a shell starts them."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
import pytest_twisted
import sqlalchemy as sa
from click.testing import CliRunner
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from waiting import PATIENCE, result_of

from djoauth2_twisted.administration import Administration
from djoauth2_twisted.cli import main
from djoauth2_twisted.cli.output import moment, state_of
from djoauth2_twisted.cli.running import Store, administer, answered, drive, every, operator
from djoauth2_twisted.conf import Settings
from djoauth2_twisted.credentials import verify_password
from djoauth2_twisted.errors import ConfigurationError, NotFound, TemporarilyUnavailable
from djoauth2_twisted.models import Actor, Page
from djoauth2_twisted.stores.sql import schema, upgrade


def test_times_and_states_are_words() -> None:
    assert moment(0) == "1970-01-01T00:00:00Z"
    assert moment(10**20) == str(10**20)
    assert state_of(resource_server=True, admin=False, disabled=True) == "resource server, disabled"


def test_every_page_is_asked_for() -> None:
    entries = list(range(1000))
    asked: list[Page] = []

    async def part(page: Page) -> list[int]:
        asked.append(page)
        return [entry for entry in entries if (entry,) > page.after][: page.size]

    assert result_of(every(part, lambda entry: (entry,))) == entries
    assert [page.after for page in asked] == [(), (499,), (999,)]


def test_the_reactor_runs_until_the_work_is_done() -> None:
    reactor = MemoryReactorClock()

    async def work() -> str:
        return "done"

    assert drive(reactor, work()) == "done"
    assert reactor.hasStopped


def test_the_work_s_error_is_the_command_s() -> None:
    async def work() -> None:
        raise NotFound("there is none")

    with pytest.raises(NotFound):
        drive(MemoryReactorClock(), work())


def test_a_signal_ends_the_work_in_order() -> None:
    closed = []

    class Interrupted(MemoryReactorClock):
        def run(self) -> None:
            super().run()
            [(shut_down, _, _)] = self.triggers["before"]["shutdown"]
            assert shut_down().called

    async def work() -> None:
        try:
            await Deferred()
        finally:
            closed.append(True)

    with pytest.raises(click.Abort):
        drive(Interrupted(), work())
    assert closed


@pytest.mark.parametrize(
    ("error", "logged", "said"),
    [
        (TemporarilyUnavailable(), [], "try again later"),
        (TemporarilyUnavailable(), ["old", "The disk is full"], "The disk is full; try again later"),
        (PermissionError(13, "Permission denied"), [], "the database cannot be used: Permission denied"),
    ],
)
def test_a_store_that_does_not_answer(error: Exception, logged: list[str], said: str) -> None:
    with pytest.raises(click.ClickException) as raised, answered(logged):
        raise error
    assert raised.value.message == said


@pytest_twisted.ensureDeferred
async def test_the_store_is_open_while_it_is_administered(tmp_path: Path) -> None:
    from twisted.internet import reactor

    url = f"sqlite:///{tmp_path / 'a.db'}"

    async def add(administration: Administration) -> Administration:
        await administration.add_user("alice", "wonderland")
        return administration

    async def find(administration: Administration) -> Any:
        return await administration.registry.find_user("alice")

    closed = await administer(reactor, Store(url), Settings(), add)
    with pytest.raises(TemporarilyUnavailable):
        await closed.registry.find_user("alice")
    user = await administer(reactor, Store(url), Settings(), find)
    assert verify_password(user.password_hash, "wonderland")
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600


@pytest_twisted.ensureDeferred
async def test_the_audit_trail_names_who_runs_the_command(tmp_path: Path) -> None:
    """AD-08: the operating system's user, whatever the environment says."""
    from twisted.internet import reactor

    store, begun = Store(f"sqlite:///{tmp_path}/a.db"), int(time.time() * 1000)
    await administer(reactor, store, Settings(), lambda a: a.add_scope("read", "Reads"))
    (event,) = await administer(reactor, store, Settings(), lambda a: a.registry.events(Page()))
    assert (event.actor, event.address) == (pwd.getpwuid(os.getuid()).pw_name, "command line")
    assert (event.action, event.subject) == ("scope add", "read")
    assert begun <= event.time <= time.time() * 1000


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that is run under any number."""
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 5)
    assert operator() == Actor(str(2**31 - 5), "command line")


@pytest_twisted.ensureDeferred
async def test_a_store_that_cannot_be_opened(tmp_path: Path) -> None:
    from twisted.internet import reactor

    async def never(administration: Administration) -> None:
        raise AssertionError

    with pytest.raises(ConfigurationError, match="No such file"):
        await administer(reactor, Store(f"sqlite:///{tmp_path}/missing/a.db"), Settings(), never)


@attrs.define
class BrokenStore:
    error: BaseException

    def run(self, action: Callable[[Administration], Any]) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigurationError("wrong\npath \x1b[1m"), r"djoauth2: wrong path \x1b[1m"),
        (TemporarilyUnavailable(), "djoauth2: try again later"),
        (OSError(28, "No space left on device"), "the output cannot be written: No space left"),
        (OSError(24, "Too many open files"), "djoauth2: the system is out of file descriptors: try"),
        (MemoryError(), "djoauth2: the system is out of memory: try again later"),
        (RuntimeError("can't start new thread"), "djoauth2: the system is out of threads: try again"),
        (KeyboardInterrupt(), "djoauth2: interrupted"),
        (ValueError("a\nfault"), "please report it: ValueError: a fault"),
    ],
)
def test_every_error_is_a_line(error: BaseException, line: str) -> None:
    result = CliRunner().invoke(main, ["client", "list"], obj=BrokenStore(error))
    assert result.exit_code == 1
    assert line in result.stderr
    assert len(result.stderr.split("\n")) <= 3
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [[], *([noun] for noun in ("client", "scope", "user", "token", "database")), ["client", "add"]],
    ids=" ".join,
)
def test_help_is_printed(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {' '.join(['djoauth2', *arguments])} ")


def djoauth2(
    folder: Path, *arguments: str | bytes, status: int = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if "DJOAUTH2" not in name}
    environment.update(options.pop("environment", {}))
    result = subprocess.run(
        [sys.executable, "-m", "djoauth2_twisted.cli", *arguments],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=PATIENCE,
        **{"stdout": subprocess.PIPE, "input": "", **options},
    )
    assert result.returncode == status, result.stderr
    assert result.stderr.count("\n") == (status != 0)
    assert not result.stderr or result.stderr.startswith("djoauth2: ")
    return result


@pytest.mark.process
def test_a_fresh_folder_needs_no_preparation(tmp_path: Path) -> None:
    options = ("--name", "An app", "--redirect-uri", "http://localhost/", "--json")
    loose = {"DJOAUTH2_SSL_ONLY": "false"}
    added = json.loads(djoauth2(tmp_path, "client", "add", *options, environment=loose).stdout)
    assert (tmp_path / "djoauth2.db").is_file()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    there = {"DJOAUTH2_DATABASE": f"sqlite:///{tmp_path / 'djoauth2.db'}"}
    listed = json.loads(djoauth2(elsewhere, "client", "list", "--json", environment=there).stdout)
    assert [client["client_id"] for client in listed] == [added["client_id"]]
    assert list(elsewhere.iterdir()) == []


@pytest.mark.process
def test_a_password_goes_through_a_pipe(tmp_path: Path) -> None:
    djoauth2(tmp_path, "user", "add", "alice", "--password-stdin", input="wonderland\n")
    connection = sqlite3.connect(tmp_path / "djoauth2.db")
    [(password_hash,)] = connection.execute("SELECT password_hash FROM djoauth2_user")
    connection.close()
    assert verify_password(password_hash, "wonderland")


@pytest.mark.process
def test_a_command_says_that_it_upgrades_an_older_file(tmp_path: Path) -> None:
    """Also one that only reads. Standard output has nothing but the list."""
    path = tmp_path / "djoauth2.db"
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        upgrade.migrate(connection, "0003")
    listed = subprocess.run(
        [sys.executable, "-m", "djoauth2_twisted.cli", "scope", "list", "--json"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (listed.returncode, listed.stdout) == (0, "[]\n")
    kept = f"{path}.before-{schema.HEAD}"
    assert listed.stderr == (
        f"djoauth2: The database is upgraded from schema 0003 to {schema.HEAD}; "
        f"as it was before, it is kept in {kept}\n"
    )
    assert Path(kept).exists()
    assert djoauth2(tmp_path, "scope", "list", "--json").stderr == ""


@pytest.mark.process
def test_a_database_that_is_locked(tmp_path: Path) -> None:
    djoauth2(tmp_path, "database", "upgrade")
    connection = sqlite3.connect(tmp_path / "djoauth2.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    result = djoauth2(tmp_path, "scope", "add", "user_info", "Your name", status=1)
    connection.close()
    assert "locked" in result.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--database", "nonsense", "client", "list"], "URL"),
        (["--database", "sqlite:///missing/a.db", "client", "list"], "No such file"),
        (["client", "show", b"\xff"], "not UTF-8"),
    ],
)
def test_errors_in_a_shell(tmp_path: Path, arguments: list[str | bytes], said: str) -> None:
    assert said in djoauth2(tmp_path, *arguments, status=1).stderr


@pytest.mark.process
def test_settings_in_the_environment_are_judged(tmp_path: Path) -> None:
    wrong = {"DJOAUTH2_SSL_ONLY": "perhaps"}
    result = djoauth2(tmp_path, "client", "list", status=1, environment=wrong)
    assert "SSL_ONLY" in result.stderr
    bad = {"DJOAUTH2_DATABASE": os.fsdecode(b"sqlite:///\xff.db")}
    assert "not UTF-8" in djoauth2(tmp_path, "client", "list", status=1, environment=bad).stderr


@pytest.mark.process
def test_the_servers_file_is_read(tmp_path: Path) -> None:
    """An option beats the environment, which beats the file; settings are the file's, too."""
    (tmp_path / "a.toml").write_text(
        'database = "sqlite:///file.db"\nport = "tcp:1"\nissuer = "https://a.example"\n'
        "client-key-length = 40\n"
    )
    given = ("--config", "a.toml")
    options = ("client", "add", "--name", "A", "--redirect-uri", "https://a.example/cb", "--json")
    added = json.loads(djoauth2(tmp_path, *given, *options).stdout)
    assert len(added["client_id"]) == 40
    by_environment = {"DJOAUTH2_CONFIG": "a.toml"}
    assert "A" in djoauth2(tmp_path, "client", "list", environment=by_environment).stdout
    other = {"DJOAUTH2_DATABASE": "sqlite:///environment.db"}
    djoauth2(tmp_path, *given, "scope", "add", "a", "A", environment=other)
    djoauth2(tmp_path, *given, "--database", "sqlite:///o.db", "scope", "list", environment=other)
    found = sorted(path.name for path in tmp_path.glob("*.db"))
    assert found == ["environment.db", "file.db", "o.db"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        ("nonsense", "cannot be read"),
        ("unknown = 1", "unknown in {file}: the configuration file names 'unknown'"),
        ("database = 1", "database in {file}: database is 1"),
        ('REQUIRE_STATE = "x"', "require_state in {file}: REQUIRE_STATE is 'x'"),
    ],
)
def test_a_wrong_file_is_a_line(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "a.toml"
    if content is not None:
        file.write_text(content)
    result = CliRunner().invoke(main, ["--config", str(file), "scope", "list"])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert said.format(file=file) in result.stderr


def test_the_environment_beats_a_wrong_value_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('REQUIRE_STATE = "x"')
    command = ["--config", str(file), "certificate", "--help"]
    assert CliRunner(env={"DJOAUTH2_REQUIRE_STATE": "true"}).invoke(main, command).exit_code == 0
    wrong = CliRunner(env={"DJOAUTH2_REQUIRE_STATE": "y"}).invoke(main, command)
    assert wrong.stderr.startswith("djoauth2: DJOAUTH2_REQUIRE_STATE: REQUIRE_STATE is 'y'")


@pytest.mark.process
@pytest.mark.parametrize("name", ["database", "token_store"])
def test_an_error_about_a_store_names_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.toml").write_text(f'{name} = "nonsense:///a"')
    result = djoauth2(tmp_path, "--config", "a.toml", "scope", "list", status=1)
    assert result.stderr.startswith(f"djoauth2: {name} in a.toml: databases of nonsense are not")


@pytest.mark.process
def test_a_pipe_that_is_closed_is_no_fault(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "djoauth2_twisted.cli", "scope", "list"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.process
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        assert "No space left" in djoauth2(tmp_path, "scope", "list", status=1, stdout=full).stderr
