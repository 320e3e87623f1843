"""The contract of a token store that also provides `IInvalidationFeed`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from ...interfaces import IInvalidationFeed, ITokenStore
from ...models import Grant, RefreshProof, Replayed, ResourceOwner, TokenPair
from .samples import new_grant, new_issuance, proof_of
from .steps import at_once, attempt_rotation, is_valid, redeemed_grant, until


class InvalidationFeedContract:
    """All that `IInvalidationFeed` promises. Needs the fixture ``token_store``."""

    def test_provides_the_interface_of_the_invalidation_feed(self, token_store: ITokenStore) -> None:
        """The store declares `IInvalidationFeed` and has all of its methods."""
        verifyObject(IInvalidationFeed, token_store)

    async def test_issuance_invalidates_no_other_grant(self, token_store: ITokenStore) -> None:
        """Look-ups and refused requests invalidate none either."""
        invalidated = Invalidated(token_store)
        grant, pair = await redeemed_grant(token_store)
        assert await is_valid(token_store, pair)
        assert await token_store.revoke(pair.access_digest, "another") is None
        assert not await token_store.revoke_grant("unknown")
        thief = RefreshProof("another", None)
        assert pair.refresh_digest is not None
        await token_store.rotate_refresh_token(pair.refresh_digest, thief, new_issuance())
        await token_store.end_refresh_tokens("nobody")
        assert not invalidated.has_others_than(grant)

    async def test_revocation_invalidates_before_it_is_answered(self, token_store: ITokenStore) -> None:
        """RV-01: the revocation of an access token, of a refresh token and of grants."""
        invalidated = Invalidated(token_store)
        verbs: tuple[Callable[[Grant, TokenPair], Deferred[Any]], ...] = (
            lambda grant, pair: token_store.revoke(pair.access_digest, grant.client_id),
            lambda grant, pair: token_store.revoke(pair.refresh_digest or b"", grant.client_id),
            lambda grant, pair: token_store.revoke_grant(grant.id),
            lambda grant, pair: token_store.revoke_grants(username=grant.owner.username),
            lambda grant, pair: token_store.revoke_grants(scope="read"),
        )
        for revoke in verbs:
            grant, pair = await redeemed_grant(token_store)
            invalidated.clear()
            assert await revoke(grant, pair).addCallback(invalidated.has_at_answer, grant)
            assert not await is_valid(token_store, pair)

    async def test_revocation_of_many_grants_invalidates_no_other(
        self, token_store: ITokenStore
    ) -> None:
        """All grants of a user, or all of a client."""
        invalidated = Invalidated(token_store)
        await until_current(token_store)
        cases: tuple[tuple[dict[str, Any], dict[str, str]], ...] = (
            ({"owner": ResourceOwner("one")}, {"username": "one"}),
            ({"client_id": "one"}, {"client_id": "one"}),
        )
        for changes, which in cases:
            # A store that lost its connection for a moment may invalidate all, but not each time.
            for _ in range(5):
                grants = [(await redeemed_grant(token_store, **changes))[0] for _ in range(3)]
                _, pair = await redeemed_grant(token_store)
                invalidated.clear()
                assert await token_store.revoke_grants(**which) == 3
                await until_current(token_store)
                assert all(map(invalidated.has, grants))
                assert await is_valid(token_store, pair)
                if not invalidated.has_others_than(*grants):
                    break
            else:
                raise AssertionError("the grants of others are invalidated each time")

    async def test_rotation_invalidates_the_old_access_token(self, token_store: ITokenStore) -> None:
        """A replayed refresh token invalidates the whole grant."""
        invalidated = Invalidated(token_store)
        grant, pair = await redeemed_grant(token_store)
        invalidated.clear()
        assert await attempt_rotation(token_store, grant, pair).addCallback(
            invalidated.has_at_answer, grant
        )
        invalidated.clear()
        assert isinstance(await attempt_rotation(token_store, grant, pair), Replayed)
        assert invalidated.has(grant)

    async def test_replayed_code_invalidates_its_grant(self, token_store: ITokenStore) -> None:
        """The code was exchanged before."""
        invalidated = Invalidated(token_store)
        grant, pair = await redeemed_grant(token_store)
        invalidated.clear()
        again = token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())
        assert isinstance(await again, Replayed)
        assert invalidated.has(grant)
        assert not await is_valid(token_store, pair)

    async def test_cancelled_revocation_invalidates_what_it_revoked(
        self, token_store: ITokenStore
    ) -> None:
        """The step may have been taken, though its Deferred was cancelled."""
        invalidated = Invalidated(token_store)
        await until_current(token_store)
        grants = [await redeemed_grant(token_store) for _ in range(10)]
        await until_current(token_store)
        invalidated.clear()
        for grant, _ in grants:
            step = token_store.revoke_grant(grant.id)
            step.addErrback(lambda failure: failure.trap(CancelledError))
            step.cancel()
        # The steps that were under way have ended when these have.
        await at_once(token_store.add_code(new_grant()) for _ in range(10))
        await until_current(token_store)
        await until(invalidated.is_quiet)
        for grant, pair in grants:
            if not await is_valid(token_store, pair):
                assert invalidated.has(grant)

    async def test_feed_becomes_current(self, token_store: ITokenStore) -> None:
        """It does soon after the first call of `is_current`, and stays so while it is called."""
        await until_current(token_store)
        grant, _ = await redeemed_grant(token_store)
        invalidated = Invalidated(token_store)
        assert await token_store.revoke_grant(grant.id)
        await until_current(token_store)
        assert invalidated.has(grant)


class Invalidated:
    """The partitions that a store has invalidated."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._partitions: set[Any] = set()
        self._all = False
        self._calls = 0
        store.subscribe(self._invalidate)

    def _invalidate(self, partitions: Any) -> None:
        self._all = self._all or partitions is None
        self._partitions.update(partitions or ())
        self._calls += 1

    def clear(self) -> None:
        """Forget what was invalidated so far."""
        self._partitions, self._all = set(), False

    def has(self, grant: Grant) -> bool:
        """Whether a grant was invalidated."""
        return self._all or self._store.partition(grant.id) in self._partitions

    def has_at_answer(self, _: object, grant: Grant) -> bool:
        """The same, as a callback of a step's Deferred."""
        return self.has(grant)

    def has_others_than(self, *grants: Grant) -> bool:
        """Whether all grants were invalidated, or one that is not among these."""
        own = {self._store.partition(grant.id) for grant in grants}
        return self._all or bool(self._partitions - own)

    def is_quiet(self) -> bool:
        """Whether nothing was invalidated since this was last asked."""
        calls, self._calls = self._calls, 0
        return calls == 0


async def until_current(store: Any) -> None:
    """Wait until the feed is current."""
    await until(store.is_current)
