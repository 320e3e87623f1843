"""Logging an outage of a store: one line when it begins, one when it ends."""

from __future__ import annotations

from collections.abc import Hashable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

#: How long after the begin of an outage no other is logged, in seconds. Where some requests succeed and
#: others fail, that is one outage and not a hundred.
QUIET = 1.0


class Outage:
    """Logs when an outage begins and when it ends, but not the requests between.

    :param name: the store, for people.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, name: str) -> None:
        self._clock = clock
        self._name = name
        self._failing: set[Hashable] = set()
        self._logged = False
        self._quiet_until = 0.0

    def failed(self, channel: Hashable, error: str) -> None:
        """The store did not answer.

        :param channel: how it was asked, such as a thread or a kind of command.
        :param error: why, without anything of the request.
        """
        self._failing.add(channel)
        now = self._clock.seconds()
        if not self._logged and now >= self._quiet_until:
            self._logged, self._quiet_until = True, now + QUIET
            self._log.error("{name} does not answer: {error}", name=self._name, error=error)

    def answered(self, channel: Hashable) -> None:
        """The store answered. That ends an outage only where the same channel has failed before."""
        if channel not in self._failing:
            return
        self._failing.clear()
        if self._logged:
            self._logged = False
            self._log.info("{name} answers again.", name=self._name)
