"""Whether a database takes writes. A replica, a full disk and a file without rights do not."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from . import schema, statements

#: The least space on the disk of a file, in bytes. SQLite reuses the space of its log, so a small write
#: may succeed although a new grant finds no place.
MIN_SPACE = 256 * 1024

_lease = schema.lease


def has_space(path: Path) -> bool:
    """Whether there is space on the disk of a file. False also where its folder is gone."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize >= MIN_SPACE


def write(connection: sa.Connection, name: str, now: int) -> None:
    """Write a row: a lease that has expired, so that it is pruned with others.

    :param name: of the lease; each process has its own, so that none waits for another.
    :param now: in seconds since the epoch.
    """
    changed = connection.execute(sa.update(_lease).where(_lease.c.name == name).values(expires=now))
    if changed.rowcount == 0:
        statements.insert(connection, _lease, {"name": name, "holder": "", "expires": now})
