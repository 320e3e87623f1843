"""Reads a certificate, its chain and its key from PEM files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from ..errors import ConfigurationError
from ..pem import refuse_encrypted
from .tls import ServerCertificate

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


def read_pem(path: Path) -> tuple[list[x509.Certificate], dict[bytes, Any]]:
    """The certificates of a file in their order, and its private keys by their public keys.

    :raises OSError: it cannot be opened.
    :raises ConfigurationError: it is not valid PEM, or it is encrypted.
    """
    content = path.read_bytes()
    refuse_encrypted(path)
    try:
        certificates = [x509.load_pem_x509_certificate(each) for each in _CERTIFICATE.findall(content)]
        keys = [load_pem_private_key(each, None) for each in _KEY.findall(content)]
    except (ValueError, TypeError):
        raise ConfigurationError(f"{path} cannot be read") from None
    return certificates, {public_of(key.public_key()): key for key in keys}


def public_of(key: Any) -> bytes:
    """A public key as bytes, by which two keys can be compared."""
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def read_pair(key: Path, certificate: Path, chain: Path | None = None) -> ServerCertificate:
    """The certificate of an ``ssl:`` endpoint.

    :param key: the file of the private key.
    :param certificate: the file of the certificate, and of its chain behind it, as in a
        ``fullchain.pem``. It may be the same file.
    :param chain: a file with more certificates of the chain.
    :raises OSError: a file cannot be opened.
    :raises ValueError: a file does not have what it should have.
    :raises ConfigurationError: a file cannot be read, the key is not that of the certificate, or the
        certificate has expired.
    """
    own_key, own, between = _pair(key, certificate, chain)
    return ServerCertificate(own_key, own, between)


def read_chain(key: Path, certificate: Path, chain: Path | None = None) -> list[x509.Certificate]:
    """The certificate of an ``ssl:`` endpoint, and those that are sent after it; see `read_pair`.

    A certificate that has expired is not an error here.
    """
    _, own, between = _pair(key, certificate, chain)
    return [own, *between]


def _pair(
    key: Path, certificate: Path, chain: Path | None
) -> tuple[Any, x509.Certificate, list[x509.Certificate]]:
    certificates, keys = read_pem(certificate)
    if key != certificate:
        keys |= read_pem(key)[1]
    more = [] if chain is None else read_pem(chain)[0]
    for found, what, path in (
        (certificates, "certificate", certificate),
        (keys, "private key", key),
        (chain is None or more, "certificate", chain),
    ):
        if not found:
            raise ValueError(f"there is no {what} in {path}")
    own, *between = [*certificates, *more]
    own_key = keys.get(public_of(own.public_key()))
    if own_key is None:
        raise ConfigurationError("the key and the certificate do not belong together")
    return own_key, own, _each_once(between, own)


def _each_once(
    certificates: Iterable[x509.Certificate], own: x509.Certificate
) -> list[x509.Certificate]:
    return [each for each in dict.fromkeys(certificates) if each != own]
