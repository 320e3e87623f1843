"""A browser, a client and the server between them, without a network.

A test says what a person and an application do, in the standard's own words::

    def test_a_code_is_good_once(app, alice):
        code = app.code(alice)
        assert tokens_of(app.exchange(code))
        assert_token_error(app.exchange(code), 400, "invalid_grant")

Requests go through `treq.testing`'s agent to the site of the stand-alone server, with the memory stores
and a clock that the test moves. Every answer, whatever the test is about, is held to what must be true
of all of them (`Oracle`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest_twisted
from attrs import frozen
from greenlet import getcurrent, greenlet
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Site, version
from waiting import PATIENCE
from zope.interface import alsoProvides

from djoauth2_twisted import AuthorizationServer, Settings, testing
from djoauth2_twisted.administration import Administration
from djoauth2_twisted.credentials import hash_password
from djoauth2_twisted.models import Client, Event, Grant, GrantFilter, Page, Scope, User
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore
from djoauth2_twisted.stores.urls import from_url
from djoauth2_twisted.testing import Answer, Form, MemorySite, basic, challenge_of
from djoauth2_twisted.testing.browser import STATE
from djoauth2_twisted.testing.requests import FORM, ORIGIN, Fields, Lines, encoded
from djoauth2_twisted.testing.verifier import START
from djoauth2_twisted.web.site import LimitedSite

__all__ = ["FORM", "ORIGIN", "STATE", "Answer", "Form", "basic", "challenge_of", "encoded"]

ISSUER = ORIGIN
SCOPES = ("user_info", "verify", "autologin", "example")
PASSWORDS = {"alice": "correct horse battery", "bob": "staple of another kind"}

# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

#: A form. A field that is None is left out.


class SteppedReactor(Clock):
    """A clock for all that is timed, and the true reactor for what comes back from a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = float(START)
        self.after_thread: list[Any] = []

    def callFromThread(self, function: Any, *arguments: Any, **named: Any) -> None:
        from twisted.internet import reactor as running

        reactor: Any = running

        def call() -> None:
            function(*arguments, **named)
            for flush in self.after_thread:
                flush()

        reactor.callFromThread(call)


class _Test(greenlet):
    """A test that can wait, while the reactor runs on in the greenlet that it was started from."""

    def __init__(self, function: Callable[[], None]) -> None:
        super().__init__(self._run)
        self._function = function
        self._outcome: Failure | None = None
        self.done: Deferred[None] = Deferred()

    def _run(self) -> None:
        try:
            self._function()
        except BaseException:
            self._outcome = Failure()

    def go_on(self, _: object = None) -> None:
        """Run until the test waits or ends."""
        self.switch()
        if self.dead:
            self.done.callback(self._outcome)


def can_wait(test: Callable[..., None]) -> Callable[..., Deferred[None]]:
    """Let a plain test function `wait` for threads and networks."""

    @functools.wraps(test)
    def begin(*arguments: Any, **named: Any) -> Deferred[None]:
        running = _Test(functools.partial(test, *arguments, **named))
        running.go_on()
        return running.done

    return begin


def wait(deferred: Deferred[Any]) -> Any:
    """What a Deferred fires with. Where no thread and no network is about, it has fired already."""
    from twisted.internet import reactor

    fired: list[Any] = []
    deferred.addBoth(fired.append)
    if not fired:
        soon: Deferred[None] = Deferred()
        deferred.addBoth(lambda _: soon.callback(None))
        soon.addTimeout(PATIENCE, reactor)
        here = getcurrent()
        if isinstance(here, _Test):
            # In a turn of its own, not in the middle of whatever has fired it.
            soon.addBoth(lambda _: reactor.callLater(0, here.go_on))
            here.parent.switch()
        else:
            pytest_twisted.blockon(soon)
        assert fired, "there was no answer"
    if isinstance(fired[0], Failure):
        fired[0].raiseException()
    return fired[0]


