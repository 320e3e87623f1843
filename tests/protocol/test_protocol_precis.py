"""Usernames and passwords as people type them (RFC 8265)."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from djoauth2_twisted.errors import RegistrationError
from djoauth2_twisted.models import User
from djoauth2_twisted.protocol import precis
from djoauth2_twisted.protocol.common_passwords import COMMON_PASSWORDS
from djoauth2_twisted.protocol.registration import check_password

JÜRGEN = "j\u00fcrgen"
DECOMPOSED = "ju\u0308rgen"


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("alice", "alice"),
        ("Alice", "Alice"),
        ("alice ", "alice"),
        ("\u3000alice\u00a0\t\n", "alice"),
        (DECOMPOSED, JÜRGEN),
        ("\uff41\uff4c\uff49\uff43\uff45", "alice"),
        ("\uff76\uff9e", "\u30ac"),
        ("a  b", "a  b"),
        ("", ""),
        (" ", ""),
        ("\u212b", "\u00c5"),
    ],
)
def test_username_is_trimmed_and_normalized(typed: str, name: str) -> None:
    """RFC 8265, section 3.4."""
    assert precis.username(typed) == precis.username(name) == name


def test_text_that_is_too_long_for_a_name_is_left_as_it_is() -> None:
    """To normalize it would take long."""
    text = "u" + "\u0308\u0323" * 10_000
    assert precis.username(text) == text
    assert precis.password(text) == text
    # The longest names and passwords in their longest form are normalized.
    assert precis.username(unicodedata.normalize("NFD", "\u1f82" * 85)) == "\u1f82" * 85
    assert precis.password(unicodedata.normalize("NFD", "\u1f82" * 1024)) == "\u1f82" * 1024


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("alice", "ALICE", True),
        ("alice", " Alice ", True),
        (JÜRGEN, "JU\u0308RGEN", True),
        ("stra\u00dfe", "STRASSE", True),
        ("\u03c3\u03bf\u03c6\u03cc\u03c2", "\u03a3\u039f\u03a6\u038c\u03a3", True),
        ("\uff21lice", "alice", True),
        (JÜRGEN, "jurgen", False),
        ("alice", "al ice", False),
        ("alice", "\u0430lice", False),
        ("o'neil", "o\u2019neil", False),
    ],
)
def test_names_that_differ_only_in_case_and_form_are_alike(one: str, other: str, alike: bool) -> None:
    assert (precis.folded(one) == precis.folded(other)) is alike


def test_each_character_folds_as_its_other_forms_do() -> None:
    """A name is found however it was typed, and folding twice changes nothing."""
    # The capital of the dotless i is that of the i, which is another letter.
    others = {"\u0131"}
    for character in map(chr, range(sys.maxunicode + 1)):
        as_one = (character.casefold(), character.upper(), unicodedata.decomposition(character))
        if as_one == (character, character, "") or character in others:
            continue
        name = f"x{character}x"
        folded = precis.folded(name)
        assert precis.folded(folded) == folded
        assert precis.username(precis.username(name)) == precis.username(name)
        forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
        for other in (name.upper(), name.lower(), *forms, precis.username(name)):
            assert precis.folded(other) == folded, ascii(character)


def test_password_is_normalized() -> None:
    """RFC 8265, section 4.2: case and width stay, and so do spaces around it."""
    assert precis.password("u\u0308ber\u00a0alle\u3000") == "\u00fcber alle "
    assert precis.password("\uff21 B") == "\uff21 B"


def test_exact_name_is_chosen_first() -> None:
    """Of several that are alike, another spelling means none."""
    lower, upper = User("alice", ""), User("ALICE", "")
    both = [upper, lower]
    assert precis.choose("alice", both) == precis.choose(" alice ", both) == lower
    assert precis.choose("ALICE", both) == upper
    assert precis.choose("Alice", both) is None
    assert precis.choose("Alice", [upper]) == upper
    assert precis.choose("alice", []) is None
    composed, decomposed = User(JÜRGEN, ""), User(DECOMPOSED, "")
    assert precis.choose(DECOMPOSED, [composed, decomposed]) == decomposed
    assert precis.choose(JÜRGEN, [decomposed, composed]) == composed


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "at least 8 characters"),
        ("x", "at least 8 characters"),
        ("7 chars", "at least 8 characters"),
        ("u\u0308" * 7, "at least 8 characters"),
        ("x" * 1025, "at most 1024 characters"),
        ("password", "most common"),
        ("PassWord1", "most common"),
        ("12345678", "most common"),
        ("qwertyuiop", "most common"),
        ("iloveyou", "most common"),
        ("Ju\u0308rgen Meyer", "the user's name"),
        ("J\u00dcRGEN MEYER", "the user's name"),
    ],
)
def test_easy_password_is_refused(password: str, reason: str) -> None:
    """NIST SP 800-63B, section 5.1.1.2."""
    with pytest.raises(RegistrationError, match=reason):
        check_password(password, "j\u00fcrgen meyer")


@pytest.mark.parametrize(
    "password",
    [
        "8 letter",
        "aaaaaaab",
        "\u65e5\u672c\u8a9e\u3067\u3059\u304b\u3089\u306d",
        "u\u0308" * 1024,
        "x" * 1024,
        "\U0001f511" * 8,
    ],
)
def test_password_needs_no_mixture_of_characters(password: str) -> None:
    """NIST SP 800-63B, section 5.1.1.2: no composition rules."""
    check_password(password, "alice")


def test_common_passwords_are_written_as_they_are_compared() -> None:
    """Each would be taken, were it not for the list."""
    assert len(COMMON_PASSWORDS) > 1000
    for word in COMMON_PASSWORDS:
        assert precis.password(word).casefold() == word
        assert len(word) >= 8
