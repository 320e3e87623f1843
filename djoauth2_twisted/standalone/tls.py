"""The TLS options of this server, and certificates that can be read again."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from attrs import frozen
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTCP, IReactorTime
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import directlyProvides, implementer, providedBy

from ..clock import IListeningReactor
from ..errors import ConfigurationError
from ..protocol.forwarding import TrustedProxies
from .connections import Connections
from .inherited import adopt_unix_port
from .proxy_protocol import ProxyProtocolFactory
from .shared_tls import TLSFactory

#: How long a client may resume a session without a full handshake, in seconds. RFC 9325, section 3.4:
#: "session ticket validity MUST be limited to a reasonable duration".
SESSION_LIFETIME = 2 * 3600

#: How long a key encrypts session tickets, in seconds. RFC 9325, section 3.4: "Ticket-encryption keys
#: MUST be changed regularly", and a ticket is valid for half of that time or less.
TICKET_KEY_LIFETIME = 12 * 3600

# RFC 9325, section 4.2: forward secrecy and authenticated encryption. TLS 1.3 has only
# such ciphers, and ignores this list.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK"

# RFC 9325, sections 3.1.1, 3.3 and 3.5: "MUST NOT negotiate TLS version 1.1", no compression, and no
# renegotiation. OpenSSL accepts no early data of TLS 1.3 by default.
_OPTIONS = (
    SSL.OP_NO_SSLv3
    | SSL.OP_NO_TLSv1
    | SSL.OP_NO_TLSv1_1
    | SSL.OP_NO_COMPRESSION
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
)

# The same for all contexts: with SNI, a session begins in one context and continues in another.
_SESSION_ID_CONTEXT = b"djoauth2"


@frozen
class ServerCertificate:
    """A certificate with its private key, and how a port uses it.

    :param chain: the certificates between it and the root, in the order in which they are sent.
    :param context_for: the context for the name that a client requests (SNI); None for this certificate.
    :raises ConfigurationError: the certificate has expired.
    """

    key: Any
    certificate: x509.Certificate
    chain: Sequence[x509.Certificate] = ()
    context_for: Callable[[bytes | None], SSL.Context | None] | None = None

    def __attrs_post_init__(self) -> None:
        ends = self.certificate.not_valid_after_utc
        if ends < datetime.now(UTC):
            raise ConfigurationError(f"the certificate has expired on {ends:%Y-%m-%d}")

    def options(self) -> CertificateOptions:
        """Options for TLS 1.3, or 1.2 with good ciphers. Their session tickets have a new key.

        :raises ConfigurationError: OpenSSL refuses the certificate, because its key is too weak.
        """
        try:
            return self._options()
        except SSL.Error as error:
            reason = error.args[0][0][2]
            raise ConfigurationError(f"OpenSSL refuses the certificate: {reason}") from None

    def _options(self) -> CertificateOptions:
        options = CertificateOptions(
            privateKey=crypto.PKey.from_cryptography_key(self.key),
            certificate=crypto.X509.from_cryptography(self.certificate),
            extraCertChain=[crypto.X509.from_cryptography(each) for each in self.chain],
            contextForServerName=self.context_for,
            # The client keeps the session in the ticket, so that a flood of handshakes fills no memory.
            enableSessionTickets=True,
        )
        # All connections with these options use this context. OpenSSL makes the key with it.
        context = options.getContext()
        context.set_options(_OPTIONS)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(_CIPHERS)
        context.set_session_id(_SESSION_ID_CONTEXT)
        context.set_timeout(SESSION_LIFETIME)
        return options


def unreachable() -> ServerCertificate:
    """Refuse the endpoint of a plugin that has its own certificates.

    :raises ConfigurationError: always.
    """
    raise ConfigurationError("its certificates cannot be reached: use ssl: or tls:")


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """The certificate for new handshakes, and the key of session tickets.

    :param read: reads the certificate. If it raises later, the previous one stays in use.
    """

    def __init__(self, read: Callable[[], ServerCertificate], clock: IReactorTime) -> None:
        self._read = read
        self._clock = clock
        self.reload()

    def reload(self) -> None:
        """Read the certificate again. Open connections keep the previous one."""
        self._use(self._read())

    def _use(self, certificate: ServerCertificate) -> None:
        self._options = certificate.options()
        self._certificate, self._made = certificate, self._clock.seconds()

    def renew_ticket_key(self) -> None:
        """Replace the key of tickets if it is too old. Older tickets lead to a full handshake."""
        if self._clock.seconds() - self._made >= TICKET_KEY_LIFETIME:
            self._use(self._certificate)

    def ends(self) -> float:
        """When the certificate expires, in seconds since the epoch."""
        return self._certificate.certificate.not_valid_after_utc.timestamp()

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """The connection for a new handshake."""
        return self._options.serverConnectionForTLS(protocol)


class HardeningReactor:
    """A reactor for one endpoint. It listens with our `Certificates` and our PROXY protocol.

    It provides what another reactor provides. It works for every kind of endpoint, because each asks
    its reactor to listen.

    :param read: reads the endpoint's certificate.
    :param proxies: the peers that may use the PROXY protocol.
    """

    def __init__(
        self, reactor: IReactorTCP, read: Callable[[], ServerCertificate], proxies: TrustedProxies
    ) -> None:
        self._reactor = cast("IListeningReactor", reactor)
        self._read = read
        self._proxies = proxies
        self.certificates: Certificates | None = None
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, *more: Any, **named: Any) -> Any:
        """Listen for TLS."""
        if isinstance(factory, HAProxyWrappingFactory):
            behind: Any = self._proxied(self.with_tls(factory.wrappedFactory))
        else:
            behind = self.with_tls(factory)
        return self._reactor.listenTCP(port, behind, *more, **named)

    def listenTCP(self, port: int, factory: Any, *more: Any, **named: Any) -> Any:
        """Listen at a TCP port."""
        return self._reactor.listenTCP(port, self._secure(factory), *more, **named)

    def listenUNIX(self, address: str, factory: Any, *more: Any, **named: Any) -> Any:
        """Listen at a socket in the file system."""
        return self._reactor.listenUNIX(address, self._secure(factory), *more, **named)

    def adoptStreamPort(self, descriptor: int, family: Any, factory: Any) -> Any:
        """Listen at a socket that another process has opened."""
        if family == socket.AF_UNIX:
            return adopt_unix_port(self._reactor, descriptor, self._secure(factory))
        return self._reactor.adoptStreamPort(descriptor, family, self._secure(factory))

    def _secure(self, factory: Any) -> Any:
        """The factory with our TLS, if it uses TLS, and with our PROXY protocol, if it uses that."""
        if isinstance(factory, HAProxyWrappingFactory):
            return self._proxied(factory.wrappedFactory)
        if isinstance(factory, TLSMemoryBIOFactory):
            return self.with_tls(factory.wrappedFactory)
        return factory

    def with_tls(self, factory: Any) -> TLSFactory:
        """A factory for connections with TLS, and with our certificates."""
        shares = factory.site.shares if isinstance(factory, Connections) else None
        return TLSFactory(self._ours(), factory, self._reactor, shares)

    def _proxied(self, factory: Any) -> ProxyProtocolFactory:
        return ProxyProtocolFactory(factory, self._proxies, self._reactor)

    def _ours(self) -> Certificates:
        if self.certificates is None:
            self.certificates = Certificates(self._read, self._reactor)
        return self.certificates
