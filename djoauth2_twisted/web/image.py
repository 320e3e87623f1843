"""Clients' pictures, from our own origin, because our pages load nothing from other origins."""

from __future__ import annotations

from urllib.parse import urlencode

from attrs import frozen
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import NothingHere
from ..interfaces import IRegistry
from ..models import Client, Image
from ..protocol import paths
from . import respond
from .mounting import IMount
from .reading import read_query, require_method, require_tls
from .respond import Response

#: The Content-Security-Policy of a picture, so that a browser which opens one directly runs no script.
_POLICY = "default-src 'none'; sandbox"

#: How long browsers keep a picture without asking again.
CACHED = "max-age=86400"


def image_address(request: IRequest, client: Client) -> str:
    """The address of a client's picture, or the empty string where it has none.

    The address changes with the picture, so that a browser may keep the picture that it has.
    """
    if client.image_digest is None:
        return ""
    query = urlencode({"id": client.client_id, "v": client.image_digest.hex()[:16]})
    return f"{IMount(request).path}{paths.IMAGE}?{query}"


@frozen
class ImageEndpoint:
    """``/image/``: the picture of the client whose ``id`` is in the query."""

    settings: Settings
    registry: IRegistry

    async def __call__(self, request: IRequest) -> Response:
        """Answer with the picture.

        :raises NothingHere: the client does not exist or has no picture.
        """
        require_tls(request, self.settings)
        require_method(request, "GET")
        image = await self.registry.find_image(read_query(request).get("id") or "")
        if image is None:
            raise NothingHere("there is no such picture")
        return image_response(request, image)


def image_response(request: IRequest, image: Image) -> Response:
    """The response with a picture, which browsers keep."""
    headers = {
        "Content-Type": image.media_type,
        "Content-Security-Policy": _POLICY,
        "Cache-Control": CACHED,
    }
    return respond.respond(request, 200, headers, image.content)
