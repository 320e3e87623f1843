"""``/`` of the demo: what it is, and what runs where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.web.iweb import IRequest

from ...web.reading import require_method
from ...web.respond import Response, respond
from .pages import HEADERS, render

if TYPE_CHECKING:
    from .system import System


@frozen
class FrontPage:
    """The page at the root, in place of the server's own."""

    system: System

    async def __call__(self, request: IRequest) -> Response:
        """Answer with the page."""
        require_method(request, "GET")
        return respond(request, 200, HEADERS, render("front.html", system=self.system))
