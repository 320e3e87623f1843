"""``/`` of the demo: what it is, and what runs where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen
from klein import Klein

from .pages import page

if TYPE_CHECKING:
    from .system import System


@frozen
class FrontPage:
    """The page at the root, in place of the server's own."""

    system: System

    app = Klein()

    @app.route("/", methods=["GET"], strict_slashes=False)
    def front(self, request: Any) -> bytes:
        """Answer with the page."""
        return page(request, "front.html", system=self.system)
