"""Redirect URIs: registration, the match with what a request names, and what is added to them."""

from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import MissingRedirectURI, RegistrationError
from djoauth2_twisted.models import Client
from djoauth2_twisted.protocol.redirection import (
    MAX_URI_LENGTH,
    RESPONSE_PARAMETERS,
    check_redirect_uri,
    choose_redirect_uri,
    host_of,
    origin_of,
    update_parameters,
)

CALLBACK = "https://app.example/cb"


def client(*redirect_uris):
    return Client("a-client", "An app", digest("a secret"), redirect_uris=redirect_uris)


# Registration.


@pytest.mark.parametrize(
    "uri",
    [
        CALLBACK,
        "https://app.example",
        "https://app.example/",
        "https://app.example:8443/cb",
        "https://app.example:65535",
        "https://a_b.sub-domain.example/cb",
        "https://localhost/cb",
        "https://xn--bcher-kva.example/cb",
        "https://192.0.2.1/cb",
        "https://[2001:db8::1]/cb",
        "https://[::1]:8443/cb",
        "https://app.example?from=oauth",
        "https://app.example/cb?value1=True&foo=bar",
        "https://app.example/cb?user_n%C3%A5me=Peter",
        "https://app.example/cb?user_nåme=Peter",
        "https://app.example/bücher",
        "https://app.example/a/..b/c.../.d/cb",
        "https://app.example/%23",
        "https://app.example/cb?x=../y",
        pytest.param("https://app.example/".ljust(MAX_URI_LENGTH, "a"), id="longest"),
    ],
)
def test_an_absolute_https_uri_can_be_registered(uri):
    """RU-04 (``%23`` is data), RU-06 (UTF-8 in the query)"""
    check_redirect_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/relative/url/",
        "app.example/cb",
        "//app.example/cb",
        "https:/app.example/cb",
        "https:app.example",
        "https://",
        "https:///cb",
        "https://?x",
        "javascript:alert(1)",
        "data:text/html,x",
        "urn:ietf:wg:oauth:2.0:oob",
        "HTTPS://app.example/cb",
        "1https://app.example/",
    ],
)
def test_a_uri_that_is_not_absolute_cannot_be_registered(uri):
    """RU-08 (the scheme's case)"""
    with pytest.raises(RegistrationError, match="absolute"):
        check_redirect_uri(uri)


@pytest.mark.parametrize("uri", [CALLBACK + "#x", CALLBACK + "#", "#", CALLBACK + "?a=b#c", "https://#"])
def test_a_fragment_cannot_be_registered(uri):
    """RU-04: not even an empty one"""
    with pytest.raises(RegistrationError, match="fragment"):
        check_redirect_uri(uri)


@pytest.mark.parametrize(
    "character", list(" \t\r\n\x00\x0b\x7f\"'<>\\`{}|^\xa0\u2028\u3000\u202e\ud800")
)
@pytest.mark.parametrize("form", ["{}" + CALLBACK, CALLBACK + "{}", "https://app.example/{}/cb"])
def test_white_space_and_control_characters_cannot_be_registered(form, character):
    """RU-14, RU-16"""
    if character == "'" and not form.startswith("{}"):
        check_redirect_uri(form.format(character))  # RFC 3986 lets an apostrophe stand in a path
        return
    with pytest.raises(RegistrationError):
        check_redirect_uri(form.format(character))


@pytest.mark.parametrize(
    "uri", ["https://app.example/%", "https://app.example/%4", "https://app.example/%zz"]
)
def test_a_broken_percent_encoding_cannot_be_registered(uri):
    with pytest.raises(RegistrationError):
        check_redirect_uri(uri)


def test_http_can_be_registered_only_without_ssl_only():
    """INTERFACE: ``http`` is accepted only with SSL_ONLY false."""
    with pytest.raises(RegistrationError, match="https"):
        check_redirect_uri("http://app.example/cb")
    check_redirect_uri("http://app.example/cb", ssl_only=False)
    check_redirect_uri(CALLBACK, ssl_only=False)


