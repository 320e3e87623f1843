"""The access token request and its answer."""

import json
from urllib.parse import urlencode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import (
    DJOAuthError,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    UnsupportedGrantType,
)
from djoauth2_twisted.models import (
    Client,
    CodeProof,
    Expired,
    Grant,
    Issued,
    RefreshProof,
    RefreshRetried,
    Refused,
    Replayed,
    ResourceOwner,
    TokenPair,
    Unknown,
)
from djoauth2_twisted.parameters import parse
from djoauth2_twisted.protocol.token import (
    PARAMETERS,
    CodeRequest,
    RefreshRequest,
    answer,
    check_client,
    check_outcome,
    read_code_request,
    read_grant_type,
    read_refresh_request,
)

GRANT_TYPES = ("authorization_code", "refresh_token")

CLIENT = Client("a-client", "An app", digest("a secret"), redirect_uris=("https://app.example/cb",))
GRANT = Grant(
    id="a-grant",
    client_id="a-client",
    owner=ResourceOwner("peter"),
    scopes=("verify",),
    created=1000,
    last_used=1000,
    expires=1600,
    code_digest=digest("a code"),
    code_expires=1600,
    redirect_uri=None,
    code_challenge=None,
)
PAIR = TokenPair(
    access_digest=digest("an access token"),
    access_expires=4600,
    refresh_digest=digest("a refresh token"),
    refresh_expires=9000,
    grant_id="a-grant",
    scopes=("verify",),
    issued=1000,
)


def read(**fields):
    return read_form(parse(urlencode(fields, errors="surrogateescape").encode("ascii")))


def read_form(form):
    """As the token endpoint reads a form."""
    if read_grant_type(form, GRANT_TYPES) == "authorization_code":
        return read_code_request(form, CLIENT)
    return read_refresh_request(form, CLIENT, refreshable=True)


def error_of(outcome):
    """The error that an outcome of the store is for the client."""
    with pytest.raises(DJOAuthError) as caught:
        check_outcome(outcome, 1_000)
    return caught.value


# The request.


@pytest.mark.parametrize("fields", [{}, {"grant_type": ""}, {"code": "x", "refresh_token": "y"}])
def test_a_request_without_grant_type_is_refused(fields):
    """CA-23"""
    with pytest.raises(InvalidRequest, match="grant_type is missing"):
        read(**fields)


@pytest.mark.parametrize(
    "grant_type",
    [
        "invalid",
        "Authorization_Code",
        "authorization_code ",
        "password",
        "client_credentials",
        "implicit",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "\udcff",
    ],
)
def test_no_other_grant_type_is_supported(grant_type):
    """CA-24"""
    with pytest.raises(UnsupportedGrantType, match=r"must be authorization_code or refresh_token"):
        read(grant_type=grant_type, code="x")


def test_a_resource_server_without_redirect_uri_is_refused():
    """No resource owner can make a grant to it."""
    resource_server = Client("an-api", "An API", digest("a secret"), resource_server=True)
    with pytest.raises(InvalidGrant, match="no grant was made to this client"):
        check_client(resource_server)


@pytest.mark.parametrize("resource_server", [False, True])
def test_a_client_with_a_redirect_uri_may_ask_for_tokens(resource_server):
    check_client(attrs.evolve(CLIENT, resource_server=resource_server))


@pytest.mark.parametrize("fields", [{}, {"code": ""}, {"refresh_token": "x"}])
def test_an_exchange_without_code_is_refused(fields):
    """CG-02"""
    with pytest.raises(InvalidRequest, match="code is missing"):
        read(grant_type="authorization_code", **fields)


@pytest.mark.parametrize("fields", [{}, {"refresh_token": ""}, {"code": "x"}])
def test_a_refresh_without_refresh_token_is_refused(fields):
    """RT-02"""
    with pytest.raises(InvalidRequest, match="refresh_token is missing"):
        read(grant_type="refresh_token", **fields)


def test_an_exchange_is_read_with_its_proof():
    asked = read(
        grant_type="authorization_code",
        code="a-code",
        redirect_uri="https://app.example/cb",
        code_verifier="a-verifier",
    )
    proof = CodeProof("a-client", "https://app.example/cb", "a-verifier", None, CLIENT.redirect_uris)
    assert asked == CodeRequest("a-code", proof)


@pytest.mark.parametrize("fields", [{}, {"redirect_uri": "", "code_verifier": ""}])
def test_an_exchange_need_not_name_redirect_uri_and_verifier(fields):
    """PK-02: an empty verifier is none"""
    asked = read(grant_type="authorization_code", code="a-code", **fields)
    assert asked.proof.redirect_uri is asked.proof.code_verifier is None


def test_the_proof_says_what_the_client_may_have_now():
    client = attrs.evolve(CLIENT, scopes=("verify",), redirect_uris=("https://app.example/new",))
    code = parse(b"code=x")
    assert read_code_request(code, client).proof.client_scopes == ("verify",)
    assert read_code_request(code, client).proof.client_redirect_uris == ("https://app.example/new",)
    refresh = parse(b"refresh_token=x")
    assert read_refresh_request(refresh, client, True).proof.client_scopes == ("verify",)


def test_the_proof_names_the_client_that_was_authenticated():
    """CG-03: not the one that the form names"""
    assert (
        read(grant_type="authorization_code", code="x", client_id="other").proof.client_id == "a-client"
    )
    assert (
        read(grant_type="refresh_token", refresh_token="x", client_id="other").proof.client_id
        == "a-client"
    )


@pytest.mark.parametrize("scope", ["verify admin", 'mal"formed'])
def test_the_scope_of_an_exchange_is_ignored(scope):
    """CG-13"""
    assert read(grant_type="authorization_code", code="x", scope=scope) == read(
        grant_type="authorization_code", code="x"
    )


