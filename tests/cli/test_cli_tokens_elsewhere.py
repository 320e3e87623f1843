"""A command that is not told where the server keeps its tokens, and would have to end some."""

from __future__ import annotations

import sys
from typing import Any

import attrs
import pytest
from command_line import CommandLine
from twisted.internet.defer import Deferred
from waiting import result_of

from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.models import Page

WHY = "the server keeps its tokens in redis://host:6379/0: name it by --token-store"


@pytest.fixture
def apart(djoauth2: CommandLine) -> CommandLine:
    """The commands with a token store that is not the server's, and one of everything."""
    djoauth2.done("scope", "add", "user_info", "Your name")
    djoauth2.done("user", "add", "alice", "--password-stdin", stdin="correct horse battery\n")
    djoauth2.done("client", "add", "--name", "An app", "--redirect-uri", "https://app.example/cb")
    return attrs.evolve(
        djoauth2, administration=attrs.evolve(djoauth2.administration, tokens_elsewhere=WHY)
    )


def client_id(djoauth2: CommandLine) -> str:
    (client,) = djoauth2.json("client", "list")
    found: str = client["client_id"]
    return found


def everything(djoauth2: CommandLine) -> list[Any]:
    registry = djoauth2.administration.registry
    return [
        result_of(registry.users(Page())),
        result_of(registry.clients(Page())),
        result_of(registry.scopes()),
        result_of(registry.events(Page())),
    ]


@pytest.mark.parametrize(
    "command",
    [
        ("user", "add", "bob", "--password-stdin"),
        ("user", "delete", "alice"),
        ("user", "delete", "nobody"),
        ("user", "edit", "alice", "--disable"),
        ("user", "edit", "alice", "--email", "a@example.com", "--password-stdin"),
        ("user", "set-password", "alice", "--password-stdin"),
        ("client", "edit", "ID", "--disable"),
        ("client", "delete", "ID"),
        ("scope", "delete", "user_info"),
        ("token", "list"),
        ("token", "revoke", "a-grant"),
        ("token", "revoke", "--user", "alice"),
        ("token", "revoke", "--client", "ID"),
        ("token", "revoke", "--all"),
        ("cleanup",),
    ],
    ids=" ".join,
)
def test_a_command_that_would_end_tokens_refuses_and_changes_nothing(
    apart: CommandLine, command: tuple[str, ...]
) -> None:
    before = everything(apart)
    words = [client_id(apart) if word == "ID" else word for word in command]
    assert apart.fails(*words, stdin="another horse battery\n") == WHY
    assert everything(apart) == before


@pytest.mark.parametrize(
    "command",
    [
        ("user", "delete", "alice"),
        ("client", "delete", "ID"),
        ("scope", "delete", "user_info"),
        ("token", "revoke", "--all"),
    ],
    ids=" ".join,
)
def test_a_command_that_refuses_does_not_ask_before(
    apart: CommandLine, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """The question would name the number of grants in a store that is not the server's."""
    module = sys.modules[f"djoauth2_twisted.cli.{command[0]}"]
    monkeypatch.setattr(module, "on_terminal", lambda: True)
    words = [client_id(apart) if word == "ID" else word for word in command]
    assert apart.fails(*words, stdin="y\n") == WHY


def test_other_commands_need_no_tokens(apart: CommandLine) -> None:
    apart.done("scope", "add", "photos", "Your photos")
    apart.done("scope", "edit", "photos", "All your photos")
    apart.done("user", "edit", "alice", "--email", "a@example.com")
    apart.done("client", "edit", client_id(apart), "--name", "Another")
    apart.done("client", "rotate-secret", client_id(apart))
    apart.done("client", "add", "--name", "B", "--redirect-uri", "https://b.example/cb")
    for noun in ("scope", "user", "client"):
        apart.done(noun, "list")


def test_grants_are_not_revoked_by_whose_they_are_either(apart: CommandLine) -> None:
    revoking = Deferred.fromCoroutine(apart.administration.revoke_grants("alice", None))
    revoking.addErrback(lambda failure: failure.trap(ConfigurationError))
    assert revoking.result is ConfigurationError
