"""How often something may be tried: for each place a bucket that attempts fill, and that leaks."""

from __future__ import annotations

from collections.abc import Mapping

from ..models import Limit


def level(level: float, since: int, now: int, limit: Limit) -> float:
    """How many attempts of a place still count.

    :param level: how many counted when it was last looked at.
    :param since: when that was, in seconds since the epoch.
    """
    return max(0.0, level - max(0, now - since) * limit.most / limit.seconds)


def waits(levels: Mapping[bytes, float], limits: Mapping[bytes, Limit]) -> dict[bytes, float]:
    """The places at which one more attempt would be one too many, and for how many seconds.

    :param levels: how many attempts of each place still count.
    """
    over = {place: levels[place] + 1 - limit.most for place, limit in limits.items()}
    return {
        place: count * limits[place].seconds / limits[place].most
        for place, count in over.items()
        if count > 0
    }