# RFC 6749, section 5.2: %x20-21 / %x23-5B / %x5D-7E
_DESCRIPTION = {chr(c) for c in range(0x20, 0x7F)} - {'"', "\\"}


class Oracle:
    """What is true of every answer to every request (U-01, U-02, U-04, U-06, U-07, D8)."""

    _LEAKS = (
        b"Traceback", b'File "', b".py", b"site-packages", b"sqlalchemy", b"SELECT ",
        b"Processing Failed", b"TwistedWeb", b"werkzeug", b"klein", b"Error:", b"object at 0x",
    )  # fmt: skip
    _JWT = re.compile(rb"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+")
    _SENSITIVE = frozenset(
        {"code", "refresh_token", "client_secret", "password", "code_verifier", "access_token"}
    )

    def __init__(self, origin: str) -> None:
        self._origin = urlsplit(origin)
        self.redirect_uris: set[str] = set()
        self.secrets: set[str] = set()

    def check(self, answer: Answer, sent: bytes, faults: bool = False, ours: bool = True) -> None:
        """Look at an answer.

        :param sent: query and form of the request.
        :param faults: whether something was made to go wrong.
        :param ours: whether the page is the server's own, rather than an application's.
        """
        if not faults:
            assert answer.status < 500, f"U-01: {answer.status} {answer.body[:300]!r}"
        self._check_leaks(answer, sent, ours)
        if ours:
            self._check_headers(answer)
        self._check_errors(answer)
        if answer.header("location") is not None:
            self._check_location(answer)

    def _check_leaks(self, answer: Answer, sent: bytes, ours: bool) -> None:
        heads = [b": ".join((n, v)) for n, vs in answer.headers.getAllRawHeaders() for v in vs]
        # Of an application's own pages its site tells what it likes.
        everything = b"\n".join([*heads, answer.body]).replace(b"" if ours else version, b"")
        # What is random in a signature may begin with "py".
        readable = self._JWT.sub(b"", everything)
        for leak in self._LEAKS:
            assert leak not in readable, f"U-02: {leak!r}"
        if answer.status >= 400:
            for name, value in parse_qsl(sent.decode("latin-1")):
                if name in self._SENSITIVE and len(value) > 7:
                    assert value.encode() not in everything, f"D8: {name} is repeated"

    def _check_headers(self, answer: Answer) -> None:
        names = {name.lower() for name, _ in answer.headers.getAllRawHeaders()}
        assert not {name for name in names if name.startswith(b"access-control-")}, "AZ-31, CA-28"
        kind = answer.header("content-type") or ""
        if "html" in kind:
            assert kind == "text/html; charset=utf-8"
            assert "frame-ancestors 'none'" in (answer.header("content-security-policy") or "")
        if kind == "application/json" or "html" in kind or answer.status == 303:
            assert answer.header("cache-control") == "no-store", "U-07"
            assert answer.header("x-content-type-options") == "nosniff"
            assert answer.header("referrer-policy") == "no-referrer"

    def _check_errors(self, answer: Answer) -> None:
        said: dict[str, Any] = {}
        if answer.header("content-type") == "application/json" and answer.body:
            said = answer.json
        elif answer.header("location") is not None:
            said = dict(parse_qsl(urlsplit(answer.location).query, keep_blank_values=True))
        for name in ("error", "error_description", "error_uri"):
            for c in said.get(name, ""):
                assert c in _DESCRIPTION, f"U-06: {c!r} in {name}"
        for header in answer.headers.getRawHeaders("www-authenticate", []):
            assert header.isascii()
            assert header.isprintable()

    def _check_location(self, answer: Answer) -> None:
        there = urlsplit(answer.location)
        assert answer.status == 303
        assert answer.location.isascii()
        assert answer.location.isprintable()
        if not there.netloc and not there.scheme:
            assert answer.location.startswith("/")
            assert not answer.location.startswith(("//", "/\\")), "U-04"
            return
        if there[:2] == self._origin[:2]:
            return
        for uri in self.redirect_uris:
            if answer.location.startswith(uri):
                added = answer.location[len(uri) :].lstrip("?&")
                response = {"code", "state", "iss", "error", "error_description"}
                assert {name for name, _ in parse_qsl(added)} <= response, "U-04"
                assert "#" not in answer.location
                return
        raise AssertionError(f"U-04: {answer.location}")


