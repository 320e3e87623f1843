"""The site of the stand-alone server: it limits requests, and logs them without secrets."""

from __future__ import annotations

import time
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.iweb import IRequest
from twisted.web.resource import EncodingResourceWrapper, IResource
from twisted.web.server import Request, Site

from ..errors import ContentTooLarge, DJOAuthError, InvalidRequest
from ..protocol.forwarding import NO_PROXIES, TrustedProxies
from . import respond
from .access_log import AccessLog, Answered
from .channel import IDLE_TIMEOUT, LimitedChannel
from .error_response import ClientErrors, logged_fault
from .reading import (
    MAX_BODY_SIZE,
    address_of,
    known_request_id,
    origin_of_request,
    throttle_key_of,
)
from .respond import start_over
from .sharing import Memory, Shares, Turns

#: How much of a body that is too long is read and dropped before the connection is cut, in bytes. Until
#: then the client can read the answer, rather than see a reset.
MAX_READ = 4 * 1024 * 1024

#: The longest time from the first line of a request to the last byte of its body, in seconds.
REQUEST_DEADLINE = 20

#: The longest path, in bytes.
MAX_PATH_LENGTH = 4096

#: The largest number of cookies. A browser keeps 180 for a site.
MAX_COOKIES = 200

#: A query with this number of arguments or more is refused. No resource takes as many.
MAX_ARGUMENTS = 1000

#: How much all connections of a site may hold together, in bytes.
MAX_HELD = 64 * 1024 * 1024


