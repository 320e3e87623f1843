"""An outage of a store: one event when it begins, one when it ends."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IReactorTime

from ..events import StoreBack, StoreLost, write_line

#: How long after the begin of an outage no other is reported, in seconds. Where some requests succeed
#: and others fail, that is one outage and not a hundred.
QUIET = 1.0


#: Gets the begin and the end of an outage.
Report = Callable[[StoreLost | StoreBack], object]


class Outage:
    """Reports when an outage begins and when it ends, but not the requests between.

    :param name: the store, for people.
    """

    def __init__(self, clock: IReactorTime, name: str, report: Report = write_line) -> None:
        self._clock = clock
        self._name = name
        self._report = report
        self._failing: set[Hashable] = set()
        self._reported = False
        self._quiet_until = 0.0

    def failed(self, channel: Hashable, error: str) -> None:
        """The store did not answer.

        :param channel: how it was asked, such as a thread or a kind of command.
        :param error: why, without anything of the request.
        """
        self._failing.add(channel)
        now = self._clock.seconds()
        if not self._reported and now >= self._quiet_until:
            self._reported, self._quiet_until = True, now + QUIET
            self._report(StoreLost(store=self._name, reason=error))

    def answered(self, channel: Hashable) -> None:
        """The store answered. That ends an outage only where the same channel has failed before."""
        if channel not in self._failing:
            return
        self._failing.clear()
        if self._reported:
            self._reported = False
            self._report(StoreBack(store=self._name))
