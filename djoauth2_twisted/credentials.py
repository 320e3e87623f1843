"""Random values, their digests, and passwords.

Identifiers, secrets, codes and tokens are random with at least 128 bits (RFC 6749, section 10.10), so
that a plain SHA-256 is enough to keep them by. What people choose is not, so passwords are argon2id.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import string

import argon2
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: Letters and digits alone: safe in a URI, a form, a header and a shell, and a double click takes all.
ALPHABET = string.ascii_letters + string.digits

#: RFC 6749, section 10.10: "The probability of an attacker guessing generated tokens [...] MUST be
#: less than or equal to 2^(-128)".
SHORTEST = math.ceil(128 / math.log2(len(ALPHABET)))

_WHOLE = 256 // len(ALPHABET) * len(ALPHABET)
_CHARACTERS = (ALPHABET * (256 // len(ALPHABET) + 1)).encode("ascii")[:256]
_DROPPED = bytes(range(_WHOLE, 256))

_hasher = argon2.PasswordHasher()


def random_string(length: int) -> str:
    """A string of ``length`` characters from the operating system's random source."""
    found = b""
    # One read instead of one a character. A byte in 32 is dropped, so that each character is as likely
    # as any other.
    while len(found) < length:
        found += secrets.token_bytes(2 * length).translate(_CHARACTERS, _DROPPED)
    return found[:length].decode("ascii")


def digest(value: str) -> bytes:
    """The 32 bytes that a random value is kept by. Bytes that were not UTF-8 count as themselves."""
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()


def same(one: bytes, other: bytes) -> bool:
    """Compare in a time that does not depend on where two values differ."""
    return hmac.compare_digest(one, other)


def hash_password(password: str) -> str:
    """An argon2id string (RFC 9106). Takes about 0.1 s and 64 MiB: never on the reactor's thread."""
    return _hasher.hash(password.encode("utf-8", "surrogateescape"))


def verify_password(password_hash: str, password: str) -> bool:
    """Whether a password belongs to a hash. As costly as `hash_password`."""
    try:
        return _hasher.verify(password_hash, password.encode("utf-8", "surrogateescape"))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def seal(value: str, secret: bytes) -> bytes:
    """Encrypt ``secret`` so that only who has ``value``, a random one, can read it (AES-GCM)."""
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(_sealing_key(value)).encrypt(nonce, secret, None)


def unseal(value: str, sealed: bytes) -> bytes:
    """What was sealed with ``value``.

    :raises cryptography.exceptions.InvalidTag: it was sealed with another, or has been changed.
    """
    return AESGCM(_sealing_key(value)).decrypt(sealed[:12], sealed[12:], None)


def _sealing_key(value: str) -> bytes:
    # Not the digest, which is what the value is kept by.
    return hmac.digest(value.encode("utf-8", "surrogateescape"), b"sealing key", hashlib.sha256)
