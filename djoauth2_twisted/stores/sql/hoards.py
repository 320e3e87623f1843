"""Steps on grants of which there may be very many: lists, counts, and the end of all that are alike.

Each looks at so many rows at most, and is followed by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred

from ...interfaces import MAX_COUNTED
from ...models import Grant, GrantFilter, Page, Pruned
from ..bound import ENDED_AT_ONCE
from . import changes, schema
from .lanes import Step
from .rows import to_grant, to_scopes

#: So many grants are looked at in one step of an action on many: it has to end long before a deadline,
#: and others wait for it.
BATCH = 1000

#: How many there were in a batch of grants, and the id after which the next one begins; None: there
#: is none.
Batch = tuple[int, str | None]

_grant = schema.grant
_token = schema.token
_retry = schema.retry


async def by_batches(
    run: Callable[..., Deferred[Batch]], step: Step, *arguments: Any, enough: int | None = None
) -> int:
    """Take a step on one batch of grants after the other; how many there were in all.

    :param enough: stop where it is so many.
    """
    total, after = 0, ""
    while True:
        count, last = await run(step, *arguments, after)
        total += count
        if last is None or (enough is not None and total >= enough):
            return total
        after = last


def conditions(filter: GrantFilter) -> list[sa.ColumnElement[bool]]:
    """What is true of the rows of the grants asked for."""
    found = [~_grant.c.revoked]
    if filter.username is not None:
        found.append(_grant.c.username == filter.username)
    if filter.client_id is not None:
        found.append(_grant.c.client_id == filter.client_id)
    return found


def _seek(
    connection: sa.Connection,
    wanted: Sequence[sa.ColumnElement[bool]],
    after: str,
    scope: str | None = None,
) -> tuple[list[str], str | None]:
    """The ids of a batch's grants, and after which the next one begins, if there may be more."""
    batch = sa.select(_grant.c.id, _grant.c.scopes).where(*wanted, _grant.c.id > after)
    rows = connection.execute(batch.order_by(_grant.c.id).limit(BATCH)).all()
    # All are looked at, since a database that seeks the few with a scope may take its time for it.
    found = [row.id for row in rows if scope is None or scope in to_scopes(row.scopes)]
    return found, rows[-1].id if len(rows) == BATCH else None


def _seek_any(
    connection: sa.Connection, wanted: Sequence[sa.ColumnElement[bool]]
) -> tuple[list[str], str | None]:
    """The same where those that were taken are no longer wanted: then no order is needed."""
    found = list(connection.scalars(sa.select(_grant.c.id).where(*wanted).limit(BATCH)))
    return found, "" if len(found) == BATCH else None


def _lock(
    connection: sa.Connection, ids: list[str], wanted: Sequence[sa.ColumnElement[bool]]
) -> Sequence[Any]:
    """Those grants that are still as wanted, and stay so.

    They are locked in the order of their ids, so that of two who do this none waits in a circle.
    """
    still = sa.select(_grant.c.id, _grant.c.code_used).where(_grant.c.id.in_(ids), *wanted)
    return connection.execute(still.order_by(_grant.c.id).with_for_update()).all()


def revoke_some(connection: sa.Connection, filter: GrantFilter, scope: str | None, after: str) -> Batch:
    """End a batch of the grants of a user, of a client or with a scope."""
    wanted = conditions(filter)
    # The index by user leaves out what is revoked, and has no order by id; that by client has.
    if filter.username is not None and scope is None:
        found, last = _seek_any(connection, wanted)
    else:
        found, last = _seek(connection, wanted, after, scope)
    ending = [row.id for row in _lock(connection, found, wanted)]
    revoke_all(connection, ending)
    return len(ending), last


def revoke_all(connection: sa.Connection, ids: list[str]) -> None:
    """End grants by their ids, with all that belongs to them."""
    if ids:
        ending = sa.update(_grant).where(_grant.c.id.in_(ids)).values(revoked=True, expires=0)
        connection.execute(ending)
        changes.note(connection, map(changes.part_of, ids))


