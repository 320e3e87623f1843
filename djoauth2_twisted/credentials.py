"""Random values, their digests, and passwords.

Identifiers, secrets, codes and tokens have at least 128 random bits (RFC 6749, section 10.10), so it is
safe to store them as a plain SHA-256. Passwords are not random, so they are stored as argon2id.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import string
from operator import mul

import argon2
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .exhaustion import NO_THREAD

#: Only letters and digits: safe in a URI, a form, a header and a shell. A double click selects all.
ALPHABET = string.ascii_letters + string.digits

#: RFC 6749, section 10.10: "The probability of an attacker guessing generated tokens [...] MUST be
#: less than or equal to 2^(-128)".
SHORTEST = math.ceil(128 / math.log2(len(ALPHABET)))

#: The last characters of a refresh token name its family, the others are random. So all other tokens of
#: the family do not help to guess one.
FAMILY_LENGTH = 8
SHORTEST_REFRESH_TOKEN = SHORTEST + FAMILY_LENGTH

_FAMILIES: int = len(ALPHABET) ** FAMILY_LENGTH

# What a character of a family's name counts, by its place.
_WEIGHTS: tuple[int, ...] = tuple(len(ALPHABET) ** place for place in range(FAMILY_LENGTH))

_WHOLE = 256 // len(ALPHABET) * len(ALPHABET)
_CHARACTERS = (ALPHABET * (256 // len(ALPHABET) + 1)).encode("ascii")[:256]
_DROPPED = bytes(range(_WHOLE, 256))

_hasher = argon2.PasswordHasher()

#: What argon2 says where the system gives it no memory or no thread. Its class of error is also that of
#: a hash that cannot be read.
_NO_MEMORY = argon2.low_level.error_to_str(-22)  # ARGON2_MEMORY_ALLOCATION_ERROR in its argon2.h
_NO_THREAD = argon2.low_level.error_to_str(-33)  # ARGON2_THREAD_FAIL


def random_string(length: int) -> str:
    """A string of ``length`` characters from the operating system's random source."""
    found = b""
    # One read for many characters. One byte in 32 is dropped, so that all characters are equally
    # likely.
    while len(found) < length:
        found += secrets.token_bytes(2 * length).translate(_CHARACTERS, _DROPPED)
    return found[:length].decode("ascii")


def new_family() -> str:
    """The name of a new family: the refresh tokens that are issued for one grant."""
    return random_string(FAMILY_LENGTH)


def refresh_token(family: str, length: int) -> str:
    """A new refresh token of a family. `family_of` reads the family's name from it.

    :param length: in characters, at least `SHORTEST_REFRESH_TOKEN`; a smaller value counts as that.
    """
    salt = random_string(max(length, SHORTEST_REFRESH_TOKEN) - FAMILY_LENGTH)
    number = (_number_of(family) + _mask(salt)) % _FAMILIES
    return salt + _name_of(number)


def family_of(token: str) -> str:
    """The name of the family that a refresh token claims.

    Any other string yields a random name, even a token with one changed character. It is the name of a
    given family with a probability of 1 in 2 * 10^14.
    """
    number = (_number_of(token[-FAMILY_LENGTH:]) - _mask(token[:-FAMILY_LENGTH])) % _FAMILIES
    return _name_of(number)


def _name_of(number: int) -> str:
    return "".join([ALPHABET[number // weight % len(ALPHABET)] for weight in _WEIGHTS])


def _number_of(name: str) -> int:
    # A character outside the alphabet counts as -1, so any string yields a name.
    return sum(map(mul, map(ALPHABET.find, name), _WEIGHTS))


def _mask(salt: str) -> int:
    """A number that looks random, so that tokens of one family do not look alike."""
    mixed = hmac.digest(salt.encode("utf-8", "surrogateescape"), b"refresh token family", hashlib.sha256)
    return int.from_bytes(mixed, "big") % _FAMILIES


# A copy costs a third less than a new one, for which OpenSSL searches its algorithms.
_SHA_256 = hashlib.sha256()


def digest(value: str) -> bytes:
    """The SHA-256 of a random value, which is stored instead of it. Lone surrogates count as bytes."""
    hashed = _SHA_256.copy()
    hashed.update(value.encode("utf-8", "surrogateescape"))
    return hashed.digest()


def constant_time_equal(one: bytes, other: bytes) -> bool:
    """Whether two values are equal. The time does not depend on where they differ."""
    return hmac.compare_digest(one, other)


def hash_password(password: str) -> str:
    """An argon2id string (RFC 9106). Takes about 0.1 s and 64 MiB: never on the reactor's thread.

    :raises MemoryError: the system gives no memory.
    :raises RuntimeError: the system starts no thread.
    """
    try:
        return _hasher.hash(password.encode("utf-8", "surrogateescape"))
    except argon2.exceptions.HashingError as error:
        _raise_exhausted(error)
        raise


def verify_password(password_hash: str, password: str) -> bool:
    """Whether a password belongs to a hash. It takes as long as `hash_password`, and raises as it."""
    try:
        return _hasher.verify(password_hash, password.encode("utf-8", "surrogateescape"))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError) as error:
        _raise_exhausted(error)
        return False


def _raise_exhausted(error: Exception) -> None:
    """Raise Python's own error where argon2 got no memory or no thread."""
    if str(error) == _NO_MEMORY:
        raise MemoryError(_NO_MEMORY) from None
    if str(error) == _NO_THREAD:
        raise RuntimeError(NO_THREAD) from None


def needs_rehash(password_hash: str) -> bool:
    """Whether a hash was made with other parameters than `hash_password` uses now."""
    try:
        return _hasher.check_needs_rehash(password_hash)
    except argon2.exceptions.InvalidHashError:
        return False


def seal(value: str, secret: bytes) -> bytes:
    """Encrypt ``secret`` with a key derived from the random ``value`` (AES-GCM)."""
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(_sealing_key(value)).encrypt(nonce, secret, None)


def unseal(value: str, sealed: bytes) -> bytes:
    """Decrypt what `seal` returned for ``value``.

    :raises cryptography.exceptions.InvalidTag: the value is another, or the bytes were changed.
    """
    return AESGCM(_sealing_key(value)).decrypt(sealed[:12], sealed[12:], None)


def _sealing_key(value: str) -> bytes:
    # The key is not the digest of the value, because the digest is stored.
    return hmac.digest(value.encode("utf-8", "surrogateescape"), b"sealing key", hashlib.sha256)
