"""`ILeases` on SQL: the table ``djoauth2_lease``."""

from __future__ import annotations

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import AlreadyExists
from ...interfaces import ILeases
from . import schema, statements
from .database import OnDatabase


@implementer(ILeases)
class SQLLeases(OnDatabase):
    """The leases. Each verb is one step; the steps are the functions below the class."""

    def acquire_lease(self, name: str, holder: str, expires: int, now: int) -> Deferred[bool]:
        def taken(failure: Failure) -> bool:
            failure.trap(AlreadyExists)
            return False

        acquiring = self.database.write(_acquire_lease, name, holder, expires, now, key=name)
        return acquiring.addErrback(taken)

    def prune_leases(self, now: int, limit: int) -> Deferred[int]:
        expired = _lease.c.expires <= now
        return self.database.write(
            statements.delete_some, _lease.c.name, expired, limit, key="prune leases"
        )


_lease = schema.lease


def _acquire_lease(connection: sa.Connection, name: str, holder: str, expires: int, now: int) -> bool:
    free = (_lease.c.holder == holder) | (_lease.c.expires <= now)
    renewed = sa.update(_lease).where(_lease.c.name == name, free)
    if connection.execute(renewed.values(holder=holder, expires=expires)).rowcount != 1:
        # It fails where another holder has the lease, since the name is unique.
        statements.insert(connection, _lease, {"name": name, "holder": holder, "expires": expires})
    return True
