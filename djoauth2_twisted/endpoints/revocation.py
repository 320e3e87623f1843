"""``/revoke/``: revokes a token of the client that asks (RFC 7009)."""

from __future__ import annotations

from attrs import frozen
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..credentials import digest, family_of
from ..events import Events, TokenRevoked
from ..interfaces import ITokenStore
from ..protocol import introspection
from ..web import respond, statistics
from ..web.reading import address_of, request_id_of
from ..web.respond import Response
from ..web.statistics import Statistics
from .client_authentication import ClientAuthentication


@frozen
class RevocationEndpoint:
    """``/revoke/``."""

    settings: Settings
    tokens: ITokenStore
    clients: ClientAuthentication
    statistics: Statistics
    events: Events

    async def __call__(self, request: IRequest) -> Response:
        """Answer a revocation request (RFC 7009, section 2.2)."""
        client, form = await self.clients.read(request, introspection.PARAMETERS)
        token = introspection.token_of(form)
        family = digest(family_of(token))
        grant = await self.tokens.revoke(digest(token), client.client_id, family)
        if grant is not None:
            self.statistics.count(statistics.REVOCATION)
            revoked = TokenRevoked(
                client_id=client.client_id,
                grant_id=grant.id,
                address=address_of(request),
                request_id=request_id_of(request),
            )
            self.events.publish(revoked)
        # RFC 7009, section 2.2: "The authorization server responds with HTTP status code 200 if the
        # token has been revoked successfully or if the client submitted an invalid token."
        return respond.as_json(request, 200, {})
