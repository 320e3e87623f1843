"""Completes work even if the client hangs up."""

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
    """Begin work of several steps. Cancelling the Deferred stops the waiting, not the work.

    Klein cancels a route when its client hangs up, as a browser does when its user presses a button
    twice. Work of a single step, such as that of the token endpoint, needs no shield: if the step was
    not taken, the client can try again with the same code or token.
    """
    waiting: Deferred[_T] = Deferred()

    def fail(failure: Failure) -> Failure:
        # An error of these classes is an answer and not a failure, even if the client is gone.
        if waiting.called and not failure.check(DJOAuthError, RegistrationError):
            _log.failure("A request failed after its client had gone", failure)
        return failure

    Deferred.fromCoroutine(work).addErrback(fail).chainDeferred(waiting)
    return waiting
