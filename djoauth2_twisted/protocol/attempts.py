"""How often something may be tried: a leaky bucket for each throttle key, filled by attempts."""

from __future__ import annotations

from collections.abc import Mapping

from ..models import Limit


def level(level: float, since: int, now: int, limit: Limit) -> float:
    """How many attempts of a throttle key still count.

    :param level: how many counted at the last look.
    :param since: the time of that, in seconds since the epoch.
    :param now: in seconds since the epoch.
    """
    return max(0.0, level - max(0, now - since) * limit.most / limit.seconds)


def waits(levels: Mapping[bytes, float], limits: Mapping[bytes, Limit]) -> dict[bytes, float]:
    """The throttle keys at which one more attempt is too many, and for how many seconds.

    :param levels: how many attempts of each key still count.
    """
    excess = {key: levels[key] + 1 - limit.most for key, limit in limits.items()}
    return {
        key: count * limits[key].seconds / limits[key].most for key, count in excess.items() if count > 0
    }
