"""Two `Database` objects on one database, as in two processes: no common writer orders their steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import servers
import sqlalchemy as sa
from reactors import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from djoauth2_twisted.models import Issued, Limit
from djoauth2_twisted.stores.contract import NOW, new_grant, new_issuance, proof_of, random_digest
from djoauth2_twisted.stores.sql import schema
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.registry import SQLRegistry
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore


@pytest.fixture(params=["sqlite", servers.WITH_POSTGRESQL, servers.WITH_MARIADB])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'oauth.db'}"
        return
    with servers.made(
        {"postgresql": servers.POSTGRESQL, "mariadb": servers.MARIADB}[request.param]
    ) as made:
        servers.prepare(made)
        yield made


@pytest_twisted.async_yield_fixture
async def databases(url: str) -> AsyncIterator[list[Database]]:
    databases = [Database(reactor, url) for _ in range(2)]
    for database in databases:
        database.open()
    yield databases
    for database in databases:
        await database.close()


_PAIR = {
    "access_expires": 0,
    "grant_id": "",
    "scopes": "",
    "issued": 0,
    "access_revoked": False,
    "rotated": False,
}

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.mark.parametrize("url", [servers.WITH_POSTGRESQL], indirect=True)
async def test_pruning_what_is_used_this_moment(
    patient: None, url: str, databases: list[Database]
) -> None:
    """A code is redeemed in its last second, by a process whose clock is behind."""
    one, other = (SQLTokenStore(database) for database in databases)
    grant = new_grant()
    assert await one.add_code(grant)
    issuance = new_issuance(now=grant.expires - 1)
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with (
        engine.connect() as obstacle,
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watching,
    ):

        async def waiting(count: int) -> None:
            while watching.exec_driver_sql(_WAITING).scalar_one() < count:
                assert not redeeming.called
                await deferLater(reactor, 0.01)

        # Of two transactions that insert the same token, the second waits for the end of the first.
        obstacle.execute(sa.insert(schema.token), {**_PAIR, "access_digest": issuance.access_digest})
        redeeming = one.redeem_code(grant.code_digest, proof_of(grant), issuance)
        await waiting(1)
        # The grant is left out, without waiting for it.
        assert await other.prune(grant.expires, 10) == 0
        obstacle.rollback()
    assert isinstance(await redeeming, Issued)
    assert await other.prune(grant.expires, 10) == 0
    assert await one.find_access_token(issuance.access_digest) is not None


async def test_the_first_failure_of_a_throttle_key_in_both(databases: list[Database]) -> None:
    """Both are counted, and neither is an error."""
    registries = [SQLRegistry(database) for database in databases]
    for _ in range(3):
        keys = [random_digest() for _ in range(16)]
        limits = [{key: Limit(30)} for key in keys]
        counting: list[Any] = [each.count_failures(one, NOW) for one in limits for each in registries]
        counts = await gatherResults(counting, consumeErrors=True)
        found = sorted(level for count in counts for level in count.values())
        assert found == [1] * len(keys) + [2] * len(keys)
