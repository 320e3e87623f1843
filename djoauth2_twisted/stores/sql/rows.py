"""Grants and pairs of tokens as rows, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ...models import Grant, ResourceOwner, TokenPair


def profile_of(owner: ResourceOwner) -> dict[str, Any]:
    """What is kept of a resource owner, except the username."""
    profile = {
        "first_name": owner.first_name,
        "last_name": owner.last_name,
        "email": owner.email,
        "subject": owner.subject,
    }
    return {**profile, "email_verified": True} if owner.email_verified else profile


def grant_row(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.id,
        "client_id": grant.client_id,
        "username": grant.owner.username,
        "profile": profile_of(grant.owner),
        "scopes": " ".join(grant.scopes),
        "created": grant.created,
        "last_used": grant.last_used,
        "expires": grant.expires,
        "code_digest": grant.code_digest,
        "code_expires": grant.code_expires,
        "redirect_uri": grant.redirect_uri,
        "redirect_uri_sent": grant.redirect_uri_sent,
        "code_challenge": grant.code_challenge,
        "code_used": grant.code_used,
        "revoked": grant.revoked,
        "family_digest": grant.family_digest,
        "refresh_ended": grant.refresh_ended,
        "nonce": grant.nonce,
        "auth_time": grant.auth_time,
        "sid": grant.sid,
    }


def to_grant(row: sa.Row[Any]) -> Grant:
    return _to_grant(row._mapping)


def _to_grant(row: Mapping[Any, Any]) -> Grant:
    values = dict(row)
    owner = ResourceOwner(values.pop("username"), **values.pop("profile"))
    scopes, ended = to_scopes(values.pop("scopes")), bool(values.pop("refresh_ended"))
    sent = values.pop("redirect_uri_sent") is not False
    return Grant(owner=owner, scopes=scopes, refresh_ended=ended, redirect_uri_sent=sent, **values)


def pair_row(pair: TokenPair, predecessor: bytes | None) -> dict[str, Any]:
    """A pair as a row.

    :param predecessor: the digest by which its answer is kept for a retry, if it is.
    """
    return {
        "access_digest": pair.access_digest,
        "access_expires": pair.access_expires,
        "refresh_digest": pair.refresh_digest,
        "refresh_expires": pair.refresh_expires,
        "grant_id": pair.grant_id,
        "scopes": " ".join(pair.scopes),
        "issued": pair.issued,
        "access_revoked": pair.access_revoked,
        "rotated": pair.rotated,
        "predecessor": predecessor,
    }


def to_pair(row: sa.Row[Any]) -> TokenPair:
    """The pair of a row, which may have the answer that was kept for a retry."""
    return _to_pair(row._mapping)


def _to_pair(row: Mapping[Any, Any]) -> TokenPair:
    values = dict(row)
    return TokenPair(scopes=to_scopes(values.pop("scopes")), **values)


#: The prefix of a pair's columns in a row that has a grant's columns, too.
PAIR = "pair_"


def to_grant_and_pair(row: sa.Row[Any]) -> tuple[Grant, TokenPair]:
    """The grant and the pair of a row that has both."""
    pair, grant = {}, {}
    for name, value in row._mapping.items():
        if name.startswith(PAIR):
            pair[name.removeprefix(PAIR)] = value
        else:
            grant[name] = value
    return _to_grant(grant), _to_pair(pair)


def to_scopes(listed: str) -> tuple[str, ...]:
    return tuple(listed.split(" ")) if listed else ()
