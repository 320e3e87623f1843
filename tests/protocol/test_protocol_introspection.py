"""Answers of other servers to introspection requests (RFC 7662, section 2.2)."""

import math
from itertools import product

import pytest

from djoauth2_twisted.errors import InvalidToken
from djoauth2_twisted.models import AccessToken, ResourceOwner
from djoauth2_twisted.protocol.introspection import UNDATED_SECONDS, read

ISSUER = "https://as.example"
NOW = 1_700_000_000

FULL = {
    "active": True,
    "scope": "read write",
    "client_id": "an-app",
    "username": "alice",
    "token_type": "Bearer",
    "exp": NOW + 300,
    "iat": NOW - 10,
    "nbf": NOW - 10,
    "sub": "a-subject",
    "aud": ["https://api.example", "account"],
    "iss": ISSUER,
    "jti": "an-id",
}
TEXTS = ("scope", "client_id", "username", "token_type", "sub", "iss")
TIMES = ("exp", "iat")


def test_a_full_answer_is_read():
    assert read(FULL, ISSUER, NOW) == AccessToken(
        client_id="an-app",
        user=ResourceOwner("alice", subject="a-subject"),
        scopes=("read", "write"),
        issued=NOW - 10,
        expires=NOW + 300,
        grant_id="",
    )


@pytest.mark.parametrize("optional", [{}, dict.fromkeys((*TEXTS, *TIMES, "nbf", "aud", "jti"))])
def test_optional_members_may_be_absent_or_null(optional):
    """RFC 7662, section 2.2: `active` alone is required."""
    found = read({"active": True, **optional}, ISSUER, NOW)
    assert found == AccessToken("", ResourceOwner(""), (), 0, NOW + UNDATED_SECONDS, "")


@pytest.mark.parametrize("name", [*TEXTS, *TIMES])
def test_one_member_that_is_absent_or_null_changes_nothing_else(name):
    absent = {key: value for key, value in FULL.items() if key != name}
    assert read(absent, ISSUER, NOW) == read({**FULL, name: None}, ISSUER, NOW)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *product(["active"], [None, "true", "false", 1, 0, "", []]),
        *product(TEXTS, [1, True, ["read"], {}]),
        *product(TIMES, ["1700000300", True, [], {}, "", math.nan, math.inf, -math.inf]),
    ],
)
def test_a_malformed_member_is_named(name, value):
    with pytest.raises(ValueError, match=f"^the member {name} of its answer is malformed$"):
        read({**FULL, name: value}, ISSUER, NOW)


def test_an_answer_without_active_is_malformed():
    with pytest.raises(ValueError, match="the member active"):
        read({"exp": NOW + 300}, ISSUER, NOW)


@pytest.mark.parametrize("others", [{}, {"exp": "tomorrow"}, {"scope": 1}])
def test_an_inactive_token_is_invalid_whatever_else_is_said(others):
    with pytest.raises(InvalidToken):
        read({"active": False, **others}, ISSUER, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": ISSUER + "/"},
        {"token_type": "DPoP"},
        {"token_type": "mac"},
        {"token_type": "Bearer", "cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}},
        {"token_type": None, "cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}},
        {"cnf": {}},
    ],
)
def test_a_token_of_another_issuer_or_kind_is_invalid(changes):
    with pytest.raises(InvalidToken):
        read({**FULL, **changes}, ISSUER, NOW)


@pytest.mark.parametrize(("value", "time"), [(1e9, 10**9), (1.7e9 + 0.9, 17 * 10**8), (-1, -1), (0, 0)])
def test_a_time_is_a_number(value, time):
    """RFC 7519, section 2: it may be a fraction."""
    assert read({**FULL, "exp": value}, ISSUER, NOW).expires == time


def test_a_user_is_known_by_name_or_subject():
    assert read({**FULL, "username": None}, ISSUER, NOW).user == ResourceOwner("a-subject")
    assert read({**FULL, "sub": None}, ISSUER, NOW).user == ResourceOwner("alice")