# What goes there.


class Wire(StringTransport):
    """The server's end of a connection on which a test writes its bytes itself."""

    def __init__(self, site: Site, secure: bool = True, peer: str = "192.0.2.1") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", peer, 50000))
        if secure:
            alsoProvides(self, ISSLTransport)
        self.closed = False
        #: Whether the server ended it without an orderly end, which a client sees as an error.
        self.aborted = False
        self._protocol = site.buildProtocol(self.getPeer())
        self._protocol.makeConnection(self)

    def send(self, data: bytes) -> None:
        """Give the server bytes, unless it has hung up."""
        if not self.closed:
            self._protocol.dataReceived(data)

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def setTcpKeepAlive(self, enabled: bool) -> None: ...

    def loseConnection(self) -> None:
        super().loseConnection()
        self.hang_up()

    def abortConnection(self) -> None:
        self.aborted = True
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection from either side."""
        if not self.closed:
            from twisted.internet.error import ConnectionDone

            self.closed = True
            self._protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def answer(self) -> Answer:
        """The one answer written so far."""
        head, _, body = self.value().partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = Headers()
        for line in lines:
            name, _, value = line.partition(b":")
            headers.addRawHeader(name, value.strip())
        if headers.getRawHeaders("transfer-encoding") == ["chunked"]:
            body = _dechunk(body)
        return Answer(int(status.split(b" ")[1]), headers, body)


def _dechunk(body: bytes) -> bytes:
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        content, body = content + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return content


@frozen
class Sent:
    """A request whose answer is still to come."""

    deferred: Deferred[Answer]

    @property
    def answer(self) -> Answer:
        return wait(self.deferred)


class System(MemorySite):
    """A server with its stores, a site, and the clients of both.

    :param checked_in_memory: whether passwords are compared in memory; otherwise they are argon2id.
    :param embedded: a site as an application has it, rather than that of the stand-alone server.
    :param root: makes the site's root resource of the server.
    :param stores: what is opened, a registry and a token store; in memory where nothing is said.
    :param url: of a database.
    :param told_prefix: the `prefix=` of the server.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        checked_in_memory: bool = True,
        embedded: bool = False,
        root: Any = None,
        started: bool = True,
        prefix: str = "/oauth2",
        told_prefix: str | None = None,
        issuer: str = ISSUER,
        stores: Any = None,
        url: str | None = None,
        origin: str = ORIGIN,
        **named: Any,
    ) -> None:
        self.reactor = SteppedReactor()
        self.settings = settings or Settings()
        if stores is None:
            in_memory = None, MemoryRegistry(), MemoryTokenStore()
            stores = in_memory if url is None else from_url(self.reactor, url)
        database, self.registry, self.tokens = stores
        self.checker = InMemoryUsernamePasswordDatabaseDontUse()
        if checked_in_memory:
            named.setdefault("checkers", [self.checker])
        self.server = AuthorizationServer(
            self.reactor,
            database,
            self.registry,
            self.tokens,
            issuer=issuer,
            settings=self.settings,
            prefix=told_prefix,
            **named,
        )
        self.issuer = issuer
        self.prefix = prefix
        self.oracle = Oracle(origin)
        self._argon2 = not checked_in_memory
        tree: IResource = (root or AuthorizationServer.root)(self.server)
        self.site: Site = (
            Site(tree, reactor=self.reactor)
            if embedded
            else LimitedSite(tree, self.reactor, self.server.settings.trusted_proxies)
        )
        super().__init__(self.site, origin)
        self.reactor.after_thread.append(self.agent.flush)
        self.administration = Administration(
            self.registry, self.tokens, self.settings, self._hash, seconds=self.reactor.seconds
        )
        if started:
            self.start()

    def start(self) -> None:
        """Start the server; give it scopes and people."""
        self.server.startService()
        wait(self.server.when_ready())
        if self.server.running and not self.people():
            for name in SCOPES:
                wait(self.registry.add_scope(Scope(name, f"what {name} is for")))
            for username, password in PASSWORDS.items():
                self.add_user(username, password, first_name=username.title(), last_name="Liddell")

    def stop(self) -> None:
        wait(Deferred.fromCoroutine(_awaited(self.server.stopService())))

    def people(self) -> list[User]:
        return wait(self.registry.users(Page()))

    def clients(self) -> list[Client]:
        return wait(self.registry.clients(Page()))

    def events(self) -> list[Event]:
        """The audit trail, newest first."""
        return wait(self.registry.events(Page(size=10_000)))

    def do(self, coroutine: Any) -> Any:
        """Carry out an administrator's action."""
        return wait(Deferred.fromCoroutine(coroutine))

    async def _hash(self, password: str) -> str:
        return hash_password(password) if self._argon2 else "not looked at"

    def add_user(self, username: str, password: str, **fields: Any) -> None:
        self.oracle.secrets.add(password)
        self.checker.addUser(username.encode(), password.encode())
        self.do(self.administration.add_user(username, password, **fields))

    def add_client(
        self, name: str = "App", *redirect_uris: str, scopes: Iterable[str] | None = None, **fields: Any
    ) -> App:
        """Register a client with this server."""
        uris = redirect_uris or (f"https://{name.lower()}.example/cb",)
        allowed = None if scopes is None else tuple(scopes)
        client, secret = self.do(self.administration.add_client(name, uris, scopes=allowed, **fields))
        self.oracle.secrets.add(secret)
        self.oracle.redirect_uris.update(uris)
        return App(self, client.client_id, secret, uris[0], prefix=self.prefix)

    def keep_client(self, client: Client) -> App:
        """Keep a client as it stands, whatever registration would say to it."""
        wait(self.registry.add_client(client))
        return App(self, client.client_id, "", client.redirect_uris[0], prefix=self.prefix)

    def browser(self, username: str | None = None) -> Browser:
        """A browser, logged in where a name is given."""
        browser = Browser(self)
        if username is not None:
            assert browser.log_in(username).status == 303
        return browser

    def grants(self) -> list[Grant]:
        """All grants that are not revoked."""
        return wait(self.tokens.grants(GrantFilter(), Page(0, 10_000)))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.reactor.advance(seconds)

    def begin(
        self,
        method: str,
        address: str,
        body: bytes | None = None,
        headers: Lines = (),
        faults: bool = False,
    ) -> Sent:
        """Send a request. An address without an origin is one of ours, by https."""
        url = address if address.startswith(("http:", "https:")) else self.origin + address
        query = url.partition("?")[2].encode("latin-1", "replace")
        path = urlsplit(url).path
        ours = path.startswith((self.prefix + "/", "/api/", "/healthz"))
        # These are open to scripts, and caches may keep the first.
        ours = ours and not path.startswith(
            (f"{self.prefix}/jwks", f"{self.prefix}/userinfo", f"{self.prefix}/.well-known")
        )

        def check(answer: Answer) -> Answer:
            self.oracle.check(answer, b"&".join(filter(None, [body, query])), faults, ours)
            return answer

        return Sent(self.request(method, url, body, headers).addCallback(check))

    def send(self, method: str, address: str, *arguments: Any, **named: Any) -> Answer:
        """Send a request, and the answer to it."""
        return self.begin(method, address, *arguments, **named).answer

    def post(
        self,
        address: str,
        fields: Fields = (),
        headers: Lines = (),
        *,
        token: str | None = None,
        **named: Any,
    ) -> Answer:
        """Send a form, with an access token where one is given."""
        bearer = [] if token is None else [("Authorization", f"Bearer {token}")]
        return self.send("POST", address, encoded(fields), (FORM, *bearer, *headers), **named)

    def call(
        self, token: str, method: str = "GET", address: str = "/api/user_info/", headers: Lines = ()
    ) -> Answer:
        """Ask the guarded API, with an access token."""
        bearer = ("Authorization", f"Bearer {token}")
        return self.send(method, address, None, (bearer, *headers))

    def wire(self, **named: Any) -> Wire:
        """A connection for what no well-bred client sends."""
        return Wire(self.site, **named)

    def raw(self, data: bytes, ours: bool = True, **named: Any) -> Answer:
        """The answer to a request given byte by byte."""
        wire = self.wire(**named)
        wire.send(data)
        assert wire.value(), "there is no answer"
        wire.hang_up()
        if ours:
            self.oracle.check(wire.answer, b"")
        return wire.answer


