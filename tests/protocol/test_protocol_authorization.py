"""The authorization request, judged: client, redirect URI, and the errors sent to the client."""

from urllib.parse import parse_qs, quote_from_bytes, unquote_to_bytes, urlencode, urlsplit

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import (
    DJOAuthError,
    InvalidRequest,
    InvalidScope,
    MissingRedirectURI,
    RequestNotSupported,
    RequestURINotSupported,
    UnsupportedResponseType,
)
from djoauth2_twisted.models import Client, Scope
from djoauth2_twisted.parameters import parse
from djoauth2_twisted.protocol.authorization import (
    MAX_CLIENT_ID_LENGTH,
    Redirection,
    check_request,
    check_scopes,
    client_id_of,
    find_redirection,
)

ISSUER = "https://issuer.example"
CALLBACK = "https://app.example/cb"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CLIENT = Client("a-client", "An app", digest("a secret"), redirect_uris=(CALLBACK,))
KNOWN = {name: Scope(name, f"What {name} is for") for name in ("verify", "autologin", "email")}
GOOD = {
    "client_id": "a-client",
    "redirect_uri": CALLBACK,
    "response_type": "code",
    "state": "a-state",
    "scope": "verify",
}


def query(**changes):
    """A good request, changed; None leaves a parameter out."""
    sent = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return urlencode(sent).encode("ascii")


def redirection_of(*sources, client=CLIENT):
    parameters = parse(*sources)
    client_id_of(parameters)
    return find_redirection(parameters, client, ISSUER)


def judge(*sources, client=CLIENT, require_state=True, require_pkce=False):
    """Both steps of the judgement in their order, as an endpoint takes them."""
    redirection = redirection_of(*sources, client=client)
    return check_request(
        parse(*sources),
        client,
        redirection.redirect_uri,
        require_state=require_state,
        require_pkce=require_pkce,
    )


def answered(address):
    """What the client finds in its query, as bytes."""
    parts = urlsplit(address)
    assert not parts.fragment
    assert address.isascii()
    assert not set(address) & set(" \r\n\t\"<>\\;'")
    return {
        unquote_to_bytes(name): unquote_to_bytes(value.replace("+", " "))
        for name, _, value in (pair.partition("=") for pair in parts.query.split("&"))
    }


# The client.


@pytest.mark.parametrize("client_id", [None, ""])
def test_a_request_without_client_id_is_sent_nowhere(client_id):
    """AZ-04"""
    with pytest.raises(MissingRedirectURI, match="client_id is missing"):
        client_id_of(parse(query(client_id=client_id)))


@pytest.mark.parametrize(
    "client_id",
    [
        "a\x00client",
        "a\nclient",
        "a-cl\xefent",
        "\u202ea-client",
        "a\x7f",
        pytest.param("a" * (MAX_CLIENT_ID_LENGTH + 1), id="too-long"),
    ],
)
def test_an_impossible_client_id_is_not_redirected(client_id):
    """AZ-04, DB-03, DB-04: such a value is never looked up."""
    with pytest.raises(MissingRedirectURI, match="client_id is unknown"):
        client_id_of(parse(query(client_id=client_id)))


def test_a_client_id_that_is_not_utf8_is_sent_nowhere():
    """AZ-04"""
    with pytest.raises(MissingRedirectURI):
        client_id_of(parse(b"client_id=%ff"))


@pytest.mark.parametrize(
    "client_id", ["a-client", "A b!~", pytest.param("a" * MAX_CLIENT_ID_LENGTH, id="longest")]
)
def test_the_client_id_is_read_as_it_was_sent(client_id):
    assert client_id_of(parse(query(client_id=client_id))) == client_id


@pytest.mark.parametrize("client", [None, attrs.evolve(CLIENT, disabled=True)])
def test_an_unknown_or_disabled_client_is_not_redirected_to(client):
    """AZ-04, RU-22: both look the same from outside."""
    with pytest.raises(MissingRedirectURI, match="client_id is unknown"):
        redirection_of(query(), client=client)


# The redirect URI.


def test_a_registered_redirect_uri_is_where_the_answer_goes():
    assert redirection_of(query()) == Redirection(CALLBACK, "a-state", ISSUER)


