"""Steps on many grants: lists, counts, revocation and pruning.

Each step looks at a limited number of rows, so that no other step waits long for it. An action on many
grants takes several steps, one *batch* of grants in each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred

from ...interfaces import MAX_COUNTED
from ...models import Grant, GrantFilter, Page, Pruned
from ...protocol import steps
from ..bound import ENDED_AT_ONCE
from . import partitions, schema, statements
from .rows import to_grant, to_scopes
from .workers import Step

#: How many grants the first step of an action on many looks at, and how many any step does at most.
FIRST = steps.FIRST_LIMIT
MAX_GRANTS = steps.MAX_LIMIT

#: How many of a batch's grants were as wanted, and where the next batch begins: after an id, or after a
#: position in an index. None: this batch was the last.
Batch = tuple[int, Any]

_grant = schema.grant
_token = schema.token
_retry = schema.retry


async def by_batches(
    run: Callable[..., Deferred[Batch]],
    seconds: Callable[[], float],
    step: Step,
    *arguments: Any,
    enough: int | None = None,
) -> int:
    """Run a step on one batch of grants after the other, and say how many grants were as wanted.

    :param run: runs the step: `Database.read`, or `Database.write` with a key.
    :param seconds: the time, in seconds. Batches grow or shrink until one takes a moment.
    :param enough: stop after this many grants.
    """
    total, size = 0, FIRST
    after: Any = ""
    while True:
        begun = seconds()
        count, last = await run(step, *arguments, after, size)
        total += count
        if last is None or (enough is not None and total >= enough):
            return total
        after, size = last, steps.next_limit(size, seconds() - begun, MAX_GRANTS)


def conditions(filter: GrantFilter) -> list[sa.ColumnElement[bool]]:
    """The conditions on the rows of grants that are not revoked and pass a filter."""
    found = [~_grant.c.revoked]
    if filter.username is not None:
        found.append(_grant.c.username == filter.username)
    if filter.client_id is not None:
        found.append(_grant.c.client_id == filter.client_id)
    return found


def _seek(
    connection: sa.Connection, filter: GrantFilter, scope: str | None, after: str, size: int
) -> tuple[list[str], str | None]:
    """The ids of the wanted grants in a batch, and where the next batch begins, if there may be one.

    The batch is of all grants, by their ids, and they are judged here. A database that searched for the
    wanted ones might look at any number of others before it finds them.
    """
    columns = (_grant.c.id, _grant.c.username, _grant.c.client_id, _grant.c.scopes, _grant.c.revoked)
    batch = sa.select(*columns).where(_grant.c.id > after).order_by(_grant.c.id).limit(size)
    rows = connection.execute(batch).all()
    found = [
        row.id
        for row in rows
        if not row.revoked
        and filter.username in (None, row.username)
        and filter.client_id in (None, row.client_id)
        and (scope is None or scope in to_scopes(row.scopes))
    ]
    return found, rows[-1].id if len(rows) == size else None


def _seek_any(
    connection: sa.Connection,
    wanted: Sequence[sa.ColumnElement[bool]],
    order: Sequence[sa.Column[Any]],
    size: int,
) -> tuple[list[str], str | None]:
    """As `_seek`, where the step changes all that are found: the next batch begins at the same place.

    :param order: the order of an index, which leaves out what is revoked.
    """
    batch = sa.select(_grant.c.id).where(*wanted).order_by(*order).limit(size)
    found = list(connection.scalars(batch))
    return found, "" if len(found) == size else None


def _seek_following(
    connection: sa.Connection, wanted: Sequence[sa.ColumnElement[bool]], after: Any, size: int
) -> tuple[list[str], Any]:
    """As `_seek`, for a user's grants that stay wanted: each batch begins after the one before."""
    key = (*_OF_USER, _grant.c.id)
    batch = sa.select(*key).where(*wanted).order_by(*key).limit(size)
    if after:
        last = [sa.literal(value, column.type) for value, column in zip(after, key, strict=True)]
        batch = batch.where(sa.tuple_(*key) > sa.tuple_(*last))
    rows = connection.execute(batch).all()
    return [row.id for row in rows], tuple(rows[-1]) if len(rows) == size else None


# The orders of the indexes by user and by client.
_OF_USER = (_grant.c.client_id, _grant.c.last_used)
_OF_CLIENT = (_grant.c.created, _grant.c.id)


def _lock(
    connection: sa.Connection, ids: list[str], wanted: Sequence[sa.ColumnElement[bool]]
) -> Sequence[Any]:
    """Lock the grants that are still wanted.

    All steps lock in the order of the ids, so that no two of them wait for each other.
    """
    still = sa.select(_grant.c.id, _grant.c.code_used).where(_grant.c.id.in_(ids), *wanted)
    return connection.execute(still.order_by(_grant.c.id).with_for_update()).all()


def revoke_some(
    connection: sa.Connection, filter: GrantFilter, scope: str | None, after: str, size: int
) -> Batch:
    """Revoke a batch of the grants of a user, of a client or with a scope."""
    wanted = conditions(filter)
    if scope is not None or filter == GrantFilter():
        found, last = _seek(connection, filter, scope, after, size)
    else:
        order = _OF_CLIENT if filter.username is None else _OF_USER
        found, last = _seek_any(connection, wanted, order, size)
    ending = [row.id for row in _lock(connection, found, wanted)]
    revoke_all(connection, ending)
    return len(ending), last


def revoke_all(connection: sa.Connection, ids: list[str]) -> None:
    """Revoke grants by their ids, with all that belongs to them."""
    if ids:
        ending = sa.update(_grant).where(_grant.c.id.in_(ids)).values(revoked=True, expires=0)
        connection.execute(ending)
        partitions.note(connection, ids)


