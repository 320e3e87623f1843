"""Pruning: what is over is forgotten, in steps so small that others hardly wait for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.task import deferLater

from .errors import TemporarilyUnavailable
from .interfaces import IRegistry, ITokenStore
from .protocol.steps import AIM, FIRST, MIN_LIMIT, next_limit

#: How long failures are remembered, in seconds: long after they have ceased to count.
FAILURES_KEPT = 7200

#: How long the audit trail and the tallies are kept, in days.
EVENTS_KEPT = 366
STATISTICS_KEPT = 40


async def clean_up(
    registry: IRegistry, tokens: ITokenStore, now: int, clock: Any = None
) -> tuple[int, int]:
    """Forget all that is over.

    :param now: in seconds since the epoch.
    :param clock: provides IReactorTime: by it the steps are measured, and after each there is a pause
        that is as long as the step was. Without it, all steps are alike and without a pause.
    :returns: how many grants, and how many logins.
    """
    grants = 0

    async def prune_tokens(limit: int) -> int:
        nonlocal grants
        pruned = await tokens.prune(now, limit)
        grants += pruned.grants
        return pruned

    await _to_the_end(prune_tokens, clock)
    logins = await _to_the_end(lambda limit: registry.prune_sessions(now, limit), clock)
    old = now - FAILURES_KEPT
    await _to_the_end(lambda limit: registry.prune_failures(old, limit), clock)
    await _to_the_end(lambda limit: registry.prune_leases(now, limit), clock)
    oldest = (now - EVENTS_KEPT * 86400) * 1000
    await _to_the_end(lambda limit: registry.prune_events(oldest, limit), clock)
    first = now // 3600 - STATISTICS_KEPT * 24
    await _to_the_end(lambda limit: registry.prune_statistics(first, limit), clock)
    return grants, logins


async def _to_the_end(prune: Callable[[int], Awaitable[int]], clock: Any) -> int:
    """Prune until a step finds less than it may prune; how many rows went in all."""
    total, limit = 0, FIRST
    while True:
        begun = clock.seconds() if clock else 0
        try:
            pruned = await prune(limit)
        except TemporarilyUnavailable:
            if limit == MIN_LIMIT:
                raise
            # It may have been too much at once.
            limit = MIN_LIMIT
            continue
        total += pruned
        if pruned < limit:
            return total
        took = clock.seconds() - begun if clock else 0
        limit = next_limit(limit, took)
        if took > 0:
            # Who came meanwhile has had to wait. A clock may leap, but no pause is that long.
            await deferLater(clock, min(took, 10 * AIM))
