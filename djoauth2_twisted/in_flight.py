"""Requests in flight: the server finishes them before it closes its store."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.server import Request

from .idle import WhenIdle
from .web.reading import has_hung_up
from .web.respond import Response


class InFlight:
    """The requests that are being answered now."""

    def __init__(self) -> None:
        self._requests: set[Request] = set()
        #: How many run their guarded code now. Most of them end before it returns.
        self._entered = 0
        self._idle = WhenIdle(lambda: not (self._requests or self._entered))

    def __contains__(self, request: Request) -> bool:
        return request in self._requests

    def add(self, request: Request) -> None:
        """Count a request until it is answered or its client hangs up. It may be added twice."""
        # Twisted does not tell the end of a request that has ended before.
        if request in self._requests or request.finished or has_hung_up(request):
            return
        self._requests.add(request)
        request.notifyFinish().addBoth(self._end, request)

    def enter(self) -> None:
        """Count a request until `leave`, which is called in the same turn of the reactor."""
        self._entered += 1

    def leave(self, request: Request) -> None:
        """Count a request no more, if it has ended; otherwise until it ends."""
        self._entered -= 1
        if not request.finished:
            self.add(request)
        self._idle.check()

    def _end(self, _: object, request: Request) -> None:
        self._requests.remove(request)
        self._idle.check()

    def when_idle(self) -> Deferred[None]:
        """A Deferred that fires when no request is in flight."""
        return self._idle.wait()

    def counted(
        self, answer: Callable[[Request], Coroutine[Any, Any, Response]]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """An endpoint that counts its requests."""

        async def count_and_answer(request: Request) -> Response:
            self.add(request)
            return await answer(request)

        return count_and_answer
