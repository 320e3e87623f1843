"""``/introspect/``: describes an access token to clients that may see it (RFC 7662)."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..credentials import digest
from ..interfaces import ITokenStore
from ..protocol import introspection
from ..web import respond
from ..web.reading import throttle_key_of
from ..web.respond import Response
from ..web.throttle import Throttle
from .client_authentication import ClientAuthentication


@frozen
class IntrospectionEndpoint:
    """``/introspect/``.

    :param by_unknown: limits how many unknown tokens a client may ask for from one address. Known tokens
        have no limit.
    """

    clock: IReactorTime
    issuer: str
    settings: Settings
    tokens: ITokenStore
    clients: ClientAuthentication
    by_unknown: Throttle

    async def __call__(self, request: IRequest) -> Response:
        """Answer an introspection request (RFC 7662, section 2.2)."""
        client, form = await self.clients.read(request, introspection.PARAMETERS)
        found = await self.tokens.find_access_token(digest(introspection.token_of(form)))
        now = int(self.clock.seconds())
        answer = introspection.answer(found, client, self.issuer, now)
        if found is None:
            # RFC 7662, section 4: the endpoint must not serve for "token scanning attacks".
            key = (throttle_key_of(request), client.client_id)
            self.by_unknown.check(*key)
            await self.by_unknown.failed(*key)
        return respond.as_json(request, 200, answer)
