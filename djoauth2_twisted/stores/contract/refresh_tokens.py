"""The contract of refresh tokens."""

from __future__ import annotations

import attrs

from ...errors import AlreadyExists
from ...interfaces import ITokenStore
from ...models import (
    AccessToken,
    Expired,
    GrantFilter,
    Issued,
    Page,
    RefreshProof,
    Refused,
    Replayed,
    Unknown,
)
from .samples import (
    ACCESS_LIFETIME,
    NOT_UTF_8,
    NOW,
    REFRESH_LIFETIME,
    family_of,
    new_issuance,
    pair_of,
    proof_of,
    random_digest,
)
from .steps import (
    add_grant,
    assert_fails,
    attempt_rotation,
    is_ended,
    is_valid,
    redeem,
    redeemed_grant,
    rotate,
)


class RefreshTokenContract:
    """What a token store promises of refresh tokens."""

    async def test_refresh_token_is_rotated_to_a_new_pair(self, token_store: ITokenStore) -> None:
        """RT-01: both tokens of the old pair end."""
        grant, old = await redeemed_grant(token_store)
        issuance = new_issuance(NOW + 100)
        outcome = await attempt_rotation(token_store, grant, old, issuance)
        assert isinstance(outcome, Issued)
        assert outcome.pair == pair_of(grant, issuance, predecessor=old.refresh_digest)
        assert outcome.grant.family_digest == family_of(grant)
        assert (outcome.grant.last_used, outcome.grant.code_used) == (NOW + 100, True)
        assert outcome.grant.expires == NOW + 100 + REFRESH_LIFETIME
        assert await token_store.grants(GrantFilter(), Page()) == [outcome.grant]
        assert not await is_valid(token_store, old)
        found = await token_store.find_access_token(issuance.access_digest)
        assert found == AccessToken(
            client_id=grant.client_id,
            user=grant.owner,
            scopes=grant.scopes,
            issued=NOW + 100,
            expires=NOW + 100 + ACCESS_LIFETIME,
            grant_id=grant.id,
        )

    async def test_grant_of_a_refresh_token_is_found_until_it_is_used(
        self, token_store: ITokenStore
    ) -> None:
        """Nothing else has one: not an access token, a code, or a token whose grant is revoked."""
        grant, old = await redeemed_grant(token_store)
        assert old.refresh_digest is not None
        found = await token_store.find_refresh_grant(old.refresh_digest)
        assert found is not None
        assert (found.id, found.owner, found.code_used) == (grant.id, grant.owner, True)
        for other in (old.access_digest, grant.code_digest, family_of(grant), random_digest()):
            assert await token_store.find_refresh_grant(other) is None
        new = new_issuance(NOW + 1)
        await rotate(token_store, grant, old, new)
        assert new.refresh_digest is not None
        assert await token_store.find_refresh_grant(old.refresh_digest) is None
        assert await token_store.find_refresh_grant(new.refresh_digest) is not None
        await token_store.revoke_grant(grant.id)
        assert await token_store.find_refresh_grant(new.refresh_digest) is None

    async def test_rotation_never_shortens_the_grant(self, token_store: ITokenStore) -> None:
        """A grant lives as long as the last of all that was issued for it."""
        grant, first = await redeemed_grant(token_store)
        last = new_issuance(access_expires=NOW + 1, refresh_digest=None, refresh_expires=None)
        await rotate(token_store, grant, first, last)
        [kept] = await token_store.grants(GrantFilter(), Page())
        assert kept.expires == NOW + REFRESH_LIFETIME

    async def test_only_the_last_of_many_rotations_is_valid(self, token_store: ITokenStore) -> None:
        """Ten pairs were issued one after the other."""
        grant, pair = await redeemed_grant(token_store)
        line = [pair]
        for number in range(1, 10):
            line.append(await rotate(token_store, grant, line[-1], new_issuance(NOW + number)))
        assert [await is_valid(token_store, pair) for pair in line] == [False] * 9 + [True]

    async def test_narrower_scope_is_that_of_one_access_token(self, token_store: ITokenStore) -> None:
        """RT-07: the grant keeps its scopes, and the next rotation issues all of them."""
        grant, first = await redeemed_grant(token_store)
        narrow = await rotate(token_store, grant, first, scopes=("write",))
        found = await token_store.find_access_token(narrow.access_digest)
        assert found is not None
        assert found.scopes == narrow.scopes == ("write",)
        full = await rotate(token_store, grant, narrow)
        found = await token_store.find_access_token(full.access_digest)
        assert found is not None
        assert found.scopes == full.scopes == grant.scopes

    async def test_rotation_gives_the_scopes_that_the_client_may_still_have(
        self, token_store: ITokenStore
    ) -> None:
        """The grant keeps what the owner has allowed. Where nothing is left, the token stays."""
        grant, first = await redeemed_grant(token_store)
        assert first.refresh_digest is not None
        family = family_of(grant)
        for left, scopes in (((), None), (("write", "other"), ("write",))):
            proof = RefreshProof(grant.client_id, None, client_scopes=left)
            issuance = new_issuance(family_digest=family)
            outcome = await token_store.rotate_refresh_token(first.refresh_digest, proof, issuance)
            found = await token_store.find_access_token(issuance.access_digest)
            if scopes is None:
                assert isinstance(outcome, Refused)
                assert outcome.invalid_scope
                assert found is None
                assert await is_valid(token_store, first)
            else:
                assert isinstance(outcome, Issued)
                assert found is not None
                assert found.scopes == outcome.pair.scopes == scopes
                assert outcome.grant.scopes == grant.scopes
                full = await rotate(token_store, grant, outcome.pair)
                assert full.scopes == grant.scopes

    async def test_order_of_scopes_does_not_matter_in_a_rotation(self, token_store: ITokenStore) -> None:
        """RT-07."""
        grant, pair = await redeemed_grant(token_store)
        scopes = tuple(reversed(grant.scopes))
        assert set((await rotate(token_store, grant, pair, scopes=scopes)).scopes) == set(scopes)

    async def test_scope_that_was_not_granted_is_refused(self, token_store: ITokenStore) -> None:
        """RT-07, RT-09: the refresh token stays valid."""
        grant, pair = await redeemed_grant(token_store)
        for scopes in (("read", "write", "admin"), ("admin",), ("READ",), ("rea",)):
            outcome = await attempt_rotation(token_store, grant, pair, scopes=scopes)
            assert isinstance(outcome, Refused)
            assert outcome.invalid_scope
        assert await is_valid(token_store, pair)
        await rotate(token_store, grant, pair)

    async def test_refresh_token_of_another_client_is_refused(self, token_store: ITokenStore) -> None:
        """RT-09: it stays valid for its own client."""
        grant, pair = await redeemed_grant(token_store)
        for client_id in ("other", "CLIENT", "client ", NOT_UTF_8):
            thief = attrs.evolve(grant, client_id=client_id)
            outcome = await attempt_rotation(token_store, thief, pair)
            assert isinstance(outcome, Refused)
            assert not outcome.invalid_scope
        assert await is_valid(token_store, pair)
        await rotate(token_store, grant, pair)

    async def test_refresh_token_expires(self, token_store: ITokenStore) -> None:
        """It is valid until the second before its expiry."""
        grant, pair = await redeemed_grant(token_store)
        assert pair.refresh_expires is not None
        for late in (0, 1, 10_000):
            issuance = new_issuance(pair.refresh_expires + late)
            assert await attempt_rotation(token_store, grant, pair, issuance) == Expired()
        await rotate(token_store, grant, pair, new_issuance(pair.refresh_expires - 1))

    async def test_refresh_token_used_twice_revokes_the_grant(self, token_store: ITokenStore) -> None:
        """RT-04, RT-05: the grant stays revoked."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old)
        issuance = new_issuance()
        outcome = await attempt_rotation(token_store, grant, old, issuance)
        assert isinstance(outcome, Replayed)
        assert (outcome.grant.id, outcome.grant.revoked) == (grant.id, True)
        assert await token_store.find_access_token(issuance.access_digest) is None
        assert await is_ended(token_store, grant, old, new)

    async def test_older_refresh_token_revokes_the_grant(self, token_store: ITokenStore) -> None:
        """RT-13: the first of three was used, too."""
        grant, first = await redeemed_grant(token_store)
        second = await rotate(token_store, grant, first)
        third = await rotate(token_store, grant, second)
        assert isinstance(await attempt_rotation(token_store, grant, first), Replayed)
        assert await is_ended(token_store, grant, first, second, third)

    async def test_refresh_token_used_long_ago_revokes_the_grant(self, token_store: ITokenStore) -> None:
        """RT-13: however many rotations followed, and however long ago it was."""
        for generation in (0, 1, 20, 38, 39):
            grant, pair = await redeemed_grant(token_store)
            line = [pair]
            for number in range(1, 41):
                issuance = new_issuance(NOW + 3600 * number)
                line.append(await rotate(token_store, grant, line[-1], issuance))
            thief = attrs.evolve(grant, client_id="other")
            assert isinstance(await attempt_rotation(token_store, thief, line[generation]), Refused)
            assert await is_valid(token_store, line[-1])
            late = new_issuance(NOW + 3600 * 50)
            assert isinstance(
                await attempt_rotation(token_store, grant, line[generation], late), Replayed
            )
            assert await is_ended(token_store, grant, *line)

    async def test_unknown_refresh_token_revokes_nothing(self, token_store: ITokenStore) -> None:
        """RT-02: it was never issued and belongs to no family."""
        grant, pair = await redeemed_grant(token_store)
        for family in (random_digest(), None):
            issuance = new_issuance(family_digest=family)
            proof = RefreshProof(grant.client_id, None)
            outcome = await token_store.rotate_refresh_token(random_digest(), proof, issuance)
            assert outcome == Unknown()
        assert await is_valid(token_store, pair)
        await rotate(token_store, grant, pair)

    async def test_replay_revokes_its_own_grant_alone(self, token_store: ITokenStore) -> None:
        """Other grants of the same user and client stay valid."""
        begun = [await redeemed_grant(token_store) for _ in range(3)]
        lines = [(grant, old, await rotate(token_store, grant, old)) for grant, old in begun]
        grant, old, new = lines.pop(1)
        assert isinstance(await attempt_rotation(token_store, grant, old), Replayed)
        assert await is_ended(token_store, grant, old, new)
        for grant, _, new in lines:
            await rotate(token_store, grant, new)

    async def test_family_that_is_taken_is_refused(self, token_store: ITokenStore) -> None:
        """Nothing is changed: the code can be redeemed with another family."""
        grant, pair = await redeemed_grant(token_store)
        other = await add_grant(token_store)
        issuance = new_issuance(family_digest=family_of(grant))
        await assert_fails(
            AlreadyExists, token_store.redeem_code(other.code_digest, proof_of(other), issuance)
        )
        assert await token_store.find_access_token(issuance.access_digest) is None
        await rotate(token_store, other, await redeem(token_store, other))
        await rotate(token_store, grant, pair)

    async def test_used_refresh_token_is_known_after_its_expiry(self, token_store: ITokenStore) -> None:
        """It is known as long as its grant lives."""
        grant, old = await redeemed_grant(token_store)
        assert old.refresh_expires is not None
        new = await rotate(token_store, grant, old, new_issuance(old.refresh_expires - 1))
        outcome = await attempt_rotation(token_store, grant, old, new_issuance(old.refresh_expires + 1))
        assert isinstance(outcome, Replayed)
        assert await is_ended(token_store, grant, old, new)

    async def test_used_refresh_token_of_another_client_revokes_nothing(
        self, token_store: ITokenStore
    ) -> None:
        """Only its own client can revoke the grant with it."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old)
        thief = attrs.evolve(grant, client_id="other")
        assert isinstance(await attempt_rotation(token_store, thief, old), Refused)
        assert await is_valid(token_store, new)
        await rotate(token_store, grant, new)
