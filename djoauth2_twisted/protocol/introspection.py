"""Token introspection (RFC 7662): the server makes the answer, and a resource server reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidRequest, InvalidToken
from ..models import AccessToken, Client, ResourceOwner
from ..parameters import Parameters

#: The parameters of an introspection or revocation request. They must not be in its URI.
PARAMETERS = frozenset({"token", "token_type_hint", "client_id", "client_secret"})

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


def read(answer: Mapping[str, Any], issuer: str) -> AccessToken:
    """The access token that an answer describes.

    :raises InvalidToken: it is not active, or of another issuer.
    :raises ValueError: the answer is malformed (RFC 7662, section 2.2).
    """
    if answer.get("active") is not True:
        raise InvalidToken()
    if answer.get("iss", issuer) != issuer:
        raise InvalidToken("the access token is of another server")
    texts = [answer.get(name, "") for name in ("scope", "client_id", "username", "sub", "token_type")]
    times = [answer.get(name, 0) for name in ("iat", "exp")]
    if not all(isinstance(text, str) for text in texts) or not all(_is_time(time) for time in times):
        raise ValueError("an introspection answer is malformed")
    scope, client_id, username, subject, token_type = texts
    # A token that is bound to a key (RFC 9449, section 7.1) is not valid without a proof of the key.
    if token_type.lower() not in {"", "bearer"}:
        raise InvalidToken("the access token is not a bearer token")
    issued, expires = times
    return AccessToken(
        client_id=client_id,
        user=ResourceOwner(username or subject, subject=subject or username),
        # RFC 6749, section 3.3: a "list of space-delimited, case-sensitive strings".
        scopes=tuple(filter(None, scope.split(" "))),
        issued=issued,
        expires=expires,
        grant_id="",
    )


def _is_time(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
