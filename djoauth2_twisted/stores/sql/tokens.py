"""`ITokenStore` on SQL. Each verb is one step; the steps are the functions below the class."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import sqlalchemy as sa
from attrs import frozen
from sqlalchemy import bindparam
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import AlreadyExists, TemporarilyUnavailable
from ...interfaces import IEndings, ITokenStore
from ...models import (
    AccessToken,
    CodeProof,
    Grant,
    GrantFilter,
    Issue,
    Issued,
    Outcome,
    Page,
    RefreshProof,
    Replayed,
    ResourceOwner,
    TokenPair,
    Unknown,
)
from ...protocol import grants as rules
from . import changes, schema
from .database import Database
from .lanes import Step


@implementer(ITokenStore, IEndings)
@frozen
class SQLTokenStore:
    """Grants and tokens in the tables ``djoauth2_grant`` and ``djoauth2_token``."""

    database: Database

    def add_code(self, grant: Grant) -> Deferred[bool]:
        def taken(failure: Failure) -> bool:
            failure.trap(AlreadyExists)
            return False

        return self.database.write(_add_code, grant).addErrback(taken)

    def redeem_code(self, code_digest: bytes, proof: CodeProof, issue: Issue) -> Deferred[Outcome]:
        return self.database.write(_redeem_code, code_digest, proof, issue)

    def rotate_refresh_token(
        self, refresh_digest: bytes, proof: RefreshProof, issue: Issue
    ) -> Deferred[Outcome]:
        return self.database.write(_rotate_refresh_token, refresh_digest, proof, issue)

    def find_access_token(self, access_digest: bytes) -> Deferred[AccessToken | None]:
        return self.database.read(_find_access_token, access_digest)

    def revoke(self, token_digest: bytes, client_id: str) -> Deferred[Grant | None]:
        return self.database.write(_revoke, token_digest, client_id)

    def revoke_grant(self, grant_id: str) -> Deferred[bool]:
        return self.database.write(_revoke_grant, grant_id)

    def revoke_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        wanted = GrantFilter(username, client_id)
        return Deferred.fromCoroutine(_by_batches(self.database.write, _revoke_some, wanted, scope))

    def end_refresh_tokens(self, username: str) -> Deferred[None]:
        return self.database.write(_end_refresh_tokens, username)

    def grants(self, filter: GrantFilter, page: Page) -> Deferred[list[Grant]]:
        return self.database.read(_grants, filter, page)

    def find_grant(self, grant_id: str) -> Deferred[Grant | None]:
        return self.database.read(_find_grant, grant_id)

    def count_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        wanted = GrantFilter(username, client_id)
        if scope is None:
            return self.database.read(_count_grants, wanted)
        return Deferred.fromCoroutine(_by_batches(self.database.read, _count_some, wanted, scope))

    def prune(self, now: int, limit: int) -> Deferred[int]:
        return self.database.write(_prune, now, limit)

    def part_of(self, grant_id: str) -> Hashable:
        return changes.part_of(grant_id)

    def listen(self, told: Callable[..., None]) -> None:
        self.database.endings.listen(told)

    def is_sure(self) -> bool:
        return self.database.endings.is_sure()


_grant = schema.grant
_token = schema.token

# Made once, so that each is compiled once.
# On a server the row is locked, so that whoever comes second sees what the first one did.
_GRANT_BY_CODE = sa.select(_grant).where(_grant.c.code_digest == bindparam("digest")).with_for_update()
_GRANT_BY_REFRESH = (
    sa.select(_grant)
    .join(_token, _token.c.grant_id == _grant.c.id)
    .where(_token.c.refresh_digest == bindparam("digest"))
    .with_for_update()
)
_USE_CODE = (
    sa.update(_grant)
    .where(
        _grant.c.id == bindparam("grant_id", type_=schema.Sought), ~_grant.c.code_used, ~_grant.c.revoked
    )
    .values(code_used=True, last_used=bindparam("now"), expires=bindparam("until"))
)
_PAIR_BY_REFRESH = sa.select(_token).where(_token.c.refresh_digest == bindparam("digest"))
_GRANT_BY_ID = sa.select(_grant).where(_grant.c.id == bindparam("grant_id", type_=schema.Sought))
_LIVE_PAIR = sa.select(_token).where(
    _token.c.grant_id == bindparam("grant_id", type_=schema.Sought), ~_token.c.rotated
)
_ROTATE = (
    sa.update(_token)
    .where(_token.c.refresh_digest == bindparam("digest"), ~_token.c.rotated)
    .values(rotated=True)
)
_USE_GRANT = (
    sa.update(_grant)
    .where(_grant.c.id == bindparam("grant_id", type_=schema.Sought), ~_grant.c.revoked)
    .values(last_used=bindparam("now"), expires=bindparam("until"))
)
_END_GRANT = (
    sa.update(_grant)
    .where(_grant.c.id == bindparam("grant_id", type_=schema.Sought), ~_grant.c.revoked)
    .values(revoked=True, expires=0)
)
_ACCESS_TOKEN = (
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


def _add_code(connection: sa.Connection, grant: Grant) -> bool:
    connection.execute(sa.insert(_grant), _grant_row(grant))
    return True


def _redeem_code(
    connection: sa.Connection, code_digest: bytes, proof: CodeProof, issue: Issue
) -> Outcome:
    row = connection.execute(_GRANT_BY_CODE, {"digest": code_digest}).first()
    outcome = rules.judge_code(_to_grant(row) if row else None, proof, issue)
    if isinstance(outcome, Issued):
        _expect_one(connection.execute(_USE_CODE, _use(outcome.grant)))
    return _apply(connection, outcome)


def _rotate_refresh_token(
    connection: sa.Connection, refresh_digest: bytes, proof: RefreshProof, issue: Issue
) -> Outcome:
    found = connection.execute(_GRANT_BY_REFRESH, {"digest": refresh_digest}).first()
    row = connection.execute(_PAIR_BY_REFRESH, {"digest": refresh_digest}).first() if found else None
    if not found or not row:
        return Unknown()
    grant, presented, live = _to_grant(found), _to_pair(row), None
    if presented.rotated and issue.retry_seconds:
        next_row = connection.execute(_LIVE_PAIR, {"grant_id": grant.id}).first()
        live = _to_pair(next_row) if next_row else None
    outcome = rules.judge_refresh(grant, presented, live, proof, issue)
    if isinstance(outcome, Issued):
        _expect_one(connection.execute(_ROTATE, {"digest": refresh_digest}))
        _expect_one(connection.execute(_USE_GRANT, _use(outcome.grant)))
        # RFC 6749, section 6: the access token issued before ends with the refresh token.
        _note(connection, grant.id)
    return _apply(connection, outcome)


def _expect_one(result: sa.CursorResult[Any]) -> None:
    """Undo the step where somebody was faster in spite of the lock."""
    if result.rowcount != 1:
        raise TemporarilyUnavailable()


def _use(grant: Grant) -> dict[str, Any]:
    return {"grant_id": grant.id, "now": grant.last_used, "until": grant.expires}


def _apply(connection: sa.Connection, outcome: Outcome) -> Outcome:
    match outcome:
        case Issued(_, pair):
            connection.execute(sa.insert(_token), _pair_row(pair))
        case Replayed(grant):
            _revoke_grant(connection, grant.id)
    return outcome


def _find_access_token(connection: sa.Connection, access_digest: bytes) -> AccessToken | None:
    row = connection.execute(_ACCESS_TOKEN, {"digest": access_digest}).first()
    if row is None:
        return None
    client_id, username, profile, scopes, issued, expires, grant_id = row
    owner = ResourceOwner(username, **profile)
    return AccessToken(client_id, owner, _to_scopes(scopes), issued, expires, grant_id)


def _revoke(connection: sa.Connection, token_digest: bytes, client_id: str) -> Grant | None:
    row = connection.execute(
        sa.select(_token).where(
            (_token.c.access_digest == token_digest) | (_token.c.refresh_digest == token_digest)
        )
    ).first()
    found = row and connection.execute(_GRANT_BY_ID, {"grant_id": row.grant_id}).first()
    if row is None or not found or found.client_id != client_id:
        return None
    if row.access_digest == token_digest:
        connection.execute(
            sa.update(_token).where(_token.c.access_digest == token_digest).values(access_revoked=True)
        )
        _note(connection, row.grant_id)
    else:
        _revoke_grant(connection, row.grant_id)
    return _to_grant(found)


def _revoke_grant(connection: sa.Connection, grant_id: str) -> bool:
    ended = connection.execute(_END_GRANT, {"grant_id": grant_id}).rowcount == 1
    if ended:
        _note(connection, grant_id)
    return ended


def _note(connection: sa.Connection, grant_id: str) -> None:
    changes.note(connection, [changes.part_of(grant_id)])


#: So many grants are looked at in one step of an action on many: it has to end long before a deadline,
#: and others wait for it.
BATCH = 1000

#: How many there were in a batch of grants, and the id after which the next one begins; None: there
#: is none.
_Batch = tuple[int, str | None]


async def _by_batches(run: Callable[..., Deferred[_Batch]], step: Step, *arguments: Any) -> int:
    """Take a step on one batch of grants after the other, by their ids; how many there were in all."""
    total, after = 0, ""
    while True:
        count, last = await run(step, *arguments, after)
        total += count
        if last is None:
            return total
        after = last


def _batch_of(
    connection: sa.Connection, filter: GrantFilter, scope: str | None, after: str, lock: bool
) -> tuple[list[str], str | None]:
    """The ids of a batch's grants, and of the last that was looked at, if there may be more."""
    batch = sa.select(_grant.c.id, _grant.c.scopes).where(*_conditions(filter), _grant.c.id > after)
    batch = batch.order_by(_grant.c.id).limit(BATCH)
    # Locked in their order, so that of two who do this none waits for the other in a circle.
    rows = connection.execute(batch.with_for_update() if lock else batch).all()
    # All are looked at, since a database that seeks the few with a scope may take its time for it.
    found = [row.id for row in rows if scope is None or scope in _to_scopes(row.scopes)]
    return found, rows[-1].id if len(rows) == BATCH else None


