"""The HTTP requests to a remote authorization server: RFC 8414, then RFC 7662."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus

import treq
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)

from ..errors import InvalidToken, RegistrationError
from ..models import AccessToken
from ..protocol import introspection
from ..protocol.metadata import SERVER, well_known_address
from ..protocol.redirection import check_absolute_uri

#: How long the authorization server may take, in seconds. After that the token is refused with 503.
DEADLINE = 1.8

#: The longest answer that is accepted, in bytes.
MAX_ANSWER_SIZE = 64 * 1024

#: The longest ``Retry-After`` that is obeyed, in seconds.
MAX_PAUSE = 60

#: How many requests to the server run at once, each on its own persistent connection. Further requests
#: wait: a thousand handshakes take longer than a thousand answers on 32 connections.
CONNECTIONS = 32

#: How long an idle connection is kept, in seconds. Many servers keep theirs longer.
CONNECTION_KEPT = 20


class Refused(Exception):
    """The authorization server refused a request.

    :param code: the HTTP status of its answer.
    :param wait: how long it says to wait, in seconds.
    """

    def __init__(self, code: int, wait: int) -> None:
        super().__init__(f"the authorization server answered {code}")
        self.code = code
        self.wait = wait


#: The errors of a request that the server or the network causes.
EXPECTED = (
    CancelledError,
    DeferredTimeout,
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    OSError,  # also if a name cannot be resolved
    ResponseFailed,
    RequestGenerationFailed,  # cancelled before it was sent completely
    RequestTransmissionFailed,
    Refused,
    ValueError,
    RecursionError,  # JSON that is nested too deeply
)


#: The errors of a request on a connection that ended before an answer began.
_UNANSWERED = (RequestTransmissionFailed, ResponseNeverReceived)


class RemoteServer:
    """Discovers the introspection endpoint of an issuer (RFC 8414), and asks it (RFC 7662).

    :param reactor: provides IReactorTime and what an Agent needs.
    :param credentials: the id and the secret of our client at the server.
    :param agent: an IAgent; None for one that verifies TLS and keeps connections.
    :param ssl_only: whether the endpoint's address must be https.
    :param endpoint: the endpoint, if it is not to be discovered.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        issuer: str,
        credentials: tuple[str, str],
        agent: Any,
        ssl_only: bool,
        endpoint: str | None,
    ) -> None:
        self.issuer = issuer
        self._reactor = reactor
        self._ssl_only = ssl_only
        # RFC 6749, section 2.3.1: both are "encoded using the "application/x-www-form-urlencoded"
        # encoding algorithm". So neither contains a colon or a character outside ASCII.
        client_id, client_secret = map(quote_plus, credentials)
        self._credentials = (client_id, client_secret)
        self._pool: HTTPConnectionPool | None = None
        self._http = HTTPClient(agent or self._agent(reactor))
        self._endpoint = self._configured = endpoint
        self._discovering: Deferred[Any] | None = None
        self._await_endpoint: list[Deferred[str]] = []

    def _agent(self, reactor: IReactorTime) -> Agent:
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = CONNECTIONS
        self._pool.cachedConnectionTimeout = CONNECTION_KEPT
        return Agent(reactor, connectTimeout=DEADLINE, pool=self._pool)

    def close(self) -> Deferred[None]:
        """Cancel the discovery, and close the idle connections of our own agent."""
        if self._discovering is not None:
            self._discovering.cancel()
        return succeed(None) if self._pool is None else self._pool.closeCachedConnections()

    async def introspect(self, token: str, now: int) -> AccessToken:
        """Ask for a token.

        It raises one of `EXPECTED` if the server or the network fails.

        :param now: in seconds since the epoch.
        :raises InvalidToken: the token is not valid.
        """
        endpoint = self._endpoint or await self._find_endpoint()
        try:
            # RFC 7662, section 2.1: "The protected resource calls the introspection endpoint using an
            # HTTP POST request with parameters sent as "application/x-www-form-urlencoded" data".
            data = {"token": token}
            answer = await self._ask("POST", endpoint, data=data, auth=self._credentials)
            return introspection.read(answer, self.issuer, now)
        except BaseException as error:
            if not _is_still_right(error):
                self._endpoint = self._configured
            raise

    def _find_endpoint(self) -> Deferred[str]:
        """The endpoint. One request serves all callers that wait for it."""
        waiting: Deferred[str] = Deferred()
        self._await_endpoint.append(waiting)
        if len(self._await_endpoint) == 1:
            self._discovering = Deferred.fromCoroutine(self._discover())
            self._discovering.addTimeout(DEADLINE, self._reactor).addBoth(self._discovered)
        return waiting

    def _discovered(self, result: str | Failure) -> None:
        waiting, self._await_endpoint = self._await_endpoint, []
        for each in waiting:
            if not each.called:
                each.callback(result)

    async def _discover(self) -> str:
        try:
            answer = await self._ask("GET", well_known_address(SERVER, self.issuer))
        except Refused as error:
            raise ValueError(str(error)) from None  # `Refused` would concern the token
        endpoint = answer.get("introspection_endpoint")
        # RFC 8414, section 3.3: "The "issuer" value returned MUST be identical to the authorization
        # server's issuer identifier value [...]. If these values are not identical, the data contained
        # in the response MUST NOT be used."
        if answer.get("issuer") != self.issuer or not isinstance(endpoint, str):
            raise ValueError("the metadata is not that of the issuer")
        try:
            check_absolute_uri(endpoint, self._ssl_only)
        except RegistrationError:
            raise ValueError("the introspection endpoint is not an https address") from None
        self._endpoint = endpoint
        return endpoint

    async def _ask(self, method: str, address: str, **arguments: Any) -> dict[str, Any]:
        headers: Any = {"Accept": "application/json"}
        arguments |= {"headers": headers, "allow_redirects": False, "unbuffered": True}
        try:
            response = await self._http.request(method, address, **arguments)
        except _UNANSWERED as error:
            if _is_cancelled(error):
                raise
            # The server may have closed a kept connection just as it was used. RFC 9110, section 9.2.2:
            # a client may repeat a request if it knows that its "semantics are actually idempotent".
            # Twisted does so for GET alone. The other kept connections may be closed as well.
            if self._pool is not None:
                self._pool.closeCachedConnections()
            response = await self._http.request(method, address, **arguments)
        body = bytearray()

        def collect(data: bytes) -> None:
            body.extend(data)
            if len(body) > MAX_ANSWER_SIZE:
                raise ValueError("the answer is too long")

        await treq.collect(response, collect)
        if response.code != 200:
            raise Refused(response.code, _wait_of(response))
        # RFC 7662, section 2.2, and RFC 8414, section 3.2: a JSON object "using the "application/json"
        # media type". An HTML page is refused, and so is a signed answer, which we cannot verify.
        media_types = response.headers.getRawHeaders(b"content-type") or []
        if [each.partition(b";")[0].strip().lower() for each in media_types] != [b"application/json"]:
            raise ValueError("the answer is not application/json")
        answer = json.loads(body.decode("utf-8"))
        if not isinstance(answer, dict):
            raise ValueError("the answer is not a JSON object")
        return answer


def _is_cancelled(error: Any) -> bool:
    return any(reason.check(CancelledError) for reason in error.reasons)


def _is_still_right(error: BaseException) -> bool:
    """Whether the endpoint is still the right one after this error, or may have moved."""
    if isinstance(error, Refused):
        return error.code == 429 or error.code >= 500
    return isinstance(error, InvalidToken)


def _wait_of(response: Any) -> int:
    """How long a response says to wait, in seconds (RFC 9110, section 10.2.3)."""
    (value,) = (response.headers.getRawHeaders(b"retry-after") or [b""])[:1]
    return max(1, min(int(value[:9]), MAX_PAUSE)) if value.isdigit() else 1


def reason_of(failure: Failure) -> str:
    """Why a request failed, in one line."""
    # Twisted wraps the reasons in other errors.
    inner = getattr(failure.value, "reasons", None)
    if inner:
        return reason_of(inner[0])
    if failure.check(CancelledError, DeferredTimeout, ConnectingCancelledError):
        return "it did not answer in time"
    return failure.getErrorMessage()
