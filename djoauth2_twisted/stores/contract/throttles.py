"""The contract of `IThrottles`."""

from __future__ import annotations

from ...interfaces import IRegistry
from ...models import Limit
from .samples import CROWDS, NOW, random_digest
from .steps import at_once


class ThrottlesContract:
    """What a registry promises as `IThrottles`."""

    async def test_failures_add_up_by_throttle_key(self, registry: IRegistry) -> None:
        """They leak out at the given rate per minute."""
        key, other = random_digest(), random_digest()
        limits = {key: Limit(30)}
        counts = [await registry.count_failures(limits, NOW) for _ in range(3)]
        assert counts == [{key: 1}, {key: 2}, {key: 3}]
        assert await registry.count_failures({other: Limit(30)}, NOW) == {other: 1}
        assert await registry.count_failures(limits, NOW + 2) == {key: 3}
        assert await registry.count_failures(limits, NOW + 3600) == {key: 1}

    async def test_failure_counts_at_all_throttle_keys(self, registry: IRegistry) -> None:
        """Each with its own limit, and also where a bucket is full."""
        narrow, wide, new = random_digest(), random_digest(), random_digest()
        limits = {narrow: Limit(1), wide: Limit(3, 3600)}
        assert await registry.count_failures(limits, NOW) == {narrow: 1, wide: 1}
        assert await registry.count_failures(limits, NOW) == {narrow: 2, wide: 2}
        more = {new: Limit(1), **limits}
        assert await registry.count_failures(more, NOW + 60) == {new: 1, narrow: 2, wide: 2.95}
        assert await registry.count_failures({}, NOW) == {}

    async def test_no_failure_leaks_out_where_the_clock_went_back(self, registry: IRegistry) -> None:
        """None is counted twice either."""
        key = random_digest()
        times = (NOW, NOW - 60, NOW - 60)
        counts = [await registry.count_failures({key: Limit(30)}, now) for now in times]
        assert counts == [{key: 1}, {key: 2}, {key: 3}]

    async def test_nothing_leaks_out_twice_where_steps_are_in_another_order(
        self, registry: IRegistry
    ) -> None:
        """Two servers count at the turn of a second."""
        key = random_digest()
        limits = {key: Limit(most=60, seconds=60)}
        for now in (NOW, NOW + 1, NOW, NOW + 1, NOW, NOW + 1):
            levels = await registry.count_failures(limits, now)
        assert levels == {key: 5}

    async def test_failures_at_once_are_all_counted(self, registry: IRegistry) -> None:
        """They share a throttle key, and name it first or second."""
        for crowd in CROWDS:
            shared, limit = random_digest(), Limit(30)
            keys = [random_digest() for _ in range(crowd)]
            orders = [
                {shared: limit, each: limit} if number % 2 else {each: limit, shared: limit}
                for number, each in enumerate(keys)
            ]
            counts = await at_once(registry.count_failures(each, NOW) for each in orders)
            assert sorted(each[shared] for each in counts) == list(range(1, crowd + 1))
            assert [each[key] for each, key in zip(counts, keys, strict=True)] == [1] * crowd

    async def test_attempt_beyond_the_limit_is_not_counted(self, registry: IRegistry) -> None:
        """The store answers how many seconds to wait."""
        key, other = random_digest(), random_digest()
        limits = {key: Limit(3)}
        assert [await registry.begin_attempt(limits, NOW) for _ in range(3)] == [{}] * 3
        for _ in range(5):
            assert await registry.begin_attempt(limits, NOW) == {key: 20.0}
        assert await registry.begin_attempt({other: Limit(3)}, NOW) == {}
        (seconds,) = (await registry.begin_attempt(limits, NOW + 19)).values()
        assert round(seconds, 3) == 1
        assert await registry.begin_attempt(limits, NOW + 20) == {}
        assert await registry.begin_attempt(limits, NOW + 20) != {}
        assert [await registry.begin_attempt(limits, NOW + 3600) for _ in range(3)] == [{}] * 3

    async def test_attempt_counts_at_all_throttle_keys_or_at_none(self, registry: IRegistry) -> None:
        """A full bucket does not fill the others."""
        narrow, wide = random_digest(), random_digest()
        limits = {narrow: Limit(1), wide: Limit(3, 3600)}
        assert await registry.begin_attempt(limits, NOW) == {}
        for _ in range(5):
            assert await registry.begin_attempt(limits, NOW) == {narrow: 60.0}
        for _ in range(2):
            assert await registry.begin_attempt({wide: Limit(3, 3600)}, NOW) == {}
        assert await registry.begin_attempt(limits, NOW) == {narrow: 60.0, wide: 1200.0}

    async def test_attempt_that_is_given_back_does_not_count(self, registry: IRegistry) -> None:
        """A bucket never holds less than nothing."""
        key, other = random_digest(), random_digest()
        limits = {key: Limit(2), other: Limit(2)}
        for _ in range(10):
            assert await registry.begin_attempt(limits, NOW) == {}
            await registry.give_back([key, other])
        assert await registry.begin_attempt(limits, NOW) == {}
        assert await registry.begin_attempt(limits, NOW) == {}
        assert set(await registry.begin_attempt(limits, NOW)) == {key, other}
        await registry.give_back([key])
        assert set(await registry.begin_attempt(limits, NOW)) == {other}
        assert await registry.begin_attempt({key: Limit(2)}, NOW) == {}
        # Neither what is given back too often nor what was never counted makes room.
        for _ in range(5):
            await registry.give_back([key, random_digest()])
        await registry.give_back([])
        assert [await registry.begin_attempt({key: Limit(2)}, NOW) for _ in range(3)][:2] == [{}, {}]
        assert await registry.begin_attempt({key: Limit(2)}, NOW) == {key: 30.0}

    async def test_no_attempt_leaks_out_where_the_clock_went_back(self, registry: IRegistry) -> None:
        limits = {random_digest(): Limit(2)}
        for now in (NOW, NOW - 60):
            assert await registry.begin_attempt(limits, now) == {}
        assert await registry.begin_attempt(limits, NOW - 60) != {}

    async def test_attempts_at_once_do_not_exceed_the_limit(self, registry: IRegistry) -> None:
        """They share a throttle key, and name it first or second."""
        for crowd in CROWDS:
            shared, limit = random_digest(), Limit(3, 10**6)
            keys = [random_digest() for _ in range(crowd)]
            orders = [
                {shared: limit, each: limit} if number % 2 else {each: limit, shared: limit}
                for number, each in enumerate(keys)
            ]
            answers = await at_once(registry.begin_attempt(each, NOW) for each in orders)
            assert answers.count({}) == min(crowd, 3)
            await at_once(registry.give_back([each, shared]) for each in keys)
            answers = await at_once(registry.begin_attempt({shared: limit}, NOW) for _ in range(crowd))
            assert answers.count({}) == min(crowd, 3)

    async def test_attempts_are_pruned_as_failures_are(self, registry: IRegistry) -> None:
        await registry.begin_attempt({random_digest(): Limit(3), random_digest(): Limit(3)}, NOW)
        assert await registry.prune_failures(NOW, 10) == 0
        assert await registry.prune_failures(NOW + 1, 10) == 2

    async def test_old_buckets_are_pruned(self, registry: IRegistry) -> None:
        """No more at once than asked for."""
        kept = random_digest()
        for key, now in ((kept, NOW), *((random_digest(), NOW - age) for age in (1, 2, 3))):
            await registry.count_failures({key: Limit(30)}, now)
        assert [await registry.prune_failures(NOW, 2) for _ in range(3)] == [2, 1, 0]
        assert await registry.count_failures({kept: Limit(30)}, NOW) == {kept: 2}
