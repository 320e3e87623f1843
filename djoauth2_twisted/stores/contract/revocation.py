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

    async def test_find_access_token_that_is_unknown(self, token_store: ITokenStore) -> None:
        """BG-03: what was never issued is not found."""
        await redeemed_grant(token_store)
        assert await token_store.find_access_token(random_digest()) is None

    async def test_find_access_token_that_is_past_its_time(self, token_store: ITokenStore) -> None:
        """Its time is the caller's to judge, and comes with it."""
        grant = await add_grant(token_store)
        pair = await redeem(token_store, grant, new_issuance(access_expires=NOW - 1))
        found = await token_store.find_access_token(pair.access_digest)
        assert found is not None
        assert found.expires == NOW - 1

    async def test_revoke_access_token(self, token_store: ITokenStore) -> None:
        """RV-01: an access token ends alone, and its refresh token goes on."""
        grant, pair = await redeemed_grant(token_store)
        ended = await token_store.revoke(pair.access_digest, grant.client_id)
        assert ended is not None
        assert ended.id == grant.id
        assert not await is_valid(token_store, pair)
        assert await grant_ids(token_store, GrantFilter()) == [grant.id]
        assert await is_valid(token_store, await rotate(token_store, grant, pair))

    async def test_revoke_refresh_token(self, token_store: ITokenStore) -> None:
        """RV-01, RT-18: a refresh token takes its whole grant with it, and no other."""
        grant, pair = await redeemed_grant(token_store)
        other, others = await redeemed_grant(token_store)
        assert pair.refresh_digest is not None
        ended = await token_store.revoke(pair.refresh_digest, grant.client_id)
        assert ended is not None
        assert ended.id == grant.id
        assert await is_ended(token_store, grant, pair)
        assert await is_valid(token_store, others)
        assert await grant_ids(token_store, GrantFilter()) == [other.id]

    async def test_revoke_used_refresh_token(self, token_store: ITokenStore) -> None:
        """A client that lost the answer to its refresh can still end all that it has."""
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old)
        assert old.refresh_digest is not None
        digest, family = old.refresh_digest, family_of(grant)
        assert await token_store.revoke(digest, "other", family) is None
        assert await token_store.revoke(random_digest(), grant.client_id, random_digest()) is None
        assert await is_valid(token_store, new)
        assert await token_store.revoke(digest, grant.client_id, family) is not None
        assert await is_ended(token_store, grant, old, new)

    async def test_revoke_by_another_client(self, token_store: ITokenStore) -> None:
        """RV-03: another client's token is as unknown as any, and stays good."""
        grant, pair = await redeemed_grant(token_store)
        assert pair.refresh_digest is not None
        for client_id in ("other", "CLIENT", "client ", "", "%", NOT_UTF_8):
            for digest in (pair.access_digest, pair.refresh_digest):
                assert await token_store.revoke(digest, client_id, family_of(grant)) is None
        assert await is_valid(token_store, pair)
        await rotate(token_store, grant, pair)

    async def test_revoke_what_is_unknown(self, token_store: ITokenStore) -> None:
        """RV-02: there is nothing to end, and that is no error."""
        grant, pair = await redeemed_grant(token_store)
        assert await token_store.revoke(random_digest(), grant.client_id) is None
        assert await is_valid(token_store, pair)

    async def test_revoke_again(self, token_store: ITokenStore) -> None:
        """RV-02: to revoke what is revoked changes nothing, and is no error."""
        grant, pair = await redeemed_grant(token_store)
        assert pair.refresh_digest is not None
        for digest in (pair.access_digest, pair.refresh_digest, pair.access_digest):
            await token_store.revoke(digest, grant.client_id)
            await token_store.revoke(digest, grant.client_id)
        assert await is_ended(token_store, grant, pair)

    async def test_revoke_grant(self, token_store: ITokenStore) -> None:
        """A grant ends with all that belongs to it, whether its code was used or not; but once."""
        unused = await add_grant(token_store)
        grant, old = await redeemed_grant(token_store)
        new = await rotate(token_store, grant, old)
        for ending in (unused, grant):
            assert await token_store.revoke_grant(ending.id) is True
            assert await token_store.revoke_grant(ending.id) is False
        assert await is_ended(token_store, unused)
        assert await is_ended(token_store, grant, old, new)

    async def test_revoke_grant_that_is_unknown(self, token_store: ITokenStore) -> None:
        """There is none of that name, whatever it looks like."""
        grant, pair = await redeemed_grant(token_store)
        for grant_id in ("", "%", "_" * len(grant.id), grant.id.swapcase(), grant.id + " ", NOT_UTF_8):
            assert await token_store.revoke_grant(grant_id) is False
        assert await is_valid(token_store, pair)

    async def test_revoke_grants(self, token_store: ITokenStore) -> None:
        """Those of a user, of a client and with a scope, each told apart, and how many they were."""
        made = {}
        for user, client, scope in itertools.product("uv", "cd", "rs"):
            made[user + client + scope] = await redeemed_grant(
                token_store, owner=ResourceOwner(user), client_id=client, scopes=("all", scope)
            )

        async def good() -> list[str]:
            return [name for name, (_, pair) in made.items() if await is_valid(token_store, pair)]

        assert await token_store.revoke_grants(username="u", client_id="c", scope="r") == 1
        assert await good() == ["ucs", "udr", "uds", "vcr", "vcs", "vdr", "vds"]
        assert await token_store.revoke_grants(username="u", client_id="c") == 1
        assert await token_store.revoke_grants(scope="s") == 3
        assert await good() == ["udr", "vcr", "vdr"]
        assert await token_store.revoke_grants(username="u") == 1
        assert await token_store.revoke_grants(client_id="c") == 1
        assert await token_store.revoke_grants(client_id="c") == 0
        assert await good() == ["vdr"]
        assert await token_store.revoke_grants() == 1
        assert await good() == []

    async def test_revoke_grants_however_many(self, token_store: ITokenStore) -> None:
        """More than can be ended at once; those of another stay, and it is told how many there were."""
        _, kept = await redeemed_grant(token_store, client_id="another", scopes=("read",))
        for _ in range(MANY // 50):
            grants = [new_grant(client_id="popular", scopes=("all", "read")) for _ in range(50)]
            assert await at_once([token_store.add_code(grant) for grant in grants]) == [True] * 50
        assert await token_store.count_grants(scope="all") == MANY
        assert await token_store.revoke_grants(client_id="popular") == MANY
        assert await token_store.count_grants(client_id="popular", scope="all") == 0
        assert await token_store.grants(GrantFilter(client_id="popular"), Page()) == []
        assert await is_valid(token_store, kept)

    async def test_revoke_grants_with_a_scope(self, token_store: ITokenStore) -> None:
        """DB-11, AZ-22: a scope is a whole name, byte for byte, wherever it stands in the list."""
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

    async def test_end_refresh_tokens(self, token_store: ITokenStore) -> None:
        """RT-14: a user's codes and refresh tokens end; the access tokens live out their time."""
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

    async def test_end_refresh_tokens_of_several_grants(self, token_store: ITokenStore) -> None:
        """All of the user's clients are put out."""
        made = [await redeemed_grant(token_store, client_id=f"client {number}") for number in range(5)]
        await token_store.end_refresh_tokens("user")
        for grant, pair in made:
            assert await attempt_rotation(token_store, grant, pair) == Unknown()
            assert await is_valid(token_store, pair)

    async def test_end_refresh_tokens_however_many(self, token_store: ITokenStore) -> None:
        """More than can be ended at once."""
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
