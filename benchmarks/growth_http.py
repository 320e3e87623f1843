"""Those who talk to the server of `growth.py`: a client, browsers, and bystanders."""

import re
import time
from collections import Counter, deque

from attrs import define, field
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.server import Site

#: Between two bystanders, in seconds; each so manieth refreshes, too.
INTERVAL, REFRESH_EACH = 0.05, 5

#: So many of them ask at once; those who would be more ask later, and wait from when they were to.
MAX_AT_ONCE = 50


class Application:
    """A client of the server's, and a browser."""

    def __init__(self, reactor, server):
        self.client_id = self.secret = ""
        site = Site(server.root())
        self.port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.pool = HTTPConnectionPool(reactor)
        self.pool.maxPersistentPerHost = MAX_AT_ONCE
        # Before the server hangs up, which is after a minute.
        self.pool.cachedConnectionTimeout = 30
        self._agent = Agent(reactor, pool=self.pool)
        self._origin = f"http://127.0.0.1:{self.port.getHost().port}"
        self._http = self.browser()

    def browser(self):
        """A browser, with cookies of its own."""
        return HTTPClient(self._agent)

    async def ask(self, method, path, browser=None, headers=None, form=None):
        """The status and the body of an answer."""
        response = await (browser or self._http).request(
            method, self._origin + path, headers=headers, data=form, allow_redirects=False
        )
        return response.code, await response.content()

    async def guard(self, token):
        """Whether a guard lets a token in."""
        headers = {"Authorization": f"Bearer {token}"}
        status, _ = await self.ask("GET", "/api/user_info/", headers=headers)
        return status == 200

    async def tokens(self, **form):
        """What a code or a refresh token is exchanged for; None where that is refused."""
        form |= {"client_id": self.client_id, "client_secret": self.secret}
        status, body = await self.ask("POST", "/oauth2/token/", form=form)
        if status != 200:
            return None
        return tuple(re.search(rf'"{name}": *"([^"]+)"'.encode(), body)[1].decode() for name in _TOKENS)

    async def log_in(self, username, password):
        """A browser with a new login, and how long the answer took, in seconds."""
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
        """A page of whoever has logged in."""
        status, body = await self.ask("GET", f"/oauth2/{path}", browser)
        assert status == 200, f"it was answered {status}"
        return body

    async def close(self):
        """Hang up."""
        await self.pool.closeCachedConnections()
        await self.port.stopListening()


_TOKENS = ("access_token", "refresh_token")


@define
class Bystanders:
    """Others, who ask all the while, and how long they waited since `watch`."""

    application: Application
    guards: list[str]  #: access tokens
    chains: deque[str]  #: refresh tokens, each of a grant of its own
    longest: float = 0.0
    asked: int = 0
    refused: int = 0
    failed: Counter[str] = field(factory=Counter)  #: what was no answer, by what it was instead
    _under_way: int = 0
    _turn: int = 0
    _due: float = 0.0
    _loop: LoopingCall = field(init=False)

    def start(self, reactor):
        """Begin to ask."""
        self._due = time.perf_counter()
        self._loop = LoopingCall(self._ask_all)
        self._loop.clock = reactor
        self._loop.start(INTERVAL)

    def _ask_all(self):
        # Those too who could not ask in time, since the process was held up.
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
        except Exception as error:  # Whatever it was, it was no answer.
            self.failed[repr(error)] += 1
            good = False
        self._under_way -= 1
        self.asked += 1
        self.refused += not good
        self.longest = max(self.longest, time.perf_counter() - since)

    def _guard(self):
        return self.application.guard(self.guards[self._turn % len(self.guards)])

    async def refresh(self):
        """Whether one of the chains could be refreshed."""
        chain = self.chains.popleft()
        tokens = await self.application.tokens(grant_type="refresh_token", refresh_token=chain)
        if tokens is not None:
            self.chains.append(tokens[1])
        return tokens is not None

    def watch(self):
        """Count anew."""
        self.longest, self.asked, self.refused = 0.0, 0, 0

    async def settled(self, reactor):
        """Wait until all who had to wait are answered."""
        due = time.perf_counter()
        while self._due < due or self._under_way > 2:
            await deferLater(reactor, INTERVAL)

    async def stop(self, reactor):
        """Ask no more."""
        self._loop.stop()
        while self._under_way:
            await deferLater(reactor, INTERVAL)
