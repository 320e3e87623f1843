"""`ITokenStore` in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from ...errors import AlreadyExists
from ...interfaces import MAX_COUNTED, IBacklog, IInvalidationFeed, ITokenStore
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
from ...paging import by_age
from ...protocol import grants as rules
from ..bound import ENDED_AT_ONCE, log_ended
from ..invalidation import InvalidationFeed


@implementer(ITokenStore, IInvalidationFeed, IBacklog)
class MemoryTokenStore:
    """Grants and tokens in dictionaries. A step is atomic because nothing in it waits."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}
        self._codes: dict[bytes, str] = {}
        self._families: dict[bytes, str] = {}
        #: The current pair of each grant, by its access token, by its refresh token and by the grant.
        self._by_access: dict[bytes, TokenPair] = {}
        self._by_refresh: dict[bytes, TokenPair] = {}
        self._by_grant: dict[str, TokenPair] = {}
        #: By a used refresh token: the pair that was issued for it, with the answer, and the time until
        #: which it may be retried.
        self._retries: dict[bytes, tuple[TokenPair, int]] = {}
        self._feed = InvalidationFeed()

    def partition(self, grant_id: str) -> Hashable:
        return grant_id

    def subscribe(self, invalidate: Callable[..., None]) -> None:
        self._feed.subscribe(invalidate)

    def is_current(self) -> bool:
        return self._feed.is_current()

    def add_code(self, grant: Grant, most: int | None = None) -> Deferred[bool]:
        if grant.id in self._grants or grant.code_digest in self._codes:
            return succeed(False)
        if most is not None:
            self._make_room(grant, most)
        self._grants[grant.id] = grant
        self._codes[grant.code_digest] = grant.id
        return succeed(True)

    def _make_room(self, grant: Grant, most: int) -> None:
        others = self._valid(GrantFilter(grant.owner.username, grant.client_id))
        others.sort(key=lambda other: (other.last_used, other.id))
        surplus = [other.id for other in others[: max(len(others) + 1 - most, 0)]][:ENDED_AT_ONCE]
        for grant_id in surplus:
            self._revoke(grant_id)
        log_ended(grant, surplus)

    def renew_code(self, grant: Grant) -> Deferred[bool]:
        before = self._grants.get(grant.id)
        after = rules.renew_code(before, grant)
        if before is None or after is None:
            return succeed(False)
        del self._codes[before.code_digest]
        self._codes[after.code_digest] = after.id
        self._grants[after.id] = after
        return succeed(True)

    def redeem_code(self, code_digest: bytes, proof: CodeProof, issuance: Issuance) -> Deferred[Outcome]:
        grant = self._grants.get(self._codes.get(code_digest, ""))
        return maybeDeferred(self._apply, rules.judge_code(grant, proof, issuance), issuance)

    def rotate_refresh_token(
        self, refresh_digest: bytes, proof: RefreshProof, issuance: Issuance
    ) -> Deferred[Outcome]:
        presented = self._by_refresh.get(refresh_digest)
        grant = self._grant_of(presented, issuance.family_digest)
        successor, _ = self._retries.get(refresh_digest, (None, 0))
        outcome = rules.judge_refresh(grant, presented, successor, proof, issuance)
        return maybeDeferred(self._apply, outcome, issuance)

    def _grant_of(self, pair: TokenPair | None, family_digest: bytes | None) -> Grant | None:
        grant_id = self._families.get(family_digest or b"") if pair is None else pair.grant_id
        return self._grants.get(grant_id or "")

    def _apply(self, outcome: Outcome, issuance: Issuance) -> Outcome:
        match outcome:
            case Issued(grant, pair):
                family = issuance.family_digest
                if family is not None and self._families.setdefault(family, grant.id) != grant.id:
                    raise AlreadyExists()
                self._grants[grant.id] = grant
                if self._delete_pair(grant.id):
                    self._feed.publish([grant.id])
                self._keep(pair)
                if rules.keeps_answer(pair, issuance):
                    self._retries[pair.predecessor or b""] = pair, issuance.now + issuance.retry_seconds
            case Replayed(grant):
                self._grants[grant.id] = grant
                self._feed.publish([grant.id])
        return outcome

    def _keep(self, pair: TokenPair) -> None:
        self._by_grant[pair.grant_id] = self._by_access[pair.access_digest] = pair
        if pair.refresh_digest is not None:
            self._by_refresh[pair.refresh_digest] = pair

    def _delete_pair(self, grant_id: str) -> bool:
        pair = self._by_grant.pop(grant_id, None)
        if pair is None:
            return False
        del self._by_access[pair.access_digest]
        self._by_refresh.pop(pair.refresh_digest or b"", None)
        self._retries.pop(pair.predecessor or b"", None)
        return True

    def find_refresh_grant(self, refresh_digest: bytes) -> Deferred[Grant | None]:
        pair = self._by_refresh.get(refresh_digest)
        grant = None if pair is None or pair.rotated else self._grants[pair.grant_id]
        return succeed(None if grant is None or grant.revoked else grant)

    def find_access_token(self, access_digest: bytes) -> Deferred[AccessToken | None]:
        pair = self._by_access.get(access_digest)
        if pair is None:
            return succeed(None)
        return succeed(rules.access_token(self._grants[pair.grant_id], pair))

    def revoke(
        self, token_digest: bytes, client_id: str, family_digest: bytes | None = None
    ) -> Deferred[Grant | None]:
        by_access = self._by_access.get(token_digest)
        grant = self._grant_of(by_access or self._by_refresh.get(token_digest), family_digest)
        if grant is None or grant.client_id != client_id:
            return succeed(None)
        if by_access:
            self._keep(attrs.evolve(by_access, access_revoked=True))
            self._feed.publish([grant.id])
        else:
            self._revoke(grant.id)
        return succeed(self._grants[grant.id])

    def _revoke(self, grant_id: str) -> None:
        self._grants[grant_id] = rules.revoked(self._grants[grant_id])
        self._feed.publish([grant_id])

    def revoke_grant(self, grant_id: str) -> Deferred[bool]:
        grant = self._grants.get(grant_id)
        if grant is None or grant.revoked:
            return succeed(False)
        self._revoke(grant_id)
        return succeed(True)

    def revoke_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        found = self._with(username, client_id, scope)
        for grant in found:
            self._revoke(grant.id)
        return succeed(len(found))

    def _with(self, username: str | None, client_id: str | None, scope: str | None) -> list[Grant]:
        found = self._valid(GrantFilter(username, client_id))
        return [grant for grant in found if scope is None or scope in grant.scopes]

    def end_refresh_tokens(self, username: str) -> Deferred[None]:
        for grant in self._valid(GrantFilter(username=username)):
            if grant.code_used:
                self._grants[grant.id] = attrs.evolve(grant, refresh_ended=True)
            else:
                self._revoke(grant.id)
        return succeed(None)

    def _valid(self, filter: GrantFilter) -> list[Grant]:
        return [
            grant
            for grant in self._grants.values()
            if not grant.revoked
            and filter.username in (None, grant.owner.username)
            and filter.client_id in (None, grant.client_id)
        ]

    def grants(self, filter: GrantFilter, page: Page) -> Deferred[list[Grant]]:
        found = sorted(self._valid(filter), key=by_age)
        found = [grant for grant in found if by_age(grant) > page.after]
        return succeed(found[page.offset : page.offset + page.size])

    def clients_of(self, username: str, after: str, limit: int) -> Deferred[list[str]]:
        found = {grant.client_id for grant in self._valid(GrantFilter(username=username))}
        return succeed(sorted(each for each in found if each > after)[:limit])

    def grants_in_use(self, username: str, client_id: str, limit: int) -> Deferred[list[Grant]]:
        used = [each for each in self._valid(GrantFilter(username, client_id)) if each.code_used]
        used.sort(key=lambda grant: grant.last_used, reverse=True)
        return succeed(used[:limit])

    def find_grant(self, grant_id: str) -> Deferred[Grant | None]:
        grant = self._grants.get(grant_id)
        return succeed(None if grant is None or grant.revoked else grant)

    def count_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        return succeed(min(len(self._with(username, client_id, scope)), MAX_COUNTED + 1))

    def prune(self, now: int, limit: int) -> Deferred[Pruned]:
        expired = [used for used, (_, until) in self._retries.items() if until <= now][:limit]
        for used in expired:
            del self._retries[used]
        left, before = limit - len(expired), len(self._grants)
        for grant in [grant for grant in self._grants.values() if grant.expires <= now][:left]:
            left -= self._delete(grant, left)
        return succeed(Pruned(limit - left, before - len(self._grants)))

    def _delete(self, grant: Grant, limit: int) -> int:
        """Delete a grant's pair, then the grant, up to ``limit`` rows, and say how many they were."""
        deleted = 0
        if limit and self._delete_pair(grant.id):
            deleted += 1
        if deleted < limit:
            self._families.pop(grant.family_digest or b"", None)
            del self._codes[grant.code_digest], self._grants[grant.id]
            deleted += 1
        return deleted

    def count_expired(self, cutoffs: Mapping[str, int]) -> Deferred[Mapping[str, int]]:
        grants = sum(grant.expires <= cutoffs["grants"] for grant in self._grants.values())
        answers = sum(until <= cutoffs["answers"] for _, until in self._retries.values())
        return succeed({"grants": grants, "answers": answers})
