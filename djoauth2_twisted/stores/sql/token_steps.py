"""The steps of a token request, and the look-ups of tokens.

They are the steps that are taken most often, so their statements are `Compiled`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from ...errors import TemporarilyUnavailable
from ...models import (
    AccessToken,
    CodeProof,
    Grant,
    Issuance,
    Issued,
    Outcome,
    RefreshProof,
    Replayed,
    ResourceOwner,
    TokenPair,
)
from ...protocol import grants as rules
from . import partitions, schema
from .compiled import Compiled
from .rows import pair_row, to_grant, to_grant_and_pair, to_pair, to_scopes

_grant = schema.grant
_token = schema.token
_retry = schema.retry

# Each is compiled once. Servers lock the row, so that of two steps the second sees what the first did.
_GRANT_BY_CODE = Compiled(
    sa.select(_grant).where(_grant.c.code_digest == bindparam("digest")).with_for_update()
)
_BY_REFRESH = Compiled(
    sa.select(_grant, _token)
    .join(_token, _token.c.grant_id == _grant.c.id)
    .where(_token.c.refresh_digest == bindparam("digest"))
    .with_for_update()
)
_GRANT_BY_REFRESH = Compiled(
    sa.select(_grant)
    .join(_token, _token.c.grant_id == _grant.c.id)
    .where(_token.c.refresh_digest == bindparam("digest"), ~_token.c.rotated, ~_grant.c.revoked)
)
_BY_FAMILY = Compiled(
    sa.select(_grant).where(_grant.c.family_digest == bindparam("family")).with_for_update()
)
_SUCCESSOR = Compiled(
    sa.select(_token, _retry.c.sealed_answer)
    .join(_retry, _retry.c.access_digest == _token.c.access_digest)
    .where(_retry.c.digest == bindparam("digest"))
)
_IS_GRANT = _grant.c.id == bindparam("grant_id", type_=schema.Sought)
_ISSUED: dict[str, Any] = {"last_used": bindparam("now"), "expires": bindparam("until")}
_NAMING_FAMILY: dict[str, Any] = {**_ISSUED, "family_digest": bindparam("family")}
_USE_CODE = Compiled(
    sa.update(_grant)
    .where(_IS_GRANT, ~_grant.c.code_used, ~_grant.c.revoked)
    .values(code_used=sa.true(), **_NAMING_FAMILY)
)
_ADD_PAIR = Compiled(sa.insert(_token))
# The next pair replaces the one before in its row: nothing is kept of that. What stays the same is not
# written again, because SQLite would then write its index again, too.
_ROTATE = Compiled(
    sa.update(_token)
    .where(_token.c.refresh_digest == bindparam("used_digest"), ~_token.c.rotated)
    .values(
        access_digest=bindparam("next_access"),
        access_expires=bindparam("next_access_expires"),
        refresh_digest=bindparam("next_refresh"),
        refresh_expires=bindparam("next_refresh_expires"),
        scopes=bindparam("next_scopes"),
        issued=bindparam("now"),
        access_revoked=sa.false(),
        predecessor=bindparam("kept_digest"),
    )
)
_USE_GRANT = Compiled(sa.update(_grant).where(_IS_GRANT, ~_grant.c.revoked).values(_ISSUED))
_USE_GRANT_AND_NAME_FAMILY = Compiled(
    sa.update(_grant).where(_IS_GRANT, ~_grant.c.revoked).values(_NAMING_FAMILY)
)
_DROP_ANSWER = Compiled(sa.delete(_retry).where(_retry.c.digest == bindparam("used_digest")))
_KEEP_ANSWER = Compiled(sa.insert(_retry))
_ACCESS_TOKEN = Compiled(
    sa.select(
        _grant.c.client_id,
        _grant.c.username,
        _grant.c.profile,
        _token.c.scopes,
        _token.c.issued,
        _token.c.access_expires,
        _grant.c.id,
    )
    .join(_grant, _grant.c.id == _token.c.grant_id)
    .where(
        _token.c.access_digest == bindparam("digest"),
        ~_token.c.access_revoked,
        ~_token.c.rotated,
        ~_grant.c.revoked,
    )
)
_END_GRANT = sa.update(_grant).where(_IS_GRANT, ~_grant.c.revoked).values(revoked=True, expires=0)


def redeem_code(
    connection: sa.Connection, code_digest: bytes, proof: CodeProof, issuance: Issuance
) -> Outcome:
    """See `ITokenStore.redeem_code`."""
    row = _GRANT_BY_CODE.first(connection, digest=code_digest)
    outcome = rules.judge_code(to_grant(row) if row else None, proof, issuance)
    match outcome:
        case Issued(grant, pair):
            _expect_one(_USE_CODE.change(connection, **_use(grant), family=grant.family_digest))
            _ADD_PAIR.change(connection, **pair_row(pair, None))
        case Replayed(grant):
            revoke_grant(connection, grant.id)
    return outcome


def rotate_refresh_token(
    connection: sa.Connection, refresh_digest: bytes, proof: RefreshProof, issuance: Issuance
) -> Outcome:
    """See `ITokenStore.rotate_refresh_token`."""
    grant, presented = find_presented(connection, refresh_digest, issuance.family_digest)
    successor = None
    if issuance.retry_seconds and (presented is None or presented.rotated):
        row = _SUCCESSOR.first(connection, digest=refresh_digest)
        successor = to_pair(row) if row else None
    outcome = rules.judge_refresh(grant, presented, successor, proof, issuance)
    match outcome:
        case Issued(used, pair):
            _expect_one(_use_grant(connection, used, grant))
            _replace(connection, presented, pair, issuance)
        case Replayed(grant):
            revoke_grant(connection, grant.id)
    return outcome


def find_presented(
    connection: sa.Connection, refresh_digest: bytes, family_digest: bytes | None
) -> tuple[Grant | None, TokenPair | None]:
    """The grant of a refresh token, and the token's pair where it was not used before."""
    row = _BY_REFRESH.first(connection, digest=refresh_digest)
    if row is not None:
        return to_grant_and_pair(row)
    if family_digest is None:
        return None, None
    row = _BY_FAMILY.first(connection, family=family_digest)
    return to_grant(row) if row else None, None


