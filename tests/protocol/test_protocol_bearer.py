"""Bearer tokens at a protected resource: the header, the token, and the challenge."""

import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.errors import (
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    MissingCredentials,
)
from djoauth2_twisted.models import AccessToken, ResourceOwner
from djoauth2_twisted.protocol.bearer import MAX_TOKEN_LENGTH, challenge, check_token, quoted, read_token

TOKEN = AccessToken(
    client_id="a-client",
    user=ResourceOwner("peter"),
    scopes=("verify", "autologin"),
    issued=1000,
    expires=4600,
    grant_id="a-grant",
)

# RFC 9110, sections 5.6.4 and 11.2.
_ATTRIBUTE = re.compile(r'([a-z_]+)="((?:[^"\\\x00-\x1f\x7f-\U0010ffff]|\\["\\])*)"')


def attributes_of(header):
    """A challenge taken apart again; fails where it is not well formed."""
    scheme, _, rest = header.partition(" ")
    assert scheme == "Bearer"
    assert re.fullmatch(f"{_ATTRIBUTE.pattern}(, {_ATTRIBUTE.pattern})*", rest)
    found = _ATTRIBUTE.findall(rest)
    assert len({name for name, _ in found}) == len(found)
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in found}


# The header.


@pytest.mark.parametrize(
    "token",
    [
        "tok",
        "a",
        "AZaz09-._~+/",
        "YWJj=",
        "YWJj==",
        pytest.param("eyJ0.eyJ1.c2ln" * 300, id="a-JWT-of-4200-characters"),
        pytest.param("0" * MAX_TOKEN_LENGTH, id="longest"),
        "mF_9.B5f-4.1JqM",
    ],
)
def test_a_bearer_token_is_read(token):
    assert read_token([b"Bearer " + token.encode()]) == token


@pytest.mark.parametrize(
    "header",
    [b"bearer tok", b"BEARER tok", b"bEaReR tok", b"Bearer   tok", b" Bearer tok", b"Bearer tok \t"],
)
def test_scheme_and_spaces_are_read_generously(header):
    """BG-07"""
    assert read_token([header]) == "tok"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b""],
        [b"   "],
        [b"NotBearer tok"],
        [b"Basic YTpi"],
        [b"BearerX tok"],
        [b"INVALID"],
        [b"Bearer\ttok"],
        [b"Bearer,tok"],
        [b"\xff\xfe tok"],
    ],
)
def test_no_credentials_or_those_of_another_scheme_are_missing(lines):
    """BG-01, BG-02"""
    with pytest.raises(MissingCredentials):
        read_token(lines)


@pytest.mark.parametrize(
    "header",
    [
        b"Bearer",
        b"Bearer ",
        b"Bearer a b",
        b'Bearer "tok"',
        b"Bearer tok,",
        b"Bearer tok;x",
        b"Bearer a, Bearer b",
        b"Bearer =",
        b"Bearer a=b",
        b"Bearer \ttok",
        b"Bearer tok\x00",
        b"Bearer tok%00",
        b"Bearer tok\n",
        b"Bearer t\xc3\xb6k",
        b"Bearer \xff",
        pytest.param(b"Bearer " + b"a" * (MAX_TOKEN_LENGTH + 1), id="too-long"),
        pytest.param(b"Bearer " + b"a" * 15_000, id="15-KiB"),
    ],
)
def test_malformed_bearer_credentials_are_refused(header):
    """BG-08, BG-09 (two in one line)"""
    with pytest.raises(InvalidRequest, match="not a Bearer token"):
        read_token([header])


@pytest.mark.parametrize("other", [b"Bearer bad", b"Bearer tok", b"Basic YTpi", b"", b"Bearer"])
def test_two_authorization_lines_are_refused(other):
    """BG-09: in both orders, even where both are the same"""
    for lines in ([b"Bearer tok", other], [other, b"Bearer tok"]):
        with pytest.raises(InvalidRequest, match="more than one"):
            read_token(lines)


