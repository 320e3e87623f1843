"""The clock of a store's server, compared with ours."""

from __future__ import annotations

from ..finding import Finding, warning

#: How far two clocks may be apart, in seconds. All processes judge tokens by their own.
MAX_DRIFT = 5


def judge_clock(store: str, theirs: float, before: float, after: float) -> list[Finding]:
    """Compare a server's clock with ours.

    :param store: the server, for people.
    :param theirs: what it said, in seconds since 1970.
    :param before: our time when it was asked.
    :param after: our time when it had answered.
    """
    difference = max(theirs - after, before - theirs)
    if difference <= MAX_DRIFT:
        return []
    direction = "ahead of" if theirs > after else "behind"
    fault = f"the clock of {store} is {difference:.0f} seconds {direction} the clock of this machine"
    return [warning(fault, "Synchronize both, for example with chrony")]
