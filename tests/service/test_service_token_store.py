"""``--token-store``: codes, grants and tokens in Redis, everything else in the database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from servers import redis_database
from service_kit import DJOAUTH2, Application, Browser, Prepared, Server, run, walk


@define
class Command:
    """The command line beside a server, with the same stores."""

    prepared: Prepared
    redis: str

    def __call__(self, *arguments: str, stdin: str = "", by_environment: bool = False) -> str:
        options = [] if by_environment else ["--token-store", self.redis]
        variables = {"DJOAUTH2_TOKEN_STORE": self.redis} if by_environment else {}
        folder = self.prepared.folder
        done = run(*DJOAUTH2, *options, *arguments, folder=folder, stdin=stdin, variables=variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def grants(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self("token", "list", *arguments, "--json"))
        return found


@pytest.fixture
def djoauth2(prepared: Prepared) -> Iterator[Command]:
    with redis_database() as url:
        yield Command(prepared, url)


@pytest.fixture
def server(start: Any, djoauth2: Command) -> Server:
    started: Server = start("--token-store", djoauth2.redis)
    return started


def issued(server: Server, **more: str) -> dict[str, Any]:
    """A pair of tokens that was just issued."""
    code = Browser(server).log_in_as_user().code(**more)
    with Application(server) as application:
        answer = application.exchange(code)
    assert answer.status == 200, answer.text
    pair: dict[str, Any] = answer.json
    return pair


def is_over(server: Server, pair: dict[str, Any]) -> bool:
    with Application(server) as application:
        known = application.user_info(pair["access_token"]).status
        refreshed = application.refresh(pair["refresh_token"]).status
    assert (known, refreshed) in {(200, 200), (401, 400), (401, 401)}
    return known == 401


def test_what_is_where(server: Server, djoauth2: Command, prepared: Prepared):
    """The whole flow; then nothing that was issued is in the database, and the login is."""
    walk(server)
    with closing(sqlite3.connect(prepared.database)) as database:
        assert database.execute("SELECT count(*) FROM djoauth2_grant").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM djoauth2_token").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM djoauth2_session").fetchone() == (1,)
    (grant,) = djoauth2.grants()
    assert grant["username"] == "alice"
    assert grant["client_name"] == "Tried"
    assert grant["scopes"] == ["user_info"]
    assert djoauth2.grants("--user", "bob") == djoauth2.grants("--client", "x") == []
    assert djoauth2.grants("--user", "alice", "--client", prepared.client_id) == [grant]


def test_a_command_that_does_not_know_the_token_store_refuses(
    server: Server, djoauth2: Command, prepared: Prepared
):
    """The server has recorded where it keeps the tokens; what would end them changes nothing."""
    pair = issued(server)
    listed = run(*DJOAUTH2, "user", "list", "--json", folder=prepared.folder)
    for command in (
        ("user", "delete", "alice"),
        ("client", "delete", prepared.client_id),
        ("scope", "delete", "user_info"),
        ("token", "list"),
        ("cleanup",),
        ("--token-store", "redis://127.0.0.1:6379/0", "user", "delete", "alice"),
    ):
        done = run(*DJOAUTH2, *command, folder=prepared.folder)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert f"keeps its tokens in {djoauth2.redis}" in done.stderr
    assert run(*DJOAUTH2, "user", "list", "--json", folder=prepared.folder).stdout == listed.stdout
    assert not is_over(server, pair)


def test_the_servers_file_is_the_commands_too(start: Any, djoauth2: Command, prepared: Prepared):
    file = prepared.folder / "djoauth2.toml"
    url = f"sqlite:///{prepared.database}"
    file.write_text(f'database = "{url}"\ntoken-store = "{djoauth2.redis}"\n')
    server = start("--config", str(file))
    pair = issued(server)
    done = run(*DJOAUTH2, "--config", str(file), "user", "delete", "alice", folder=Path("/"))
    assert (done.returncode, done.stderr) == (0, "")
    assert is_over(server, pair)


def test_a_server_records_that_the_tokens_are_back(start: Any, djoauth2: Command, prepared: Prepared):
    start("--token-store", djoauth2.redis).stop()
    server = start()
    pair = issued(server)
    assert "The tokens are in" in server.text()
    done = run(*DJOAUTH2, "user", "delete", "alice", folder=prepared.folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert is_over(server, pair)


def test_a_revocation_reaches_the_server(server: Server, djoauth2: Command):
    pair = issued(server)
    (grant,) = djoauth2.grants()
    djoauth2("token", "revoke", grant["grant"], by_environment=True)
    assert is_over(server, pair)
    assert djoauth2.grants() == []


@pytest.mark.parametrize("what", ["user", "client", "scope", "disabled client", "disabled user"])
def test_what_is_deleted_or_disabled_ends_its_grants(server: Server, djoauth2: Command, what: str):
    pair = issued(server)
    client_id = djoauth2.prepared.client_id
    commands = {
        "user": ("user", "delete", "alice"),
        "client": ("client", "delete", client_id),
        "scope": ("scope", "delete", "user_info"),
        "disabled client": ("client", "edit", client_id, "--disable"),
        "disabled user": ("user", "edit", "alice", "--disable"),
    }
    djoauth2(*commands[what])
    assert djoauth2.grants() == []
    assert is_over(server, pair)


def test_a_new_password_ends_refresh_tokens(server: Server, djoauth2: Command):
    pair = issued(server)
    djoauth2("user", "set-password", "alice", "--password-stdin", stdin="through the looking glass\n")
    with Application(server) as application:
        assert application.user_info(pair["access_token"]).status == 200
        assert application.refresh(pair["refresh_token"]).status == 400


def test_cleanup_reaches_redis(djoauth2: Command):
    said = djoauth2("cleanup")
    assert said == "Deleted what had expired: 0 grants and 0 logins.\n"


def test_by_the_environment(start: Any, djoauth2: Command):
    """DJOAUTH2_TOKEN_STORE is as good, for the server as well."""
    server = start(variables={"DJOAUTH2_TOKEN_STORE": djoauth2.redis})
    pair = issued(server)
    assert len(djoauth2.grants()) == 1
    assert not is_over(server, pair)


def test_a_token_store_in_another_sql_database(start: Any, prepared: Prepared):
    """Any SQLAlchemy URL will do."""
    server = start("--token-store", "sqlite:///tokens.db")
    issued(server)
    with closing(sqlite3.connect(prepared.folder / "tokens.db")) as database:
        assert database.execute("SELECT count(*) FROM djoauth2_token").fetchone() == (1,)
    done = run(
        *DJOAUTH2, "--token-store", "sqlite:///tokens.db", "token", "list", folder=prepared.folder
    )
    assert "alice" in done.stdout


def test_an_empty_variable_is_none(start: Any):
    """As one that is not set."""
    walk(start(variables={"DJOAUTH2_TOKEN_STORE": ""}))


def test_a_redis_that_is_not_there(prepared: Prepared):
    """One line, and a status that is not 0; never a traceback, nor the password."""
    url = "redis://somebody:very-secret@127.0.0.1:1/0"
    done = run(*DJOAUTH2, "--token-store", url, "token", "list", folder=prepared.folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "the token store cannot be used" in done.stderr
    assert "very-secret" not in done.stderr
