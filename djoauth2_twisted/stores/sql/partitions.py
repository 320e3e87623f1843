"""Partitions: all grants are divided into about a thousand of them, for invalidation.

A process tells the others in which partitions an access token has ended. So little is written, and
read, however many grants there are. One more partition is that of all clients: they change seldom.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import sqlalchemy as sa

#: So many that two revoked grants seldom share one; so few that all counters fit on two pages of a
#: database, and all numbers into one notification of PostgreSQL.
PARTITIONS = 1024

#: The partition of the clients, whose number comes after those of the grants.
CLIENTS = PARTITIONS

#: All of them.
ALL = range(PARTITIONS + 1)

#: Where a connection keeps the partitions in which its transaction ends access tokens, or changes
#: clients.
_ENDED = "djoauth2_ended"


def partition(grant_id: str) -> int:
    """The partition that a grant belongs to."""
    return crc32(grant_id.encode("utf-8", "surrogateescape")) % PARTITIONS


def collect(connection: sa.Connection, ended: set[int]) -> None:
    """From now on, have `note` add to a set."""
    connection.info[_ENDED] = ended


def note(connection: sa.Connection, grant_ids: Iterable[str]) -> None:
    """The connection's transaction ends access tokens of these grants."""
    connection.info[_ENDED].update(map(partition, grant_ids))


def note_clients(connection: sa.Connection) -> None:
    """The connection's transaction changes clients."""
    connection.info[_ENDED].add(CLIENTS)
