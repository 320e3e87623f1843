"""`IThrottles` on SQL: the table ``djoauth2_failure``, whose column ``place`` is the throttle key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import IThrottles
from ...models import Limit
from ...protocol import attempts
from . import schema, statements
from .database import OnDatabase

#: The key of all steps that count attempts. Each of them locks several buckets, and the same address is
#: in many of them. On one writer they follow one another, and no two transactions wait for each other.
_ATTEMPTS = "attempts"


@implementer(IThrottles)
class SQLThrottles(OnDatabase):
    """The leaky buckets. Each verb is one step; the steps are the functions below the class."""

    def count_failure(self, throttle_key: bytes, now: int, per_minute: int) -> Deferred[float]:
        return self.database.write(_count_failure, throttle_key, now, per_minute, key=throttle_key)

    def begin_attempt(self, limits: Mapping[bytes, Limit], now: int) -> Deferred[dict[bytes, float]]:
        return self.database.write(_begin_attempt, limits, now, key=_ATTEMPTS)

    def give_back(self, throttle_keys: Collection[bytes]) -> Deferred[None]:
        return self.database.write(_give_back, throttle_keys, key=_ATTEMPTS)

    def prune_failures(self, before: int, limit: int) -> Deferred[int]:
        old = _bucket.c.since < before
        return self.database.write(
            statements.delete_some, _bucket.c.place, old, limit, key="prune failures"
        )


_bucket = schema.failure

_BY_KEY = sa.select(_bucket).where(_bucket.c.place == sa.bindparam("key")).with_for_update()


def _count_failure(connection: sa.Connection, throttle_key: bytes, now: int, per_minute: int) -> float:
    row = connection.execute(_BY_KEY, {"key": throttle_key}).first()
    if row is None:
        statements.insert(connection, _bucket, {"place": throttle_key, "level": 1.0, "since": now})
        return 1.0
    level = attempts.level(row.level, row.since, now, Limit(per_minute)) + 1
    changed = sa.update(_bucket).where(_bucket.c.place == throttle_key)
    connection.execute(changed.values(level=level, since=now))
    return level


def _begin_attempt(
    connection: sa.Connection, limits: Mapping[bytes, Limit], now: int
) -> dict[bytes, float]:
    kept = {row.place: (row.level, row.since) for row in _locked(connection, limits)}
    levels = {
        key: attempts.level(*kept.get(key, (0.0, now)), now, limit) for key, limit in limits.items()
    }
    waits = attempts.waits(levels, limits)
    if not waits:
        for key, level in sorted(levels.items()):
            row = {"place": key, "level": level + 1, "since": now}
            changed = sa.update(_bucket).where(_bucket.c.place == key)
            connection.execute(changed.values(row) if key in kept else sa.insert(_bucket).values(row))
    return waits


def _give_back(connection: sa.Connection, throttle_keys: Collection[bytes]) -> None:
    for row in _locked(connection, throttle_keys):
        changed = sa.update(_bucket).where(_bucket.c.place == row.place)
        connection.execute(changed.values(level=max(0.0, row.level - 1)))


def _locked(connection: sa.Connection, throttle_keys: Collection[bytes]) -> Sequence[sa.Row[Any]]:
    """The buckets that exist. All processes lock in one order, so that no two wait for each other."""
    found = sa.select(_bucket).where(_bucket.c.place.in_(throttle_keys))
    return connection.execute(found.order_by(_bucket.c.place).with_for_update()).all()
