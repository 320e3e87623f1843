"""Requests to end a login, and the claims of logout tokens, judged."""

import attrs
import pytest

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import InvalidRequest, RegistrationError
from djoauth2_twisted.models import Client
from djoauth2_twisted.parameters import Parameters, parse
from djoauth2_twisted.protocol.addresses import is_public
from djoauth2_twisted.protocol.logout import (
    EVENT,
    PAUSES,
    Hint,
    client_id_of,
    destination,
    hint_of,
    is_of_login,
    logout_claims,
    pause_after,
    read,
)
from djoauth2_twisted.protocol.registration import check_registration

ISSUER = "https://issuer.example"
BYE = "https://app.example/bye"
ASKS = "https://app.example/bye?a=b"
CLIENT = Client("app", "App", digest("x"), post_logout_redirect_uris=(BYE, ASKS))
HINT = Hint("subject", "app", "sid")
CLAIMS = {"iss": ISSUER, "sub": "subject", "aud": "app", "sid": "sid"}


def asked(**sent):
    return read(Parameters(sent))


def test_a_hint_is_an_id_token_of_this_issuer():
    assert hint_of(CLAIMS, ISSUER) == HINT
    assert hint_of({**CLAIMS, "sid": None, "exp": 0}, ISSUER) == Hint("subject", "app")


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://other.example"},
        {"iss": f"{ISSUER}/"},
        {"sub": 1},
        {"aud": ["app"]},
        {"events": {}},
    ],
)
def test_another_token_is_no_hint(changed):
    with pytest.raises(InvalidRequest):
        hint_of({**CLAIMS, **changed}, ISSUER)


def test_the_client_is_the_one_that_the_hint_was_issued_to():
    assert client_id_of(asked(), None) is None
    assert client_id_of(asked(client_id="app"), None) == "app"
    assert client_id_of(asked(), HINT) == client_id_of(asked(client_id="app"), HINT) == "app"
    with pytest.raises(InvalidRequest):
        client_id_of(asked(client_id="other"), HINT)


@pytest.mark.parametrize(
    ("sent", "address"),
    [
        ({}, None),
        ({"state": "s"}, None),
        ({"post_logout_redirect_uri": BYE}, BYE),
        ({"post_logout_redirect_uri": BYE, "state": "a b&c"}, f"{BYE}?state=a+b%26c"),
        ({"post_logout_redirect_uri": ASKS, "state": "s"}, f"{ASKS}&state=s"),
        ({"post_logout_redirect_uri": BYE, "state": "\udcff"}, f"{BYE}?state=%FF"),
    ],
)
def test_the_browser_goes_to_a_registered_address_with_the_state(sent, address):
    assert destination(asked(**sent), CLIENT) == address


@pytest.mark.parametrize("uri", [f"{BYE}/", f"{BYE}?x=1", "https://evil.example", BYE.upper(), "x"])
def test_another_address_is_refused(uri):
    with pytest.raises(InvalidRequest):
        destination(asked(post_logout_redirect_uri=uri), CLIENT)


def test_without_a_client_no_address_is_registered():
    for client in (None, Client("app", "App", digest("x")), Client("a", "A", b"", disabled=True)):
        with pytest.raises(InvalidRequest):
            destination(asked(post_logout_redirect_uri=BYE), client)


@pytest.mark.parametrize("query", [b"state=a&state=b", b"x=&x=", b"id_token_hint=%C3%A9"])
def test_a_malformed_request_is_refused(query):
    with pytest.raises(InvalidRequest):
        read(parse(query))


def test_a_hint_names_a_login():
    assert is_of_login(HINT, "subject", "sid")
    assert is_of_login(Hint("subject", "app"), "subject", "any")
    assert not is_of_login(HINT, "subject", "another")
    assert not is_of_login(HINT, "another", "sid")


def test_a_logout_token_has_its_event_and_no_nonce():
    """Back-Channel Logout 1.0, section 2.4."""
    claims = logout_claims(ISSUER, "app", "subject", "sid", "token id", 1000)
    assert claims == {
        "iss": ISSUER,
        "sub": "subject",
        "aud": "app",
        "iat": 1000,
        "exp": 1120,
        "jti": "token id",
        "events": {EVENT: {}},
        "sid": "sid",
    }
    assert "sid" not in logout_claims(ISSUER, "app", "subject", None, "token id", 1000)


def test_the_pauses_grow_and_end():
    pauses = [pause_after(attempts) for attempts in range(1, len(PAUSES) + 2)]
    assert pauses == [*PAUSES, None]
    assert sorted(PAUSES) == list(PAUSES)


def test_an_address_to_return_to_has_no_state_yet():
    """The answer would have two."""
    client = attrs.evolve(CLIENT, redirect_uris=(BYE,), post_logout_redirect_uris=(f"{BYE}?st%61te=x",))
    with pytest.raises(RegistrationError, match="the parameter state"):
        check_registration(client, True)
    check_registration(attrs.evolve(client, post_logout_redirect_uris=(f"{BYE}?code=x",)), True)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1", "64:ff9b::808:808", "2002:808:808::1"])
def test_an_address_of_the_internet_is_public(host):
    assert is_public(host)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("169.254.169.254", "192.0.2.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0"),
        *("fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:db8::1"),
        *("::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1", "fec0::1", "5f00::1", "4000::1"),
        *("", "localhost", "a.example", "8.8.8.8.8"),
    ],
)
def test_another_address_is_not(host):
    assert not is_public(host)
