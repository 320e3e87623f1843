"""The time by which expiry is judged: what is over is over, whatever the system's clock does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

#: A change of the system's time against the time that has passed is told from here on, in seconds.
LEAP = 5


@implementer(IReactorTime)
class SteadyClock:
    """Epoch seconds of a reactor that never go back, and pass while the system's time has gone back.

    What was refused as expired is refused for as long as the process runs. A system's time that leaps is
    followed forward, and told in the log in either direction.

    :param monotonic: seconds that have passed since whenever; by default the system's, or those of a
        reactor that is none of Twisted's own, as a test's.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, monotonic: Callable[[], float] | None = None) -> None:
        system = time.monotonic if isinstance(reactor, ReactorBase) else reactor.seconds
        self._reactor = reactor
        self._wall: Callable[[], float] = reactor.seconds
        self._passed: Callable[[], float] = monotonic or system
        self._last: float = self._wall()
        #: The system's time less the time that has passed: when last looked at, and at the most.
        self._offset = self._most = self._last - self._passed()

    def seconds(self) -> float:
        """The time now, not before any that was given."""
        wall, passed = self._wall(), self._passed()
        offset = wall - passed
        if abs(offset - self._offset) >= LEAP:
            self._tell(offset - self._offset)
        self._offset = offset
        self._most = max(self._most, offset)
        self._last = max(self._last, wall, passed + self._most)
        return self._last

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any
    ) -> IDelayedCall:
        """The reactor's own; see IReactorTime."""
        call: IDelayedCall = self._reactor.callLater(delay, callable, *args, **kw)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """The reactor's own; see IReactorTime."""
        calls: Sequence[IDelayedCall] = self._reactor.getDelayedCalls()
        return calls

    def _tell(self, leap: float) -> None:
        if leap > 0:
            self._log.warn("The system's time has leapt forward by {leap} seconds.", leap=round(leap))
        else:
            self._log.warn(
                "The system's time has gone back by {leap} seconds. This process keeps the time that it "
                "had, so that nothing expired is good again; a restart takes the system's.",
                leap=round(-leap),
            )
