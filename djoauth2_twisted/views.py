"""The endpoints for clients: token (RFC 6749), revocation (RFC 7009), introspection (RFC 7662), and the
example API.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from attrs import frozen
from klein import Response
from twisted.logger import Logger
from twisted.web.resource import IResource

from .conf import Settings
from .credentials import digest, family_of, new_family, random_string, refresh_token, seal, unseal
from .errors import (
    AlreadyExists,
    DJOAuthError,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    TemporarilyUnavailable,
)
from .interfaces import IAccessToken, IRegistry, ITokenStore
from .models import Client, Issuance, Outcome, RefreshRetried, Replayed
from .parameters import Parameters, parse
from .protocol import client_authentication, introspection, token
from .protocol.token import CodeRequest, RefreshRequest
from .signals import authorization_code_used_twice, refresh_token_used_after_invalidation
from .web import respond, statistics
from .web.request import form_body, read_query, require_method, require_tls
from .web.statistics import Statistics
from .web.throttle import Throttle, Throttles, throttle_key_of


@frozen
class ClientAuthentication:
    """Reads what clients send to their endpoints, and who they are, in the order of the standard."""

    settings: Settings
    registry: IRegistry
    throttles: Throttles
    #: Provides IReactorTime.
    clock: Any

    async def read(self, request: Any, parameters: frozenset[str]) -> tuple[Client, Parameters]:
        """The authenticated client of a request and its form.

        :param parameters: what the endpoint knows; none of it may stand in the URI.
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
        return await self._authenticate(throttle_key_of(request), credentials), form

    async def _authenticate(
        self, address: str, credentials: client_authentication.ClientCredentials
    ) -> Client:
        self.throttles.check(address, credentials.client_id)
        client = None
        if credentials.client_id.isascii() and credentials.client_id.isprintable():
            client = await self.registry.find_client(credentials.client_id)
        try:
            now = int(self.clock.seconds())
            return client_authentication.authenticate(client, credentials, now)
        except InvalidClient:
            # RFC 6749, section 2.3.1: "the authorization server MUST protect any endpoint utilizing
            # it against brute force attacks."
            await self.throttles.failed(address, credentials.client_id)
            raise


#: How often new values are drawn for what is issued, where one was taken.
MAX_DRAWS = 3


