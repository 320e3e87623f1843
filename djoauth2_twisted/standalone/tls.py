"""The TLS options of this server, and certificates that can be read again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import ServerFactory
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import directlyProvides, implementer, providedBy

from ..errors import ConfigurationError
from ..protocol.forwarding import TrustedProxies
from .proxy_protocol import ProxyProtocolFactory

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


def harden(options: Any) -> CertificateOptions:
    """Restrict a port's TLS to 1.3, or 1.2 with good ciphers.

    :param options: the options with which an endpoint would listen.
    :raises ConfigurationError: the certificate has expired, or the options are not Twisted's own.
    """
    if not isinstance(options, CertificateOptions) or options.certificate is None:
        raise ConfigurationError("its certificates cannot be reached: use ssl: or tls:")
    ends = options.certificate.to_cryptography().not_valid_after_utc
    if ends < datetime.now(UTC):
        raise ConfigurationError(f"the certificate has expired on {ends:%Y-%m-%d}")
    # All connections with these options use this context.
    context = options.getContext()
    context.set_options(_OPTIONS)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    return options


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """The certificates for new handshakes.

    :param read: reads the certificates again. If it raises, the previous ones stay in use.
    """

    def __init__(self, current: CertificateOptions, read: Callable[[], CertificateOptions]) -> None:
        self._current = current
        self._read = read

    def reload(self) -> None:
        """Read the certificates again. Open connections keep the previous ones."""
        self._current = self._read()

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """The connection for a new handshake."""
        return self._current.serverConnectionForTLS(protocol)


class _Reactor:
    """Delegates to another reactor, and provides the same interfaces."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class _TLSFactory(TLSMemoryBIOFactory):
    """Closes a connection for which the factory behind it makes no protocol."""

    def buildProtocol(self, addr: Any) -> Any:
        protocol: Any = super().buildProtocol(addr)
        return None if protocol.wrappedProtocol is None else protocol


class HardeningReactor(_Reactor):
    """A reactor for one endpoint. It listens with our `Certificates` and our PROXY protocol.

    This works for every kind of endpoint, because each asks its reactor to listen.

    :param read: reads the endpoint's certificates.
    :param proxies: the peers that may use the PROXY protocol.
    """

    def __init__(
        self, reactor: Any, read: Callable[[], CertificateOptions], proxies: TrustedProxies
    ) -> None:
        super().__init__(reactor)
        self._read = read
        self._proxies = proxies
        self.certificates: Certificates | None = None

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, *more: Any, **named: Any) -> Any:
        """Listen for TLS."""
        certificates = self._ours(lambda: harden(contextFactory))
        if isinstance(factory, HAProxyWrappingFactory):
            behind = self._proxied(self._with_tls(factory.wrappedFactory))
            return self._reactor.listenTCP(port, behind, *more, **named)
        return self._reactor.listenSSL(port, factory, certificates, *more, **named)

    def listenTCP(self, port: int, factory: Any, *more: Any, **named: Any) -> Any:
        """Listen at a TCP port."""
        return self._reactor.listenTCP(port, self._secure(factory), *more, **named)

    def listenUNIX(self, address: str, factory: Any, *more: Any, **named: Any) -> Any:
        """Listen at a socket in the file system."""
        return self._reactor.listenUNIX(address, self._secure(factory), *more, **named)

    def adoptStreamPort(self, descriptor: int, family: Any, factory: Any) -> Any:
        """Listen at a socket that another process has opened."""
        return self._reactor.adoptStreamPort(descriptor, family, self._secure(factory))

    def _secure(self, factory: Any) -> Any:
        """The factory with our TLS, if it uses TLS, and with our PROXY protocol, if it uses that."""
        if isinstance(factory, HAProxyWrappingFactory):
            return self._proxied(factory.wrappedFactory)
        if not isinstance(factory, TLSMemoryBIOFactory):
            return factory
        wrapped: Any = factory.wrappedFactory
        if isinstance(wrapped, HAProxyWrappingFactory):
            # Twisted would expect the PROXY protocol within TLS. A proxy sends it before.
            return self._proxied(self._with_tls(wrapped.wrappedFactory))
        return self._with_tls(wrapped)

    def _with_tls(self, factory: Any) -> Any:
        return _TLSFactory(self._ours(self._read), False, factory, self._reactor)

    def _proxied(self, factory: Any) -> ProxyProtocolFactory:
        return ProxyProtocolFactory(factory, self._proxies, self._reactor)

    def _ours(self, read: Callable[[], CertificateOptions]) -> Certificates:
        if self.certificates is None:
            self.certificates = Certificates(read(), self._read)
        return self.certificates


class _Recording(_Reactor):
    """A reactor that does not listen, but keeps the TLS options."""

    options: Any = None

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, **named: Any) -> None:
        """Keep the TLS options."""
        self.options = contextFactory


def certificates_of(
    reactor: Any, description: str, parse: Callable[[Any, str], Any]
) -> CertificateOptions:
    """The certificates of an ``ssl:`` endpoint, read again from its files.

    :raises ConfigurationError: see `harden`.
    """
    return harden(options_of(reactor, description, parse))


def options_of(reactor: Any, description: str, parse: Callable[[Any, str], Any]) -> CertificateOptions:
    """The options of an ``ssl:`` endpoint as Twisted makes them. Another endpoint would listen here.

    :param parse: `twisted.internet.endpoints.serverFromString`.
    """
    recording = _Recording(reactor)
    parse(recording, description).listen(ServerFactory())
    options: CertificateOptions = recording.options
    return options


def chain_of(options: Any) -> list[x509.Certificate]:
    """The certificate of some options, and those that are sent after it."""
    return [each.to_cryptography() for each in (options.certificate, *(options.extraCertChain or ()))]
