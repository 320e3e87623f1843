"""How many TLS handshakes the server's side can do in a second, in full and resumed, on one processor.

It runs in memory, with the certificates and options of a port: `python benchmarks/tls.py`.
"""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from djoauth2_twisted.standalone.tls import ServerCertificate

COUNT = 500

KEYS: dict[str, Any] = {
    "RSA, 2048 bits": rsa.generate_private_key(65537, 2048),
    "ECDSA, P-256": ec.generate_private_key(ec.SECP256R1()),
}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def certificate_of(key: Any) -> ServerCertificate:
    """A self-signed certificate with a key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return ServerCertificate(key, builder.sign(key, hashes.SHA256()))


class Handshake:
    """One handshake; `seconds` is the processor time of the server's side."""

    def __init__(self, server: SSL.Context, client: ssl.SSLContext, session: Any) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(
            self._incoming, self._outgoing, server_hostname="localhost", session=session
        )
        self._server = server
        self.seconds = 0.0

    def shake(self) -> Handshake:
        """Shake hands, and read the tickets of TLS 1.3."""
        begun = time.process_time()
        connection = SSL.Connection(self._server)
        connection.set_accept_state()
        self.seconds += time.process_time() - begun
        for step in (self.client.do_handshake, lambda: self.client.read(1)):
            for _ in range(3):
                try:
                    step()
                    break
                except ssl.SSLWantReadError:
                    self._answer(connection)
        return self

    def _answer(self, connection: SSL.Connection) -> None:
        begun = time.process_time()
        sent = self._outgoing.read()
        if sent:
            connection.bio_write(sent)
            with suppress(SSL.WantReadError):
                connection.do_handshake()
        try:
            answer = connection.bio_read(2**16)
        except SSL.WantReadError:
            answer = b""
        self.seconds += time.process_time() - begun
        self._incoming.write(answer)


def per_second(key: Any, version: Any, resumed: bool) -> float:
    """How many handshakes the server's side does in a second of processor time."""
    server = certificate_of(key).options().getContext()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.minimum_version = client.maximum_version = version
    session = Handshake(server, client, None).shake().client.session if resumed else None
    seconds = 0.0
    for _ in range(COUNT):
        handshake = Handshake(server, client, session).shake()
        assert handshake.client.session_reused == resumed
        seconds += handshake.seconds
    return COUNT / seconds


def main() -> None:
    """Print a table."""
    print("| key | TLS | full, a second | resumed, a second |\n|---|---|---:|---:|")
    for name, key in KEYS.items():
        for number, version in VERSIONS.items():
            full, resumed = (per_second(key, version, each) for each in (False, True))
            print(f"| {name} | {number} | {full:,.0f} | {resumed:,.0f} |")


if __name__ == "__main__":
    main()
