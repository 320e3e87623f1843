"""A folder of certificates: each client gets the one for the name that it requests (SNI)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from OpenSSL import SSL, crypto
from twisted.internet.ssl import CertificateOptions

from ..pem import encrypted_key
from .tls import harden

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


def read_folder(folder: Path) -> CertificateOptions:
    """The certificates of all ``*.pem`` files in a folder and its subfolders.

    A client that requests no name, or an unknown name, gets the first certificate that has a key. Of two
    certificates for one name, the one that expires later is used.

    :raises ValueError: a file cannot be read as PEM, or no certificate has its key in the folder.
    :raises ConfigurationError: a certificate has expired, or a key is encrypted.
    """
    owned, keys, issuers = _owned(folder)
    by_name: dict[str, SSL.Context] = {}

    def context_for(name: bytes | None) -> SSL.Context | None:
        asked = (name or b"").decode("ascii", "replace").lower()
        return by_name.get(asked) or by_name.get("*." + asked.partition(".")[2])

    options = {each: _options(each, keys, issuers, context_for) for each in owned}
    for certificate in sorted(owned, key=lambda each: each.not_valid_after_utc):
        for name in _names(certificate):
            by_name[name] = options[certificate].getContext()
    return options[owned[0]]


def read_chains(folder: Path) -> list[list[x509.Certificate]]:
    """Each certificate that has its key in the folder, and those that are sent after it.

    :raises ValueError: see `read_folder`.
    :raises ConfigurationError: a key is encrypted.
    """
    owned, _, issuers = _owned(folder)
    return [[each, *_chain(each, issuers)] for each in owned]


def _owned(folder: Path) -> tuple[list[x509.Certificate], dict[bytes, Any], dict[x509.Name, Any]]:
    """The certificates with keys, these keys by their public keys, and all others by their subjects."""
    certificates, keys = _read(folder)
    owned = [each for each in certificates if _public(each.public_key()) in keys]
    if not owned:
        raise ValueError(f"there is no certificate with its key in {folder}")
    return owned, keys, {each.subject: each for each in certificates if each not in owned}


def _read(folder: Path) -> tuple[list[x509.Certificate], dict[bytes, Any]]:
    """The certificates in the order of the files, and the private keys by their public keys."""
    certificates, keys = [], {}
    for path in sorted(folder.rglob("*.pem")):
        content = path.read_bytes()
        try:
            certificates += [
                x509.load_pem_x509_certificate(each) for each in _CERTIFICATE.findall(content)
            ]
            for each in _KEY.findall(content):
                key = load_pem_private_key(each, None)
                keys[_public(key.public_key())] = key
        except TypeError:
            raise encrypted_key(path) from None
        except ValueError:
            raise ValueError(f"{path} cannot be read") from None
    return certificates, keys


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _options(
    certificate: x509.Certificate,
    keys: dict[bytes, Any],
    issuers: dict[x509.Name, Any],
    context_for: Any,
) -> CertificateOptions:
    chain = _chain(certificate, issuers)
    return harden(
        CertificateOptions(
            privateKey=crypto.PKey.from_cryptography_key(keys[_public(certificate.public_key())]),
            certificate=crypto.X509.from_cryptography(certificate),
            extraCertChain=[crypto.X509.from_cryptography(each) for each in chain],
            contextForServerName=context_for,
        )
    )


def _chain(certificate: x509.Certificate, issuers: dict[x509.Name, Any]) -> list[x509.Certificate]:
    """The certificates between one and its root, as far as they are known."""
    chain: list[x509.Certificate] = []
    issuer = issuers.get(certificate.issuer)
    while issuer is not None and issuer not in chain:
        chain.append(issuer)
        issuer = issuers.get(issuer.issuer)
    return chain


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]
