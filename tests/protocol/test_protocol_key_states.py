"""The life of signing keys."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.models import SigningKey
from djoauth2_twisted.protocol import key_states
from djoauth2_twisted.protocol.key_states import (
    CURRENT,
    MARGIN,
    MAX_AGE,
    MAX_HINT_AGE,
    NEXT,
    RETIRED,
    Rules,
)

DAY = 86400
RULES = Rules(90 * DAY, 3600)
NOW = 1_700_000_000


def key(state: str, kid: str = "", algorithm: str = "RS256", **changes: Any) -> SigningKey:
    name = kid or f"{algorithm} {state}"
    made = SigningKey(name, algorithm, state, {"kid": name}, b"sealed", NOW)
    return attrs.evolve(made, **changes)


def both(**changes: Any) -> list[SigningKey]:
    """A current and a next key of each algorithm."""
    return [
        key(state, algorithm=algorithm, signs_from=NOW if state == CURRENT else None, **changes)
        for algorithm in ("RS256", "ES256")
        for state in (CURRENT, NEXT)
    ]


def states(keys: list[SigningKey]) -> dict[str, str]:
    return {each.kid: each.state for each in keys}


def test_nothing_changes_before_its_time() -> None:
    assert key_states.advanced(both(), RULES, NOW + 90 * DAY - 1) == both()


def test_a_key_signs_for_as_long_as_the_setting_says() -> None:
    """Then the next one signs, and the private half of the first is erased at once."""
    now = NOW + 90 * DAY
    after = key_states.advanced(both(), RULES, now)
    assert states(after) == {
        "RS256 current": RETIRED,
        "RS256 next": CURRENT,
        "ES256 current": RETIRED,
        "ES256 next": CURRENT,
    }
    assert [each.sealed_private for each in after if each.state == RETIRED] == [None, None]
    assert [each.signs_from for each in after if each.state == CURRENT] == [now, now]
    assert key_states.without_next(after) == ["RS256", "ES256"]


def test_by_hand_means_never_by_itself() -> None:
    assert key_states.advanced(both(), Rules(0, 3600), NOW + 10**9) == both()


def test_a_key_is_in_every_cache_before_it_signs() -> None:
    """However short the rotation is."""
    rules = Rules(1, 3600)
    assert key_states.advanced(both(), rules, NOW + MAX_AGE + MARGIN - 1) == both()
    after = key_states.advanced(both(), rules, NOW + MAX_AGE + MARGIN)
    assert states(after)["RS256 next"] == CURRENT


def test_without_a_current_key_the_next_signs_at_once() -> None:
    """Nothing else can."""
    after = key_states.advanced([key(NEXT)], RULES, NOW)
    assert [(each.state, each.signs_from) for each in after] == [(CURRENT, NOW)]


@pytest.mark.parametrize("token_lifetime", [3600, 10 * DAY])
def test_a_retired_key_is_published_until_nothing_needs_it(token_lifetime: int) -> None:
    """Neither a token that it has signed, nor a logout with such a token as its hint."""
    rules = Rules(90 * DAY, token_lifetime)
    keys = [key(RETIRED, retired=NOW), *both()]
    until = NOW + max(token_lifetime, MAX_HINT_AGE)
    assert key_states.advanced(keys, rules, until) == keys
    assert key_states.advanced(keys, rules, until + MARGIN) == both()


def test_rotation_by_hand_waits_for_the_caches() -> None:
    early = key_states.rotated(both(), "RS256", NOW + MAX_AGE + MARGIN - 1)
    assert early == both()
    after = key_states.rotated(both(), "RS256", NOW + MAX_AGE + MARGIN)
    assert states(after) == {
        "RS256 current": RETIRED,
        "RS256 next": CURRENT,
        "ES256 current": CURRENT,
        "ES256 next": NEXT,
    }


def test_a_key_that_is_retired_by_hand_signs_nothing_any_more() -> None:
    """The next one follows at once, since the other may be in wrong hands."""
    after = key_states.without(both(), "RS256 current", NOW)
    assert states(after)["RS256 current"] == RETIRED
    assert states(after)["RS256 next"] == CURRENT
    assert [each.sealed_private for each in after if each.state == RETIRED] == [None]


def test_a_key_that_does_not_sign_goes_when_it_is_retired_by_hand() -> None:
    keys = [*both(), key(RETIRED, retired=NOW)]
    assert "RS256 next" not in states(key_states.without(keys, "RS256 next", NOW))
    assert "RS256 retired" not in states(key_states.without(keys, "RS256 retired", NOW))


@given(st.lists(st.integers(1, 200 * DAY), max_size=30), st.integers(0, 100 * DAY))
def test_what_a_client_has_cached_verifies_what_is_signed(steps: list[int], rotation: int) -> None:
    """At every moment: a key that signs is published for longer than a cache keeps the set, and a key
    that has signed stays as long as its last token is valid.
    """
    rules = Rules(rotation, 3600)
    keys, now, number = both(), NOW, 0
    signed: dict[str, int] = {}
    for step in steps:
        now += step
        keys = key_states.advanced(keys, rules, now)
        for algorithm in key_states.without_next(keys):
            number += 1
            keys.append(key(NEXT, str(number), algorithm, created=now))
        published = {each.kid for each in keys}
        for algorithm in ("RS256", "ES256"):
            [current] = [each for each in keys if (each.algorithm, each.state) == (algorithm, CURRENT)]
            assert current.created == NOW or (current.signs_from or 0) - current.created >= MAX_AGE
            assert current.sealed_private is not None
            signed[current.kid] = now
        for kid, last in signed.items():
            assert kid in published or now > last + rules.token_lifetime
