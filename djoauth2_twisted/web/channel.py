"""A connection that takes no more than it serves, and waits for no client for ever."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http

#: Between two bytes, or two requests, of a connection, and from our farewell to its end, in seconds.
IDLE_TIMEOUT = 30

#: What a client must read at least of an answer that waits for it, in bytes a second.
SLOWEST_READER = 4096

#: With more bytes waiting behind a request no more are read, so that it is this and one read at most.
#: With fewer, reading goes on: it tells when a client hangs up.
MAX_WAITING = 16 * 1024

#: What a chunked body may have that is not content, in bytes: sizes, extensions and trailers. Each chunk
#: has 5 at least.
MAX_FRAMING = 1024

#: No header's name is longer, in bytes. Twisted remembers 10,000 names for ever.
MAX_NAME_LENGTH = 128

# What is parsed at once of a head or of chunks, in bytes: Twisted copies the rest for each line, and
# does not stop before the end. Of other bodies, more.
_PIECE = 1024
_BODY_PIECE = 16 * 1024

# What may lie in a transport when it asks us to pause: 64 KiB for TCP, and as much for TLS.
_IN_TRANSPORT = 128 * 1024

# With these a line begins that goes on with the one before.
_FOLDS = frozenset((b" ", b"\t"))


class LimitedChannel(http.HTTPChannel):
    """A connection of a `LimitedSite`.

    One request at a time is parsed. The bytes behind it wait here until it is answered, the client has
    read enough of its answers, and it is this connection's turn (see `sharing`).
    """

    # As Apache does: each line takes time, and no browser sends half as many.
    maxHeaders = 100

    transport: Any
    site: Any
    _ending: IDelayedCall | None = None
    #: While the transport takes no more: when it is given up.
    _blocked: IDelayedCall | None = None
    #: Whether what comes is thrown away.
    _deaf = False
    #: From the last byte of a request until another may begin.
    _halted = False
    #: Whether more waits than is read.
    _full = False
    #: Bytes of the request that arrives, of its body as it was framed, and of answers not yet sent.
    _arrived = 0
    _body = 0
    _unsent = 0

    def __init__(self) -> None:
        super().__init__()
        self._waiting = bytearray()

    # What comes in.

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the transport."""
        if not self._deaf:
            self._waiting += data
            self._parse()

    def _parse(self) -> None:
        """Have what waits parsed, until a request is whole or more bytes are needed."""
        while self._waiting and not (self._halted or self._blocked or self.transport.disconnecting):
            size = _PIECE if self.line_mode or self.length is None else _BODY_PIECE
            piece = bytes(self._waiting[:size])
            del self._waiting[:size]
            self._arrived += len(piece)
            super().dataReceived(piece)
        self._settle()

    def _settle(self) -> None:
        """Read on, or do not; and say how much is held."""
        if self._deaf:
            return
        full = len(self._waiting) > MAX_WAITING
        if full:
            self._networkProducer.pauseProducing()
        elif self._full and not self._blocked:
            self._networkProducer.resumeProducing()
        self._full = full
        self.site.memory.hold(self, len(self._waiting) + self._arrived + self._unsent)

    def forget(self, size: int) -> None:
        """So many bytes of the request that arrives are not kept."""
        self._arrived -= size

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a request's head."""
        # RFC 9112, section 5.2: "A server that receives an obs-fold in a request message [...] MUST
        # either reject the message by sending a 400 (Bad Request) [...]". Twisted would join the lines.
        folded = line[:1] in _FOLDS
        # The first line makes the request.
        nameless = self.requests and line and line.find(b":", 0, MAX_NAME_LENGTH + 1) < 0
        if folded or nameless:
            self.refuse()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Take the beginning of a line that is too long; over TLS, Twisted leaves this to time out."""
        self.refuse()

    def rawDataReceived(self, data: bytes) -> None:
        """Take bytes of a body."""
        self._body += len(data)
        super().rawDataReceived(data)
        whole = self._halted or self._deaf
        # A byte in each chunk takes a hundred times the time of the same bytes in one.
        if not whole and self._body - self.requests[-1].received > MAX_FRAMING:
            self.refuse()

    def refuse(self) -> None:
        """Hear no more: what follows is the rest of the request, and none of its own."""
        self.deafen()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        self.loseConnection()

    def deafen(self) -> None:
        """Throw away what waits, and what comes."""
        self._deaf = True
        self._waiting.clear()

    # One request after the other.

    def allContentReceived(self) -> None:
        """A request is whole."""
        self._waiting[:0] = self.clearLineBuffer()
        self._halted = True
        self._body = 0
        super().allContentReceived()

    def setLineMode(self, extra: bytes = b"") -> None:
        """A request is answered; what was read behind its body is the beginning of the next."""
        self._waiting[:0] = extra
        super().setLineMode()

    def requestDone(self, request: Any) -> None:
        """A request is answered; the next begins in a later turn."""
        self._arrived = 0
        self.site.turns.rest(self)
        super().requestDone(request)
        self._settle()

    def rested(self) -> bool:
        """See `sharing.Sharing`."""
        self._halted = bool(self._waiting)
        return self._halted

    def take_turn(self) -> None:
        """See `sharing.Sharing`."""
        self._halted = False
        self._parse()

    # What goes out.

    def write(self, data: bytes) -> None:
        """Send a part of an answer."""
        super().write(data)
        self._count_unsent(len(data))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send a part of an answer."""
        data = b"".join(iovec)
        super().write(data)
        self._count_unsent(len(data))

    def _count_unsent(self, size: int) -> None:
        if self._blocked is not None:
            self._unsent += size
            self._blocked.delay(size / SLOWEST_READER)
            self._settle()

    def pauseProducing(self) -> None:
        """The transport takes no more, for the client does not read."""
        super().pauseProducing()
        if self._blocked is None:
            self._blocked = self.callLater(IDLE_TIMEOUT, self.drop)
            self._unsent = _IN_TRANSPORT

    def resumeProducing(self) -> None:
        """The transport has sent everything."""
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

    def resetTimeout(self) -> None:
        # Of a first line that comes byte by byte no byte counts; what follows it has its own deadline.
        if self.requests:
            super().resetTimeout()

    def loseConnection(self) -> None:
        # TLS takes its leave, and then waits for the client to do so, which would be for ever.
        if self._ending is None:
            self._ending = self.callLater(IDLE_TIMEOUT, self.transport.abortConnection)
            self.deafen()
            # The client's own leave is to be heard.
            if self._full:
                self._networkProducer.resumeProducing()
            super().loseConnection()

    def drop(self) -> None:
        """Hear no more of the connection. To lose it in order takes a client that agrees."""
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
