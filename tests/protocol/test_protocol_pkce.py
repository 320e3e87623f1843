"""Proof Key for Code Exchange: the challenge, and whether a verifier belongs to it."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.errors import InvalidRequest
from djoauth2_twisted.protocol.pkce import check_challenge, verify

# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def challenge_of(verifier):
    made = hashlib.sha256(verifier.encode("utf-8", "surrogateescape")).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode("ascii")


@pytest.mark.parametrize("required", [True, False])
def test_an_s256_challenge_is_accepted(required):
    assert check_challenge(CHALLENGE, "S256", required) == CHALLENGE


def test_a_challenge_may_be_left_out_where_it_is_not_required():
    assert check_challenge(None, None, False) is None


@pytest.mark.parametrize("method", [None, "S256"])
def test_a_missing_challenge_is_refused_where_it_is_required(method):
    """PK-08"""
    with pytest.raises(InvalidRequest, match="code_challenge is missing"):
        check_challenge(None, method, True)


@pytest.mark.parametrize("method", ["S256", "plain", "x"])
def test_a_method_without_challenge_is_refused(method):
    """A client that thinks it is protected learns that it is not."""
    with pytest.raises(InvalidRequest, match="without code_challenge"):
        check_challenge(None, method, False)


@pytest.mark.parametrize("method", [None, "", "plain", "s256", "S256 ", "S512", "S256\n"])
@pytest.mark.parametrize("required", [True, False])
def test_no_method_but_s256_is_accepted(method, required):
    """RFC 9700, section 2.1.1; a method left out means plain."""
    with pytest.raises(InvalidRequest, match="must be S256"):
        check_challenge(CHALLENGE, method, required)


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        CHALLENGE[:-1],
        CHALLENGE + "A",
        "A" * 128,
        "A" * 129,
        CHALLENGE + "=",
        CHALLENGE[:-1] + "=",
        CHALLENGE[:-1] + "+",
        CHALLENGE[:-1] + "/",
        CHALLENGE[:-1] + ".",
        CHALLENGE[:-1] + "~",
        CHALLENGE[:-1] + " ",
        CHALLENGE[:-1] + "é",
        CHALLENGE[:-1] + "٤",
        CHALLENGE[:-1] + "\udcff",
        CHALLENGE + "\n",
    ],
)
def test_a_malformed_challenge_is_refused(challenge):
    """PK-06"""
    with pytest.raises(InvalidRequest, match="not the base64url of a SHA-256"):
        check_challenge(challenge, "S256", False)


@pytest.mark.parametrize("verifier", [VERIFIER, UNRESERVED, "-._~" + "a" * 39, "Z" * 128])
def test_the_right_verifier_is_recognised(verifier):
    """PK-01"""
    challenge = check_challenge(challenge_of(verifier), "S256", True)
    assert verify(challenge, verifier) is True


def test_the_example_of_the_standard_is_recognised():
    """PK-01"""
    assert challenge_of(VERIFIER) == CHALLENGE
    assert verify(CHALLENGE, VERIFIER) is True


@pytest.mark.parametrize(
    "verifier",
    [
        None,
        "",
        VERIFIER.swapcase(),
        VERIFIER + "=",
        VERIFIER + "\x00",
        VERIFIER + "\n",
        VERIFIER[:-1] + "l",
        CHALLENGE,
        "é" * 43,
        "\udcff" * 43,
    ],
)
def test_a_missing_or_wrong_verifier_is_refused(verifier):
    """PK-02"""
    assert verify(CHALLENGE, verifier) is False


@pytest.mark.parametrize(
    "verifier",
    [
        "a" * 42,
        "a" * 129,
        "a" * 42 + " ",
        "a" * 42 + "+",
        "a" * 42 + "/",
        "a" * 42 + "é",
        "a" * 43 + "\n",
        "a",
    ],
)
def test_a_malformed_verifier_is_refused_even_if_it_matches(verifier):
    """PK-07"""
    assert verify(challenge_of(verifier), verifier) is False


@pytest.mark.parametrize("verifier", [VERIFIER, "x", ""])
def test_a_verifier_without_a_challenge_is_refused(verifier):
    """PK-03"""
    assert verify(None, verifier) is False


def test_neither_challenge_nor_verifier_is_good():
    assert verify(None, None) is True


@pytest.mark.parametrize("verifier", [None, "", VERIFIER])
def test_an_empty_challenge_matches_nothing(verifier):
    """PK-08: not even an empty verifier"""
    assert verify("", verifier) is False


@given(st.text(UNRESERVED, min_size=43, max_size=128), st.text(st.characters(exclude_categories=())))
def test_a_challenge_is_met_by_its_own_verifier_alone(verifier, other):
    """PK-01, PK-02"""
    challenge = check_challenge(challenge_of(verifier), "S256", True)
    assert verify(challenge, verifier) is True
    assert verify(challenge, other) is (other == verifier)
