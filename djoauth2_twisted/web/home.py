"""The pages at the root of the stand-alone site: its home page, its icon and its 404."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from attrs import frozen
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from ..conf import Settings
from ..errors import DJOAuthError, NothingHere
from .endpoint import Endpoint, Folder
from .error_response import ClientErrors
from .mounting import IMount, Mount
from .pages import Pages
from .reading import require_method, require_tls
from .respond import Response


@frozen
class Home:
    """The root of a site around the tree.

    :param mount: finds the mount point of the tree for a request.
    :param metadata_path: the path of the server's metadata (RFC 8414).
    """

    settings: Settings
    pages: Pages
    mount: Callable[[IRequest], Mount]
    metadata_path: str

    def root(self) -> Folder:
        """The root of the site, to which other addresses can be added."""
        root = Folder(self.settings, self.error)
        root.putChild(b"", Endpoint(self._home, self.settings, errors=self.error, name="home"))
        icon = Endpoint(self._icon, self.settings, errors=self.error, name="icon")
        root.putChild(b"favicon.ico", icon)
        return root

    async def _home(self, request: IRequest) -> Response:
        """``/``: what this server is, with a link to "Your applications"."""
        require_tls(request, self.settings)
        require_method(request, "GET")
        if request.postpath:
            raise NothingHere("there is nothing at this address")
        self._note_mount(request)
        return self.pages.page(request, "home.html", {"metadata": self.metadata_path})

    async def _icon(self, request: IRequest) -> Response:
        """``/favicon.ico``, which browsers ask for by themselves."""
        require_method(request, "GET")
        return self.pages.icon(request)

    def error(self, request: IRequest, error: DJOAuthError) -> Response:
        """The page of an error outside the tree, for browsers; JSON for all others."""
        accepted = b",".join(request.requestHeaders.getRawHeaders(b"accept") or [])
        if b"text/html" not in accepted.lower():
            return ClientErrors(self.settings.realm)(request, error)
        self._note_mount(request)
        return self.pages.error(request, error)

    def _note_mount(self, request: IRequest) -> None:
        """Note where the tree is, for the links of a page."""
        cast("Request", request).setComponent(IMount, self.mount(request))
