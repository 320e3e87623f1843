"""`IBacklog` on SQL: one query for all tables, each by the index that its pruning uses."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import MAX_COUNTED, IBacklog
from . import schema
from .database import OnDatabase


@implementer(IBacklog)
class SQLBacklog(OnDatabase):
    """The backlog of the registry's tables."""

    def count_expired(self, cutoffs: Mapping[str, int]) -> Deferred[Mapping[str, int]]:
        return self.database.read(_of_registry, cutoffs)


def _of_registry(connection: sa.Connection, cutoffs: Mapping[str, int]) -> Mapping[str, int]:
    last = {
        "sessions": (schema.session.c.expires, cutoffs["sessions"]),
        "throttles": (schema.failure.c.since, cutoffs["throttles"] - 1),
        "leases": (schema.lease.c.expires, cutoffs["leases"]),
        "events": (schema.event.c.time, cutoffs["events"] - 1),
        "statistics": (schema.statistics.c.hour, cutoffs["statistics"] - 1),
    }
    return _counts(connection, last)


def of_tokens(connection: sa.Connection, cutoffs: Mapping[str, int]) -> Mapping[str, int]:
    """The backlog of the tables of a token store."""
    last = {
        "grants": (schema.grant.c.expires, cutoffs["grants"]),
        "answers": (schema.retry.c.expires, cutoffs["answers"]),
    }
    return _counts(connection, last)


def _counts(
    connection: sa.Connection, last: Mapping[str, tuple[sa.Column[int], int]]
) -> Mapping[str, int]:
    """How many rows of each kind have a time up to the last one that has expired."""
    counts = []
    for column, time in last.values():
        # In the order of the index, because PostgreSQL might read the whole table otherwise. The newest
        # come first: at the other end, an engine may have to pass over many that were pruned.
        expired = sa.select(column).where(column <= time).order_by(column.desc())
        some = expired.limit(MAX_COUNTED + 1).subquery()
        counts.append(sa.select(sa.func.count()).select_from(some).scalar_subquery())
    row = connection.execute(sa.select(*counts)).one()
    return dict(zip(last, row, strict=True))
