"""2,000 requests without a token, at six kinds of guarded resources on real ports: none gets in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from klein import Klein
from reactors import port_of, reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.python.components import proxyForInterface
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site
from twisted.web.static import File
from twisted.web.wsgi import WSGIResource
from web_driver import System, wait

from djoauth2_twisted import OAuthGuard, Settings

MakeSystem = Callable[..., System]

METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS", "PROPFIND"]
PATHS = [
    "/g", "/g/", "/g/a.txt", "/g//a.txt", "/g/deep/../a.txt", "/g/%61.txt", "/g/deep%2Fb.txt",
    "/g/a.txt;x=1",
]  # fmt: skip
VARIANTS = [(method, path) for method in METHODS for path in PATHS]
#: What comes instead of a token: nothing, or something that a resource, proxy or browser might believe.
INSTEAD = [
    "",
    "Authorization: Basic YWxpY2U6eA==\r\n",
    "X-Forwarded-User: alice\r\nRemote_User: alice\r\nX-Original-URL: /public\r\n",
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "Range: bytes=0-1\r\nIf-None-Match: *\r\n",
    "Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n",
    "X-HTTP-Method-Override: GET\r\nCookie: access_token=x\r\n",
]
KINDS = ["files", "proxy", "wsgi", "klein", "tree", "nested"]


@define
class Inside:
    """Everything that is guarded, and who has come in."""

    folder: Path
    #: What was touched at the door, and what ran behind it.
    touched: list[str] = field(factory=list)
    ran: list[str] = field(factory=list)
    _ends: list[Callable[[], Any]] = field(factory=list)

    def door(self, resource: IResource) -> IResource:
        """The same resource, of which every use is noted."""
        touched = self.touched

        class Door(proxyForInterface(IResource)):  # type: ignore[misc]
            def getChildWithDefault(self, name: bytes, request: Any) -> Any:
                touched.append("child")
                return super().getChildWithDefault(name, request)

            def render(self, request: Any) -> Any:
                touched.append("render")
                return super().render(request)

        return Door(resource)

    def files(self) -> IResource:
        (self.folder / "a.txt").write_text("inside")
        (self.folder / "deep").mkdir()
        (self.folder / "deep" / "b.txt").write_text("inside")
        return File(str(self.folder))

    def listen(self, resource: IResource) -> int:
        """A port of this machine."""
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = wait(endpoint.listen(Site(resource)))
        self._ends.append(port.stopListening)
        return port_of(port)

    def proxy(self) -> IResource:
        return ReverseProxyResource("127.0.0.1", self.listen(Anything(self.ran)), b"/up")

    def wsgi(self) -> IResource:
        from twisted.internet import reactor

        def application(environ: Any, start_response: Any) -> list[bytes]:
            self.ran.append(environ["PATH_INFO"])
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"inside"]

        threads = ThreadPool(0, 1)
        threads.start()
        self._ends.append(threads.stop)
        return WSGIResource(reactor, threads, application)

    def klein(self) -> IResource:
        app = Klein()

        @app.route("/", branch=True)
        def anything(request: Any) -> bytes:
            self.ran.append("route")
            return b"inside"

        return app.resource()

    def tree(self) -> IResource:
        return Anything(self.ran)

    def nested(self) -> IResource:
        return Anything(self.ran)

    def end(self) -> None:
        for end in self._ends:
            wait(_fired(end()))


def _fired(result: Any) -> Deferred[Any]:
    from twisted.internet.defer import maybeDeferred

    return maybeDeferred(lambda: result)


class Anything(Resource):
    """It has every address below itself, and serves every method."""

    def __init__(self, ran: list[str]) -> None:
        super().__init__()
        self._ran = ran

    def getChild(self, path: bytes, request: Any) -> Resource:
        self._ran.append("getChild")
        return self

    def render(self, request: Any) -> bytes:
        self._ran.append("render")
        return b"inside"


@define
class Guarded:
    """One guarded place, at a port."""

    inside: Inside
    port: int
    token: str

    def send(self, lines: list[bytes]) -> list[bytes]:
        """What comes back for requests, each on a separate connection."""
        return [wait(exchange(self.port, line)) for line in lines]

    def send_at_once(self, lines: list[bytes]) -> list[bytes]:
        """The same, of many connections at a time."""
        answers: list[bytes] = []
        for start in range(0, len(lines), 48):
            answers += wait(gatherResults([exchange(self.port, x) for x in lines[start : start + 48]]))
        return answers


class _Reader(Protocol):
    def __init__(self, line: bytes) -> None:
        self._line = line
        self._read: list[bytes] = []
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._line)

    def dataReceived(self, data: bytes) -> None:
        self._read.append(data)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        self.done.callback(b"".join(self._read))


def exchange(port: int, line: bytes) -> Deferred[bytes]:
    """Send bytes as they are, and read until the server hangs up."""
    from twisted.internet import reactor

    connecting = connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), _Reader(line))
    return connecting.addCallback(lambda protocol: protocol.done)


def request(method: str, path: str, headers: str = "") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: as.example\r\nConnection: close\r\n{headers}\r\n"
    ).encode("latin-1")


@pytest.fixture
def make_guarded(make_system: MakeSystem, tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    made: list[Inside] = []

    def make(kind: str, whole_site: bool = False) -> Guarded:
        system = make_system(settings=Settings(ssl_only=False))
        inside = Inside(tmp_path)
        made.append(inside)
        resource = getattr(inside, kind)()
        guard = OAuthGuard(inside.door(resource), system.server, ("user_info",))
        if kind == "nested":
            guard = OAuthGuard(guard, system.server, ("verify",))
        if kind == "tree":
            # Later than the guard, and again with something below.
            resource.putChild(b"a.txt", Anything(inside.ran))
            resource.putChild(b"deep", Anything(inside.ran))
        root = Anything([])
        root.putChild(b"g", guard)
        tokens = system.add_client("App").tokens(system.browser("alice"), "user_info verify")
        port = inside.listen(guard if whole_site else root)
        return Guarded(inside, port, tokens["access_token"])

    yield make
    for inside in made:
        inside.end()


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_without_a_token_reaches_the_resource(
    make_guarded: Callable[..., Guarded], kind: str
) -> None:
    """GW-01, GW-03, GW-04, GW-08, GW-11: 336 of 2,016 requests for each kind."""
    assert (len(VARIANTS), len(VARIANTS) * len(INSTEAD) * len(KINDS)) == (48, 2016)
    guarded = make_guarded(kind)
    lines = [request(*variant, instead) for instead in INSTEAD for variant in VARIANTS]
    for line, answer in zip(lines, guarded.send_at_once(lines), strict=True):
        assert answer.startswith(b"HTTP/1.1 401 "), (line, answer)
        assert b"WWW-Authenticate: Bearer " in answer
        assert b"inside" not in answer
    assert guarded.inside.touched == guarded.inside.ran == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_request_with_a_token_reaches_the_resource(
    make_guarded: Callable[..., Guarded], kind: str
) -> None:
    """Or the test above would show nothing: the same 48, one after the other."""
    guarded = make_guarded(kind)
    served = 0
    for variant in VARIANTS:
        bearer = f"Authorization: Bearer {guarded.token}\r\n"
        (answer,) = guarded.send([request(*variant, bearer)])
        assert guarded.inside.touched, variant
        assert answer.split(b" ")[1] not in {b"401", b"403"}, (variant, answer)
        assert guarded.token.encode() not in answer
        served += answer.startswith(b"HTTP/1.1 200 ")
        guarded.inside.touched.clear()
    # Files know two methods and five of the paths; Klein redirects `//`.
    assert served == {"files": 2 * 5, "klein": 6 * 7}.get(kind, 48)
    assert bool(guarded.inside.ran) == (kind != "files")


ODD = [
    b"GET http://as.example/a.txt HTTP/1.1", b"GET https://as.example/g/a.txt HTTP/1.1",  # GW-06
    b"CONNECT as.example:443 HTTP/1.1", b"CONNECT / HTTP/1.1", b"GET a.txt HTTP/1.1",
    b"GET // HTTP/1.1", b"GET //as.example/a.txt HTTP/1.1", b"GET /\\a.txt HTTP/1.1",  # GW-04
    b"GET /a.txt%00 HTTP/1.1", b"GET /a.txt\x00 HTTP/1.1", b"GET /#a.txt HTTP/1.1",
    b"GET /\xff HTTP/1.1", b"GET /%ff HTTP/1.1", b"\xff /a.txt HTTP/1.1",  # HT-08
    b"GET /a.txt HTTP/1.0", b"GET /a.txt HTTP/1.2", b"GET /a.txt", b"GET /a.txt HTTP/1.1 x",
    b"GET  /a.txt HTTP/1.1", b"GET\t/a.txt\tHTTP/1.1", b"get /a.txt HTTP/1.1",
    b"OPTIONS * HTTP/1.1", b"GET * HTTP/1.1", b"PRI * HTTP/2.0", b"TRACE /a.txt HTTP/1.1",
    b"GET /?access_token=x HTTP/1.1",  # BG-10
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_odd_requests_of_a_whole_site(make_guarded: Callable[..., Guarded], kind: str) -> None:
    """GW-04, GW-06, HT-08, HT-11: whatever the first line, without Host, with two or another's."""
    guarded = make_guarded(kind, whole_site=True)
    hosts = [b"Host: as.example\r\n", b"", b"Host: evil\r\nHost: as.example\r\n", b"Host: as:99999\r\n"]
    hosts += [b"Host: \xff\r\nUser-Agent: \xff\r\nOrigin: \xff\r\nCookie: \xff\r\n"]
    lines = [line + b"\r\nConnection: close\r\n" + host + b"\r\n" for line in ODD for host in hosts]
    for line, answer in zip(lines, guarded.send_at_once(lines), strict=True):
        asked = line.split(b" ")
        if asked[1] == b"*":
            # Twisted's own answer, which knows nothing of resources.
            assert answer.split(b" ")[1] in {b"200", b"400", b"405"}, (line, answer)
        else:
            assert answer.split(b" ")[1] in {b"400", b"401"}, (line, answer)
        assert b"evil" not in answer
        assert b"inside" not in answer
    assert guarded.inside.touched == guarded.inside.ran == []


def test_a_child_that_is_added_later_is_guarded(make_guarded: Callable[..., Guarded]) -> None:
    guarded = make_guarded("files")
    (guarded.inside.folder / "later.txt").write_text("inside")
    assert guarded.send([request("GET", "/g/later.txt")])[0].startswith(b"HTTP/1.1 401 ")
    bearer = f"Authorization: Bearer {guarded.token}\r\n"
    assert guarded.send([request("GET", "/g/later.txt", bearer)])[0].endswith(b"inside")