@pytest.mark.parametrize("scheme", ["ftp", "file", "ws", "httpss", "com.example.app"])
@pytest.mark.parametrize("ssl_only", [True, False])
def test_no_other_scheme_can_be_registered(scheme, ssl_only):
    with pytest.raises(RegistrationError, match="must be https"):
        check_redirect_uri(f"{scheme}://app.example/cb", ssl_only=ssl_only)


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil@app.example/cb",
        "https://app.example@evil.example/cb",
        "https://app.example:80@evil.example/",
        "https://@app.example/",
        "https://user:pass@[::1]/",
    ],
)
def test_user_information_cannot_be_registered(uri):
    """RU-13"""
    with pytest.raises(RegistrationError, match="user information"):
        check_redirect_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "https://\u0430pp.example/cb",
        "https://app.ex\u00e4mple/cb",
        "https://app.example./cb",
        "https://.example/cb",
        "https://app..example/cb",
        "https://-app.example/cb",
        "https://app-.example/cb",
        "https://app%2eexample/cb",
        "https://*.example/cb",
        "https://" + "a" * 64 + ".example/cb",
        "https://app.example\u2024evil/cb",
        "https://app.example;evil/cb",
    ],
)
def test_an_odd_host_cannot_be_registered(uri):
    """RU-15: homoglyphs are spelt in punycode or not at all"""
    with pytest.raises(RegistrationError, match="host of ASCII letters"):
        check_redirect_uri(uri)


@pytest.mark.parametrize(
    "host", ["192.0.2.256", "192.0.2", "010.0.0.1", "2130706433", "app.1", "1.2.3.4.5"]
)
def test_a_number_that_is_no_address_cannot_be_registered(host):
    """RU-15"""
    with pytest.raises(RegistrationError, match="not an address"):
        check_redirect_uri(f"https://{host}/cb")


@pytest.mark.parametrize(
    "uri",
    [
        "https://[::1/cb",
        "https://[]/cb",
        "https://[evil.example]/cb",
        "https://[192.0.2.1]/cb",
        "https://[v1.x]/cb",
        "https://[::1]evil.example/cb",
        "https://[::1].evil.example:443/cb",
        "https://[fe80::1%25eth0]/cb",
        "https://[::1%eth0]/cb",
        "https://[::1%a b]/cb",
        "https://[::1%;script-src *]/cb",
    ],
)
def test_a_broken_ipv6_address_cannot_be_registered(uri):
    """RU-17: and neither can one with a zone"""
    with pytest.raises(RegistrationError, match="must have a host"):
        check_redirect_uri(uri)


@pytest.mark.parametrize(
    "port", ["", "0", "080", "65536", "99999", "100000", "+1", "-1", "8 0", "a", "443:443", "٤"]
)
@pytest.mark.parametrize("host", ["app.example", "[::1]"])
def test_a_port_that_is_none_cannot_be_registered(host, port):
    """RU-17"""
    with pytest.raises(RegistrationError, match="port must be a number"):
        check_redirect_uri(f"https://{host}:{port}/cb")


@pytest.mark.parametrize("segment", [".", "..", "%2e", "%2E", "%2e%2e", "%2E%2e", ".%2e", "%2E."])
@pytest.mark.parametrize("form", ["/{}/cb", "/cb/{}", "/x/{}/cb?y"])
def test_dot_segments_cannot_be_registered(form, segment):
    """RU-10"""
    with pytest.raises(RegistrationError, match="dot segments"):
        check_redirect_uri("https://app.example" + form.format(segment))


@pytest.mark.parametrize("name", RESPONSE_PARAMETERS)
@pytest.mark.parametrize("query", ["{}=x", "{}=", "{}", "a=1&{}=x", "{}=x&a=1"])
def test_a_parameter_of_the_answer_cannot_be_registered(name, query):
    """RFC 6749, section 3.1: no parameter of an answer is there twice."""
    with pytest.raises(RegistrationError, match=f"must not have the parameter {name}"):
        check_redirect_uri(f"{CALLBACK}?{query.format(name)}")


@pytest.mark.parametrize("name", ["%73tate", "stat%65", "%63%6f%64%65"])
def test_a_parameter_of_the_answer_in_another_spelling_cannot_be_registered(name):
    with pytest.raises(RegistrationError, match="must not have the parameter"):
        check_redirect_uri(f"{CALLBACK}?{name}=x")


@pytest.mark.parametrize(
    "query", ["STATE=x", "states=x", "xcode=1", "a=code", "a=state=x", "a=b?code=c"]
)
def test_another_parameter_can_be_registered(query):
    check_redirect_uri(f"{CALLBACK}?{query}")


