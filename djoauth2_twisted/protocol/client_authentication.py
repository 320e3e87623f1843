"""Client authentication: client_secret_basic and client_secret_post (RFC 6749, section 2.3.1)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

import attrs
from attrs import field, frozen

from ..credentials import constant_time_equal, digest
from ..errors import InvalidClient, InvalidRequest
from ..models import Client
from ..parameters import Parameters, decode

# RFC 9110, section 11.4: credentials = auth-scheme 1*SP token68
_BASIC = re.compile(rb"basic +([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)

MAX_HEADER_LENGTH = 2048


@frozen
class ClientCredentials:
    """The client identifier and the secret of a request."""

    client_id: str
    client_secret: str = field(repr=False)


def read_credentials(authorization: Sequence[bytes], form: Parameters) -> ClientCredentials:
    """The one client authentication of a request.

    :param authorization: the values of its Authorization header lines.
    :raises InvalidRequest: there is more than one authentication.
    :raises InvalidClient: there is no authentication, or it is malformed.
    """
    client_id, client_secret = form.get("client_id"), form.get("client_secret")
    if len(authorization) > 1:
        raise InvalidRequest("there is more than one Authorization header")
    if not authorization:
        if client_id is None or client_secret is None:
            raise InvalidClient("client authentication is missing")
        return ClientCredentials(client_id, client_secret)
    credentials = _read_basic(authorization[0])
    # RFC 6749, section 2.3: "The client MUST NOT use more than one authentication method in each
    # request." The client_id alone, repeated in the form, is not an authentication.
    if client_secret is not None or client_id not in {None, credentials.client_id}:
        raise InvalidRequest("there is more than one client authentication")
    return credentials


def _read_basic(header: bytes) -> ClientCredentials:
    match = _BASIC.fullmatch(header.strip(b" \t")) if len(header) <= MAX_HEADER_LENGTH else None
    if not match:
        raise InvalidClient("the Authorization header is not Basic credentials")
    try:
        decoded = base64.b64decode(match[1], validate=True)
    except binascii.Error:
        raise InvalidClient("the Authorization header is not Basic credentials") from None
    # RFC 7617, section 2: the user-id cannot contain a colon, so the first one separates.
    client_id, colon, client_secret = decoded.partition(b":")
    # b64decode ignores surplus padding and bits at the end. Encoding the result again reveals them.
    strict = base64.b64encode(decoded) == match[1]
    if not (strict and client_id and colon and client_secret):
        raise InvalidClient("the Authorization header is not Basic credentials")
    # RFC 6749, section 2.3.1: "The client identifier is encoded using the
    # "application/x-www-form-urlencoded" encoding algorithm [...]; the client password is encoded
    # using the same algorithm".
    return ClientCredentials(decode(client_id), decode(client_secret))


def authenticate(client: Client | None, credentials: ClientCredentials, now: int) -> Client:
    """The client, if the secret is its current one, or the previous one before that expires.

    :param now: in seconds since the epoch.
    :raises InvalidClient: there is no such client, it is disabled, or the secret is wrong. Neither the
        error nor the time it takes says which.
    """
    presented = digest(credentials.client_secret)
    expected = client.secret_digest if client else bytes(32)
    previous = previous_secret_digest(client, now) if client else None
    # Both are always compared, so that the time does not depend on the first comparison.
    proven = constant_time_equal(expected, presented) | constant_time_equal(
        previous or expected, presented
    )
    if client is None or client.disabled or not proven:
        reason = _why_not(client, presented)
        raise InvalidClient("client authentication failed", reason=reason)
    return client


def _why_not(client: Client | None, presented: bytes) -> str:
    """Why a client is not authenticated, for the log."""
    if client is None:
        return "there is no such client"
    if client.disabled:
        return "the client is disabled"
    previous = client.previous_secret_digest or bytes(32)
    return (
        "the secret has expired" if constant_time_equal(previous, presented) else "the secret is wrong"
    )


def with_new_secret(client: Client, secret_digest: bytes, now: int, overlap: int) -> Client:
    """A client with a new secret.

    :param overlap: for how many seconds the current secret stays valid too.
    """
    rotated = attrs.evolve(
        client,
        secret_digest=secret_digest,
        previous_secret_digest=client.secret_digest,
        previous_secret_expires=now + overlap,
    )
    return without_expired_secret(rotated, now)


def without_expired_secret(client: Client, now: int) -> Client:
    """A client without its previous secret, if that has expired."""
    if previous_secret_digest(client, now) is not None:
        return client
    return attrs.evolve(client, previous_secret_digest=None, previous_secret_expires=None)


def previous_secret_digest(client: Client, now: int) -> bytes | None:
    """The digest of the previous secret, or None if it has expired.

    :param now: in seconds since the epoch.
    """
    expires = client.previous_secret_expires
    return client.previous_secret_digest if expires is not None and now < expires else None
