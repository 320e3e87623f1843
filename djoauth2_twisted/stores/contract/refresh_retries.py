"""The contract of refreshes that are retried within ``REFRESH_RETRY_SECONDS``."""

from __future__ import annotations

import attrs

from ...interfaces import ITokenStore
from ...models import Issued, RefreshRetried, Refused, Replayed, Unknown
from .samples import NOW, new_issuance, retriable_issuance
from .steps import attempt_rotation, is_ended, is_valid, redeemed_grant, rotate


class RefreshRetryContract:
    """What a token store promises of retries."""

    async def test_retry(self, token_store: ITokenStore) -> None:
        """RT-12, RT-16: the same request gets the same answer, as often as it comes in time."""
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

    async def test_retry_too_late(self, token_store: ITokenStore) -> None:
        """At the very second that the time for a retry is over, it is a replay."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old, retriable_issuance(NOW + 50))
        assert isinstance(
            await attempt_rotation(token_store, grant, old, retriable_issuance(NOW + 60)), Replayed
        )
        assert await is_ended(token_store, grant, old, new)

    async def test_retry_where_the_clock_went_back(self, token_store: ITokenStore) -> None:
        """F-26: a clock that is set back an hour does not make an hour of ten seconds."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old, retriable_issuance(NOW + 3600))
        assert isinstance(
            await attempt_rotation(token_store, grant, old, retriable_issuance()), Replayed
        )
        assert await is_ended(token_store, grant, old, new)

    async def test_retry_where_none_is_allowed(self, token_store: ITokenStore) -> None:
        """Without seconds for it, or without an answer that was kept, there is no retry."""
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

    async def test_retry_with_other_scopes(self, token_store: ITokenStore) -> None:
        """The answer is given again to the same request alone; None means those that were granted."""
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

    async def test_retry_of_an_older_generation(self, token_store: ITokenStore) -> None:
        """RT-12: the immediate predecessor alone may be used again."""
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

    async def test_retry_after_its_successor_was_used(self, token_store: ITokenStore) -> None:
        """Who has the next answer has had this one: it is forgotten."""
        grant, first = await redeemed_grant(token_store)
        second = await rotate(token_store, grant, first, retriable_issuance())
        third = await rotate(token_store, grant, second, new_issuance())
        assert isinstance(
            await attempt_rotation(token_store, grant, first, retriable_issuance()), Replayed
        )
        assert await is_ended(token_store, grant, first, second, third)

    async def test_retry_by_another_client(self, token_store: ITokenStore) -> None:
        """The kept answer is for the client that it was given to."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old, retriable_issuance())
        thief = attrs.evolve(grant, client_id="other")
        assert isinstance(await attempt_rotation(token_store, thief, old, retriable_issuance()), Refused)
        assert await is_valid(token_store, new)

    async def test_retry_after_the_end(self, token_store: ITokenStore) -> None:
        """RT-11: what was ended is not given again, however soon."""
        grant, old = await redeemed_grant(token_store)
        await rotate(token_store, grant, old, retriable_issuance())
        assert await token_store.revoke_grant(grant.id)
        assert await attempt_rotation(token_store, grant, old, retriable_issuance()) == Unknown()
        grant, old = await redeemed_grant(token_store)
        await rotate(token_store, grant, old, retriable_issuance())
        await token_store.end_refresh_tokens(grant.owner.username)
        outcome = await attempt_rotation(token_store, grant, old, retriable_issuance())
        assert not isinstance(outcome, Issued | RefreshRetried)
