"""`ITokenStore` on SQL. Each verb is one step.

The steps are the functions below the class, and those of `token_steps` and `many_grants`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import AlreadyExists
from ...interfaces import MAX_COUNTED, IBacklog, IInvalidationFeed, ITokenStore
from ...models import (
    AccessToken,
    CodeProof,
    Grant,
    GrantFilter,
    Issuance,
    Outcome,
    Page,
    Pruned,
    RefreshProof,
)
from ...protocol import grants as rules
from ..bound import log_ended
from . import backlog, many_grants, partitions, schema, token_steps
from .database import OnDatabase
from .rows import (
    grant_row,
    to_grant,
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
        return self.database.write(
            token_steps.redeem_code, code_digest, proof, issuance, key=code_digest
        )

    def rotate_refresh_token(
        self, refresh_digest: bytes, proof: RefreshProof, issuance: Issuance
    ) -> Deferred[Outcome]:
        step = token_steps.rotate_refresh_token
        return self.database.write(step, refresh_digest, proof, issuance, key=refresh_digest)

    def find_refresh_grant(self, refresh_digest: bytes) -> Deferred[Grant | None]:
        return self.database.read(token_steps.find_refresh_grant, refresh_digest)

    def find_access_token(self, access_digest: bytes) -> Deferred[AccessToken | None]:
        return self.database.read(token_steps.find_access_token, access_digest)

    def revoke(
        self, token_digest: bytes, client_id: str, family_digest: bytes | None = None
    ) -> Deferred[Grant | None]:
        return self.database.write(_revoke, token_digest, client_id, family_digest, key=token_digest)

    def revoke_grant(self, grant_id: str) -> Deferred[bool]:
        return self.database.write(token_steps.revoke_grant, grant_id, key=grant_id)

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

# Each is built once, so that SQLAlchemy compiles it once.
_GRANT_BY_ID = sa.select(_grant).where(_grant.c.id == bindparam("grant_id", type_=schema.Sought))
_BY_ACCESS = (
    sa.select(_grant)
    .join(_token, _token.c.grant_id == _grant.c.id)
    .where(_token.c.access_digest == bindparam("digest"))
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


def _revoke(
    connection: sa.Connection, token_digest: bytes, client_id: str, family_digest: bytes | None
) -> Grant | None:
    found = connection.execute(_BY_ACCESS, {"digest": token_digest}).first()
    by_access = found is not None
    if found is None:
        grant, _ = token_steps.find_presented(connection, token_digest, family_digest)
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
        token_steps.revoke_grant(connection, grant.id)
    return grant


def _find_grant(connection: sa.Connection, grant_id: str) -> Grant | None:
    row = connection.execute(_GRANT_BY_ID, {"grant_id": grant_id}).first()
    return None if row is None or row.revoked else to_grant(row)
