"""Leases."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ...interfaces import ILeases
from .tables import Tables


@implementer(ILeases)
class MemoryLeases(Tables):
    """`ILeases` in memory."""

    def acquire_lease(self, name: str, holder: str, expires: int, now: int) -> Deferred[bool]:
        other, other_expires = self._leases.get(name, (holder, 0))
        if other != holder and other_expires > now:
            return succeed(False)
        self._leases[name] = (holder, expires)
        return succeed(True)

    def prune_leases(self, now: int, limit: int) -> Deferred[int]:
        expired = [name for name, (_, expires) in self._leases.items() if expires <= now][:limit]
        for name in expired:
            del self._leases[name]
        return succeed(len(expired))
