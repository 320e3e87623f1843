"""``/healthz`` and ``/livez``: whether the server can serve requests, and whether it runs at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen
from twisted.logger import Logger
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import TemporarilyUnavailable
from ..web import respond
from ..web.error_response import status_headers
from ..web.pages import Pages
from ..web.reading import require_method
from ..web.respond import Response


@frozen
class HealthEndpoint:
    """``/healthz``.

    :param check: raises TemporarilyUnavailable if the store does not answer.
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
            return _unavailable(request, "store", error)
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
