"""The clock for expiry. What has expired stays expired, even if the system's time goes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from twisted.logger import Logger
from zope.interface import implementer

#: A change of the system's time by this many seconds or more is logged.
LEAP = 5


class IWorkerReactor(IReactorTime, IReactorFromThreads):
    """What threads of ours need of the reactor.

    Of these, the type that Twisted gives ``twisted.internet.reactor`` has only `IReactorTime`. So public
    functions take an `IReactorTime`, and `worker_reactor` leads from there to this.
    """


class IListeningReactor(IReactorTime, IReactorTCP, IReactorUNIX, IReactorSocket):
    """What the ports of the stand-alone server need of the reactor."""


class IProcessReactor(IWorkerReactor, IReactorCore):
    """What a server needs that has the process to itself."""


class ICrewReactor(IProcessReactor, IReactorFDSet):
    """What the parent of worker processes, and each of them, needs of the reactor."""


def worker_reactor(reactor: IReactorTime) -> IWorkerReactor:
    """The same reactor, for code that calls it from threads."""
    return cast("IWorkerReactor", reactor)


@implementer(IReactorTime)
class SteadyClock:
    """A reactor's time in epoch seconds that never goes back, and passes even if the system's time did.

    A token that was refused as expired is refused for as long as the process runs. If the system's time
    leaps forward, the clock follows. A leap in either direction is logged.

    :param monotonic: returns a monotonic time in seconds. The default is the system's; for a reactor
        that is not Twisted's own, as in a test, it is the reactor's time.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, monotonic: Callable[[], float] | None = None) -> None:
        system = time.monotonic if isinstance(reactor, ReactorBase) else reactor.seconds
        self._reactor = reactor
        self._wall: Callable[[], float] = reactor.seconds
        self._monotonic: Callable[[], float] = monotonic or system
        self._last: float = self._wall()
        #: The system's time minus the monotonic time: at the last call, and its maximum.
        self._offset = self._max_offset = self._last - self._monotonic()

    def seconds(self) -> float:
        """The time now, in seconds since the epoch. It is never less than an earlier result."""
        wall, passed = self._wall(), self._monotonic()
        offset = wall - passed
        if abs(offset - self._offset) >= LEAP:
            self._log_leap(offset - self._offset)
        self._offset = offset
        # `max` takes twice as long.
        if offset > self._max_offset:
            self._max_offset = offset
        now = passed + self._max_offset
        if now > self._last:
            self._last = now
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

    def _log_leap(self, leap: float) -> None:
        if leap > 0:
            self._log.warn("The system clock went forward by {leap} seconds.", leap=round(leap))
        else:
            self._log.warn(
                "The system clock went back by {leap} seconds. This process continues with the time "
                "that it had, so that nothing that has expired becomes valid again. After a restart it "
                "uses the system clock.",
                leap=round(-leap),
            )
