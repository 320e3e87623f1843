"""`IBacklog` on SQL: one query for all tables, each by the index that its pruning uses."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import IBacklog
from . import schema
from .database import OnDatabase
from .statements import count


@implementer(IBacklog)
class SQLBacklog(OnDatabase):
    """The backlog of the registry's tables."""

    def count_expired(self, cutoffs: Mapping[str, int]) -> Deferred[Mapping[str, int]]:
        return self.database.read(_of_registry, cutoffs)


def _of_registry(connection: sa.Connection, cutoffs: Mapping[str, int]) -> Mapping[str, int]:
    session, failure, lease = schema.session, schema.failure, schema.lease
    event, statistics = schema.event, schema.statistics
    counts = {
        "sessions": count(session, session.c.expires <= cutoffs["sessions"]),
        "throttles": count(failure, failure.c.since < cutoffs["throttles"]),
        "leases": count(lease, lease.c.expires <= cutoffs["leases"]),
        "events": count(event, event.c.time < cutoffs["events"]),
        "statistics": count(statistics, statistics.c.hour < cutoffs["statistics"]),
    }
    return _queried(connection, counts)


def of_tokens(connection: sa.Connection, cutoffs: Mapping[str, int]) -> Mapping[str, int]:
    """The backlog of the tables of a token store."""
    grant, retry = schema.grant, schema.retry
    counts = {
        "grants": count(grant, grant.c.expires <= cutoffs["grants"]),
        "answers": count(retry, retry.c.expires <= cutoffs["answers"]),
    }
    return _queried(connection, counts)


def _queried(connection: sa.Connection, counts: Mapping[str, sa.ScalarSelect[int]]) -> Mapping[str, int]:
    row = connection.execute(sa.select(*counts.values())).one()
    return dict(zip(counts, row, strict=True))
