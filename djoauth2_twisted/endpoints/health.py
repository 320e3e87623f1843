"""``/healthz``: whether the server can serve requests, for load balancers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen
from klein import Response
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import DJOAuthError, TemporarilyUnavailable
from ..web import respond
from ..web.reading import require_method


@frozen
class HealthEndpoint:
    """``/healthz``.

    :param check: raises TemporarilyUnavailable where the server cannot serve requests.
    """

    settings: Settings
    check: Callable[[], Awaitable[None]]

    async def __call__(self, request: IRequest) -> Response:
        """200 where it can, 503 with the name of what is missing where it cannot."""
        try:
            require_method(request, "GET", "HEAD")
            await self.check()
        except TemporarilyUnavailable as error:
            headers = {**respond.NO_STORE, **respond.error_headers(error)}
            return respond.as_json(request, error.status_code, {"status": "store"}, headers)
        except DJOAuthError as error:
            return respond.as_error(request, error, self.settings.realm)
        return respond.as_json(request, 200, {"status": "ok"})
