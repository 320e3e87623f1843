"""Client authentication: what a request shows, and whether it is the client's own."""

import base64
from urllib.parse import quote_plus, urlencode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import InvalidClient, InvalidRequest
from djoauth2_twisted.models import Client
from djoauth2_twisted.parameters import parse
from djoauth2_twisted.protocol.client_authentication import (
    MAX_HEADER_LENGTH,
    ClientCredentials,
    authenticate,
    read_credentials,
)

NOW = 1_700_000_000
NO_FORM = parse(b"")
CLIENT = Client("a-client", "An app", digest("a secret"), redirect_uris=("https://app.example/cb",))


def basic(client_id, client_secret):
    """The header as RFC 6749, section 2.3.1, wants it: form-encoded, then base64."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return b"Basic " + base64.b64encode(pair.encode("ascii"))


def raw_basic(pair):
    return b"Basic " + base64.b64encode(pair)


def form(**fields):
    return parse(urlencode(fields).encode("ascii"))


# One authentication is read.


def test_credentials_are_read_from_the_header():
    """CA-01"""
    read = read_credentials([basic("a-client", "a-secret")], NO_FORM)
    assert read == ClientCredentials("a-client", "a-secret")


def test_credentials_are_read_from_the_form():
    """CA-01"""
    read = read_credentials([], form(client_id="a-client", client_secret="a-secret"))
    assert read == ClientCredentials("a-client", "a-secret")


@pytest.mark.parametrize(
    "value", ["plain", "+ % : é space ~", "a:b", "100%", "%41", "a+b", "\u202e", "é"]
)
def test_id_and_secret_are_form_decoded(value):
    """CA-08"""
    assert read_credentials([basic(value, value)], NO_FORM) == ClientCredentials(value, value)


def test_the_first_colon_divides_id_and_secret():
    """CA-08: a secret with a raw colon, as clients send it that do not encode"""
    assert read_credentials([raw_basic(b"a-client:a:b:")], NO_FORM) == ClientCredentials(
        "a-client", "a:b:"
    )


def test_bytes_that_are_not_utf8_are_read_without_a_fault():
    """CA-13"""
    read = read_credentials([raw_basic(b"a-client:\xff%ff")], NO_FORM)
    assert read == ClientCredentials("a-client", "\udcff\udcff")


@pytest.mark.parametrize("scheme", [b"Basic", b"basic", b"BASIC", b"bAsIc"])
@pytest.mark.parametrize("spaces", [b" ", b"   "])
def test_the_scheme_is_read_in_any_case(scheme, spaces):
    """ARCHITECTURE: ``Bearer``, ``Basic``: any case"""
    header = scheme + spaces + base64.b64encode(b"a:b")
    assert read_credentials([header], NO_FORM) == ClientCredentials("a", "b")
    assert read_credentials([b" \t" + header + b" \t"], NO_FORM) == ClientCredentials("a", "b")


# None is read.


@pytest.mark.parametrize(
    "fields",
    [{}, {"client_id": "a-client"}, {"client_secret": "x"}, {"client_id": "", "client_secret": "x"}],
)
def test_an_incomplete_authentication_is_none(fields):
    """CA-12"""
    with pytest.raises(InvalidClient, match="missing"):
        read_credentials([], form(**fields))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"INVALID",
        b"Basic",
        b"Basic ",
        b"Basic\tYTpi",
        b"Bearer YTpi",
        b"Digest username=a",
        b"BasicX YTpi",
        b"Basic YTpi YTpi",
        b"Basic YTpi, Basic YTpi",
        b"\xff\xfe",
    ],
)
def test_a_header_that_is_not_basic_is_refused(header):
    """CA-05"""
    with pytest.raises(InvalidClient, match="not Basic"):
        read_credentials([header], NO_FORM)


@pytest.mark.parametrize(
    "encoded",
    [
        b"YTpi!!",
        b"YT pi",
        b"YT\npi",
        b"YTpi\n",
        b"YTpi\r\n YTpi",
        b"YTp",
        b"YTpiYg",
        b"YTpi=",
        b"YTpi==",
        b"YTpi===",
        b"YTpiYh==",
        b"Y=Tpi",
        b"=",
        b"YTpi\x00",
        b"YTp-",
        b"YTp_",
        "YTpé".encode(),
    ],
)
def test_a_base64_that_is_not_strict_is_refused(encoded):
    """CA-06"""
    with pytest.raises(InvalidClient, match="not Basic"):
        read_credentials([b"Basic " + encoded], NO_FORM)


@pytest.mark.parametrize("pair", [b":", b"a:", b":b", b"a", b"a%3Ab"])
def test_an_empty_id_or_secret_is_refused(pair):
    """CA-05, CA-12"""
    with pytest.raises(InvalidClient, match="not Basic"):
        read_credentials([raw_basic(pair)], NO_FORM)


def test_an_overlong_header_is_refused():
    """CA-13"""
    fits = b"Basic " + base64.b64encode(b"a:" + b"b" * 1528)
    padded = fits.ljust(MAX_HEADER_LENGTH)
    assert read_credentials([padded], NO_FORM).client_secret == "b" * 1528
    with pytest.raises(InvalidClient, match="not Basic"):
        read_credentials([padded + b" "], NO_FORM)
    with pytest.raises(InvalidClient, match="not Basic"):
        read_credentials([raw_basic(b"a:" + b"b" * 1_000_000)], NO_FORM)


# Two are read.


@pytest.mark.parametrize(
    "other", [basic("a-client", "wrong"), basic("a-client", "a-secret"), b"", b"Bearer x"]
)
def test_two_authorization_lines_are_refused(other):
    """CA-10: in both orders"""
    good = basic("a-client", "a-secret")
    for lines in ([good, other], [other, good]):
        with pytest.raises(InvalidRequest, match="more than one Authorization header"):
            read_credentials(lines, NO_FORM)


def test_the_same_client_id_in_the_form_is_no_second_authentication():
    """INTERFACE, section 3"""
    read = read_credentials([basic("a-client", "a-secret")], form(client_id="a-client", client_id_="x"))
    assert read == ClientCredentials("a-client", "a-secret")


def test_the_client_id_of_the_form_is_compared_with_the_decoded_one():
    """CA-08"""
    assert read_credentials([basic("a:é", "x")], form(client_id="a:é")).client_id == "a:é"


@pytest.mark.parametrize(
    "fields",
    [
        {"client_id": "another"},
        {"client_id": "A-CLIENT"},
        {"client_secret": "a-secret"},
        {"client_id": "a-client", "client_secret": "a-secret"},
        {"client_id": "a-client", "client_secret": "other"},
    ],
)
def test_header_and_form_are_two_authentications(fields):
    """INTERFACE, section 3: with a secret or another client_id they are two"""
    with pytest.raises(InvalidRequest, match="more than one client authentication"):
        read_credentials([basic("a-client", "a-secret")], form(**fields))


# The proof.


def test_the_right_secret_proves_the_client():
    assert authenticate(CLIENT, ClientCredentials("a-client", "a secret"), NOW) is CLIENT


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "wrong",
        "A secret",
        "a secret ",
        " a secret",
        "a secret\x00",
        "é",
        "\udcff",
        pytest.param("a" * 1_000_000, id="a-megabyte"),
        "a secre",
    ],
)
def test_a_wrong_secret_is_refused(secret):
    """CA-11, CA-13, CA-14"""
    with pytest.raises(InvalidClient, match="client authentication failed"):
        authenticate(CLIENT, ClientCredentials("a-client", secret), NOW)


ROTATED = attrs.evolve(
    CLIENT, previous_secret_digest=digest("the old one"), previous_secret_expires=NOW + 60
)


@pytest.mark.parametrize("secret", ["a secret", "the old one"])
def test_both_secrets_are_good_for_a_while(secret):
    assert authenticate(ROTATED, ClientCredentials("a-client", secret), NOW + 59) is ROTATED


@pytest.mark.parametrize("now", [NOW + 60, NOW + 10_000])
def test_the_old_secret_ends_at_its_second(now):
    assert authenticate(ROTATED, ClientCredentials("a-client", "a secret"), now) is ROTATED
    with pytest.raises(InvalidClient):
        authenticate(ROTATED, ClientCredentials("a-client", "the old one"), now)


@pytest.mark.parametrize(
    "client",
    [
        attrs.evolve(ROTATED, previous_secret_expires=None),
        attrs.evolve(ROTATED, previous_secret_digest=None),
        attrs.evolve(ROTATED, disabled=True),
    ],
)
@pytest.mark.parametrize("secret", ["the old one", "wrong", "", "None"])
def test_an_old_secret_that_is_none(client, secret):
    with pytest.raises(InvalidClient):
        authenticate(client, ClientCredentials("a-client", secret), NOW)


def test_the_digest_of_a_secret_does_not_serve_as_the_secret():
    """CG-19: what is kept at rest opens nothing."""
    kept = CLIENT.secret_digest
    for shown in (
        kept.hex(),
        kept.decode("utf-8", "surrogateescape"),
        base64.b64encode(kept).decode("ascii"),
    ):
        with pytest.raises(InvalidClient):
            authenticate(CLIENT, ClientCredentials("a-client", shown), NOW)


def test_unknown_disabled_and_unproven_clients_are_refused_in_the_same_words():
    """CA-11, CA-16"""
    cases = [
        (None, "a secret"),
        (None, ""),
        (attrs.evolve(CLIENT, disabled=True), "a secret"),
        (attrs.evolve(CLIENT, disabled=True), "wrong"),
        (CLIENT, "wrong"),
    ]
    descriptions = set()
    for client, secret in cases:
        with pytest.raises(InvalidClient) as caught:
            authenticate(client, ClientCredentials("a-client", secret), NOW)
        descriptions.add(caught.value.description)
    assert descriptions == {"client authentication failed"}


def test_a_secret_does_not_show_in_what_is_logged():
    """U-03"""
    assert "s3cret" not in repr(ClientCredentials("a-client", "s3cret"))
    assert "a-client" in repr(ClientCredentials("a-client", "s3cret"))


# Any input.

headers = (
    st.binary()
    | st.binary().map(b"Basic ".__add__)
    | st.binary().map(raw_basic)
    | st.tuples(st.binary(), st.binary()).map(lambda pair: raw_basic(pair[0] + b":" + pair[1]))
)


@given(st.lists(headers, max_size=2), st.binary() | st.sampled_from([b"client_id=a&client_secret=b"]))
def test_any_request_is_read_or_refused(lines, body):
    """U-01, CA-13: and what was read can be proven or not, without a fault"""
    try:
        credentials = read_credentials(lines, parse(body))
    except (InvalidClient, InvalidRequest):
        return
    assert credentials.client_id
    assert credentials.client_secret
    with pytest.raises(InvalidClient):
        authenticate(CLIENT, credentials, NOW)


wire = st.binary(min_size=1, max_size=200).map(lambda value: value.decode("utf-8", "surrogateescape"))


@given(wire, wire)
def test_any_id_and_secret_survive_the_header(client_id, secret):
    """CA-08"""
    encoded = [quote_plus(value, errors="surrogateescape") for value in (client_id, secret)]
    header = raw_basic(":".join(encoded).encode("ascii"))
    if len(header) > MAX_HEADER_LENGTH:
        with pytest.raises(InvalidClient):
            read_credentials([header], NO_FORM)
    else:
        assert read_credentials([header], NO_FORM) == ClientCredentials(client_id, secret)
