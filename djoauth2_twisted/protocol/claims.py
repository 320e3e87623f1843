"""The claims of a user that each scope gives (OpenID Connect Core 1.0, sections 5.1 and 5.4)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..models import ResourceOwner, User
from .openid_scopes import EMAIL, PROFILE

#: The claims of each scope.
BY_SCOPE = {
    PROFILE: ("name", "given_name", "family_name", "preferred_username", "updated_at"),
    EMAIL: ("email", "email_verified"),
}

#: All claims that ID tokens and UserInfo may have, for the metadata.
SUPPORTED = (
    *("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash"),
    *(name for names in BY_SCOPE.values() for name in names),
)


def user_info(subject: str, user: User | ResourceOwner, scopes: Collection[str]) -> dict[str, Any]:
    """The answer of the UserInfo endpoint.

    :param scopes: those of the access token.
    """
    known = _claims(user)
    wanted = [name for scope, names in BY_SCOPE.items() if scope in scopes for name in names]
    # OpenID Connect Core 1.0, section 5.3.2: "If a Claim is not returned, that Claim Name SHOULD be
    # omitted from the JSON object representing the Claims; it SHOULD NOT be present with a null or empty
    # string value."
    return {"sub": subject, **{name: known[name] for name in wanted if known[name] not in (None, "")}}


def _claims(user: User | ResourceOwner) -> dict[str, Any]:
    return {
        "name": " ".join(filter(None, (user.first_name, user.last_name))),
        "given_name": user.first_name,
        "family_name": user.last_name,
        "preferred_username": user.username,
        "updated_at": user.updated_at if isinstance(user, User) else None,
        "email": user.email,
        "email_verified": user.email_verified if user.email else None,
    }
