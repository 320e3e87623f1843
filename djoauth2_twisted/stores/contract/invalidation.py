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
    """What a token store promises that provides `IInvalidationFeed`, too."""

    def test_provides_the_interface_of_the_invalidation_feed(self, token_store: ITokenStore) -> None:
        """It has each method, with the right arguments."""
        verifyObject(IInvalidationFeed, token_store)

    async def test_issues_end_nothing(self, token_store: ITokenStore) -> None:
        """Nor do look-ups, or what is refused."""
        told = Notified(token_store)
        grant, pair = await redeemed_grant(token_store)
        assert await is_valid(token_store, pair)
        assert await token_store.revoke(pair.access_digest, "another") is None
        assert not await token_store.revoke_grant("unknown")
        thief = RefreshProof("another", None)
        assert pair.refresh_digest is not None
        await token_store.rotate_refresh_token(pair.refresh_digest, thief, new_issuance())
        await token_store.end_refresh_tokens("nobody")
        assert not told.of_others(grant)

    async def test_revocations_are_told(self, token_store: ITokenStore) -> None:
        """RV-01: before whoever revokes an access token, a refresh token or a grant is answered."""
        told = Notified(token_store)
        ways: tuple[Callable[[Grant, TokenPair], Deferred[Any]], ...] = (
            lambda grant, pair: token_store.revoke(pair.access_digest, grant.client_id),
            lambda grant, pair: token_store.revoke(pair.refresh_digest or b"", grant.client_id),
            lambda grant, pair: token_store.revoke_grant(grant.id),
            lambda grant, pair: token_store.revoke_grants(username=grant.owner.username),
            lambda grant, pair: token_store.revoke_grants(scope="read"),
        )
        for end in ways:
            grant, pair = await redeemed_grant(token_store)
            told.forget()
            assert await end(grant, pair).addCallback(told.at_answer, grant)
            assert not await is_valid(token_store, pair)

    async def test_the_grants_of_others_are_not_told(self, token_store: ITokenStore) -> None:
        """Where all of a user's or a client's are ended."""
        told = Notified(token_store)
        await until_current(token_store)
        ways: tuple[tuple[dict[str, Any], dict[str, str]], ...] = (
            ({"owner": ResourceOwner("one")}, {"username": "one"}),
            ({"client_id": "one"}, {"client_id": "one"}),
        )
        for changes, which in ways:
            # Where the store was out of touch for a moment, it may tell of any; so not each time.
            for _ in range(5):
                grants = [(await redeemed_grant(token_store, **changes))[0] for _ in range(3)]
                _, pair = await redeemed_grant(token_store)
                told.forget()
                assert await token_store.revoke_grants(**which) == 3
                await until_current(token_store)
                assert all(map(told.of, grants))
                assert await is_valid(token_store, pair)
                if not told.of_others(*grants):
                    break
            else:
                raise AssertionError("the ends of others' grants are told each time")

    async def test_rotations_are_told(self, token_store: ITokenStore) -> None:
        """The access token ends that was issued with the refresh token; with a replay, the grant."""
        told = Notified(token_store)
        grant, pair = await redeemed_grant(token_store)
        told.forget()
        assert await attempt_rotation(token_store, grant, pair).addCallback(told.at_answer, grant)
        told.forget()
        assert isinstance(await attempt_rotation(token_store, grant, pair), Replayed)
        assert told.of(grant)

    async def test_replayed_codes_are_told(self, token_store: ITokenStore) -> None:
        """The grant ends that the code was exchanged for."""
        told = Notified(token_store)
        grant, pair = await redeemed_grant(token_store)
        told.forget()
        again = token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())
        assert isinstance(await again, Replayed)
        assert told.of(grant)
        assert not await is_valid(token_store, pair)

    async def test_cancelled_revocations_are_told(self, token_store: ITokenStore) -> None:
        """Who is gone is not waited for, and what was ended all the same is told all the same."""
        told = Notified(token_store)
        await until_current(token_store)
        grants = [await redeemed_grant(token_store) for _ in range(10)]
        await until_current(token_store)
        told.forget()
        for grant, _ in grants:
            step = token_store.revoke_grant(grant.id)
            step.addErrback(lambda failure: failure.trap(CancelledError))
            step.cancel()
        # Whatever was under way has been done when these are.
        await at_once(token_store.add_code(new_grant()) for _ in range(10))
        await until_current(token_store)
        await until(told.quiet)
        for grant, pair in grants:
            if not await is_valid(token_store, pair):
                assert told.of(grant)

    async def test_becomes_sure(self, token_store: ITokenStore) -> None:
        """Soon after it is first asked whether it is, and it stays so for as long as it is asked."""
        await until_current(token_store)
        grant, _ = await redeemed_grant(token_store)
        told = Notified(token_store)
        assert await token_store.revoke_grant(grant.id)
        await until_current(token_store)
        assert told.of(grant)


class Notified:
    """What a store has told of endings."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._parts: set[Any] = set()
        self._any = False
        self._count = 0
        store.subscribe(self._invalidate)

    def _invalidate(self, parts: Any) -> None:
        self._any = self._any or parts is None
        self._parts.update(parts or ())
        self._count += 1

    def forget(self) -> None:
        """Begin anew."""
        self._parts, self._any = set(), False

    def of(self, grant: Grant) -> bool:
        """Whether it was told of a grant."""
        return self._any or self._store.partition(grant.id) in self._parts

    def at_answer(self, _: object, grant: Grant) -> bool:
        """The same, as a callback of a step."""
        return self.of(grant)

    def of_others(self, *grants: Grant) -> bool:
        """Whether it was told of all, or of any but these."""
        return self._any or bool(self._parts - {self._store.partition(grant.id) for grant in grants})

    def quiet(self) -> bool:
        """Whether nothing was told since this was last asked."""
        before, self._count = self._count, 0
        return before == 0


async def until_current(store: Any) -> None:
    await until(store.is_current)
