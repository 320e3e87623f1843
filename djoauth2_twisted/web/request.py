"""Requests: what is read of them, and how much of them is taken at all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import quote

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http_headers import Headers
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site
from zope.interface import Attribute, Interface, implementer

from ..conf import Settings
from ..errors import (
    ContentTooLarge,
    DJOAuthError,
    ExpectationFailed,
    InvalidRequest,
    MethodNotAllowed,
    ServerError,
)
from ..parameters import Parameters, decode, parse
from . import respond

#: No form of this server is longer, in bytes.
LARGEST_BODY = 64 * 1024

#: What is read, and dropped, of a longer body before the connection is cut, so that the client sees
#: the answer rather than a reset.
MOST_READ = 4 * 1024 * 1024

#: From the first line of a request to the last byte of its body, in seconds.
REQUEST_DEADLINE = 20

#: Between two bytes, or two requests, of a connection, and from our farewell to its end, in seconds.
IDLE_TIMEOUT = 30

# Printable ASCII, without the space and the backslash.
_IN_URI = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != "\\")

# What proxies that log people in add for the application behind them, and what makes a framework see
# another address or method than was asked for. From a client they are forged. "_" is as good as "-":
# WSGI and CGI make one of both.
_CLAIM = re.compile(
    rb"""
    (x-)?remote-.*
    | x-forwarded-(user|email|groups|preferred-username|access-token|client-cert).*
    | x-(user|users|userid|username|userinfo|subject|identity|email|groups?|roles?|scopes?)
    | x-(access-token|jwt-assertion) | x-(httpd|proxy|trusted)-user(name)?
    | x-user-(id|name|email|info|dn|groups?|roles?|scopes?)
    | x-(token|oauth2?|access-token)-(user|username|client-id|scopes?)
    | x-auth-request-.* | x-authenticated-.* | x-auth-(user|email|groups?|roles?|scopes?).*
    | x-(webauth|authentik|consumer|credential|pomerium|goog-iap|goog-authenticated|amzn-oidc)-.*
    | x-ms-(client-principal|token).*
    | (cf-access|tailscale|oidc|shib|impersonate|sm)-.*
    | (x-)?ssl-client-.* | x-client-(cert|verify|dn|s-dn).*
    | x-(original|rewrite|forwarded)-(url|uri|method)
    | x-(http-)?method(-override)?
    """,
    re.VERBOSE,
)


# With these a line begins that goes on with the one before.
_FOLDS = frozenset((b" ", b"\t"))


class IMount(Interface):
    """Where in the site a request met our tree."""

    path = Attribute("The mount point without a slash at its end: ``/oauth2``. (str)")


@implementer(IMount)
@frozen
class Mount:
    """See `IMount`."""

    path: str

    @classmethod
    def at(cls, segments: Iterable[bytes]) -> Mount:
        """The mount point of a resource that segments of a path lead to."""
        return cls("".join("/" + quote(segment, safe="") for segment in segments if segment))

    @classmethod
    def of(cls, request: Any) -> Mount:
        """The mount point of a resource that is asked to render a request."""
        return cls.at(request.prepath)

    @classmethod
    def within(cls, site: Any, wanted: IResource) -> Mount | None:
        """The mount point of a resource that was put into a site, before anybody has asked for it."""
        found: list[tuple[tuple[bytes, ...], Any]] = [((), getattr(site, "resource", None))]
        seen = set()
        for segments, resource in found:
            if resource is wanted:
                return cls.at(segments)
            # A resource may well be its own child.
            if isinstance(resource, Resource) and id(resource) not in seen:
                seen.add(id(resource))
                found.extend(((*segments, name), child) for name, child in resource.children.items())
        return None


def require_tls(request: IRequest, settings: Settings) -> None:
    """Raise InvalidRequest where a request came without TLS and the settings demand it."""
    # RFC 6749, sections 3.1 and 3.2: "the authorization server MUST require the use of TLS".
    if settings.ssl_only and not request.isSecure():
        raise InvalidRequest("TLS is required")


def require_method(request: Any, *allowed: str) -> None:
    """Raise MethodNotAllowed for any other method. Methods are case-sensitive (RFC 9110, 9.1)."""
    if request.method.decode("latin-1") not in allowed:
        raise MethodNotAllowed(*allowed)


def query_of(request: Any) -> bytes:
    """The query of a request, as it was sent."""
    return cast("bytes", request.uri.partition(b"?")[2])


def with_query(path: str, *queries: bytes) -> str:
    """A path of ours with queries as they were sent, but for what no URI may hold."""
    query = b"&".join(query for query in queries if query)
    return f"{path}?{quote(query, safe=_IN_URI)}" if query else path


def address_with_query(request: Any, endpoint: str, *queries: bytes) -> str:
    """An address of our tree with queries."""
    return with_query(IMount(request).path + endpoint, *queries)


def read_query(request: Any) -> Parameters:
    """The parameters of a request's query."""
    return parse(query_of(request))