def test_an_overlong_uri_cannot_be_registered():
    """DB-04"""
    with pytest.raises(RegistrationError, match=f"at most {MAX_URI_LENGTH}"):
        check_redirect_uri("https://app.example/".ljust(MAX_URI_LENGTH + 1, "a"))


anything = st.text(st.characters(exclude_categories=()))
PIECES = [
    *("https://", "http://", "https:", "https", "//", "/", "\\", "?", "&", "#", "@", ":", ";", "=", "+"),
    *(
        "[",
        "]",
        "[::1",
        "::1",
        "443",
        "0",
        "65536",
        "1.2.3.4",
        "%",
        "%2e",
        "%00",
        "..",
        ".",
        "*",
        "'",
        '"',
    ),
    *("app.example", "evil.example", "a", "é", "\u0430", "\u2100", "<", " ", "\t", "\n", "\x00"),
]
pieces = st.lists(st.sampled_from(PIECES)).map("".join)


@given(
    anything | pieces | pieces.map("https://app.example".__add__) | pieces.map("https://[::1".__add__),
    st.booleans(),
)
@example("https://app.example/cb&", True)
@example("https://[::1%; script-src *]/cb", True)
def test_any_uri_is_refused_in_words_or_good_for_an_answer(uri, ssl_only):
    """RU-04, RU-13 to RU-17: what was accepted is understood in one way by everyone."""
    try:
        check_redirect_uri(uri, ssl_only)
    except RegistrationError:
        return
    assert uri.startswith("https://") or (not ssl_only and uri.startswith("http://"))
    assert not set(uri) & set('#\\ \t\r\n"<>')
    assert set(origin_of(uri)) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:[]/"
    )
    answer = update_parameters(uri, {"code": "x y"})
    assert answer.isascii()
    assert unquote(answer).startswith(unquote(uri))
    assert urlsplit(answer).netloc == urlsplit(uri).netloc
    assert unquote(urlsplit(answer).path) == unquote(urlsplit(uri).path)
    assert parse_qsl(urlsplit(answer).query)[-1] == ("code", "x y")


# The match.


@pytest.mark.parametrize(
    "uri",
    [CALLBACK, CALLBACK + "?a=1&b=2", "https://app.example/%23", "https://app.example/b%C3%BCcher"],
)
def test_the_registered_redirect_uri_is_recognised(uri):
    """RU-04, RU-06"""
    assert choose_redirect_uri(client(uri), uri) == uri


