"""A pooler before PostgreSQL, by which each transaction may meet another backend.

Two stores in this process stand for two processes. Behaviours RV-01, RV-10, DB-07.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from outage_kit import Guard, Kept, PgBouncer, PostgreSQL, issuance, opened
from twisted.internet.defer import gatherResults
from twisted.logger import capturedLogs

from djoauth2_twisted.credentials import digest


@pytest.fixture(params=["transaction", "session"])
def pooler(postgresql: PostgreSQL, request: pytest.FixtureRequest) -> Iterator[PgBouncer]:
    """PgBouncer in each of the modes that know transactions."""
    engine = PgBouncer(postgresql, request.param)
    try:
        engine.start()
        yield engine
    finally:
        engine.remove()


async def test_clients_of_one_backend_do_not_share_prepared_statements(pooler: PgBouncer) -> None:
    """Two share their backends, and each asks for everything often enough to have it prepared."""
    async with opened(pooler) as one, opened(pooler) as other:
        for _ in range(12):
            grant, token = await issuance(one)
            asked = [each.find_access_token(digest(token)) for each in (one, other) * 4]
            found = await gatherResults(asked)
            assert {each and each.grant_id for each in found} == {grant.id}
            assert (await other.find_grant(grant.id)) is not None
            assert await other.revoke(digest(token), grant.client_id)
            assert await one.find_access_token(digest(token)) is None
        await (await Kept.put_into(other)).is_whole()


async def test_nothing_is_kept_behind_it(pooler: PgBouncer, postgresql: PostgreSQL) -> None:
    """Without notifications each token is looked up; processes without the pooler get notifications."""
    with capturedLogs() as logs:
        async with opened(pooler) as behind, opened(postgresql) as beside:
            pooled, direct = Guard.over(behind), Guard.over(beside)
            grant, token = await issuance(behind)
            await direct.keeps(token)
            for _ in range(10):
                assert await pooled.accepts(token)
                assert not pooled.has_cached(token)
            assert await behind.revoke_grant(grant.id)
            assert await pooled.accepts(token) is False
            await direct.refuses(token, time.monotonic())
    # Other warnings are about the database's settings.
    warned = [str(event["error"]) for event in logs if "are not cached" in event["log_format"]]
    assert len(warned) == 1
    assert "pooler" in warned[0]
