"""`ITokenVerifier` for a resource server elsewhere, over treq and RFC 7662."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from typing import Any
from urllib.parse import quote_plus

import treq
from attrs import define, field, frozen
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
)
from twisted.web.resource import IResource
from zope.interface import implementer

from .clock import SteadyClock
from .conf import Settings
from .credentials import digest
from .errors import DJOAuthError, InvalidToken, RegistrationError, TemporarilyUnavailable
from .interfaces import ITokenVerifier
from .models import AccessToken
from .protocol import introspection
from .protocol.bearer import check_token
from .protocol.metadata import SERVER, well_known_address
from .protocol.redirection import check_redirect_uri
from .protocol.registration import check_issuer
from .web.well_known import WellKnown

#: How long the authorization server may take, in seconds, before a request is answered with 503.
DEADLINE = 1.8

#: How long a token that was not good is remembered, in seconds, so that one that is tried again and
#: again is not asked for each time.
NEGATIVE_SECONDS = 1

#: How long nothing is asked at most of a server that has been asked too much, in seconds.
LONGEST_PAUSE = 60

#: No answer of an authorization server is longer, in bytes.
LARGEST_ANSWER = 64 * 1024

MOST_KEPT = 10_000

#: So many questions are under way at once, each over a connection of its own, which is kept; who asks
#: more waits. A thousand handshakes would take longer than a thousand answers over a few connections.
CONNECTIONS = 32

#: How long a connection is kept for the next question, in seconds: less than servers keep theirs, as
#: a question that is sent while the other end hangs up is lost.
CONNECTION_KEPT = 20

#: What asking fails with where the server, or the way to it, is at fault.
_EXPECTED = (
    CancelledError,
    DeferredTimeout,
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    OSError,  # of names that cannot be resolved, too
    ResponseFailed,
    RequestGenerationFailed,  # cancelled before it was wholly sent
    RequestTransmissionFailed,
    ValueError,
    RecursionError,  # of JSON that is nested too deeply
)


@frozen
class _Kept:
    token: AccessToken | None
    until: float


@define(eq=False)
class _Question:
    """What is asked about one token, and who waits for the answer."""

    waiting: list[Deferred[AccessToken | None]] = field(factory=list)
    asked: Deferred[Any] | None = None


@implementer(ITokenVerifier)
class IntrospectionClient:
    """Asks an authorization server elsewhere whether an access token is good::

        verifier = IntrospectionClient(
            reactor, "https://as.example", client_id, client_secret)
        root.putChild(b"api", OAuthGuard(api, verifier, scopes=("read",)))

    The endpoint is discovered from the issuer (RFC 8414). One request serves all who ask for one token
    at the same time. Where the server cannot be asked, every token is refused with 503; nothing is asked
    of it while it has told us to wait (429).

    :param reactor: provides IReactorTime and what an Agent needs.
    :param issuer: the authorization server's issuer, https.
    :param client_id: of a client registered with ``client add --resource-server``.
    :param agent: an IAgent; by default one that verifies TLS and keeps connections.
    :param cache_seconds: for how long a good answer is kept, never beyond the token's own time. A
        revocation is not noticed for so long; 0, the default, asks each time.
    :raises ConfigurationError: the issuer is not an https URL.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        issuer: str,
        client_id: str,
        client_secret: str,
        agent: Any = None,
        *,
        cache_seconds: int = 0,
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings()
        check_issuer(issuer, self.settings.ssl_only)
        self.issuer = issuer
        self.well_known = WellKnown(self.settings)
        self._reactor = reactor
        self._clock = SteadyClock(reactor)
        # RFC 6749, section 2.3.1: both are "encoded using the "application/x-www-form-urlencoded"
        # encoding algorithm", so that there is but one colon, and no character outside ASCII.
        self._credentials = (quote_plus(client_id), quote_plus(client_secret))
        self._pool: HTTPConnectionPool | None = None
        self._http = HTTPClient(agent or self._agent(reactor))
        self._cache_seconds = cache_seconds
        self._endpoint: str | None = None
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._asking: dict[bytes, _Question] = {}
        self._free = DeferredSemaphore(CONNECTIONS)
        self._pause_until = 0.0
        self._failing = False

    def _agent(self, reactor: Any) -> Agent:
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = CONNECTIONS
        self._pool.cachedConnectionTimeout = CONNECTION_KEPT
        return Agent(reactor, connectTimeout=DEADLINE, pool=self._pool)

    def close(self) -> Deferred[None]:
        """Give up what is being asked, and close the connections that are kept.

        Connections of an ``agent`` of one's own are left alone. It can be used again.
        """
        for question in list(self._asking.values()):
            if question.asked is not None:
                question.asked.cancel()
        return succeed(None) if self._pool is None else self._pool.closeCachedConnections()

    def well_known_resource(self) -> IResource:
        """``/.well-known/``: the metadata of the guards that have an address."""
        return self.well_known.resource()

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        """Judge an access token; see `ITokenVerifier`."""

        def judge(found: AccessToken | None) -> AccessToken:
            return check_token(found, scopes, int(self._clock.seconds()))

        return self._find(token).addCallback(judge)

    def _find(self, token: str) -> Deferred[AccessToken | None]:
        """The token, from what is kept, from a request that is under way, or from a new one."""
        key = digest(token)
        kept = self._kept.get(key)
        waiting: Deferred[AccessToken | None] = Deferred()
        if kept is not None and self._clock.seconds() < kept.until:
            waiting.callback(kept.token)
        elif key in self._asking:
            self._asking[key].waiting.append(waiting)
        else:
            question = self._asking[key] = _Question([waiting])
            asked = Deferred.fromCoroutine(self._introspect(token)).addTimeout(DEADLINE, self._reactor)
            question.asked = asked.addBoth(self._answer, key)
        return waiting

    def _answer(self, result: AccessToken | Failure | None, key: bytes) -> None:
        """Hand an answer to all who asked for it, whether they still wait or not."""
        outcome: Any = result
        if isinstance(result, Failure):
            outcome = None if result.check(InvalidToken) else Failure(self._unavailable(result))
        if not isinstance(outcome, Failure):
            self._note(None)
            self._keep(key, outcome)
        for waiting in self._asking.pop(key).waiting:
            if not waiting.called:
                waiting.callback(outcome)

    def _unavailable(self, failure: Failure) -> DJOAuthError:
        # It may have moved.
        self._endpoint = None
        if isinstance(failure.value, TemporarilyUnavailable):
            self._note(failure.value.description)
            # What goes on between us and that server is no business of whoever sent the token.
            return TemporarilyUnavailable(retry_after=failure.value.retry_after)
        if not failure.check(*_EXPECTED):
            self._log.failure("The authorization server could not be asked", failure)
        self._note(_reason(failure))
        return TemporarilyUnavailable()

    def _note(self, error: str | None) -> None:
        """Log an outage when it begins and when it ends, and no line for each request between."""
        if error is not None and not self._failing:
            self._log.error("{issuer} cannot be asked: {error}", issuer=self.issuer, error=error)
        elif error is None and self._failing:
            self._log.info("{issuer} answers again.", issuer=self.issuer)
        self._failing = error is not None

    def _keep(self, key: bytes, token: AccessToken | None) -> None:
        now = self._clock.seconds()
        if token is None:
            until = now + NEGATIVE_SECONDS
        else:
            until = min(now + self._cache_seconds, token.expires)
        self._kept.pop(key, None)
        if until > now:
            self._kept[key] = _Kept(token, until)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    async def _introspect(self, token: str) -> AccessToken:
        async with self._free:
            left = self._pause_until - self._reactor.seconds()
            if left > 0:
                raise TemporarilyUnavailable(retry_after=math.ceil(left))
            endpoint = self._endpoint or await self._discover()
            # RFC 7662, section 2.1: "The protected resource calls the introspection endpoint using an
            # HTTP POST request with parameters sent as "application/x-www-form-urlencoded" data".
            answer = await self._ask("POST", endpoint, data={"token": token}, auth=self._credentials)
        return introspection.read(answer, self.issuer)

    async def _discover(self) -> str:
        answer = await self._ask("GET", well_known_address(SERVER, self.issuer))
        endpoint = answer.get("introspection_endpoint")
        # RFC 8414, section 3.3: "The "issuer" value returned MUST be identical to the authorization
        # server's issuer identifier value [...]. If these values are not identical, the data contained
        # in the response MUST NOT be used."
        if answer.get("issuer") != self.issuer or not isinstance(endpoint, str):
            raise ValueError("the metadata is not that of the issuer")
        try:
            check_redirect_uri(endpoint, self.settings.ssl_only)
        except RegistrationError:
            raise ValueError("the introspection endpoint is not an https address") from None
        self._endpoint = endpoint
        return endpoint

    async def _ask(self, method: str, address: str, **arguments: Any) -> dict[str, Any]:
        headers: Any = {"Accept": "application/json"}
        response = await self._http.request(
            method,
            address,
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
            **arguments,
        )
        body = bytearray()

        def collect(data: bytes) -> None:
            body.extend(data)
            if len(body) > LARGEST_ANSWER:
                raise ValueError("the answer is too long")

        await treq.collect(response, collect)
        if response.code != 200:
            wait = self._pause(response) if response.code == 429 else 1
            raise TemporarilyUnavailable(f"the authorization server answered {response.code}", wait)
        # RFC 7662, section 2.2, and RFC 8414, section 3.2: a JSON object "using the "application/json"
        # media type". A page for people, or a signed answer that nobody here can verify, is none.
        media_types = response.headers.getRawHeaders(b"content-type") or []
        if [each.partition(b";")[0].strip().lower() for each in media_types] != [b"application/json"]:
            raise ValueError("the answer is not application/json")
        answer = json.loads(body.decode("utf-8"))
        if not isinstance(answer, dict):
            raise ValueError("the answer is not a JSON object")
        return answer

    def _pause(self, response: Any) -> int:
        """Ask nothing more for as long as the server says, in seconds (RFC 6585, section 4)."""
        (said,) = (response.headers.getRawHeaders(b"retry-after") or [b""])[:1]
        seconds = min(int(said), LONGEST_PAUSE) if said.isdigit() else 1
        self._pause_until = self._reactor.seconds() + seconds
        return seconds


def _reason(failure: Failure) -> str:
    """Why a question was not answered, in one line."""
    # Twisted wraps what became of a request in one error after the other.
    inner = getattr(failure.value, "reasons", None)
    if inner:
        return _reason(inner[0])
    if failure.check(CancelledError, DeferredTimeout, ConnectingCancelledError):
        return "it did not answer in time"
    return failure.getErrorMessage()