@pytest.mark.parametrize(
    "requested",
    [
        pytest.param("https://other.example/cb", id="RU-02-host"),
        pytest.param("https://app.example/other", id="RU-02-path"),
        pytest.param("http://app.example/cb", id="RU-02-scheme"),
        pytest.param("cb", id="RU-02-relative"),
        pytest.param("https://app.example/cb#x", id="RU-04-fragment"),
        pytest.param("https://app.example/cb#", id="RU-04-empty-fragment"),
        pytest.param("https://app.example/cb%23", id="RU-04-encoded-fragment"),
        pytest.param("https://app.example/CB", id="RU-08-path-case"),
        pytest.param("https://APP.example/cb", id="RU-08-host-case"),
        pytest.param("HTTPS://APP.EXAMPLE/cb", id="RU-08-scheme-case"),
        pytest.param("https://app.example/cb/", id="RU-09-slash"),
        pytest.param("https://app.example/cb/evil", id="RU-09-deeper"),
        pytest.param("https://app.example/cb123", id="RU-09-longer"),
        pytest.param("https://app.example/c", id="RU-09-shorter"),
        pytest.param("https://app.example", id="RU-09-no-path"),
        pytest.param("https://app.example/x/../cb", id="RU-10-dots"),
        pytest.param("https://app.example/cb/..;/evil", id="RU-10-dots-and-semicolon"),
        pytest.param("https://app.example/cb/%2e%2e/evil", id="RU-10-encoded-dots"),
        pytest.param("https://app.example/%63b", id="RU-10-encoded-letter"),
        pytest.param("https://app.example/cb%2f", id="RU-10-encoded-slash"),
        pytest.param("https://app.example/%2563b", id="RU-10-encoded-twice"),
        pytest.param("https://app.example/cb%252f", id="RU-10-slash-encoded-twice"),
        pytest.param("https://app.example/cb?foo=bar", id="RU-11-query-added"),
        pytest.param("https://app.example/cb?", id="RU-11-empty-query"),
        pytest.param("https://app.example/cb&", id="RU-11-ampersand"),
        pytest.param("https://app.example/cb;evil=1", id="RU-12-path-parameter"),
        pytest.param("https://evil@app.example/cb", id="RU-13-user"),
        pytest.param("https://app.example@evil.example/cb", id="RU-13-host-as-user"),
        pytest.param("https://app.example:80@evil.example/", id="RU-13-host-and-port-as-user"),
        pytest.param("https://app.example\\@evil.example/cb", id="RU-14-backslash"),
        pytest.param("https:\\\\app.example\\cb", id="RU-14-backslashes"),
        pytest.param("https://app.example:443/cb", id="RU-15-default-port"),
        pytest.param("https://app.example./cb", id="RU-15-trailing-dot"),
        pytest.param("https://\u0430pp.example/cb", id="RU-15-homoglyph"),
        pytest.param("https://0300.0250.0.1/cb", id="RU-15-octal"),
        pytest.param("https://xn--pp-oia.example/cb", id="RU-15-punycode"),
        pytest.param(" https://app.example/cb", id="RU-16-leading-space"),
        pytest.param("https://app.example/cb ", id="RU-16-trailing-space"),
        pytest.param("https://app.example/cb\t", id="RU-16-tab"),
        pytest.param("https://app.ex\nample/cb", id="RU-16-newline-inside"),
        pytest.param("https://app.example/cb\n", id="RU-16-newline"),
        pytest.param("https://app.example/cb\x00", id="RU-16-nul"),
        pytest.param("https://app.example/cb%0a", id="RU-16-encoded-newline"),
        pytest.param("https://[::1/cb", id="RU-17-bracket"),
        pytest.param("https://app.example:99999/cb", id="RU-17-port"),
        pytest.param("https://app.example.evil.example/cb", id="RU-19-suffix"),
        pytest.param("https://evilapp.example/cb", id="RU-19-prefix"),
        pytest.param("https://evil.example/https://app.example/cb", id="RU-19-inside"),
        pytest.param("//app.example/cb", id="no-scheme"),
        pytest.param("/cb", id="path-alone"),
        pytest.param("javascript:alert(1)", id="javascript"),
        pytest.param("data:text/html,x", id="data"),
        pytest.param("https://app.example/cb https://app.example/cb", id="two"),
        pytest.param("x" * 10_000, id="long"),
        pytest.param("https://app.example/cb\udcff", id="not-utf8"),
    ],
)
def test_anything_but_the_registered_string_is_refused(requested):
    """RU-02, RU-04, RU-08 to RU-17, RU-19"""
    with pytest.raises(MissingRedirectURI, match="registered") as caught:
        choose_redirect_uri(client(CALLBACK), requested)
    assert "app.example" not in caught.value.description  # RU-21


@pytest.mark.parametrize(
    "query", ["b=2&a=1", "a=1", "a=1&b=2&", "a=1&b=2&c=3", "a=1;b=2", "A=1&b=2", ""]
)
def test_another_query_than_the_registered_one_is_refused(query):
    """RU-11"""
    with pytest.raises(MissingRedirectURI):
        choose_redirect_uri(client(CALLBACK + "?a=1&b=2"), f"{CALLBACK}?{query}")


def test_the_only_registered_redirect_uri_is_meant_where_none_is_named():
    assert choose_redirect_uri(client(CALLBACK), None) == CALLBACK


def test_one_of_several_redirect_uris_must_be_named():
    """ARCHITECTURE: with more than one the request must name it."""
    several = client(CALLBACK, "https://app.example/other")
    assert choose_redirect_uri(several, "https://app.example/other") == "https://app.example/other"
    assert choose_redirect_uri(several, CALLBACK) == CALLBACK
    with pytest.raises(MissingRedirectURI, match="redirect_uri is missing"):
        choose_redirect_uri(several, None)


@pytest.mark.parametrize("requested", [None, CALLBACK])
def test_a_client_without_redirect_uris_is_sent_nothing(requested):
    with pytest.raises(MissingRedirectURI):
        choose_redirect_uri(client(), requested)


