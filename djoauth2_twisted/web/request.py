"""Requests: what is read of them, and how much of them is taken at all."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import Attribute, Interface, implementer

from ..conf import Settings
from ..errors import ContentTooLarge, InvalidRequest, MethodNotAllowed
from ..parameters import Parameters, parse

#: No form of this server is longer, in bytes.
LARGEST_BODY = 64 * 1024

#: What is read, and dropped, of a longer body before the connection is cut, so that the client sees
#: the answer rather than a reset.
MOST_READ = 4 * 1024 * 1024

#: From the first line of a request to the last byte of its body, in seconds.
REQUEST_DEADLINE = 20

#: Between two bytes, or two requests, of a connection, in seconds.
IDLE_TIMEOUT = 30

# Printable ASCII, without the space and the backslash.
_IN_URI = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != "\\")


class IMount(Interface):
    """Where in the site a request met our tree."""

    path = Attribute("The mount point without a slash at its end: ``/oauth2``. (str)")


@implementer(IMount)
@frozen
class Mount:
    """See `IMount`."""

    path: str

    @classmethod
    def of(cls, request: Any) -> Mount:
        """The mount point of a resource that is asked to render a request."""
        return cls("".join("/" + quote(segment, safe="") for segment in request.prepath if segment))


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


def address_with_query(request: Any, endpoint: str, *queries: bytes) -> str:
    """An address of our tree with queries as they were sent, but for what no URI may hold."""
    path = IMount(request).path + endpoint
    query = b"&".join(query for query in queries if query)
    return f"{path}?{quote(query, safe=_IN_URI)}" if query else path


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
        raise ContentTooLarge("the body is too large")
    return body


def wants_json(request: Any) -> bool:
    """Whether a request's Accept header names JSON and no page (RFC 9110, section 12.5.1)."""
    accept = b",".join(request.requestHeaders.getRawHeaders(b"accept") or []).lower()
    return b"application/json" in accept and b"text/html" not in accept


def address_of(request: Any) -> str:
    """The network address that a request came from."""
    return str(getattr(request.getClientAddress(), "host", "local"))


class LimitedRequest(Request):
    """A request with an end: to its body, and to the time that it may take to arrive."""

    _log = Logger()
    _received = 0
    _too_large = False

    def __init__(self, channel: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(channel, *arguments, **named)
        # The first line is there, or there would be no request; the channel times out by idleness
        # alone, which a byte now and then keeps off for ever.
        self._arriving: IDelayedCall | None = channel.site.reactor.callLater(
            REQUEST_DEADLINE, self._hang_up
        )

    def _hang_up(self) -> None:
        self._arriving = None
        self.channel.loseConnection()

    def _arrived(self) -> None:
        if self._arriving is not None and self._arriving.active():
            self._arriving.cancel()
        self._arriving = None

    def gotLength(self, length: int | None) -> None:
        self._too_large = length is not None and length > LARGEST_BODY
        # No body is kept that does not fit into memory, so none needs a temporary file.
        super().gotLength(0)

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        self._too_large = self._too_large or self._received > LARGEST_BODY
        if self._received > MOST_READ:
            self.channel.loseConnection()
        elif not self._too_large:
            super().handleContentChunk(data)

    def connectionLost(self, reason: Failure) -> None:
        self._arrived()
        super().connectionLost(reason)

    def process(self) -> None:
        self._arrived()
        if self._too_large:
            self._refuse(http.REQUEST_ENTITY_TOO_LARGE)
        else:
            super().process()

    def render(self, resrc: IResource) -> None:
        # Which program this is, is nobody's business, nor in which version.
        self.responseHeaders.setRawHeaders(b"server", [b"djoauth2"])
        super().render(resrc)

    def processingFailed(self, reason: Failure) -> Failure:
        """Log what went wrong in a resource; tell the client that something did, and no more."""
        self._log.failure("A resource failed", reason)
        if self.startedWriting:
            self.channel.loseConnection()
        else:
            for name in list(dict(self.responseHeaders.getAllRawHeaders())):
                self.responseHeaders.removeHeader(name)
            self._refuse(http.INTERNAL_SERVER_ERROR)
        return reason

    def _refuse(self, status: int) -> None:
        body = http.RESPONSES[status]
        self.setResponseCode(status)
        self.setHeader(b"content-type", b"text/plain; charset=utf-8")
        self.setHeader(b"content-length", b"%d" % len(body))
        self.setHeader(b"connection", b"close")
        self.write(body)
        self.finish()

    def __repr__(self) -> str:
        # Twisted's own shows the URI, in which a code or token may stand.
        return f"<{type(self).__name__} at {id(self):#x}>"


class LimitedSite(Site):
    """A site with limits, and a log that has no query, Referer or credentials in it."""

    _log = Logger()

    def __init__(self, resource: IResource, reactor: Any) -> None:
        super().__init__(
            resource,
            requestFactory=LimitedRequest,
            timeout=IDLE_TIMEOUT,
            reactor=reactor,
            parsePOSTFormSubmission=False,
        )

    def log(self, request: Any) -> None:
        # RFC 9700, section 4.2.4: codes and states leak by logs of addresses, too.
        method, path = _printable(request.method), _printable(request.uri.partition(b"?")[0])
        # One field is formatted in a third of the time that five take.
        line = f"{address_of(request)} {method} {path} {request.code} {request.sentLength}"
        self._log.info("{line}", line=line)


def _printable(sent: bytes) -> str:
    """At most 200 characters for a log, with nothing in them that a terminal obeys."""
    return repr(sent[:200])[2:-1]
