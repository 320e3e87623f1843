"""Grants of before there were families: their tokens continue working, and their used ones are known.

They are planted as the release before stored them.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
import servers
import sqlalchemy as sa
from reactors import reactor

from djoauth2_twisted.credentials import digest, family_of, random_string, refresh_token
from djoauth2_twisted.models import (
    Grant,
    GrantFilter,
    Issuance,
    Issued,
    Outcome,
    Page,
    RefreshProof,
    Refused,
    Replayed,
    Unknown,
)
from djoauth2_twisted.stores.contract import NOW, new_grant, new_issuance, proof_of
from djoauth2_twisted.stores.redis.connection import Redis
from djoauth2_twisted.stores.redis.keys import short
from djoauth2_twisted.stores.redis.tokens import RedisTokenStore
from djoauth2_twisted.stores.sql import many_grants, schema
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.rows import grant_row
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore

pytestmark = pytest.mark.usefixtures("patient")

REDIS = os.environ.get("DJOAUTH2_TEST_REDIS", "redis://127.0.0.1:6379/0")

#: Puts a grant into a store with its refresh tokens, of which the last is live.
Plant = Callable[[Grant, list[str]], Awaitable[None]]


def _pairs(grant: Grant, tokens: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "access_digest": digest(f"access {token}"),
            "access_expires": grant.expires,
            "refresh_digest": digest(token),
            "refresh_expires": grant.expires,
            "grant_id": grant.id,
            "scopes": " ".join(grant.scopes),
            "issued": grant.created,
            "access_revoked": False,
            "rotated": token is not tokens[-1],
            "predecessor": digest(tokens[number - 1]) if number else None,
        }
        for number, token in enumerate(tokens)
    ]


SQL = ["sqlite", servers.WITH_POSTGRESQL, servers.WITH_MARIADB]


@pytest.fixture(params=[*SQL, servers.WITH_REDIS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "redis":
        yield REDIS
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'oauth.db'}"
    else:
        server = {"postgresql": servers.POSTGRESQL, "mariadb": servers.MARIADB}[request.param]
        with servers.made(server) as made:
            servers.prepare(made)
            yield made


@asynccontextmanager
async def _sql(url: str) -> AsyncIterator[tuple[SQLTokenStore, Plant]]:
    database = Database(reactor, url)
    database.open()

    def write(connection: sa.Connection, grant: Grant, tokens: list[str]) -> None:
        row = {**grant_row(grant), "refresh_ended": None, "redirect_uri_sent": None}
        connection.execute(sa.insert(schema.grant), row)
        for first in range(0, len(tokens), 500):
            part = _pairs(grant, tokens)[first : first + 500]
            connection.execute(sa.insert(schema.token), part)

    async def plant(grant: Grant, tokens: list[str]) -> None:
        await database.write(write, grant, tokens, key="key")

    yield SQLTokenStore(database), plant
    await database.close()


@asynccontextmanager
async def _redis(url: str) -> AsyncIterator[tuple[RedisTokenStore, Plant]]:
    connection = Redis(reactor, url)
    await connection.connect()
    store = RedisTokenStore(connection, f"djoauth2-test-{random_string(8)}:")
    script = "for _, command in ipairs(cjson.decode(ARGV[1])) do redis.call(unpack(command)) end"

    async def plant(grant: Grant, tokens: list[str]) -> None:
        commands = _redis_commands(store.prefix, grant, tokens)
        for first in range(0, len(commands), 500):
            part = [[str(word) for word in command] for command in commands[first : first + 500]]
            await connection.eval(script, [], [json.dumps(part)])

    yield store, plant
    clear = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end"
    await connection.eval(clear, [], [store.prefix + "*"])
    await connection.close()


def _redis_commands(prefix: str, grant: Grant, tokens: list[str]) -> list[list[Any]]:
    user, client = short(grant.owner.username), short(grant.client_id)
    entry = f"{user} {client} {grant.id}"
    content = attrs.asdict(grant) | {
        "code_digest": grant.code_digest.hex(),
        "live": digest(tokens[-1]).hex(),
        "entry": entry,
    }
    del content["family_digest"], content["refresh_ended"], content["redirect_uri_sent"]
    code, kept = f"{prefix}c:{grant.code_digest.hex()}", 10_000_000
    commands: list[list[Any]] = [
        ["SET", f"{prefix}g:{grant.id}", json.dumps(content), "PX", kept],
        ["ZADD", f"{prefix}x", grant.expires, entry],
        ["SET", code, grant.id, "PX", kept],
        ["ZADD", f"{prefix}t:{grant.id}", grant.expires, code],
        ["ZADD", f"{prefix}u:{user}", grant.created, grant.id],
        ["ZADD", f"{prefix}k:{client}", grant.created, grant.id],
        ["ZADD", f"{prefix}all", grant.created, grant.id],
    ]
    for pair in _pairs(grant, tokens):
        text = {**pair, "scopes": list(grant.scopes), "sealed_answer": None}
        for name in ("access_digest", "refresh_digest", "predecessor"):
            text[name] = text[name] and text[name].hex()
        key = f"{prefix}r:{text['refresh_digest']}"
        commands.append(["SET", key, json.dumps(text), "PX", kept])
        commands.append(["ZADD", f"{prefix}t:{grant.id}", grant.expires, key])
    token = {"grant_id": grant.id, "scopes": list(grant.scopes), "issued": NOW, "expires": NOW + 3600}
    access = f"{prefix}a:{digest(f'access {tokens[-1]}').hex()}"
    commands.append(["SET", access, json.dumps(token), "PX", kept])
    return commands


@pytest_twisted.async_yield_fixture
async def planted(url: str) -> AsyncIterator[tuple[Any, Plant]]:
    async with _redis(url) if url == REDIS else _sql(url) as store_and_plant:
        yield store_and_plant


def _grant(**changes: Any) -> Grant:
    return new_grant(code_used=True, expires=NOW + 86400, **changes)


def _tokens(count: int) -> list[str]:
    return [random_string(30) for _ in range(count)]


def _refresh(store: Any, token: str, client_id: str = "client") -> Any:
    """Present a token as the endpoint does; the next one is of the same family."""
    following = refresh_token(family_of(token), 30)
    issuance: Issuance = new_issuance(
        refresh_digest=digest(following), family_digest=digest(family_of(token))
    )
    rotating = store.rotate_refresh_token(digest(token), RefreshProof(client_id, None), issuance)

    def with_token(outcome: Outcome) -> tuple[Outcome, str]:
        return outcome, following

    return rotating.addCallback(with_token)


async def _is_over(store: Any, *tokens: str) -> bool:
    outcomes = [(await _refresh(store, token))[0] for token in tokens]
    return set(outcomes) == {Unknown()} and await store.grants(GrantFilter(), Page()) == []


async def test_a_token_of_before_goes_on(planted: tuple[Any, Plant]) -> None:
    """And from its first use on, its grant has its family."""
    store, plant = planted
    grant, tokens = _grant(), _tokens(3)
    await plant(grant, tokens)
    line = [tokens[-1]]
    for _ in range(3):
        outcome, following = await _refresh(store, line[-1])
        assert isinstance(outcome, Issued)
        line.append(following)
    outcome, _ = await _refresh(store, tokens[-1], "another")
    assert isinstance(outcome, Refused)
    outcome, _ = await _refresh(store, tokens[-1])
    assert isinstance(outcome, Replayed)
    assert await _is_over(store, *tokens, *line)


@pytest.mark.parametrize("used", [0, 1])
@pytest.mark.parametrize("rotated", [False, True])
async def test_a_token_used_before_is_known(
    planted: tuple[Any, Plant], used: int, rotated: bool
) -> None:
    """By its own row, since it is of another family than all others."""
    store, plant = planted
    grant, tokens = _grant(), _tokens(3)
    await plant(grant, tokens)
    if rotated:
        assert isinstance((await _refresh(store, tokens[-1]))[0], Issued)
    assert isinstance((await _refresh(store, tokens[used], "another"))[0], Refused)
    assert len(await store.grants(GrantFilter(), Page())) == 1
    assert isinstance((await _refresh(store, tokens[used]))[0], Replayed)
    assert await _is_over(store, *tokens)


async def test_a_new_password_ends_tokens_of_before(planted: tuple[Any, Plant]) -> None:
    """RT-14: used or not, they are unknown; the access token lives on."""
    store, plant = planted
    grant, tokens = _grant(), _tokens(3)
    await plant(grant, tokens)
    await store.end_refresh_tokens("user")
    for token in tokens:
        assert (await _refresh(store, token))[0] == Unknown()
    assert await store.find_access_token(digest(f"access {tokens[-1]}")) is not None
    assert await store.revoke(digest(tokens[0]), "client") is not None
    assert await store.find_access_token(digest(f"access {tokens[-1]}")) is None


async def test_the_bound_counts_grants_of_before(planted: tuple[Any, Plant]) -> None:
    """Once they were used again: from then on it is known when."""
    store, plant = planted
    lines = []
    for _ in range(3):
        grant, tokens = _grant(), _tokens(1)
        await plant(grant, tokens)
        outcome, following = await _refresh(store, tokens[0])
        assert isinstance(outcome, Issued)
        lines.append(following)
    new = new_grant(created=NOW + 10, last_used=NOW + 10)
    assert await store.add_code(new, 2)
    good = [isinstance((await _refresh(store, token))[0], Issued) for token in lines]
    assert sorted(good) == [False, False, True]


async def test_many_used_tokens_are_pruned_piece_by_piece(planted: tuple[Any, Plant]) -> None:
    """However many a grant has, no step takes more than it may; a living grant keeps its own."""
    store, plant = planted
    over, living = attrs.evolve(_grant(), expires=NOW), _grant()
    tokens, kept = _tokens(1000), _tokens(3)
    await plant(over, tokens)
    await plant(living, kept)
    gone, grants = [100], 0
    while gone[-1] == 100:
        pruned = await store.prune(NOW, 100)
        gone.append(pruned)
        grants += pruned.grants
    assert max(gone) <= 100
    assert grants == 1
    assert await store.prune(NOW, 100) == 0
    for token in (tokens[0], tokens[500], tokens[-1]):
        assert (await _refresh(store, token))[0] == Unknown()
    assert isinstance((await _refresh(store, kept[0]))[0], Replayed)


@pytest.mark.parametrize("url", SQL, indirect=True)
async def test_the_rows_of_each_step_of_pruning(planted: tuple[SQLTokenStore, Plant]) -> None:
    """They are as many as it says, of all tables together, the grant's the last."""
    store, plant = planted
    await plant(attrs.evolve(_grant(), expires=NOW), _tokens(25))

    def rows(connection: sa.Connection) -> tuple[int, int]:
        counts = [
            connection.scalar(sa.select(sa.func.count()).select_from(table))
            for table in (schema.token, schema.grant)
        ]
        return counts[0] or 0, counts[1] or 0

    left = [await store.database.read(rows)]
    while await store.prune(NOW, 10):
        left.append(await store.database.read(rows))
    assert left == [(25, 1), (15, 1), (5, 1), (0, 0)]


