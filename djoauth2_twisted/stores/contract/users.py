"""The contract of `IUsers`."""

from __future__ import annotations

import itertools
import unicodedata

import attrs

from ...errors import AlreadyExists, ChangedMeanwhile, LastAdmin, NotFound
from ...interfaces import IRegistry
from ...models import Page, ResourceOwner, Session, User
from .samples import CROWDS, NOT_UTF_8, NOW, new_session, new_user, random_digest
from .steps import assert_fails, at_once


class UsersContract:
    """What a registry promises as `IUsers`."""

    async def test_user_is_found_unchanged(self, registry: IRegistry) -> None:
        """Also where optional fields are empty or very long."""
        for user in (
            new_user("full", admin=True, email_verified=True, updated_at=NOW),
            new_user("off", disabled=True),
            User("bare", "hash"),
            new_user("long", email="e" * 255, first_name="\U0001f511" * 63, last_name="\u00e9" * 127),
        ):
            await registry.add_user(user)
            found = await registry.find_user(user.username)
            assert found == user
            assert found.updated_at == user.updated_at

    async def test_username_that_is_taken_is_refused(self, registry: IRegistry) -> None:
        """The first user keeps the name."""
        user = new_user("user")
        await registry.add_user(user)
        await assert_fails(AlreadyExists, registry.add_user(new_user("user", email="other")))
        assert await registry.find_user("user") == user

    async def test_username_that_is_alike_is_refused(self, registry: IRegistry) -> None:
        """RFC 8265: names are unique without regard to case and Unicode form."""
        for name in ("J\u00fcrgen", "stra\u00dfe", "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2"):
            user = new_user(name)
            await registry.add_user(user)
            for other in (name.upper(), name.lower(), f" {name} ", unicodedata.normalize("NFD", name)):
                await assert_fails(AlreadyExists, registry.add_user(new_user(other)))
                assert await registry.users_alike(other) == [user]
                assert await registry.find_user(other) == (user if other == name else None)
            await registry.delete_user(name)
            assert await registry.users_alike(name) == []
            await registry.add_user(new_user(name.upper()))
        for nobody in ("", "j\u00fcrge", "%", "b\0", NOT_UTF_8, "x" * 5000):
            assert await registry.users_alike(nobody) == []
        assert await registry.namesakes(10) == []

    async def test_unknown_user_is_not_found(self, registry: IRegistry) -> None:
        """An unknown user can be neither updated nor deleted."""
        known = new_user("user")
        await registry.add_user(known)
        for username in ("", "User", "user ", "use", "%", "_ser", NOT_UTF_8):
            assert await registry.find_user(username) is None
            await assert_fails(NotFound, registry.update_user(new_user(username)))
            await assert_fails(NotFound, registry.delete_user(username))
        assert await registry.users(Page()) == [known]

    async def test_update_user_instead_of_a_password_hash(self, registry: IRegistry) -> None:
        """Where the password was changed meanwhile, the change stays."""
        user = new_user("user")
        await registry.add_user(user)
        changed = attrs.evolve(user, password_hash="changed")
        await registry.update_user(changed, only={"password_hash"}, instead_of=user.password_hash)
        assert await registry.find_user(user.username) == changed
        late = attrs.evolve(user, password_hash="late", email="late@example.com")
        outdated = registry.update_user(late, instead_of=user.password_hash)
        await assert_fails(ChangedMeanwhile, outdated)
        assert await registry.find_user(user.username) == changed
        await assert_fails(NotFound, registry.update_user(new_user("other"), instead_of="changed"))

    async def test_user_is_updated(self, registry: IRegistry) -> None:
        """Every field but the name can change. Other users stay as they are."""
        user, other = new_user("user"), new_user("other")
        await registry.add_user(user)
        await registry.add_user(other)
        for changes in (
            {"password_hash": "new"},
            {"email": "", "first_name": "", "last_name": ""},
            {"admin": True},
            {"disabled": True},
            {"admin": False, "disabled": False},
        ):
            user = attrs.evolve(user, **changes)
            await registry.update_user(user)
            assert await registry.find_user("user") == user
            assert await registry.find_user("other") == other

    async def test_only_the_named_fields_of_a_user_are_updated(self, registry: IRegistry) -> None:
        """The others keep what another process has written."""
        read = new_user("user")
        await registry.add_user(read)
        changed = attrs.evolve(read, password_hash="new", disabled=True)
        await registry.update_user(changed, only={"password_hash", "disabled"})
        await registry.update_user(attrs.evolve(read, email="new"), True, {"email"})
        assert await registry.find_user("user") == attrs.evolve(changed, email="new")
        await assert_fails(NotFound, registry.update_user(new_user("nobody"), only={"email"}))

    async def test_deleted_user_loses_all_sessions(self, registry: IRegistry) -> None:
        """Other users stay. The name is free again."""
        for name in ("user", "users"):
            await registry.add_user(new_user(name))
        mine, theirs = [new_session() for _ in range(3)], new_session("users")
        for session in (*mine, theirs):
            await registry.add_session(session)
        await registry.delete_user("user")
        assert await registry.find_user("user") is None
        for session in mine:
            assert await registry.find_session(session.digest, NOW) is None
        assert await registry.find_session(theirs.digest, NOW) == theirs
        assert await registry.users(Page()) == [new_user("users")]
        await assert_fails(NotFound, registry.delete_user("user"))
        await registry.add_user(new_user("user"))

    async def test_subject_of_a_user_never_changes(self, registry: IRegistry) -> None:
        """Where none was given, it is the name."""
        await registry.add_user(new_user("user", subject="s-1"))
        await registry.add_user(new_user("bare"))
        await registry.update_user(new_user("user", subject="s-2", email="new@e.com"))
        await registry.update_user(new_user("user", subject="s-3"), only={"first_name"})
        kept = new_user("user", subject="s-1", email="new@e.com")
        assert await registry.find_user("user") == kept
        assert await registry.users(Page()) == [new_user("bare"), kept]
        bare = await registry.find_user("bare")
        assert bare is not None
        assert bare.subject == "bare"

    async def test_next_user_of_a_name_gets_no_old_session(self, registry: IRegistry) -> None:
        """Not even one that was not ended."""
        old = Session(random_digest(), ResourceOwner("user", subject="s-1"), NOW + 100)
        unnamed = Session(random_digest(), ResourceOwner("user"), NOW + 100)
        for session in (old, unnamed):
            await registry.add_session(session)
            assert await registry.find_session(session.digest, NOW) == session
        await registry.add_user(new_user("user", subject="s-2"))
        for session in (old, unnamed):
            assert await registry.find_session(session.digest, NOW) is None
        mine = Session(random_digest(), ResourceOwner("user", subject="s-2"), NOW + 100)
        await registry.add_session(mine)
        assert await registry.find_session(mine.digest, NOW) == mine

    async def test_deletion_of_an_unknown_user_ends_no_session(self, registry: IRegistry) -> None:
        """The user may be known elsewhere."""
        session = new_session("elsewhere")
        await registry.add_session(session)
        await assert_fails(NotFound, registry.delete_user("elsewhere"))
        assert await registry.find_session(session.digest, NOW) == session

    async def test_last_administrator_is_kept(self, registry: IRegistry) -> None:
        """AD-08: where the caller asks for it."""
        last, off = new_user("last", admin=True), new_user("off", admin=True, disabled=True)
        for user in (last, off, new_user("user")):
            await registry.add_user(user)
        for admin, disabled in ((False, False), (True, True), (False, True)):
            less = attrs.evolve(last, admin=admin, disabled=disabled)
            await assert_fails(LastAdmin, registry.update_user(less, True))
        await assert_fails(LastAdmin, registry.delete_user("last", True))
        assert await registry.find_user("last") == last
        # Other changes of the last administrator, and of other users, are allowed.
        await registry.update_user(attrs.evolve(last, email=""), True)
        await registry.update_user(attrs.evolve(off, admin=False), True)
        await registry.delete_user("user", True)
        await assert_fails(NotFound, registry.delete_user("user", True))
        await assert_fails(NotFound, registry.update_user(new_user("user"), True))
        # With a second administrator, the first may go. Without ``keep_admin``, both may.
        await registry.add_user(new_user("next", admin=True))
        await registry.delete_user("last", True)
        await registry.update_user(new_user("next"))
        assert (await registry.totals(NOW)).admins == 0

    async def test_one_of_many_administrators_who_leave_at_once_is_kept(
        self, registry: IRegistry
    ) -> None:
        """Each of them deletes or disables another, or takes the right to administer from one."""
        for crowd in CROWDS[:2]:
            names = [f"admin {crowd} {number}" for number in range(crowd)]
            for name in names:
                await registry.add_user(new_user(name, admin=True))
            steps = [
                registry.delete_user(name, True)
                if number % 2
                else registry.update_user(new_user(name, disabled=number % 4 == 0), True)
                for number, name in enumerate(names)
            ]
            refused = [step.addErrback(lambda failure: failure.trap(LastAdmin)) for step in steps]
            assert (await at_once(refused)).count(LastAdmin) == 1
            (left,) = [user for user in await registry.users(Page()) if user.admin]
            await registry.delete_user(left.username)

    async def test_pages_of_users_are_sorted_by_name(self, registry: IRegistry) -> None:
        """By offset, and after a name."""
        for name in ("d", "a", "c", "b", "e"):
            await registry.add_user(new_user(name))
        whole = await registry.users(Page())
        assert [user.username for user in whole] == ["a", "b", "c", "d", "e"]
        pages = [await registry.users(Page(offset, 2)) for offset in range(0, 5, 2)]
        assert list(itertools.chain(*pages)) == whole
        assert await registry.users(Page(5, 10)) == []
        for after in ("a", "bb", "e", "", NOT_UTF_8):
            rest = [user.username for user in whole if user.username > after]
            assert [u.username for u in await registry.users(Page(after=(after,)))] == rest
            assert [u.username for u in await registry.users(Page(1, 2, (after,)))] == rest[1:3]

    async def test_users_are_searched_by_name_and_email(self, registry: IRegistry) -> None:
        """In capitals or not, and by no other field."""
        await registry.add_user(new_user("alice", email="wonder@land.example"))
        await registry.add_user(new_user("Bob", email="", first_name="Robert", last_name="Jürgens"))
        await registry.add_user(new_user("carol_1%", email="", first_name="", last_name=""))

        async def found(search: str, limit: int = 100, after: str = "") -> list[str]:
            step = await registry.search_users(search, after, limit)
            assert step.reached == (step.users[-1].username if len(step.users) == limit else "")
            return [user.username for user in step.users]

        assert await found("") == ["Bob", "alice", "carol_1%"]
        assert await found("o") == ["Bob", "alice", "carol_1%"]
        assert await found("o", 1, "Bob") == ["alice"]
        assert await found("ALICE") == await found("Land.E") == await found("first last") == ["alice"]
        assert await found("bob") == await found("robert jürg") == ["Bob"]
        assert await found("_1%") == await found("%") == ["carol_1%"]
        for nobody in ("alicee", "_2", "%%", "argon", "\\", "b\0", NOT_UTF_8, "x" * 5000):
            assert await found(nobody) == []

    async def test_search_for_users_is_taken_in_steps(self, registry: IRegistry) -> None:
        """Each looks through no more users than asked for, and the next continues after it."""
        names = [f"u{number}" for number in range(7)]
        for name in names:
            await registry.add_user(new_user(name, email="x@even.example" if name[1] in "0246" else ""))
        for most, steps in ((1, 8), (3, 3), (7, 2), (8, 1), (100, 1)):
            step = await registry.search_users("EVEN", "", 100, most)
            found, taken = [user.username for user in step.users], 1
            while step.reached:
                step = await registry.search_users("EVEN", step.reached, 100, most)
                assert len(step.users) <= most
                found, taken = found + [user.username for user in step.users], taken + 1
            assert (found, taken) == (names[::2], steps), most
        step = await registry.search_users("even", "", 2, 4)
        assert ([user.username for user in step.users], step.reached) == (["u0", "u2"], "u2")
        assert (await registry.search_users("even", "u6", 2, 4)).reached == ""
