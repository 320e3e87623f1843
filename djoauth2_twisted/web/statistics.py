"""How often what happens, for the administrator's plots."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..errors import AlreadyExists, TemporarilyUnavailable
from ..interfaces import IRegistry

HOUR = 3600

#: Beyond so many hours that could not be written, the first are given up.
MAX_HOURS = 48

# What is counted, beside refusals: those are named by endpoint and error, as ``token/invalid_grant``.
AUTHORIZATION = "authorization"
DENIAL = "denial"
EXCHANGE = "exchange"
REFRESH = "refresh"
REVOCATION = "revocation"
LOGIN = "login"
FAILED_LOGIN = "failed login"


class Statistics:
    """Counts in memory, by the hour, and adds up in the registry now and then.

    So counting costs nobody a moment, and all processes on a registry add to the same numbers. Who is
    killed loses what was counted since the last `flush`; what the registry did not answer for is added
    again, so it may count twice.

    :param clock: provides IReactorTime.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, registry: IRegistry) -> None:
        self._clock = clock
        self._registry = registry
        self._counts: Counter[tuple[int, str]] = Counter()

    def count(self, kind: str) -> None:
        """Count one more of a kind."""
        self._counts[int(self._clock.seconds()) // HOUR, kind] += 1

    async def counted(self, since: int, hours: int) -> Counter[tuple[int, str]]:
        """As `IRegistry.tallies`, with what this process has not written yet."""
        parts = Counter(await self._registry.statistics(since, hours))
        for (hour, kind), count in self._counts.items():
            if hour >= since:
                parts[hour - hour % hours, kind] += count
        return parts

    async def flush(self) -> None:
        """Write what was counted; what cannot be written now is kept for the next time."""
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            await self._registry.add_statistics(counts)
        except (AlreadyExists, TemporarilyUnavailable):
            self._log.debug("What was counted could not be written; the next time may do.")
            self._counts.update(counts)
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        first = int(self._clock.seconds()) // HOUR - MAX_HOURS
        for key in [key for key in self._counts if key[0] < first]:
            del self._counts[key]