@frozen
class TokenEndpoint:
    """``/token/``: exchanges codes and refresh tokens for access tokens.

    :param clock: provides IReactorTime.
    :param sender: whom signals name as their sender.
    """

    clock: Any
    settings: Settings
    tokens: ITokenStore
    clients: ClientAuthentication
    sender: object
    statistics: Statistics
    _log = Logger()

    async def __call__(self, request: Any) -> Response:
        """Answer a token request (RFC 6749, sections 5.1 and 5.2)."""
        try:
            client, form = await self.clients.read(request, token.PARAMETERS)
            if client.resource_server and not client.redirect_uris:
                raise InvalidGrant("no grant was made to this client")
            asked = token.read_request(form, client)
            answer = await self._exchange(asked)
        except DJOAuthError as error:
            self.statistics.count(f"token/{error.error_name}")
            return self.refusal(request, error)
        self.statistics.count(
            statistics.EXCHANGE if isinstance(asked, CodeRequest) else statistics.REFRESH
        )
        return respond.as_json(request, 200, answer)

    def refusal(self, request: Any, error: DJOAuthError) -> Response:
        """The answer where nothing else can be answered."""
        return respond.as_error(request, error, self.settings.realm)

    async def _exchange(self, asked: CodeRequest | RefreshRequest) -> dict[str, str | int]:
        for _ in range(MAX_DRAWS):
            try:
                return await self._try_to_exchange(asked)
            except AlreadyExists:
                # What was drawn at random was drawn before. Nothing has been done.
                continue
        raise TemporarilyUnavailable()

    async def _try_to_exchange(self, asked: CodeRequest | RefreshRequest) -> dict[str, str | int]:
        family = family_of(asked.refresh_token) if isinstance(asked, RefreshRequest) else new_family()
        access_token = random_string(self.settings.access_token_length)
        next_token = None
        if self.settings.access_tokens_refreshable:
            next_token = refresh_token(family, self.settings.refresh_token_length)
        issuance = self._issuance(access_token, next_token, family, asked)
        outcome = await self._step(asked, issuance)
        error = token.refusal(outcome)
        if error is not None:
            if isinstance(outcome, Replayed):
                self._warn(asked, outcome)
            raise error
        if isinstance(outcome, RefreshRetried) and isinstance(asked, RefreshRequest):
            return self._answer_again(asked.refresh_token, outcome, issuance.now)
        scopes = outcome.pair.scopes  # type: ignore[union-attr]
        return token.answer(access_token, next_token, scopes, self.settings.access_token_lifetime)

    def _issuance(
        self,
        access_token: str,
        next_token: str | None,
        family: str,
        asked: CodeRequest | RefreshRequest,
    ) -> Issuance:
        now = int(self.clock.seconds())
        sealed = None
        if self.settings.refresh_retry_seconds and isinstance(asked, RefreshRequest):
            sealed = seal(asked.refresh_token, json.dumps([access_token, next_token]).encode("ascii"))
        return Issuance(
            now=now,
            access_digest=digest(access_token),
            access_expires=now + self.settings.access_token_lifetime,
            refresh_digest=digest(next_token) if next_token else None,
            refresh_expires=now + self.settings.refresh_token_lifetime if next_token else None,
            family_digest=digest(family),
            retry_seconds=self.settings.refresh_retry_seconds,
            sealed_answer=sealed,
        )

    async def _step(self, asked: CodeRequest | RefreshRequest, issuance: Issuance) -> Outcome:
        if isinstance(asked, CodeRequest):
            return await self.tokens.redeem_code(digest(asked.code), asked.proof, issuance)
        if not self.settings.access_tokens_refreshable:
            raise InvalidGrant("tokens are not refreshable")
        return await self.tokens.rotate_refresh_token(digest(asked.refresh_token), asked.proof, issuance)

    def _answer_again(
        self, refresh_token: str, outcome: RefreshRetried, now: int
    ) -> dict[str, str | int]:
        sealed = outcome.pair.sealed_answer or b""
        access_token, next_refresh_token = json.loads(unseal(refresh_token, sealed))
        remaining = max(0, outcome.pair.access_expires - now)
        return token.answer(access_token, next_refresh_token, outcome.pair.scopes, remaining)

    def _warn(self, asked: CodeRequest | RefreshRequest, outcome: Replayed) -> None:
        """Tell the operator and the application of a reuse, which has ended the grant."""
        code = isinstance(asked, CodeRequest)
        signal = authorization_code_used_twice if code else refresh_token_used_after_invalidation
        self._log.warn(
            "{what} of client {client_id} was used again: grant {grant_id} of {username!r} is revoked",
            what="A code" if code else "A refresh token",
            client_id=outcome.grant.client_id,
            grant_id=outcome.grant.id,
            username=outcome.grant.owner.username,
        )
        with self._log.failuresHandled("A signal's receiver failed"):
            signal.send(self.sender, grant=outcome.grant)


class Server(Protocol):
    """What is asked of the `AuthorizationServer`."""

    token_endpoint: TokenEndpoint

    def part(self, endpoint: TokenEndpoint, **elsewhere: str) -> IResource: ...


def access_token_endpoint(server: Server, *, token_endpoint_uri: str) -> IResource:
    """The token endpoint by itself, for those who mount the parts one by one::

        root.putChild(b"token", access_token_endpoint(server, token_endpoint_uri="/token"))

    :param server: an `AuthorizationServer`.
    :param token_endpoint_uri: the path that clients reach it at, for the metadata.
    :raises ConfigurationError: the path is none.
    """
    return server.part(server.token_endpoint, token_endpoint=token_endpoint_uri)


