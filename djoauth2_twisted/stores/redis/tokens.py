"""`ITokenStore` on Redis. Each verb is one script; or a read, the shared rules, and one script that
writes only if nothing has changed since.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

import attrs
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...credentials import digest
from ...errors import AlreadyExists, TemporarilyUnavailable
from ...interfaces import MAX_COUNTED, IInvalidationFeed, ITokenStore
from ...models import (
    AccessToken,
    CodeProof,
    Grant,
    GrantFilter,
    Issuance,
    Issued,
    Outcome,
    Page,
    Pruned,
    RefreshProof,
    Replayed,
    ResourceOwner,
    TokenPair,
)
from ...protocol import grants as rules
from ..bound import ENDED_AT_ONCE, tell_of_ended
from . import scripts
from .connection import COMMAND_DEADLINE, PREFIX, Redis

_T = TypeVar("_T")

#: A write that reaches Redis later than this after it was decided is refused there, in milliseconds:
#: whoever asked has been told by then that it was not done.
LATEST_WRITE = int(COMMAND_DEADLINE * 1000 * 0.8)

#: How often a decision is made anew because something changed meanwhile. Each time somebody else has
#: got on, so it is not often.
MAX_TRIES = 20

#: So many grants are looked at by one script of an action on many; meanwhile Redis answers nobody.
PART = 500


@implementer(ITokenStore, IInvalidationFeed)
@frozen
class RedisTokenStore:
    """Grants and tokens under keys that begin with a prefix."""

    redis: Redis
    prefix: str = PREFIX

    def _key(self, kind: str, name: str = "") -> str:
        return f"{self.prefix}{kind}{name}"

    def partition(self, grant_id: str) -> Hashable:
        return grant_id

    def subscribe(self, invalidate: Callable[..., None]) -> None:
        self.redis.subscribe(self.prefix, invalidate)

    def is_current(self) -> bool:
        return self.redis.invalidation.is_current()

    def _ending(self, step: Deferred[_T], ended: Callable[[_T], list[str] | None]) -> Deferred[_T]:
        """Tell what a step has ended before it is answered. What is published comes a moment later."""

        def tell(result: _T) -> _T:
            self.redis.invalidation.publish(ended(result))
            return result

        def tell_of_all(failure: Failure) -> Failure:
            # Whoever has gone away waits for no answer.
            if not failure.check(CancelledError):
                self.redis.invalidation.publish(None)
            return failure

        return step.addCallbacks(tell, tell_of_all)

    def add_code(self, grant: Grant, most: int | None = None) -> Deferred[bool]:
        def tell(ended: list[str] | None) -> bool:
            tell_of_ended(grant, ended or [])
            return ended is not None

        adding = Deferred.fromCoroutine(self._add_code(grant, most))
        return self._ending(adding, lambda ended: ended or []).addCallback(tell)

    async def _add_code(self, grant: Grant, most: int | None) -> list[str] | None:
        """Those that were ended to make room, or None where the id is taken."""
        kept = _milliseconds(grant.expires - grant.created)
        commands = [
            *self._set_grant(grant, None, kept),
            ["SET", self._key("c:", grant.code_digest.hex()), grant.id, "PX", kept],
            ["ZADD", self._key("u:", _short(grant.owner.username)), grant.created, grant.id],
            ["ZADD", self._key("k:", _short(grant.client_id)), grant.created, grant.id],
            ["ZADD", self._key("all"), grant.created, grant.id],
        ]
        answer = await self.redis.eval(
            scripts.ADD_CODE,
            [self._key("g:", grant.id), self._key("p:", _pair_of_names(grant))],
            [
                await self._time() + LATEST_WRITE,
                _json(commands),
                self.prefix,
                self._channel(),
                sys.maxsize if most is None else most,
                ENDED_AT_ONCE,
            ],
        )
        if answer == b"late":
            raise TemporarilyUnavailable()
        return None if answer == b"taken" else [each.decode() for each in answer]

    def _set_grant(self, grant: Grant, pair: TokenPair | None, kept: int) -> list[list[Any]]:
        entry = f"{_short(grant.owner.username)} {_short(grant.client_id)} {grant.id}"
        content = attrs.asdict(grant)
        content |= {
            "code_digest": grant.code_digest.hex(),
            "family_digest": grant.family_digest and grant.family_digest.hex(),
            "live": pair and pair.refresh_digest and pair.refresh_digest.hex(),
            "access": pair and pair.access_digest.hex(),
            "entry": entry,
        }
        return [
            ["SET", self._key("g:", grant.id), json.dumps(content), "PX", kept],
            ["ZADD", self._key("x"), grant.expires, entry],
            ["ZADD", self._key("p:", _pair_of_names(grant)), grant.last_used, grant.id],
        ]

    def _keep(self, grant: Grant, now: int) -> dict[str, Any]:
        """Until when what was used before there were families is kept: as long as the grant, and once
        more as long.
        """
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
        read_at: int,
    ) -> bool:
        """Write, if all is as expected. False where it is not."""
        answer = await self.redis.eval(
            scripts.COMMIT,
            list(expected),
            [
                read_at + LATEST_WRITE,
                _json(commands),
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
        for _ in range(MAX_TRIES):
            outcome = await step()
            if outcome is not None:
                return outcome
        raise TemporarilyUnavailable()

    def redeem_code(self, code_digest: bytes, proof: CodeProof, issuance: Issuance) -> Deferred[Outcome]:
        async def step() -> Outcome | None:
            family = self._family(issuance.family_digest)
            keys = [self._key("c:", code_digest.hex()), family]
            time, text, owner = await self.redis.read(scripts.FIND_CODE, keys, [self.prefix])
            outcome = rules.judge_code(_to_grant(text), proof, issuance)
            expected = {self._grant_key(text): text or b"", family: owner or b""}
            return await self._apply(outcome, expected, None, issuance, time)

        return self._ending(Deferred.fromCoroutine(self._until_settled(step)), _ended_by)

    def rotate_refresh_token(
        self, refresh_digest: bytes, proof: RefreshProof, issuance: Issuance
    ) -> Deferred[Outcome]:
        async def step() -> Outcome | None:
            family = self._family(issuance.family_digest)
            key, kept = (self._key(kind, refresh_digest.hex()) for kind in ("r:", "y:"))
            found = await self.redis.read(scripts.FIND_PAIR, [key, kept, family], [self.prefix])
            time, text, owner, pair_text, kept_text = found
            presented = _to_pair(pair_text)
            outcome = rules.judge_refresh(
                _to_grant(text), presented, _to_pair(kept_text), proof, issuance
            )
            expected = {
                self._grant_key(text): text or b"",
                key: pair_text or b"",
                family: owner or b"",
            }
            return await self._apply(outcome, expected, presented, issuance, time)

        return self._ending(Deferred.fromCoroutine(self._until_settled(step)), _ended_by)

    def _family(self, family_digest: bytes | None) -> str:
        return self._key("f:", (family_digest or b"").hex())

    def _grant_key(self, text: bytes | None) -> str:
        return self._key("g:", json.loads(text)["id"] if text else "")

    def _gone(self, presented: TokenPair) -> list[str]:
        """The keys that go with a pair whose refresh token is used: nothing is kept of it."""
        gone = [
            self._key("r:", (presented.refresh_digest or b"").hex()),
            self._key("a:", presented.access_digest.hex()),
        ]
        if presented.predecessor is not None:
            gone.append(self._key("y:", presented.predecessor.hex()))
        return gone

    async def _apply(
        self,
        outcome: Outcome,
        expected: dict[str, bytes],
        presented: TokenPair | None,
        issuance: Issuance,
        time: int,
    ) -> Outcome | None:
        """Write what an outcome says. None where something has changed, and all is to be judged anew."""
        match outcome:
            case Issued(grant, pair):
                if expected[self._family(issuance.family_digest)] not in {b"", grant.id.encode()}:
                    raise AlreadyExists()
                commands = self._issuance(grant, pair, issuance)
                if presented is not None:
                    # What may be forbidden is first, then what needs memory: Redis refuses a script for
                    # want of it at the first command that writes, and at no later one.
                    told = ["PUBLISH", self._channel(), grant.id]
                    commands = [told, *commands, ["DEL", *self._gone(presented)]]
                keep = self._keep(grant, issuance.now)
                return outcome if await self._commit(expected, commands, keep, time) else None
            case Replayed(grant):
                return outcome if await self._end(grant.id) else None
        return outcome

    def _issuance(self, grant: Grant, pair: TokenPair, issuance: Issuance) -> list[list[Any]]:
        token = {
            "grant_id": grant.id,
            "scopes": pair.scopes,
            "issued": pair.issued,
            "expires": pair.access_expires,
        }
        life = _milliseconds(pair.access_expires - issuance.now)
        kept = _milliseconds(grant.expires - issuance.now)
        commands = [
            *self._set_grant(grant, pair, kept),
            ["PEXPIRE", self._key("c:", grant.code_digest.hex()), kept],
            ["SET", self._key("a:", pair.access_digest.hex()), json.dumps(token), "PX", life],
        ]
        if grant.family_digest is not None:
            commands.append(["SET", self._family(grant.family_digest), grant.id, "PX", kept])
        is_answer_kept = rules.keeps_answer(pair, issuance)
        if pair.refresh_digest is not None:
            predecessor = pair.predecessor if is_answer_kept else None
            plain = attrs.evolve(pair, predecessor=predecessor, sealed_answer=None)
            key = self._key("r:", pair.refresh_digest.hex())
            commands.append(["SET", key, _pair_text(plain), "PX", kept])
        if is_answer_kept:
            key = self._key("y:", (pair.predecessor or b"").hex())
            moment = _milliseconds(issuance.retry_seconds)
            commands.append(["SET", key, _pair_text(pair), "PX", moment])
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

    def revoke(
        self, token_digest: bytes, client_id: str, family_digest: bytes | None = None
    ) -> Deferred[Grant | None]:
        keys = [self._key(kind, token_digest.hex()) for kind in ("a:", "r:")]
        keys.append(self._family(family_digest))
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

    async def _part_by_part(
        self, index: str, step: Callable[[int, int], Deferred[int]], enough: int = sys.maxsize
    ) -> int:
        """Take a step on each part of a set, so that no script keeps Redis for long; the sum of all.

        The last come first: whatever is removed meanwhile, those to come stay where they are.

        :param enough: stop where the sum is so large.
        """
        total, place = 0, await self._size(index)
        while place > 0 and total < enough:
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

        def end(first: int, last: int) -> Deferred[int]:
            words: list[str | int] = [self.prefix, first, last + PART, self._channel()]
            return self.redis.eval(scripts.END_REFRESH_TOKENS, [index], words).addCallback(lambda _: 0)

        return Deferred.fromCoroutine(self._part_by_part(index, end)).addCallback(lambda _: None)

    def grants(self, filter: GrantFilter, page: Page) -> Deferred[list[Grant]]:
        return Deferred.fromCoroutine(self._grants(filter, page))

    async def _grants(self, filter: GrantFilter, page: Page) -> list[Grant]:
        """A page, looked for part by part.

        Where all of a set are wanted, those before the offset are not looked at; so what Redis has
        forgotten itself counts until it is pruned, and a page may begin with the end of the one before.
        """
        client_id = None if filter.username is None else filter.client_id
        place, skip = (page.offset, 0) if client_id is None else (0, page.offset)
        found: list[bytes] = []
        while len(found) < page.size:
            missing = skip + page.size - len(found)
            words: list[str | int] = [
                self.prefix,
                _wanted(client_id, None),
                place,
                place + PART - 1,
                missing,
            ]
            looked, *part = await self.redis.read(scripts.LIST, [self._index(filter)], words)
            found += part[skip:]
            skip = max(skip - len(part), 0)
            if looked < PART:
                break
            place += PART
        return [grant for grant in map(_to_grant, found) if grant is not None]

    def clients_of(self, username: str, after: str, limit: int) -> Deferred[list[str]]:
        return Deferred.fromCoroutine(self._clients_of(username, after, limit))

    async def _clients_of(self, username: str, after: str, limit: int) -> list[str]:
        index = self._index(GrantFilter(username=username))
        found: set[str] = set()

        def look(first: int, last: int) -> Deferred[int]:
            def note(clients: list[bytes]) -> int:
                found.update(each.decode() for each in clients)
                return 0

            words: list[str | int] = [self.prefix, first, last]
            return self.redis.read(scripts.CLIENTS, [index], words).addCallback(note)

        await self._part_by_part(index, look)
        return sorted(each for each in found if each > after)[:limit]

    def find_grant(self, grant_id: str) -> Deferred[Grant | None]:
        return self.redis.read(scripts.FIND_GRANT, [], [self.prefix, grant_id]).addCallback(_to_grant)

    def count_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        index = self._index(GrantFilter(username, client_id))
        enough = MAX_COUNTED + 1
        if scope is None and None in (username, client_id):
            return self._size(index).addCallback(min, enough)
        wanted = _wanted(client_id, scope)

        def count(first: int, last: int) -> Deferred[int]:
            return self.redis.read(scripts.COUNT, [index], [self.prefix, wanted, first, last])

        counting = Deferred.fromCoroutine(self._part_by_part(index, count, enough))
        return counting.addCallback(min, enough)

    def prune(self, now: int, limit: int) -> Deferred[Pruned]:
        return Deferred.fromCoroutine(self._prune(now, limit))

    async def _prune(self, now: int, limit: int) -> Pruned:
        left = limit
        while left > 0:
            some = min(left, PART)
            words: list[str | int] = [self.prefix, now, some]
            gone = await self.redis.eval(scripts.PRUNE, [self._key("x")], words)
            left -= gone
            if gone < some:
                break
        # All that belongs to a grant goes with it.
        return Pruned(limit - left, grants=limit - left)


def _ended_by(outcome: Outcome) -> list[str]:
    return [outcome.grant.id] if isinstance(outcome, Issued | Replayed) else []


def _wanted(client_id: str | None, scope: str | None) -> str:
    # What is not UTF-8 is no scope's name, nor is what it becomes here.
    name = scope and scope.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    client = None if client_id is None else _short(client_id)
    return json.dumps({"client": client, "scope": name})


def _json(commands: list[list[Any]]) -> str:
    # Redis takes strings alone, and cjson would write a large number as 1e+15.
    return json.dumps([[str(word) for word in command] for command in commands])


def _pair_of_names(grant: Grant) -> str:
    return _short(grant.owner.username) + _short(grant.client_id)


def _milliseconds(seconds: int) -> int:
    """A time to live. Redis takes none that is over already."""
    return max(1000 * seconds, 1000)


def _short(name: str) -> str:
    """A name of any characters as a part of a key."""
    return digest(name).hex()[:32]


def _to_grant(text: bytes | None) -> Grant | None:
    if text is None:
        return None
    content = json.loads(text)
    content["owner"] = ResourceOwner(**content["owner"])
    content["scopes"] = tuple(content["scopes"])
    content["code_digest"] = bytes.fromhex(content["code_digest"])
    family = content.get("family_digest")
    content["family_digest"] = family and bytes.fromhex(family)
    for name in ("live", "access", "entry"):
        content.pop(name, None)
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
