"""`ITokenStore` on SQL. Each verb is one step; the steps are the functions below the class."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import AlreadyExists, TemporarilyUnavailable
from ...interfaces import MAX_COUNTED, IBacklog, IInvalidationFeed, ITokenStore
from ...models import (
    AccessToken,
    CodeProof,
    Grant,
    GrantFilter,
    Issuance,
    Issued,
    Outcome,
    Page,
    Pruned,
    RefreshProof,
    Replayed,
    ResourceOwner,
    TokenPair,
)
from ...protocol import grants as rules
from ..bound import log_ended
from . import backlog, many_grants, partitions, schema
from .database import OnDatabase
from .rows import (
    PAIR,
    grant_row,
    pair_row,
    to_grant,
    to_grant_and_pair,
    to_pair,
    to_scopes,
)

#: The key of all steps that revoke or prune grants of many users and clients. Each of them locks many
#: rows, and on one writer no two of them wait for each other's.
_MANY_GRANTS = "many grants"


@implementer(ITokenStore, IInvalidationFeed, IBacklog)
class SQLTokenStore(OnDatabase):
    """Grants and tokens in the tables ``djoauth2_grant``, ``djoauth2_token`` and ``djoauth2_retry``.

    :param database: may be shared with a registry.
    """

    def add_code(self, grant: Grant, most: int | None = None) -> Deferred[bool]:
        def added(ended: list[str]) -> bool:
            log_ended(grant, ended)
            return True

        def taken(failure: Failure) -> bool:
            failure.trap(AlreadyExists)
            return False

        # By the user: with ``most``, two codes of one user may revoke the same grants.
        adding = self.database.write(_add_code, grant, most, key=grant.owner.username)
        return adding.addCallbacks(added, taken)

    def renew_code(self, grant: Grant) -> Deferred[bool]:
        return self.database.write(_renew_code, grant, key=grant.id)

    def redeem_code(self, code_digest: bytes, proof: CodeProof, issuance: Issuance) -> Deferred[Outcome]:
        return self.database.write(_redeem_code, code_digest, proof, issuance, key=code_digest)

    def rotate_refresh_token(
        self, refresh_digest: bytes, proof: RefreshProof, issuance: Issuance
    ) -> Deferred[Outcome]:
        return self.database.write(
            _rotate_refresh_token, refresh_digest, proof, issuance, key=refresh_digest
        )

    def find_refresh_grant(self, refresh_digest: bytes) -> Deferred[Grant | None]:
        return self.database.read(_find_refresh_grant, refresh_digest)

    def find_access_token(self, access_digest: bytes) -> Deferred[AccessToken | None]:
        return self.database.read(_find_access_token, access_digest)

    def revoke(
        self, token_digest: bytes, client_id: str, family_digest: bytes | None = None
    ) -> Deferred[Grant | None]:
        return self.database.write(_revoke, token_digest, client_id, family_digest, key=token_digest)

    def revoke_grant(self, grant_id: str) -> Deferred[bool]:
        return self.database.write(_revoke_grant, grant_id, key=grant_id)

    def revoke_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        wanted = GrantFilter(username, client_id)
        write = partial(self.database.write, key=_MANY_GRANTS)
        return self._by_batches(write, many_grants.revoke_some, wanted, scope)

    def end_refresh_tokens(self, username: str) -> Deferred[None]:
        write = partial(self.database.write, key=username)
        ending = self._by_batches(write, many_grants.end_some_refresh_tokens, username)
        return ending.addCallback(lambda _: None)

    def grants(self, filter: GrantFilter, page: Page) -> Deferred[list[Grant]]:
        return self.database.read(many_grants.grants, filter, page)

    def clients_of(self, username: str, after: str, limit: int) -> Deferred[list[str]]:
        return self.database.read(many_grants.clients_of, username, after, limit)

    def grants_in_use(self, username: str, client_id: str, limit: int) -> Deferred[list[Grant]]:
        return self.database.read(many_grants.grants_in_use, username, client_id, limit)

    def find_grant(self, grant_id: str) -> Deferred[Grant | None]:
        return self.database.read(_find_grant, grant_id)

    def count_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        wanted = GrantFilter(username, client_id)
        if scope is None:
            return self.database.read(many_grants.count, wanted)
        enough = MAX_COUNTED + 1
        read, step = self.database.read, many_grants.count_some
        return self._by_batches(read, step, wanted, scope, enough=enough).addCallback(min, enough)

    def prune(self, now: int, limit: int) -> Deferred[Pruned]:
        return self.database.write(many_grants.prune, now, limit, key=_MANY_GRANTS)

    def count_expired(self, cutoffs: Mapping[str, int]) -> Deferred[Mapping[str, int]]:
        return self.database.read(backlog.of_tokens, cutoffs)

    def partition(self, grant_id: str) -> Hashable:
        return partitions.partition(grant_id)

    def subscribe(self, invalidate: Callable[..., None]) -> None:
        self.database.invalidation.subscribe(invalidate)

    def is_current(self) -> bool:
        return self.database.invalidation.is_current()

    def _by_batches(
        self,
        run: Callable[..., Deferred[many_grants.Batch]],
        step: Callable[..., many_grants.Batch],
        *arguments: Any,
        enough: int | None = None,
    ) -> Deferred[int]:
        seconds = self.database.seconds
        return Deferred.fromCoroutine(
            many_grants.by_batches(run, seconds, step, *arguments, enough=enough)
        )


_grant = schema.grant
_token = schema.token
_retry = schema.retry

# Each is built once, so that SQLAlchemy compiles it once.
# Servers lock the row, so that of two steps the second sees what the first did.
_GRANT_BY_CODE = sa.select(_grant).where(_grant.c.code_digest == bindparam("digest")).with_for_update()
_BY_REFRESH = (
    sa.select(_grant, *[column.label(PAIR + column.name) for column in _token.c])
    .join(_token, _token.c.grant_id == _grant.c.id)
    .where(_token.c.refresh_digest == bindparam("digest"))
    .with_for_update()
)
_BY_ACCESS = (
    sa.select(_grant)
    .join(_token, _token.c.grant_id == _grant.c.id)
    .where(_token.c.access_digest == bindparam("digest"))
)
_GRANT_BY_REFRESH = (
    sa.select(_grant)
    .join(_token, _token.c.grant_id == _grant.c.id)
    .where(_token.c.refresh_digest == bindparam("digest"), ~_token.c.rotated, ~_grant.c.revoked)
)
_BY_FAMILY = sa.select(_grant).where(_grant.c.family_digest == bindparam("family")).with_for_update()
_SUCCESSOR = (
    sa.select(_token, _retry.c.sealed_answer)
    .join(_retry, _retry.c.access_digest == _token.c.access_digest)
    .where(_retry.c.digest == bindparam("digest"))
)
_ISSUED: dict[str, Any] = {
    "last_used": bindparam("now"),
    "expires": bindparam("until"),
    "family_digest": bindparam("family"),
}
_USE_CODE = (
    sa.update(_grant)
    .where(
        _grant.c.id == bindparam("grant_id", type_=schema.Sought), ~_grant.c.code_used, ~_grant.c.revoked
    )
    .values(code_used=True, **_ISSUED)
)
_GRANT_BY_ID = sa.select(_grant).where(_grant.c.id == bindparam("grant_id", type_=schema.Sought))
# The next pair replaces the one before in its row: nothing is kept of that.
_ROTATE = (
    sa.update(_token)
    .where(_token.c.refresh_digest == bindparam("used_digest"), ~_token.c.rotated)
    .values({column: bindparam(f"next_{column.name}") for column in _token.c})
)
_USE_GRANT = (
    sa.update(_grant)
    .where(_grant.c.id == bindparam("grant_id", type_=schema.Sought), ~_grant.c.revoked)
    .values(_ISSUED)
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


def _add_code(connection: sa.Connection, grant: Grant, most: int | None) -> list[str]:
    connection.execute(sa.insert(_grant), grant_row(grant))
    return [] if most is None else many_grants.end_beyond(connection, grant, most)


def _renew_code(connection: sa.Connection, renewed: Grant) -> bool:
    row = connection.execute(_GRANT_BY_ID.with_for_update(), {"grant_id": renewed.id}).first()
    grant = rules.renew_code(to_grant(row) if row else None, renewed)
    if grant is None:
        return False
    changes = {name: grant_row(grant)[name] for name in ("code_digest", "code_expires", "expires")}
    connection.execute(sa.update(_grant).where(_grant.c.id == grant.id).values(changes))
    return True


def _redeem_code(
    connection: sa.Connection, code_digest: bytes, proof: CodeProof, issuance: Issuance
) -> Outcome:
    row = connection.execute(_GRANT_BY_CODE, {"digest": code_digest}).first()
    outcome = rules.judge_code(to_grant(row) if row else None, proof, issuance)
    match outcome:
        case Issued(grant, pair):
            _expect_one(connection.execute(_USE_CODE, _use(grant)))
            connection.execute(sa.insert(_token), pair_row(pair, None))
        case Replayed(grant):
            _revoke_grant(connection, grant.id)
    return outcome


def _rotate_refresh_token(
    connection: sa.Connection, refresh_digest: bytes, proof: RefreshProof, issuance: Issuance
) -> Outcome:
    grant, presented = _presented(connection, refresh_digest, issuance.family_digest)
    successor = None
    if issuance.retry_seconds and (presented is None or presented.rotated):
        row = connection.execute(_SUCCESSOR, {"digest": refresh_digest}).first()
        successor = to_pair(row) if row else None
    outcome = rules.judge_refresh(grant, presented, successor, proof, issuance)
    match outcome:
        case Issued(grant, pair):
            _expect_one(connection.execute(_USE_GRANT, _use(grant)))
            _replace(connection, presented, pair, issuance)
        case Replayed(grant):
            _revoke_grant(connection, grant.id)
    return outcome


def _presented(
    connection: sa.Connection, refresh_digest: bytes, family_digest: bytes | None
) -> tuple[Grant | None, TokenPair | None]:
    """The grant of a refresh token, and the token's pair where it was not used before."""
    row = connection.execute(_BY_REFRESH, {"digest": refresh_digest}).first()
    if row is not None:
        return to_grant_and_pair(row)
    if family_digest is None:
        return None, None
    row = connection.execute(_BY_FAMILY, {"family": family_digest}).first()
    return to_grant(row) if row else None, None


