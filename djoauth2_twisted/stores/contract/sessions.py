"""The contract of `ISessions`."""

from __future__ import annotations

import attrs

from ...errors import AlreadyExists
from ...interfaces import IRegistry
from ...models import ResourceOwner, Session
from .samples import CROWDS, NOT_UTF_8, NOW, new_session, new_user, random_digest
from .steps import assert_fails, at_once


class SessionsContract:
    """What a registry promises as `ISessions`."""

    async def test_session_expires(self, registry: IRegistry) -> None:
        """It is valid until the second before its expiry."""
        session = new_session(expires=NOW + 100)
        await registry.add_session(session)
        assert await registry.find_session(session.digest, NOW) == session
        assert await registry.find_session(session.digest, NOW + 99) == session
        assert await registry.find_session(session.digest, NOW + 100) is None
        assert await registry.find_session(random_digest(), NOW) is None
        bare = Session(random_digest(), ResourceOwner("bare"), NOW + 1)
        await registry.add_session(bare)
        assert await registry.find_session(bare.digest, NOW) == bare

    async def test_session_digest_that_is_taken_is_refused(self, registry: IRegistry) -> None:
        """A digest finds its own session, and no other."""
        session = new_session("user")
        await registry.add_session(session)
        other = attrs.evolve(session, owner=ResourceOwner("other"))
        await assert_fails(AlreadyExists, registry.add_session(other))
        assert await registry.find_session(session.digest, NOW) == session

    async def test_session_of_a_disabled_user_is_not_found(self, registry: IRegistry) -> None:
        """A user who is not registered here has sessions."""
        session, other = new_session("user"), new_session("other")
        for each in (session, other):
            await registry.add_session(each)
        await registry.add_user(new_user("user"))
        assert await registry.find_session(session.digest, NOW) == session
        await registry.update_user(attrs.evolve(new_user("user"), disabled=True))
        assert await registry.find_session(session.digest, NOW) is None
        late = new_session("user")
        await registry.add_session(late)
        assert await registry.find_session(late.digest, NOW) is None
        assert await registry.find_session(other.digest, NOW) == other

    async def test_too_many_sessions_end_the_oldest_of_the_user(self, registry: IRegistry) -> None:
        """Those of other users stay."""
        theirs = [new_session(name, NOW + 1) for name in ("User", "use", "user ")]
        mine = [new_session("user", NOW + 100 + age) for age in (3, 1, 2, 0)]
        for session in theirs + mine:
            await registry.add_session(session, 3)
        found = [await registry.find_session(s.digest, NOW) for s in mine]
        # The newest is the session that was added last, even if another expires later.
        assert found == [mine[0], None, mine[2], mine[3]]
        assert [await registry.find_session(s.digest, NOW) for s in theirs] == theirs
        await assert_fails(AlreadyExists, registry.add_session(mine[0], 3))
        assert await registry.find_session(mine[2].digest, NOW) == mine[2]

    async def test_lowered_limit_of_sessions_is_reached_in_steps(self, registry: IRegistry) -> None:
        """600 sessions become ten."""
        for _ in range(12):
            await at_once(registry.add_session(new_session("user")) for _ in range(50))
        for _ in range(3):
            await registry.add_session(new_session("user", NOW + 200), 10)
        assert (await registry.totals(NOW)).sessions == 10

    async def test_limit_of_sessions_holds_for_logins_at_once(self, registry: IRegistry) -> None:
        """Also where all begin at the same moment."""
        for crowd in CROWDS:
            name = f"user {crowd}"
            sessions = [new_session(name) for _ in range(crowd)]
            await at_once(registry.add_session(session, 3) for session in sessions)
            found = [await registry.find_session(session.digest, NOW) for session in sessions]
            assert sum(session is not None for session in found) == min(crowd, 3)

    async def test_ended_session_is_not_found(self, registry: IRegistry) -> None:
        """It can be ended again. The user's other sessions stay."""
        session, other = new_session(), new_session()
        await registry.add_session(session)
        await registry.add_session(other)
        for _ in range(2):
            await registry.end_session(session.digest)
            assert await registry.find_session(session.digest, NOW) is None
        assert await registry.find_session(other.digest, NOW) == other

    async def test_all_sessions_of_a_user_end(self, registry: IRegistry) -> None:
        """Those of other users stay."""
        mine = [new_session() for _ in range(3)]
        theirs = [new_session(name) for name in ("User", "user ", "use", "%", "_ser")]
        for session in mine + theirs:
            await registry.add_session(session)
        await registry.end_sessions("user")
        await registry.end_sessions("nobody")
        await registry.end_sessions(NOT_UTF_8)
        assert [await registry.find_session(s.digest, NOW) for s in mine] == [None] * 3
        assert [await registry.find_session(s.digest, NOW) for s in theirs] == theirs

    async def test_all_sessions_of_a_user_but_one_end(self, registry: IRegistry) -> None:
        """A session of another user that is named does not keep any."""
        mine, theirs = [new_session() for _ in range(3)], new_session("other")
        for session in (*mine, theirs):
            await registry.add_session(session)
        await registry.end_sessions("user", mine[1].digest)
        found = [await registry.find_session(s.digest, NOW) for s in mine]
        assert found == [None, mine[1], None]
        await registry.end_sessions("user", theirs.digest)
        assert await registry.find_session(mine[1].digest, NOW) is None
        assert await registry.find_session(theirs.digest, NOW) == theirs

    async def test_sessions_of_a_user_are_listed(self, registry: IRegistry) -> None:
        """The last to expire first, no more than asked for, none that has expired, no other user's."""
        mine = [new_session(expires=NOW + more) for more in (3, 1, 2, 0)]
        for session in (*mine, new_session("User"), new_session("user ")):
            await registry.add_session(session)
        assert await registry.sessions_of("user", NOW, 10) == [mine[0], mine[2], mine[1]]
        assert await registry.sessions_of("user", NOW + 1, 1) == [mine[0]]
        assert await registry.sessions_of("nobody", NOW, 10) == []
        assert await registry.sessions_of(NOT_UTF_8, NOW, 10) == []

    async def test_expired_sessions_are_pruned(self, registry: IRegistry) -> None:
        """No more at once than asked for."""
        alive = new_session(expires=NOW + 1)
        await registry.add_session(alive)
        for _ in range(5):
            await registry.add_session(new_session(expires=NOW))
        assert await registry.prune_sessions(NOW - 1, 10) == 0
        assert [await registry.prune_sessions(NOW, 2) for _ in range(4)] == [2, 2, 1, 0]
        assert await registry.find_session(alive.digest, NOW) == alive