@frozen
class RevocationEndpoint:
    """``/revoke/``: ends a token of the client that asks (RFC 7009)."""

    settings: Settings
    tokens: ITokenStore
    clients: ClientAuthentication
    statistics: Statistics
    _log = Logger()

    async def __call__(self, request: Any) -> Response:
        """Answer a revocation request (RFC 7009, section 2.2)."""
        try:
            client, form = await self.clients.read(request, introspection.PARAMETERS)
            sent = _token_of(form)
            family = digest(family_of(sent))
            grant = await self.tokens.revoke(digest(sent), client.client_id, family)
        except DJOAuthError as error:
            return respond.as_error(request, error, self.settings.realm)
        if grant is not None:
            self.statistics.count(statistics.REVOCATION)
            self._log.info(
                "{client_id} revoked a token of grant {grant_id}",
                client_id=client.client_id,
                grant_id=grant.id,
            )
        # RFC 7009, section 2.2: "The authorization server responds with HTTP status code 200 if the
        # token has been revoked successfully or if the client submitted an invalid token."
        return respond.as_json(request, 200, {})


@frozen
class IntrospectionEndpoint:
    """``/introspect/``: tells of an access token to those who may know (RFC 7662).

    :param clock: provides IReactorTime.
    :param by_unknown: how many unknown tokens a client may ask for from one address. Tokens that are
        known are answered all the same.
    """

    clock: Any
    issuer: str
    settings: Settings
    tokens: ITokenStore
    clients: ClientAuthentication
    by_unknown: Throttle

    async def __call__(self, request: Any) -> Response:
        """Answer an introspection request (RFC 7662, section 2.2)."""
        try:
            client, form = await self.clients.read(request, introspection.PARAMETERS)
            found = await self.tokens.find_access_token(digest(_token_of(form)))
            now = int(self.clock.seconds())
            said = introspection.answer(found, client, self.issuer, now)
            if found is None:
                # RFC 7662, section 4: the endpoint must not serve for "token scanning attacks".
                place = (throttle_key_of(request), client.client_id)
                self.by_unknown.check(*place)
                await self.by_unknown.failed(*place)
        except DJOAuthError as error:
            return respond.as_error(request, error, self.settings.realm)
        return respond.as_json(request, 200, said)


def _token_of(form: Parameters) -> str:
    token = form.get("token")
    if token is None:
        raise InvalidRequest("token is missing")
    return token


@frozen
class UserInfoEndpoint:
    """``/api/user_info/``: the example API, which tells who a token's resource owner is."""

    settings: Settings
    registry: IRegistry

    async def __call__(self, request: Any) -> Response:
        """Answer a request that has passed the guard."""
        try:
            require_method(request, "GET", "POST")
            owner = IAccessToken(request).user
            user = await self.registry.find_user(owner.username)
        except DJOAuthError as error:
            return respond.as_error(request, error, self.settings.realm)
        # The name may have been freed, and taken by somebody else.
        known = owner if user is None or user.subject != owner.subject else user
        names = ("username", "first_name", "last_name", "email")
        return respond.as_json(request, 200, {name: getattr(known, name) for name in names})


@frozen
class HealthEndpoint:
    """``/healthz``: whether requests can be served, for whoever balances load."""

    settings: Settings
    check: Callable[[], Awaitable[None]]

    async def __call__(self, request: Any) -> Response:
        """200 where they can, 503 with the name of what is missing where not."""
        try:
            require_method(request, "GET", "HEAD")
            await self.check()
        except TemporarilyUnavailable as error:
            headers = {**respond.NO_STORE, **respond.error_headers(error)}
            return respond.as_json(request, error.status_code, {"status": "store"}, headers)
        except DJOAuthError as error:
            return respond.as_error(request, error, self.settings.realm)
        return respond.as_json(request, 200, {"status": "ok"})
