"""TLS connections that share the reactor's time between the addresses that they come from."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from ..protocol.addresses import throttle_address
from ..web.sending import send_now, socket_below
from ..web.sharing import Shares

#: How long the handshakes of all addresses may run in one turn of the reactor, in seconds. So those who
#: are connected are served while many connect at once.
HANDSHAKES = 0.002


class SharedTLS(TLSMemoryBIOProtocol):
    """A TLS connection that takes bytes when it is the turn of its address (see `sharing.Shares`).

    A handshake, and the reading of a request, take as much of the reactor's time as the request itself.
    Without turns, an address with many connections would delay all others.

    Twisted's own TLS collects what is written until the next turn. Ours does not, as the channel writes
    most answers in one piece.
    """

    factory: TLSFactory
    transport: Any
    #: Bytes that are not decrypted yet.
    _received = b""
    #: Whether they wait for a later turn. Until then, nothing more is read.
    _waits = False
    #: Whether the protocol behind TLS has paused reading.
    _paused = False
    #: The socket below, once it is known; None if there is none.
    _socket: Connection | None = None
    _socket_is_known = False
    #: The throttle key of the peer's address. It is known once bytes arrive: a proxy may send it first.
    _key: str | None = None

    def dataReceived(self, bytes: bytes) -> None:
        """Take bytes from the client now or, if its address has used its share, in a later turn."""
        self._received += bytes
        if self._key is None:
            self._key = throttle_address(getattr(self.transport.getPeer(), "host", ""))
        self._shares().begin(self._key, self)
        if self._received:
            self._waits = True
            self.transport.pauseProducing()

    def begin(self) -> None:
        """See `sharing.Work`."""
        received, self._received = self._received, b""
        if self._waits:
            self._waits = False
            if not self._paused:
                self.transport.resumeProducing()
        super().dataReceived(received)

    def drop(self) -> None:
        """See `sharing.Work`."""
        self.abortConnection()

    def _flushSendBIO(self) -> None:
        # As Twisted does, but sent at once.
        with suppress(SSL.WantReadError):
            made = self._tlsConnection.bio_read(2**15)
            if not self._socket_is_known:
                self._socket, self._socket_is_known = socket_below(self.transport), True
            rest = made if self._socket is None else send_now(self._socket, made)
            if rest:
                self.transport.write(rest)

    def pauseProducing(self) -> None:
        """Read nothing more from the client."""
        self._paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read from the client, unless bytes wait for a turn."""
        self._paused = False
        if not self._waits:
            self.transport.resumeProducing()

    def abortConnection(self) -> None:
        """End the connection immediately.

        Twisted would first make the alert that ends TLS, which takes long and is then not sent.
        """
        self._aborted = self.disconnecting = self._lostTLSConnection = True
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give up the turn."""
        if self._key is not None:
            self._shares().leave(self._key, self)
        super().connectionLost(reason)
        # Without a cycle of references, no garbage collection is needed, which would stop the reactor.
        self._producer = None

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        # The same: the traceback has the frame that has the failure.
        if reason is not None and isinstance(reason.value, SSL.Error):
            reason.value.__traceback__ = None
            reason.tb = None
        super()._tlsShutdownFinished(reason)

    def _shares(self) -> Shares:
        return self.factory.shares if self._handshakeDone else self.factory.handshakes


class TLSFactory(TLSMemoryBIOFactory):
    """Makes TLS connections that share the reactor.

    It closes a connection for which the factory behind it makes no protocol.

    :param shares: what the requests behind TLS share. By default, TLS has its own shares.
    """

    protocol = SharedTLS

    def __init__(
        self,
        certificates: IOpenSSLServerConnectionCreator,
        behind: IProtocolFactory,
        reactor: IReactorTime,
        shares: Shares | None = None,
    ) -> None:
        super().__init__(certificates, False, behind, reactor)
        self.shares = Shares(reactor) if shares is None else shares
        self.handshakes = Shares(reactor, HANDSHAKES)

    def buildProtocol(self, addr: Any) -> Any:
        """Make a connection's protocol, or None."""
        protocol: Any = super().buildProtocol(addr)
        return None if protocol.wrappedProtocol is None else protocol
