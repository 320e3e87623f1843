"""The contract of pruning in a token store."""

from __future__ import annotations

from ...interfaces import ITokenStore
from ...models import GrantFilter, RefreshRetried, Replayed, ResourceOwner, Unknown
from .samples import NOW, REFRESH_LIFETIME, new_issuance, proof_of, retriable_issuance
from .steps import (
    add_grant,
    attempt_rotation,
    grant_ids,
    is_ended,
    is_valid,
    redeem,
    redeemed_grant,
    rotate,
)


class PruningContract:
    """What a token store promises of pruning."""

    async def test_expired_grants_are_pruned(self, token_store: ITokenStore) -> None:
        """They are from the second of their expiry on."""
        expired = await add_grant(token_store, expires=NOW, code_expires=NOW)
        alive = await add_grant(token_store, expires=NOW + 1, code_expires=NOW + 1)
        assert await token_store.prune(NOW - 1, 10) == 0
        assert await token_store.prune(NOW, 10) == 1
        assert await token_store.prune(NOW, 10) == 0
        assert await grant_ids(token_store, GrantFilter()) == [alive.id]
        outcome = await token_store.redeem_code(
            expired.code_digest, proof_of(expired), new_issuance(NOW - 5)
        )
        assert outcome == Unknown()
        assert await token_store.add_code(expired)

    async def test_pruned_grant_takes_its_tokens_along(self, token_store: ITokenStore) -> None:
        """Its digests can be used again."""
        grant, first = await redeemed_grant(token_store)
        second = await rotate(token_store, grant, first)
        assert await token_store.prune(NOW + REFRESH_LIFETIME - 1, 10) == 0
        assert 0 < await token_store.prune(NOW + REFRESH_LIFETIME, 10) < 10
        assert await is_ended(token_store, grant, first, second)
        assert await token_store.revoke(second.access_digest, grant.client_id) is None
        assert await token_store.revoke_grant(grant.id) is False
        assert await token_store.add_code(grant)
        again = new_issuance(access_digest=second.access_digest, refresh_digest=first.refresh_digest)
        assert await is_valid(token_store, await redeem(token_store, grant, again))

    async def test_revoked_grants_may_be_pruned_at_once(self, token_store: ITokenStore) -> None:
        """Others stay."""
        grant, pair = await redeemed_grant(token_store)
        alive, living = await redeemed_grant(token_store)
        assert await token_store.revoke_grant(grant.id)
        await token_store.prune(NOW, 10)
        assert await is_ended(token_store, grant, pair)
        assert await is_valid(token_store, living)
        await rotate(token_store, alive, living)

    async def test_pruning_deletes_no_more_than_asked_for(self, token_store: ITokenStore) -> None:
        """It deletes fewer only at the end."""
        for _ in range(7):
            await redeemed_grant(token_store, owner=ResourceOwner("pruned"))
        await add_grant(token_store, expires=NOW + 2 * REFRESH_LIFETIME)
        later = NOW + REFRESH_LIFETIME
        pruned = [3]
        while pruned[-1] == 3:
            left = len(await grant_ids(token_store, GrantFilter()))
            pruned.append(await token_store.prune(later, 3))
            assert left - len(await grant_ids(token_store, GrantFilter())) <= pruned[-1] <= 3
        assert sum(pruned[1:]) >= 7
        assert await token_store.prune(later, 3) == 0
        assert len(await grant_ids(token_store, GrantFilter())) == 1

    async def test_kept_answers_are_pruned(self, token_store: ITokenStore) -> None:
        """RT-16: the grant stays."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old, retriable_issuance())
        await token_store.prune(NOW + 9, 10)
        assert isinstance(
            await attempt_rotation(token_store, grant, old, retriable_issuance()), RefreshRetried
        )
        await token_store.prune(NOW + 10, 10)
        assert await token_store.prune(NOW + 10, 10) == 0
        await rotate(token_store, grant, new)

    async def test_used_codes_and_refresh_tokens_are_not_pruned(self, token_store: ITokenStore) -> None:
        """CG-07: they are known to be used as long as their grant lives."""
        by_code, first = await redeemed_grant(token_store)
        by_refresh, old = await redeemed_grant(token_store)
        second = await rotate(token_store, by_code, first)
        new = await rotate(token_store, by_refresh, old)
        assert await token_store.prune(NOW + REFRESH_LIFETIME - 1, 100) == 0
        outcome = await token_store.redeem_code(by_code.code_digest, proof_of(by_code), new_issuance())
        assert isinstance(outcome, Replayed)
        assert await is_ended(token_store, by_code, first, second)
        assert isinstance(await attempt_rotation(token_store, by_refresh, old), Replayed)
        assert await is_ended(token_store, by_refresh, old, new)