@pytest.mark.parametrize("sent", [None, ""])
def test_the_only_registered_redirect_uri_need_not_be_named(sent):
    assert redirection_of(query(redirect_uri=sent)).redirect_uri == CALLBACK


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"response_type": "token"},
        {"response_type": None},
        {"scope": "a\tb"},
        {"state": None},
        {"prompt": "none"},
        {"request": "x"},
        {"request_uri": "https://attacker.example/"},
        {"response_mode": "fragment"},
    ],
)
@pytest.mark.parametrize(
    ("redirect_uri", "client"),
    [("https://evil.example/", CLIENT), (CALLBACK + "/", CLIENT), (CALLBACK, None)],
)
def test_no_other_mistake_leads_to_a_redirect_uri_that_is_not_known(wrong, redirect_uri, client):
    """AZ-07, AZ-08, RU-02: whatever else is wrong, the answer goes nowhere."""
    with pytest.raises(MissingRedirectURI):
        judge(query(redirect_uri=redirect_uri, **wrong), client=client)


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
@pytest.mark.parametrize("second", ["same", "other", ""])
def test_a_client_id_or_redirect_uri_sent_twice_is_sent_nowhere(name, second):
    """AZ-15"""
    value = GOOD[name] if second == "same" else second
    repeated = query() + b"&" + urlencode({name: value}).encode()
    with pytest.raises(MissingRedirectURI, match="more than once"):
        client_id_of(parse(repeated))


@pytest.mark.parametrize(
    "name",
    [
        "response_type",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
        "response_mode",
        "request",
        "nonce",
        "prompt",
        "max_age",
        "extra",
    ],
)
@pytest.mark.parametrize("values", [("x", "x"), ("x", "y"), ("x", ""), ("", "")])
def test_any_other_parameter_sent_twice_is_an_error_for_the_client(name, values):
    """AZ-15"""
    repeated = query(**{name: None}) + b"".join(f"&{name}={value}".encode() for value in values)
    with pytest.raises(InvalidRequest, match="more than once") as caught:
        judge(repeated)
    assert not isinstance(caught.value, MissingRedirectURI)


def test_a_parameter_in_both_query_and_form_was_sent_twice():
    """AZ-16"""
    with pytest.raises(InvalidRequest, match="more than once"):
        judge(query(), b"scope=email")
    with pytest.raises(MissingRedirectURI):
        judge(query(), b"redirect_uri=https%3A%2F%2Fevil.example%2F")


def test_a_semicolon_starts_no_parameter():
    """AZ-12"""
    request = query(redirect_uri=None, scope=None) + b"&scope=a;redirect_uri=https://evil.example/"
    asked, names = judge(request)
    assert asked.redirect_uri == CALLBACK
    assert names == ("a;redirect_uri=https://evil.example/",)


# What is asked.


def test_a_good_request_is_understood():
    asked, names = judge(query())
    assert asked.client is CLIENT
    assert asked.redirect_uri == CALLBACK
    assert asked.redirect_uri_sent is True
    assert asked.state == "a-state"
    assert asked.code_challenge is None
    assert asked.scopes == ()
    assert names == ("verify",)


def test_a_redirect_uri_that_was_not_sent_is_remembered_as_such():
    """The token request need not repeat what the authorization request left out."""
    asked, _ = judge(query(redirect_uri=None))
    assert asked.redirect_uri == CALLBACK
    assert asked.redirect_uri_sent is False


def test_unknown_parameters_are_ignored():
    """AZ-17"""
    assert judge(query(extra="foobar", approve="1")) == judge(query())


@pytest.mark.parametrize("response_type", [None, ""])
def test_a_request_without_response_type_is_refused(response_type):
    """AZ-05"""
    with pytest.raises(InvalidRequest, match="response_type is missing"):
        judge(query(response_type=response_type))


@pytest.mark.parametrize(
    "response_type",
    [
        "not_code",
        "token",
        "id_token",
        "none",
        "code token",
        "code id_token",
        "CODE",
        "code code",
        "code ",
    ],
)
def test_only_the_response_type_code_is_supported(response_type):
    """AZ-06"""
    with pytest.raises(UnsupportedResponseType):
        judge(query(response_type=response_type))


def test_request_objects_are_refused_by_name():
    """AZ-26"""
    with pytest.raises(RequestNotSupported):
        judge(query(request="eyJhbGciOiJub25lIn0.e30."))
    with pytest.raises(RequestURINotSupported):
        judge(query(request_uri="https://attacker.example/object"))


