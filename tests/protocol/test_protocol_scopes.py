"""The scope parameter."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.errors import InvalidScope
from djoauth2_twisted.protocol.scopes import MAX_SCOPES, is_scope_token, split


@pytest.mark.parametrize(
    "name", ["a", "user_info", "!", "#[]~", "https://api.example/read:all", "a" * 255]
)
def test_a_scope_token_of_the_standard_may_name_a_scope(name):
    assert is_scope_token(name)


@pytest.mark.parametrize(
    "name", ["", "a b", 'a"', "a\\", "a\t", "a\n", "\x00", "a\x7f", "é", "\xa0", "\udcff", "a" * 256]
)
def test_anything_else_may_not_name_a_scope(name):
    """AZ-21"""
    assert not is_scope_token(name)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("verify", ("verify",)),
        ("verify autologin", ("verify", "autologin")),
        ("autologin verify", ("autologin", "verify")),
        ("a a", ("a",)),
        ("b a b a", ("b", "a")),
        ("a A", ("a", "A")),
        ("  a   b ", ("a", "b")),
        ("verify+autologin", ("verify+autologin",)),
    ],
)
def test_a_scope_parameter_is_read_in_order_and_without_repetition(text, names):
    """AZ-20, AZ-21, AZ-22, AZ-23"""
    assert split(text) == names


@pytest.mark.parametrize(
    "text",
    ["", " ", "   ", "a\tb", "a\nb", "good b\\d", 'good "', "good é", "a\xa0b", "a" * 256, "a b\x00"],
)
def test_a_malformed_scope_parameter_is_refused(text):
    """AZ-21"""
    with pytest.raises(InvalidScope, match="malformed"):
        split(text)


def test_a_list_of_scopes_is_read_up_to_a_limit():
    """AZ-25"""
    names = [f"scope{number}" for number in range(MAX_SCOPES + 1)]
    assert split(" ".join(names[:-1])) == tuple(names[:-1])
    with pytest.raises(InvalidScope, match="too many"):
        split(" ".join(names))


def test_repetitions_do_not_count_towards_the_limit():
    """AZ-20, AZ-25"""
    assert split("a b " * 10_000) == ("a", "b")


@given(st.text(st.characters(exclude_categories=())) | st.text('ab \t"\\é\x00'))
def test_any_scope_parameter_is_read_or_refused(text):
    """AZ-21"""
    try:
        names = split(text)
    except InvalidScope:
        return
    assert names
    assert len(set(names)) == len(names)
    assert set(names) == {name for name in text.split(" ") if name}
    assert all(re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", name) for name in names)
    assert split(" ".join(names)) == names
