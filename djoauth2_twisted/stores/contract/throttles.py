"""The contract of `IThrottles`."""

from __future__ import annotations

from ...interfaces import IRegistry
from ...models import Limit
from .samples import CROWDS, NOW, random_digest
from .steps import at_once


class ThrottlesContract:
    """What a registry promises as `IThrottles`."""

    async def test_failures(self, registry: IRegistry) -> None:
        """They add up by place, and so many a minute are forgotten of those that there were."""
        place, other = random_digest(), random_digest()
        assert [await registry.count_failure(place, NOW, 30) for _ in range(3)] == [1, 2, 3]
        assert await registry.count_failure(other, NOW, 30) == 1
        assert await registry.count_failure(place, NOW + 2, 30) == 3
        assert await registry.count_failure(place, NOW + 3600, 30) == 1

    async def test_failures_where_the_clock_went_back(self, registry: IRegistry) -> None:
        """Nothing is forgotten then, and no more is counted than there was."""
        place = random_digest()
        counts = [await registry.count_failure(place, now, 30) for now in (NOW, NOW - 60, NOW - 60)]
        assert counts == [1, 2, 3]

    async def test_failures_at_once(self, registry: IRegistry) -> None:
        """Each of many is counted."""
        for crowd in CROWDS:
            place = random_digest()
            counts = await at_once(registry.count_failure(place, NOW, 30) for _ in range(crowd))
            assert sorted(counts) == list(range(1, crowd + 1))

    async def test_attempts(self, registry: IRegistry) -> None:
        """They count from their beginning; one too many is not counted, and is told how long to wait."""
        place, other = random_digest(), random_digest()
        limits = {place: Limit(3)}
        assert [await registry.begin_attempt(limits, NOW) for _ in range(3)] == [{}] * 3
        for _ in range(5):
            assert await registry.begin_attempt(limits, NOW) == {place: 20.0}
        assert await registry.begin_attempt({other: Limit(3)}, NOW) == {}
        (left,) = (await registry.begin_attempt(limits, NOW + 19)).values()
        assert round(left, 3) == 1
        assert await registry.begin_attempt(limits, NOW + 20) == {}
        assert await registry.begin_attempt(limits, NOW + 20) != {}
        assert [await registry.begin_attempt(limits, NOW + 3600) for _ in range(3)] == [{}] * 3

    async def test_attempts_count_at_all_places_or_at_none(self, registry: IRegistry) -> None:
        """One place that is full does not fill the others."""
        narrow, wide = random_digest(), random_digest()
        limits = {narrow: Limit(1), wide: Limit(3, 3600)}
        assert await registry.begin_attempt(limits, NOW) == {}
        for _ in range(5):
            assert await registry.begin_attempt(limits, NOW) == {narrow: 60.0}
        for _ in range(2):
            assert await registry.begin_attempt({wide: Limit(3, 3600)}, NOW) == {}
        assert await registry.begin_attempt(limits, NOW) == {narrow: 60.0, wide: 1200.0}

    async def test_attempts_that_are_given_back(self, registry: IRegistry) -> None:
        """They are as if they had not been; of those that there were, no more are forgotten."""
        place, other = random_digest(), random_digest()
        limits = {place: Limit(2), other: Limit(2)}
        for _ in range(10):
            assert await registry.begin_attempt(limits, NOW) == {}
            await registry.give_back([place, other])
        assert await registry.begin_attempt(limits, NOW) == {}
        assert await registry.begin_attempt(limits, NOW) == {}
        assert set(await registry.begin_attempt(limits, NOW)) == {place, other}
        await registry.give_back([place])
        assert set(await registry.begin_attempt(limits, NOW)) == {other}
        assert await registry.begin_attempt({place: Limit(2)}, NOW) == {}
        # No matter how often, or what was never counted.
        for _ in range(5):
            await registry.give_back([place, random_digest()])
        await registry.give_back([])
        assert [await registry.begin_attempt({place: Limit(2)}, NOW) for _ in range(3)][:2] == [{}, {}]
        assert await registry.begin_attempt({place: Limit(2)}, NOW) == {place: 30.0}

    async def test_attempts_where_the_clock_went_back(self, registry: IRegistry) -> None:
        """Nothing is forgotten then."""
        limits = {random_digest(): Limit(2)}
        for now in (NOW, NOW - 60):
            assert await registry.begin_attempt(limits, now) == {}
        assert await registry.begin_attempt(limits, NOW - 60) != {}

    async def test_attempts_at_once(self, registry: IRegistry) -> None:
        """As many are counted as there may be, and at places that they share in whatever order."""
        for crowd in CROWDS:
            shared, limit = random_digest(), Limit(3, 10**6)
            places = [random_digest() for _ in range(crowd)]
            orders = [
                {shared: limit, each: limit} if number % 2 else {each: limit, shared: limit}
                for number, each in enumerate(places)
            ]
            said = await at_once(registry.begin_attempt(each, NOW) for each in orders)
            assert said.count({}) == min(crowd, 3)
            await at_once(registry.give_back([each, shared]) for each in places)
            said = await at_once(registry.begin_attempt({shared: limit}, NOW) for _ in range(crowd))
            assert said.count({}) == min(crowd, 3)

    async def test_attempts_are_pruned(self, registry: IRegistry) -> None:
        """As failures are."""
        await registry.begin_attempt({random_digest(): Limit(3), random_digest(): Limit(3)}, NOW)
        assert await registry.prune_failures(NOW, 10) == 0
        assert await registry.prune_failures(NOW + 1, 10) == 2

    async def test_prune_failures(self, registry: IRegistry) -> None:
        """Places that have not failed since go, no more at once than asked for."""
        kept = random_digest()
        for place, now in ((kept, NOW), *((random_digest(), NOW - age) for age in (1, 2, 3))):
            await registry.count_failure(place, now, 30)
        assert [await registry.prune_failures(NOW, 2) for _ in range(3)] == [2, 1, 0]
        assert await registry.count_failure(kept, NOW, 30) == 2
