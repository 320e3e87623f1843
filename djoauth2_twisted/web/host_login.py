"""``/login/`` and ``/logout/`` where the host application handles logins."""

from __future__ import annotations

from attrs import frozen
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import NothingHere
from . import respond
from .mounting import IMount
from .reading import read_query, require_method, require_tls
from .respond import Response
from .returning import local_path
from .sessions import Sessions


@frozen
class HostLogin:
    """Redirects browsers to the pages of the host application.

    :param logout_address: the address of its page to log out at; None if it has none.
    """

    settings: Settings
    sessions: Sessions
    logout_address: str | None

    async def login(self, request: IRequest) -> Response:
        """Redirect to the host's login page, or to the path in ``next`` if the user is logged in."""
        require_tls(request, self.settings)
        require_method(request, "GET")
        returning_to = local_path(read_query(request).get("next"))
        returning_to = returning_to or f"{IMount(request).path}/account/"
        return respond.redirect(request, await self.sessions.login_address(request, returning_to))

    async def logout(self, request: IRequest) -> Response:
        """Redirect to the host's page to log out at: the host application ends its own logins."""
        require_tls(request, self.settings)
        require_method(request, "GET")
        if self.logout_address is None:
            raise NothingHere("there is nothing at this address")
        return respond.redirect(request, self.logout_address)
