"""The periodic work of the server: it deletes expired rows and stores its statistics.

Expired rows are deleted in small steps, so that requests wait only briefly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from .credentials import random_string
from .errors import TemporarilyUnavailable
from .interfaces import IBacklog, IRegistry, ITokenStore
from .protocol.steps import AIM, FIRST_LIMIT, MIN_LIMIT, next_limit

#: The time between two rounds of pruning, in seconds.
PRUNE_INTERVAL = 60

#: How long the lease lasts, and the time between two renewals during a round, in seconds: two may fail.
LEASE, RENEW_INTERVAL = 120, 30

#: The time between two writes of the statistics, in seconds.
FLUSH_INTERVAL = 30

#: How long failed attempts are kept, in seconds. They stop counting long before.
FAILURES_KEPT = 7200

#: How long the audit trail and the statistics are kept, in days.
EVENTS_KEPT = 366
STATISTICS_KEPT = 40


def cutoffs(now: int) -> dict[str, int]:
    """What has expired by now, for each kind of record: the argument of `IBacklog.count_expired`."""
    return {
        **dict.fromkeys(("grants", "answers", "sessions", "leases"), now),
        "throttles": now - FAILURES_KEPT,
        "events": (now - EVENTS_KEPT * 86400) * 1000,
        "statistics": now // 3600 - STATISTICS_KEPT * 24,
    }


class Loop(Protocol):
    """Other periodic work."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


_Work = Callable[[], Coroutine[Any, Any, None]]


