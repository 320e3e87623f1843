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

#: The last characters of a refresh token name its family. Those before them are random, so that a token
#: cannot be guessed by those who know all others of its family.
FAMILY_LENGTH = 8
SHORTEST_REFRESH_TOKEN = SHORTEST + FAMILY_LENGTH

_FAMILIES: int = len(ALPHABET) ** FAMILY_LENGTH

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


def new_family() -> str:
    """The name of a new family of refresh tokens: all that are issued for one grant."""
    return random_string(FAMILY_LENGTH)


def refresh_token(family: str, length: int) -> str:
    """A new refresh token of a family, from which `family_of` reads the name again.

    :param length: in characters; one that is shorter than `SHORTEST_REFRESH_TOKEN` becomes that.
    """
    salt = random_string(max(length, SHORTEST_REFRESH_TOKEN) - FAMILY_LENGTH)
    number = (_number_of(family) + _mask(salt)) % _FAMILIES
    return salt + _name_of(number)


def family_of(token: str) -> str:
    """The name of the family that a refresh token says to be of.

    Any other string, a token with one character changed among them, says a name at random: that of an
    existing family with a probability of 1 in 2 * 10^14 for each that there is.
    """
    number = (_number_of(token[-FAMILY_LENGTH:]) - _mask(token[:-FAMILY_LENGTH])) % _FAMILIES
    return _name_of(number)


def _name_of(number: int) -> str:
    return "".join(
        ALPHABET[number // len(ALPHABET) ** place % len(ALPHABET)] for place in range(FAMILY_LENGTH)
    )


def _number_of(name: str) -> int:
    # What is not of the alphabet counts as -1, and so says a name, too.
    return sum(ALPHABET.find(c) * int(len(ALPHABET) ** place) for place, c in enumerate(name))


def _mask(salt: str) -> int:
    """A number that looks random, so that tokens of a family have nothing in common to the eye."""
    mixed = hmac.digest(salt.encode("utf-8", "surrogateescape"), b"refresh token family", hashlib.sha256)
    return int.from_bytes(mixed, "big") % _FAMILIES


def digest(value: str) -> bytes:
    """The 32 bytes that a random value is kept by. Bytes that were not UTF-8 count as themselves."""
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()


def constant_time_equal(one: bytes, other: bytes) -> bool:
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


def needs_rehash(password_hash: str) -> bool:
    """Whether a hash was made with other parameters than `hash_password` has now."""
    try:
        return _hasher.check_needs_rehash(password_hash)
    except argon2.exceptions.InvalidHashError:
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
