"""``djoauth2 scope``."""

from __future__ import annotations

import pytest
from command_line import CommandLine


def test_scopes_are_added_listed_and_changed(djoauth2: CommandLine) -> None:
    assert "user_info" in djoauth2.done("scope", "add", "user_info", "Your name")
    assert djoauth2.json("scope", "add", "mail", "Your mail") == {
        "name": "mail",
        "description": "Your mail",
    }
    djoauth2.done("scope", "edit", "user_info", "Your name and address")
    assert djoauth2.json("scope", "list") == [
        {"name": "mail", "description": "Your mail"},
        {"name": "user_info", "description": "Your name and address"},
    ]
    assert djoauth2.done("scope", "list").splitlines() == [
        "NAME       DESCRIPTION",
        "mail       Your mail",
        "user_info  Your name and address",
    ]


def test_scopes_are_searched_by_name_and_description(djoauth2: CommandLine) -> None:
    djoauth2.done("scope", "add", "user_info", "Your name")
    djoauth2.done("scope", "add", "photos", "See your photos")

    def found(text: str) -> list[str]:
        return [scope["name"] for scope in djoauth2.json("scope", "list", "--search", text)]

    assert found("USER_") == found("your NAME") == ["user_info"]
    assert found("your") == ["photos", "user_info"]
    assert found("nothing") == []


@pytest.mark.parametrize(
    "name", ["", "two words", 'quo"te', "back\\slash", "gr\xfcn", "a\u202eb", "x" * 256]
)
def test_a_name_that_could_not_be_asked_for_is_refused(djoauth2: CommandLine, name: str) -> None:
    djoauth2.fails("scope", "add", name, "Something")
    djoauth2.fails("scope", "edit", name, "Something")
    djoauth2.fails("scope", "delete", name)
    assert djoauth2.json("scope", "list") == []


@pytest.mark.parametrize("description", ["a\u202eb", "a\x1bb", "x" * 4001])
def test_a_description_that_could_not_be_read_is_refused(
    djoauth2: CommandLine, description: str
) -> None:
    djoauth2.fails("scope", "add", "user_info", description)


def test_a_scope_is_added_once(djoauth2: CommandLine) -> None:
    djoauth2.done("scope", "add", "user_info", "Your name")
    said = djoauth2.fails("scope", "add", "user_info", "Another")
    assert said == "there is a scope 'user_info' already"
    assert djoauth2.json("scope", "list")[0]["description"] == "Your name"


def test_an_unknown_scope_is_an_error(djoauth2: CommandLine) -> None:
    assert djoauth2.fails("scope", "edit", "nope", "x") == "there is no scope 'nope'"
    assert djoauth2.fails("scope", "delete", "nope") == "there is no scope 'nope'"


def test_deleting_ends_the_grants_that_have_it(djoauth2: CommandLine) -> None:
    djoauth2.done("scope", "add", "one", "One")
    djoauth2.done("scope", "add", "two", "Two")
    callback = ("--redirect-uri", "https://app.example/")
    added = djoauth2.json("client", "add", "--name", "x", *callback, "--scope", "one")
    djoauth2.add_grant("both", scopes=("one", "two"))
    djoauth2.add_grant("second", scopes=("two",))
    assert djoauth2.json("scope", "delete", "one") == {"name": "one"}
    assert djoauth2.find_access_token("both") is None
    assert djoauth2.find_access_token("second") is not None
    assert djoauth2.json("client", "show", added["client_id"])["scopes"] == []
    assert "no scope" in djoauth2.done("client", "show", added["client_id"])
