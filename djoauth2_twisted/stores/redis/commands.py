"""The commands of Redis by which a step writes. A script runs them all or none."""

from __future__ import annotations

import json
from typing import Any

import attrs

from ...models import Grant, Issuance, TokenPair
from ...protocol import grants as rules
from .keys import Keys, entry
from .records import access_token_record, grant_record, pair_record

#: A command's name and its arguments.
Command = list[Any]


def add_grant(keys: Keys, grant: Grant) -> list[Command]:
    """Store a new grant and its code."""
    milliseconds = _milliseconds(grant.expires - grant.created)
    return [
        *_set_grant(keys, grant, None, milliseconds),
        ["SET", keys.code(grant.code_digest), grant.id, "PX", milliseconds],
        ["ZADD", keys.user_grants(grant.owner.username), grant.created, grant.id],
        ["ZADD", keys.client_grants(grant.client_id), grant.created, grant.id],
        ["ZADD", keys.all_grants(), grant.created, grant.id],
    ]


def renew_code(keys: Keys, before: Grant, grant: Grant, now: int) -> list[Command]:
    """Replace the code of a grant."""
    milliseconds = _milliseconds(grant.expires - now)
    return [
        *_set_grant(keys, grant, None, milliseconds),
        ["SET", keys.code(grant.code_digest), grant.id, "PX", milliseconds],
        ["DEL", keys.code(before.code_digest)],
    ]


def issue(keys: Keys, grant: Grant, pair: TokenPair, issuance: Issuance) -> list[Command]:
    """Store a grant's next pair, and the grant with it."""
    milliseconds = _milliseconds(grant.expires - issuance.now)
    access_milliseconds = _milliseconds(pair.access_expires - issuance.now)
    access_token = access_token_record(grant, pair)
    commands = [
        *_set_grant(keys, grant, pair, milliseconds),
        ["PEXPIRE", keys.code(grant.code_digest), milliseconds],
        ["SET", keys.access_token(pair.access_digest), access_token, "PX", access_milliseconds],
    ]
    if grant.family_digest is not None:
        commands.append(["SET", keys.family(grant.family_digest), grant.id, "PX", milliseconds])
    keeps_answer = rules.keeps_answer(pair, issuance)
    if pair.refresh_digest is not None:
        predecessor = pair.predecessor if keeps_answer else None
        stored = attrs.evolve(pair, predecessor=predecessor, sealed_answer=None)
        key = keys.refresh_token(pair.refresh_digest)
        commands.append(["SET", key, pair_record(stored), "PX", milliseconds])
    if keeps_answer:
        key = keys.kept_answer(pair.predecessor or b"")
        retry_milliseconds = _milliseconds(issuance.retry_seconds)
        commands.append(["SET", key, pair_record(pair), "PX", retry_milliseconds])
    return commands


def delete_pair(keys: Keys, used: TokenPair) -> Command:
    """Delete the pair whose refresh token is used: nothing of it is kept."""
    command = [
        "DEL",
        keys.refresh_token(used.refresh_digest or b""),
        keys.access_token(used.access_digest),
    ]
    if used.predecessor is not None:
        command.append(keys.kept_answer(used.predecessor))
    return command


def _set_grant(keys: Keys, grant: Grant, pair: TokenPair | None, milliseconds: int) -> list[Command]:
    used = keys.user_client_grants(grant.owner.username, grant.client_id)
    return [
        ["SET", keys.grant(grant.id), grant_record(grant, pair), "PX", milliseconds],
        ["ZADD", keys.expiry(), grant.expires, entry(grant)],
        ["ZADD", used, grant.last_used, grant.id],
    ]


def keep_used_tokens(keys: Keys, grant: Grant, now: int) -> dict[str, Any]:
    """How long `scripts.COMMIT` keeps what a grant without a family has used.

    That is twice the time until the grant expires, so that few refreshes prolong it.
    """
    kept = 2 * grant.expires - now
    return {
        "set": keys.used_tokens(grant.id),
        "needed": f"({grant.expires}",
        "kept": kept,
        "milliseconds": _milliseconds(kept - now),
    }


def to_json(commands: list[Command]) -> str:
    """Commands as an argument of a script.

    All arguments are strings: Redis takes nothing else, and Lua's cjson would write a large number as
    1e+15.
    """
    return json.dumps([[str(argument) for argument in command] for command in commands])


def _milliseconds(seconds: int) -> int:
    """A time to live. Redis accepts none that is zero or less."""
    return max(1000 * seconds, 1000)
