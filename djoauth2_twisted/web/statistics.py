"""Statistics for the administrator: how often each kind of event happens, and clients' last uses."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..bounded_dict import BoundedDict
from ..errors import AlreadyExists, TemporarilyUnavailable
from ..events import TokensIssued
from ..interfaces import IRegistry

HOUR = 3600

#: The number of hours whose counts are kept while they cannot be written. Older counts are dropped.
MAX_HOURS = 48

#: For how many clients the last use is remembered at once.
MAX_CLIENTS = 10_000

# The kinds of events. The name of a refusal has its endpoint and error, as ``token/invalid_grant``.
AUTHORIZATION = "authorization"
DENIAL = "denial"
EXCHANGE = "exchange"
REFRESH = "refresh"
REVOCATION = "revocation"
LOGIN = "login"
FAILED_LOGIN = "failed login"

#: The error of an authorization request that cannot be answered with a redirect.
MISSING_REDIRECT_URI = "missing_redirect_uri"


class Statistics:
    """Counts in memory, by the hour, and adds the counts to the registry from time to time.

    So counting does not delay a request, and all processes on a registry add to the same numbers. A
    process that is killed loses the counts since its last `flush`. If the registry's answer to a write
    is lost, the counts are written again, so an event may count twice.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, registry: IRegistry) -> None:
        self._clock = clock
        self._registry = registry
        self._counts: Counter[tuple[int, str]] = Counter()
        #: When clients last got tokens, as far as that is not written yet.
        self._uses: dict[str, int] = {}
        #: The hours of the last uses that are written, by client.
        self._written: BoundedDict[str, int] = BoundedDict(MAX_CLIENTS)

    def note_use(self, event: TokensIssued) -> None:
        """Note that a client has got tokens. Of one hour, only the first time is written."""
        now = int(self._clock.seconds())
        if self._written.get(event.client_id) != now // HOUR and len(self._uses) < MAX_CLIENTS:
            self._uses[event.client_id] = now

    def count(self, kind: str) -> None:
        """Count an event of a kind."""
        self._counts[int(self._clock.seconds()) // HOUR, kind] += 1

    async def counted(self, since: int, hours: int) -> Counter[tuple[int, str]]:
        """The counts of `IRegistry.statistics`, with those that this process has not written yet."""
        counts = Counter(await self._registry.statistics(since, hours))
        for (hour, kind), count in self._counts.items():
            if hour >= since:
                counts[hour - hour % hours, kind] += count
        return counts

    async def flush(self) -> None:
        """Write the counts and uses to the registry. If that fails, they are kept for the next time."""
        await self._flush_uses()
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            await self._registry.add_statistics(counts)
        except (AlreadyExists, TemporarilyUnavailable):
            self._log.debug("The statistics could not be saved. The server will try again.")
            self._counts.update(counts)
            self._forget_oldest()

    async def _flush_uses(self) -> None:
        uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            await self._registry.note_uses(uses)
        except TemporarilyUnavailable:
            self._uses = {**uses, **self._uses}
            return
        for client_id, time in uses.items():
            self._written.set(client_id, time // HOUR)

    def _forget_oldest(self) -> None:
        first = int(self._clock.seconds()) // HOUR - MAX_HOURS
        for key in [key for key in self._counts if key[0] < first]:
            del self._counts[key]
