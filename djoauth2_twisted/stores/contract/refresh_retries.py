"""The contract of refreshes that are retried within ``REFRESH_RETRY_SECONDS``."""

from __future__ import annotations

import attrs

from ...interfaces import ITokenStore
from ...models import Issued, RefreshRetried, Refused, Replayed, Unknown
from .samples import NOW, new_issuance, retriable_issuance
from .steps import attempt_rotation, is_ended, is_valid, redeemed_grant, rotate


class RefreshRetryContract:
    """What a token store promises of retries."""

    async def test_retry_gets_the_same_answer(self, token_store: ITokenStore) -> None:
        """RT-12, RT-16: as often as the request comes in time."""
        grant, old = await redeemed_grant(token_store)
        issuance = retriable_issuance(NOW + 50)
        new = await rotate(token_store, grant, old, issuance)
        assert new.sealed_answer == issuance.sealed_answer
        for later in (0, 5, 9):
            again = retriable_issuance(NOW + 50 + later)
            outcome = await attempt_rotation(token_store, grant, old, again)
            assert isinstance(outcome, RefreshRetried)
            assert (outcome.grant.id, outcome.pair) == (grant.id, new)
            assert await token_store.find_access_token(again.access_digest) is None
        assert await is_valid(token_store, new)
        await rotate(token_store, grant, new)

    async def test_retry_after_its_time_is_a_replay(self, token_store: ITokenStore) -> None:
        """It is one from the very second on at which the time ends."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old, retriable_issuance(NOW + 50))
        assert isinstance(
            await attempt_rotation(token_store, grant, old, retriable_issuance(NOW + 60)), Replayed
        )
        assert await is_ended(token_store, grant, old, new)

    async def test_retry_after_the_clock_went_back_is_a_replay(self, token_store: ITokenStore) -> None:
        """F-26: a clock that is set back an hour does not make ten seconds an hour."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old, retriable_issuance(NOW + 3600))
        assert isinstance(
            await attempt_rotation(token_store, grant, old, retriable_issuance()), Replayed
        )
        assert await is_ended(token_store, grant, old, new)

    async def test_retry_that_is_not_allowed_is_a_replay(self, token_store: ITokenStore) -> None:
        """Both requests must allow it, and an answer must have been kept."""
        for first, second in (
            (retriable_issuance(), new_issuance()),
            (new_issuance(), retriable_issuance()),
            (new_issuance(), new_issuance()),
            (retriable_issuance(), new_issuance(NOW - 5)),
        ):
            grant, old = await redeemed_grant(token_store)
            new = await rotate(token_store, grant, old, first)
            assert isinstance(await attempt_rotation(token_store, grant, old, second), Replayed)
            assert await is_ended(token_store, grant, old, new)

    async def test_retry_with_other_scopes_is_a_replay(self, token_store: ITokenStore) -> None:
        """No scope means those that were granted. Their order does not matter."""
        for first, second, outcome_type in (
            (None, ("write", "read"), RefreshRetried),
            (("read",), ("read",), RefreshRetried),
            (("read",), None, Replayed),
            (None, ("read",), Replayed),
            (("read",), ("write",), Replayed),
            (None, ("admin",), Replayed),
        ):
            grant, old = await redeemed_grant(token_store)
            await rotate(token_store, grant, old, retriable_issuance(), first)
            outcome = await attempt_rotation(token_store, grant, old, retriable_issuance(), second)
            assert isinstance(outcome, outcome_type), (first, second)

    async def test_retry_of_an_older_refresh_token_is_a_replay(self, token_store: ITokenStore) -> None:
        """RT-12: only the last used refresh token may be retried."""
        grant, first = await redeemed_grant(token_store)
        second = await rotate(token_store, grant, first, retriable_issuance())
        third = await rotate(token_store, grant, second, retriable_issuance())
        assert isinstance(
            await attempt_rotation(token_store, grant, second, retriable_issuance()), RefreshRetried
        )
        assert isinstance(
            await attempt_rotation(token_store, grant, first, retriable_issuance()), Replayed
        )
        assert await is_ended(token_store, grant, first, second, third)

    async def test_retry_after_its_successor_was_used_is_a_replay(
        self, token_store: ITokenStore
    ) -> None:
        """A client that uses the next refresh token has got the answer."""
        grant, first = await redeemed_grant(token_store)
        second = await rotate(token_store, grant, first, retriable_issuance())
        third = await rotate(token_store, grant, second, new_issuance())
        assert isinstance(
            await attempt_rotation(token_store, grant, first, retriable_issuance()), Replayed
        )
        assert await is_ended(token_store, grant, first, second, third)

    async def test_retry_by_another_client_is_refused(self, token_store: ITokenStore) -> None:
        """The grant stays valid."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old, retriable_issuance())
        thief = attrs.evolve(grant, client_id="other")
        assert isinstance(await attempt_rotation(token_store, thief, old, retriable_issuance()), Refused)
        assert await is_valid(token_store, new)

    async def test_retry_after_revocation_is_refused(self, token_store: ITokenStore) -> None:
        """RT-11: however soon it comes."""
        grant, old = await redeemed_grant(token_store)
        await rotate(token_store, grant, old, retriable_issuance())
        assert await token_store.revoke_grant(grant.id)
        assert await attempt_rotation(token_store, grant, old, retriable_issuance()) == Unknown()
        grant, old = await redeemed_grant(token_store)
        await rotate(token_store, grant, old, retriable_issuance())
        await token_store.end_refresh_tokens(grant.owner.username)
        outcome = await attempt_rotation(token_store, grant, old, retriable_issuance())
        assert not isinstance(outcome, Issued | RefreshRetried)
