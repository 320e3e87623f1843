"""``/api/user_info/``: the example API, which names the resource owner of an access token."""

from __future__ import annotations

from attrs import frozen
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..interfaces import IAccessToken, IRegistry
from ..web import respond
from ..web.reading import require_method
from ..web.respond import Response


@frozen
class UserInfoEndpoint:
    """``/api/user_info/``, behind a guard."""

    settings: Settings
    registry: IRegistry

    async def __call__(self, request: IRequest) -> Response:
        """Answer a request that has passed the guard."""
        require_method(request, "GET", "POST")
        owner = IAccessToken(request).user
        user = await self.registry.find_user(owner.username)
        # The user may have been deleted, and another user may have the name now.
        known = owner if user is None or user.subject != owner.subject else user
        names = ("username", "first_name", "last_name", "email")
        return respond.as_json(request, 200, {name: getattr(known, name) for name in names})
