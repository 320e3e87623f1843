"""The contract of grants: their bound, their lists, their names."""

from __future__ import annotations

import itertools

from ...interfaces import ITokenStore
from ...models import GrantFilter, Page, ResourceOwner
from ...paging import by_age
from .samples import HOSTILE, NOT_UTF_8, NOW, new_grant, new_issuance
from .steps import (
    add_bounded_grant,
    add_grant,
    grant_ids,
    is_ended,
    redeem,
    redeemed_grant,
    rotate,
)


class GrantContract:
    """What a token store promises of grants."""

    async def test_too_many_grants_end_the_least_recently_used(self, token_store: ITokenStore) -> None:
        """AB-02: whether their codes were used or not. Those of other users and clients stay."""
        others = [
            await redeemed_grant(token_store, owner=ResourceOwner("another")),
            await redeemed_grant(token_store, client_id="another"),
        ]
        made = [await add_grant(token_store) for _ in range(3)]
        begun = [
            (grant, await redeem(token_store, grant, new_issuance(NOW + number)))
            for number, grant in enumerate(made)
        ]
        unused = await add_grant(token_store, created=NOW - 1, last_used=NOW - 1)
        # The grant that was created first is used last.
        grant, pair = begun.pop(0)
        begun.append((grant, await rotate(token_store, grant, pair, new_issuance(NOW + 100))))
        first = await add_bounded_grant(token_store, 4, NOW + 200)
        assert await is_ended(token_store, unused)
        second = await add_bounded_grant(token_store, 4, NOW + 201)
        assert await is_ended(token_store, *begun.pop(0))
        listed = await grant_ids(token_store, GrantFilter("user", "client"))
        assert set(listed) == {first.id, second.id, *(each.id for each, _ in begun)}
        for each, last in (*begun, *others):
            await rotate(token_store, each, last)

    async def test_too_many_grants_end_ten_at_a_time(self, token_store: ITokenStore) -> None:
        """A grant that is refused because its id is taken ends none."""
        made = [await add_grant(token_store, created=NOW - n, last_used=NOW - n) for n in range(25)]
        assert await token_store.add_code(made[0], 1) is False
        assert len(await grant_ids(token_store, GrantFilter())) == 25
        for left in (16, 7, 1, 1):
            new = await add_bounded_grant(token_store, 1, NOW + 30 - left)
            listed = await grant_ids(token_store, GrantFilter())
            assert len(listed) == left
            assert new.id in listed

    async def test_clients_of_a_user_are_listed_once(self, token_store: ITokenStore) -> None:
        """In batches, sorted by their ids."""
        names = sorted(name for name in HOSTILE if name.isascii())
        for name in names:
            for _ in range(3):
                await add_grant(token_store, client_id=name)
            await add_grant(token_store, client_id="of another", owner=ResourceOwner("another"))
        assert await token_store.clients_of("user", "", 1000) == names
        found, after = [], ""
        while batch := await token_store.clients_of("user", after, 7):
            assert len(batch) <= 7
            found += batch
            after = batch[-1]
        assert found == names
        await token_store.revoke_grants(username="user", client_id=names[3])
        [one, _, _] = await token_store.grants(GrantFilter("user", names[5]), Page())
        assert await token_store.revoke_grant(one.id)
        del names[3]
        assert await token_store.clients_of("user", "", 1000) == names
        for nobody in ("", "USER", "user ", "%", NOT_UTF_8):
            assert await token_store.clients_of(nobody, "", 1000) == []

    async def test_grants_in_use_come_last_used_first(self, token_store: ITokenStore) -> None:
        """Of a user with a client, without those whose code was not exchanged, and revoked ones."""
        made = [await add_grant(token_store) for _ in range(5)]
        for number, grant in enumerate(made):
            await redeem(token_store, grant, new_issuance(NOW + number))
        for _ in range(30):
            await add_grant(token_store, created=NOW + 50, last_used=NOW + 50)
        await redeemed_grant(token_store, owner=ResourceOwner("another"))
        await redeemed_grant(token_store, client_id="another")
        assert await token_store.revoke_grant(made.pop(3).id)

        async def found(limit: int) -> list[str]:
            grants = await token_store.grants_in_use("user", "client", limit)
            assert all(grant.code_used for grant in grants)
            return [grant.id for grant in grants]

        newest_first = [grant.id for grant in reversed(made)]
        assert await found(100) == newest_first
        assert await found(2) == newest_first[:2]
        for name in ("", "USER", "user ", "%", NOT_UTF_8):
            assert await token_store.grants_in_use(name, "client", 100) == []
            assert await token_store.grants_in_use("user", name, 100) == []

    async def test_grants_are_filtered_and_sorted_by_age(self, token_store: ITokenStore) -> None:
        """Revoked grants are left out."""
        made = {}
        for age, (user, client) in enumerate(itertools.product("uv", "cd")):
            made[user + client] = await add_grant(
                token_store, owner=ResourceOwner(user), client_id=client, created=NOW - age
            )
        revoked = await add_grant(token_store, created=NOW - 100)
        assert await token_store.revoke_grant(revoked.id)

        async def found(username: str | None, client_id: str | None) -> list[str]:
            grants = await token_store.grants(GrantFilter(username, client_id), Page())
            return [grant.owner.username + grant.client_id for grant in grants]

        assert await found(None, None) == ["vd", "vc", "ud", "uc"]
        assert await found("u", None) == ["ud", "uc"]
        assert await found(None, "c") == ["vc", "uc"]
        assert await found("v", "c") == ["vc"]
        for name in ("w", "", "U", "u ", "%", "_", NOT_UTF_8):
            assert await found(name, None) == await found(None, name) == []

    async def test_pages_of_grants_make_the_whole_list(self, token_store: ITokenStore) -> None:
        """No grant comes twice, also where all were created in one second."""
        made = {(await add_grant(token_store)).id for _ in range(7)}
        whole = await grant_ids(token_store, GrantFilter())
        assert set(whole) == made
        for size in (1, 2, 3, 7, 8):
            pages = [
                await grant_ids(token_store, GrantFilter(username="user"), Page(offset, size))
                for offset in range(0, 7, size)
            ]
            assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
            assert list(itertools.chain(*pages)) == whole
        assert await grant_ids(token_store, GrantFilter(), Page(7, 5)) == []
        assert await grant_ids(token_store, GrantFilter(), Page(10_000, 5)) == []

    async def test_page_of_grants_begins_after_a_key(self, token_store: ITokenStore) -> None:
        """DB-11: for every form of ids, and whether or not the grant of the key is still there."""
        for number, name in enumerate(HOSTILE):
            await add_grant(
                token_store, id=name, created=NOW + number // 20, owner=ResourceOwner(f"u{number % 2}")
            )
        filters = (
            GrantFilter(),
            GrantFilter("u1"),
            GrantFilter(None, "client"),
            GrantFilter("u0", "client"),
        )
        for wanted in filters:
            whole = await token_store.grants(wanted, Page())
            assert whole == sorted(whole, key=by_age)
            for number, grant in enumerate(whole):
                after = by_age(grant)
                assert await token_store.grants(wanted, Page(0, 3, after)) == whole[number + 1 :][:3]
            assert await token_store.grants(wanted, Page(2, 3, by_age(whole[0]))) == whole[3:6]
        gone = whole.pop(2)
        assert await token_store.revoke_grant(gone.id)
        assert await token_store.grants(wanted, Page(after=by_age(gone))) == whole[2:]
        assert await token_store.grants(wanted, Page(after=(0, ""))) == whole
        assert await token_store.grants(wanted, Page(after=(NOW * 2, NOT_UTF_8))) == []

    async def test_walk_finds_grants_once_while_others_end(self, token_store: ITokenStore) -> None:
        """Revoked and expired grants neither shorten a page before the last one nor move the next."""
        alive = set()
        for number in range(24):
            expires = NOW + (300 if number % 2 else -300)
            grant = await add_grant(token_store, created=NOW - 100 + number, expires=expires)
            alive |= {grant.id} if number % 2 else set()
        for wanted in (GrantFilter(), GrantFilter("user", "client"), GrantFilter(None, "client")):
            found: list[str] = []
            page = await token_store.grants(wanted, Page(size=4))
            while page:
                found += [grant.id for grant in page]
                await token_store.revoke_grant(page[0].id)
                following = await token_store.grants(wanted, Page(0, 4, by_age(page[-1])))
                assert len(page) == 4 or following == []
                page = following
            assert len(found) == len(set(found))
            assert alive <= set(found)
            alive &= {grant.id for grant in await token_store.grants(wanted, Page())}

    async def test_grant_is_found_until_it_is_revoked(self, token_store: ITokenStore) -> None:
        """An id is compared byte for byte."""
        grant, other = await add_grant(token_store), await add_grant(token_store)
        assert await token_store.find_grant(grant.id) == grant
        for unknown in ("", "%", grant.id[:-1], grant.id + " ", grant.id.swapcase(), NOT_UTF_8):
            assert await token_store.find_grant(unknown) is None
        assert await token_store.revoke_grant(grant.id)
        assert await token_store.find_grant(grant.id) is None
        assert await token_store.find_grant(other.id) == other

    async def test_grants_are_counted_as_revoke_grants_takes_them(
        self, token_store: ITokenStore
    ) -> None:
        """Of a user, of a client and with a scope."""
        assert await token_store.count_grants() == 0
        for user, client, scopes in itertools.product("uv", "cd", (("read",), ("reader", "Read"))):
            await add_grant(token_store, owner=ResourceOwner(user), client_id=client, scopes=scopes)
        assert await token_store.count_grants() == 8
        for wanted, count in (
            ({"username": "u"}, 4),
            ({"client_id": "c"}, 4),
            ({"username": "u", "client_id": "d"}, 2),
            ({"scope": "read"}, 4),
            ({"scope": "Read", "username": "v"}, 2),
            ({"username": "v", "client_id": "d", "scope": "reader"}, 1),
        ):
            assert await token_store.count_grants(**wanted) == count, wanted
        for name in ("", "U", "u ", "%", "_", NOT_UTF_8):
            assert await token_store.count_grants(username=name) == 0
            assert await token_store.count_grants(client_id=name) == 0
        for name in ("rea", "READ", "re_d", "%", "read "):
            assert await token_store.count_grants(scope=name) == 0
        assert await token_store.revoke_grants(username="u", scope="read") == 2
        assert await token_store.count_grants() == 6
        assert await token_store.count_grants(username="u") == 2

    async def test_hostile_names_are_told_apart(self, token_store: ITokenStore) -> None:
        """DB-01, DB-02, DB-11: each is found by itself alone."""
        made = {}
        for name in HOSTILE:
            made[name] = grant = new_grant(
                client_id=name, owner=ResourceOwner(name, name, name, name), redirect_uri=name
            )
            assert await token_store.add_code(grant)
        for name, grant in made.items():
            for by_name in (GrantFilter(username=name), GrantFilter(client_id=name)):
                assert await token_store.grants(by_name, Page()) == [grant], name
        for name, grant in made.items():
            pair = await redeem(token_store, grant)
            found = await token_store.find_access_token(pair.access_digest)
            assert found is not None
            assert (found.client_id, found.user) == (name, grant.owner)
        for number, name in enumerate(HOSTILE):
            named = {"username": name} if number % 2 else {"client_id": name}
            assert await token_store.revoke_grants(**named) == 1, name
            assert len(await grant_ids(token_store, GrantFilter())) == len(HOSTILE) - number - 1

    async def test_hostile_ids_are_told_apart(self, token_store: ITokenStore) -> None:
        """A grant's id may be any text."""
        for name in HOSTILE:
            assert await token_store.add_code(new_grant(id=name)), name
        for number, name in enumerate(HOSTILE, 1):
            assert await token_store.revoke_grant(name), name
            assert len(await grant_ids(token_store, GrantFilter())) == len(HOSTILE) - number
