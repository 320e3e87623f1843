"""`ITokenStore` on Redis.

Each verb is one atomic step. It is one script; or it reads, asks the shared rules, and writes by a
script that does nothing where the values have changed since they were read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, TypeVar

from attrs import Factory, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import AlreadyExists, TemporarilyUnavailable
from ...interfaces import IBacklog, IInvalidationFeed, ITokenStore
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
    TokenPair,
)
from ...protocol import grants as rules
from ..bound import ENDED_AT_ONCE, log_ended
from . import commands, listing, scripts
from .connection import COMMAND_DEADLINE, PREFIX, Redis
from .keys import Keys
from .records import read_access_token, read_grant, read_pair

_T = TypeVar("_T")

#: A write that reaches Redis later than this after it was decided is refused there, in milliseconds: by
#: then the caller has been answered that it failed.
LATEST_WRITE = int(COMMAND_DEADLINE * 1000 * 0.8)

#: How often a decision is made again because a value has changed meanwhile. Each time another request
#: has succeeded, so it is not often.
MAX_ATTEMPTS = 20


@implementer(ITokenStore, IInvalidationFeed, IBacklog)
@frozen
class RedisTokenStore:
    """Grants and tokens in Redis.

    :param prefix: the beginning of every key.
    """

    redis: Redis
    prefix: str = PREFIX
    _keys: Keys = field(init=False, default=Factory(lambda self: Keys(self.prefix), takes_self=True))
    _lists: listing.GrantLists = field(
        init=False,
        default=Factory(lambda self: listing.GrantLists(self.redis, self._keys), takes_self=True),
    )

    def partition(self, grant_id: str) -> Hashable:
        return grant_id

    def subscribe(self, invalidate: Callable[..., None]) -> None:
        self.redis.subscribe(self.prefix, invalidate)

    def is_current(self) -> bool:
        return self.redis.invalidation.is_current()

    def _channel(self) -> str:
        return self.redis.channel(self.prefix)

    def _invalidating(self, step: Deferred[_T], ended: Callable[[_T], list[str]]) -> Deferred[_T]:
        """Notify this process's subscribers of the grants that a step ended before its Deferred fires.

        The message that the script published reaches them a moment later.
        """

        def publish(result: _T) -> _T:
            self.redis.invalidation.publish(ended(result))
            return result

        def publish_all(failure: Failure) -> Failure:
            # A caller that cancelled the step waits for no answer.
            if not failure.check(CancelledError):
                self.redis.invalidation.publish(None)
            return failure

        return step.addCallbacks(publish, publish_all)

    # Codes and refresh tokens.

    def add_code(self, grant: Grant, most: int | None = None) -> Deferred[bool]:
        def log(ended: list[str] | None) -> bool:
            log_ended(grant, ended or [])
            return ended is not None

        adding = Deferred.fromCoroutine(self._add_code(grant, most))
        return self._invalidating(adding, lambda ended: ended or []).addCallback(log)

    async def _add_code(self, grant: Grant, most: int | None) -> list[str] | None:
        """The ids of the grants that were ended to make room, or None where the id is taken."""
        mine = self._keys.user_client_grants(grant.owner.username, grant.client_id)
        answer = await self.redis.eval(
            scripts.ADD_CODE,
            [self._keys.grant(grant.id), mine],
            [
                await self._time() + LATEST_WRITE,
                commands.to_json(commands.add_grant(self._keys, grant)),
                self.prefix,
                self._channel(),
                sys.maxsize if most is None else most,
                ENDED_AT_ONCE,
            ],
        )
        if answer == b"late":
            raise TemporarilyUnavailable()
        return None if answer == b"taken" else [each.decode() for each in answer]

    async def _time(self) -> int:
        """The server's time in milliseconds."""
        return int(await self.redis.read(scripts.NOW, [], []))

    def renew_code(self, grant: Grant) -> Deferred[bool]:
        async def attempt() -> bool | None:
            read_at = await self._time()
            record = await self.redis.read(scripts.FIND_GRANT, [], [self.prefix, grant.id])
            before = read_grant(record)
            after = rules.renew_code(before, grant)
            if before is None or after is None:
                return False
            now = grant.created
            written = commands.renew_code(self._keys, before, after, now)
            kept = commands.keep_used_tokens(self._keys, after, now)
            expected = {self._keys.grant(before.id): record}
            return await self._commit(expected, written, kept, read_at) or None

        return Deferred.fromCoroutine(_until_settled(attempt))

    def redeem_code(self, code_digest: bytes, proof: CodeProof, issuance: Issuance) -> Deferred[Outcome]:
        async def attempt() -> Outcome | None:
            family = self._keys.family(issuance.family_digest)
            keys = [self._keys.code(code_digest), family]
            time, record, owner = await self.redis.read(scripts.FIND_CODE, keys, [self.prefix])
            grant = read_grant(record)
            outcome = rules.judge_code(grant, proof, issuance)
            expected = {self._grant_key(grant): record or b"", family: owner or b""}
            return await self._apply(outcome, expected, None, issuance, time)

        return self._invalidating(Deferred.fromCoroutine(_until_settled(attempt)), _ended_by)

    def rotate_refresh_token(
        self, refresh_digest: bytes, proof: RefreshProof, issuance: Issuance
    ) -> Deferred[Outcome]:
        async def attempt() -> Outcome | None:
            family = self._keys.family(issuance.family_digest)
            key = self._keys.refresh_token(refresh_digest)
            keys = [key, self._keys.kept_answer(refresh_digest), family]
            found = await self.redis.read(scripts.FIND_PAIR, keys, [self.prefix])
            time, record, owner, pair_record, kept_record = found
            grant, presented = read_grant(record), read_pair(pair_record)
            outcome = rules.judge_refresh(grant, presented, read_pair(kept_record), proof, issuance)
            expected = {
                self._grant_key(grant): record or b"",
                key: pair_record or b"",
                family: owner or b"",
            }
            return await self._apply(outcome, expected, presented, issuance, time)

        return self._invalidating(Deferred.fromCoroutine(_until_settled(attempt)), _ended_by)

    def _grant_key(self, grant: Grant | None) -> str:
        return self._keys.grant("" if grant is None else grant.id)

    async def _apply(
        self,
        outcome: Outcome,
        expected: dict[str, bytes],
        presented: TokenPair | None,
        issuance: Issuance,
        read_at: int,
    ) -> Outcome | None:
        """Write what an outcome says. None where a value has changed, and all must be judged again.

        :param expected: the keys that were read and their values, empty where there was none.
        :param presented: the pair whose refresh token was presented.
        :param read_at: the server's time in milliseconds.
        """
        match outcome:
            case Issued(grant, pair):
                if expected[self._keys.family(issuance.family_digest)] not in {b"", grant.id.encode()}:
                    raise AlreadyExists()
                written = commands.issue(self._keys, grant, pair, issuance)
                if presented is not None:
                    # First comes what the server may forbid, then what needs memory: where memory is
                    # short, Redis refuses a script's first command that writes, and no later one.
                    publish = ["PUBLISH", self._channel(), grant.id]
                    written = [publish, *written, commands.delete_pair(self._keys, presented)]
                kept = commands.keep_used_tokens(self._keys, grant, issuance.now)
                return outcome if await self._commit(expected, written, kept, read_at) else None
            case Replayed(grant):
                return outcome if await self._end(grant.id) else None
        return outcome

    async def _commit(
        self,
        expected: dict[str, bytes],
        written: list[commands.Command],
        kept: dict[str, Any],
        read_at: int,
    ) -> bool:
        """Write, if all values are as expected. False where one is not."""
        answer = await self.redis.eval(
            scripts.COMMIT,
            list(expected),
            [
                read_at + LATEST_WRITE,
                commands.to_json(written),
                json.dumps({name: str(value) for name, value in kept.items()}),
                *expected.values(),
            ],
        )
        if answer == b"late":
            raise TemporarilyUnavailable()
        return bool(answer == b"done")

    def find_refresh_grant(self, refresh_digest: bytes) -> Deferred[Grant | None]:
        def read(found: list[bytes | None]) -> Grant | None:
            _, record, _, pair_record, _ = found
            pair = read_pair(pair_record)
            grant = None if pair is None or pair.rotated else read_grant(record)
            return None if grant is None or grant.revoked else grant

        no_family = self._keys.family(None)
        keys = [
            self._keys.refresh_token(refresh_digest),
            self._keys.kept_answer(refresh_digest),
            no_family,
        ]
        return self.redis.read(scripts.FIND_PAIR, keys, [self.prefix]).addCallback(read)

    # Access tokens.

    def find_access_token(self, access_digest: bytes) -> Deferred[AccessToken | None]:
        def read(found: list[bytes | None]) -> AccessToken | None:
            record, grant_record = (*found, None, None)[:2]
            return read_access_token(record, read_grant(grant_record))

        key = self._keys.access_token(access_digest)
        return self.redis.read(scripts.FIND_ACCESS_TOKEN, [key], [self.prefix]).addCallback(read)

    # Revocation.

    def revoke(
        self, token_digest: bytes, client_id: str, family_digest: bytes | None = None
    ) -> Deferred[Grant | None]:
        keys = [
            self._keys.access_token(token_digest),
            self._keys.refresh_token(token_digest),
            self._keys.family(family_digest),
        ]
        revoked: Deferred[Grant | None] = self.redis.eval(
            scripts.REVOKE, keys, [self.prefix, client_id, self._channel()]
        ).addCallback(read_grant)
        return self._invalidating(revoked, lambda grant: [grant.id] if grant else [])

    def revoke_grant(self, grant_id: str) -> Deferred[bool]:
        ending = Deferred.fromCoroutine(self._end(grant_id))
        return self._invalidating(ending, lambda ended: [grant_id] if ended else [])

    async def _end(self, grant_id: str) -> bool:
        arguments = [self.prefix, grant_id, self._channel()]
        return await self.redis.eval(scripts.END, [], arguments) is not None

    def revoke_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        index = self._keys.grants(GrantFilter(username, client_id))
        wanted = listing.wanted_json(client_id, scope)

        def end(first: int, last: int) -> Deferred[int]:
            # The script looks at one more batch above: a grant that another process adds below, as with
            # a slow clock, moves others up to there.
            last += listing.BATCH
            arguments: list[str | int] = [self.prefix, wanted, first, last, self._channel()]
            ending: Deferred[list[bytes]] = self.redis.eval(scripts.END_SOME, [index], arguments)
            ended = self._invalidating(ending, lambda ids: [each.decode() for each in ids])
            return ended.addCallback(len)

        return Deferred.fromCoroutine(self._lists.in_batches(index, end))

    def end_refresh_tokens(self, username: str) -> Deferred[None]:
        index = self._keys.user_grants(username)

        def end(first: int, last: int) -> Deferred[int]:
            last += listing.BATCH  # as above
            arguments: list[str | int] = [self.prefix, first, last, self._channel()]
            return self.redis.eval(scripts.END_REFRESH_TOKENS, [index], arguments).addCallback(
                lambda _: 0
            )

        return Deferred.fromCoroutine(self._lists.in_batches(index, end)).addCallback(lambda _: None)

    # Lists.

    def grants(self, filter: GrantFilter, page: Page) -> Deferred[list[Grant]]:
        return Deferred.fromCoroutine(self._lists.grants(filter, page))

    def clients_of(self, username: str, after: str, limit: int) -> Deferred[list[str]]:
        return Deferred.fromCoroutine(self._lists.clients_of(username, after, limit))

    def grants_in_use(self, username: str, client_id: str, limit: int) -> Deferred[list[Grant]]:
        return self._lists.in_use(username, client_id, limit)

    def find_grant(self, grant_id: str) -> Deferred[Grant | None]:
        return self.redis.read(scripts.FIND_GRANT, [], [self.prefix, grant_id]).addCallback(read_grant)

    def count_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        return Deferred.fromCoroutine(self._lists.count(GrantFilter(username, client_id), scope))

    def prune(self, now: int, limit: int) -> Deferred[Pruned]:
        return Deferred.fromCoroutine(self._prune(now, limit))

    async def _prune(self, now: int, limit: int) -> Pruned:
        left = limit
        while left > 0:
            batch = min(left, listing.BATCH)
            arguments: list[str | int] = [self.prefix, now, batch]
            pruned = await self.redis.eval(scripts.PRUNE, [self._keys.expiry()], arguments)
            left -= pruned
            if pruned < batch:
                break
        # A grant's row stands for all that belongs to it.
        return Pruned(limit - left, grants=limit - left)

    def count_expired(self, cutoffs: Mapping[str, int]) -> Deferred[Mapping[str, int]]:
        counting = self.redis.read(scripts.COUNT_EXPIRED, [self._keys.expiry()], [cutoffs["grants"]])
        # Redis deletes the answers itself.
        return counting.addCallback(lambda count: {"grants": count})


async def _until_settled(attempt: Callable[[], Awaitable[_T | None]]) -> _T:
    """Attempt a step until no other has changed its values meanwhile."""
    for _ in range(MAX_ATTEMPTS):
        outcome = await attempt()
        if outcome is not None:
            return outcome
    raise TemporarilyUnavailable()


def _ended_by(outcome: Outcome) -> list[str]:
    return [outcome.grant.id] if isinstance(outcome, Issued | Replayed) else []
