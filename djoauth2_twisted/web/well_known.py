"""``/.well-known/``: the metadata documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from attrs import frozen
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource

from ..conf import Settings
from ..errors import NothingHere
from ..protocol.metadata import RESOURCE, resource_metadata, well_known_path
from . import respond
from .endpoint import Endpoint, Folder
from .mounting import IMount
from .reading import query_of, require_method, require_tls
from .respond import Response

_METHODS = ("GET", "HEAD", "OPTIONS")

# The answer to OPTIONS, which is a preflight if a browser sends it (Fetch standard, section 3.2.2).
_OPTIONS = {
    "Allow": ", ".join(_METHODS),
    "Access-Control-Allow-Methods": ", ".join(_METHODS),
    "Access-Control-Allow-Headers": "*",
}

#: Makes a metadata document for a request.
Document = Callable[[IRequest], Awaitable[Mapping[str, Any]]]


class WellKnown:
    """The documents below ``/.well-known/``. More may be added at any time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._documents: dict[tuple[tuple[bytes, ...], bytes], Document] = {}

    def add(self, address: str, document: Document) -> None:
        """Publish a document.

        :param address: its path below ``/.well-known/``, percent-encoded, and its query if it has one.
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
        """The resource to mount at ``/.well-known``."""
        return Endpoint(self, self._settings, alone=False)

    async def __call__(self, request: IRequest) -> Response:
        """Answer with a document. Its path may end with a slash. Scripts of every origin may read it.

        :raises NothingHere: no document has this address.
        """
        _open_to_scripts(request)
        segments = tuple(request.postpath)
        if segments and not segments[-1]:
            segments = segments[:-1]
        require_tls(request, self._settings)
        documents = self._documents
        document = documents.get((segments, query_of(request))) or documents.get((segments, b""))
        if document is None:
            raise NothingHere("there is nothing at this address")
        return await _answer(request, document)


def put_below(root: Folder, issuer: str, name: bytes, resource: IResource, settings: Settings) -> None:
    """Put a resource below the path of an issuer, if it has one that is free in a site.

    OpenID Connect Discovery 1.0, section 4: the path of the document is appended to the issuer.
    """
    segments = urlsplit(issuer).path.strip("/").split("/")
    if not segments[0] or unquote_to_bytes(segments[0]) in root.children:
        return
    folder = root
    for segment in map(unquote_to_bytes, segments):
        below = Folder(settings)
        folder.putChild(segment, below)
        folder = below
    folder.putChild(name, resource)


@frozen
class BelowIssuer:
    """A document below the tree, where the issuer is the address of the tree."""

    settings: Settings
    issuer: str
    document: Document

    async def __call__(self, request: IRequest) -> Response:
        """Answer with the document.

        :raises NothingHere: the issuer is another address.
        """
        _open_to_scripts(request)
        require_tls(request, self.settings)
        if urlsplit(self.issuer).path.rstrip("/") != IMount(request).path:
            raise NothingHere("there is nothing at this address")
        return await _answer(request, self.document)


def _open_to_scripts(request: IRequest) -> None:
    # RFC 8414 leaves this open; a client in a browser cannot discover the server otherwise. It is
    # safe, because the answer is the same for all, with and without cookies.
    request.responseHeaders.setRawHeaders(b"access-control-allow-origin", [b"*"])


async def _answer(request: IRequest, document: Document) -> Response:
    require_method(request, *_METHODS)
    if request.method == b"OPTIONS":
        return Response(204, _OPTIONS, b"")
    # A document holds no secret, so every cache may keep it for a while.
    headers = {"Cache-Control": "max-age=60"}
    return respond.as_json(request, 200, await document(request), headers)
