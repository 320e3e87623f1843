"""``/healthz`` and ``/livez``: whether the server can serve requests, and whether it runs at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import TemporarilyUnavailable
from ..interfaces import IRegistry, ITokenStore
from ..readiness import Readiness
from ..web import respond
from ..web.error_response import status_headers
from ..web.pages import Pages
from ..web.reading import require_method
from ..web.respond import Response

#: How long the result of a write counts, in seconds.
WRITE_INTERVAL = 3


class NotWritable(TemporarilyUnavailable):
    """The store answers, but takes no writes: it is a replica, or its disk or memory is full."""


class _SharedCheck:
    """A check whose result counts for a time, so that many probes cost no more than one.

    :param check: its Deferred fails with `TemporarilyUnavailable`, within its own deadline.
    """

    def __init__(self, clock: IReactorTime, check: Callable[[], Deferred[None]]) -> None:
        self._clock = clock
        self._check = check
        self._ends = -inf
        self._error: BaseException | None = None
        self._waiting: list[Deferred[BaseException | None]] = []

    async def __call__(self) -> None:
        """Raise what the check has failed with, now or a moment ago."""
        if self._clock.seconds() < self._ends:
            error = self._error
        else:
            # A probe that hangs up cancels only its own Deferred.
            waiting: Deferred[BaseException | None] = Deferred()
            self._waiting.append(waiting)
            if len(self._waiting) == 1:
                checking = maybeDeferred(self._check)
                checking.addCallbacks(self._end, lambda failure: self._end(failure.value))
            error = await waiting
        if error is not None:
            raise error

    def _end(self, error: BaseException | None) -> None:
        self._ends, self._error = self._clock.seconds() + WRITE_INTERVAL, error
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            # It was cancelled if its probe has hung up.
            if not each.called:
                each.callback(error)


class _Writable(Protocol):
    def check_writable(self) -> Deferred[None]:
        """Write something, however little. Fails with `TemporarilyUnavailable`."""


class StoreHealth:
    """Whether the stores are open, answer, and take writes.

    :param database: None where the stores need no opening; they are then only read.
    """

    def __init__(
        self,
        clock: IReactorTime,
        readiness: Readiness,
        database: _Writable | None,
        registry: IRegistry,
        tokens: ITokenStore,
    ) -> None:
        self._readiness = readiness
        self._registry = registry
        self._tokens = tokens
        self._write = _SharedCheck(clock, lambda: database.check_writable()) if database else None

    async def check(self) -> None:
        """Raise TemporarilyUnavailable where a store does not answer, NotWritable if it only reads."""
        if not self._readiness.is_ready:
            raise TemporarilyUnavailable("the store is not open")
        await self._registry.find_scopes(("",))
        await self._tokens.find_access_token(bytes(32))
        if self._write is None:
            return
        try:
            await self._write()
        except TemporarilyUnavailable:
            raise NotWritable() from None


@frozen
class HealthEndpoint:
    """``/healthz``.

    :param check: raises TemporarilyUnavailable if the store does not answer, and `NotWritable` if it
        takes no writes.
    :param pages: the pages that must be usable, if the server has some.
    """

    settings: Settings
    check: Callable[[], Awaitable[None]]
    pages: Pages | None = None
    _log = Logger()

    async def __call__(self, request: IRequest) -> Response:
        """Answer 200 if the server can serve requests, else 503 with the name of what fails."""
        require_method(request, "GET", "HEAD")
        try:
            await self.check()
        except TemporarilyUnavailable as error:
            what = "writes" if isinstance(error, NotWritable) else "store"
            return _unavailable(request, what, error)
        try:
            if self.pages is not None:
                self.pages.check()
        except Exception as error:  # A template of the operator's may raise anything.
            self._log.error("Pages cannot be made: {error!r}", error=error)
            return _unavailable(request, "pages", TemporarilyUnavailable())
        return respond.as_json(request, 200, {"status": "ok"})


@frozen
class LivenessEndpoint:
    """``/livez``: for those that restart a process that does not answer.

    It does not depend on the store, because a restart would not bring that back.
    """

    settings: Settings

    async def __call__(self, request: IRequest) -> Response:
        """Answer 200."""
        require_method(request, "GET", "HEAD")
        return respond.as_json(request, 200, {"status": "ok"})


def _unavailable(request: IRequest, what: str, error: TemporarilyUnavailable) -> Response:
    headers = {**respond.NO_STORE, **status_headers(error)}
    return respond.as_json(request, error.status_code, {"status": what}, headers)
