"""ID tokens (OpenID Connect Core 1.0, section 2): their claims."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from ..models import Client, Grant, Session
from .jose import access_token_hash


def claims_of(
    issuer: str,
    client: Client,
    grant: Grant,
    access_token: str,
    *,
    issued: int,
    lifetime: int,
    is_first: bool,
) -> dict[str, Any]:
    """The claims of an ID token. Those that are not known are left out.

    :param access_token: it is issued together with the ID token.
    :param issued: in seconds since the epoch.
    :param lifetime: in seconds.
    :param is_first: whether it is the answer to the code. Later ones have no nonce.
    """
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": grant.owner.subject,
        "aud": client.client_id,
        "exp": issued + lifetime,
        "iat": issued,
    }
    # OpenID Connect Core 1.0, section 12.2: "its auth_time Claim MUST represent the time of the original
    # authentication - not the time that the new ID token is issued".
    if grant.auth_time is not None:
        claims["auth_time"] = grant.auth_time
    # Section 12.2: "it SHOULD NOT have a nonce Claim, even when the ID Token issued at the time of the
    # original authentication contained nonce".
    if is_first and grant.nonce is not None:
        claims["nonce"] = grant.nonce
    claims["at_hash"] = access_token_hash(access_token)
    # Only a client that gets logout tokens has a use for it (OpenID Connect Back-Channel Logout 1.0,
    # section 2.1).
    if client.backchannel_logout_uri and grant.sid is not None:
        claims["sid"] = grant.sid
    return claims


def sid_of(session: Session) -> str:
    """The name of a login for clients (OpenID Connect Back-Channel Logout 1.0, section 2.1).

    The key of the session cannot be found from it.
    """
    if session.sid is not None:
        return session.sid
    digest = hashlib.sha256(b"sid" + session.digest).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