def end_some_refresh_tokens(connection: sa.Connection, username: str, after: Any, size: int) -> Batch:
    """End the codes and refresh tokens of a batch of a user's grants."""
    wanted = conditions(GrantFilter(username=username))
    found, last = _seek_following(connection, wanted, after, size)
    rows = _lock(connection, found, wanted)
    revoke_all(connection, [row.id for row in rows if not row.code_used])
    used = [row.id for row in rows if row.code_used]
    if used:
        connection.execute(sa.update(_grant).where(_grant.c.id.in_(used)).values(refresh_ended=True))
    return len(rows), last


def end_beyond(connection: sa.Connection, grant: Grant, most: int) -> list[str]:
    """Revoke the least recently used of a user's grants with a client, so that ``most`` are left.

    :param grant: the new grant, which stays.
    :returns: the ids of the revoked grants, of which there are `ENDED_AT_ONCE` at most.
    """
    wanted = conditions(GrantFilter(grant.owner.username, grant.client_id))
    some = sa.select(_grant.c.id).where(*wanted).limit(most + ENDED_AT_ONCE).subquery()
    beyond = connection.scalars(sa.select(sa.func.count()).select_from(some)).one() - most
    if beyond <= 0:
        return []
    oldest = sa.select(_grant.c.id).where(*wanted, _grant.c.id != grant.id)
    ending = list(connection.scalars(oldest.order_by(_grant.c.last_used).limit(beyond)))
    revoke_all(connection, ending)
    return ending


def count_some(
    connection: sa.Connection, filter: GrantFilter, scope: str, after: str, size: int
) -> Batch:
    """Count the grants of a batch that have a scope."""
    found, last = _seek(connection, filter, scope, after, size)
    return len(found), last


def count(connection: sa.Connection, filter: GrantFilter) -> int:
    """How many grants pass a filter; `MAX_COUNTED` plus one where there are more.

    It reads the entries of one index and no row, however many grants there are.
    """
    if filter == GrantFilter():
        # A revoked grant expires at 0. The newest entries come first: at the other end, an engine may
        # have to pass over many that were pruned.
        some = sa.select(_grant.c.expires).where(_grant.c.expires > 0)
        some = some.order_by(_grant.c.expires.desc())
    else:
        order = _OF_CLIENT if filter.username is None else _OF_USER
        some = sa.select(order[0]).where(*conditions(filter)).order_by(*order)
    limited = some.limit(MAX_COUNTED + 1).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(limited)).scalar_one()


def grants(connection: sa.Connection, filter: GrantFilter, page: Page) -> list[Grant]:
    """A page of the grants that pass a filter, oldest first."""
    created = _grant.c.created
    # A user has few grants, and they are sorted. Without the sum, SQLite would rather read all grants of
    # the client, because an index has them in the right order.
    order = created if filter.username is None else created + 0
    wanted = *conditions(filter), *statements.after(page, order, _grant.c.id)
    by_age = sa.select(_grant).where(*wanted).order_by(order, _grant.c.id)
    return [to_grant(row) for row in connection.execute(statements.page_of(by_age, page))]


def clients_of(connection: sa.Connection, username: str, after: str, limit: int) -> list[str]:
    """The clients that a user has grants with. For each it looks into the index, past all its grants."""
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


def grants_in_use(connection: sa.Connection, username: str, client_id: str, limit: int) -> list[Grant]:
    """A user's grants with a client whose code was exchanged, in the order of an index."""
    wanted = *conditions(GrantFilter(username, client_id)), _grant.c.code_used
    last_first = sa.select(_grant).where(*wanted).order_by(_grant.c.last_used.desc())
    return [to_grant(row) for row in connection.execute(last_first.limit(limit))]


def prune(connection: sa.Connection, now: int, limit: int) -> Pruned:
    """Delete up to ``limit`` expired rows: kept answers, pairs of tokens, grants."""
    answers = _first(connection, _retry.c.digest, limit, _retry.c.expires <= now)
    # Locked, so that no grant is deleted whose last code or token is being used at this moment. Grants
    # that another step has locked are pruned another time.
    expired = sa.select(_grant.c.id).where(_grant.c.expires <= now).order_by(_grant.c.expires)
    limited = expired.limit(limit - len(answers))
    grants = connection.scalars(limited.with_for_update(skip_locked=True)).all()
    pairs, empty = _first_pairs(connection, grants, limit - len(answers))
    deleting = (_retry.c.digest, answers), (_token.c.access_digest, pairs), (_grant.c.id, empty)
    for key, found in deleting:
        if found:
            connection.execute(sa.delete(key.table).where(key.in_(found)))
    return Pruned(len(answers) + len(pairs) + len(empty), grants=len(empty))


def _first(
    connection: sa.Connection, key: sa.Column[Any], limit: int, condition: sa.ColumnElement[bool]
) -> list[Any]:
    return list(connection.scalars(sa.select(key).where(condition).limit(limit)))


def _first_pairs(
    connection: sa.Connection, grants: Sequence[str], left: int
) -> tuple[list[bytes], list[str]]:
    """The pairs of these grants, and the grants that have no further pair; together ``left`` at most."""
    pairs: list[bytes] = []
    empty: list[str] = []
    for grant_id in grants:
        # One grant at a time: a database that is asked for the pairs of many may read all of them before
        # it returns the first.
        pairs += _first(connection, _token.c.access_digest, left, _token.c.grant_id == grant_id)
        if len(pairs) + len(empty) >= left:
            return pairs[: left - len(empty)], empty
        empty.append(grant_id)
    return pairs, empty