@pytest.mark.parametrize("url", SQL, indirect=True)
async def test_a_refresh_keeps_no_row(planted: tuple[SQLTokenStore, Plant]) -> None:
    """A grant that was refreshed a hundred times is as large as one that was refreshed once."""
    store, plant = planted
    tokens = _tokens(1)
    await plant(_grant(), tokens)
    token = tokens[0]
    for _ in range(100):
        outcome, token = await _refresh(store, token)
        assert isinstance(outcome, Issued)
    count = sa.select(sa.func.count()).select_from(schema.token)
    assert await store.database.read(lambda connection: connection.scalar(count)) == 1


@pytest.mark.parametrize("url", [servers.WITH_REDIS], indirect=True)
async def test_a_refresh_keeps_no_key(planted: tuple[RedisTokenStore, Plant]) -> None:
    """The same on Redis."""
    store, _ = planted
    size = "return #redis.call('KEYS', ARGV[1])"

    async def keys() -> int:
        count: int = await store.redis.eval(size, [], [store.prefix + "*"])
        return count

    grant = new_grant()
    assert await store.add_code(grant)
    token = refresh_token("families", 30)
    issuance = new_issuance(refresh_digest=digest(token), family_digest=digest("families"))
    await store.redeem_code(grant.code_digest, proof_of(grant), issuance)
    before = await keys()
    for _ in range(100):
        outcome, token = await _refresh(store, token)
        assert isinstance(outcome, Issued)
    assert await keys() == before
    assert await store.revoke_grant(grant.id)
    assert await keys() == 0


