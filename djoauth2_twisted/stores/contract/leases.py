"""The contract of `ILeases`."""

from __future__ import annotations

from ...credentials import random_string
from ...interfaces import IRegistry
from .samples import CROWDS, NOW
from .steps import at_once


class LeasesContract:
    """What a registry promises as `ILeases`."""

    async def test_lease(self, registry: IRegistry) -> None:
        """One has it until it is over, and may renew it."""
        assert await registry.acquire_lease("a", "one", NOW + 10, NOW)
        assert not await registry.acquire_lease("a", "two", NOW + 20, NOW + 9)
        assert await registry.acquire_lease("b", "two", NOW + 10, NOW)
        assert await registry.acquire_lease("a", "one", NOW + 20, NOW + 9)
        assert not await registry.acquire_lease("a", "two", NOW + 30, NOW + 19)
        assert await registry.acquire_lease("a", "two", NOW + 30, NOW + 20)
        assert not await registry.acquire_lease("a", "one", NOW + 40, NOW + 20)

    async def test_lease_at_once(self, registry: IRegistry) -> None:
        """One of many gets it."""
        for crowd in CROWDS:
            name = random_string(22)
            got = await at_once(
                registry.acquire_lease(name, str(n), NOW + 10, NOW) for n in range(crowd)
            )
            assert got.count(True) == 1

    async def test_prune_leases(self, registry: IRegistry) -> None:
        """Those that are over go, no more at once than asked for; one that was taken meanwhile stays."""
        for number in range(1, 5):
            assert await registry.acquire_lease(f"l{number}", "one", NOW + number, NOW)
        assert await registry.acquire_lease("l1", "two", NOW + 9, NOW + 3)
        assert [await registry.prune_leases(NOW + 3, 1) for _ in range(3)] == [1, 1, 0]
        for number in (1, 4):
            assert not await registry.acquire_lease(f"l{number}", "three", NOW + 9, NOW + 3)