class Housekeeping:
    """Prunes a server's stores and stores its statistics, from `start` to `stop`.

    Of all servers on a registry, only the one that holds the lease prunes. It renews the lease during a
    round, and ends the round if another one has the lease.

    :param reactor: times the rounds.
    :param seconds: returns the time in seconds since the epoch.
    :param clean_up: deletes what has expired by a time in epoch seconds; see `clean_up`.
    :param flush: stores the statistics.
    :param tend: rotates the signing keys, if there are any.
    :param others: other loops, which begin and end with these.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        registry: IRegistry,
        *,
        seconds: Callable[[], float],
        clean_up: Callable[[int], Coroutine[Any, Any, object]],
        flush: _Work,
        tend: _Work | None = None,
        others: Sequence[Loop] = (),
    ) -> None:
        self._reactor = reactor
        self._registry = registry
        self._seconds = seconds
        self._clean_up = clean_up
        self._tend = tend
        #: Identifies this server among all on its registry.
        self._holder = random_string(22)
        self._pruning = self._loop(self._prune)
        #: The loops, each with its interval in seconds.
        self._loops = {
            self._pruning: PRUNE_INTERVAL,
            self._loop(self._renew): RENEW_INTERVAL,
            self._loop(flush): FLUSH_INTERVAL,
        }
        self._others = others
        self._holds_lease = False
        #: How many rows had expired at the last count, by kind of record; see `watch_backlog`.
        self.backlog: Mapping[str, int] = {}
        #: The current round of pruning.
        self._round: Deferred[object] = succeed(None)
        self._round_began: float | None = None
        #: When the last round came to its end, in seconds since the epoch; None before the first.
        self.last_pruned: float | None = None

    def watch_backlog(self, *stores: object) -> None:
        """Count, once a minute from `start` on, what has expired in these stores.

        Only the process that prunes counts. A store that does not provide `IBacklog` is left out.
        """
        counted = [store for store in stores if IBacklog.providedBy(store)]
        self._loops[self._loop(partial(self._count, counted))] = PRUNE_INTERVAL

    def start(self) -> None:
        """Start the loops. A round of pruning begins at once."""
        for loop, interval in self._loops.items():
            loop.start(interval, now=loop is self._pruning)
        for other in self._others:
            other.start()

    def round_seconds(self) -> float:
        """How long the current round of pruning has lasted, in seconds; 0 between two rounds."""
        return 0.0 if self._round_began is None else self._seconds() - self._round_began

    def stop(self) -> None:
        """Stop the loops, and cancel the current round of pruning."""
        for loop in self._loops:
            if loop.running:
                loop.stop()
        self._round.cancel()
        for other in self._others:
            other.stop()

    def _loop(self, work: _Work) -> LoopingCall:
        """A loop that continues after a failure of its work."""

        def fail(failure: Failure) -> None:
            self._log.failure("A periodic task failed", failure)

        loop = LoopingCall(lambda: Deferred.fromCoroutine(work()).addErrback(fail))
        loop.clock = self._reactor
        return loop

    async def _prune(self) -> None:
        try:
            self._holds_lease = await self._acquire_lease()
            if self._holds_lease:
                self._round_began = self._seconds()
                if self._tend is not None:
                    await self._tend()
                self._round = Deferred.fromCoroutine(self._clean_up(self._now()))
                await self._round
                self.last_pruned = self._seconds()
        except CancelledError:
            # The server is stopping, or another one prunes.
            pass
        except TemporarilyUnavailable:
            self._log.warn("Expired entries could not be deleted. The server will try again.")
        finally:
            self._round_began = None

    async def _renew(self) -> None:
        """Renew the lease if a round goes on. A process that was suspended may have lost it."""
        if self._round_began is not None:
            with suppress(TemporarilyUnavailable):
                self._holds_lease = await self._acquire_lease()
                if not self._holds_lease:
                    self._round.cancel()

    async def _count(self, stores: Sequence[IBacklog]) -> None:
        self.backlog = {}
        if self._holds_lease:
            with suppress(TemporarilyUnavailable):
                until = cutoffs(self._now())
                counts = [await store.count_expired(until) for store in stores]
                self.backlog = {kind: count for each in counts for kind, count in each.items()}

    def _acquire_lease(self) -> Deferred[bool]:
        now = self._now()
        return self._registry.acquire_lease("prune", self._holder, now + LEASE, now)

    def _now(self) -> int:
        return int(self._seconds())


async def clean_up(
    registry: IRegistry, tokens: ITokenStore, now: int, clock: IReactorTime | None = None
) -> tuple[int, int]:
    """Delete all that has expired.

    :param now: in seconds since the epoch.
    :param clock: measures the steps. Each step is followed by a pause of the same length, of at most
        half a second. Without a clock there are no pauses, and the steps grow to `MAX_LIMIT`.
    :returns: how many grants and how many sessions were deleted.
    :raises TemporarilyUnavailable: the store does not answer even to a step of `MIN_LIMIT` rows.
    """
    grants, until = 0, cutoffs(now)

    async def prune_tokens(limit: int) -> int:
        nonlocal grants
        pruned = await tokens.prune(now, limit)
        grants += pruned.grants
        return pruned

    await _to_the_end(prune_tokens, clock)
    sessions = await _to_the_end(partial(registry.prune_sessions, until["sessions"]), clock)
    await _to_the_end(partial(registry.prune_failures, until["throttles"]), clock)
    await _to_the_end(partial(registry.prune_leases, until["leases"]), clock)
    await _to_the_end(partial(registry.prune_events, until["events"]), clock)
    await _to_the_end(partial(registry.prune_statistics, until["statistics"]), clock)
    return grants, sessions


async def _to_the_end(prune: Callable[[int], Awaitable[int]], clock: IReactorTime | None) -> int:
    """Prune until a step deletes fewer rows than it may. Returns how many rows were deleted in all."""
    total, limit = 0, FIRST_LIMIT
    while True:
        begun = clock.seconds() if clock else 0
        try:
            pruned = await prune(limit)
        except TemporarilyUnavailable:
            if limit == MIN_LIMIT:
                raise
            # The step may have been too large.
            limit = MIN_LIMIT
            continue
        total += pruned
        if pruned < limit:
            return total
        took = clock.seconds() - begun if clock else 0
        limit = next_limit(limit, took)
        if clock and took > 0:
            # Requests that waited for the step go first. The pause is bounded, because a clock may leap.
            await deferLater(clock, min(took, 10 * AIM))