def _replace(
    connection: sa.Connection, presented: TokenPair | None, pair: TokenPair, issuance: Issuance
) -> None:
    """Replace the pair that was presented by the next one, and keep the answer for a retry."""
    kept = pair.predecessor if rules.keeps_answer(pair, issuance) else None
    following = {f"next_{name}": value for name, value in pair_row(pair, kept).items()}
    following["used_digest"] = pair.predecessor
    _expect_one(connection.execute(_ROTATE, following))
    if presented is not None and presented.predecessor is not None:
        connection.execute(sa.delete(_retry).where(_retry.c.digest == presented.predecessor))
    if kept is not None:
        answer = {
            "digest": kept,
            "access_digest": pair.access_digest,
            "sealed_answer": pair.sealed_answer,
            "expires": issuance.now + issuance.retry_seconds,
        }
        connection.execute(sa.insert(_retry), answer)
    # RFC 6749, section 6: the access token issued before ends with the refresh token.
    partitions.note(connection, [pair.grant_id])


def _expect_one(result: sa.CursorResult[Any]) -> None:
    """Roll the step back where another one was faster in spite of the lock."""
    if result.rowcount != 1:
        raise TemporarilyUnavailable()


def _use(grant: Grant) -> dict[str, Any]:
    return {
        "grant_id": grant.id,
        "now": grant.last_used,
        "until": grant.expires,
        "family": grant.family_digest,
    }


