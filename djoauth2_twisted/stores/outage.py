"""What the log is told of an outage, for all stores."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.logger import Logger

#: Between two outages that are told of, in seconds: where some requests succeed and others do not, that
#: is one outage and no hundred.
QUIET = 1.0


class Outage:
    """Tells when an outage begins and when it is over, and of no request between.

    :param clock: provides IReactorTime.
    :param name: what it is that does not answer.
    """

    _log = Logger()

    def __init__(self, clock: Any, name: str) -> None:
        self._clock = clock
        self._name = name
        self._failing: set[Hashable] = set()
        self._told = False
        self._quiet_until = 0.0

    def failed(self, part: Hashable, error: str) -> None:
        """A part, such as a thread or a kind of command, was not answered.

        :param error: why, without anything that was asked.
        """
        self._failing.add(part)
        now = self._clock.seconds()
        if not self._told and now >= self._quiet_until:
            self._told, self._quiet_until = True, now + QUIET
            self._log.error("{name} does not answer: {error}", name=self._name, error=error)

    def answered(self, part: Hashable) -> None:
        """A part was answered, which says nothing of another that was not."""
        if part not in self._failing:
            return
        self._failing.clear()
        if self._told:
            self._told = False
            self._log.info("{name} answers again.", name=self._name)
