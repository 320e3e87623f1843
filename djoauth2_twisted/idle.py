"""Waiting until nothing is under way any more."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed


class WhenIdle:
    """Fires Deferreds once nothing is under way.

    :param is_idle: whether nothing is under way now.
    """

    def __init__(self, is_idle: Callable[[], bool]) -> None:
        self._is_idle = is_idle
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """A Deferred that fires when nothing is under way: at once, if that is so now."""
        if self._is_idle():
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def check(self) -> None:
        """Fire the Deferreds, if nothing is under way. Call this whenever something has ended."""
        if self._waiting and self._is_idle():
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)
