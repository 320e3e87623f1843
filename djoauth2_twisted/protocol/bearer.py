"""Bearer tokens at a protected resource (RFC 6750)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import (
    DJOAuthError,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    MissingCredentials,
    get_error_details,
)
from ..models import AccessToken

# RFC 6750, section 2.1: "b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=""
_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")

# A header that `read_token` accepts, if the token is not too long.
_BEARER = re.compile(rb"[ \t]*(?i:bearer) +([A-Za-z0-9\-._~+/]+=*)[ \t]*")

#: The longest access token, in characters. Ours are short; those of other servers may be JWTs (RFC 9068)
#: of some thousand characters.
MAX_TOKEN_LENGTH = 8192


def is_token(text: str) -> bool:
    """Whether a text has the form of a bearer token (RFC 6750, section 2.1), and is not too long."""
    return len(text) <= MAX_TOKEN_LENGTH and _B64TOKEN.fullmatch(text) is not None


def read_token(authorization: Sequence[bytes]) -> str:
    """The bearer token of a request.

    :param authorization: the values of its Authorization header lines.
    :raises MissingCredentials: there is no such line, or it has another scheme.
    :raises InvalidRequest: the token is malformed, or there are several lines.
    """
    if len(authorization) > 1:
        raise InvalidRequest("there is more than one Authorization header")
    if authorization and (usual := _BEARER.fullmatch(authorization[0])) is not None:
        text = usual[1].decode("ascii")
        if len(text) <= MAX_TOKEN_LENGTH:
            return text
    # RFC 9110, section 11.1: the scheme is a "case-insensitive token".
    scheme, _, token = (
        authorization[0].strip(b" \t").partition(b" ") if authorization else (b"", b"", b"")
    )
    if scheme.lower() != b"bearer":
        raise MissingCredentials()
    text = token.lstrip(b" ").decode("latin-1")
    if not is_token(text):
        raise InvalidRequest("the Authorization header is not a Bearer token")
    return text


def check_token(token: AccessToken | None, scopes: tuple[str, ...], now: int) -> AccessToken:
    """The token, if it is valid now and covers the scopes.

    :param now: in seconds since the epoch.
    :raises InvalidToken: it is unknown, revoked or expired. The error does not say which.
    :raises InsufficientScope: it does not cover all scopes.
    """
    if token is None or token.expires <= now:
        raise InvalidToken()
    if not token.has_scope(*scopes):
        raise InsufficientScope(scopes)
    return token


def quoted(text: str) -> str:
    """A quoted-string (RFC 9110, section 5.6.4); a character that a header cannot hold becomes ``?``."""
    plain = text
    if not (text.isascii() and text.isprintable()):
        plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def challenge(error: DJOAuthError, realm: str, metadata_address: str | None = None) -> str:
    """The WWW-Authenticate header for an error (RFC 6750, section 3).

    :param metadata_address: the URL of the resource's metadata (RFC 9728, section 5.1).
    """
    attributes = {"realm": realm}
    if metadata_address is not None:
        attributes["resource_metadata"] = metadata_address
    if error.error_name:
        attributes.update(get_error_details(error))
    if isinstance(error, InsufficientScope):
        # RFC 6750, section 3.1: "The response [...] MAY include the "scope" attribute with the scope
        # necessary to access the protected resource."
        attributes["scope"] = " ".join(error.scopes)
    return "Bearer " + ", ".join(f"{name}={quoted(value)}" for name, value in attributes.items())
