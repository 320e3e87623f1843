"""``/.well-known/``: the metadata documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from klein import Response
from twisted.web.resource import IResource

from ..conf import Settings
from ..errors import DJOAuthError, NothingHere
from . import respond
from .endpoint import Endpoint
from .request import query_of, require_method, require_tls

#: Made for a request.
Document = Callable[[Any], Awaitable[Mapping[str, Any]]]


class WellKnown:
    """Documents by their path below ``/.well-known/``; more may be added at any time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._documents: dict[tuple[tuple[bytes, ...], bytes], Document] = {}

    def add(self, address: str, document: Document) -> None:
        """Publish a document.

        :param address: its path, percent-encoded, and its query where there is one.
        """
        path, _, query = address.partition("?")
        segments = tuple(map(unquote_to_bytes, path.strip("/").split("/")))
        self._documents[segments, query.encode("ascii")] = document

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
            documents = self._documents
            document = documents.get((segments, query_of(request))) or documents.get((segments, b""))
            if document is None:
                raise NothingHere("there is nothing at this address")
            require_method(request, "GET", "HEAD")
            # Whoever reads it may keep it for a while, but it belongs to no one's secrets.
            headers = {"Cache-Control": "max-age=60"}
            return respond.as_json(request, 200, await document(request), headers)
        except DJOAuthError as error:
            return respond.as_error(request, error, self._settings.realm)
