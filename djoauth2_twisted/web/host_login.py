"""``/login/`` and ``/logout/`` where logins are the host application's own."""

from __future__ import annotations

from attrs import frozen
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import NothingHere
from . import respond
from .login import local_path
from .mounting import IMount
from .reading import read_query, require_method, require_tls
from .respond import Response
from .sessions import Sessions


@frozen
class HostLogin:
    """Sends browsers on to where they can log in."""

    settings: Settings
    sessions: Sessions

    async def login(self, request: IRequest) -> Response:
        """Go on to the host's page, or to where the browser wanted to if it is logged in."""
        require_tls(request, self.settings)
        require_method(request, "GET")
        returning_to = local_path(read_query(request).get("next"))
        returning_to = returning_to or f"{IMount(request).path}/account/"
        return respond.redirect(request, await self.sessions.login_address(request, returning_to))

    async def logout(self, request: IRequest) -> Response:
        """That is the host's to do."""
        raise NothingHere("there is nothing at this address")
