"""Codes by time (RFC 6238), and recovery codes."""

from __future__ import annotations

import pytest

from djoauth2_twisted.protocol.second_factor import RECOVERY_ALPHABET, Secrets, grouped, plain

#: RFC 6238, appendix B: the secret for SHA-1. Its codes have eight digits; ours are the last six.
KNOWN = Secrets(b"12345678901234567890", bytes(32))
VECTORS = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]


@pytest.mark.parametrize(("time", "code"), VECTORS)
def test_codes_are_those_of_the_standard(time: int, code: str) -> None:
    """SF-04: RFC 6238, appendix B"""
    assert KNOWN.matching_step(code[-6:], time) == time // 30


@pytest.mark.parametrize(("time", "code"), VECTORS)
def test_code_is_good_one_step_before_and_after(time: int, code: str) -> None:
    """SF-04: RFC 6238, section 5.2"""
    for drift, good in ((-60, False), (-30, True), (30, True), (60, False)):
        found = KNOWN.matching_step(code[-6:], time + drift)
        assert found == (time // 30 if good else None)


@pytest.mark.parametrize(
    "typed", ["", "287082x", "28708", "2870820", "\u0662\u0668\u0667\u0660\u0668\u0662", "\udcff"]
)
def test_what_is_no_code_matches_nothing(typed: str) -> None:
    assert KNOWN.matching_step(typed, 59) is None
    assert KNOWN.recovery_digest(typed) != KNOWN.recovery_digest("287082")


def test_secrets_are_packed_and_unpacked() -> None:
    assert Secrets.unpacked(KNOWN.packed()) == KNOWN


def test_secrets_are_not_shown() -> None:
    assert "123" not in repr(KNOWN)


def test_address_for_applications_names_site_and_user() -> None:
    """For names with any characters."""
    uri = KNOWN.uri("al:ice & co", "as.example")
    assert uri.startswith("otpauth://totp/as.example:al%3Aice%20%26%20co?secret=GEZDGNBV")
    assert uri.endswith("&issuer=as.example")
    assert KNOWN.text == "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"


def test_recovery_code_is_found_however_it_is_typed() -> None:
    """SF-06"""
    code = RECOVERY_ALPHABET[:12]
    for typed in (code, grouped(code), grouped(code).upper(), f" {grouped(code).replace('-', ' ')}\n"):
        assert plain(typed) == code
        assert KNOWN.recovery_digest(typed) == KNOWN.recovery_digest(code)


def test_digest_of_a_recovery_code_needs_the_key() -> None:
    """SF-02"""
    other = Secrets(KNOWN.shared, bytes([1]) * 32)
    assert other.recovery_digest("code") != KNOWN.recovery_digest("code")
