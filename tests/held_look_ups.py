"""Look-ups of a store in memory that a test counts, refuses or holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from djoauth2_twisted.errors import TemporarilyUnavailable


class HeldLookUps:
    """The base of a store whose look-ups go through `look_up`."""

    def __init__(self) -> None:
        super().__init__()
        #: How many there were.
        self.look_ups = 0
        #: Whether the invalidation feed is current.
        self.sure = True
        #: Whether the store does not answer.
        self.away = False
        #: Whether answers wait for `release`.
        self.holding = False
        self._held: list[tuple[Deferred[Any], Deferred[Any]]] = []

    def look_up(self, find: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        """Find now, and answer as the test wants."""
        self.look_ups += 1
        if self.away:
            return fail(TemporarilyUnavailable())
        found = find()
        if not self.holding:
            return found
        waiting: Deferred[Any] = Deferred()
        self._held.append((waiting, found))
        return waiting

    def release(self) -> None:
        """Give the held answers, as they were at the time of the look-up."""
        self.holding = False
        for waiting, found in self._held:
            found.chainDeferred(waiting)
        self._held.clear()
