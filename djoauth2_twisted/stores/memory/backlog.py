"""The backlog of pruning."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ...interfaces import IBacklog
from .tables import Tables


@implementer(IBacklog)
class MemoryBacklog(Tables):
    """`IBacklog` in memory."""

    def count_expired(self, cutoffs: Mapping[str, int]) -> Deferred[Mapping[str, int]]:
        counts = {
            "sessions": sum(each.expires <= cutoffs["sessions"] for each in self._sessions.values()),
            "throttles": sum(since < cutoffs["throttles"] for _, since in self._buckets.values()),
            "leases": sum(expires <= cutoffs["leases"] for _, expires in self._leases.values()),
            "events": sum(event.time < cutoffs["events"] for event in self._events.values()),
            "statistics": sum(
                len(counts) for hour, counts in self._statistics.items() if hour < cutoffs["statistics"]
            ),
        }
        return succeed(counts)
