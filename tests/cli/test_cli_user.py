"""``djoauth2 user``."""

from __future__ import annotations

import os
import sys
from typing import Any

import attrs
import pytest
from command_line import FAR, NOW, CommandLine
from waiting import result_of

from djoauth2_twisted.cli.user import new_password
from djoauth2_twisted.credentials import digest
from djoauth2_twisted.models import Issuance, Page, RefreshProof, ResourceOwner, Session, Unknown, User
from djoauth2_twisted.stores.contract import new_second_factor


def add(djoauth2: CommandLine, name: str = "alice", *options: str) -> Any:
    return djoauth2.json("user", "add", name, "--password-stdin", *options, stdin="wonderland\n")


def has_login(djoauth2: CommandLine) -> bool:
    return result_of(djoauth2.administration.registry.find_session(b"login", NOW)) is not None


def log_in(djoauth2: CommandLine) -> None:
    owner = ResourceOwner("alice", subject=djoauth2.find_user("alice").subject)
    result_of(djoauth2.administration.registry.add_session(Session(b"login", owner, FAR)))


def test_a_user_is_added_with_all_that_was_said(djoauth2: CommandLine) -> None:
    names = ("--email", "a@b.example", "--first-name", "Alice", "--last-name", "Liddell")
    said = add(djoauth2, "alice", *names, "--admin")
    subject = said.pop("subject")
    assert len(subject) == 22
    assert said == {
        "name": "alice",
        "username": "alice",
        "first_name": "Alice",
        "last_name": "Liddell",
        "email": "a@b.example",
        "email_verified": False,
        "admin": True,
        "disabled": False,
    }
    kept = djoauth2.find_user("alice")
    names_of_alice = ("a@b.example", "Alice", "Liddell")
    assert kept == User("alice", "<wonderland>", *names_of_alice, admin=True, subject=subject)


@pytest.mark.parametrize(
    ("stdin", "password"),
    [
        (b"a secret", "a secret"),
        (b"a secret\n", "a secret"),
        (b"a secret\r\n", "a secret"),
        (b"a secret\r", "a secret\r"),
        (b"the first\nthe second\n", "the first"),
        (b"  with spaces \n", "  with spaces "),
        ("gehe\xedm \u65e5\u672c\n".encode(), "gehe\xedm \u65e5\u672c"),
        (b"x" * 1024 + b"\n", "x" * 1024),
    ],
)
def test_the_password_is_the_first_line(djoauth2: CommandLine, stdin: bytes, password: str) -> None:
    djoauth2.done("user", "add", "alice", "--password-stdin", stdin=stdin)
    assert djoauth2.find_user("alice").password_hash == f"<{password}>"


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "a password has at least 8 characters"),
        (b"\nsecond line\n", "a password has at least 8 characters"),
        (b"1234567\n", "a password has at least 8 characters"),
        (b"Password1\n", "the password is one of the most common ones: choose another"),
        (b"\xff\xfe\n", "the password is not UTF-8"),
        (b"x" * 1025, "a password has at most 1024 characters"),
        (b"x" * (8 * 1024 + 5), "a password has at most 1024 characters"),
    ],
)
def test_a_bad_password_is_refused(djoauth2: CommandLine, stdin: bytes, said: str) -> None:
    assert djoauth2.fails("user", "add", "alice", "--password-stdin", stdin=stdin) == said
    assert djoauth2.json("user", "list") == []
    add(djoauth2)
    before = djoauth2.find_user("alice")
    assert djoauth2.fails("user", "set-password", "alice", "--password-stdin", stdin=stdin) == said
    change = ("--first-name", "A", "--password-stdin")
    assert djoauth2.fails("user", "edit", "alice", *change, stdin=stdin) == said
    assert djoauth2.find_user("alice") == before


def test_without_a_terminal_no_password_is_asked_for(djoauth2: CommandLine) -> None:
    assert "--password-stdin" in djoauth2.fails("user", "add", "alice", stdin="x\n", status=2)
    assert "--password-stdin" in djoauth2.fails("user", "set-password", "alice", status=2)