@pytest.mark.parametrize("url", [servers.WITH_REDIS], indirect=True)
async def test_the_commands_of_pruning_on_redis(planted: tuple[RedisTokenStore, Plant]) -> None:
    """They do not depend on how many tokens a grant has used."""
    store, plant = planted
    script = """
    local sum = 0
    for calls in string.gmatch(redis.call('INFO', 'commandstats'), 'calls=(%d+)') do
      sum = sum + tonumber(calls)
    end
    return sum
    """
    costs = []
    for count in (10, 2000):
        await plant(attrs.evolve(_grant(), expires=NOW), _tokens(count))
        before = await store.redis.eval(script, [], [])
        assert await store.prune(NOW, 10) == 1
        costs.append(await store.redis.eval(script, [], []) - before)
    assert costs[1] <= costs[0] + 10


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_no_step_on_many_takes_more_than_a_batch(
    planted: tuple[SQLTokenStore, Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each verb on all of a user's or a client's grants: none of its statements has more rows."""
    monkeypatch.setattr(many_grants, "FIRST", 5)
    monkeypatch.setattr(many_grants, "MAX_GRANTS", 5)
    store, _ = planted
    for number in range(17):
        assert await store.add_code(new_grant(created=NOW + number, scopes=("read",)))
    changed: list[int] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith("SELECT"):
            changed.append(cursor.rowcount)

    sa.event.listen(sa.Engine, "after_cursor_execute", note)
    try:
        await store.end_refresh_tokens("user")
        for _ in range(17):
            assert await store.add_code(new_grant(scopes=("read",)))
        assert await store.count_grants(scope="read") == 17
        assert await store.revoke_grants(client_id="client") == 17
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", note)
    assert max(changed) == 5
