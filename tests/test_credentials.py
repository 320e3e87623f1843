"""Random values, digests, passwords, and sealed answers."""

import hashlib
import math
import random
import re

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.credentials import (
    ALPHABET,
    SHORTEST,
    constant_time_equal,
    digest,
    family_of,
    hash_password,
    new_family,
    random_string,
    refresh_token,
    seal,
    unseal,
    verify_password,
)

wire = st.binary().map(lambda value: value.decode("utf-8", "surrogateescape"))


# Random values.


@pytest.mark.parametrize("length", [22, 30, 255])
def test_a_random_string_has_the_length_and_the_letters_asked_for(length):
    """CG-16, INTERFACE: letters, digits and ``-._~``"""
    value = random_string(length)
    assert len(value) == length
    assert re.fullmatch(r"[A-Za-z0-9\-._~]+", value)


def test_the_shortest_random_string_has_128_bits():
    """CG-16"""
    assert SHORTEST == 22
    assert SHORTEST * math.log2(len(ALPHABET)) >= 128
    assert len(set(ALPHABET)) == len(ALPHABET)


def test_random_strings_do_not_repeat_and_share_nothing():
    """CG-16: and every letter is used in every place"""
    values = [random_string(30) for _ in range(2000)]
    assert len(set(values)) == 2000
    assert len({value[:8] for value in values}) == 2000
    assert all(set(column) == set(ALPHABET) for column in zip(*values, strict=True))


def test_random_strings_are_not_tied_to_the_random_module():
    """AB-04"""
    random.seed(1)
    first = random_string(30)
    random.seed(1)
    assert random_string(30) != first


# Digests.


def test_a_digest_is_the_sha256_of_a_value():
    """CG-19"""
    assert digest("abc") == hashlib.sha256(b"abc").digest()
    assert digest("é") == hashlib.sha256("é".encode()).digest()


@pytest.mark.parametrize(
    "other", ["A-token", "a-token ", " a-token", "a-token\x00", "a-tokena-token", "á-token", ""]
)
def test_values_that_look_alike_have_other_digests(other):
    """DB-01, DB-02, RT-17"""
    assert digest(other) != digest("a-token")


@given(st.binary(), st.binary())
def test_whatever_bytes_arrived_have_a_digest_of_their_own(one, other):
    """CA-13: bytes that are not UTF-8 are no fault, and equal nothing else"""
    digests = [digest(value.decode("utf-8", "surrogateescape")) for value in (one, other)]
    assert digests[0] == hashlib.sha256(one).digest()
    assert constant_time_equal(*digests) is (one == other)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (b"", b"", True),
        (b"ab", b"ab", True),
        (b"ab", b"aB", False),
        (b"ab", b"abc", False),
        (b"", b"a", False),
    ],
)
def test_values_are_compared_whole(one, other, equal):
    assert constant_time_equal(one, other) is equal


# Passwords.


@pytest.mark.usefixtures("true_hashes")
def test_a_hash_has_the_strength_of_rfc_9106():
    """Section 4, the second recommended option: 3 passes over 64 MiB, in 4 lanes."""
    kept = hash_password("correct horse")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert verify_password(kept, "correct horse") is True
    assert verify_password(kept, "Correct horse") is False


def test_a_password_belongs_to_its_hash_alone():
    kept = hash_password("correct horse")
    assert kept.startswith("$argon2id$")
    assert verify_password(kept, "correct horse") is True
    for wrong in ("", "Correct horse", "correct horse ", "correct horse\x00", "é"):
        assert verify_password(kept, wrong) is False


def test_the_same_password_is_hashed_anew_each_time():
    one, other = hash_password("x"), hash_password("x")
    assert one != other
    assert verify_password(one, "x")
    assert verify_password(other, "x")


def test_a_password_may_be_any_bytes():
    """U-01"""
    kept = hash_password("\udcff é \x00")
    assert verify_password(kept, "\udcff é \x00") is True
    assert verify_password(kept, "\udcfe é \x00") is False


@pytest.mark.parametrize(
    "kept", ["", "!", "x", "$argon2id$", "$argon2id$v=19$m=65536,t=3,p=4$AAAA$AAAA"]
)
def test_what_is_no_hash_belongs_to_no_password(kept):
    """A row that was damaged or disabled by hand refuses, it does not fail."""
    assert verify_password(kept, "x") is False
    assert verify_password(kept, "") is False


# Sealed answers.


@given(wire, st.binary())
def test_what_is_sealed_with_a_value_is_read_with_it(value, secret):
    """RT-16"""
    assert unseal(value, seal(value, secret)) == secret


def test_the_same_secret_is_sealed_anew_each_time():
    assert seal("a-token", b"secret") != seal("a-token", b"secret")


@pytest.mark.parametrize("other", ["", "A-token", "a-token ", "\udcff"])
def test_what_is_sealed_cannot_be_read_with_another_value(other):
    """RT-16, CG-19"""
    sealed = seal("a-token", b"secret")
    with pytest.raises(InvalidTag):
        unseal(other, sealed)


def test_what_is_kept_of_a_value_does_not_unseal():
    """CG-19: a dump holds the digest and the sealed answer side by side"""
    sealed = seal("a-token", b"secret")
    assert b"secret" not in sealed
    assert digest("a-token") not in sealed
    for kept in (digest("a-token").hex(), digest("a-token").decode("utf-8", "surrogateescape")):
        with pytest.raises(InvalidTag):
            unseal(kept, sealed)


@pytest.mark.parametrize("place", [0, 12, -1])
def test_what_was_changed_cannot_be_unsealed(place):
    sealed = bytearray(seal("a-token", b"secret"))
    sealed[place] ^= 1
    with pytest.raises(InvalidTag):
        unseal("a-token", bytes(sealed))


# Refresh tokens and their families.


@given(family=st.text(ALPHABET, min_size=8, max_size=8), length=st.integers(22, 255))
def test_a_refresh_token_names_its_family(family, length):
    """As long as was asked for, but never so short that it can be guessed from the family."""
    token = refresh_token(family, length)
    assert family_of(token) == family
    assert len(token) == max(length, 30)
    assert set(token) <= set(ALPHABET)


@given(data=st.data(), length=st.integers(22, 60))
def test_a_refresh_token_with_a_character_changed_is_of_another_family(data, length):
    family = new_family()
    token = refresh_token(family, length)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(ALPHABET).filter(lambda c: c != token[place]))
    assert family_of(token[:place] + other + token[place + 1 :]) != family
    assert family_of(token[:-1]) != family
    assert family_of(token + other) != family


@given(st.text())
def test_anything_says_the_name_of_some_family(text):
    """So that what is sent is never an error of ours."""
    assert len(family_of(text)) == 8
    assert family_of(text + "\udcff") == family_of(text + "\udcff")


def test_refresh_tokens_of_a_family_have_nothing_in_common():
    """Neither their beginnings nor their ends, so that a reader cannot see the family."""
    tokens = [refresh_token("aaaaaaaa", 30) for _ in range(1000)]
    assert len({token[-8:] for token in tokens}) == len({token[:22] for token in tokens}) == 1000
    for place in range(30):
        assert len({token[place] for token in tokens}) > 50
