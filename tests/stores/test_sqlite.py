"""The SQL stores keep the contracts on SQLite, in a file and in memory, and between processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from reactors import reactor
from twisted.internet.defer import gatherResults

from djoauth2_twisted.interfaces import IRegistry, ITokenStore
from djoauth2_twisted.models import Grant, GrantFilter, Issued, Page, RefreshProof, Replayed, Unknown
from djoauth2_twisted.stores.contract import (
    CROWDS,
    ClientFeedContract,
    InvalidationFeedContract,
    RegistryBacklogContract,
    RegistryContract,
    TokenBacklogContract,
    TokenStoreContract,
    family_of,
    new_grant,
    new_issuance,
    new_user,
    proof_of,
)
from djoauth2_twisted.stores.sql import many_grants
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.urls import Opened, from_url

pytestmark = pytest.mark.usefixtures("patient")

Opening = tuple[Opened, IRegistry, ITokenStore]


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db" if request.param == "file" else "sqlite://"


@pytest_twisted.async_yield_fixture
async def opened(url: str) -> AsyncIterator[Opening]:
    database, registry, token_store = from_url(reactor, url)
    database.open()
    yield database, registry, token_store
    await database.close()


@pytest.fixture
def token_store(opened: Opening) -> ITokenStore:
    return opened[2]


@pytest.fixture
def registry(opened: Opening) -> IRegistry:
    return opened[1]


class TestSQLiteClientFeed(ClientFeedContract):
    pass


class TestSQLiteInvalidationFeed(InvalidationFeedContract):
    pass


class TestSQLiteTokenStore(TokenStoreContract, TokenBacklogContract):
    pass


class TestSQLiteRegistry(RegistryContract, RegistryBacklogContract):
    pass


@pytest.mark.parametrize(("count", "batches"), [(0, 1), (1, 1), (2, 2), (5, 3)])
async def test_many_are_ended_batch_by_batch(
    opened: Opening, monkeypatch: pytest.MonkeyPatch, count: int, batches: int
) -> None:
    """No step takes long, and others have their turn in between."""
    monkeypatch.setattr(many_grants, "FIRST", 2)
    monkeypatch.setattr(many_grants, "MAX_GRANTS", 2)
    database, _, token_store = opened
    assert isinstance(database, Database)
    write, steps = database.write, []

    def note(step: Any, *arguments: Any, key: str) -> Any:
        steps.append(step)
        return write(step, *arguments, key=key)

    for _ in range(count):
        assert await token_store.add_code(new_grant(client_id="popular"))
    assert await token_store.add_code(new_grant(client_id="another"))
    monkeypatch.setattr(database, "write", note)
    assert await token_store.revoke_grants(client_id="popular") == count
    assert len(steps) == batches
    assert await token_store.count_grants() == 1


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Callable[[int], list[Opening]]]:
    """Opens one file as several processes would: each with threads and connections of its own."""
    running: list[Opening] = []

    def start(number: int) -> list[Opening]:
        for _ in range(number):
            running.append(from_url(reactor, f"sqlite:///{tmp_path}/store.db"))
            running[-1][0].open()
        return running

    yield start
    pytest_twisted.blockon(gatherResults([database.close() for database, _, _ in running]))


class TestProcesses:
    """DB-09, F-18: several processes on one file."""

    async def test_see_what_the_other_has_written(
        self, processes: Callable[[int], list[Opening]]
    ) -> None:
        """RV-01: what one process has answered holds in the other from the next request on."""
        (_, one_registry, one), (_, other_registry, other) = processes(2)
        for number in range(20):
            grant, issuance = new_grant(), new_issuance()
            await one.add_code(grant)
            await other.redeem_code(grant.code_digest, proof_of(grant), issuance)
            assert await one.find_access_token(issuance.access_digest) is not None
            assert await one.revoke_grant(grant.id)
            assert await other.find_access_token(issuance.access_digest) is None
            await one_registry.add_user(new_user(str(number)))
            assert await other_registry.find_user(str(number)) is not None

    async def test_race_for_one_code(self, processes: Callable[[int], list[Opening]]) -> None:
        """CC-01: exactly one exchange in all of them succeeds, and no caller gets a "busy" error."""
        stores = [tokens for _, _, tokens in processes(2)]
        for crowd in CROWDS:
            grant, issuances = new_grant(), [new_issuance() for _ in range(crowd)]
            await stores[0].add_code(grant)
            outcomes = await gatherResults(
                [
                    stores[number % 2].redeem_code(grant.code_digest, proof_of(grant), issuance)
                    for number, issuance in enumerate(issuances)
                ],
                consumeErrors=True,
            )
            assert sorted(type(outcome).__name__ for outcome in outcomes) == sorted(
                ["Issued", "Replayed"] + ["Unknown"] * (crowd - 2)
            )
            await self._nothing_is_left(stores, grant, issuances)

    async def test_race_for_one_refresh_token(self, processes: Callable[[int], list[Opening]]) -> None:
        """CC-02: exactly one refresh in all of them succeeds."""
        stores = [tokens for _, _, tokens in processes(2)]
        for crowd in CROWDS:
            grant = new_grant()
            family = family_of(grant)
            first = new_issuance(family_digest=family)
            assert first.refresh_digest is not None
            issuances = [new_issuance(family_digest=family) for _ in range(crowd)]
            await stores[0].add_code(grant)
            await stores[1].redeem_code(grant.code_digest, proof_of(grant), first)
            outcomes = await gatherResults(
                [
                    stores[number % 2].rotate_refresh_token(
                        first.refresh_digest, RefreshProof(grant.client_id, None), issuance
                    )
                    for number, issuance in enumerate(issuances)
                ],
                consumeErrors=True,
            )
            assert len([outcome for outcome in outcomes if isinstance(outcome, Issued)]) == 1
            assert len([outcome for outcome in outcomes if isinstance(outcome, Replayed)]) == 1
            assert outcomes.count(Unknown()) == crowd - 2
            await self._nothing_is_left(stores, grant, [first, *issuances])

    async def _nothing_is_left(self, stores, grant: Grant, issuances) -> None:
        for store in stores:
            assert await store.grants(GrantFilter(), Page()) == []
            for issuance in issuances:
                assert await store.find_access_token(issuance.access_digest) is None
        assert await stores[0].prune(0, 10) == 2

    async def test_many_writers(self, processes: Callable[[int], list[Opening]]) -> None:
        """DB-09: fifty exchanges in two processes all succeed."""
        stores = [tokens for _, _, tokens in processes(2)]
        grants = [new_grant() for _ in range(50)]
        await gatherResults([stores[n % 2].add_code(grant) for n, grant in enumerate(grants)])
        outcomes = await gatherResults(
            [
                stores[n // 2 % 2].redeem_code(grant.code_digest, proof_of(grant), new_issuance())
                for n, grant in enumerate(grants)
            ],
            consumeErrors=True,
        )
        assert all(isinstance(outcome, Issued) for outcome in outcomes)
