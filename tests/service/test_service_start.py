"""The reactor continues while passwords and SQL take their time: shown by order, not by time."""

from __future__ import annotations

from threading import Event
from typing import Any
from urllib.parse import urlencode

import pytest_twisted
import treq
from service_kit import FORM, ISSUER, Prepared
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from waiting import PATIENCE

from djoauth2_twisted import credentials
from djoauth2_twisted.cli.demo.walk import Form
from djoauth2_twisted.passwords import THREADS
from djoauth2_twisted.server import AuthorizationServer
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.registry import SQLRegistry
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore
from djoauth2_twisted.web.site import LimitedSite


class Running:
    """A server in this process, at a TLS port, and a browser for it."""

    def __init__(self, reactor: Any, prepared: Prepared) -> None:
        self.database = Database(reactor, f"sqlite:///{prepared.database}")
        stores = SQLRegistry(self.database), SQLTokenStore(self.database)
        self.server = AuthorizationServer(reactor, self.database, *stores, issuer=ISSUER)
        pem = prepared.certificate
        self.endpoint = serverFromString(reactor, f"ssl:0:interface=127.0.0.1:privateKey={pem}")
        self.site = LimitedSite(self.server.root(), reactor)
        roots = trustRootFromCertificates([Certificate.loadPEM(pem.read_bytes())])
        self.pool = HTTPConnectionPool(reactor)
        self.http = HTTPClient(Agent(reactor, BrowserLikePolicyForHTTPS(roots), pool=self.pool))

    async def start(self) -> None:
        """Listen, and wait until it is ready."""
        self.listening = await self.endpoint.listen(self.site)
        self.address = f"https://localhost:{self.listening.getHost().port}"
        self.server.startService()
        await self.server.when_ready()

    async def stop(self) -> None:
        """Listen no more, and close everything."""
        await self.listening.stopListening()
        await self.server.stopService()
        await self.pool.closeCachedConnections()

    async def get(self, path: str) -> tuple[int, str]:
        """Ask for a page."""
        response = await self.http.get(self.address + path, allow_redirects=False)
        return response.code, await treq.text_content(response)

    async def log_in(self) -> int:
        """Try to log in."""
        response = await self.http.get(f"{self.address}/oauth2/login/")
        cookies = response.cookies()
        fields = Form(await treq.text_content(response)).fields
        body = urlencode({**fields, "username": "alice", "password": "wrong"}).encode()
        response = await self.http.post(
            f"{self.address}/oauth2/login/",
            data=body,
            headers=Headers({"Content-Type": [FORM]}),
            cookies=cookies,
            allow_redirects=False,
        )
        await treq.content(response)
        status: int = response.code
        return status


@pytest_twisted.async_yield_fixture
async def running(prepared: Prepared):
    """A server that runs."""
    from twisted.internet import reactor

    running = Running(reactor, prepared)
    await running.start()
    yield running
    await running.stop()


class Obstacle:
    """Work that is not done until it may continue."""

    def __init__(self) -> None:
        self._reached, self._released = Event(), Event()
        self.passed = False

    def __call__(self, *_: object) -> bool:
        self._reached.set()
        self._released.wait(PATIENCE)
        self.passed = True
        return False

    def reached(self) -> Deferred[bool]:
        """Fires when a thread has come here."""
        return deferToThread(self._reached.wait, PATIENCE)

    def release(self) -> None:
        """Let it continue."""
        self._released.set()


PAGES = ("/oauth2/style.css", "/oauth2/login/", "/api/user_info/", "/oauth2/token/", "/healthz")
WITHOUT_STORE = PAGES[:4]
# Whether the store takes writes is part of being healthy.
READING = (*WITHOUT_STORE, "/.well-known/oauth-authorization-server")


async def are_answered(running: Running, paths: tuple[str, ...], *obstacles: Obstacle) -> None:
    """See requests answered while threads stand before their obstacles, which then are taken away."""
    try:
        for obstacle in obstacles:
            assert await obstacle.reached()
        statuses = [(await running.get(path))[0] for path in paths]
        assert not any(obstacle.passed for obstacle in obstacles)
        assert statuses == [200, 200, 401, 405, 200][: len(paths)]
    finally:
        for obstacle in obstacles:
            obstacle.release()


@pytest_twisted.ensureDeferred
async def test_requests_are_answered_while_passwords_are_verified(running: Running, monkeypatch):
    """argon2 has its own threads, and when all of them are busy the others still continue."""
    obstacle = Obstacle()
    monkeypatch.setattr(credentials, "verify_password", obstacle)
    logins = gatherResults([Deferred.fromCoroutine(running.log_in()) for _ in range(THREADS + 2)])
    await are_answered(running, PAGES, obstacle)
    assert await logins == [403] * (THREADS + 2)


@pytest_twisted.ensureDeferred
async def test_requests_are_answered_while_something_is_written(running: Running):
    """Those that only read continue while the writer works."""
    obstacle = Obstacle()
    # It may be given up before it is done, as one that takes too long is.
    writing = running.database.write(obstacle, key="key").addErrback(lambda _: None)
    await are_answered(running, READING, obstacle)
    await writing


@pytest_twisted.ensureDeferred
async def test_requests_are_answered_while_all_readers_read(running: Running):
    """Those that need nothing of the store continue."""
    obstacles = [Obstacle() for _ in range(2)]
    reading = [running.database.read(obstacle).addErrback(lambda _: None) for obstacle in obstacles]
    await are_answered(running, WITHOUT_STORE, *obstacles)
    await gatherResults(reading)