@given(st.lists(st.binary() | st.binary().map(b"Bearer ".__add__), max_size=2))
def test_any_header_is_read_or_refused(lines):
    """BG-08: and what was read could have been issued"""
    try:
        token = read_token(lines)
    except (MissingCredentials, InvalidRequest):
        return
    assert len(lines) == 1
    assert token.encode("ascii") in lines[0]
    assert re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", token)


@given(st.text("ABCxyz019-._~", min_size=1, max_size=255))
def test_every_token_of_ours_is_read(token):
    """CG-16"""
    assert read_token([b"Bearer " + token.encode("ascii")]) == token


# The token.


@pytest.mark.parametrize(
    "scopes", [(), ("verify",), ("verify", "autologin"), ("autologin", "verify"), ("verify", "verify")]
)
def test_a_token_that_covers_the_scopes_is_good(scopes):
    """BG-04"""
    assert check_token(TOKEN, scopes, 1000) is TOKEN


@pytest.mark.parametrize(
    "scopes", [("admin",), ("verify", "admin"), ("verify", "autologin", "admin"), ("VERIFY",)]
)
def test_a_token_that_does_not_cover_all_scopes_is_insufficient(scopes):
    """BG-05"""
    with pytest.raises(InsufficientScope) as caught:
        check_token(TOKEN, scopes, 1000)
    assert caught.value.scopes == scopes


@pytest.mark.parametrize(("now", "good"), [(1000, True), (4599, True), (4600, False), (10**10, False)])
def test_a_token_is_good_until_its_lifetime_ends(now, good):
    """BG-03, CG-20: at the second of its end it is expired"""
    if good:
        assert check_token(TOKEN, (), now) is TOKEN
    else:
        with pytest.raises(InvalidToken):
            check_token(TOKEN, (), now)


def test_unknown_and_expired_tokens_are_refused_in_the_same_words():
    """BG-03"""
    with pytest.raises(InvalidToken) as unknown:
        check_token(None, ("verify",), 1000)
    with pytest.raises(InvalidToken) as expired:
        check_token(TOKEN, ("verify",), 4600)
    assert challenge(unknown.value, "") == challenge(expired.value, "")


def test_an_expired_token_is_not_judged_by_its_scopes():
    with pytest.raises(InvalidToken):
        check_token(attrs.evolve(TOKEN, scopes=()), ("admin",), 4600)


# The challenge.


def test_missing_credentials_are_challenged_without_an_error():
    """BG-01"""
    assert challenge(MissingCredentials(), "") == 'Bearer realm=""'
    assert challenge(MissingCredentials(), "example") == 'Bearer realm="example"'


def test_an_error_is_named_in_its_challenge():
    """BG-03, BG-08"""
    assert attributes_of(challenge(InvalidToken("it is unknown"), "example")) == {
        "realm": "example",
        "error": "invalid_token",
        "error_description": "it is unknown",
    }
    assert attributes_of(challenge(InvalidRequest(), "")) == {"realm": "", "error": "invalid_request"}


def test_the_scopes_that_are_needed_are_named_in_the_challenge():
    """BG-05"""
    named = attributes_of(challenge(InsufficientScope(("verify", "admin")), ""))
    assert named["error"] == "insufficient_scope"
    assert named["scope"] == "verify admin"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '""'),
        ("plain ~!", '"plain ~!"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ('\\"', '"\\\\\\""'),
        ("a\r\nb", '"a??b"'),
        ("é\x00\x7f\t\u202e\udcff", '"??????"'),
    ],
)
def test_text_is_quoted_so_that_it_stays_one_value(text, expected):
    """BG-12"""
    assert quoted(text) == expected


anything = st.text(st.characters(exclude_categories=())) | st.text('"\\\r\n, =a')


@given(anything, anything, st.lists(anything).map(tuple))
def test_any_challenge_is_one_well_formed_header(realm, description, scopes):
    """BG-12"""
    for error in (InvalidToken(description), InsufficientScope(scopes), MissingCredentials(description)):
        header = challenge(error, realm)
        named = attributes_of(header)
        assert named["realm"] == "".join(c if " " <= c <= "~" else "?" for c in realm)
        assert ("error" in named) == (not isinstance(error, MissingCredentials))
        assert ("scope" in named) == isinstance(error, InsufficientScope)
