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

#: Letters and digits alone: safe in a URI, a form, a header and a shell, and a double click takes all.
ALPHABET = string.ascii_letters + string.digits

#: RFC 6749, section 10.10: "The probability of an attacker guessing generated tokens [...] MUST be
#: less than or equal to 2^(-128)".
SHORTEST = math.ceil(128 / math.log2(len(ALPHABET)))

_hasher = argon2.PasswordHasher()


def random_string(length: int) -> str:
    """A string of ``length`` characters from the operating system's random source."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


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
