"""``/token/``: exchanges codes and refresh tokens for access tokens (RFC 6749, section 3.2)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import attrs
from attrs import Factory, field, frozen
from blinker import Signal
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..credentials import digest, family_of, new_family, random_string, refresh_token, seal, unseal
from ..errors import AlreadyExists, DJOAuthError, TemporarilyUnavailable
from ..events import Events, ReuseDetected, TokensIssued
from ..interfaces import ITokenStore
from ..models import Client, Grant, Issuance, Issued, Outcome, RefreshRetried, Replayed
from ..parameters import Parameters
from ..protocol import grants, token
from ..protocol.jose import PrivateKey
from ..protocol.token import CodeRequest, RefreshRequest
from ..signals import authorization_code_used_twice, refresh_token_used_after_invalidation
from ..web import respond, statistics
from ..web.reading import address_of, request_id_of
from ..web.respond import Response
from ..web.statistics import Statistics
from .client_authentication import ClientAuthentication
from .id_tokens import IdTokens

#: The largest number of draws, where one of the drawn values is taken already.
MAX_DRAWS = 3

_Request = TypeVar("_Request")


@frozen
class NewTokens:
    """A new pair of tokens, and the record of it for the store."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    issuance: Issuance
    #: Where it is sealed with the pair, so that it is made before.
    id_token: str | None = field(default=None, repr=False)

    def sealed(self, refresh_token: str) -> NewTokens:
        """The same tokens, with the answer sealed for a retry.

        :param refresh_token: the one that is exchanged, with which the answer is sealed.
        """
        answer: list[str | None] = [self.access_token, self.refresh_token]
        if self.id_token is not None:
            answer.append(self.id_token)
        sealed = seal(refresh_token, json.dumps(answer).encode("ascii"))
        return attrs.evolve(self, issuance=attrs.evolve(self.issuance, sealed_answer=sealed))


def draw_tokens(settings: Settings, now: int, family: str) -> NewTokens:
    """Draw a new pair of tokens at random.

    :param now: in seconds since the epoch.
    :param family: the name of the refresh token's family.
    """
    access_token = random_string(settings.access_token_length)
    next_token = None
    if settings.access_tokens_refreshable:
        next_token = refresh_token(family, settings.refresh_token_length)
    issuance = Issuance(
        now=now,
        access_digest=digest(access_token),
        access_expires=now + settings.access_token_lifetime,
        refresh_digest=digest(next_token) if next_token else None,
        refresh_expires=now + settings.refresh_token_lifetime if next_token else None,
        family_digest=digest(family),
        retry_seconds=settings.refresh_retry_seconds,
    )
    return NewTokens(access_token, next_token, issuance)


@frozen
class Exchange(Generic[_Request]):
    """One exchange of a credential.

    :param signer: signs ID tokens; None without OpenID Connect.
    """

    asked: _Request
    client: Client
    signer: PrivateKey | None = None


class GrantType(Protocol[_Request]):
    """One ``grant_type`` of the token endpoint (RFC 6749, section 1.3)."""

    #: The kind of event that is counted when tokens are issued.
    statistic: ClassVar[str]
    #: The name of the exchanged credential in the log.
    credential: ClassVar[str]
    #: The signal that the credential was used again.
    used_again: ClassVar[Signal]
    #: Whether its ID token is the first one of a grant.
    is_first: ClassVar[bool]

    def read(self, form: Parameters, client: Client) -> _Request:
        """Read the parameters of a request.

        :raises DJOAuthError: a parameter is missing or wrong.
        """

    async def draw(self, exchange: Exchange[_Request], now: int) -> NewTokens:
        """Draw the tokens to issue.

        :param now: in seconds since the epoch.
        """

    def step(self, request: _Request, issuance: Issuance) -> Awaitable[Outcome]:
        """Exchange the credential in the store, in one atomic step."""

    def answer(
        self, request: _Request, new: NewTokens, outcome: Issued | RefreshRetried
    ) -> dict[str, str | int]:
        """The members of the answer's JSON object (RFC 6749, section 5.1)."""