@pytest.mark.parametrize(
    ("fields", "scopes"),
    [
        ({}, None),
        ({"scope": ""}, None),
        ({"scope": "verify"}, ("verify",)),
        ({"scope": "b a"}, ("b", "a")),
    ],
)
def test_a_refresh_is_read_with_its_scope(fields, scopes):
    """RT-07"""
    asked = read(grant_type="refresh_token", refresh_token="a-token", **fields)
    assert asked == RefreshRequest("a-token", RefreshProof("a-client", scopes))


@pytest.mark.parametrize("scope", [" ", "a\tb", 'a"', "\xa0"])
def test_a_refresh_with_a_malformed_scope_is_refused(scope):
    """RT-07"""
    with pytest.raises(InvalidScope):
        read(grant_type="refresh_token", refresh_token="a-token", scope=scope)


def test_a_refresh_is_refused_where_tokens_are_not_refreshable():
    """RT-06: after its parameters were judged"""
    form = parse(b"grant_type=refresh_token&refresh_token=a-token")
    with pytest.raises(InvalidGrant, match="tokens are not refreshable"):
        read_refresh_request(form, CLIENT, refreshable=False)
    with pytest.raises(InvalidRequest, match="refresh_token is missing"):
        read_refresh_request(parse(b""), CLIENT, refreshable=False)
    with pytest.raises(InvalidScope):
        read_refresh_request(parse(b"refresh_token=x&scope=%22"), CLIENT, refreshable=False)


@pytest.mark.parametrize("value", ["a-token ", "A-TOKEN", "a-token\x00", "a-tokena-token"])
def test_codes_and_tokens_are_read_as_they_were_sent(value):
    """RT-17: nothing is trimmed or folded on the way to the digest"""
    assert read(grant_type="refresh_token", refresh_token=value).refresh_token == value
    assert read(grant_type="authorization_code", code=value).code == value


def test_codes_and_tokens_do_not_show_in_what_is_logged():
    """U-03"""
    exchange = read(grant_type="authorization_code", code="s3cret", code_verifier="s3cret")
    refresh = read(grant_type="refresh_token", refresh_token="s3cret")
    assert "s3cret" not in repr(exchange)
    assert "s3cret" not in repr(refresh)


@pytest.mark.parametrize(
    "fields",
    [
        {"grant_type": "s3cret"},
        {"grant_type": "authorization_code", "code_verifier": "s3cret"},
        {"grant_type": "refresh_token", "code": "s3cret"},
        {"grant_type": "refresh_token", "refresh_token": "s3cret", "scope": "s3cret\\"},
    ],
)
def test_no_error_repeats_what_was_sent(fields):
    """CG-02, U-06"""
    with pytest.raises(DJOAuthError) as caught:
        read(**fields)
    assert "s3cret" not in caught.value.description
    assert "?" not in caught.value.description


def test_all_that_a_token_request_knows_is_kept_out_of_its_uri():
    """CA-04, CA-18: each parameter that is read from the form must also be forbidden in the URI."""
    assert {"grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope"} < PARAMETERS
    assert {"client_id", "client_secret"} < PARAMETERS


@given(
    st.dictionaries(
        st.sampled_from(sorted(PARAMETERS)),
        st.sampled_from(["authorization_code", "refresh_token"])
        | st.binary().map(lambda value: value.decode("utf-8", "surrogateescape")),
    )
)
def test_any_form_is_read_or_refused(fields):
    """U-01"""
    body = parse(urlencode(fields, errors="surrogateescape").encode("ascii"))
    try:
        asked = read_form(body)
    except (InvalidRequest, InvalidScope, UnsupportedGrantType):
        return
    assert asked.proof.client_id == "a-client"
    assert body.get("grant_type") in {"authorization_code", "refresh_token"}


# The answer.


@pytest.mark.parametrize("outcome", [Issued(GRANT, PAIR), RefreshRetried(GRANT, PAIR)])
def test_tokens_that_were_issued_are_answered(outcome):
    assert check_outcome(outcome, 1_000) is outcome


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Unknown(), InvalidGrant),
        (Expired(), InvalidGrant),
        (Refused("redirect_uri is another"), InvalidGrant),
        (Refused("the scope exceeds what was granted", invalid_scope=True), InvalidScope),
        (Replayed(GRANT), InvalidGrant),
    ],
)
def test_every_other_outcome_is_refused_by_name(outcome, error):
    """CG-02 to CG-05, CG-11, RT-02, RT-04, RT-07"""
    refused = error_of(outcome)
    assert type(refused) is error
    assert refused.status_code == 400
    assert refused.description


def test_the_error_has_the_reason_of_the_store():
    assert error_of(Refused("a reason")).description == "a reason"
    assert error_of(Refused("a reason", invalid_scope=True)).description == "a reason"
    assert error_of(Expired()).description == "it has expired"


def test_an_unknown_code_cannot_be_told_from_a_used_one():
    assert error_of(Unknown()).description == error_of(Replayed(GRANT)).description


def test_a_successful_answer_has_all_that_the_standard_wants():
    """CA-26"""
    body = json.loads(
        json.dumps(answer("an-access-token", "a-refresh-token", ("verify", "email"), 3600))
    )
    assert body == {
        "access_token": "an-access-token",
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "verify email",
        "refresh_token": "a-refresh-token",
    }
    assert type(body["expires_in"]) is int


def test_an_answer_without_refresh_token_does_not_mention_one():
    """RT-06"""
    assert "refresh_token" not in answer("an-access-token", None, ("verify",), 60)
