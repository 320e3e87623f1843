"""An `ITokenVerifier` that asks an authorization server over HTTP (RFC 7662)."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from zope.interface import implementer

from ..bounded_dict import BoundedDict
from ..clock import SteadyClock
from ..conf import Settings
from ..credentials import digest
from ..errors import (
    ConfigurationError,
    DJOAuthError,
    InvalidToken,
    RegistrationError,
    TemporarilyUnavailable,
)
from ..exhaustion import exhausted
from ..interfaces import IResourceServer, ITokenVerifier
from ..models import AccessToken
from ..protocol.addresses import throttle_address
from ..protocol.bearer import check_token
from ..protocol.redirection import check_absolute_uri
from ..protocol.registration import check_issuer
from ..web.well_known import WellKnown
from .limits import FairSemaphore, UnknownTokens
from .remote_server import CONNECTIONS, DEADLINE, EXPECTED, Refused, RemoteServer, reason_of

#: How long a negative answer is cached, in seconds. Until then the server is not asked for the token
#: again.
NEGATIVE_SECONDS = 10

#: How many unknown tokens an address may send in a minute. After that, the server is asked only for
#: tokens that were valid before. A client with old tokens sends a few, an attacker who guesses many.
UNKNOWN_TOKENS = 100

#: How many answers of each kind are cached.
MAX_KEPT = 10_000

#: The least time between two log lines about unknown tokens, or about the same error, in seconds.
QUIET_SECONDS = 60


@frozen
class _CachedAnswer:
    """A cached answer, and when it expires. ``failed``: the server said to wait until then."""

    token: AccessToken | None
    until: float
    failed: bool = False


@define(eq=False)
class _Question:
    """One request to the server about a token, and the callers that wait for the answer.

    :param throttle_key: the address that an unknown token is counted for; empty if it is not known.
    """

    token: str
    key: bytes
    throttle_key: str
    waiting: list[Deferred[AccessToken | None]]
    asked: Deferred[Any] | None = None


@implementer(ITokenVerifier, IResourceServer)
class IntrospectionClient:
    """Asks an authorization server elsewhere whether an access token is good::

        verifier = IntrospectionClient(
            reactor, "https://as.example", client_id, client_secret)
        root.putChild(b"api", OAuthGuard(api, verifier, scopes=("read",)))

    The endpoint is discovered from the issuer (RFC 8414). One request serves all callers that ask for
    the same token at the same time. If the server cannot be asked, or its answer is malformed, a token
    that is not cached is refused with 503.

    The addresses take turns. An address that has sent too many unknown tokens gets 429 without a
    request to the server, except for tokens that were valid before.

    :param reactor: provides IReactorTime and what an Agent needs.
    :param issuer: the authorization server's issuer, an https URL.
    :param client_id: the id of a client that ``client add --resource-server`` has registered.
    :param agent: an IAgent; by default one that verifies TLS and keeps connections.
    :param cache_seconds: how long a positive answer is cached, but not beyond the token's lifetime, or
        beyond a minute where the answer has no ``exp``. A revocation is not noticed before. With 0, the
        default, the server is asked each time.
    :param unknown_per_minute: how many unknown tokens an address may send in a minute. None for no
        limit, as when all requests come from the address of one proxy.
    :param introspection_endpoint: the address to ask at, an https URL. It is for a server that is
        reached by another address than its issuer's, as inside a network, or that publishes no metadata.
    :raises ConfigurationError: the issuer or the endpoint is not an https URL, or
        ``unknown_per_minute`` is below 1.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        issuer: str,
        client_id: str,
        client_secret: str,
        agent: Any = None,
        *,
        cache_seconds: int = 0,
        unknown_per_minute: int | None = UNKNOWN_TOKENS,
        introspection_endpoint: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings()
        check_issuer(issuer, self.settings.ssl_only)
        if introspection_endpoint is not None:
            _check_endpoint(introspection_endpoint, self.settings)
        self.issuer = issuer
        self.well_known = WellKnown(self.settings)
        self._reactor = reactor
        self._clock = SteadyClock(reactor)
        credentials, ssl_only = (client_id, client_secret), self.settings.ssl_only
        self._server = RemoteServer(
            reactor, issuer, credentials, agent, ssl_only, introspection_endpoint
        )
        self._cache_seconds = cache_seconds
        self._good: BoundedDict[bytes, _CachedAnswer] = BoundedDict(MAX_KEPT)
        self._bad: BoundedDict[bytes, _CachedAnswer] = BoundedDict(MAX_KEPT)
        #: Tokens that were valid once, so they are not guessed.
        self._issued: BoundedDict[bytes, None] = BoundedDict(MAX_KEPT)
        self._asking: dict[bytes, _Question] = {}
        self._slots = FairSemaphore(CONNECTIONS, max(1, CONNECTIONS // 2))
        self._unknown = UnknownTokens(self._clock, unknown_per_minute)
        self._quiet_until = 0.0
        self._failing = False
        #: The error that was logged last, and when it may be logged again.
        self._logged = ("", 0.0)

    def close(self) -> Deferred[None]:
        """Cancel the current requests, and close the idle connections.

        Connections of an ``agent`` that was passed in stay open. The client can be used again.
        """
        for question in list(self._asking.values()):
            if question.asked is not None:
                question.asked.cancel()
        return self._server.close()

    def well_known_resource(self) -> IResource:
        """``/.well-known/``: the metadata of the guards that have an address."""
        return self.well_known.resource()

    def note_scopes(self, scopes: Collection[str]) -> None:
        """Do nothing, because only the issuer knows which scopes exist."""

    def publish_metadata(self, address: str, scopes: tuple[str, ...]) -> None:
        """Publish the metadata of a guarded resource; see `IResourceServer`."""
        self.well_known.add_resource(address, self.issuer, scopes)

    def verify(
        self, token: str, scopes: tuple[str, ...], address: str | None = None
    ) -> Deferred[AccessToken]:
        """Verify an access token; see `ITokenVerifier`."""

        def judge(found: AccessToken | None) -> AccessToken:
            return check_token(found, scopes, int(self._clock.seconds()))

        throttle_key = "" if address is None else throttle_address(address)
        return maybeDeferred(self._find, token, throttle_key).addCallback(judge)

    def _find(self, token: str, throttle_key: str) -> Deferred[AccessToken | None]:
        """The token, from a cached answer, a current request, or a new request.

        :raises TooManyRequests: the address has sent too many unknown tokens.
        :raises TemporarilyUnavailable: the server has said to wait before it is asked for this token.
        """
        key = digest(token)
        now = self._clock.seconds()
        for kept in (self._good.get(key), self._bad.get(key)):
            if kept is not None and now < kept.until:
                if kept.failed:
                    raise TemporarilyUnavailable(retry_after=math.ceil(kept.until - now))
                return succeed(kept.token)
        waiting: Deferred[AccessToken | None] = Deferred()
        if key in self._asking:
            self._asking[key].waiting.append(waiting)
            return waiting
        question = _Question(token, key, throttle_key, [waiting])
        self._check(question)
        self._asking[key] = question
        asked = Deferred.fromCoroutine(self._introspect(question)).addTimeout(DEADLINE, self._reactor)
        question.asked = asked.addBoth(self._answer, question)
        return waiting

    def _check(self, question: _Question) -> None:
        """Refuse a token that may be guessed if its address has sent too many unknown ones.

        :raises TooManyRequests: it has.
        """
        if self._may_be_guessed(question):
            self._unknown.check(question.throttle_key)

    def _may_be_guessed(self, question: _Question) -> bool:
        return question.throttle_key != "" and question.key not in self._issued

    def _answer(self, result: AccessToken | Failure, question: _Question) -> None:
        """Pass the answer to all callers that still wait."""
        outcome: Any = result
        error: Any = getattr(result, "value", None)
        if not isinstance(result, Failure):
            self._log_outage(None)
            self._keep(question.key, result)
        elif isinstance(error, InvalidToken):
            outcome = None
            self._log_outage(None)
            self._keep_bad(question, NEGATIVE_SECONDS)
        elif isinstance(error, Refused) and error.code == 429:
            outcome = Failure(TemporarilyUnavailable(retry_after=error.wait))
            self._keep_bad(question, error.wait, failed=True)
        else:
            outcome = Failure(self._unavailable(result))
        del self._asking[question.key]
        for waiting in question.waiting:
            if not waiting.called:
                waiting.callback(outcome)

    def _unavailable(self, failure: Failure) -> DJOAuthError:
        """The error for the client. It does not say what failed between us and the server."""
        if isinstance(failure.value, TemporarilyUnavailable):
            return failure.value  # the request was cancelled before its turn
        if not failure.check(*EXPECTED) and not exhausted(failure.value):
            self._log.failure("A request to the authorization server failed", failure)
        self._log_outage(reason_of(failure))
        return TemporarilyUnavailable()

    def _log_outage(self, error: str | None) -> None:
        """Log the begin and the end of an outage, but not each request between.

        The same error is logged at most once in `QUIET_SECONDS`: the answers about some tokens may be
        malformed, and those between them good.
        """
        now = self._clock.seconds()
        if error is None:
            if self._failing:
                self._log.info("Introspection at {issuer} works again.", issuer=self.issuer)
            self._failing = False
        elif not self._failing and (error != self._logged[0] or now >= self._logged[1]):
            self._log.error("Introspection at {issuer} fails: {error}", issuer=self.issuer, error=error)
            self._failing, self._logged = True, (error, now + QUIET_SECONDS)

    def _keep(self, key: bytes, token: AccessToken) -> None:
        """Cache a valid token."""
        self._issued.set(key, None)
        until = min(self._clock.seconds() + self._cache_seconds, token.expires)
        if until > self._clock.seconds():
            self._good.set(key, _CachedAnswer(token, until))

    def _keep_bad(self, question: _Question, seconds: int, failed: bool = False) -> None:
        """Cache a negative answer. Count the token as unknown if it was never valid."""
        self._bad.set(question.key, _CachedAnswer(None, self._clock.seconds() + seconds, failed))
        if failed:
            self._warn("{issuer} refuses for now: it was asked for too many unknown tokens.")
        if self._may_be_guessed(question) and self._unknown.count(question.throttle_key):
            self._warn("{address} sends too many unknown tokens.", address=question.throttle_key)

    def _warn(self, message: str, **named: str) -> None:
        """Log a warning, at most once in `QUIET_SECONDS`."""
        now = self._clock.seconds()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            self._log.warn(message, issuer=self.issuer, **named)

    async def _introspect(self, question: _Question) -> AccessToken:
        await self._slots.acquire(question.throttle_key)
        try:
            # Other tokens of the address may have been counted while this one waited.
            self._check(question)
            return await self._server.introspect(question.token, int(self._clock.seconds()))
        finally:
            self._slots.release(question.throttle_key)


def _check_endpoint(address: str, settings: Settings) -> None:
    try:
        check_absolute_uri(address, settings.ssl_only)
    except RegistrationError:
        raise ConfigurationError(
            f"the introspection endpoint is {address!r}: it must be an https URL without fragment, "
            "like https://as.internal/oauth2/introspect/"
        ) from None