def end_some_refresh_tokens(connection: sa.Connection, username: str, after: str) -> Batch:
    """End the codes and refresh tokens of a batch of a user's grants."""
    wanted = [*conditions(GrantFilter(username=username)), _grant.c.refresh_ended.is_not(True)]
    found, last = _seek_any(connection, wanted)
    rows = _lock(connection, found, wanted)
    revoke_all(connection, [row.id for row in rows if not row.code_used])
    used = [row.id for row in rows if row.code_used]
    if used:
        connection.execute(sa.update(_grant).where(_grant.c.id.in_(used)).values(refresh_ended=True))
    return len(rows), last


def end_beyond(connection: sa.Connection, grant: Grant, most: int) -> list[str]:
    """End those of a user's grants with a client that are too many, but for the one given."""
    wanted = conditions(GrantFilter(grant.owner.username, grant.client_id))
    some = sa.select(_grant.c.id).where(*wanted).limit(most + ENDED_AT_ONCE).subquery()
    beyond = connection.scalars(sa.select(sa.func.count()).select_from(some)).one() - most
    if beyond <= 0:
        return []
    oldest = sa.select(_grant.c.id).where(*wanted, _grant.c.id != grant.id)
    ending = list(connection.scalars(oldest.order_by(_grant.c.last_used).limit(beyond)))
    revoke_all(connection, ending)
    return ending


def count_some(connection: sa.Connection, filter: GrantFilter, scope: str, after: str) -> Batch:
    """How many of a batch of grants have a scope."""
    found, last = _seek(connection, conditions(filter), after, scope)
    return len(found), last


def count(connection: sa.Connection, filter: GrantFilter) -> int:
    """How many grants there are, as far as they are counted."""
    some = sa.select(_grant.c.id).where(*conditions(filter)).limit(MAX_COUNTED + 1).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


def grants(connection: sa.Connection, filter: GrantFilter, page: Page) -> list[Grant]:
    """A page of the grants asked for."""
    rows = connection.execute(
        sa.select(_grant)
        .where(*conditions(filter))
        .order_by(_grant.c.created, _grant.c.id)
        .offset(page.offset)
        .limit(page.size)
    )
    return [to_grant(row) for row in rows]


def clients_of(connection: sa.Connection, username: str, after: str, limit: int) -> list[str]:
    """The clients that a user has grants with: for each a look into the index, past all the grants."""
    found: list[str] = []
    wanted = conditions(GrantFilter(username=username))
    while len(found) < limit:
        following = sa.select(_grant.c.client_id).where(*wanted, _grant.c.client_id > after)
        next_one = connection.scalar(following.order_by(_grant.c.client_id).limit(1))
        if next_one is None:
            break
        found.append(next_one)
        after = next_one
    return found


def prune(connection: sa.Connection, now: int, limit: int) -> Pruned:
    """Forget so many rows at most of what is over: answers, pairs of tokens, grants."""
    late = _first(connection, _retry.c.digest, limit, _retry.c.expires <= now)
    # Locked, so that none is forgotten whose last code or token is being used this moment. Those that
    # are have their turn another time.
    over = sa.select(_grant.c.id).where(_grant.c.expires <= now).order_by(_grant.c.expires)
    grants = connection.scalars(over.limit(limit - len(late)).with_for_update(skip_locked=True)).all()
    pairs, empty = _first_pairs(connection, grants, limit - len(late))
    for key, found in ((_retry.c.digest, late), (_token.c.access_digest, pairs), (_grant.c.id, empty)):
        if found:
            connection.execute(sa.delete(key.table).where(key.in_(found)))
    return Pruned(len(late) + len(pairs) + len(empty), grants=len(empty))


def _first(
    connection: sa.Connection, key: sa.Column[Any], limit: int, condition: sa.ColumnElement[bool]
) -> list[Any]:
    return list(connection.scalars(sa.select(key).where(condition).limit(limit)))


def _first_pairs(
    connection: sa.Connection, grants: Sequence[str], left: int
) -> tuple[list[bytes], list[str]]:
    """The pairs of grants, and the grants that have no others, together so many at most."""
    pairs: list[bytes] = []
    empty: list[str] = []
    for grant_id in grants:
        # One by one, for of many at once a database may read all the rows before it gives the first.
        pairs += _first(connection, _token.c.access_digest, left, _token.c.grant_id == grant_id)
        if len(pairs) + len(empty) >= left:
            return pairs[: left - len(empty)], empty
        empty.append(grant_id)
    return pairs, empty
