"""The lease on pruning: a round that takes long keeps it, and one that has lost it ends.

The registry works in its own time, and the rounds go by a clock that the test moves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import servers
from reactors import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock, deferLater

from djoauth2_twisted.errors import TemporarilyUnavailable
from djoauth2_twisted.housekeeping import LEASE, RENEW_INTERVAL, Housekeeping
from djoauth2_twisted.interfaces import IRegistry
from djoauth2_twisted.stores.contract import NOW
from djoauth2_twisted.stores.memory import MemoryRegistry
from djoauth2_twisted.stores.urls import from_url

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture(params=["sqlite", servers.WITH_POSTGRESQL, servers.WITH_MARIADB])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/oauth.db"
        return
    server = {"postgresql": servers.POSTGRESQL, "mariadb": servers.MARIADB}[request.param]
    with servers.made(server) as made:
        servers.prepare(made)
        yield made


class Leases:
    """The leases of a registry, and what it has yet to answer."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry
        self._asked: list[Deferred[None]] = []
        self.is_away = False

    def acquire_lease(self, *arguments: Any) -> Deferred[bool]:
        if self.is_away:
            raise TemporarilyUnavailable()
        answered: Deferred[None] = Deferred()
        self._asked.append(answered)

        def answer(result: bool) -> bool:
            answered.callback(None)
            return result

        acquired: Deferred[bool] = self._registry.acquire_lease(*arguments)
        return acquired.addBoth(answer)

    async def settle(self) -> None:
        """Wait until all who asked know the answer."""
        await gatherResults(self._asked)
        await deferLater(reactor, 0)


class Rounds:
    """A server's rounds of pruning, none of which comes to its end."""

    def __init__(self, registry: Any) -> None:
        self.clock = Clock()
        self.clock.rightNow = NOW
        self.leases = Leases(registry)
        self.begun, self.cancelled = 0, 0
        leases: Any = self.leases
        self.housekeeping = Housekeeping(
            self.clock, leases, seconds=self.clock.seconds, clean_up=self._clean_up, flush=self._flush
        )

    async def _flush(self) -> None:
        """There is nothing to flush."""

    async def _clean_up(self, _: int) -> None:
        self.begun += 1
        try:
            await Deferred()
        except CancelledError:
            self.cancelled += 1
            raise

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.leases.settle()

    def taken_by_another(self) -> Deferred[bool]:
        """Whether another server gets the lease now."""
        now = int(self.clock.seconds())
        taken: Deferred[bool] = self.leases.acquire_lease("prune", "another", now + LEASE, now)
        return taken


@pytest_twisted.async_yield_fixture
async def in_database(url: str) -> AsyncIterator[IRegistry]:
    database, registry, _ = from_url(reactor, url)
    database.open()
    yield registry
    await database.close()


@pytest_twisted.async_yield_fixture
async def rounds(registry: IRegistry) -> AsyncIterator[Rounds]:
    rounds = Rounds(registry)
    rounds.housekeeping.start()
    await rounds.leases.settle()
    yield rounds
    rounds.housekeeping.stop()
    assert rounds.cancelled == rounds.begun
    assert not rounds.clock.getDelayedCalls()


class LeaseOfRounds:
    """What is true of every registry."""

    async def test_a_round_that_takes_longer_than_the_lease_keeps_it(self, rounds: Rounds) -> None:
        for _ in range(3 * LEASE // RENEW_INTERVAL):
            await rounds.advance(RENEW_INTERVAL)
            assert not await rounds.taken_by_another()
        assert (rounds.begun, rounds.cancelled) == (1, 0)

    async def test_a_renewal_that_fails_is_tried_again(self, rounds: Rounds) -> None:
        """Before the lease expires."""
        rounds.leases.is_away = True
        await rounds.advance(RENEW_INTERVAL)
        await rounds.advance(RENEW_INTERVAL)
        rounds.leases.is_away = False
        await rounds.advance(RENEW_INTERVAL)
        await rounds.advance(RENEW_INTERVAL)
        assert not await rounds.taken_by_another()
        assert (rounds.begun, rounds.cancelled) == (1, 0)

    async def test_a_round_that_has_lost_the_lease_ends(self, rounds: Rounds) -> None:
        """As that of a process that was suspended. The other server prunes then."""
        rounds.clock.rightNow += LEASE
        assert await rounds.taken_by_another()
        await rounds.advance(0)
        assert (rounds.begun, rounds.cancelled) == (1, 1)
        await rounds.advance(RENEW_INTERVAL)
        assert rounds.begun == 1

    async def test_the_lease_of_a_stopped_server_is_free_after_its_time(self, rounds: Rounds) -> None:
        rounds.housekeeping.stop()
        rounds.clock.advance(LEASE - 1)
        assert not await rounds.taken_by_another()
        rounds.clock.advance(1)
        assert await rounds.taken_by_another()


class TestMemory(LeaseOfRounds):
    @pytest.fixture
    def registry(self) -> IRegistry:
        return MemoryRegistry()


class TestSQL(LeaseOfRounds):
    @pytest.fixture
    def registry(self, in_database: IRegistry) -> IRegistry:
        return in_database
