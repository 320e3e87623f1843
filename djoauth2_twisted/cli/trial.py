"""The steps of ``djoauth2 client try``: what a client does, from its request to its tokens."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import treq
from attrs import frozen
from OpenSSL.SSL import Error as TLSError
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.error import CannotListenError, ConnectError, ConnectionClosed
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, ResponseFailed
from twisted.web.resource import Resource
from twisted.web.server import Request

from ..administration import Administration
from ..credentials import random_string
from ..errors import ConfigurationError, InvalidClient, RegistrationError
from ..models import Client
from ..protocol.client_authentication import ClientCredentials, authenticate
from ..protocol.metadata import SERVER, well_known_address
from ..protocol.pkce import challenge_of
from ..protocol.redirection import check_redirect_uri
from ..protocol.registration import check_issuer
from ..web.site import LimitedSite
from .certificate import make_certificate

#: The redirect URI that is suggested to a client that has none on this machine.
SUGGESTED = "https://127.0.0.1:8765/callback"

#: The hosts of this machine in a redirect URI, and the address to listen at for each.
_LOOPBACK = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}

#: How long the server may take for an answer, in seconds.
DEADLINE = 10

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class TrialFailed(RegistrationError):
    """A step of the trial failed. The text is for the user of the command."""


@frozen
class Trial:
    """One authorization with this process as the client.

    :param reactor: provides what an Agent and an endpoint need.
    :param scopes: the scopes to ask for; empty for all that the client may ask for.
    :param roots: certificates in PEM to trust; None for those of the system.
    :param say: prints a line for the user of the command.
    """

    _reactor: IReactorTime
    _issuer: str
    _client_id: str
    _client_secret: str
    _scopes: tuple[str, ...]
    _roots: bytes | None
    _say: Callable[[str], object]

    async def walk(self, administration: Administration) -> dict[str, Any]:
        """Walk through all steps, and return the token endpoint's answer (RFC 6749, section 5.1).

        :raises ConfigurationError: the issuer or the certificate cannot be used.
        :raises RegistrationError: there is no such client, or a step failed.
        """
        check_issuer(self._issuer, administration.settings.ssl_only)
        client = await administration.client(self._client_id)
        redirect_uri = local_redirect_uri(client)
        self._check_secret(client, int(administration.seconds()))
        scopes = self._scopes or await _all_scopes(administration, client)
        http = HTTPClient(self._agent())
        metadata = await self._metadata(http, administration.settings.ssl_only)
        callback = Callback(redirect_uri, random_string(30), self._issuer)
        listening = await callback.listen(self._reactor)
        try:
            verifier = random_string(64)
            address = (
                metadata["authorization_endpoint"]
                + "?"
                + urlencode(
                    {
                        "response_type": "code",
                        "client_id": self._client_id,
                        "redirect_uri": redirect_uri,
                        "scope": " ".join(scopes),
                        "state": callback.state,
                        "code_challenge": challenge_of(verifier),
                        "code_challenge_method": "S256",
                    }
                )
            )
            self._say(f"Open this address in a browser on this machine:\n\n{address}\n")
            self._say(f"Waiting for the answer at {redirect_uri}. The browser warns of its certificate.")
            code = await callback.code
            self._say("The code has arrived. The answer of the token endpoint:\n")
            return await self._exchange(http, metadata["token_endpoint"], code, redirect_uri, verifier)
        finally:
            await maybeDeferred(listening.stopListening)

    def _check_secret(self, client: Client, now: int) -> None:
        """Refuse a wrong secret before someone logs in for it."""
        if client.disabled:
            raise TrialFailed("the client is disabled")
        try:
            authenticate(client, ClientCredentials(self._client_id, self._client_secret), now)
        except InvalidClient:
            raise TrialFailed("this is not the client's secret") from None

    def _agent(self) -> Agent:
        trusted = platformTrust()
        if self._roots is not None:
            found = _CERTIFICATE.findall(self._roots)
            if not found:
                raise ConfigurationError("the file of --cacert has no certificate in PEM")
            trusted = trustRootFromCertificates([Certificate.loadPEM(each) for each in found])
        return Agent(self._reactor, BrowserLikePolicyForHTTPS(trusted), connectTimeout=DEADLINE)

    async def _metadata(self, http: HTTPClient, ssl_only: bool) -> dict[str, str]:
        """The addresses of the endpoints (RFC 8414, section 3)."""
        status, metadata = await self._ask(
            http.get(well_known_address(SERVER, self._issuer), allow_redirects=False)
        )
        if status != 200:
            raise TrialFailed(f"{self._issuer} has no metadata: it answered {status}")
        # RFC 8414, section 3.3: "If these values are not identical, the data contained in the response
        # MUST NOT be used."
        if metadata.get("issuer") != self._issuer:
            raise TrialFailed(f"the server's issuer is {metadata.get('issuer')}: give it with --issuer")
        for name in ("authorization_endpoint", "token_endpoint"):
            check_redirect_uri(str(metadata.get(name)), ssl_only)
        return metadata

    async def _exchange(
        self, http: HTTPClient, endpoint: str, code: str, redirect_uri: str, verifier: str
    ) -> dict[str, Any]:
        """Exchange the code (RFC 6749, section 4.1.3)."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
        credentials = (quote_plus(self._client_id), quote_plus(self._client_secret))
        status, answer = await self._ask(
            http.post(endpoint, data=form, auth=credentials, allow_redirects=False)
        )
        if status != 200:
            raise TrialFailed(f"the token endpoint answered {status}: {_error_of(answer)}")
        return answer

    async def _ask(self, asked: Deferred[Any]) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of an answer.

        :raises TrialFailed: there is no such answer.
        """

        async def read() -> tuple[int, dict[str, Any]]:
            response = await asked
            answer = await treq.json_content(response)
            if not isinstance(answer, dict):
                raise ValueError("the answer is not a JSON object")
            return response.code, answer

        try:
            return await Deferred.fromCoroutine(read()).addTimeout(DEADLINE, self._reactor)
        except ValueError:
            raise TrialFailed(f"{self._issuer} answered without JSON") from None
        except (ConnectError, ConnectionClosed, DeferredTimeout, ResponseFailed, OSError, TLSError):
            raise TrialFailed(f"{self._issuer} cannot be reached: {_reason_of(Failure())}") from None


async def _all_scopes(administration: Administration, client: Client) -> tuple[str, ...]:
    scopes = client.scopes
    if scopes is None:
        scopes = tuple(scope.name for scope in await administration.registry.scopes())
    if not scopes:
        raise TrialFailed(
            "there is no scope that the client may ask for: add one with `djoauth2 scope add`"
        )
    return scopes


def local_redirect_uri(client: Client) -> str:
    """A client's first redirect URI that leads to this machine.

    :raises TrialFailed: there is none. The text says how to add one.
    """
    for uri in client.redirect_uris:
        parts = urlsplit(uri)
        if parts.scheme == "https" and parts.hostname in _LOOPBACK:
            return uri
    options = " ".join(
        f"--redirect-uri {shlex.quote(uri)}" for uri in [*client.redirect_uris, SUGGESTED]
    )
    raise TrialFailed(
        "the client has no https redirect URI on this machine: register one with "
        f"`djoauth2 client edit {client.client_id} {options}`"
    )


class Callback(Resource):
    """The page at a client's redirect URI. It takes the server's answer.

    :ivar code: a Deferred of the code; it fails with `TrialFailed` if the server answers with an error.
    """

    isLeaf = True

    def __init__(self, redirect_uri: str, state: str, issuer: str) -> None:
        super().__init__()
        self._uri = urlsplit(redirect_uri)
        self.state = state
        self._issuer = issuer
        self.code: Deferred[str] = Deferred()

    async def listen(self, reactor: IReactorTime) -> IListeningPort:
        """Listen at the redirect URI, with a new certificate.

        :raises TrialFailed: its port cannot be used.
        """
        host, port = self._uri.hostname or "", self._uri.port or 443
        certificate = PrivateCertificate.loadPEM(make_certificate(host))
        endpoint = SSL4ServerEndpoint(reactor, port, certificate.options(), interface=_LOOPBACK[host])
        try:
            listening: IListeningPort = await endpoint.listen(LimitedSite(self, reactor))
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            raise TrialFailed(f"the command cannot listen at port {port}: {reason}") from None
        return listening

    def render_GET(self, request: Request) -> bytes:
        """Take the answer (RFC 6749, sections 4.1.2 and 4.1.2.1)."""
        answer = {
            name.decode("utf-8", "replace"): values[0].decode("utf-8", "replace")
            for name, values in request.args.items()
        }
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        request.setHeader("Cache-Control", "no-store")
        request.setHeader("Referrer-Policy", "no-referrer")
        request.setHeader("X-Content-Type-Options", "nosniff")
        if request.path.decode("ascii", "replace") != (self._uri.path or "/"):
            request.setResponseCode(404)
            return b"Nothing is here.\n"
        if self.code.called or answer.get("state") != self.state:
            request.setResponseCode(400)
            return b"The command does not wait for this answer.\n"
        # The page is sent before the command ends.
        request.notifyFinish().addBoth(lambda _: self._take(answer))
        return b"The answer has arrived. Continue in the terminal. You can close this page.\n"

    def _take(self, answer: dict[str, str]) -> None:
        if self.code.called:
            return
        # RFC 9207, section 2.4: "If the value does not match the expected issuer identifier, clients
        # MUST reject the authorization response".
        if answer.get("iss") != self._issuer:
            self.code.errback(TrialFailed("the answer came from another issuer"))
        elif "code" not in answer:
            self.code.errback(TrialFailed(f"the server answered {_error_of(answer)}"))
        else:
            self.code.callback(answer["code"])


def _error_of(answer: dict[str, Any]) -> str:
    """The error in an answer, and its description."""
    return ": ".join(str(answer[name]) for name in ("error", "error_description") if name in answer)


def _reason_of(failure: Failure) -> str:
    """Why a request failed, in one line. Twisted wraps the reasons in other errors."""
    inner = getattr(failure.value, "reasons", None)
    if inner:
        return _reason_of(inner[0])
    if failure.check(TLSError):
        return "its certificate is not trusted, give it with --cacert"
    if failure.check(DeferredTimeout):
        return "it does not answer in time"
    return failure.getErrorMessage()
