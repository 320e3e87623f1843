"""``djoauth2 token`` and ``djoauth2 cleanup``."""

from __future__ import annotations

import pytest
from command_line import FAR, NOW, CommandLine
from waiting import result_of

from djoauth2_twisted.models import Client, GrantFilter, Page, ResourceOwner, Session


def test_grants_are_listed_oldest_first(djoauth2: CommandLine) -> None:
    result_of(djoauth2.administration.registry.add_client(Client("a-client", "An app", b"digest")))
    djoauth2.add_grant("later", created=NOW + 1, username="bob", client_id="gone")
    djoauth2.add_grant("first", scopes=("one", "two"))
    listed = djoauth2.json("token", "list")
    assert listed == [
        {
            "grant": "first",
            "username": "alice",
            "client_id": "a-client",
            "client_name": "An app",
            "scopes": ["one", "two"],
            "created": NOW,
            "last_used": NOW,
            "expires": FAR,
        },
        {
            "grant": "later",
            "username": "bob",
            "client_id": "gone",
            "client_name": None,
            "scopes": ["user_info"],
            "created": NOW + 1,
            "last_used": NOW + 1,
            "expires": FAR,
        },
    ]
    line = djoauth2.done("token", "list").splitlines()[1]
    assert line.split()[:5] == ["first", "alice", "a-client", "An", "app"]
    assert line.endswith("one two    2023-11-14T22:13:20Z  2023-11-14T22:13:20Z")


def test_grant_whose_code_was_not_exchanged_is_listed_and_revoked(djoauth2: CommandLine) -> None:
    """As on the pages: it is not used yet, and can be withdrawn."""
    djoauth2.add_grant("new", exchanged=False)
    (listed,) = djoauth2.json("token", "list")
    assert (listed["grant"], listed["created"], listed["last_used"]) == ("new", NOW, None)
    assert djoauth2.done("token", "list").splitlines()[1].endswith("2023-11-14T22:13:20Z  not used yet")
    djoauth2.done("token", "revoke", "new")
    assert djoauth2.json("token", "list") == []


def test_grants_are_listed_by_user_and_client(djoauth2: CommandLine) -> None:
    djoauth2.add_grant("one", username="alice", client_id="x")
    djoauth2.add_grant("two", username="alice", client_id="y")
    djoauth2.add_grant("three", username="bob", client_id="x")

    def listed(*options: str) -> set[str]:
        return {grant["grant"] for grant in djoauth2.json("token", "list", *options)}

    assert listed() == {"one", "two", "three"}
    assert listed("--user", "alice") == {"one", "two"}
    assert listed("--client", "x") == {"one", "three"}
    assert listed("--user", "alice", "--client", "x") == {"one"}
    assert listed("--user", "nobody") == set()


def test_grants_that_are_over_are_not_listed(djoauth2: CommandLine) -> None:
    djoauth2.add_grant("over", expires=NOW + 1)
    djoauth2.add_grant("revoked")
    djoauth2.done("token", "revoke", "revoked")
    assert djoauth2.json("token", "list") == []


def test_the_list_is_longer_than_a_page(djoauth2: CommandLine) -> None:
    for number in range(501):
        djoauth2.add_grant(f"{number:03}")
    assert len(djoauth2.json("token", "list")) == 501


def test_no_value_and_nothing_hostile_is_printed(djoauth2: CommandLine) -> None:
    djoauth2.add_grant("a-grant", username="a\x1b]0;x\x07\u202e")
    for printed in (djoauth2.done("token", "list"), djoauth2.done("token", "list", "--json")):
        assert printed.replace("\n", "").isprintable()
        assert not any(word in printed for word in ("code", "access-", "refresh-", "digest"))


