"""Token introspection (RFC 7662): the server makes the answer, and a resource server reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidRequest, InvalidToken
from ..models import AccessToken, Client, ResourceOwner
from ..parameters import Parameters

#: The parameters of an introspection or revocation request. They must not be in its URI.
PARAMETERS = frozenset({"token", "token_type_hint", "client_id", "client_secret"})

#: How long an answer without ``exp`` holds, in seconds.
UNDATED_SECONDS = 60

#: RFC 7662, section 2.2: "If the introspection call is properly authorized but the token is not active,
#: [...] the authorization server MUST return an introspection response with the "active" field set to
#: "false". Note that [...] it SHOULD NOT include any additional information about an inactive token".
INACTIVE: dict[str, Any] = {"active": False}


def token_of(form: Parameters) -> str:
    """The token of an introspection or revocation request.

    :raises InvalidRequest: it is missing.
    """
    token = form.get("token")
    if token is None:
        raise InvalidRequest("token is missing")
    return token


def answer(token: AccessToken | None, client: Client, issuer: str, now: int) -> dict[str, Any]:
    """The answer to an introspection request (RFC 7662, section 2.2).

    Only the token's own client and resource servers learn anything about the token.

    :param now: in seconds since the epoch.
    """
    if token is None or token.expires <= now:
        return INACTIVE
    if not client.resource_server and token.client_id != client.client_id:
        return INACTIVE
    return {
        "active": True,
        "scope": " ".join(token.scopes),
        "client_id": token.client_id,
        "username": token.user.username,
        "sub": token.user.subject,
        "iss": issuer,
        "exp": token.expires,
        "iat": token.issued,
        "token_type": "Bearer",
    }


def read(answer: Mapping[str, Any], issuer: str, now: int) -> AccessToken:
    """The access token that an answer describes (RFC 7662, section 2.2).

    An optional member that is absent or null says nothing. Without ``exp`` the answer holds for
    `UNDATED_SECONDS`; without ``iat``, ``issued`` is 0.

    :param now: in seconds since the epoch.
    :raises InvalidToken: it is not active, or of another issuer.
    :raises ValueError: a member is malformed. The error names it.
    """
    active = answer.get("active")
    if not isinstance(active, bool):
        raise _malformed("active")
    if not active:
        raise InvalidToken()
    scope, client_id, username, subject, token_type, own_issuer = (
        _text(answer, name) for name in ("scope", "client_id", "username", "sub", "token_type", "iss")
    )
    issued, expires = _time(answer, "iat"), _time(answer, "exp")
    if own_issuer not in {"", issuer}:
        raise InvalidToken("the access token is of another server")
    # A token that is bound to a key (RFC 9449, section 7.1) is not valid without a proof of the key. A
    # member "cnf" names the key, also where the type is Bearer (RFC 8705, section 3.2).
    if token_type.lower() not in {"", "bearer"} or answer.get("cnf") is not None:
        raise InvalidToken("the access token is not a bearer token")
    return AccessToken(
        client_id=client_id,
        user=ResourceOwner(username or subject, subject=subject or username),
        # RFC 6749, section 3.3: a "list of space-delimited, case-sensitive strings".
        scopes=tuple(filter(None, scope.split(" "))),
        issued=0 if issued is None else issued,
        expires=now + UNDATED_SECONDS if expires is None else expires,
        grant_id="",
    )


def _text(answer: Mapping[str, Any], name: str) -> str:
    """A member of an answer; empty if it is absent or null."""
    value = answer.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _malformed(name)
    return value


def _time(answer: Mapping[str, Any], name: str) -> int | None:
    """A member of an answer, in seconds since the epoch; None if it is absent or null."""
    value = answer.get(name)
    # RFC 7519, section 2: a NumericDate is "A JSON numeric value", and may be "non-integer".
    if isinstance(value, float) and math.isfinite(value):
        return math.floor(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise _malformed(name)


def _malformed(name: str) -> ValueError:
    return ValueError(f"the member {name} of its answer is malformed")
