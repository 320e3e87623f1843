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

    async def test_rotate(self, token_store: ITokenStore) -> None:
        """RT-01: a new pair is issued, and both tokens of the old one are dead."""
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

    async def test_rotate_never_shortens_the_grant(self, token_store: ITokenStore) -> None:
        """A grant is kept as long as the last of all that it ever issued."""
        grant, first = await redeemed_grant(token_store)
        last = new_issuance(access_expires=NOW + 1, refresh_digest=None, refresh_expires=None)
        await rotate(token_store, grant, first, last)
        [kept] = await token_store.grants(GrantFilter(), Page())
        assert kept.expires == NOW + REFRESH_LIFETIME

    async def test_rotate_many_times(self, token_store: ITokenStore) -> None:
        """Of a long line of pairs, the last alone is good."""
        grant, pair = await redeemed_grant(token_store)
        line = [pair]
        for number in range(1, 10):
            line.append(await rotate(token_store, grant, line[-1], new_issuance(NOW + number)))
        assert [await is_valid(token_store, pair) for pair in line] == [False] * 9 + [True]

    async def test_rotate_to_fewer_scopes(self, token_store: ITokenStore) -> None:
        """RT-07: a narrower scope is that of one access token; the grant keeps its own."""
        grant, first = await redeemed_grant(token_store)
        narrow = await rotate(token_store, grant, first, scopes=("write",))
        found = await token_store.find_access_token(narrow.access_digest)
        assert found is not None
        assert found.scopes == narrow.scopes == ("write",)
        full = await rotate(token_store, grant, narrow)
        found = await token_store.find_access_token(full.access_digest)
        assert found is not None
        assert found.scopes == full.scopes == grant.scopes

    async def test_rotate_with_scopes_in_another_order(self, token_store: ITokenStore) -> None:
        """RT-07: the order of scopes means nothing."""
        grant, pair = await redeemed_grant(token_store)
        scopes = tuple(reversed(grant.scopes))
        assert set((await rotate(token_store, grant, pair, scopes=scopes)).scopes) == set(scopes)

    async def test_rotate_to_more_scopes(self, token_store: ITokenStore) -> None:
        """RT-07, RT-09: what was not granted is refused, and the refresh token stays good."""
        grant, pair = await redeemed_grant(token_store)
        for scopes in (("read", "write", "admin"), ("admin",), ("READ",), ("rea",)):
            outcome = await attempt_rotation(token_store, grant, pair, scopes=scopes)
            assert isinstance(outcome, Refused)
            assert outcome.invalid_scope
        assert await is_valid(token_store, pair)
        await rotate(token_store, grant, pair)

    async def test_rotate_by_another_client(self, token_store: ITokenStore) -> None:
        """RT-09: a stolen refresh token is of no use, and the theft does its owner no harm."""
        grant, pair = await redeemed_grant(token_store)
        for client_id in ("other", "CLIENT", "client ", NOT_UTF_8):
            thief = attrs.evolve(grant, client_id=client_id)
            outcome = await attempt_rotation(token_store, thief, pair)
            assert isinstance(outcome, Refused)
            assert not outcome.invalid_scope
        assert await is_valid(token_store, pair)
        await rotate(token_store, grant, pair)

    async def test_rotate_at_the_last_second(self, token_store: ITokenStore) -> None:
        """A refresh token is good before its time is over, and expired at that very second."""
        grant, pair = await redeemed_grant(token_store)
        assert pair.refresh_expires is not None
        for late in (0, 1, 10_000):
            issuance = new_issuance(pair.refresh_expires + late)
            assert await attempt_rotation(token_store, grant, pair, issuance) == Expired()
        await rotate(token_store, grant, pair, new_issuance(pair.refresh_expires - 1))

    async def test_rotate_twice(self, token_store: ITokenStore) -> None:
        """RT-04, RT-05: a refresh token used again ends the whole grant, and it stays ended."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old)
        issuance = new_issuance()
        outcome = await attempt_rotation(token_store, grant, old, issuance)
        assert isinstance(outcome, Replayed)
        assert (outcome.grant.id, outcome.grant.revoked) == (grant.id, True)
        assert await token_store.find_access_token(issuance.access_digest) is None
        assert await is_ended(token_store, grant, old, new)

    async def test_rotate_an_older_generation(self, token_store: ITokenStore) -> None:
        """RT-13: the first of three is known as used, too."""
        grant, first = await redeemed_grant(token_store)
        second = await rotate(token_store, grant, first)
        third = await rotate(token_store, grant, second)
        assert isinstance(await attempt_rotation(token_store, grant, first), Replayed)
        assert await is_ended(token_store, grant, first, second, third)

    async def test_rotate_what_was_used_long_ago(self, token_store: ITokenStore) -> None:
        """RT-13: however many followed it, and however long ago, by whoever has it in a log."""
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

    async def test_rotate_what_was_made_up(self, token_store: ITokenStore) -> None:
        """RT-02: what was never issued is of no family, is not known, and ends nothing."""
        grant, pair = await redeemed_grant(token_store)
        for family in (random_digest(), None):
            issuance = new_issuance(family_digest=family)
            proof = RefreshProof(grant.client_id, None)
            outcome = await token_store.rotate_refresh_token(random_digest(), proof, issuance)
            assert outcome == Unknown()
        assert await is_valid(token_store, pair)
        await rotate(token_store, grant, pair)

    async def test_families_are_told_apart(self, token_store: ITokenStore) -> None:
        """A token that is used again ends its own grant, and no other of the same user and client."""
        begun = [await redeemed_grant(token_store) for _ in range(3)]
        lines = [(grant, old, await rotate(token_store, grant, old)) for grant, old in begun]
        grant, old, new = lines.pop(1)
        assert isinstance(await attempt_rotation(token_store, grant, old), Replayed)
        assert await is_ended(token_store, grant, old, new)
        for grant, _, new in lines:
            await rotate(token_store, grant, new)

    async def test_a_family_that_is_taken(self, token_store: ITokenStore) -> None:
        """It is as if nothing had been tried: the code is good, with another family."""
        grant, pair = await redeemed_grant(token_store)
        other = await add_grant(token_store)
        issuance = new_issuance(family_digest=family_of(grant))
        await assert_fails(
            AlreadyExists, token_store.redeem_code(other.code_digest, proof_of(other), issuance)
        )
        assert await token_store.find_access_token(issuance.access_digest) is None
        await rotate(token_store, other, await redeem(token_store, other))
        await rotate(token_store, grant, pair)

    async def test_rotate_again_after_it_expired(self, token_store: ITokenStore) -> None:
        """A used refresh token is known as long as what followed it."""
        grant, old = await redeemed_grant(token_store)
        assert old.refresh_expires is not None
        new = await rotate(token_store, grant, old, new_issuance(old.refresh_expires - 1))
        outcome = await attempt_rotation(token_store, grant, old, new_issuance(old.refresh_expires + 1))
        assert isinstance(outcome, Replayed)
        assert await is_ended(token_store, grant, old, new)

    async def test_rotate_again_by_another_client(self, token_store: ITokenStore) -> None:
        """Who is not its client cannot end a grant with a used refresh token."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old)
        thief = attrs.evolve(grant, client_id="other")
        assert isinstance(await attempt_rotation(token_store, thief, old), Refused)
        assert await is_valid(token_store, new)
        await rotate(token_store, grant, new)