@given(anything | pieces)
def test_any_redirect_uri_is_the_registered_one_or_refused(requested):
    """RU-17"""
    try:
        assert choose_redirect_uri(client(CALLBACK), requested) == CALLBACK == requested
    except MissingRedirectURI:
        assert requested != CALLBACK


# What is added.


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://app.example/", "https://app.example/?code=x"),
        ("https://app.example", "https://app.example?code=x"),
        ("https://app.example/cb?", "https://app.example/cb?code=x"),
        ("https://app.example/cb?a=1", "https://app.example/cb?a=1&code=x"),
        ("https://app.example/cb?a=1&", "https://app.example/cb?a=1&code=x"),
        ("https://app.example/cb&", "https://app.example/cb&?code=x"),
        ("https://app.example/cb?a=b?", "https://app.example/cb?a=b?&code=x"),
        ("https://app.example/cb?a=%20+%2B;b", "https://app.example/cb?a=%20+%2B;b&code=x"),
    ],
)
def test_parameters_follow_the_query_that_is_there(uri, expected):
    """RU-06"""
    assert update_parameters(uri, {"code": "x"}) == expected


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("state=old", ""),
        ("state", ""),
        ("%73tate=old&a=1", "a=1&"),
        ("a=1&code=old&iss=x&b=2", "a=1&b=2&"),
        ("error=x&error_description=y&error_uri=z&a=state", "a=state&"),
        ("code=old&", ""),
    ],
)
def test_parameters_replace_those_that_were_registered(query, kept):
    """For a URI that was registered before this was refused: nothing of an answer is there twice."""
    updated = update_parameters(f"{CALLBACK}?{query}", {"code": "x", "state": "y", "iss": "z"})
    assert updated == f"{CALLBACK}?{kept}code=x&state=y&iss=z"


def test_parameters_are_added_to_a_uri():
    sent = {"value1": "True", "value2": "42424242", "foo": "bar"}
    assert dict(parse_qsl(urlsplit(update_parameters("https://app.example/", sent)).query)) == sent


def test_parameters_are_encoded_where_they_must_be():
    sent = {"?": "&", "#": "value", "=": "a b+c%20", "n\xe5me": "B\xc5\u2030"}
    updated = update_parameters("https://app.example/", sent)
    assert updated.isascii()
    assert not urlsplit(updated).fragment
    assert dict(parse_qsl(urlsplit(updated).query, strict_parsing=True)) == sent


def test_a_registered_query_beyond_ascii_arrives_as_utf8():
    """RU-06"""
    uri = "https://app.example/b\xfccher?user_n\xe5me=Peter&business_name=1500\xb2%20Restaurant"
    updated = update_parameters(uri, {"code": "x"})
    assert updated.isascii()
    assert urlsplit(updated).path == "/b%C3%BCcher"
    assert parse_qs(urlsplit(updated).query) == {
        "user_n\xe5me": ["Peter"],
        "business_name": ["1500\xb2 Restaurant"],
        "code": ["x"],
    }


def test_bytes_that_were_not_utf8_are_given_back_as_they_came():
    """AZ-14"""
    assert update_parameters(CALLBACK, {"state": "\udcff\udced"}) == CALLBACK + "?state=%FF%ED"


# What people and browsers are shown.


@pytest.mark.parametrize(
    ("uri", "host", "origin"),
    [
        (CALLBACK, "app.example", "https://app.example"),
        (
            "https://app.example:8443/cb?x=https://evil.example",
            "app.example:8443",
            "https://app.example:8443",
        ),
        ("https://[::1]:8443", "[::1]:8443", "https://[::1]:8443"),
        ("http://localhost/cb", "localhost", "http://localhost"),
    ],
)
def test_host_and_origin_of_a_redirect_uri(uri, host, origin):
    """UI-18, UI-20"""
    assert host_of(uri) == host
    assert origin_of(uri) == origin


def test_a_state_does_not_become_longer():
    """AZ-13: the client has sent it, and its server reads no more."""
    sent = "/:?@!$()*,~-._" * 100
    updated = update_parameters(CALLBACK, {"code": "x", "state": sent})
    assert updated == f"{CALLBACK}?code=x&state={sent}"
    assert update_parameters(CALLBACK, {"state": "a b+c&d=e;f#g%h'\""}).endswith(
        "?state=a+b%2Bc%26d%3De%3Bf%23g%25h%27%22"
    )
