"""Certificates for tests, ports that listen in memory, and clients that shake hands with them."""

from __future__ import annotations

import ssl
import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as to
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import Resource

from djoauth2_twisted.standalone.connections import Connections
from djoauth2_twisted.standalone.endpoint_strings import HardenedEndpoint
from djoauth2_twisted.standalone.ports import Port
from djoauth2_twisted.web.site import LimitedSite

KEYS = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
}
V2, V3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def key_pem(key: Any) -> bytes:
    """A key as it is in a file."""
    text: bytes = key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
    return text


def certificate(
    *names: str,
    key: Any = KEYS["ec"],
    days: int = 9,
    issuer: str | None = None,
    signer: Any = None,
    ca: bool = False,
) -> bytes:
    """A certificate for names, as it is in a file; by itself, or by an issuer with a key.

    :param ca: whether it may sign others.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    by = subject if issuer is None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=20))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        .add_extension(x509.BasicConstraints(ca, None), True)
        .sign(signer or key, hashes.SHA256())
        .public_bytes(to.Encoding.PEM)
    )


def encrypted_pem(key: Any, how: str) -> bytes:
    """A key with a password, as it is in a file."""
    form = to.PrivateFormat.TraditionalOpenSSL if how == "traditional" else to.PrivateFormat.PKCS8
    text: bytes = key.private_bytes(to.Encoding.PEM, form, to.BestAvailableEncryption(b"secret"))
    return text.replace(b"ENCRYPTED PRIVATE", b"PRIVATE") if how == "mislabelled" else text


class Transport(StringTransport):
    """A server's end in memory."""

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


def client_context(ciphers: str = "ALL", lowest: Any = V2, highest: Any = V3) -> ssl.SSLContext:
    """A client that verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        # Of old versions, which are the point.
        warnings.simplefilter("ignore")
        context.minimum_version, context.maximum_version = lowest, highest
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class Listening:
    """A port that is listened at in memory."""

    def __init__(self, description: str) -> None:
        self.reactor = MemoryReactorClock()
        site = LimitedSite(Resource(), self.reactor)
        endpoint = HardenedEndpoint(self.reactor, description)
        self.port = Port(description, endpoint, Connections(site), endpoint)
        self.port.listen()

    def factory(self) -> Any:
        """What connections are made of."""
        if self.reactor.sslServers:
            _, factory, context_factory, *_ = self.reactor.sslServers[0]
            return TLSMemoryBIOFactory(context_factory, False, factory, self.reactor)
        return self.reactor.tcpServers[0][1]

    def shake(
        self,
        context: ssl.SSLContext | None = None,
        *,
        name: str | None = "a.example",
        session: ssl.SSLSession | None = None,
        **limits: Any,
    ) -> ssl.SSLObject:
        """Shake hands. The client's end, once it is done, with the tickets that come after it.

        :raises ssl.SSLError: the server or the client refused.
        """
        server, transport = self.connect()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = context or client_context(**limits)
        client = context.wrap_bio(incoming, outgoing, server_hostname=name, session=session)
        try:
            for step in (client.do_handshake, partial(client.read, 1)):
                for _ in range(4):
                    with suppress(ssl.SSLWantReadError):
                        step()
                        break
                    if outgoing.pending:
                        server.dataReceived(outgoing.read())
                    incoming.write(transport.value())
                    transport.clear()
        finally:
            # The site's timers.
            for call in self.reactor.getDelayedCalls():
                call.cancel()
        assert client.version() is not None
        return client

    def connect(self) -> tuple[Any, Transport]:
        """The server's end of a new connection, and its transport."""
        server = self.factory().buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        transport = Transport()
        server.makeConnection(transport)
        return server, transport

    def shown(self, name: str | None = "a.example") -> bytes:
        """The certificate that a client is shown, as it is in a file."""
        found = self.shake(name=name).getpeercert(binary_form=True)
        assert found
        return ssl.DER_cert_to_PEM_cert(found).encode()


def listen(kind: str, folder: Path, key: Any, chain: bytes = b"") -> Listening:
    """A port with a certificate; the key, the certificate and the chain are in one file."""
    (folder / "pems").mkdir()
    (folder / "pems" / "a.pem").write_bytes(key_pem(key) + certificate("a.example", key=key) + chain)
    return Listening("ssl:443:privateKey=pems/a.pem" if kind == "ssl" else "tls:pems:port=443")
