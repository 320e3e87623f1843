"""Proof Key for Code Exchange, only with S256 (RFC 7636; RFC 9700, section 2.1.1)."""

from __future__ import annotations

import base64
import hashlib
import re

from ..credentials import constant_time_equal
from ..errors import InvalidRequest

# RFC 7636, section 4.1: "code-verifier = 43*128unreserved"
_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")

# RFC 7636, section 4.2: with S256, the challenge is the base64url of 32 bytes, which has 43 characters.
_CHALLENGE = re.compile(r"[A-Za-z0-9\-_]{43}")


def check_challenge(challenge: str | None, method: str | None, required: bool) -> str | None:
    """The challenge of an authorization request, or None if it has none.

    :raises InvalidRequest: it is malformed, its method is not S256, or it is missing and required.
    """
    if challenge is None:
        if required:
            raise InvalidRequest("code_challenge is missing")
        if method is not None:
            raise InvalidRequest("code_challenge_method was sent without code_challenge")
        return None
    # RFC 7636, section 4.3: the method "defaults to "plain" if not present in the request"; plain is
    # not supported.
    if method != "S256":
        raise InvalidRequest("code_challenge_method must be S256")
    if not _CHALLENGE.fullmatch(challenge):
        raise InvalidRequest("code_challenge is not the base64url of a SHA-256")
    return challenge


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636, section 4.2).

    :param verifier: letters, digits and ``-._~`` only.
    """
    made = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode("ascii")


def verify(challenge: str | None, verifier: str | None) -> bool:
    """Whether a token request's verifier belongs to the challenge of its code (RFC 7636, 4.6)."""
    if challenge is None:
        # RFC 9700, section 4.8.2: "if there was no code_challenge in the authorization request, any
        # request to the token endpoint containing a code_verifier value is rejected."
        return verifier is None
    if verifier is None or not _VERIFIER.fullmatch(verifier):
        return False
    return constant_time_equal(challenge_of(verifier).encode("ascii"), challenge.encode("ascii"))
