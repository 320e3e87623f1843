"""The claims of ID tokens and of UserInfo."""

from __future__ import annotations

from itertools import combinations

import attrs
import pytest

from djoauth2_twisted.models import Client, Grant, ResourceOwner, Session, User
from djoauth2_twisted.protocol import openid_scopes
from djoauth2_twisted.protocol.claims import SUPPORTED, user_info
from djoauth2_twisted.protocol.id_token import claims_of, sid_of

CLIENT = Client("client", "App", b"")
OWNER = ResourceOwner("alice", "Alice", "Liddell", "a@e.example", "subject", True)
GRANT = Grant(
    "id", "client", OWNER, ("openid",), 1, 1, 9, b"", 9, None, None, nonce="n", auth_time=0, sid="s"
)
NOW = 1_700_000_000


def claims(client: Client = CLIENT, is_first: bool = True, **changes: object) -> dict[str, object]:
    grant = attrs.evolve(GRANT, **changes)  # type: ignore[arg-type]
    return claims_of(
        "https://as.example/", client, grant, "token", issued=NOW, lifetime=60, is_first=is_first
    )


def test_first_id_token() -> None:
    """OpenID Connect Core 1.0, section 2. The issuer is the configured text, and a time may be 0."""
    assert claims() == {
        "iss": "https://as.example/",
        "sub": "subject",
        "aud": "client",
        "exp": NOW + 60,
        "iat": NOW,
        "auth_time": 0,
        "nonce": "n",
        "at_hash": "PEaenWxYddN6Q_NT1PiOYQ",
    }


def test_claims_that_are_not_known_are_left_out() -> None:
    """Neither null nor empty."""
    assert claims(nonce=None, auth_time=None).keys() == {"iss", "sub", "aud", "exp", "iat", "at_hash"}


def test_nonce_is_in_the_first_id_token_alone() -> None:
    """Section 12.2. The time of the login stays."""
    later = claims(is_first=False)
    assert "nonce" not in later
    assert later["auth_time"] == 0


def test_login_is_named_to_clients_that_hear_of_logouts() -> None:
    client = attrs.evolve(CLIENT, backchannel_logout_uri="https://app.example/out")
    assert claims(client)["sid"] == "s"
    assert "sid" not in claims(client, sid=None)
    assert "sid" not in claims()


def test_name_of_a_login_is_not_its_key() -> None:
    """A login that continues another one keeps the name."""
    owner = ResourceOwner("alice")
    name = sid_of(Session(b"x" * 32, owner, NOW))
    assert name == sid_of(Session(b"x" * 32, owner, NOW)) != sid_of(Session(b"y" * 32, owner, NOW))
    assert (len(name), name.isascii()) == (43, True)
    assert sid_of(Session(b"y" * 32, owner, NOW, sid=name)) == name


USER = User(
    "alice",
    "hash",
    "a@e.example",
    "Alice",
    "Liddell",
    subject="subject",
    email_verified=True,
    updated_at=NOW,
)
OF_PROFILE = {
    "name": "Alice Liddell",
    "given_name": "Alice",
    "family_name": "Liddell",
    "preferred_username": "alice",
    "updated_at": NOW,
}
OF_EMAIL = {"email": "a@e.example", "email_verified": True}
SCOPES = ("openid", "profile", "email", "address", "phone", "user_info")


@pytest.mark.parametrize("count", range(len(SCOPES) + 1))
def test_each_scope_gives_its_claims_and_no_others(count: int) -> None:
    for scopes in combinations(SCOPES, count):
        expected = {"sub": "subject"}
        expected |= OF_PROFILE if "profile" in scopes else {}  # type: ignore[arg-type]
        expected |= OF_EMAIL if "email" in scopes else {}  # type: ignore[arg-type]
        assert user_info("subject", USER, scopes) == expected


def test_claims_of_a_user_that_are_not_known_are_left_out() -> None:
    """Section 5.3.2. A user from elsewhere has a name at least."""
    bare = ResourceOwner("bob")
    assert user_info("s", bare, SCOPES) == {"sub": "s", "preferred_username": "bob"}
    named = attrs.evolve(bare, last_name="Builder", email="b@e.example")
    assert user_info("s", named, SCOPES) == {
        "sub": "s",
        "name": "Builder",
        "family_name": "Builder",
        "preferred_username": "bob",
        "email": "b@e.example",
        "email_verified": False,
    }


def test_metadata_lists_all_claims() -> None:
    everything = claims() | user_info("subject", USER, SCOPES)
    assert set(SUPPORTED) == set(everything)


def test_unsupported_scopes_of_the_standard_are_passed_over() -> None:
    """Where ``openid`` is asked for, and where they are not registered. Others are not."""
    asked = ("openid", "address", "phone", "offline_access", "other")
    assert openid_scopes.without_passed_over(asked, ()) == ("openid", "other")
    assert openid_scopes.without_passed_over(asked, ("phone",)) == ("openid", "phone", "other")
    assert openid_scopes.without_passed_over(asked[1:], ()) == asked[1:]
