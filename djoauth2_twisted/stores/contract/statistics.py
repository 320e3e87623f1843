"""The contract of `IStatistics`."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from ...errors import AlreadyExists
from ...interfaces import IRegistry
from ...models import Scope, Totals
from .samples import NOW, new_client, new_session, new_user
from .steps import at_once


class StatisticsContract:
    """What a registry promises as `IStatistics`."""

    async def test_statistics_add_up_by_hour_and_period(self, registry: IRegistry) -> None:
        assert await registry.statistics(0, 1) == {}
        first = 20_000 * 24
        await registry.add_statistics({})
        await registry.add_statistics({(first, "a"): 1, (first, "A"): 2, (first + 1, "a"): 3})
        await registry.add_statistics(
            {(first, "a"): 10, (first + 24, "a"): 5_000_000_000, (first - 1, "a"): 7}
        )
        assert await registry.statistics(first, 1) == {
            (first, "a"): 11,
            (first, "A"): 2,
            (first + 1, "a"): 3,
            (first + 24, "a"): 5_000_000_000,
        }
        assert await registry.statistics(first, 24) == {
            (first, "a"): 14,
            (first, "A"): 2,
            (first + 24, "a"): 5_000_000_000,
        }
        assert await registry.statistics(first + 25, 1) == {}

    async def test_statistics_added_at_once_are_not_lost(self, registry: IRegistry) -> None:
        """A step that fails has added nothing."""

        def add(number: int) -> Deferred[bool]:
            counts = {(number % 2, "b"): 1, (number % 2, "a"): 2}
            added: Deferred[bool] = registry.add_statistics(counts).addCallback(lambda _: True)
            return added.addErrback(lambda failure: failure.trap(AlreadyExists) is None)

        done = (await at_once(add(number) for number in range(50))).count(True)
        assert done
        found = await registry.statistics(0, 24)
        assert found == {(0, "a"): 2 * done, (0, "b"): done}

    async def test_old_statistics_are_pruned(self, registry: IRegistry) -> None:
        """No more hours at once than asked for."""
        await registry.add_statistics({(hour, kind): 1 for hour in range(5) for kind in "abc"})
        assert [await registry.prune_statistics(3, 2) for _ in range(3)] == [2, 1, 0]
        assert set(await registry.statistics(0, 1)) == {
            (hour, kind) for hour in (3, 4) for kind in "abc"
        }

    async def test_totals_count_what_is_registered(self, registry: IRegistry) -> None:
        """Expired sessions do not count."""
        assert await registry.totals(NOW) == Totals(0, 0, 0, 0, 0)
        for number in range(3):
            await registry.add_client(new_client(disabled=number == 1))
        for name in ("read", "write"):
            await registry.add_scope(Scope(name, ""))
        for name, fields in (
            ("a", {"admin": True}),
            ("b", {}),
            ("c", {"admin": True, "disabled": True}),
        ):
            await registry.add_user(new_user(name, **fields))
        for expires in (NOW, NOW + 1, NOW + 2):
            await registry.add_session(new_session(expires=expires))
        assert await registry.totals(NOW) == Totals(clients=3, scopes=2, users=3, admins=1, sessions=2)
