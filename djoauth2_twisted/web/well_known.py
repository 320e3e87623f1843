"""``/.well-known/``: the metadata documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from klein import Response
from twisted.web.resource import IResource

from ..conf import Settings
from ..errors import DJOAuthError, NothingHere
from . import respond
from .endpoint import Endpoint
from .request import require_method, require_tls

Document = Callable[[], Awaitable[Mapping[str, Any]]]


class WellKnown:
    """Documents by their path below ``/.well-known/``; more may be added at any time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._documents: dict[tuple[bytes, ...], Document] = {}

    def add(self, path: str, document: Document) -> None:
        """Publish a document."""
        self._documents[tuple(path.strip("/").encode("utf-8").split(b"/"))] = document

    def resource(self) -> IResource:
        """What is to be mounted at ``/.well-known``."""
        return Endpoint(self, self._settings, alone=False)

    async def __call__(self, request: Any) -> Response:
        """A document, with and without a slash at the end of its path."""
        segments = tuple(request.postpath)
        if segments and not segments[-1]:
            segments = segments[:-1]
        try:
            require_tls(request, self._settings)
            document = self._documents.get(segments)
            if document is None:
                raise NothingHere("there is nothing at this address")
            require_method(request, "GET", "HEAD")
            # Whoever reads it may keep it for a while, but it belongs to no one's secrets.
            headers = {"Cache-Control": "max-age=60"}
            return respond.as_json(request, 200, await document(), headers)
        except DJOAuthError as error:
            return respond.as_error(request, error, self._settings.realm)