def post_bytes(address: str, body: bytes, *lines: str) -> bytes:
    """A POSTed form, as it travels."""
    head = [
        f"POST {address} HTTP/1.1",
        "Host: as.example",
        ": ".join(FORM),
        f"Content-Length: {len(body)}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


async def _awaited(result: Any) -> Any:
    return await result


class Browser(testing.Browser):
    """A browser with one jar of cookies, whose answers are held to the system's oracle."""

    def __init__(self, system: System) -> None:
        super().__init__(system, system.prefix)
        self.system = system

    def send(
        self, method: str, address: str, body: bytes | None = None, headers: Lines = (), **named: Any
    ) -> Answer:
        lines = (*self.cookie(address), *headers)
        return self.keep(self.system.send(method, address, body, lines, **named))

    def get(self, address: str, headers: Lines = (), method: str = "GET", **named: Any) -> Answer:
        return self.send(method, address, None, headers, **named)

    def post(self, address: str, fields: Fields, headers: Lines = (), **named: Any) -> Answer:
        return self.send("POST", address, encoded(fields), (FORM, *headers), **named)

    def keep(self, answer: Answer) -> Answer:
        super().keep(answer)
        self.system.oracle.secrets.update(self.cookies.values())
        return answer

    @property
    def secret(self) -> str:
        """What the one cookie holds."""
        (value,) = self.cookies.values()
        return value

    def log_in(self, username: str, password: str | None = None, page: Answer | None = None) -> Answer:
        """Log in, on a page where one is given."""
        return super().log_in(username, PASSWORDS[username] if password is None else password, page)

    def remove(self, page: Answer) -> Answer:
        """Remove an application of "Your applications"."""
        return self.submit(page, "client_id")

    def fork(self) -> Browser:
        """Another window of the same person, with the same cookies now."""
        other = Browser(self.system)
        other.cookies = dict(self.cookies)
        other._for_tls_only = set(self._for_tls_only)
        return other


@frozen
class App(testing.OAuthClient):
    """An OAuth client, whose secrets no log may hold."""

    @property
    def system(self) -> System:
        assert isinstance(self.site, System)
        return self.site

    def code(self, browser: testing.Browser, **changed: Any) -> str:
        """An authorization code."""
        code = super().code(browser, **changed)
        self.system.oracle.secrets.add(code)
        return code

    def accept(self, browser: Browser, page: Answer) -> str:
        """The code after "Accept" is pressed on a consent page."""
        code = browser.submit(page, "user_action", user_action="Accept").parameters["code"]
        self.system.oracle.secrets.add(code)
        return code

    def begin(
        self,
        form: Fields,
        *,
        auth: str | None = "basic",
        headers: Lines = (),
        query: str = "",
    ) -> Sent:
        """Send a token request."""
        fields = list(form.items() if isinstance(form, Mapping) else form)
        if auth == "basic":
            headers = [("Authorization", basic(self.client_id, self.secret)), *headers]
        elif auth == "post":
            fields += [("client_id", self.client_id), ("client_secret", self.secret)]
        address = f"{self.prefix}/token/{query}"
        sent = self.system.begin("POST", address, encoded(fields), (FORM, *headers))
        return Sent(sent.deferred.addCallback(self._keep))

    def _keep(self, answer: Answer) -> Answer:
        if answer.status == 200:
            said = answer.json
            self.system.oracle.secrets.update(
                said[name] for name in ("access_token", "refresh_token") if name in said
            )
        return answer

    def token(self, form: Fields, headers: Lines = (), **named: Any) -> Answer:
        """Send a token request, and the answer to it."""
        return self.begin(form, headers=headers, **named).answer

    def exchange(self, code: str | None, auth: str | None = "basic", **changed: str | None) -> Answer:
        """Exchange an authorization code (RFC 6749, section 4.1.3)."""
        return self.token(self.code_form(code, **changed), auth=auth)

    def refresh(
        self, refresh_token: str | None, auth: str | None = "basic", **changed: str | None
    ) -> Answer:
        """Refresh an access token (RFC 6749, section 6)."""
        return self.token(self.refresh_form(refresh_token, **changed), auth=auth)

    def tokens(
        self, browser: testing.Browser, scope: str = "user_info", **changed: Any
    ) -> dict[str, Any]:
        """A new grant's first tokens."""
        return tokens_of(self.exchange(self.code(browser, scope=scope, **changed)))

    def change(self, **changes: Any) -> None:
        """Change the client's registration."""
        self.system.do(self.system.administration.edit_client(self.client_id, **changes))
        self.system.oracle.redirect_uris.update(changes.get("redirect_uris", ()))

    def named(self, redirect_uri: str) -> App:
        """The same client, by another of its redirect URIs."""
        return attrs.evolve(self, redirect_uri=redirect_uri)


# What an answer is.


def tokens_of(answer: Answer) -> dict[str, Any]:
    """The tokens of a successful answer, which is all that RFC 6749, section 5.1, says (CA-26)."""
    assert answer.status == 200, answer.text
    said = answer.json
    assert answer.header("cache-control") == "no-store"
    assert answer.header("pragma") == "no-cache"
    assert said["token_type"] == "Bearer"
    assert isinstance(said["expires_in"], int)
    assert isinstance(said["access_token"], str)
    assert set(said) <= {
        "access_token",
        "token_type",
        "expires_in",
        "scope",
        "refresh_token",
        "id_token",
    }
    return said


def assert_token_error(answer: Answer, status: int, error: str) -> None:
    """TE(status, error): RFC 6749, section 5.2."""
    assert (answer.status, answer.error) == (status, error), answer.text
    assert answer.header("cache-control") == "no-store"
    assert answer.header("pragma") == "no-cache"
    assert set(answer.json) <= {"error", "error_description"}
    challenge = answer.header("www-authenticate")
    if status == 401:
        assert challenge is not None
        assert challenge.startswith("Basic realm=")
    else:
        assert challenge is None


def assert_sent_back(
    answer: Answer,
    app: App,
    *errors: str,
    state: str | None = STATE,
    registered: str | None = None,
) -> None:
    """ER(error): RFC 6749, section 4.1.2.1, and RFC 9207."""
    assert answer.status == 303
    assert answer.location.startswith(registered or app.redirect_uri)
    said = answer.parameters
    assert said["error"] in errors, said
    assert said["iss"] == app.system.issuer
    assert said.get("state") == state
    assert "code" not in said


def assert_not_sent(answer: Answer, status: int = 400) -> None:
    """EP: a page, and nothing sent anywhere."""
    assert answer.status == status, answer.text[:300]
    assert answer.header("location") is None
    assert answer.header("set-cookie") is None
    assert (answer.header("content-type") or "").startswith("text/html")
    assert not answer.page.forms


def assert_challenge(answer: Answer, status: int, error: str | None) -> None:
    """BE(status, error): RFC 6750, section 3."""
    assert answer.status == status, answer.text
    challenge = answer.header("www-authenticate")
    assert challenge is not None
    assert challenge.startswith("Bearer ")
    if error is None:
        assert "error" not in challenge
        # The answer to HEAD has no body.
        assert answer.body in (b"", b"An access token is needed for this address.\n")
    else:
        assert f'error="{error}"' in challenge
        if answer.body:
            assert answer.error == error
