"""A connection with limits: it reads no more than it can serve, and its waits have limits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http_headers import Headers

from ..protocol.addresses import throttle_address
from .plain_request import MAX_NAME_LENGTH, PlainRequest, read_plain
from .sending import send_now, socket_below

if TYPE_CHECKING:
    from .site import LimitedRequest

#: The longest time between two bytes or two requests, and between our closing and the end, in seconds.
IDLE_TIMEOUT = 30

#: The lowest speed at which a client may read an answer, in bytes a second.
SLOWEST_READER = 4096

#: While more bytes than this wait behind a request, reading pauses, so that at most one read is added.
#: Otherwise reading continues, because only a read shows that a client has hung up.
MAX_WAITING = 16 * 1024

#: The largest overhead of a chunked body, in bytes: sizes, extensions and trailers. Each chunk has at
#: least 5.
MAX_FRAMING = 1024

# The largest piece of a head or of chunks that is parsed in one call, in bytes: Twisted copies the rest
# for each line, and does not stop before the end. For other bodies, the pieces are larger.
_PIECE = 1024
_BODY_PIECE = 16 * 1024

# How much a transport may hold when it asks us to pause: 64 KiB for TCP, and as much for TLS.
_IN_TRANSPORT = 128 * 1024

# A line that begins with one of these continues the line before it.
_FOLDS = frozenset((b" ", b"\t"))

# RFC 9110, section 5.5: a field value consists of visible characters, spaces, tabs, and bytes above
# ASCII. Twisted refuses only three of the others. What comes behind the guard may read them in a way of
# its own, and so may a terminal.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

# Python refuses to convert numbers of more than some thousand digits.
_HUGE_LENGTH = re.compile(rb"content-length:[ \t]*\d{1000}", re.IGNORECASE)


class LimitedChannel(http.HTTPChannel):
    """A connection of a `LimitedSite`.

    It parses one request at a time. The bytes behind a request wait until the request is answered, the
    client has read enough of its answers, and it is this connection's turn (see `sharing`).
    """

    # As in Apache: each line takes time, and no browser sends half as many.
    maxHeaders = 100

    transport: Any
    site: Any
    _ending: IDelayedCall | None = None
    #: While the transport takes no more bytes: the call that drops the connection.
    _blocked: IDelayedCall | None = None
    #: Whether all that arrives is thrown away.
    _deaf = False
    #: True from the last byte of a request until the next request may begin.
    _halted = False
    #: Whether bytes of the next request arrived before the last one was answered.
    _is_pipelined = False
    #: Whether reading is paused, because too many bytes wait.
    _full = False
    #: The head of an answer, until it is sent.
    _head = b""
    #: The socket that takes what is written as it is, once it is known; None if there is none.
    _socket: Connection | None = None
    _socket_is_known = False
    #: Bytes of the request that arrives, of its body as it was framed, and of answers not yet sent.
    _arrived = 0
    _body = 0
    _unsent = 0
    #: The sum, as the site knows it.
    _held = 0
    #: Whether the idle timer is kept, even if it is not needed now, until `dataReceived` returns.
    _keeps_timer = False
    #: The addresses of both ends, once they are known. Each request needs them, and the system is slow.
    _peer: Any = None
    _host: Any = None
    _throttle_key: str | None = None
    #: Whether the connection has TLS, once it is known: Twisted's search takes a microsecond.
    _is_secure: bool | None = None

    def __init__(self) -> None:
        super().__init__()
        self._waiting = bytearray()

    # Requests.

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the transport."""
        if self._deaf:
            return
        self._keeps_timer = True
        try:
            if self._is_at_rest() and (plain := read_plain(data)) is not None:
                self._arrived += len(data)
                self._begin(plain)
                self._settle()
            else:
                self._waiting += data
                self._parse()
        finally:
            self._keeps_timer = False
            if self.timeOut is None:
                self.setTimeout(None)

    def _is_at_rest(self) -> bool:
        """Whether the next byte begins a request, which may begin at once."""
        if self.requests or self._buffer or self._waiting or self._halted or self._blocked:
            return False
        return bool(self.line_mode and self.persistent and not self.transport.disconnecting)

    def _begin(self, plain: PlainRequest) -> None:
        """Begin a request that was read in one step, as Twisted does after its own reading."""
        request = cast("LimitedRequest", self.requestFactory(self, len(self.requests)))
        self.requests.append(request)
        plain.fill(request)
        self._command, self._path, self._version = plain.method, plain.uri, b"HTTP/1.1"
        self.persistent = self.checkPersistence(request, self._version)
        self.allContentReceived()

    def _parse(self) -> None:
        """Parse the waiting bytes, until a request is complete or more bytes are needed."""
        while self._waiting and not (self._halted or self._blocked or self.transport.disconnecting):
            size = _PIECE if self.line_mode or self.length is None else _BODY_PIECE
            piece = bytes(self._waiting[:size])
            del self._waiting[:size]
            self._arrived += len(piece)
            super().dataReceived(piece)
        self._settle()

    def _settle(self) -> None:
        """Pause or continue reading, and report how much this connection holds."""
        if self._deaf:
            return
        full = len(self._waiting) > MAX_WAITING
        if full:
            self._networkProducer.pauseProducing()
        elif self._full and not self._blocked:
            self._networkProducer.resumeProducing()
        self._full = full
        if self.requests and not self._halted:
            self.requests[-1].await_rest()
        held = len(self._waiting) + self._arrived + self._unsent
        if held != self._held:
            self._held = held
            self.site.memory.hold(self, held)

    def forget(self, size: int) -> None:
        """Subtract bytes of the request that were dropped from those that are held."""
        self._arrived -= size

    def lineReceived(self, line: bytes) -> None:
        """Handle a line of a request's head."""
        # RFC 9112, section 5.2: "A server that receives an obs-fold in a request message [...] MUST
        # either reject the message by sending a 400 (Bad Request) [...]". Twisted would join the lines.
        folded = line[:1] in _FOLDS
        # The first line makes the request.
        nameless = self.requests and line and line.find(b":", 0, MAX_NAME_LENGTH + 1) < 0
        # RFC 9110, section 8.6: "a recipient MUST anticipate potentially large decimal numerals and
        # prevent parsing errors due to integer conversion overflows".
        huge = len(line) > 1000 and _HUGE_LENGTH.match(line)
        if folded or nameless or huge or _CONTROL.search(line):
            self.refuse()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long; over TLS, Twisted would let it time out."""
        self.refuse()

    def rawDataReceived(self, data: bytes) -> None:
        """Handle bytes of a body."""
        self._body += len(data)
        super().rawDataReceived(data)
        whole = self._halted or self._deaf
        # Chunks of one byte take a hundred times as long as the same bytes in one chunk.
        if not whole and self._body - self.requests[-1].received > MAX_FRAMING:
            self.refuse()

    def refuse(self) -> None:
        """Answer 400 and ignore the following bytes: they are the rest of the request, not another."""
        self.deafen()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        self.loseConnection()

    # Twisted's own answer to what it cannot read does not say that the connection closes.
    _respondToBadRequestAndDisconnect = refuse

    def deafen(self) -> None:
        """Drop the waiting bytes and all that still arrive."""
        self._deaf = True
        self._waiting.clear()

    # One request after another.

    def allContentReceived(self) -> None:
        """Stop parsing after a complete request."""
        self._waiting[:0] = self.clearLineBuffer()
        self._halted = True
        self._body = 0
        super().allContentReceived()

    def setLineMode(self, extra: bytes = b"") -> None:
        """Keep the bytes behind the body of an answered request, which begin the next request."""
        self._waiting[:0] = extra
        super().setLineMode()

    def requestDone(self, request: http.Request) -> None:
        """Let the request after an answered one begin in a later turn of the reactor."""
        self._arrived = 0
        self.site.turns.rest(self)
        super().requestDone(request)
        self._is_pipelined = bool(self._waiting)
        self._settle()

    def rested(self) -> bool:
        """See `sharing.Sharing`."""
        if self._is_pipelined:
            self._halted = bool(self._waiting)
            return self._halted
        self._halted = False
        if self._waiting:
            data = bytes(self._waiting)
            self._waiting.clear()
            self.dataReceived(data)
        return False

    def take_turn(self) -> None:
        """See `sharing.Sharing`."""
        self._halted = False
        self._parse()

    # Answers.

    def getPeer(self) -> Any:
        """The address of the client."""
        if self._peer is None:
            self._peer = super().getPeer()
        return self._peer

    def getHost(self) -> Any:
        """The address that the client is connected to."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def throttle_key(self) -> str:
        """The address or network of the peer, as the limits by address count it."""
        if self._throttle_key is None:
            self._throttle_key = throttle_address(getattr(self.getPeer(), "host", None) or "local")
        return self._throttle_key

    def isSecure(self) -> bool:
        """Whether the connection has TLS."""
        if self._is_secure is None:
            self._is_secure = bool(super().isSecure())
        return self._is_secure

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Make the head of an answer. While the server ends, it says that the connection closes.

        It is sent with the beginning of the body, or by `send_head`.
        """
        if self.site.is_ending:
            self.persistent = False
            headers.setRawHeaders(b"connection", [b"close"])
        lines = [b"%b %b %b\r\n" % (version, code, reason)]
        for name, values in headers.getAllRawHeaders():
            for value in values:
                lines.append(b"%b: %b\r\n" % (name, value))
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def send_head(self) -> None:
        """Send the head of an answer, if it has not been sent together with the beginning of a body."""
        if self._head:
            self.write(b"")

    def write(self, data: bytes) -> None:
        """Send some bytes of an answer."""
        if self._head:
            # Most answers are complete here. Later pieces of the others are sent by Twisted.
            data, self._head = self._send_now(self._head + data), b""
        if data:
            super().write(data)
            self._count_unsent(len(data))

    def _send_now(self, data: bytes) -> bytes:
        if not self._socket_is_known:
            self._socket, self._socket_is_known = socket_below(self.transport), True
        # An upgraded connection has no transport here any more.
        if self._socket is None or self.transport is None:
            return data
        return send_now(self._socket, data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send some bytes of an answer."""
        self.write(b"".join(iovec))

    def _count_unsent(self, size: int) -> None:
        if self._blocked is not None:
            self._unsent += size
            self._blocked.delay(size / SLOWEST_READER)
            self._settle()

    def pauseProducing(self) -> None:
        """Start the deadline for a client that does not read, since the transport takes no more."""
        super().pauseProducing()
        if self._blocked is None:
            self._blocked = self.callLater(IDLE_TIMEOUT, self.drop)
            self._unsent = _IN_TRANSPORT

    def resumeProducing(self) -> None:
        """End the deadline, since the transport has sent all bytes."""
        self._unblock()
        super().resumeProducing()
        if self._waiting and not self._halted:
            self._halted = True
            self.site.turns.wait(self)
        self._settle()

    def _unblock(self) -> None:
        if self._blocked is not None and self._blocked.active():
            self._blocked.cancel()
        self._blocked = None
        self._unsent = 0

    # The end.

    def setTimeout(self, period: int | None) -> int | None:
        """Set the longest time until the next byte, in seconds; None while a request is answered.

        Most requests are answered before `dataReceived` returns. For these, the timer is not cancelled
        and made anew. Twisted moves it when the next time is set.
        """
        if period is None and self._keeps_timer:
            before, self.timeOut = self.timeOut, None
            return before
        previous: int | None = super().setTimeout(period)
        return previous

    def resetTimeout(self) -> None:
        # The bytes of the first line do not reset it. The rest of a request has its own deadline.
        if self.requests:
            super().resetTimeout()

    def loseConnection(self) -> None:
        # TLS sends its end, and then waits for the end of the client, which may never come.
        if self._ending is None:
            self._ending = self.callLater(IDLE_TIMEOUT, self.transport.abortConnection)
            self.deafen()
            # The end that the client sends must be read.
            if self._full:
                self._networkProducer.resumeProducing()
            super().loseConnection()

    def drop(self) -> None:
        """End the connection immediately, without waiting for the client."""
        self.deafen()
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._ending is not None and self._ending.active():
            self._ending.cancel()
        self._unblock()
        self.deafen()
        self.site.turns.leave(self)
        self.site.memory.hold(self, 0)
        super().connectionLost(reason)
        # Without a cycle of references, no garbage collection is needed, which would stop the reactor.
        self._transferDecoder = None
        self.requests.clear()
