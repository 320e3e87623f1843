"""Whether a database takes writes. A replica, a full disk and a file without rights do not."""

from __future__ import annotations

import sqlalchemy as sa

from . import schema, statements

_lease = schema.lease


def write(connection: sa.Connection, name: str, now: int) -> None:
    """Write a row: a lease that has expired, so that it is pruned with others.

    :param name: of the lease; each process has its own, so that none waits for another.
    :param now: in seconds since the epoch.
    """
    changed = connection.execute(sa.update(_lease).where(_lease.c.name == name).values(expires=now))
    if changed.rowcount == 0:
        statements.insert(connection, _lease, {"name": name, "holder": "", "expires": now})
