"""`IStatistics` on SQL: the table ``djoauth2_tally``, and how many rows other tables have."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import MAX_COUNTED, IStatistics
from ...models import Totals
from . import schema, statements
from .database import OnDatabase

#: The key of all steps that write statistics: each of them changes the rows of the current hour.
_STATISTICS = "statistics"


@implementer(IStatistics)
class SQLStatistics(OnDatabase):
    """The statistics. Each verb is one step; the steps are the functions below the class."""

    def add_statistics(self, counts: Mapping[tuple[int, str], int]) -> Deferred[None]:
        return self.database.write(_add_statistics, counts, key=_STATISTICS)

    def statistics(self, since: int, hours: int) -> Deferred[dict[tuple[int, str], int]]:
        return self.database.read(_statistics, since, hours)

    def prune_statistics(self, before: int, limit: int) -> Deferred[int]:
        return self.database.write(_prune_statistics, before, limit, key=_STATISTICS)

    def totals(self, now: int) -> Deferred[Totals]:
        return self.database.read(_totals, now)


_count = schema.statistics


def _add_statistics(connection: sa.Connection, counts: Mapping[tuple[int, str], int]) -> None:
    # All processes write in one order, so that no two of them wait for each other.
    for (hour, kind), count in sorted(counts.items()):
        row = sa.update(_count).where(_count.c.hour == hour, _count.c.kind == kind)
        if connection.execute(row.values(count=_count.c.count + count)).rowcount != 1:
            statements.insert(connection, _count, {"hour": hour, "kind": kind, "count": count})


def _statistics(connection: sa.Connection, since: int, hours: int) -> dict[tuple[int, str], int]:
    # A literal, because PostgreSQL does not take one parameter for the same as another.
    first_hour = _count.c.hour - _count.c.hour % sa.literal_column(str(int(hours)))
    query = (
        sa.select(first_hour, _count.c.kind, sa.func.sum(_count.c.count))
        .where(_count.c.hour >= since)
        .group_by(first_hour, _count.c.kind)
    )
    return {(int(first), kind): int(count) for first, kind, count in connection.execute(query)}


def _prune_statistics(connection: sa.Connection, before: int, limit: int) -> int:
    hour = _count.c.hour
    old = list(connection.scalars(sa.select(hour).where(hour < before).distinct().limit(limit)))
    if old:
        connection.execute(sa.delete(_count).where(hour.in_(old)))
    return len(old)


def _totals(connection: sa.Connection, now: int) -> Totals:
    def count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
        some = sa.select(sa.literal(1)).select_from(table).where(*conditions).limit(MAX_COUNTED + 1)
        return sa.select(sa.func.count()).select_from(some.subquery()).scalar_subquery()

    user, session = schema.user, schema.session
    row = connection.execute(
        sa.select(
            count(schema.client),
            count(schema.scope),
            count(user),
            count(user, user.c.admin, ~user.c.disabled),
            count(session, session.c.expires > now),
        )
    ).one()
    return Totals(*row)