@frozen
class CodeGrant:
    """``grant_type=authorization_code`` (RFC 6749, section 4.1.3)."""

    statistic: ClassVar[str] = statistics.EXCHANGE
    credential: ClassVar[str] = "An authorization code"
    used_again: ClassVar[Signal] = authorization_code_used_twice
    is_first: ClassVar[bool] = True

    settings: Settings
    tokens: ITokenStore

    def read(self, form: Parameters, client: Client) -> CodeRequest:
        """See `GrantType`."""
        return token.read_code_request(form, client)

    async def draw(self, exchange: Exchange[CodeRequest], now: int) -> NewTokens:
        """See `GrantType`."""
        return draw_tokens(self.settings, now, new_family())

    def step(self, request: CodeRequest, issuance: Issuance) -> Awaitable[Outcome]:
        """See `GrantType`."""
        return self.tokens.redeem_code(digest(request.code), request.proof, issuance)

    def answer(
        self, request: CodeRequest, new: NewTokens, outcome: Issued | RefreshRetried
    ) -> dict[str, str | int]:
        """See `GrantType`."""
        lifetime = self.settings.access_token_lifetime
        return token.answer(new.access_token, new.refresh_token, outcome.pair.scopes, lifetime)


@frozen
class RefreshGrant:
    """``grant_type=refresh_token`` (RFC 6749, section 6).

    :param id_tokens: None without OpenID Connect.
    """

    statistic: ClassVar[str] = statistics.REFRESH
    credential: ClassVar[str] = "A refresh token"
    used_again: ClassVar[Signal] = refresh_token_used_after_invalidation
    is_first: ClassVar[bool] = False

    settings: Settings
    tokens: ITokenStore
    id_tokens: IdTokens | None = None

    def read(self, form: Parameters, client: Client) -> RefreshRequest:
        """See `GrantType`."""
        refreshable = self.settings.access_tokens_refreshable
        return token.read_refresh_request(form, client, refreshable, self.id_tokens is not None)

    async def draw(self, exchange: Exchange[RefreshRequest], now: int) -> NewTokens:
        """See `GrantType`. Where a retry is allowed, the answer is sealed for it."""
        presented = exchange.asked.refresh_token
        new = draw_tokens(self.settings, now, family_of(presented))
        if not self.settings.refresh_retry_seconds:
            return new
        if self.id_tokens is not None and exchange.signer is not None:
            id_token = await self._sign_before(self.id_tokens, exchange.signer, exchange, new)
            new = attrs.evolve(new, id_token=id_token)
        return new.sealed(presented)

    async def _sign_before(
        self,
        id_tokens: IdTokens,
        signer: PrivateKey,
        exchange: Exchange[RefreshRequest],
        new: NewTokens,
    ) -> str | None:
        """The ID token that a retry repeats. It is sealed with the pair, so the grant is read before."""
        asked, client = exchange.asked, exchange.client
        grant = await self.tokens.find_refresh_grant(digest(asked.refresh_token))
        if grant is None or grant.client_id != client.client_id:
            return None
        scopes = grants.refreshed_scopes(grant, asked.proof)
        issued = new.issuance.now
        return await id_tokens.issue(
            signer, client, grant, new.access_token, scopes=scopes, issued=issued, is_first=False
        )

    def step(self, request: RefreshRequest, issuance: Issuance) -> Awaitable[Outcome]:
        """See `GrantType`."""
        return self.tokens.rotate_refresh_token(digest(request.refresh_token), request.proof, issuance)

    def answer(
        self, request: RefreshRequest, new: NewTokens, outcome: Issued | RefreshRetried
    ) -> dict[str, str | int]:
        """See `GrantType`. A retry gets the first tokens again, with their remaining lifetime."""
        access_token, next_token, id_token = new.access_token, new.refresh_token, new.id_token
        lifetime = self.settings.access_token_lifetime
        if isinstance(outcome, RefreshRetried):
            sealed = outcome.pair.sealed_answer or b""
            access_token, next_token, *rest = json.loads(unseal(request.refresh_token, sealed))
            id_token = rest[0] if rest else None
            lifetime = max(0, outcome.pair.access_expires - new.issuance.now)
        return token.answer(access_token, next_token, outcome.pair.scopes, lifetime, id_token)


