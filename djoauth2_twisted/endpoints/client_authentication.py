"""The first step of every endpoint for clients: it reads the request and authenticates the client."""

from __future__ import annotations

from contextlib import suppress

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ..client_lookup import ClientLookup
from ..conf import Settings
from ..errors import InvalidClient, InvalidRequest
from ..models import Client
from ..parameters import Parameters, parse
from ..protocol import client_authentication
from ..web.reading import (
    form_body,
    note_client,
    read_query,
    require_method,
    require_tls,
    throttle_key_of,
)
from ..web.throttle import Throttles


@frozen
class ClientAuthentication:
    """Reads a client's request and authenticates the client (RFC 6749, section 2.3)."""

    settings: Settings
    clients: ClientLookup
    throttles: Throttles
    clock: IReactorTime

    async def read(self, request: IRequest, parameters: frozenset[str]) -> tuple[Client, Parameters]:
        """The authenticated client of a request, and its form.

        :param parameters: the names that the endpoint knows. None of them may be in the URI.
        :raises DJOAuthError: the request is malformed, or its client is not authenticated.
        """
        require_tls(request, self.settings)
        require_method(request, "POST")
        form, query = parse(form_body(request)), read_query(request)
        for sent in (form, query):
            sent.refuse_repeated()
        # RFC 6749, section 2.3.1: "The parameters can only be transmitted in the request-body and MUST
        # NOT be included in the request URI."
        if query.values.keys() & (parameters | form.values.keys()):
            raise InvalidRequest("parameters must be in the body, not in the URI")
        authorization = request.requestHeaders.getRawHeaders(b"authorization") or []
        credentials = client_authentication.read_credentials(authorization, form)
        return await self._authenticate(request, credentials), form

    async def _authenticate(
        self, request: IRequest, credentials: client_authentication.ClientCredentials
    ) -> Client:
        address = throttle_key_of(request)
        presented = (address, credentials.client_id, credentials.client_secret)
        self.throttles.check(*presented)

        def authenticate(client: Client | None) -> Client:
            note_client(request, client)
            now = int(self.clock.seconds())
            return client_authentication.authenticate(client, credentials, now)

        # The cache only lets clients in: the secret may be a new one. So a refusal takes as long whether
        # the client is cached or does not exist.
        with suppress(InvalidClient):
            return authenticate(self.clients.recall(credentials.client_id))
        client = None
        if credentials.client_id.isascii() and credentials.client_id.isprintable():
            client = await self.clients.find(credentials.client_id)
        try:
            return authenticate(client)
        except InvalidClient:
            # RFC 6749, section 2.3.1: "the authorization server MUST protect any endpoint utilizing
            # it against brute force attacks."
            await self.throttles.failed(*presented)
            raise
