"""The contract of `ILeases`."""

from __future__ import annotations

from ...credentials import random_string
from ...interfaces import IRegistry
from .samples import CROWDS, NOW
from .steps import at_once


class LeasesContract:
    """What a registry promises as `ILeases`."""

    async def test_lease_has_one_holder_until_it_expires(self, registry: IRegistry) -> None:
        """The holder may renew it."""
        assert await registry.acquire_lease("a", "one", NOW + 10, NOW)
        assert not await registry.acquire_lease("a", "two", NOW + 20, NOW + 9)
        assert await registry.acquire_lease("b", "two", NOW + 10, NOW)
        assert await registry.acquire_lease("a", "one", NOW + 20, NOW + 9)
        assert not await registry.acquire_lease("a", "two", NOW + 30, NOW + 19)
        assert await registry.acquire_lease("a", "two", NOW + 30, NOW + 20)
        assert not await registry.acquire_lease("a", "one", NOW + 40, NOW + 20)

    async def test_one_of_many_holders_gets_a_lease(self, registry: IRegistry) -> None:
        for crowd in CROWDS:
            name = random_string(22)
            got = await at_once(
                registry.acquire_lease(name, str(n), NOW + 10, NOW) for n in range(crowd)
            )
            assert got.count(True) == 1

    async def test_expired_leases_are_pruned(self, registry: IRegistry) -> None:
        """No more at once than asked for. A lease that was taken again stays."""
        for number in range(1, 5):
            assert await registry.acquire_lease(f"l{number}", "one", NOW + number, NOW)
        assert await registry.acquire_lease("l1", "two", NOW + 9, NOW + 3)
        assert [await registry.prune_leases(NOW + 3, 1) for _ in range(3)] == [1, 1, 0]
        for number in (1, 4):
            assert not await registry.acquire_lease(f"l{number}", "three", NOW + 9, NOW + 3)
