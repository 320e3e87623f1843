"""Grants and pairs of tokens as rows, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...models import Grant, ResourceOwner, TokenPair
from . import schema


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


def to_grant(row: Sequence[Any]) -> Grant:
    """The grant of a row that has the columns of ``schema.grant``, in their order."""
    id_, client_id, username, profile, scopes, created, last_used, expires, *others = row
    code_digest, code_expires, redirect_uri, code_challenge, code_used, revoked, *newer = others
    family_digest, refresh_ended, redirect_uri_sent, nonce, auth_time, sid = newer
    return Grant(
        id_,
        client_id,
        ResourceOwner(username, **profile),
        to_scopes(scopes),
        created,
        last_used,
        expires,
        code_digest,
        code_expires,
        redirect_uri,
        code_challenge,
        code_used,
        revoked,
        # NULL in rows of earlier versions.
        redirect_uri_sent is not False,
        family_digest,
        bool(refresh_ended),
        nonce,
        auth_time,
        sid,
    )


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


def to_pair(row: Sequence[Any]) -> TokenPair:
    """The pair of a row that has the columns of ``schema.token``, in their order.

    The answer that was kept for a retry may follow.
    """
    access_digest, access_expires, refresh_digest, refresh_expires, grant_id, scopes, *others = row
    return TokenPair(
        access_digest,
        access_expires,
        refresh_digest,
        refresh_expires,
        grant_id,
        to_scopes(scopes),
        *others,
    )


def to_grant_and_pair(row: Sequence[Any]) -> tuple[Grant, TokenPair]:
    """The grant and the pair of a row that has the columns of both."""
    return to_grant(row[:_GRANT_COLUMNS]), to_pair(row[_GRANT_COLUMNS:])


_GRANT_COLUMNS = len(schema.grant.c)


def to_scopes(listed: str) -> tuple[str, ...]:
    return tuple(listed.split(" ")) if listed else ()