def _revoke_some(
    connection: sa.Connection, filter: GrantFilter, scope: str | None, after: str
) -> _Batch:
    found, last = _batch_of(connection, filter, scope, after, lock=True)
    if found:
        ending = sa.update(_grant).where(_grant.c.id.in_(found)).values(revoked=True, expires=0)
        connection.execute(ending)
        changes.note(connection, map(changes.part_of, found))
    return len(found), last


def _count_some(connection: sa.Connection, filter: GrantFilter, scope: str, after: str) -> _Batch:
    found, last = _batch_of(connection, filter, scope, after, lock=False)
    return len(found), last


def _conditions(filter: GrantFilter) -> list[sa.ColumnElement[bool]]:
    conditions = [~_grant.c.revoked]
    if filter.username is not None:
        conditions.append(_grant.c.username == filter.username)
    if filter.client_id is not None:
        conditions.append(_grant.c.client_id == filter.client_id)
    return conditions


def _end_refresh_tokens(connection: sa.Connection, username: str) -> None:
    of_user = _conditions(GrantFilter(username=username))
    connection.execute(
        sa.update(_grant).where(*of_user, ~_grant.c.code_used).values(revoked=True, expires=0)
    )
    connection.execute(
        sa.update(_token)
        .where(_token.c.grant_id.in_(sa.select(_grant.c.id).where(*of_user)), ~_token.c.rotated)
        .values(refresh_digest=None, refresh_expires=None, sealed_answer=None)
    )


