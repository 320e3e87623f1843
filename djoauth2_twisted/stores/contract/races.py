"""The contract of steps that are taken at the same moment, and of steps that are cancelled."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults

from ...interfaces import ITokenStore
from ...models import Issued, RefreshRetried, Refused, Replayed, Unknown
from .samples import CROWDS, new_grant, new_issuance, proof_of, random_digest, retriable_issuance
from .steps import (
    add_grant,
    at_once,
    attempt_rotation,
    cancelled,
    is_ended,
    is_valid,
    of_type,
    redeem,
    redeemed_grant,
)


class RaceContract:
    """What a token store promises of races and cancellation."""

    async def test_one_of_many_redemptions_of_a_code_wins(self, token_store: ITokenStore) -> None:
        """CC-01: the others are replays, so that nothing stays valid."""
        for crowd in CROWDS:
            grant = await add_grant(token_store)
            issuances = [new_issuance() for _ in range(crowd)]
            outcomes = await at_once(
                token_store.redeem_code(grant.code_digest, proof_of(grant), issuance)
                for issuance in issuances
            )
            [issued] = of_type(outcomes, Issued)
            assert len(of_type(outcomes, Replayed)) == 1
            assert outcomes.count(Unknown()) == crowd - 2
            assert await is_ended(token_store, grant, issued.pair)
            for issuance in issuances:
                assert await token_store.find_access_token(issuance.access_digest) is None

    async def test_code_renewed_and_redeemed_at_once(self, token_store: ITokenStore) -> None:
        """UI-07, CC-01: in whichever order the store takes the steps, one code is exchanged, once."""
        for crowd in CROWDS:
            grant = await add_grant(token_store)
            renewed = [attrs.evolve(grant, code_digest=random_digest()) for _ in range(crowd)]
            steps: list[Deferred[Any]] = [token_store.renew_code(each) for each in renewed]
            redeeming = token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())
            steps.insert(crowd // 2, redeeming)
            outcomes = await at_once(steps)
            is_renewed = outcomes.count(True) > 0
            assert len(of_type(outcomes, Issued)) == (0 if is_renewed else 1)
            later = [
                await token_store.redeem_code(each.code_digest, proof_of(grant), new_issuance())
                for each in renewed
            ]
            assert len(of_type(later, Issued)) == (1 if is_renewed else 0)
            assert len(of_type(later, Unknown)) == (crowd - 1 if is_renewed else crowd)

    async def test_redemptions_of_many_codes_do_not_mix(self, token_store: ITokenStore) -> None:
        """CC-09: each client gets the tokens of its grant."""
        made = [await add_grant(token_store, client_id=f"client {number}") for number in range(50)]
        outcomes = await at_once(
            token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance()) for grant in made
        )
        issued = of_type(outcomes, Issued)
        assert [outcome.grant.id for outcome in issued] == [grant.id for grant in made]
        for grant, outcome in zip(made, issued, strict=True):
            found = await token_store.find_access_token(outcome.pair.access_digest)
            assert found is not None
            assert (found.client_id, found.grant_id) == (grant.client_id, grant.id)

    async def test_redemptions_by_other_clients_do_not_disturb(self, token_store: ITokenStore) -> None:
        """CG-03: the code's own client gets its tokens."""
        for crowd in CROWDS:
            grant = await add_grant(token_store)
            proofs = [proof_of(grant, client_id=f"thief {number}") for number in range(crowd)]
            proofs.insert(crowd // 2, proof_of(grant))
            outcomes = await at_once(
                token_store.redeem_code(grant.code_digest, proof, new_issuance()) for proof in proofs
            )
            assert len(of_type(outcomes, Refused)) == crowd
            [issued] = of_type(outcomes, Issued)
            assert await is_valid(token_store, issued.pair)

    async def test_one_of_many_rotations_of_a_refresh_token_wins(self, token_store: ITokenStore) -> None:
        """CC-02: the others are replays, so that nothing stays valid."""
        for crowd in CROWDS:
            grant, old = await redeemed_grant(token_store)
            outcomes = await at_once(attempt_rotation(token_store, grant, old) for _ in range(crowd))
            [issued] = of_type(outcomes, Issued)
            assert len(of_type(outcomes, Replayed)) == 1
            assert outcomes.count(Unknown()) == crowd - 2
            assert await is_ended(token_store, grant, old, issued.pair)

    async def test_many_retries_at_once_get_one_answer(self, token_store: ITokenStore) -> None:
        """CC-02: that of the rotation that won."""
        for crowd in CROWDS:
            grant, old = await redeemed_grant(token_store)
            issuances = [retriable_issuance() for _ in range(crowd)]
            outcomes = await at_once(
                attempt_rotation(token_store, grant, old, issuance) for issuance in issuances
            )
            [issued] = of_type(outcomes, Issued)
            repeated = [outcome.pair for outcome in of_type(outcomes, RefreshRetried)]
            assert repeated == [issued.pair] * (crowd - 1)
            found = [
                await token_store.find_access_token(issuance.access_digest) for issuance in issuances
            ]
            assert found.count(None) == crowd - 1
            assert await is_valid(token_store, issued.pair)

    async def test_nothing_is_valid_after_rotation_and_revocation(
        self, token_store: ITokenStore
    ) -> None:
        """CC-03: in whichever order the store takes them."""
        for crowd in CROWDS:
            grant, old = await redeemed_grant(token_store)
            digest = old.refresh_digest
            assert digest is not None
            steps: list[Deferred[Any]] = []
            for number in range(crowd):
                if number == crowd // 2:
                    steps.append(token_store.revoke(digest, grant.client_id))
                steps.append(attempt_rotation(token_store, grant, old))
            pairs = [issued.pair for issued in of_type(await at_once(steps), Issued)]
            assert len(pairs) <= 1
            assert await is_ended(token_store, grant, old, *pairs)

    async def test_nothing_is_valid_after_redemption_and_revocation(
        self, token_store: ITokenStore
    ) -> None:
        """CC-06: in whichever order the store takes them."""
        for crowd, turn in itertools.product(CROWDS, (0, 1)):
            grant = await add_grant(token_store)
            steps: list[Deferred[Any]] = []
            for number in range(crowd):
                if number == turn:
                    steps.append(token_store.revoke_grants(username=grant.owner.username))
                steps.append(token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance()))
            pairs = [issued.pair for issued in of_type(await at_once(steps), Issued)]
            assert len(pairs) <= 1
            assert await is_ended(token_store, grant, *pairs)

    async def test_one_of_many_grants_of_one_id_is_kept(self, token_store: ITokenStore) -> None:
        """It is the one for which the store has answered so."""
        for crowd in CROWDS:
            first = new_grant()
            grants = [attrs.evolve(first, code_digest=random_digest()) for _ in range(crowd)]
            kept = await at_once(token_store.add_code(grant) for grant in grants)
            assert kept.count(True) == 1
            await redeem(token_store, grants[kept.index(True)])

    async def test_cancelled_redemption_is_whole_or_not_taken(self, token_store: ITokenStore) -> None:
        """CC-08: the next redemption shows which."""
        for number in range(20):
            grant, issuance = await add_grant(token_store), new_issuance()
            await cancelled(
                token_store.redeem_code(grant.code_digest, proof_of(grant), issuance), number
            )
            again = new_issuance()
            outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), again)
            assert isinstance(outcome, Issued | Replayed)
            assert await token_store.find_access_token(issuance.access_digest) is None
            found = await token_store.find_access_token(again.access_digest)
            assert (found is not None) == isinstance(outcome, Issued)

    async def test_cancelled_rotation_is_whole_or_not_taken(self, token_store: ITokenStore) -> None:
        """CC-08: the next rotation shows which."""
        for number in range(20):
            grant, old = await redeemed_grant(token_store)
            issuance, again = new_issuance(), new_issuance()
            await cancelled(attempt_rotation(token_store, grant, old, issuance), number)
            outcome = await attempt_rotation(token_store, grant, old, again)
            assert isinstance(outcome, Issued | Replayed)
            assert not await is_valid(token_store, old)
            assert await token_store.find_access_token(issuance.access_digest) is None
            found = await token_store.find_access_token(again.access_digest)
            assert (found is not None) == isinstance(outcome, Issued)

    async def test_cancelled_revocation_can_be_repeated(self, token_store: ITokenStore) -> None:
        """CC-08: the next revocation ends what is left."""
        for number in range(20):
            grant, pair = await redeemed_grant(token_store)
            await cancelled(token_store.revoke_grant(grant.id), number)
            await token_store.revoke_grant(grant.id)
            assert await is_ended(token_store, grant, pair)

    async def test_cancelled_look_up_does_not_disturb_the_next(self, token_store: ITokenStore) -> None:
        """CC-08."""
        _, pair = await redeemed_grant(token_store)
        for number in range(20):
            await cancelled(token_store.find_access_token(pair.access_digest), number)
            assert await is_valid(token_store, pair)

    async def test_cancelled_steps_do_not_disturb_others(self, token_store: ITokenStore) -> None:
        """CC-08: others that were taken at the same moment are answered."""
        made = [await add_grant(token_store) for _ in range(50)]
        redemptions = [
            token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance()) for grant in made
        ]
        cancellations = [cancelled(redemption, 0) for redemption in redemptions[::2]]
        for outcome in await gatherResults(redemptions[1::2], consumeErrors=True):
            assert isinstance(outcome, Issued)
            assert await is_valid(token_store, outcome.pair)
        await gatherResults(cancellations, consumeErrors=True)
        for grant in made[::2]:
            outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())
            assert isinstance(outcome, Issued | Replayed)
