"""A connection that changes its protocol (WebSocket) behind a guard, on a true TLS port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, serverFromString, wrapClientTLS
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from djoauth2_twisted import OAuthGuard
from djoauth2_twisted.cli.certificate import make_certificate
from djoauth2_twisted.errors import InvalidToken
from djoauth2_twisted.interfaces import ITokenVerifier
from djoauth2_twisted.models import AccessToken, ResourceOwner
from djoauth2_twisted.web.site import LimitedSite

reactor: Any = the_reactor

UPGRADE = b"GET /g HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


@implementer(ITokenVerifier)
class Verifier:
    """It takes its time, as a store does, and over the token ``slow`` all of it."""

    def __init__(self) -> None:
        self.asked: Deferred[None] = Deferred()
        self.given_up: Deferred[None] = Deferred()

    def verify(self, token: str, scopes: Collection[str]) -> Deferred[AccessToken]:
        return Deferred.fromCoroutine(self._verify(token))

    async def _verify(self, token: str) -> AccessToken:
        await deferLater(reactor, 0)
        if token == "slow":
            self.asked.callback(None)
            await Deferred(lambda _: self.given_up.callback(None))
        if token == "unknown":
            raise InvalidToken()
        return AccessToken("client", ResourceOwner("alice"), (token,), 0, 2**40, "grant")


class Echo(Protocol):
    def __init__(self, gone: Deferred[None]) -> None:
        self.gone = gone

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"echo: " + data)

    def connectionLost(self, reason: Any = None) -> None:
        self.gone.callback(None)


class Upgrading(Resource):
    """Takes the connection over, in the way of autobahn's WebSocketResource."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.gone: list[Deferred[None]] = []

    def render(self, request: Any) -> int:
        transport, request.channel.transport = request.channel.transport, None
        self.gone.append(Deferred())
        transport.wrappedProtocol = Echo(self.gone[-1])
        transport.wrappedProtocol.makeConnection(transport)
        transport.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        return NOT_DONE_YET


class Talk(Protocol):
    """The client's end."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Deferred[None] = Deferred()
        self._waiting: tuple[bytes, Deferred[None]] | None = None

    def say(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def hear(self, ending: bytes) -> Deferred[None]:
        """Wait until what was heard ends so."""
        self._waiting = ending, Deferred()
        self.dataReceived(b"")
        return self._waiting[1]

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if self._waiting and self.heard.endswith(self._waiting[0]) and not self._waiting[1].called:
            self._waiting[1].callback(None)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


@define
class Served:
    inside: Upgrading
    verifier: Verifier
    port: int
    certificate: Certificate
    _talks: list[Talk] = field(factory=list)

    async def connect(self) -> Talk:
        endpoint = HostnameEndpoint(reactor, b"127.0.0.1", self.port)
        options = optionsForClientTLS("localhost", self.certificate)
        talk: Talk = await connectProtocol(wrapClientTLS(options, endpoint), Talk())
        self._talks.append(talk)
        return talk

    async def end(self) -> None:
        for talk in self._talks:
            assert talk.transport is not None
            talk.transport.loseConnection()
            await talk.lost


def _limited(resource: Resource) -> Site:
    return LimitedSite(resource, reactor)


@pytest_twisted.async_yield_fixture(params=[Site, _limited], ids=["any site", "our site"])
async def served(request: Any, tmp_path: Path) -> AsyncIterator[Served]:
    make_site: Callable[[Resource], Site] = request.param
    pem, inside, verifier, root = tmp_path / "server.pem", Upgrading(), Verifier(), Resource()
    pem.write_bytes(make_certificate("localhost"))
    root.putChild(b"g", OAuthGuard(inside, verifier, scopes=("good",)))
    endpoint = serverFromString(reactor, f"ssl:0:interface=127.0.0.1:privateKey={pem}")
    listening = await endpoint.listen(make_site(root))
    served = Served(inside, verifier, listening.getHost().port, Certificate.loadPEM(pem.read_bytes()))
    yield served
    await served.end()
    await listening.stopListening()


async def test_with_a_token_the_connection_is_taken_over(served: Served) -> None:
    talk = await served.connect()
    talk.say(UPGRADE + b"Authorization: Bearer good\r\n\r\n")
    await talk.hear(b"Upgrade: websocket\r\n\r\n")
    assert talk.heard.startswith(b"HTTP/1.1 101 ")
    for word in (b"hello", b"GET / HTTP/1.1\r\n\r\n"):
        talk.say(word)
        await talk.hear(b"echo: " + word)
    await served.end()
    await served.inside.gone[0]


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (b"", b"401"),
        (b"Authorization: Bearer unknown\r\n", b"401"),
        (b"Authorization: Bearer other\r\n", b"403"),
        (b"Authorization: Bearer\r\n", b"400"),
        (b"Authorization: Bearer good\r\nAuthorization: Bearer good\r\n", b"400"),
        (b"Sec-WebSocket-Protocol: bearer, good\r\n", b"401"),
    ],
)
async def test_without_one_it_stays_http(served: Served, authorization: bytes, status: bytes) -> None:
    """What follows is read as the next request, and not by what is inside."""
    talk = await served.connect()
    talk.say(
        UPGRADE + authorization + b"\r\n" + b"GET /no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    await talk.lost
    assert talk.heard.startswith(b"HTTP/1.1 %s " % status)
    assert talk.heard.count(b"HTTP/1.1 404 ") == 1
    assert served.inside.gone == []


async def test_a_client_that_hangs_up_meanwhile_does_not_take_the_connection_over(
    served: Served,
) -> None:
    """U-08."""
    talk = await served.connect()
    talk.say(UPGRADE + b"Authorization: Bearer slow\r\n\r\n")
    await served.verifier.asked
    await served.end()
    await served.verifier.given_up
    assert served.inside.gone == []
