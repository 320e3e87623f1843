"""What a step writes into Redis: it is read again as it was, and all of it expires."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from djoauth2_twisted.models import AccessToken, Grant, GrantFilter, Issuance, TokenPair
from djoauth2_twisted.stores.contract import new_grant, new_issuance, pair_of, retriable_issuance
from djoauth2_twisted.stores.contract.samples import family_of, random_digest
from djoauth2_twisted.stores.redis import commands
from djoauth2_twisted.stores.redis.commands import Command
from djoauth2_twisted.stores.redis.keys import Keys
from djoauth2_twisted.stores.redis.records import (
    access_token_record,
    grant_record,
    pair_record,
    read_access_token,
    read_grant,
    read_pair,
)

KEYS = Keys("test:")


def retriable(grant: Grant) -> tuple[TokenPair, Issuance]:
    """A pair after a refresh, whose answer may be retried."""
    issuance = retriable_issuance()
    return pair_of(grant, issuance, predecessor=random_digest()), issuance


def written(command: Command) -> bytes:
    """The record that a command stores."""
    name, _, record, *_ = command
    assert name == "SET"
    return str(record).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"family_digest": b"\0" * 32, "code_used": True, "refresh_ended": True},
        {"redirect_uri": None, "code_challenge": None, "nonce": None, "auth_time": None, "sid": None},
    ],
    ids=["new", "used", "of an older version"],
)
def test_grant_is_read_as_it_was_written(changes: dict[str, Any]) -> None:
    grant = new_grant(**changes)
    for pair in (None, retriable(grant)[0]):
        assert read_grant(grant_record(grant, pair).encode()) == grant


def test_pair_is_read_as_it_was_written() -> None:
    grant = new_grant()
    pair, _ = retriable(grant)
    without = pair_of(grant, new_issuance(refresh_digest=None, refresh_expires=None))
    for each in (pair, without):
        assert read_pair(pair_record(each).encode()) == each


def test_access_token_is_what_its_grant_and_its_pair_say() -> None:
    grant = new_grant()
    pair = pair_of(grant, new_issuance(), scopes=("read",))
    record = access_token_record(grant, pair).encode()
    assert read_access_token(record, grant) == AccessToken(
        "client", grant.owner, ("read",), pair.issued, pair.access_expires, grant.id
    )


def test_what_is_not_there_is_not_read() -> None:
    """Of an access token, also its grant may have ended."""
    grant = new_grant()
    record = access_token_record(grant, pair_of(grant, new_issuance())).encode()
    assert [read_grant(None), read_pair(None)] == [None, None]
    assert [read_access_token(None, grant), read_access_token(record, None)] == [None, None]


def expiries(found: list[Command]) -> dict[str, int]:
    """The milliseconds after which each key that is written expires."""
    return {each[1]: each[4] for each in found if each[0] == "SET" and each[3] == "PX"}


def keys_of(found: list[Command]) -> set[str]:
    """The keys that are written, but for the sets, which are pruned."""
    return {each[1] for each in found if each[0] not in ("ZADD", "DEL", "PEXPIRE")}


def test_code_and_its_grant_expire() -> None:
    """Also where the code is replaced; then the previous one is deleted."""
    before = new_grant()
    grant = attrs.evolve(before, code_digest=random_digest(), expires=before.created + 100)
    added = commands.add_grant(KEYS, before)
    renewed = commands.renew_code(KEYS, before, grant, before.created + 40)
    assert keys_of(added) == {KEYS.grant(before.id), KEYS.code(before.code_digest)}
    assert set(expiries(added).values()) == {1000 * (before.expires - before.created)}
    assert expiries(renewed) == {KEYS.grant(grant.id): 60_000, KEYS.code(grant.code_digest): 60_000}
    assert ["DEL", KEYS.code(before.code_digest)] in renewed


def test_all_that_is_issued_expires() -> None:
    """A token in its time, a kept answer with the time for retries, the rest with the grant."""
    issued = new_grant(family_digest=b"\1" * 32)
    pair, issuance = retriable(issued)
    grant = attrs.evolve(issued, expires=issuance.now + 5000)
    found = commands.issue(KEYS, grant, pair, issuance)
    assert pair.refresh_digest is not None
    assert expiries(found) == {
        KEYS.grant(grant.id): 5_000_000,
        KEYS.family(grant.family_digest): 5_000_000,
        KEYS.refresh_token(pair.refresh_digest): 5_000_000,
        KEYS.access_token(pair.access_digest): 1000 * (pair.access_expires - issuance.now),
        KEYS.kept_answer(pair.predecessor or b""): 10_000,
    }
    assert keys_of(found) == set(expiries(found))


def test_answer_is_kept_apart_from_the_refresh_token() -> None:
    """It goes with the time for retries, though the token stays."""
    grant = new_grant()
    pair, issuance = retriable(grant)
    *_, token, answer = commands.issue(KEYS, grant, pair, issuance)
    assert read_pair(written(token)) == attrs.evolve(pair, sealed_answer=None)
    assert read_pair(written(answer)) == pair


def test_without_retries_no_answer_and_no_predecessor_are_kept() -> None:
    grant = new_grant()
    issuance = new_issuance(sealed_answer=b"sealed")
    pair = pair_of(grant, issuance, predecessor=random_digest())
    token = commands.issue(KEYS, grant, pair, issuance)[-1]
    assert read_pair(written(token)) == attrs.evolve(pair, sealed_answer=None, predecessor=None)


def test_nothing_of_a_used_pair_is_kept() -> None:
    pair, _ = retriable(new_grant())
    refresh_token, access_token = pair.refresh_digest or b"", pair.access_digest
    assert commands.delete_pair(KEYS, pair) == [
        "DEL",
        KEYS.refresh_token(refresh_token),
        KEYS.access_token(access_token),
        KEYS.kept_answer(pair.predecessor or b""),
    ]
    first = attrs.evolve(pair, predecessor=None)
    assert len(commands.delete_pair(KEYS, first)) == 3


def test_used_tokens_are_known_for_twice_the_time_of_their_grant() -> None:
    grant = new_grant(expires=5000)
    kept = commands.keep_used_tokens(KEYS, grant, 4000)
    assert (kept["needed"], kept["kept"], kept["milliseconds"]) == ("(5000", 6000, 2_000_000)


def test_no_time_to_live_is_less_than_redis_takes() -> None:
    """A step may be late, and a grant may have expired meanwhile."""
    grant = new_grant()
    found = commands.renew_code(KEYS, grant, grant, grant.expires + 10)
    assert set(expiries(found).values()) == {1000}


def test_arguments_of_commands_are_texts() -> None:
    assert commands.to_json([["ZADD", "x", 10**15, "id"]]) == '[["ZADD", "x", "1000000000000000", "id"]]'


def test_grants_are_listed_by_the_smallest_set() -> None:
    """That of the user, else of the client, else of all."""
    assert KEYS.grants(GrantFilter("user", "client")) == KEYS.user_grants("user")
    assert KEYS.grants(GrantFilter(client_id="client")) == KEYS.client_grants("client")
    assert KEYS.grants(GrantFilter()) == KEYS.all_grants()


def test_name_in_a_key_shows_neither_the_name_nor_its_letters() -> None:
    """It may contain any character; two names never share a key."""
    names = ["user", "user ", "a:b", "line\nname"]
    keys = [KEYS.user_grants(name) for name in names]
    assert len(set(keys)) == len(names)
    assert all(key.isascii() and key.isprintable() and " " not in key for key in keys)


def test_grant_without_a_family_has_its_own_empty_key() -> None:
    assert KEYS.family(None) == "test:f:"
    assert KEYS.family(family_of(new_grant())) != KEYS.family(None)
