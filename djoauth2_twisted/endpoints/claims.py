"""``/userinfo/``: the claims of an access token's user (OpenID Connect Core 1.0, section 5.3)."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import DJOAuthError
from ..interfaces import IRegistry
from ..models import AccessToken
from ..protocol.claims import user_info
from ..web import respond
from ..web.cors import answer_preflight, open_to_scripts
from ..web.reading import require_method, require_tls
from ..web.respond import Response


class Authenticator(Protocol):
    """What checks access tokens: `AccessTokenAuthenticator`."""

    def authenticate(self, request: IRequest) -> Deferred[AccessToken]: ...

    def refuse(self, request: IRequest, error: DJOAuthError) -> Response: ...


@frozen
class ClaimsEndpoint:
    """``/userinfo/``. Scripts of every origin may ask it, with an access token.

    :param authenticator: asks for the scope ``openid``.
    """

    settings: Settings
    registry: IRegistry
    authenticator: Authenticator

    async def __call__(self, request: IRequest) -> Response:
        """Answer with the claims that the scopes of the access token allow."""
        open_to_scripts(request)
        if request.method == b"OPTIONS":
            # If this passed without TLS, the browser would next send the token unencrypted.
            require_tls(request, self.settings)
            return answer_preflight("GET", "POST")
        token = await self.authenticator.authenticate(request)
        require_method(request, "GET", "POST")
        user = await self.registry.find_user(token.user.username)
        # The user may have been deleted, and another user may have the name now.
        known = token.user if user is None or user.subject != token.user.subject else user
        return respond.as_json(request, 200, user_info(token.user.subject, known, token.scopes))
