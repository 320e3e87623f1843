"""``/.well-known/``: the metadata documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource

from ..conf import Settings
from ..errors import NothingHere
from ..protocol.metadata import RESOURCE, resource_metadata, well_known_path
from . import respond
from .endpoint import Endpoint
from .reading import query_of, require_method, require_tls
from .respond import Response

#: Made for a request.
Document = Callable[[IRequest], Awaitable[Mapping[str, Any]]]


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

    def add_resource(self, address: str, issuer: str, scopes: Iterable[str]) -> None:
        """Publish the metadata of a protected resource (RFC 9728, section 2).

        :param address: the public address of the resource.
        """
        metadata = resource_metadata(address, issuer, scopes)

        async def document(_: IRequest) -> Mapping[str, Any]:
            return metadata

        self.add(well_known_path(RESOURCE, address), document)

    def resource(self) -> IResource:
        """What is to be mounted at ``/.well-known``."""
        return Endpoint(self, self._settings, alone=False)

    async def __call__(self, request: IRequest) -> Response:
        """A document, with and without a slash at the end of its path."""
        segments = tuple(request.postpath)
        if segments and not segments[-1]:
            segments = segments[:-1]
        require_tls(request, self._settings)
        documents = self._documents
        document = documents.get((segments, query_of(request))) or documents.get((segments, b""))
        if document is None:
            raise NothingHere("there is nothing at this address")
        require_method(request, "GET", "HEAD")
        # It holds no secret, so anybody may keep it for a while.
        headers = {"Cache-Control": "max-age=60"}
        return respond.as_json(request, 200, await document(request), headers)
