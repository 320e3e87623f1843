"""A deadline for the answer of a Portal or a host application about a login."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import TemporarilyUnavailable

_T = TypeVar("_T")

#: The longest time that a Portal or the host application may take to answer, in seconds.
LOGIN_DEADLINE = 10

_log = Logger()


def answered_in_time(asked: Deferred[_T], clock: IReactorTime, what: str) -> Deferred[_T]:
    """The answer that a Deferred fires with, if it comes within `LOGIN_DEADLINE`.

    After the deadline, or if the returned Deferred is cancelled, the Deferred is cancelled and its later
    answer is ignored.

    :param what: the name in the log of the object that was asked.
    :raises TemporarilyUnavailable: there is no answer within the deadline.
    """
    waiting: Deferred[_T] = Deferred(lambda _: asked.cancel())

    def answer(said: Any) -> None:
        if not waiting.called:
            waiting.callback(said)

    def late(_: object, seconds: float) -> Failure:
        _log.error("{what} did not answer within {seconds} seconds.", what=what, seconds=seconds)
        return Failure(TemporarilyUnavailable())

    asked.addBoth(answer)
    return waiting.addTimeout(LOGIN_DEADLINE, clock, late)
