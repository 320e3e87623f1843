"""A folder of certificates: each client gets the one for the name that it requests (SNI)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL

from ..errors import ConfigurationError
from .pem_files import public_of, read_pem
from .tls import ServerCertificate


def read_folder(folder: Path) -> ServerCertificate:
    """The certificates of all ``*.pem`` files in a folder and its subfolders.

    A client that requests no name, or an unknown name, gets the first certificate that has a key. Of two
    certificates for one name, the one that expires later is used.

    :raises ValueError: no certificate has its key in the folder.
    :raises ConfigurationError: a file cannot be read as PEM, a certificate has expired or has no key
        here, or a key is encrypted.
    """
    owned, keys, issuers = _owned(folder)
    by_name: dict[str, SSL.Context] = {}

    def context_for(name: bytes | None) -> SSL.Context | None:
        asked = (name or b"").decode("ascii", "replace").lower()
        return by_name.get(asked) or by_name.get("*." + asked.partition(".")[2])

    usable = [
        ServerCertificate(keys[public_of(each.public_key())], each, _chain(each, issuers), context_for)
        for each in owned
    ]
    for one in sorted(usable, key=lambda each: each.certificate.not_valid_after_utc):
        context = one.options().getContext()
        for name in _names(one.certificate):
            by_name[name] = context
    return usable[0]


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
    owned = [each for each in certificates if public_of(each.public_key()) in keys]
    _refuse_incomplete(certificates, owned)
    if not owned:
        raise ValueError(f"there is no certificate with its key in {folder}")
    return owned, keys, {each.subject: each for each in certificates if each not in owned}


def _read(folder: Path) -> tuple[list[x509.Certificate], dict[bytes, Any]]:
    """The certificates in the order of the files, and the private keys by their public keys."""
    certificates: list[x509.Certificate] = []
    keys: dict[bytes, Any] = {}
    for path in sorted(folder.rglob("*.pem")):
        more_certificates, more_keys = read_pem(path)
        certificates += more_certificates
        keys |= more_keys
    return certificates, keys


def _refuse_incomplete(certificates: list[x509.Certificate], owned: list[x509.Certificate]) -> None:
    """Refuse a certificate for a name whose key is missing, as in the middle of a renewal.

    :raises ConfigurationError: there is one, and it is not the issuer of another.
    """
    for each in certificates:
        is_issuer = any(each.subject == other.issuer for other in certificates if other != each)
        names = _names(each)
        if names and each not in owned and not is_issuer:
            raise ConfigurationError(f"the key of the certificate for {names[0]} is missing")


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
