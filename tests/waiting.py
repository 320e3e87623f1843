"""Wait for a condition, on a fast machine and on a slow one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from djoauth2_twisted.testing import requests

_T = TypeVar("_T")

#: After this time a test gives up, in seconds. No test passes or fails by a shorter time.
PATIENCE = 180


def result_of(awaitable: Awaitable[_T]) -> _T:
    """The result of what does not have to wait; raises its error where it failed."""

    async def wait() -> _T:
        return await awaitable

    return requests.result_of(Deferred.fromCoroutine(wait()))


def wait_for(condition: Callable[[], _T], what: str, details: Callable[[], object] = str) -> _T:
    """Wait until a condition is true, and return its value. The reactor stands still meanwhile.

    :param what: the name of the condition, for the failure.
    :param details: returns more to print with a failure, such as a log.
    """
    end = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < end, f"{what} did not come about; {details()}"
        time.sleep(0.01)
    return result


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition is true, while the reactor runs."""
    from twisted.internet import reactor

    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about"
        await deferLater(reactor, 0.01)
