"""What others have to say about a login, and how long it is waited for."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import TemporarilyUnavailable

_T = TypeVar("_T")

#: So long a Portal or the host application may take to say who somebody is, in seconds.
LOGIN_DEADLINE = 10

_log = Logger()


def answered_in_time(asked: Deferred[_T], clock: IReactorTime, what: str) -> Deferred[_T]:
    """The answer that a Deferred fires with, as long as it comes in time.

    Where it does not, or the one who waits gives up, the Deferred is cancelled, and what it still has
    to say is ignored.

    :param clock: provides IReactorTime.
    :param what: who was asked, as the log names it.
    :raises TemporarilyUnavailable: it has not answered in time.
    """
    waiting: Deferred[_T] = Deferred(lambda _: asked.cancel())

    def answer(said: Any) -> None:
        if not waiting.called:
            waiting.callback(said)

    def late(_: object, seconds: float) -> Failure:
        _log.error("{what} has not answered within {seconds} seconds.", what=what, seconds=seconds)
        return Failure(TemporarilyUnavailable())

    asked.addBoth(answer)
    return waiting.addTimeout(LOGIN_DEADLINE, clock, late)
