"""The whole server, on SQL and Redis beside it, as one who asks over HTTP sees it.

Behaviours F-06, F-08, F-19, F-20, BG-17, RV-07, RD-04.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from http.client import HTTPConnection
from typing import Any

import attrs
import pytest
import pytest_twisted
from outage_kit import HEALED, IN_TIME, PostgreSQL, Redis, Resources, back_to
from reactors import port_of, reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs
from twisted.web.resource import Resource
from twisted.web.server import Site
from waiting import PATIENCE

from djoauth2_twisted import AuthorizationServer, Settings
from djoauth2_twisted.credentials import digest, random_string
from djoauth2_twisted.models import Issued
from djoauth2_twisted.stores.contract import CODE_LIFETIME, new_grant, new_issuance, proof_of
from djoauth2_twisted.stores.sql.database import Database


@attrs.frozen
class Whole:
    """A server, and a token that is good there."""

    server: AuthorizationServer
    port: int
    token: str

    async def get(self, path: str, **headers: str) -> Any:
        """Ask, and be answered in time."""
        since = time.monotonic()
        answer = await deferToThread(self._get, path, headers)
        assert time.monotonic() - since < IN_TIME
        return answer

    def _get(self, path: str, headers: dict[str, str]) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer
        finally:
            connection.close()

    async def guarded(self) -> int:
        """What a bearer of the good token is answered."""
        answer = await self.get("/api/user_info/", Authorization=f"Bearer {self.token}")
        if answer.status == 503:
            assert answer.headers["retry-after"]
        return answer.status

    async def health(self) -> int:
        """What the health page says."""
        return (await self.get("/healthz")).status


@pytest_twisted.async_yield_fixture
async def whole(postgresql: PostgreSQL, redis: Redis) -> AsyncIterator[Whole]:
    """A server whose tokens are in Redis, and the rest in PostgreSQL."""
    # With its first port the reactor sets a descriptor aside, for when there are no more.
    first = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(Resource()))
    await maybeDeferred(first.stopListening)
    base = Resources.now()
    database = Database(reactor, postgresql.url())
    database.open(prepare=True)
    await database.close()
    server = AuthorizationServer.from_url(
        reactor,
        postgresql.url(),
        token_store=redis.url(),
        issuer="https://as.example",
        settings=Settings(ssl_only=False),
    )
    with capturedLogs():
        server.startService()
        await server.when_ready()
        # The server prunes by the system's time, so the code must not be as old as the tests.
        end = int(time.time()) + CODE_LIFETIME
        token = random_string(40)
        grant = new_grant(scopes=("user_info",), expires=end, code_expires=end)
        assert await server.tokens.add_code(grant)
        issuance = attrs.evolve(new_issuance(), access_digest=digest(token))
        assert isinstance(
            await server.tokens.redeem_code(grant.code_digest, proof_of(grant), issuance), Issued
        )
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(Site(server.root()))
        yield Whole(server, port_of(port), token)
        await maybeDeferred(port.stopListening)
        await server.stopService()
    await back_to(base)


@pytest.mark.parametrize("which", ["postgresql", "redis"])
@pytest.mark.parametrize("fault", ["stopped", "hung"])
async def test_health(whole: Whole, request: pytest.FixtureRequest, which: str, fault: str) -> None:
    """503 with Retry-After while one of them fails, never 401; 200 again, soon and by itself."""
    engine = request.getfixturevalue(which)
    assert [await whole.health(), await whole.guarded()] == [200, 200]
    engine.kill() if fault == "stopped" else engine.hang()
    for _ in range(2):
        assert await whole.health() == 503
        assert await whole.guarded() == 503
    engine.start() if fault == "stopped" else engine.go_on()
    since = time.monotonic()
    while [await whole.health(), await whole.guarded()] != [200, 200]:
        assert time.monotonic() - since < HEALED