@frozen
class TokenEndpoint:
    """``/token/``.

    :param sender: the sender of the signals.
    :param id_tokens: None without OpenID Connect.
    """

    clock: IReactorTime
    settings: Settings
    tokens: ITokenStore
    clients: ClientAuthentication
    sender: object
    statistics: Statistics
    events: Events
    id_tokens: IdTokens | None = None
    _grant_types: Mapping[str, GrantType[Any]] = field(
        default=Factory(
            lambda self: {
                "authorization_code": CodeGrant(self.settings, self.tokens),
                "refresh_token": RefreshGrant(self.settings, self.tokens, self.id_tokens),
            },
            takes_self=True,
        ),
        init=False,
    )
    _log = Logger()

    async def __call__(self, request: IRequest) -> Response:
        """Answer a token request (RFC 6749, sections 5.1 and 5.2)."""
        try:
            client, form = await self.clients.read(request, token.PARAMETERS)
            token.check_client(client)
            name = token.read_grant_type(form, self._grant_types)
            grant_type = self._grant_types[name]
            asked = grant_type.read(form, client)
            signer = None if self.id_tokens is None else await self.id_tokens.signer(client)
            exchange = Exchange(asked, client, signer)
            grant, answer = await self._exchange(request, grant_type, exchange)
        except DJOAuthError as error:
            self.statistics.count(f"token/{error.error_name}")
            raise
        self.statistics.count(grant_type.statistic)
        self.events.publish(
            TokensIssued(
                client_id=client.client_id,
                client_name=client.name,
                username=grant.owner.username,
                grant_type=name,
                grant_id=grant.id,
                scopes=tuple(str(answer["scope"]).split()),
                address=address_of(request),
                request_id=request_id_of(request),
            )
        )
        return respond.as_json(request, 200, answer)

    async def _exchange(
        self, request: IRequest, grant_type: GrantType[_Request], exchange: Exchange[_Request]
    ) -> tuple[Grant, dict[str, str | int]]:
        for _ in range(MAX_DRAWS):
            new = await grant_type.draw(exchange, int(self.clock.seconds()))
            try:
                outcome = await grant_type.step(exchange.asked, new.issuance)
            except AlreadyExists:
                # The store has one of the new values already, so it has changed nothing.
                continue
            if isinstance(outcome, Replayed):
                self._report_reuse(request, grant_type, outcome)
            success = token.check_outcome(outcome, new.issuance.now)
            answer = grant_type.answer(exchange.asked, new, success)
            return success.grant, await self._with_id_token(grant_type, exchange, success, answer)
        raise TemporarilyUnavailable()

    async def _with_id_token(
        self,
        grant_type: GrantType[_Request],
        exchange: Exchange[_Request],
        success: Issued | RefreshRetried,
        answer: dict[str, str | int],
    ) -> dict[str, str | int]:
        """The answer, with an ID token where it has none and the client may have one."""
        if self.id_tokens is None or exchange.signer is None or "id_token" in answer:
            return answer
        id_token = await self.id_tokens.issue(
            exchange.signer,
            exchange.client,
            success.grant,
            str(answer["access_token"]),
            scopes=success.pair.scopes,
            issued=success.pair.issued,
            is_first=grant_type.is_first,
        )
        return answer if id_token is None else {**answer, "id_token": id_token}

    def _report_reuse(self, request: IRequest, grant_type: GrantType[Any], outcome: Replayed) -> None:
        """Notify the operator and the application that a reuse has revoked a grant."""
        self.events.publish(
            ReuseDetected(
                what=grant_type.credential,
                client_id=outcome.grant.client_id,
                grant_id=outcome.grant.id,
                username=outcome.grant.owner.username,
                address=address_of(request),
                request_id=request_id_of(request),
            )
        )
        with self._log.failuresHandled("A signal's receiver failed"):
            grant_type.used_again.send(self.sender, grant=outcome.grant)
