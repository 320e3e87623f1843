"""Work that goes on to its end where a client hangs up."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import DJOAuthError, RegistrationError

_T = TypeVar("_T")
_log = Logger()


def shield(work: Coroutine[Any, Any, _T]) -> Deferred[_T]:
    """Begin work of several steps; cancelling ends the waiting for it, and not the work.

    Klein cancels what answers a request when its client hangs up, as a browser does whose user presses
    a button twice. Where one step is all, as at the token endpoint, that is well: if it has not begun, a
    client that tries again finds its code or token as good as before.
    """
    waiting: Deferred[_T] = Deferred()

    def fail(failure: Failure) -> Failure:
        # What would be answered is no fault of ours, whether anybody is there to read it or not.
        if waiting.called and not failure.check(DJOAuthError, RegistrationError):
            _log.failure("What a client did not wait for has failed", failure)
        return failure

    Deferred.fromCoroutine(work).addErrback(fail).chainDeferred(waiting)
    return waiting