@pytest.mark.parametrize("response_mode", ["fragment", "form_post", "query.jwt", "Query", "bogus"])
def test_only_the_response_mode_query_is_supported(response_mode):
    """AZ-27"""
    with pytest.raises(InvalidRequest, match="response_mode"):
        judge(query(response_mode=response_mode))


@pytest.mark.parametrize("response_mode", ["query", ""])
def test_the_response_mode_may_be_named(response_mode):
    """AZ-27"""
    assert judge(query(response_mode=response_mode)) == judge(query())


@pytest.mark.parametrize("state", [None, ""])
def test_a_missing_state_is_refused_where_state_is_required(state):
    """AZ-09: and the answer has none."""
    with pytest.raises(InvalidRequest, match="state is missing"):
        judge(query(state=state))
    redirection = redirection_of(query(state=state))
    assert b"state" not in answered(redirection.address({"error": "invalid_request"}))


def test_a_missing_state_is_accepted_where_it_is_not_required():
    asked, _ = judge(query(state=None), require_state=False)
    assert asked.state is None


def test_a_state_is_kept_where_it_is_not_required():
    asked, _ = judge(query(), require_state=False)
    assert asked.state == "a-state"


def test_a_state_sent_twice_is_not_given_back():
    """AZ-15"""
    assert redirection_of(query() + b"&state=another").state is None


def test_the_code_challenge_is_kept():
    asked, _ = judge(query(code_challenge=CHALLENGE, code_challenge_method="S256"))
    assert asked.code_challenge == CHALLENGE


@pytest.mark.parametrize("challenge", [None, ""])
def test_a_code_challenge_may_be_required(challenge):
    """PK-08"""
    with pytest.raises(InvalidRequest, match="code_challenge is missing"):
        judge(query(code_challenge=challenge), require_pkce=True)


@pytest.mark.parametrize("method", [None, "plain", "s256"])
def test_a_code_challenge_of_another_method_is_refused(method):
    with pytest.raises(InvalidRequest, match="S256"):
        judge(query(code_challenge=CHALLENGE, code_challenge_method=method))


# Scopes.


@pytest.mark.parametrize("scope", [None, ""])
def test_a_request_without_scope_is_refused(scope):
    with pytest.raises(InvalidScope, match="scope is missing"):
        judge(query(scope=scope))


@pytest.mark.parametrize("scope", [" ", "a\tb", "a\xa0b", 'a"b', "a\\b", "a\x01", "é", "a\nb", "a\x00"])
def test_a_malformed_scope_is_refused(scope):
    """AZ-21"""
    with pytest.raises(InvalidScope, match="malformed"):
        judge(query(scope=scope))


def test_scopes_are_divided_by_spaces_alone():
    """AZ-23"""
    _, two = judge(query(scope=None) + b"&scope=verify+autologin")
    _, one = judge(query(scope=None) + b"&scope=verify%2Bautologin")
    assert two == ("verify", "autologin")
    assert one == ("verify+autologin",)
    with pytest.raises(InvalidScope, match="unknown"):
        check_scopes(CLIENT, one, KNOWN)


def test_a_long_list_of_scopes_is_refused_before_any_is_looked_up():
    """AZ-25"""
    with pytest.raises(InvalidScope, match="too many"):
        judge(query(scope=" ".join(f"scope{number}" for number in range(10_000))))


@pytest.mark.parametrize("names", [("verify",), ("autologin", "verify"), tuple(KNOWN)])
def test_known_scopes_are_found_in_the_order_sent(names):
    """AZ-20"""
    assert check_scopes(CLIENT, names, KNOWN) == tuple(KNOWN[name] for name in names)


@pytest.mark.parametrize(
    "names", [("unknown",), ("verify", "unknown"), ("VERIFY",), ("verify", "Verify")]
)
def test_an_unknown_scope_is_refused(names):
    """AZ-19, AZ-22: also beside a known one, also where only the case differs."""
    with pytest.raises(InvalidScope, match="a scope is unknown"):
        check_scopes(CLIENT, names, KNOWN)


def test_a_client_may_ask_for_no_more_than_its_allow_list():
    limited = attrs.evolve(CLIENT, scopes=("verify", "email"))
    assert check_scopes(limited, ("email", "verify"), KNOWN) == (KNOWN["email"], KNOWN["verify"])
    with pytest.raises(InvalidScope, match="not allowed"):
        check_scopes(limited, ("verify", "autologin"), KNOWN)


def test_an_empty_allow_list_allows_nothing():
    with pytest.raises(InvalidScope, match="not allowed"):
        check_scopes(attrs.evolve(CLIENT, scopes=()), ("verify",), KNOWN)


