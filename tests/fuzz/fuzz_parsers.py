"""The pure parsers, each as a function of bytes that fails where a rule is broken."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from fuzz_oracle import answers_in
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request
from web_driver import Wire

from djoauth2_twisted import parameters as strict
from djoauth2_twisted.errors import DJOAuthError, InvalidRequest, RegistrationError
from djoauth2_twisted.protocol import bearer, client_authentication, forwarding, precis, redirection
from djoauth2_twisted.standalone.proxy_protocol import ProxyProtocolFactory
from djoauth2_twisted.web.site import LimitedSite

_TRUSTED = forwarding.TrustedProxies.of(["10.0.0.0/8", "::1", "unix"])


def parameters(data: bytes) -> None:
    """Query and form: what is read was sent, once, and comes back byte for byte."""
    query, _, form = data.partition(b"\n")
    with suppress(InvalidRequest):
        read = strict.parse(query, form)
        sent = [part.partition(b"=") for part in (query + b"&" + form).split(b"&") if part]
        for name, value in read.values.items():
            values = [strict.decode(each) for key, _, each in sent if strict.decode(key) == name]
            assert values == [value]
            assert name not in read.repeated
        for name in {"code", "state"} & set(read.values):
            assert strict.has_name(query + b"&" + form, name)


def forwarded(data: bytes) -> None:
    """The headers of proxies: an address that can be compared, and TLS only if it was said."""
    lines = [line.decode("latin-1") for line in data.split(b"\n")]
    names = ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-prefix")
    given = {name: lines[at :: len(names)] for at, name in enumerate(names)}
    for peer in ("10.0.0.1", "192.0.2.1", None):
        origin = _TRUSTED.origin(peer, False, lambda name: given.get(name, []))
        assert origin.address == "local" or forwarding._address(origin.address) is not None
        assert not (origin.is_secure and "https" not in data.decode("latin-1").lower())
        assert not (origin.problem and (origin.is_secure or origin.prefix))
        assert not origin.prefix or (
            origin.prefix[0] == "/" and origin.prefix[1] != "/" and ".." not in origin.prefix
        )
        if peer == "192.0.2.1":
            assert origin == forwarding.Origin(peer, False)


def bearer_token(data: bytes) -> None:
    """The Authorization header of a guarded resource: a token is visible ASCII."""
    with suppress(DJOAuthError):
        token = bearer.read_token(data.split(b"\n"))
        assert token.isascii()
        assert token.isprintable()
        assert " " not in token
        assert token.encode() in data


def basic_credentials(data: bytes) -> None:
    """The credentials of a client: from the header or the form, never from both."""
    header, _, form = data.partition(b"\n")
    with suppress(DJOAuthError):
        credentials = client_authentication.read_credentials(
            [header] if header else [], strict.parse(form)
        )
        assert credentials.client_id
        assert not (header and strict.parse(form).get("client_secret"))


def redirect_uri(data: bytes) -> None:
    """A redirect URI that may be registered: nobody reads another host in it, and answers lead there."""
    uri = data.decode("utf-8", "replace")
    with suppress(RegistrationError):
        redirection.check_redirect_uri(uri)
        parts = urlsplit(uri)
        assert parts.scheme == "https"
        assert parts.hostname
        assert "@" not in parts.netloc
        assert not set(uri) & set('\\ \t\r\n#<>"')
        answer = redirection.update_parameters(uri, {"code": "c", "state": uri})
        assert answer.isascii()
        assert urlsplit(answer).netloc.isascii()
        assert urlsplit(answer)[:2] == parts[:2] or not uri.isascii()
        assert "#" not in answer


def typed_text(data: bytes) -> None:
    """Names and passwords: to normalize twice changes nothing."""
    text = data.decode("utf-8", "replace")
    name = precis.username(text)
    assert precis.folded(name) == precis.folded(text)
    if len(name) <= precis.MAX_NAME_LENGTH:
        assert unicodedata.is_normalized("NFC", name)
    assert precis.password(precis.password(text)) == precis.password(text)


class _Behind(Protocol):
    """What stands behind the PROXY protocol: it keeps its bytes."""

    def connectionMade(self) -> None:
        self.received = b""
        self.factory.behind = self

    def dataReceived(self, data: bytes) -> None:
        self.received += data


def proxy_header(data: bytes) -> None:
    """The PROXY protocol: what is behind the header comes through, and nothing does without one."""
    factory = Factory.forProtocol(_Behind)
    wrapped = ProxyProtocolFactory(factory, _TRUSTED, Clock())
    transport = StringTransport()
    protocol = wrapped.buildProtocol(type("Peer", (), {"host": "10.0.0.1"})())
    protocol.makeConnection(transport)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if not transport.disconnecting:
            protocol.dataReceived(piece)
    received = factory.behind.received  # type: ignore[attr-defined]
    assert data.endswith(received)
    assert not received or data.startswith((b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n"))
    if not transport.disconnecting:
        protocol.connectionLost(Failure(ConnectionError()))


class _Told(Resource):
    """Tells the requests that have arrived."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []

    def render(self, request: Request) -> bytes:
        assert request.content is not None
        self.seen.append(request.content.read())
        return b"here"


def http_head(data: bytes) -> None:
    """The head and the body of a request: however the bytes are cut, they are the same requests."""
    clock = Clock()

    def seen(*pieces: bytes) -> tuple[list[bytes], list[int]]:
        resource = _Told()
        wire = Wire(LimitedSite(resource, clock))
        for piece in pieces:
            wire.send(piece)
            clock.pump([0.01] * 3)
        statuses = [answer.status for answer in answers_in(wire.value(), to_head=True)]
        wire.hang_up()
        clock.advance(60)
        return resource.seen, statuses

    half = len(data) // 2
    whole = seen(data)
    assert whole == seen(data[:half], data[half:])
    assert all(status < 500 for status in whole[1])
    assert not clock.getDelayedCalls()


PARSERS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        parameters,
        forwarded,
        bearer_token,
        basic_credentials,
        redirect_uri,
        typed_text,
        proxy_header,
        http_head,
    )
}
