"""The consent form: what it is bound to, and the grant that comes of it."""

from __future__ import annotations

import attrs

from ..conf import Settings
from ..credentials import digest, random_string
from ..models import Grant, ResourceOwner
from ..parameters import decode
from ..protocol.authorization import AuthorizationRequest
from .sessions import FORM_LIFETIME, Browser

#: The fields of the form itself, which count only in the body.
FORM_FIELDS = frozenset({"user_action", "csrf_token"})


def without_form_fields(body: bytes) -> bytes:
    """The body of a form without the fields of the consent form itself."""
    pairs = body.split(b"&")
    return b"&".join(pair for pair in pairs if decode(pair.partition(b"=")[0]) not in FORM_FIELDS)


def bound_values(asked: AuthorizationRequest, owner: ResourceOwner) -> tuple[object, ...]:
    """The values that a consent form is bound to."""
    return (
        "consent",
        owner.username,
        owner.subject,
        asked.client.client_id,
        asked.redirect_uri,
        asked.redirect_uri_sent,
        [scope.name for scope in asked.scopes],
        asked.state,
        asked.code_challenge,
        asked.nonce,
    )


def covers(grant: Grant, names: set[str], redirect_uri: str, now: int) -> bool:
    """Whether a grant is in use, has this redirect URI, and covers all of the scopes."""
    return (
        grant.code_used
        and now < grant.expires
        and grant.redirect_uri == redirect_uri
        and names <= set(grant.scopes)
    )


def new_grant(
    settings: Settings,
    now: int,
    nonce: str | None,
    asked: AuthorizationRequest,
    browser: Browser,
    owner: ResourceOwner,
    code: str,
) -> Grant:
    """The grant of a consent.

    :param now: in seconds since the epoch.
    :param nonce: the nonce of the consent form; None where consent was remembered.
    """
    code_expires = now + settings.authorization_code_lifetime
    return Grant(
        id=nonce or random_string(30),
        client_id=asked.client.client_id,
        owner=attrs.evolve(owner, auth_time=None),
        scopes=tuple(scope.name for scope in asked.scopes),
        created=now,
        last_used=now,
        # As long as the form is valid, it can give the grant a new code.
        expires=code_expires if nonce is None else max(code_expires, now + FORM_LIFETIME),
        code_digest=digest(code),
        code_expires=code_expires,
        redirect_uri=asked.redirect_uri,
        redirect_uri_sent=asked.redirect_uri_sent,
        code_challenge=asked.code_challenge,
        nonce=asked.nonce,
        auth_time=owner.auth_time if asked.is_openid else None,
        sid=browser.sid if asked.is_openid else None,
    )
