"""Logouts: OpenID Connect RP-Initiated Logout 1.0, and the tokens of Back-Channel Logout 1.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import frozen

from ..errors import InvalidRequest
from ..models import Client
from ..parameters import Parameters
from .authentication_request import MAX_HINT_LENGTH, locales
from .redirection import as_ascii

#: The event of a logout token (Back-Channel Logout 1.0, section 2.4).
EVENT = "http://schemas.openid.net/event/backchannel-logout"

#: The header's ``typ`` of a logout token (Back-Channel Logout 1.0, section 2.4).
TYPE = "logout+jwt"

#: The lifetime of a logout token, in seconds: at most two minutes, as section 2.4 recommends.
TOKEN_LIFETIME = 120

#: How long to wait before a logout token is sent again, in seconds, after each attempt that failed.
PAUSES = (10, 60, 300, 1800, 7200)


@frozen
class Hint:
    """What an ID token of ours says of a login, whether it has expired or not."""

    subject: str
    client_id: str
    sid: str | None = None


def hint_of(claims: Mapping[str, Any], issuer: str) -> Hint:
    """What the claims of a token that this server has signed say of a login.

    :raises InvalidRequest: it is not an ID token, or another issuer's.
    """
    # OpenID Connect Core 1.0, section 3.1.2.1: an ID token "previously issued by the Authorization
    # Server". Section 2 of RP-Initiated Logout 1.0: "The OP SHOULD accept ID Tokens when the RP
    # identified by the ID Token's aud claim and/or sid claim has a current session [...], even when the
    # exp time has passed". A logout token is signed by the same keys.
    subject, client_id, sid = claims.get("sub"), claims.get("aud"), claims.get("sid")
    is_text = isinstance(subject, str) and isinstance(client_id, str)
    if claims.get("iss") != issuer or "events" in claims or not is_text:
        raise InvalidRequest("id_token_hint is not an ID token of this server")
    return Hint(str(subject), str(client_id), sid if isinstance(sid, str) else None)


@frozen
class LogoutRequest:
    """A request to end a login (RP-Initiated Logout 1.0, section 2)."""

    id_token_hint: str | None
    client_id: str | None
    redirect_uri: str | None
    state: str | None
    ui_locales: tuple[str, ...]


def read(parameters: Parameters) -> LogoutRequest:
    """Read a request to end a login. Unknown parameters and ``logout_hint`` have no effect.

    :raises InvalidRequest: a parameter was sent more than once, or the hint is malformed.
    """
    parameters.refuse_repeated()
    hint = parameters.get("id_token_hint")
    if hint is not None and (len(hint) > MAX_HINT_LENGTH or not hint.isascii()):
        raise InvalidRequest("id_token_hint is malformed")
    return LogoutRequest(
        hint,
        parameters.get("client_id"),
        parameters.get("post_logout_redirect_uri"),
        parameters.get("state"),
        locales(parameters.get("ui_locales")),
    )


def client_id_of(asked: LogoutRequest, hint: Hint | None) -> str | None:
    """The client that a request comes from; None if it does not say.

    :raises InvalidRequest: the hint was issued to another client.
    """
    # RP-Initiated Logout 1.0, section 2: "the OP MUST verify that the Client Identifier matches the one
    # used when issuing the ID Token".
    if hint is not None and asked.client_id not in (None, hint.client_id):
        raise InvalidRequest("id_token_hint was not issued to this client")
    return asked.client_id if hint is None else hint.client_id


def destination(asked: LogoutRequest, client: Client | None) -> str | None:
    """Where the browser goes after the logout; None for our own page.

    :raises InvalidRequest: the address is not one that the client has registered.
    """
    if asked.redirect_uri is None:
        return None
    # Section 3: "the value MUST have been previously registered with the OP". Section 2: "The OP also
    # MUST NOT perform post-logout redirection if the post_logout_redirect_uri value supplied does not
    # exactly match one of the previously registered [...] values."
    registered = () if client is None or client.disabled else client.post_logout_redirect_uris
    if asked.redirect_uri not in registered:
        raise InvalidRequest("post_logout_redirect_uri is not one that the client has registered")
    uri = as_ascii(asked.redirect_uri)
    if asked.state is None:
        return uri
    separator = "&" if "?" in uri else "?"
    return f"{uri}{separator}{urlencode({'state': asked.state}, errors='surrogateescape')}"


def is_of_login(hint: Hint, subject: str, sid: str | None) -> bool:
    """Whether a hint names the user who is logged in, and the very login if it names one."""
    return hint.subject == subject and hint.sid in (None, sid)


def logout_claims(
    issuer: str, client_id: str, subject: str, sid: str | None, token_id: str, now: int
) -> Mapping[str, Any]:
    """The claims of a logout token (Back-Channel Logout 1.0, section 2.4). It has no ``nonce``.

    :param sid: the login that has ended; None if all of the user's have.
    :param token_id: a random text, by which a client knows a token that was sent twice.
    :param now: in seconds since the epoch.
    """
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": subject,
        "aud": client_id,
        "iat": now,
        "exp": now + TOKEN_LIFETIME,
        "jti": token_id,
        "events": {EVENT: {}},
    }
    if sid is not None:
        claims["sid"] = sid
    return claims


def pause_after(attempts: int) -> int | None:
    """How long to wait after so many attempts, in seconds; None to give up."""
    return PAUSES[attempts - 1] if attempts <= len(PAUSES) else None