def test_on_a_terminal_the_password_is_asked_for_twice(
    djoauth2: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import _NamedTextIOWrapper

    monkeypatch.setattr(_NamedTextIOWrapper, "isatty", lambda self: True)
    result = djoauth2("user", "add", "alice", stdin="one\nother\nwonderland\nwonderland\n")
    assert result.exit_code == 0
    assert "wonderland" not in result.output
    assert result.stdout.strip() == "The user alice is added."
    assert djoauth2.find_user("alice").password_hash == "<wonderland>"


def test_standard_input_that_is_closed(djoauth2: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setattr(sys, "stdin", None)
        with pytest.raises(Exception, match="closed"):
            new_password(True)
        with pytest.raises(Exception, match="--password-stdin"):
            new_password(False)


def test_standard_input_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    only_for_writing = os.open(os.devnull, os.O_WRONLY)
    with monkeypatch.context() as context, open(only_for_writing, "rb", buffering=0) as stream:
        context.setattr(sys, "stdin", type("Stdin", (), {"buffer": stream}))
        with pytest.raises(Exception, match="cannot be read"):
            new_password(True)


@pytest.mark.parametrize("name", ["", " alice", "a\u202eb", "a\x1bb", "a\nb", "a\udcff", "x" * 256])
def test_a_name_that_cannot_be_typed_is_refused(djoauth2: CommandLine, name: str) -> None:
    djoauth2.fails("user", "add", name, "--password-stdin", stdin="x")
    assert djoauth2.json("user", "list") == []


@pytest.mark.parametrize("option", ["--email", "--first-name", "--last-name"])
def test_fields_must_be_printable(djoauth2: CommandLine, option: str) -> None:
    djoauth2.fails("user", "add", "alice", "--password-stdin", option, "a\u202eb", stdin="x")
    add(djoauth2)
    djoauth2.fails("user", "edit", "alice", option, "a\x9bb")


def test_a_user_is_added_once(djoauth2: CommandLine) -> None:
    add(djoauth2)
    said = djoauth2.fails("user", "add", "alice", "--password-stdin", stdin="another password")
    assert said == "there is a user 'alice' already"
    assert djoauth2.find_user("alice").password_hash == "<wonderland>"


def test_list_has_every_user_and_no_hash(djoauth2: CommandLine) -> None:
    for number in range(501):
        result_of(djoauth2.administration.registry.add_user(User(f"user-{number:03}", "<hash>")))
    result_of(djoauth2.administration.registry.add_user(User("z\x1b\u202e", "<hash>", admin=True)))
    listed = djoauth2.json("user", "list")
    assert [user["name"] for user in listed[:-1]] == [f"user-{number:03}" for number in range(501)]
    printed = djoauth2.done("user", "list")
    assert r"z\x1b\u202e" in printed
    assert printed.replace("\n", "").isprintable()
    assert "<hash>" not in printed + str(listed)


def test_edit_changes_what_is_named_and_nothing_else(djoauth2: CommandLine) -> None:
    add(djoauth2, "alice", "--email", "a@b.example", "--admin")
    log_in(djoauth2)
    djoauth2.add_grant("mine")
    before = djoauth2.find_user("alice")
    assert djoauth2.json("user", "edit", "alice", "--first-name", "Alice")["first_name"] == "Alice"
    assert djoauth2.find_user("alice") == attrs.evolve(before, first_name="Alice")
    assert (before.email, before.admin) == ("a@b.example", True)
    assert djoauth2.json("user", "edit", "alice", "--no-admin")["admin"] is False
    assert djoauth2.json("user", "edit", "alice", "--admin")["admin"] is True
    assert djoauth2.find_access_token("mine") is not None
    assert has_login(djoauth2)
    assert "nothing to change" in djoauth2.fails("user", "edit", "alice", status=2)


def test_disabling_ends_logins_and_grants(djoauth2: CommandLine) -> None:
    add(djoauth2)
    log_in(djoauth2)
    djoauth2.add_grant("mine")
    djoauth2.add_grant("other", username="bob")
    assert djoauth2.json("user", "edit", "alice", "--disable")["disabled"] is True
    assert "disabled" in djoauth2.done("user", "list")
    assert djoauth2.find_access_token("mine") is None
    assert djoauth2.find_access_token("other") is not None
    assert not has_login(djoauth2)
    assert djoauth2.json("user", "edit", "alice", "--enable")["disabled"] is False


@pytest.mark.parametrize("verb", ["set-password", "edit"])
def test_a_new_password_ends_logins_and_refresh_tokens(djoauth2: CommandLine, verb: str) -> None:
    add(djoauth2)
    log_in(djoauth2)
    djoauth2.add_grant("mine")
    djoauth2.done("user", verb, "alice", "--password-stdin", stdin="looking glass\n")
    assert djoauth2.find_user("alice").password_hash == "<looking glass>"
    assert not has_login(djoauth2)
    issuance = Issuance(NOW, digest("next"), FAR, digest("next refresh"), FAR)
    refreshed = djoauth2.administration.tokens.rotate_refresh_token(
        digest("refresh-mine"), RefreshProof("a-client", None), issuance
    )
    assert result_of(refreshed) == Unknown()
    assert djoauth2.find_access_token("mine") is not None


def test_reset_second_factor_is_gone_and_ends_logins(djoauth2: CommandLine) -> None:
    """SF-10. To reset one that is not there is not an error."""
    add(djoauth2)
    subject = djoauth2.find_user("alice").subject
    registry = djoauth2.administration.registry
    result_of(registry.add_second_factor(new_second_factor(subject)))
    log_in(djoauth2)
    said = djoauth2.done("user", "reset-second-factor", "ALICE")
    assert said.strip() == "The user alice has no second factor now."
    assert result_of(registry.find_second_factor(subject)) is None
    assert not has_login(djoauth2)
    entry = {"name": "alice", "username": "alice"}
    assert djoauth2.json("user", "reset-second-factor", "alice") == entry


def test_deleting_ends_logins_and_grants(djoauth2: CommandLine) -> None:
    add(djoauth2)
    log_in(djoauth2)
    djoauth2.add_grant("mine")
    djoauth2.add_grant("other", username="bob")
    djoauth2.done("user", "delete", "alice")
    assert djoauth2.find_user("alice") is None
    assert djoauth2.find_access_token("mine") is None
    assert djoauth2.find_access_token("other") is not None
    assert not has_login(djoauth2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["edit", "--admin"],
        ["set-password", "--password-stdin"],
        ["reset-second-factor"],
        ["delete"],
    ],
    ids=lambda a: a[0],
)
def test_an_unknown_user_is_an_error(djoauth2: CommandLine, arguments: list[str]) -> None:
    verb, *options = arguments
    said = djoauth2.fails("user", verb, "nobody", *options, stdin="x")
    assert said == "there is no user 'nobody'"


# Names in any spelling (RFC 8265).

COMPOSED, DECOMPOSED = "j\u00fcrgen", "ju\u0308rgen"


def test_name_is_added_in_its_normalized_form(djoauth2: CommandLine) -> None:
    arguments = "--password-stdin"
    said = djoauth2.done("user", "add", f" {DECOMPOSED} ", arguments, stdin="gru\u0308ne Wiese")
    assert said == f"The user {COMPOSED} is added.\n"
    assert djoauth2.find_user(COMPOSED).password_hash == "<gru\u0308ne Wiese>"
    for name in (COMPOSED, DECOMPOSED, "J\u00dcRGEN", f"{COMPOSED} "):
        said = djoauth2.fails("user", "add", name, arguments, stdin="another password")
        assert said == f"there is a user '{COMPOSED}' already"


def test_user_is_found_in_any_spelling(djoauth2: CommandLine) -> None:
    """What is printed, and what is recorded, is the registered name."""
    add(djoauth2)
    djoauth2.add_grant("mine")
    assert [grant["grant"] for grant in djoauth2.json("token", "list", "--user", "Alice ")] == ["mine"]
    said = djoauth2.done("user", "edit", "ALICE", "--email", "a@b.example")
    assert said == "The user alice is changed.\n"
    said = djoauth2.done("user", "set-password", "Alice", "--password-stdin", stdin="another password")
    assert said == "The user alice has a new password.\n"
    assert djoauth2.done("user", "delete", "aLiCe") == "The user alice is deleted.\n"
    assert djoauth2.json("token", "list", "--user", "alice") == []
    assert {event.subject for event in result_of(djoauth2.administration.registry.events(Page()))} == {
        "alice"
    }


def test_own_name_is_no_password(djoauth2: CommandLine) -> None:
    said = djoauth2.fails("user", "add", "Wonderland", "--password-stdin", stdin="wonderland")
    assert said == "the password is the user's name: choose another"
    add(djoauth2, "wonderl\u00e4nder")
    for command in (("set-password",), ("edit", "--first-name", "A")):
        verb, *rest = command
        said = djoauth2.fails(
            "user", verb, "wonderl\u00e4nder", *rest, "--password-stdin", stdin="WONDERLA\u0308NDER"
        )
        assert said == "the password is the user's name: choose another"
    assert djoauth2.find_user("wonderl\u00e4nder").first_name == ""


def test_users_are_searched_by_name_and_email(djoauth2: CommandLine) -> None:
    add(
        djoauth2,
        "alice",
        "--email",
        "a@wonder.example",
        "--first-name",
        "Alice",
        "--last-name",
        "Liddell",
    )
    add(djoauth2, "bob")

    def found(text: str) -> list[str]:
        return [user["name"] for user in djoauth2.json("user", "list", "--search", text)]

    assert found("LIC") == found("wonder") == found("alice liddell") == ["alice"]
    assert found("b") == ["bob"]
    assert found("nothing") == []


def test_a_search_among_many_users_finds_all(djoauth2: CommandLine) -> None:
    for number in range(1100):
        user = User(f"user-{number:04}", "<hash>")
        result_of(djoauth2.administration.registry.add_user(user))
    found = djoauth2.json("user", "list", "--search", "USER")
    assert [user["name"] for user in found] == [f"user-{number:04}" for number in range(1100)]