class LimitedRequest(Request):
    """A request with limits on its size and on the time in which it arrives."""

    channel: LimitedChannel
    #: How many bytes of the body have arrived.
    received = 0
    #: The error that answers the request before any resource sees it.
    _refusal: DJOAuthError | None = None

    #: The call that ends a request whose rest does not arrive.
    _arriving: IDelayedCall | None = None
    _has_arrived = False

    def await_rest(self) -> None:
        """Begin the deadline of a request of which more has to arrive.

        Its first line has arrived, or there would be no request. The channel times out only when it is
        idle, and a client that sends a byte now and then prevents that.
        """
        if self._arriving is None and not self._has_arrived:
            reactor = self.channel.site.reactor
            self._arriving = reactor.callLater(REQUEST_DEADLINE, self._hang_up)

    def _hang_up(self) -> None:
        self._arriving = None
        self._cut()

    def _cut(self) -> None:
        self.channel.drop()

    def _arrived(self) -> None:
        self._has_arrived = True
        if self._arriving is not None and self._arriving.active():
            self._arriving.cancel()
        self._arriving = None

    def gotLength(self, length: int | None) -> None:
        # No body that is kept is large, so none needs a temporary file.
        super().gotLength(0)
        expects = self.requestHeaders.hasHeader(b"expect")
        if self._is_ambiguous():
            self._refusal = InvalidRequest("the request can be read in more than one way")
        elif length is not None and length > MAX_BODY_SIZE:
            self._refusal = ContentTooLarge()
        if self._refusal is not None and expects:
            self.requestHeaders.removeHeader(b"expect")
            if length != 0:
                self._refuse_at_once(self._refusal)

    def _is_ambiguous(self) -> bool:
        """Whether a proxy may have read the request in another way than we do."""
        headers = self.requestHeaders
        # RFC 9112, section 3.2: "A server MUST respond with a 400 (Bad Request) status code [...] to any
        # request message that contains more than one Host header field line". One that has none can
        # be read in one way only, since no answer depends on it.
        if len(headers.getRawHeaders(b"host", ())) > 1:
            return True
        # Twisted ignores the obsolete "identity". Others then read the body until the connection ends.
        codings = headers.getRawHeaders(b"transfer-encoding")
        return codings is not None and [coding.lower() for coding in codings] != [b"chunked"]

    def _refuse_at_once(self, error: DJOAuthError) -> None:
        """Answer "with a final status code" (RFC 9110, section 10.1.1), and do not read the body.

        Twisted has not set the method and the URI yet. A body that still arrives while TLS ends is
        ignored.
        """
        self.method, self.uri, self.clientproto = b"-", b"-", b"HTTP/1.1"
        self.channel.deafen()
        self._arrived()
        self._refuse(error)

    def handleContentChunk(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > MAX_BODY_SIZE:
            self._refusal = self._refusal or ContentTooLarge()
        if self.received > MAX_READ:
            self._cut()
        elif self._refusal is None:
            super().handleContentChunk(data)
        else:
            self.channel.forget(len(data))

    def parseCookies(self) -> None:
        """Read the Cookie header."""
        lines = self.requestHeaders.getRawHeaders(b"cookie") or ()
        if sum(line.count(b";") for line in lines) < MAX_COOKIES:
            super().parseCookies()
        else:
            self._refusal = InvalidRequest("there are too many cookies")

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Handle a whole request. A path or query that is too long is refused and not parsed."""
        address, _, query = path.partition(b"?")
        if len(address) > MAX_PATH_LENGTH:
            self._refusal = InvalidRequest("the path is too long")
        # Twisted separates fields at ";" too.
        elif query.count(b"&") + query.count(b";") >= MAX_ARGUMENTS:
            self._refusal = InvalidRequest("there are too many arguments")
        super().requestReceived(command, path if self._refusal is None else address, version)

    def connectionLost(self, reason: Failure) -> None:
        self._arrived()
        self.channel.site.shares.leave(self._throttle_key(), self)
        super().connectionLost(reason)

    def process(self) -> None:
        """Begin to answer, when it is the turn of the client's address (see `sharing.Shares`)."""
        self._arrived()
        self.channel.site.shares.begin(self._throttle_key(), self)

    def _throttle_key(self) -> str:
        proxies, request = self.channel.site.proxies, cast("IRequest", self)
        if not proxies:
            return self.channel.throttle_key()
        origin_of_request(request, proxies)
        return throttle_key_of(request)

    def begin(self) -> None:
        """See `sharing.Work`."""
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self.path == b"*":
            super().process()
        else:
            self._process()

    def drop(self) -> None:
        """See `sharing.Work`."""
        self.channel.drop()

    def _process(self) -> None:
        """Find the resource and render it, as Twisted's `process` does, with our own headers.

        Most paths need no decoding, and the date is the same for a second.
        """
        self.site = site = cast("LimitedSite", self.channel.site)
        # As `setHeader` would set them. The names and values need no check.
        headers = self.responseHeaders._rawHeaders
        headers[b"Server"], headers[b"Date"] = [b"djoauth2"], [site.date()]
        segments = self.path[1:].split(b"/")
        self.prepath = []
        self.postpath = [unquote_to_bytes(s) for s in segments] if b"%" in self.path else segments
        try:
            resource = site.getResourceFor(self)
            if isinstance(resource, EncodingResourceWrapper):
                self._encoder = resource.getEncoder(self)
            self.render(resource)
        except BaseException:
            self.processingFailed(Failure())

    def write(self, data: bytes) -> None:
        """Send some bytes of the answer, and its head before the first ones."""
        super().write(data)
        if self.channel is not None:
            self.channel.send_head()

    def processingFailed(self, reason: Failure) -> Failure:
        """Log the failure of a resource, and answer with an error that does not describe it."""
        error = logged_fault(cast("IRequest", self), "A resource failed", reason)
        if start_over(self):
            self._refuse(error)
        return reason

    def _refuse(self, error: DJOAuthError) -> None:
        """Answer in JSON, because it is not known yet whether a client or a person asks."""
        self.channel.persistent = False
        answer = ClientErrors(realm="")(self, error)
        respond.write(self, respond.with_header(answer, "Connection", "close"))

    def __repr__(self) -> str:
        # The text that Twisted makes shows the URI, which may contain a code or token.
        return f"<{type(self).__name__} at {id(self):#x}>"


class LimitedSite(Site):
    """A site with limits, whose log contains no query, Referer or credentials::

        endpoint.listen(LimitedSite(root, reactor))

    :param proxies: the peers that say where their requests come from.
    :param shares: shares the reactor between the addresses of clients. The default measures by the
        reactor's clock.
    :param most_held: how much memory all connections may hold together, in bytes: requests that arrive
        or wait, and answers that are not sent yet. Beyond it, the connections that hold most are cut. A
        resource with a larger answer needs a producer.
    """

    # HTTP/1.1 alone: see `standalone.connections.Connections`.
    protocol: Any = LimitedChannel
    #: Whether each answer is the last one of its connection.
    is_ending = False
    #: Where the access log is written; None for the log of all events.
    access_log: AccessLog | None = None
    #: The last date that was asked for, in seconds since the epoch, and as it is sent.
    _dated = 0
    _date = b""
    _log = Logger()

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        proxies: TrustedProxies = NO_PROXIES,
        most_held: int = MAX_HELD,
        shares: Shares | None = None,
    ) -> None:
        self.proxies = proxies
        self.turns = Turns(reactor)
        self.shares = Shares(reactor) if shares is None else shares
        self.memory = Memory(most_held)
        super().__init__(
            resource,
            requestFactory=LimitedRequest,
            timeout=IDLE_TIMEOUT,
            reactor=reactor,
            parsePOSTFormSubmission=False,
        )

    def acceptableProtocols(self) -> list[bytes]:
        """The protocols that the site offers by ALPN. HTTP/2 would add more risk than use."""
        return [b"http/1.1"]

    def date(self) -> bytes:
        """The time for the Date header (RFC 9110, section 6.6.1)."""
        now = int(time.time())
        if now != self._dated:
            self._dated, self._date = now, http.datetimeToString(now)
        return self._date

    def log(self, request: http.Request) -> None:
        """Write the line of a request that has ended to the access log."""
        asked = cast("IRequest", request)
        answered = Answered(
            address_of(asked),
            request.method,
            request.uri,
            request.code,
            request.sentLength,
            known_request_id(asked) or "",
        )
        if self.access_log is None:
            self._log.info("{line}", line=answered.line())
        else:
            self.access_log.add(answered)
