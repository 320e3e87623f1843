"""How often something may be tried: one leaky bucket for each throttle key."""

from __future__ import annotations

from collections.abc import Mapping

from ..models import Limit

#: How much later than a step that is taken after it a step may be, in seconds.
MAX_DISORDER = 5


def level(level: float, since: int, now: int, limit: Limit) -> float:
    """How many attempts in a bucket still count.

    :param level: how many counted when the bucket was last updated.
    :param since: when that was, in seconds since the epoch.
    :param now: in seconds since the epoch.
    """
    return max(0.0, level - max(0, now - since) * limit.most / limit.seconds)


def updated(since: int, now: int) -> int:
    """When a bucket counts as updated, so that nothing leaks out twice.

    The steps of two servers may be taken in another order than that of their times. A clock that was set
    back further is believed.
    """
    return since if now < since <= now + MAX_DISORDER else now


def waits(levels: Mapping[bytes, float], limits: Mapping[bytes, Limit]) -> dict[bytes, float]:
    """The throttle keys whose bucket has no room for another attempt, and for how many seconds.

    :param levels: how many attempts in each bucket still count, by throttle key.
    """
    over = {key: levels[key] + 1 - limit.most for key, limit in limits.items()}
    return {
        key: count * limits[key].seconds / limits[key].most for key, count in over.items() if count > 0
    }