def test_revoking_ends_the_grant(djoauth2: CommandLine) -> None:
    djoauth2.add_grant("mine")
    djoauth2.add_grant("other")
    assert djoauth2.json("token", "revoke", "mine") == {"grant": "mine"}
    assert djoauth2.find_access_token("mine") is None
    assert djoauth2.find_access_token("other") is not None
    assert djoauth2.fails("token", "revoke", "mine") == "there is no grant 'mine'"
    djoauth2.fails("token", "revoke", status=2)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (("--user", "alice"), {"three", "four"}),
        (("--client", "x"), {"two", "four"}),
        (("--user", "alice", "--client", "x"), {"two", "three", "four"}),
        (("--all",), set()),
        (("--user", "nobody"), {"one", "two", "three", "four"}),
    ],
    ids=["user", "client", "user and client", "all", "unknown user"],
)
def test_grants_are_revoked_by_user_and_client(
    djoauth2: CommandLine, options: tuple[str, ...], left: set[str]
) -> None:
    grants = {"one": ("alice", "x"), "two": ("alice", "y"), "three": ("bob", "x"), "four": ("bob", "y")}
    for name, (username, client_id) in grants.items():
        djoauth2.add_grant(name, username=username, client_id=client_id)
    assert djoauth2.json("token", "revoke", *options) == {"revoked": 4 - len(left)}
    assert {name for name in grants if djoauth2.find_access_token(name) is not None} == left


def test_revoking_in_bulk_is_said_and_recorded(djoauth2: CommandLine) -> None:
    djoauth2.add_grant("a")
    djoauth2.add_grant("b")
    assert djoauth2.done("token", "revoke", "--user", "alice") == "Revoked 2 grants.\n"
    assert djoauth2.done("token", "revoke", "--all") == "Revoked 0 grants.\n"
    recorded = [(each["action"], each["subject"], each["details"]) for each in djoauth2.json("audit")]
    assert sorted(recorded) == [
        ("grants revoke", "alice", {"user": "alice", "client": "any"}),
        ("grants revoke", "all", {"user": "any", "client": "any"}),
    ]


@pytest.mark.parametrize(
    "options",
    [[], ["a-grant", "--all"], ["a-grant", "--user", "alice"], ["--all", "--client", "x"]],
    ids=" ".join,
)
def test_what_is_to_be_revoked_is_named_once(djoauth2: CommandLine, options: list[str]) -> None:
    djoauth2.add_grant("a-grant")
    said = djoauth2.fails("token", "revoke", *options, status=2)
    assert said.startswith("name one grant, or give --user, --client or --all")
    assert djoauth2.find_access_token("a-grant") is not None


def test_grants_are_searched_by_user_and_client(djoauth2: CommandLine) -> None:
    result_of(djoauth2.administration.registry.add_client(Client("id-1", "Photo Print", b"digest")))
    djoauth2.add_grant("one", username="alice", client_id="id-1")
    djoauth2.add_grant("two", username="bob", client_id="id-2")

    def found(text: str) -> set[str]:
        return {grant["grant"] for grant in djoauth2.json("token", "list", "--search", text)}

    assert found("PHOTO") == found("lic") == {"one"}
    assert found("ID-2") == {"two"}
    assert found("id-") == {"one", "two"}
    assert found("nothing") == set()
    assert djoauth2.json("token", "list", "--user", "bob", "--search", "photo") == []


def test_cleanup_removes_what_has_expired(djoauth2: CommandLine) -> None:
    djoauth2.add_grant("good")
    for number in range(501):
        djoauth2.add_grant(f"{number:03}", expires=NOW + 1)
    for digest, expires in ((b"good", FAR), (b"over", NOW)):
        session = Session(digest, ResourceOwner("alice"), expires)
        result_of(djoauth2.administration.registry.add_session(session))
    printed = djoauth2.done("cleanup")
    assert printed == "Deleted what had expired: 501 grants and 1 login.\n"
    assert djoauth2.json("cleanup") == {"grants": 0, "sessions": 0}
    left = result_of(djoauth2.administration.tokens.grants(GrantFilter(), Page()))
    assert [grant.id for grant in left] == ["good"]
    assert result_of(djoauth2.administration.registry.find_session(b"good", NOW)) is not None
