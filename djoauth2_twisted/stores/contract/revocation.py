"""The contract of access tokens and of revocation."""

from __future__ import annotations

import itertools

from twisted.internet.defer import Deferred

from ...interfaces import ITokenStore
from ...models import Grant, GrantFilter, Page, ResourceOwner, TokenPair, Unknown
from .samples import MANY, NOT_UTF_8, NOW, family_of, new_grant, new_issuance, random_digest
from .steps import (
    add_grant,
    at_once,
    attempt_rotation,
    grant_ids,
    is_ended,
    is_valid,
    redeem,
    redeemed_grant,
    rotate,
)


class RevocationContract:
    """What a token store promises of look-ups and revocation."""

    async def test_unknown_access_token_is_not_found(self, token_store: ITokenStore) -> None:
        """BG-03."""
        await redeemed_grant(token_store)
        assert await token_store.find_access_token(random_digest()) is None

    async def test_expired_access_token_is_found(self, token_store: ITokenStore) -> None:
        """The caller judges its expiry."""
        grant = await add_grant(token_store)
        pair = await redeem(token_store, grant, new_issuance(access_expires=NOW - 1))
        found = await token_store.find_access_token(pair.access_digest)
        assert found is not None
        assert found.expires == NOW - 1

    async def test_revoked_access_token_leaves_the_refresh_token(self, token_store: ITokenStore) -> None:
        """RV-01: the access token alone ends."""
        grant, pair = await redeemed_grant(token_store)
        ended = await token_store.revoke(pair.access_digest, grant.client_id)
        assert ended is not None
        assert ended.id == grant.id
        assert not await is_valid(token_store, pair)
        assert await grant_ids(token_store, GrantFilter()) == [grant.id]
        assert await is_valid(token_store, await rotate(token_store, grant, pair))

    async def test_revoked_refresh_token_revokes_its_grant(self, token_store: ITokenStore) -> None:
        """RV-01, RT-18: and no other grant."""
        grant, pair = await redeemed_grant(token_store)
        other, others = await redeemed_grant(token_store)
        assert pair.refresh_digest is not None
        ended = await token_store.revoke(pair.refresh_digest, grant.client_id)
        assert ended is not None
        assert ended.id == grant.id
        assert await is_ended(token_store, grant, pair)
        assert await is_valid(token_store, others)
        assert await grant_ids(token_store, GrantFilter()) == [other.id]

    async def test_used_refresh_token_can_be_revoked(self, token_store: ITokenStore) -> None:
        """A client that lost the answer to its refresh can still end its grant."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old)
        assert old.refresh_digest is not None
        digest, family = old.refresh_digest, family_of(grant)
        assert await token_store.revoke(digest, "other", family) is None
        assert await token_store.revoke(random_digest(), grant.client_id, random_digest()) is None
        assert await is_valid(token_store, new)
        assert await token_store.revoke(digest, grant.client_id, family) is not None
        assert await is_ended(token_store, grant, old, new)

    async def test_token_of_another_client_is_not_revoked(self, token_store: ITokenStore) -> None:
        """RV-03: the store answers as for an unknown token."""
        grant, pair = await redeemed_grant(token_store)
        assert pair.refresh_digest is not None
        for client_id in ("other", "CLIENT", "client ", "", "%", NOT_UTF_8):
            for digest in (pair.access_digest, pair.refresh_digest):
                assert await token_store.revoke(digest, client_id, family_of(grant)) is None
        assert await is_valid(token_store, pair)
        await rotate(token_store, grant, pair)

    async def test_revocation_of_an_unknown_token_changes_nothing(
        self, token_store: ITokenStore
    ) -> None:
        """RV-02: it is not an error."""
        grant, pair = await redeemed_grant(token_store)
        assert await token_store.revoke(random_digest(), grant.client_id) is None
        assert await is_valid(token_store, pair)

    async def test_revocation_can_be_repeated(self, token_store: ITokenStore) -> None:
        """RV-02: it is not an error."""
        grant, pair = await redeemed_grant(token_store)
        assert pair.refresh_digest is not None
        for digest in (pair.access_digest, pair.refresh_digest, pair.access_digest):
            await token_store.revoke(digest, grant.client_id)
            await token_store.revoke(digest, grant.client_id)
        assert await is_ended(token_store, grant, pair)

    async def test_grant_is_revoked_once_with_all_that_belongs_to_it(
        self, token_store: ITokenStore
    ) -> None:
        """Whether its code was used or not."""
        unused = await add_grant(token_store)
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old)
        for ending in (unused, grant):
            assert await token_store.revoke_grant(ending.id) is True
            assert await token_store.revoke_grant(ending.id) is False
        assert await is_ended(token_store, unused)
        assert await is_ended(token_store, grant, old, new)

    async def test_revocation_of_an_unknown_grant_changes_nothing(
        self, token_store: ITokenStore
    ) -> None:
        """An id is compared byte for byte."""
        grant, pair = await redeemed_grant(token_store)
        for grant_id in ("", "%", "_" * len(grant.id), grant.id.swapcase(), grant.id + " ", NOT_UTF_8):
            assert await token_store.revoke_grant(grant_id) is False
        assert await is_valid(token_store, pair)

    async def test_grants_of_a_user_client_and_scope_are_revoked(self, token_store: ITokenStore) -> None:
        """Every combination of the three, and how many grants they were."""
        made = {}
        for user, client, scope in itertools.product("uv", "cd", "rs"):
            made[user + client + scope] = await redeemed_grant(
                token_store, owner=ResourceOwner(user), client_id=client, scopes=("all", scope)
            )

        async def valid_names() -> list[str]:
            return [name for name, (_, pair) in made.items() if await is_valid(token_store, pair)]

        assert await token_store.revoke_grants(username="u", client_id="c", scope="r") == 1
        assert await valid_names() == ["ucs", "udr", "uds", "vcr", "vcs", "vdr", "vds"]
        assert await token_store.revoke_grants(username="u", client_id="c") == 1
        assert await token_store.revoke_grants(scope="s") == 3
        assert await valid_names() == ["udr", "vcr", "vdr"]
        assert await token_store.revoke_grants(username="u") == 1
        assert await token_store.revoke_grants(client_id="c") == 1
        assert await token_store.revoke_grants(client_id="c") == 0
        assert await valid_names() == ["vdr"]
        assert await token_store.revoke_grants() == 1
        assert await valid_names() == []

    async def test_many_grants_are_revoked_and_counted(self, token_store: ITokenStore) -> None:
        """More than one step revokes. Grants of another client stay valid."""
        _, kept = await redeemed_grant(token_store, client_id="another", scopes=("read",))
        for _ in range(MANY // 50):
            grants = [new_grant(client_id="popular", scopes=("all", "read")) for _ in range(50)]
            assert await at_once([token_store.add_code(grant) for grant in grants]) == [True] * 50
        assert await token_store.count_grants(scope="all") == MANY
        assert await token_store.revoke_grants(client_id="popular") == MANY
        assert await token_store.count_grants(client_id="popular", scope="all") == 0
        assert await token_store.grants(GrantFilter(client_id="popular"), Page()) == []
        assert await is_valid(token_store, kept)

    async def test_scope_of_grants_to_revoke_is_matched_exactly(self, token_store: ITokenStore) -> None:
        """DB-11, AZ-22: byte for byte, wherever it is in the grant's scopes."""
        names = ("read", "Read", "reader", "re", "r%", "r_ad", "%", "_", "re/ad", "[a-z]*", "*")
        made = {
            name: await redeemed_grant(token_store, scopes=("first", name, "last")) for name in names
        }
        for name in ("rea", "READ", "", "%%", "read reader", "first last"):
            assert await token_store.revoke_grants(scope=name) == 0, name
        left = list(names)
        for name in names:
            assert await token_store.revoke_grants(scope=name) == 1, name
            left.remove(name)
            assert left == [other for other in names if await is_valid(token_store, made[other][1])]
        alone, _ = await redeemed_grant(token_store, scopes=("read",))
        assert await token_store.revoke_grants(scope="read") == 1
        assert await is_ended(token_store, alone)

    async def test_refresh_tokens_of_a_user_end_and_access_tokens_stay(
        self, token_store: ITokenStore
    ) -> None:
        """RT-14: unused codes end as well."""
        unused = await add_grant(token_store)
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old)
        others = [
            await redeemed_grant(token_store, owner=ResourceOwner(name))
            for name in ("User", "user ", "use", "%", "_ser")
        ]
        await token_store.end_refresh_tokens("user")
        assert await is_ended(token_store, unused)
        for ended in (new, old, new):
            assert await attempt_rotation(token_store, grant, ended) == Unknown()
        assert await is_valid(token_store, new)
        assert not await is_valid(token_store, old)
        assert grant.id in await grant_ids(token_store, GrantFilter())
        for other, pair in others:
            await rotate(token_store, other, pair)
        await token_store.end_refresh_tokens("user")
        await token_store.end_refresh_tokens("nobody")
        assert await token_store.revoke_grant(grant.id)
        assert not await is_valid(token_store, new)

    async def test_refresh_tokens_of_all_clients_of_a_user_end(self, token_store: ITokenStore) -> None:
        """Five clients have a grant of the user."""
        made = [await redeemed_grant(token_store, client_id=f"client {number}") for number in range(5)]
        await token_store.end_refresh_tokens("user")
        for grant, pair in made:
            assert await attempt_rotation(token_store, grant, pair) == Unknown()
            assert await is_valid(token_store, pair)

    async def test_refresh_tokens_of_many_grants_end(self, token_store: ITokenStore) -> None:
        """More than one step ends."""
        made: list[tuple[Grant, TokenPair]] = []
        for _ in range(MANY // 50):
            grants = [new_grant(owner=ResourceOwner("hoarder")) for _ in range(50)]
            await at_once(token_store.add_code(grant) for grant in grants)
            pairs = await at_once(Deferred.fromCoroutine(redeem(token_store, each)) for each in grants)
            made += zip(grants, pairs, strict=True)
        await token_store.end_refresh_tokens("hoarder")
        for grant, pair in made[:: MANY // 20]:
            assert await attempt_rotation(token_store, grant, pair) == Unknown()
            assert await is_valid(token_store, pair)
