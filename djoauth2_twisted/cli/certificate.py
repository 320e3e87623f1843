"""``djoauth2 certificate``: a self-signed certificate, for development."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ConfigurationError
from .output import json_option, print_result

if TYPE_CHECKING:
    from cryptography import x509

#: The longest lifetime that browsers accept, in days.
LIFETIME = 398

#: RFC 5280, appendix A.1: ub-common-name.
MAX_COMMON_NAME_LENGTH = 64

_DNS_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}$){_DNS_LABEL}(\.{_DNS_LABEL})*")


@click.command()
@click.argument("host")
@click.option("--out", metavar="FILE", default="server.pem", show_default=True, help="The new file.")
@json_option
def certificate(host: str, out: str, as_json: bool) -> None:
    """Make a self-signed certificate for development.

    HOST is a DNS name or an IP address. A certificate for localhost is also valid for 127.0.0.1 and ::1.
    The key and the certificate are written to one new file that only its owner can read. Without another
    option, the server uses server.pem in the current folder.
    """
    write_new(out, make_certificate(host))
    print_result(as_json, {"host": host, "file": out}, f"{out} has a key and a certificate for {host}.")


def write_new(path: str, content: bytes) -> None:
    """Write a file that only its owner can read.

    :raises ConfigurationError: the file exists already, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} exists already: delete it, or name another file with --out"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be made: {error.strerror}") from None
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def make_certificate(host: str) -> bytes:
    """A new P-256 key and its self-signed certificate (RFC 5280), as one PEM text.

    :param host: a DNS name or an IP address. The certificate for ``localhost`` also names the loopback
        addresses.
    :raises ConfigurationError: the host is neither.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    names = _names(host)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:MAX_COMMON_NAME_LENGTH])])
    start = datetime.now(UTC) - timedelta(hours=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=LIFETIME))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        # Browsers do not accept the certificate of an authority for a server.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key_usage() -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(host: str) -> list[x509.GeneralName]:
    """The names and addresses for which the certificate is valid."""
    from cryptography import x509

    address = _address(host)
    if address is not None:
        return [x509.IPAddress(address)]
    if not _DNS_NAME.fullmatch(host) or host.rsplit(".", 1)[-1].isdigit():
        raise ConfigurationError(
            f"{host!r} is not a DNS name or an IP address: write it like localhost or 192.0.2.1"
        )
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if host.lower() == "localhost":
        names += [x509.IPAddress(IPv4Address("127.0.0.1")), x509.IPAddress(IPv6Address("::1"))]
    return names


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