def form_body(request: Any) -> bytes:
    """The body of a form, left in place for whoever reads it next.

    :raises InvalidRequest: it is not a form, or larger than any.
    """
    content_types = request.requestHeaders.getRawHeaders(b"content-type") or []
    kinds = {value.partition(b";")[0].strip().lower() for value in content_types}
    # RFC 6749, appendix B: parameters are sent "using the "application/x-www-form-urlencoded" format".
    if kinds != {b"application/x-www-form-urlencoded"}:
        raise InvalidRequest("the content type must be application/x-www-form-urlencoded")
    request.content.seek(0)
    body = cast("bytes", request.content.read(LARGEST_BODY + 1))
    request.content.seek(0)
    if len(body) > LARGEST_BODY:
        raise ContentTooLarge()
    return body


def names_parameter(request: Any, name: str) -> bool:
    """Whether the query or the form of a request has a parameter, however much else is there.

    Of a longer form than any of ours the beginning is looked at.
    """
    try:
        form = form_body(request)
    except ContentTooLarge:
        form = cast("bytes", request.content.read(LARGEST_BODY))
        request.content.seek(0)
    except InvalidRequest:
        form = b""
    pairs = [*query_of(request).split(b"&"), *form.split(b"&")]
    return any(decode(pair.partition(b"=")[0]) == name for pair in pairs)


def drop_claims(headers: Headers) -> None:
    """Remove what a client made up to look like somebody else, or to ask for something else."""
    for name, _ in list(headers.getAllRawHeaders()):
        if _CLAIM.fullmatch(name.lower().replace(b"_", b"-")):
            headers.removeHeader(name)


def wants_json(request: Any) -> bool:
    """Whether a request's Accept header names JSON and no page (RFC 9110, section 12.5.1)."""
    accept = b",".join(request.requestHeaders.getRawHeaders(b"accept") or []).lower()
    return b"application/json" in accept and b"text/html" not in accept


def address_of(request: Any) -> str:
    """The network address that a request came from."""
    return str(getattr(request.getClientAddress(), "host", "local"))


def has_hung_up(request: Any) -> bool:
    """Whether nobody is there any more to be answered."""
    # So does Twisted leave a request whose connection is lost.
    return getattr(request, "channel", request) is None


def start_over(request: Any) -> bool:
    """Forget an answer that has failed, so that another can be given.

    False where it is too late. Of what is half sent the connection is cut: it must not look whole.
    """
    if request.finished:
        return False
    if request.startedWriting or has_hung_up(request):
        request.loseConnection()
        return False
    for name, _ in list(request.responseHeaders.getAllRawHeaders()):
        request.responseHeaders.removeHeader(name)
    request.cookies.clear()
    return True