def _grants(connection: sa.Connection, filter: GrantFilter, page: Page) -> list[Grant]:
    rows = connection.execute(
        sa.select(_grant)
        .where(*_conditions(filter))
        .order_by(_grant.c.created, _grant.c.id)
        .offset(page.offset)
        .limit(page.size)
    )
    return [_to_grant(row) for row in rows]


def _find_grant(connection: sa.Connection, grant_id: str) -> Grant | None:
    row = connection.execute(_GRANT_BY_ID, {"grant_id": grant_id}).first()
    return None if row is None or row.revoked else _to_grant(row)


def _count_grants(connection: sa.Connection, filter: GrantFilter) -> int:
    counted = sa.select(sa.func.count()).select_from(_grant).where(*_conditions(filter))
    return connection.execute(counted).scalar_one()


def _prune(connection: sa.Connection, now: int, limit: int) -> int:
    # Locked, so that none is forgotten whose last code or token is being used this moment.
    ids = sa.select(_grant.c.id).where(_grant.c.expires <= now).limit(limit).with_for_update()
    over = list(connection.scalars(ids))
    if over:
        connection.execute(sa.delete(_token).where(_token.c.grant_id.in_(over)))
        connection.execute(sa.delete(_grant).where(_grant.c.id.in_(over)))
    return len(over)


def profile_of(owner: ResourceOwner) -> dict[str, str]:
    """What is kept of a resource owner beside the name."""
    return {"first_name": owner.first_name, "last_name": owner.last_name, "email": owner.email}


def _grant_row(grant: Grant) -> dict[str, Any]:
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
        "code_challenge": grant.code_challenge,
        "code_used": grant.code_used,
        "revoked": grant.revoked,
    }


def _to_grant(row: sa.Row[Any]) -> Grant:
    values = dict(row._mapping)
    owner = ResourceOwner(values.pop("username"), **values.pop("profile"))
    return Grant(owner=owner, scopes=_to_scopes(values.pop("scopes")), **values)


def _pair_row(pair: TokenPair) -> dict[str, Any]:
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
        "predecessor": pair.predecessor,
        "sealed_answer": pair.sealed_answer,
    }


def _to_pair(row: sa.Row[Any]) -> TokenPair:
    values = dict(row._mapping)
    return TokenPair(scopes=_to_scopes(values.pop("scopes")), **values)


def _to_scopes(listed: str) -> tuple[str, ...]:
    return tuple(listed.split(" ")) if listed else ()