def _use_grant(connection: sa.Connection, used: Grant, before: Grant | None) -> int:
    if before is not None and before.family_digest == used.family_digest:
        return _USE_GRANT.change(connection, **_use(used))
    return _USE_GRANT_AND_NAME_FAMILY.change(connection, **_use(used), family=used.family_digest)


def _replace(
    connection: sa.Connection, presented: TokenPair | None, pair: TokenPair, issuance: Issuance
) -> None:
    """Replace the pair that was presented by the next one, and keep the answer for a retry."""
    kept = pair.predecessor if rules.keeps_answer(pair, issuance) else None
    changed = _ROTATE.change(
        connection,
        used_digest=pair.predecessor,
        next_access=pair.access_digest,
        next_access_expires=pair.access_expires,
        next_refresh=pair.refresh_digest,
        next_refresh_expires=pair.refresh_expires,
        next_scopes=" ".join(pair.scopes),
        now=pair.issued,
        kept_digest=kept,
    )
    _expect_one(changed)
    if presented is not None and presented.predecessor is not None:
        _DROP_ANSWER.change(connection, used_digest=presented.predecessor)
    if kept is not None:
        _KEEP_ANSWER.change(
            connection,
            digest=kept,
            access_digest=pair.access_digest,
            sealed_answer=pair.sealed_answer,
            expires=issuance.now + issuance.retry_seconds,
        )
    # RFC 6749, section 6: the access token issued before ends with the refresh token.
    partitions.note(connection, [pair.grant_id])


def _expect_one(changed: int) -> None:
    """Roll the step back if another step has changed the row first, although it was locked."""
    if changed != 1:
        raise TemporarilyUnavailable()


def _use(grant: Grant) -> dict[str, Any]:
    return {"grant_id": grant.id, "now": grant.last_used, "until": grant.expires}


def find_refresh_grant(connection: sa.Connection, refresh_digest: bytes) -> Grant | None:
    """See `ITokenStore.find_refresh_grant`."""
    row = _GRANT_BY_REFRESH.first(connection, digest=refresh_digest)
    return to_grant(row) if row else None


def find_access_token(connection: sa.Connection, access_digest: bytes) -> AccessToken | None:
    """See `ITokenStore.find_access_token`."""
    row = _ACCESS_TOKEN.first(connection, digest=access_digest)
    if row is None:
        return None
    client_id, username, profile, scopes, issued, expires, grant_id = row
    owner = ResourceOwner(username, **profile)
    return AccessToken(client_id, owner, to_scopes(scopes), issued, expires, grant_id)


def revoke_grant(connection: sa.Connection, grant_id: str) -> bool:
    """See `ITokenStore.revoke_grant`."""
    ended = connection.execute(_END_GRANT, {"grant_id": grant_id}).rowcount == 1
    if ended:
        partitions.note(connection, [grant_id])
    return ended