# The answer.


@pytest.mark.parametrize(
    "state",
    [
        b"a-state",
        "a&b=c#d%25 é+\"<>'\\".encode(),
        b"abc;def=1",
        pytest.param(b"x" * 1000, id="1000-bytes"),
        b"\r\nSet-Cookie: x=1",
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"code=stolen&iss=https://evil.example",
    ],
)
def test_the_client_gets_its_state_back_byte_for_byte(state):
    """AZ-11, AZ-12, AZ-13, AZ-14: in a success as in an error."""
    sent = query(state=None) + b"&state=" + quote_from_bytes(state, safe=";").encode()
    redirection = redirection_of(sent)
    for parameters in ({"code": "a-code"}, {"error": "access_denied", "error_description": "no"}):
        answer = answered(redirection.address(parameters))
        assert answer.pop(b"state") == state
        assert answer.pop(b"iss") == ISSUER.encode()
        assert answer == {name.encode(): value.encode() for name, value in parameters.items()}


@given(st.binary(min_size=1), st.booleans())
def test_any_state_survives_the_way_there_and_back(state, plus):
    """AZ-11, AZ-14"""
    encoded = quote_from_bytes(state, safe="")
    if plus:
        encoded = encoded.replace("%20", "+")
    redirection = redirection_of(query(state=None) + b"&state=" + encoded.encode())
    assert answered(redirection.address({"code": "a-code"}))[b"state"] == state


def test_every_answer_names_the_issuer():
    """RFC 9207: errors included, and with an issuer that needs encoding."""
    redirection = Redirection(CALLBACK, None, "https://issuer.example/a b&c")
    for parameters in ({"code": "a-code"}, {"error": "invalid_request"}):
        address = redirection.address(parameters)
        assert parse_qs(urlsplit(address).query)["iss"] == ["https://issuer.example/a b&c"]


def test_making_an_address_leaves_the_parameters_alone():
    parameters = {"code": "a-code"}
    Redirection(CALLBACK, "a-state", ISSUER).address(parameters)
    assert parameters == {"code": "a-code"}


def test_the_query_of_a_registered_redirect_uri_is_kept_in_the_answer():
    """RU-06: on success and on error."""
    client = attrs.evolve(CLIENT, redirect_uris=(CALLBACK + "?value1=True&value2=4242424242&foo=b%20r",))
    redirection = redirection_of(query(redirect_uri=None), client=client)
    for parameters in ({"code": "a-code"}, {"error": "access_denied"}):
        address = redirection.address(parameters)
        assert address.startswith(client.redirect_uris[0] + "&")
        answer = parse_qs(urlsplit(address).query, strict_parsing=True)
        assert answer["value1"] == ["True"]
        assert answer["value2"] == ["4242424242"]
        assert answer["foo"] == ["b r"]
        assert next(iter(parameters)) in answer


# Any input.


@pytest.mark.parametrize(
    "name",
    [
        "client_id",
        "redirect_uri",
        "response_type",
        "scope",
        "response_mode",
        "request",
        "code_challenge",
    ],
)
def test_no_error_repeats_what_was_sent(name):
    """U-06, AZ-19, RU-21"""
    with pytest.raises(DJOAuthError) as caught:
        judge(query(**{name: "Canary\u202e"}))
    assert "anary" not in caught.value.description
    assert "app.example" not in caught.value.description


parameters = st.dictionaries(
    st.sampled_from(
        [
            *GOOD,
            "request",
            "request_uri",
            "response_mode",
            "code_challenge",
            "code_challenge_method",
            "x",
        ]
    ),
    st.binary() | st.sampled_from([b"code", b"query", b"S256", CHALLENGE.encode(), CALLBACK.encode()]),
)


@given(parameters, st.booleans(), st.booleans())
def test_any_request_is_judged_or_refused(changes, require_state, require_pkce):
    """U-01"""
    sent = {**{name: value.encode() for name, value in GOOD.items()}, **changes}
    raw = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in sent.items()).encode()
    try:
        asked, names = judge(raw, require_state=require_state, require_pkce=require_pkce)
    except (MissingRedirectURI, InvalidRequest, InvalidScope, UnsupportedResponseType):
        return
    assert asked.redirect_uri == CALLBACK
    assert names
    assert asked.state is not None or not require_state
    assert asked.code_challenge is not None or not require_pkce
