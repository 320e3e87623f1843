"""Statistics: what happened by the hour, and how many of each noun there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ...interfaces import MAX_COUNTED, IStatistics
from ...models import Totals
from .tables import Tables
from .users import is_admin


@implementer(IStatistics)
class MemoryStatistics(Tables):
    """`IStatistics` in memory."""

    def add_statistics(self, counts: Mapping[tuple[int, str], int]) -> Deferred[None]:
        for (hour, kind), count in counts.items():
            self._statistics[hour][kind] += count
        return succeed(None)

    def statistics(self, since: int, hours: int) -> Deferred[dict[tuple[int, str], int]]:
        sums: defaultdict[tuple[int, str], int] = defaultdict(int)
        for hour, counts in self._statistics.items():
            if hour >= since:
                for kind, count in counts.items():
                    sums[hour - hour % hours, kind] += count
        return succeed(dict(sums))

    def prune_statistics(self, before: int, limit: int) -> Deferred[int]:
        old = sorted(hour for hour in self._statistics if hour < before)[:limit]
        for hour in old:
            del self._statistics[hour]
        return succeed(len(old))

    def totals(self, now: int) -> Deferred[Totals]:
        admins = sum(is_admin(user) for user in self._users.values())
        sessions = sum(now < session.expires for session in self._sessions.values())
        counts = len(self._clients), len(self._scopes), len(self._users), admins, sessions
        return succeed(Totals(*(min(count, MAX_COUNTED + 1) for count in counts)))
