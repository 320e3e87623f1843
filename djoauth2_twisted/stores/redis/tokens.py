"""`ITokenStore` on Redis. Each verb is one script; or a read, the shared rules, and one script that
writes only if nothing has changed since.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

import attrs
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...credentials import digest
from ...errors import TemporarilyUnavailable
from ...interfaces import IEndings, ITokenStore
from ...models import (
    AccessToken,
    CodeProof,
    Grant,
    GrantFilter,
    Issue,
    Issued,
    Outcome,
    Page,
    RefreshProof,
    Replayed,
    ResourceOwner,
    TokenPair,
)
from ...protocol import grants as rules
from . import scripts
from .connection import COMMAND_DEADLINE, PREFIX, Redis

_T = TypeVar("_T")

#: A write that reaches Redis later than this after it was decided is refused there, in milliseconds:
#: whoever asked has been told by then that it was not done.
LATEST_WRITE = int(COMMAND_DEADLINE * 1000 * 0.8)

#: How often a decision is made anew because something changed meanwhile. Each time somebody else has
#: got on, so it is not often.
MOST_TRIES = 20

#: So many grants are looked at by one script of an action on many; meanwhile Redis answers nobody.
PART = 500


@implementer(ITokenStore, IEndings)
@frozen
class RedisTokenStore:
    """Grants and tokens under keys that begin with a prefix."""

    redis: Redis
    prefix: str = PREFIX

    def _key(self, kind: str, name: str = "") -> str:
        return f"{self.prefix}{kind}{name}"

    def part_of(self, grant_id: str) -> Hashable:
        return grant_id

    def listen(self, told: Callable[..., None]) -> None:
        self.redis.listen(self.prefix, told)

    def is_sure(self) -> bool:
        return self.redis.endings.is_sure()

    def _ending(self, step: Deferred[_T], ended: Callable[[_T], list[str] | None]) -> Deferred[_T]:
        """Tell what a step has ended before it is answered. What is published comes a moment later."""

        def tell(result: _T) -> _T:
            self.redis.endings.tell(ended(result))
            return result

        def tell_of_all(failure: Failure) -> Failure:
            # Whoever has gone away waits for no answer.
            if not failure.check(CancelledError):
                self.redis.endings.tell(None)
            return failure

        return step.addCallbacks(tell, tell_of_all)

    def add_code(self, grant: Grant) -> Deferred[bool]:
        return Deferred.fromCoroutine(self._add_code(grant))

    async def _add_code(self, grant: Grant) -> bool:
        kept = _milliseconds(grant.expires - grant.created)
        commands = [
            *self._set_grant(grant, None, kept),
            ["SET", self._key("c:", grant.code_digest.hex()), grant.id, "PX", kept],
            ["ZADD", self._key("t:", grant.id), grant.expires, self._key("c:", grant.code_digest.hex())],
            ["ZADD", self._key("u:", _short(grant.owner.username)), grant.created, grant.id],
            ["ZADD", self._key("k:", _short(grant.client_id)), grant.created, grant.id],
            ["ZADD", self._key("all"), grant.created, grant.id],
        ]
        keep = self._keep(grant, grant.created)
        return await self._commit({self._key("g:", grant.id): b""}, commands, keep) is True

    def _set_grant(self, grant: Grant, live: str | None, kept: int) -> list[list[Any]]:
        entry = f"{_short(grant.owner.username)} {_short(grant.client_id)} {grant.id}"
        content = attrs.asdict(grant)
        content |= {"code_digest": grant.code_digest.hex(), "live": live, "entry": entry}
        return [
            ["SET", self._key("g:", grant.id), json.dumps(content), "PX", kept],
            ["ZADD", self._key("x"), grant.expires, entry],
        ]

    def _keep(self, grant: Grant, now: int) -> dict[str, Any]:
        """Until when what belongs to a grant is kept: as long as the grant, and once more as long."""
        kept = 2 * grant.expires - now
        return {
            "set": self._key("t:", grant.id),
            "needed": f"({grant.expires}",
            "kept": kept,
            "milliseconds": _milliseconds(kept - now),
        }

    async def _commit(
        self,
        expected: dict[str, bytes],
        commands: list[list[Any]],
        keep: dict[str, Any],
        read_at: int | None = None,
    ) -> bool:
        """Write, if all is as expected. False where it is not."""
        latest = await self._time() if read_at is None else read_at
        answer = await self.redis.eval(
            scripts.COMMIT,
            list(expected),
            [
                latest + LATEST_WRITE,
                # Redis takes strings alone, and cjson would write a large number as 1e+15.
                json.dumps([[str(word) for word in command] for command in commands]),
                json.dumps({name: str(value) for name, value in keep.items()}),
                *expected.values(),
            ],
        )
        if answer == b"late":
            raise TemporarilyUnavailable()
        return bool(answer == b"done")

    async def _time(self) -> int:
        return int(await self.redis.read(scripts.NOW, [], []))

    async def _until_settled(self, step: Callable[[], Awaitable[Outcome | None]]) -> Outcome:
        for _ in range(MOST_TRIES):
            outcome = await step()
            if outcome is not None:
                return outcome
        raise TemporarilyUnavailable()

    def redeem_code(self, code_digest: bytes, proof: CodeProof, issue: Issue) -> Deferred[Outcome]:
        async def step() -> Outcome | None:
            key = self._key("c:", code_digest.hex())
            time, _, text = _three(await self.redis.read(scripts.FIND_CODE, [key], [self.prefix]))
            outcome = rules.judge_code(_to_grant(text), proof, issue)
            return await self._apply(outcome, {self._grant_key(text): text or b""}, [], issue, time)

        return self._ending(Deferred.fromCoroutine(self._until_settled(step)), _ended_by)

    def rotate_refresh_token(
        self, refresh_digest: bytes, proof: RefreshProof, issue: Issue
    ) -> Deferred[Outcome]:
        async def step() -> Outcome | None:
            key = self._key("r:", refresh_digest.hex())
            found = await self.redis.read(scripts.FIND_PAIR, [key], [self.prefix])
            time, pair_text, grant_text, live_text = (*found, None, None, None)[:4]
            presented = _to_pair(pair_text)
            outcome = rules.judge_refresh(
                _to_grant(grant_text), presented, _to_pair(live_text), proof, issue
            )
            expected = {self._grant_key(grant_text): grant_text or b"", key: pair_text or b""}
            commands = [] if presented is None else self._rotate(presented, issue)
            return await self._apply(outcome, expected, commands, issue, time)

        return self._ending(Deferred.fromCoroutine(self._until_settled(step)), _ended_by)

    def _grant_key(self, text: bytes | None) -> str:
        return self._key("g:", json.loads(text)["id"] if text else "")

    def _rotate(self, presented: TokenPair, issue: Issue) -> list[list[Any]]:
        """What becomes of a pair whose refresh token is used: it stays, to show its reuse."""
        key = self._key("r:", (presented.refresh_digest or b"").hex())
        rotated = _pair_text(attrs.evolve(presented, rotated=True))
        return [
            ["PUBLISH", self._channel(), presented.grant_id],
            ["SET", key, rotated, "KEEPTTL"],
            ["DEL", self._key("a:", presented.access_digest.hex())],
        ]

    async def _apply(
        self,
        outcome: Outcome,
        expected: dict[str, bytes],
        commands: list[list[Any]],
        issue: Issue,
        time: int,
    ) -> Outcome | None:
        """Write what an outcome says. None where something has changed, and all is to be judged anew."""
        match outcome:
            case Issued(grant, pair):
                commands = [*commands, *self._issue(grant, pair, issue.now)]
                keep = self._keep(grant, issue.now)
                return outcome if await self._commit(expected, commands, keep, time) else None
            case Replayed(grant):
                return outcome if await self._end(grant.id) else None
        return outcome

    def _issue(self, grant: Grant, pair: TokenPair, now: int) -> list[list[Any]]:
        token = {
            "grant_id": grant.id,
            "scopes": pair.scopes,
            "issued": pair.issued,
            "expires": pair.access_expires,
        }
        life = _milliseconds(pair.access_expires - now)
        kept = _milliseconds(grant.expires - now)
        live = pair.refresh_digest.hex() if pair.refresh_digest else None
        commands = [
            *self._set_grant(grant, live, kept),
            ["SET", self._key("a:", pair.access_digest.hex()), json.dumps(token), "PX", life],
        ]
        if live is not None:
            commands += [
                ["SET", self._key("r:", live), _pair_text(pair), "PX", kept],
                ["ZADD", self._key("t:", grant.id), grant.expires, self._key("r:", live)],
            ]
        return commands

    def find_access_token(self, access_digest: bytes) -> Deferred[AccessToken | None]:
        def read(found: list[bytes | None]) -> AccessToken | None:
            text, grant_text = (*found, None, None)[:2]
            grant = _to_grant(grant_text)
            if text is None or grant is None:
                return None
            token = json.loads(text)
            scopes = tuple(token["scopes"])
            return AccessToken(
                grant.client_id, grant.owner, scopes, token["issued"], token["expires"], grant.id
            )

        key = self._key("a:", access_digest.hex())
        return self.redis.read(scripts.FIND_ACCESS_TOKEN, [key], [self.prefix]).addCallback(read)

    def revoke(self, token_digest: bytes, client_id: str) -> Deferred[Grant | None]:
        keys = [self._key("a:", token_digest.hex()), self._key("r:", token_digest.hex())]
        revoked: Deferred[Grant | None] = self.redis.eval(
            scripts.REVOKE, keys, [self.prefix, client_id, self._channel()]
        ).addCallback(_to_grant)
        return self._ending(revoked, lambda grant: [grant.id] if grant else [])

    def revoke_grant(self, grant_id: str) -> Deferred[bool]:
        ending = Deferred.fromCoroutine(self._end(grant_id))
        return self._ending(ending, lambda ended: [grant_id] if ended else [])

    async def _end(self, grant_id: str) -> bool:
        words = [self.prefix, grant_id, self._channel()]
        return await self.redis.eval(scripts.END, [], words) is not None

    def _channel(self) -> str:
        return self.redis.channel(self.prefix)

    def revoke_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        index = self._index(GrantFilter(username, client_id))
        wanted = _wanted(client_id, scope)

        def end(first: int, last: int) -> Deferred[int]:
            # And of those before as many again: where a grant was added below, as by a process whose
            # clock is late, it has pushed others up to there.
            ending: Deferred[list[bytes]] = self.redis.eval(
                scripts.END_SOME, [index], [self.prefix, wanted, first, last + PART, self._channel()]
            )
            return self._ending(ending, lambda ids: [each.decode() for each in ids]).addCallback(len)

        return Deferred.fromCoroutine(self._part_by_part(index, end))

    async def _part_by_part(self, index: str, step: Callable[[int, int], Deferred[int]]) -> int:
        """Take a step on each part of a set, so that no script keeps Redis for long; the sum of all.

        The last come first: whatever is removed meanwhile, those to come stay where they are.
        """
        total, place = 0, await self._size(index)
        while place > 0:
            first = max(place - PART, 0)
            total += await step(first, place - 1)
            place = first
        return total

    def _size(self, index: str) -> Deferred[int]:
        return self.redis.read(scripts.SIZE, [index], [])

    def _index(self, filter: GrantFilter) -> str:
        if filter.username is not None:
            return self._key("u:", _short(filter.username))
        if filter.client_id is not None:
            return self._key("k:", _short(filter.client_id))
        return self._key("all")

    def end_refresh_tokens(self, username: str) -> Deferred[None]:
        index = self._index(GrantFilter(username=username))
        return self.redis.eval(scripts.END_REFRESH_TOKENS, [index], [self.prefix])

    def grants(self, filter: GrantFilter, page: Page) -> Deferred[list[Grant]]:
        def read(found: list[bytes]) -> list[Grant]:
            return [grant for grant in map(_to_grant, found) if grant is not None]

        # Of a client alone there is an index, so that nothing has to be looked for.
        client_id = None if filter.username is None else filter.client_id
        arguments = (self.prefix, _wanted(client_id, None), page.offset, page.size)
        return self.redis.read(scripts.LIST, [self._index(filter)], arguments).addCallback(read)

    def find_grant(self, grant_id: str) -> Deferred[Grant | None]:
        return self.redis.read(scripts.FIND_GRANT, [], [self.prefix, grant_id]).addCallback(_to_grant)

    def count_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        index = self._index(GrantFilter(username, client_id))
        if scope is None and None in (username, client_id):
            return self._size(index)
        wanted = _wanted(client_id, scope)

        def count(first: int, last: int) -> Deferred[int]:
            return self.redis.read(scripts.COUNT, [index], [self.prefix, wanted, first, last])

        return Deferred.fromCoroutine(self._part_by_part(index, count))

    def prune(self, now: int, limit: int) -> Deferred[int]:
        return self.redis.eval(scripts.PRUNE, [self._key("x")], [self.prefix, now, limit])


def _ended_by(outcome: Outcome) -> list[str]:
    return [outcome.grant.id] if isinstance(outcome, Issued | Replayed) else []


def _wanted(client_id: str | None, scope: str | None) -> str:
    # What is not UTF-8 is no scope's name, nor is what it becomes here.
    name = scope and scope.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    client = None if client_id is None else _short(client_id)
    return json.dumps({"client": client, "scope": name})


def _milliseconds(seconds: int) -> int:
    """A time to live. Redis takes none that is over already."""
    return max(1000 * seconds, 1000)


def _short(name: str) -> str:
    """A name of any characters as a part of a key."""
    return digest(name).hex()[:32]


def _three(found: list[Any]) -> tuple[int, bytes | None, bytes | None]:
    time, first, second = (*found, None, None)[:3]
    return time, first, second


def _to_grant(text: bytes | None) -> Grant | None:
    if text is None:
        return None
    content = json.loads(text)
    content["owner"] = ResourceOwner(**content["owner"])
    content["scopes"] = tuple(content["scopes"])
    content["code_digest"] = bytes.fromhex(content["code_digest"])
    del content["live"], content["entry"]
    return Grant(**content)


_BYTES = ("access_digest", "refresh_digest", "predecessor", "sealed_answer")


def _pair_text(pair: TokenPair) -> str:
    content = attrs.asdict(pair)
    content |= {name: content[name] and content[name].hex() for name in _BYTES}
    return json.dumps(content)


def _to_pair(text: bytes | None) -> TokenPair | None:
    if text is None:
        return None
    content = json.loads(text)
    content |= {name: content[name] and bytes.fromhex(content[name]) for name in _BYTES}
    return TokenPair(**{**content, "scopes": tuple(content["scopes"])})