class LimitedRequest(Request):
    """A request with an end: to its body, and to the time that it may take to arrive."""

    _log = Logger()
    _received = 0
    #: Why the request is not looked at.
    _refusal: DJOAuthError | None = None

    def __init__(self, channel: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(channel, *arguments, **named)
        # The first line is there, or there would be no request; the channel times out by idleness
        # alone, which a byte now and then keeps off for ever.
        self._arriving: IDelayedCall | None = channel.site.reactor.callLater(
            REQUEST_DEADLINE, self._hang_up
        )

    def _hang_up(self) -> None:
        self._arriving = None
        self._cut()

    def _cut(self) -> None:
        """Hear no more of the connection. To lose it in order takes a client that agrees."""
        transport: Any = self.channel.transport
        transport.abortConnection()

    def _arrived(self) -> None:
        if self._arriving is not None and self._arriving.active():
            self._arriving.cancel()
        self._arriving = None

    def gotLength(self, length: int | None) -> None:
        # No body is kept that does not fit into memory, so none needs a temporary file.
        super().gotLength(0)
        expects = self.requestHeaders.hasHeader(b"expect")
        if self._is_ambiguous():
            self._refusal = InvalidRequest("the request can be read in more than one way")
        elif length is None and expects:
            # RFC 9110, section 10.1.1: a client "SHOULD repeat that request without a 100-continue
            # expectation". What then comes without end is cut; nobody has asked for it here.
            self._refusal = ExpectationFailed("send the body without waiting for 100")
        elif length is not None and length > LARGEST_BODY:
            self._refusal = ContentTooLarge()
        if self._refusal is not None and expects:
            self.requestHeaders.removeHeader(b"expect")
            if length != 0:
                self._refuse_at_once(self._refusal)

    def _is_ambiguous(self) -> bool:
        """Whether a proxy may have read the request otherwise, and judged it for another than it is."""
        headers = self.requestHeaders
        # RFC 9112, section 3.2: "A server MUST respond with a 400 (Bad Request) status code [...] to any
        # request message that contains more than one Host header field line". One that has none can
        # be read in one way only, since no answer depends on it.
        if len(headers.getRawHeaders(b"host", ())) > 1:
            return True
        # Twisted ignores the "identity" of former days, which others take for an end by closing.
        codings = headers.getRawHeaders(b"transfer-encoding")
        return codings is not None and [coding.lower() for coding in codings] != [b"chunked"]

    def _refuse_at_once(self, error: DJOAuthError) -> None:
        """Answer "with a final status code" (RFC 9110, section 10.1.1), and do not read the body.

        This is before Twisted has told us what was asked for; and who sends the body all the same,
        while TLS takes its leave, is not heard.
        """
        self.method, self.uri, self.clientproto = b"-", b"-", b"HTTP/1.1"
        channel: Any = self.channel
        channel.dataReceived = lambda data: None
        self._arrived()
        self._refuse(error)

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > LARGEST_BODY:
            self._refusal = self._refusal or ContentTooLarge()
        if self._received > MOST_READ:
            self._cut()
        elif self._refusal is None:
            super().handleContentChunk(data)

    def connectionLost(self, reason: Failure) -> None:
        self._arrived()
        super().connectionLost(reason)

    def process(self) -> None:
        self._arrived()
        if self._refusal is None:
            super().process()
        else:
            self._refuse(self._refusal)

    def render(self, resrc: IResource) -> None:
        # Also where a guarded resource answers; see `respond`.
        self.responseHeaders.setRawHeaders(b"server", [b"djoauth2"])
        super().render(resrc)

    def processingFailed(self, reason: Failure) -> Failure:
        """Log what went wrong in a resource; tell the client that something did, and no more."""
        self._log.failure("A resource failed", reason)
        if start_over(self):
            self._refuse(ServerError())
        return reason

    def _refuse(self, error: DJOAuthError) -> None:
        """Answer in JSON, before anybody knows whether a client or a person asks."""
        self.channel.persistent = False
        answer = respond.as_error(cast("IRequest", self), error, realm="")
        if not isinstance(error, ExpectationFailed):
            # Whoever is told so before the body was sent, as curl, does not try again.
            answer = respond.with_header(answer, "Connection", "close")
        respond.write(self, answer)

    def __repr__(self) -> str:
        # Twisted's own shows the URI, in which a code or token may stand.
        return f"<{type(self).__name__} at {id(self):#x}>"


class LimitedChannel(http.HTTPChannel):
    """A connection that is not kept open by a client that takes its time, nor takes any line."""

    transport: Any
    _ending: IDelayedCall | None = None

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a request's head."""
        # RFC 9112, section 5.2: "A server that receives an obs-fold in a request message [...] MUST
        # either reject the message by sending a 400 (Bad Request) [...]". Twisted would join the lines.
        if line[:1] in _FOLDS:
            self._refuse()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Take the beginning of a line that is too long; over TLS, Twisted leaves this to time out."""
        self._refuse()

    def _refuse(self) -> None:
        """Hear no more: what follows is the rest of the request, and none of its own."""
        # An attribute of the instance, so that every other connection is spared the question.
        vars(self)["dataReceived"] = lambda data: None
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        self.loseConnection()

    def resetTimeout(self) -> None:
        # Of a first line that comes byte by byte no byte counts; what follows it has its own deadline.
        if self.requests:
            super().resetTimeout()

    def loseConnection(self) -> None:
        # TLS takes its leave, and then waits for the client to do so, which would be for ever.
        if self._ending is None:
            self._ending = self.callLater(IDLE_TIMEOUT, self.transport.abortConnection)
            super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._ending is not None and self._ending.active():
            self._ending.cancel()
        super().connectionLost(reason)


class LimitedSite(Site):
    """A site with limits, and a log that has no query, Referer or credentials in it."""

    # HTTP/1.1 alone: see `tap.Connections`.
    protocol: Any = LimitedChannel
    _log = Logger()

    def __init__(self, resource: IResource, reactor: Any) -> None:
        super().__init__(
            resource,
            requestFactory=LimitedRequest,
            timeout=IDLE_TIMEOUT,
            reactor=reactor,
            parsePOSTFormSubmission=False,
        )

    def acceptableProtocols(self) -> list[bytes]:
        """What is offered by ALPN: no HTTP/2, which would be more to attack than to gain."""
        return [b"http/1.1"]

    def log(self, request: Any) -> None:
        # RFC 9700, section 4.2.4: codes and states leak by logs of addresses, too.
        method, path = _printable(request.method), _printable(request.uri.partition(b"?")[0])
        # One field is formatted in a third of the time that five take.
        line = f"{address_of(request)} {method} {path} {request.code} {request.sentLength}"
        self._log.info("{line}", line=line)


def _printable(sent: bytes) -> str:
    """At most 200 characters for a log, with nothing in them that a terminal obeys."""
    return repr(sent[:200])[2:-1]
