"""Invalidation by counters: one for each partition, in the table ``djoauth2_change``.

A transaction raises the counters of its partitions. Other processes read all of them and see which were
raised since.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from .. import schema
from ..compiled import Compiled
from ..partitions import ALL

_counter = schema.invalidation_counter

#: For an insertion of a counter that exists already. It has no parameter, so that PyMySQL sends all
#: rows at once.
RAISED: dict[str, Any] = {"counter": sa.literal_column("djoauth2_change.counter + 1")}

#: Where a connection keeps the counters that it read last.
KNOWN = "djoauth2_known"

_ALL = sa.select(
    sa.func.group_concat(
        sa.cast(_counter.c.part, sa.String).concat(" ").concat(sa.cast(_counter.c.counter, sa.String))
    )
)


class Counters:
    """An `InvalidationChannel` over counters.

    :param upsert: inserts a counter, or raises it where it exists.
    """

    def __init__(self, upsert: Any) -> None:
        self._upsert = Compiled(upsert)

    def publish(self, connection: sa.Connection, partitions: Iterable[int]) -> None:
        # Last in the transaction and in one order everywhere, so that no two processes wait for each
        # other.
        rows = [{"part": partition, "counter": 1} for partition in sorted(partitions)]
        self._upsert.change_each(connection, rows)

    def poll(self, connection: sa.Connection) -> set[int] | None:
        known, found = connection.info.get(KNOWN), self._read(connection)
        connection.info[KNOWN] = found
        if known is None:
            return None
        raised = {int(entry.split()[0]) for entry in found - known}
        # A restore raises all.
        return None if raised.issuperset(ALL) else raised

    def _read(self, connection: sa.Connection) -> frozenset[str]:
        # All in one text, since a thousand rows cost a driver written in Python some milliseconds.
        return frozenset((connection.scalar(_ALL) or "").split(",")) - {""}
