"""The HTTP clients of `growth.py`: a client application, browsers, and bystanders."""

import re
import time
from collections import Counter, deque

from attrs import define, field
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.server import Site

#: The time between two bystanders, in seconds. Every fifth bystander also refreshes.
INTERVAL, REFRESH_EACH = 0.05, 5

#: How many bystanders wait for answers at once. Others ask later; their wait begins when they are due.
MAX_AT_ONCE = 50


class Application:
    """A client of the server, and its browsers."""

    def __init__(self, reactor, server):
        self.client_id = self.secret = ""
        site = Site(server.root())
        self.port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.pool = HTTPConnectionPool(reactor)
        self.pool.maxPersistentPerHost = MAX_AT_ONCE
        # The server closes idle connections after a minute.
        self.pool.cachedConnectionTimeout = 30
        self._agent = Agent(reactor, pool=self.pool)
        self._origin = f"http://127.0.0.1:{self.port.getHost().port}"
        self._http = self.browser()

    def browser(self):
        """A browser with its own cookies."""
        return HTTPClient(self._agent)

    async def ask(self, method, path, browser=None, headers=None, form=None):
        """The status and the body of an answer."""
        response = await (browser or self._http).request(
            method, self._origin + path, headers=headers, data=form, allow_redirects=False
        )
        return response.code, await response.content()

    async def guard(self, token):
        """Whether the guard accepts a token."""
        headers = {"Authorization": f"Bearer {token}"}
        status, _ = await self.ask("GET", "/api/user_info/", headers=headers)
        return status == 200

    async def tokens(self, **form):
        """Exchange a code or refresh token. Returns both new tokens, or None if it is refused."""
        form |= {"client_id": self.client_id, "client_secret": self.secret}
        status, body = await self.ask("POST", "/oauth2/token/", form=form)
        if status != 200:
            return None
        return tuple(re.search(rf'"{name}": *"([^"]+)"'.encode(), body)[1].decode() for name in _TOKENS)

    async def log_in(self, username, password):
        """Log in. Returns the browser, and how long the answer took, in seconds."""
        browser = self.browser()
        _, page = await self.ask("GET", "/oauth2/login/", browser)
        proof = re.search(rb'name="csrf_token" value="([^"]+)"', page)[1].decode()
        form = {"username": username, "password": password, "csrf_token": proof}
        begun = time.perf_counter()
        status, _ = await self.ask("POST", "/oauth2/login/", browser, form=form)
        took = time.perf_counter() - begun
        assert status == 303, f"the login was answered {status}"
        return browser, took

    async def page(self, path, browser):
        """A page, as a logged-in browser gets it."""
        status, body = await self.ask("GET", f"/oauth2/{path}", browser)
        assert status == 200, f"it was answered {status}"
        return body

    async def close(self):
        """Close the connections and the port."""
        await self.pool.closeCachedConnections()
        await self.port.stopListening()


_TOKENS = ("access_token", "refresh_token")


@define
class Bystanders:
    """Other clients, which send requests all the time, and their waits since `watch`."""

    application: Application
    guards: list[str]  #: access tokens
    chains: deque[str]  #: refresh tokens, each of another grant
    longest: float = 0.0
    asked: int = 0
    refused: int = 0
    failed: Counter[str] = field(factory=Counter)  #: how often each error came instead of an answer
    _under_way: int = 0
    _turn: int = 0
    _due: float = 0.0
    _loop: LoopingCall = field(init=False)

    def start(self, reactor):
        """Start the requests."""
        self._due = time.perf_counter()
        self._loop = LoopingCall(self._ask_all)
        self._loop.clock = reactor
        self._loop.start(INTERVAL)

    def _ask_all(self):
        # Several are due if the process was busy for longer than an interval.
        while self._due <= time.perf_counter() and self._under_way < MAX_AT_ONCE:
            self._turn += 1
            Deferred.fromCoroutine(self._ask(self._guard(), self._due))
            if self._turn % REFRESH_EACH == 0 and self.chains:
                Deferred.fromCoroutine(self._ask(self.refresh(), self._due))
            self._due += INTERVAL

    async def _ask(self, question, since):
        self._under_way += 1
        try:
            good = await question
        except Exception as error:  # Any error counts as no answer.
            self.failed[repr(error)] += 1
            good = False
        self._under_way -= 1
        self.asked += 1
        self.refused += not good
        self.longest = max(self.longest, time.perf_counter() - since)

    def _guard(self):
        return self.application.guard(self.guards[self._turn % len(self.guards)])

    async def refresh(self):
        """Refresh one of the chains. Returns whether that succeeded."""
        chain = self.chains.popleft()
        tokens = await self.application.tokens(grant_type="refresh_token", refresh_token=chain)
        if tokens is not None:
            self.chains.append(tokens[1])
        return tokens is not None

    def watch(self):
        """Reset the counts."""
        self.longest, self.asked, self.refused = 0.0, 0, 0

    async def settled(self, reactor):
        """Wait until all requests that were due before now are answered."""
        due = time.perf_counter()
        while self._due < due or self._under_way > 2:
            await deferLater(reactor, INTERVAL)

    async def stop(self, reactor):
        """Stop the requests, and wait for the last answers."""
        self._loop.stop()
        while self._under_way:
            await deferLater(reactor, INTERVAL)
