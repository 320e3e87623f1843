"""Second factors: one-time passwords by time (RFC 6238), and recovery codes."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pyotp
from attrs import field, frozen

from ..credentials import constant_time_equal

#: RFC 6238, section 5.2: "We RECOMMEND a default time-step size of 30 seconds".
STEP = 30

#: RFC 6238, section 5.2: "We RECOMMEND that at most one time step is allowed as the network delay." The
#: same holds for a clock that is ahead.
DRIFT = 1

#: In bytes. RFC 4226, section 4, R6: "This document RECOMMENDs a shared secret length of 160 bits."
SECRET_LENGTH = 20

#: The length of the key of the recovery codes, in bytes.
RECOVERY_KEY_LENGTH = 32

#: How many recovery codes a user gets.
RECOVERY_CODES = 10

#: The characters of recovery codes: none looks like another one.
RECOVERY_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"

#: The length of a recovery code, in characters: 59 random bits, of which the digest is keyed.
RECOVERY_LENGTH = 12

#: The longest code that is looked at, in characters, with spaces and hyphens.
MAX_CODE_LENGTH = 40


@frozen
class Secrets:
    """What the server must know to check the codes of one user.

    :param shared: the secret that the authenticator application has, too.
    :param recovery_key: the key of the digests of the recovery codes.
    """

    shared: bytes = field(repr=False)
    recovery_key: bytes = field(repr=False)

    def packed(self) -> bytes:
        """Both as bytes, to be sealed."""
        return self.shared + self.recovery_key

    @classmethod
    def unpacked(cls, packed: bytes) -> Secrets:
        """The secrets that `packed` has returned as bytes."""
        return cls(packed[:SECRET_LENGTH], packed[SECRET_LENGTH:])

    @property
    def text(self) -> str:
        """The shared secret for people, in base32 (RFC 4648, section 6) and groups of four."""
        text = _base32(self.shared)
        return " ".join(text[at : at + 4] for at in range(0, len(text), 4))

    def uri(self, username: str, site: str) -> str:
        """The address by which authenticator applications take the shared secret, as from a QR code."""
        return pyotp.TOTP(_base32(self.shared)).provisioning_uri(name=username, issuer_name=site)

    def matching_step(self, typed: str, now: int) -> int | None:
        """The time step whose code was typed, if it is near enough to now; else None.

        :param now: in seconds since the epoch.
        """
        code = plain(typed).encode("ascii", "replace")
        codes = pyotp.HOTP(_base32(self.shared))
        near = range(max(now // STEP - DRIFT, 0), now // STEP + DRIFT + 1)
        # All are compared, so that the time does not tell which one was nearly right.
        matching = [step for step in near if constant_time_equal(codes.at(step).encode("ascii"), code)]
        return max(matching, default=None)

    def recovery_digest(self, typed: str) -> bytes:
        """The digest of a recovery code. Without the key, a copy of it does not help to guess."""
        code = plain(typed).encode("utf-8", "surrogateescape")
        return hmac.digest(self.recovery_key, code, hashlib.sha256)


def plain(typed: str) -> str:
    """A code without what people add to it: spaces, hyphens and capital letters."""
    return "".join(typed[:MAX_CODE_LENGTH].split()).replace("-", "").lower()


def grouped(code: str) -> str:
    """A recovery code for people, in groups of four."""
    return "-".join(code[at : at + 4] for at in range(0, len(code), 4))


def _base32(secret: bytes) -> str:
    return base64.b32encode(secret).decode("ascii")
