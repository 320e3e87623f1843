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

#: The key of all steps that count. Each of them locks several buckets, and the same address is in many
#: of them. On one writer they follow one another, and no two transactions wait for each other.
_COUNTS = "counts"


@implementer(IThrottles)
class SQLThrottles(OnDatabase):
    """The leaky buckets. Each verb is one step; the steps are the functions below the class."""

    def count_failures(self, limits: Mapping[bytes, Limit], now: int) -> Deferred[dict[bytes, float]]:
        return self.database.write(_count_failures, limits, now, key=_COUNTS)

    def begin_attempt(self, limits: Mapping[bytes, Limit], now: int) -> Deferred[dict[bytes, float]]:
        return self.database.write(_begin_attempt, limits, now, key=_COUNTS)

    def give_back(self, throttle_keys: Collection[bytes]) -> Deferred[None]:
        return self.database.write(_give_back, throttle_keys, key=_COUNTS)

    def prune_failures(self, before: int, limit: int) -> Deferred[int]:
        old = _bucket.c.since < before
        return self.database.write(
            statements.delete_some, _bucket.c.place, old, limit, key="prune failures"
        )


_bucket = schema.failure


def _count_failures(
    connection: sa.Connection, limits: Mapping[bytes, Limit], now: int
) -> dict[bytes, float]:
    kept = _kept(connection, limits)
    levels = {key: level + 1 for key, level in _levels(kept, limits, now).items()}
    _put(connection, kept, levels, now)
    return levels


def _begin_attempt(
    connection: sa.Connection, limits: Mapping[bytes, Limit], now: int
) -> dict[bytes, float]:
    kept = _kept(connection, limits)
    levels = _levels(kept, limits, now)
    waits = attempts.waits(levels, limits)
    if not waits:
        _put(connection, kept, {key: level + 1 for key, level in levels.items()}, now)
    return waits


#: The level of a bucket, and when it was updated last, by throttle key.
_Kept = Mapping[bytes, tuple[float, int]]


def _kept(connection: sa.Connection, throttle_keys: Collection[bytes]) -> _Kept:
    return {row.place: (row.level, row.since) for row in _locked(connection, throttle_keys)}


def _levels(kept: _Kept, limits: Mapping[bytes, Limit], now: int) -> dict[bytes, float]:
    return {key: attempts.level(*kept.get(key, (0.0, now)), now, limits[key]) for key in limits}


def _put(connection: sa.Connection, kept: _Kept, levels: Mapping[bytes, float], now: int) -> None:
    for key, level in sorted(levels.items()):
        since = attempts.updated(kept[key][1], now) if key in kept else now
        row = {"place": key, "level": level, "since": since}
        if key in kept:
            connection.execute(sa.update(_bucket).where(_bucket.c.place == key).values(row))
        else:
            statements.insert(connection, _bucket, row)


def _give_back(connection: sa.Connection, throttle_keys: Collection[bytes]) -> None:
    for row in _locked(connection, throttle_keys):
        changed = sa.update(_bucket).where(_bucket.c.place == row.place)
        connection.execute(changed.values(level=max(0.0, row.level - 1)))


def _locked(connection: sa.Connection, throttle_keys: Collection[bytes]) -> Sequence[sa.Row[Any]]:
    """The buckets that exist. All processes lock in one order, so that no two wait for each other."""
    found = sa.select(_bucket).where(_bucket.c.place.in_(throttle_keys))
    return connection.execute(found.order_by(_bucket.c.place).with_for_update()).all()