def _find_refresh_grant(connection: sa.Connection, refresh_digest: bytes) -> Grant | None:
    row = connection.execute(_GRANT_BY_REFRESH, {"digest": refresh_digest}).first()
    return to_grant(row) if row else None


def _find_access_token(connection: sa.Connection, access_digest: bytes) -> AccessToken | None:
    row = connection.execute(_ACCESS_TOKEN, {"digest": access_digest}).first()
    if row is None:
        return None
    client_id, username, profile, scopes, issued, expires, grant_id = row
    owner = ResourceOwner(username, **profile)
    return AccessToken(client_id, owner, to_scopes(scopes), issued, expires, grant_id)


def _revoke(
    connection: sa.Connection, token_digest: bytes, client_id: str, family_digest: bytes | None
) -> Grant | None:
    found = connection.execute(_BY_ACCESS, {"digest": token_digest}).first()
    by_access = found is not None
    if found is None:
        grant, _ = _presented(connection, token_digest, family_digest)
    else:
        grant = to_grant(found)
    if grant is None or grant.client_id != client_id:
        return None
    if by_access:
        connection.execute(
            sa.update(_token).where(_token.c.access_digest == token_digest).values(access_revoked=True)
        )
        partitions.note(connection, [grant.id])
    else:
        _revoke_grant(connection, grant.id)
    return grant


def _revoke_grant(connection: sa.Connection, grant_id: str) -> bool:
    ended = connection.execute(_END_GRANT, {"grant_id": grant_id}).rowcount == 1
    if ended:
        partitions.note(connection, [grant_id])
    return ended


def _find_grant(connection: sa.Connection, grant_id: str) -> Grant | None:
    row = connection.execute(_GRANT_BY_ID, {"grant_id": grant_id}).first()
    return None if row is None or row.revoked else to_grant(row)
