"""A request's access token, judged (RFC 6750): what `OAuthGuard` and `oauth_scope` share."""

from __future__ import annotations

from inspect import signature
from typing import Any

from attrs import Factory, field, frozen
from klein import Response
from twisted.internet.defer import CancelledError, Deferred, execute, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from .conf import Settings
from .errors import (
    DJOAuthError,
    InvalidRequest,
    MissingCredentials,
    ServerError,
    TemporarilyUnavailable,
    get_error_details,
)
from .interfaces import IRequestCounter, ITokenVerifier
from .models import AccessToken
from .protocol import bearer
from .protocol.requirement import Requirement, requirement_of
from .web import respond
from .web.request import address_of, has_hung_up, names_parameter, require_tls


class HungUp(CancelledError):
    """The client went away during the look-up: there is nobody to answer."""


class _IPresented(Interface):
    token = Attribute("An access token that was read of a request. (str)")


@implementer(_IPresented)
@frozen
class _Presented:
    """Kept with a request for the next guard: what is guarded does not see the header."""

    token: str = field(repr=False)


def presented_token(request: Any, settings: Settings) -> str:
    """The access token that a request was sent with.

    :raises MissingCredentials: there is none in the header.
    :raises InvalidRequest: it came without TLS, malformed, or in more than one way.
    """
    require_tls(request, settings)
    authorization = request.requestHeaders.getRawHeaders(b"authorization") or []
    kept = _IPresented(request, None)
    token: str = kept.token if kept and not authorization else bearer.read_token(authorization)
    # RFC 6750, section 2: "Clients MUST NOT use more than one method to transmit the token in each
    # request." The header is the only one that is taken (RFC 9700, section 4.3.2).
    if names_parameter(request, "access_token"):
        raise InvalidRequest("the access token was sent in more than one way")
    return token


def takes_address(verifier: ITokenVerifier) -> bool:
    """Whether a verifier is to be told who sent a token; see `ITokenVerifier`."""
    try:
        return "address" in signature(getattr(verifier, "verify", None)).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):  # of what has none
        return False


def settings_of(verifier: ITokenVerifier) -> Settings:
    """The settings that go with a verifier."""
    found = getattr(verifier, "settings", None)
    return found if isinstance(found, Settings) else Settings()


@frozen
class AccessTokenAuthenticator:
    """Judges the access token of a request, and makes the answer where it is refused::

        authenticator = AccessTokenAuthenticator(server, ("user_info",))

        @app.route("/me")
        async def me(request):
            try:
                access_token = await authenticator.authenticate(request)
            except DJOAuthError as error:
                return authenticator.refuse(request, error)

    :param scopes: as for `OAuthGuard`.
    :param settings: of which ``ssl_only`` and ``realm`` matter; by default the verifier's own.
    :raises ConfigurationError: a scope cannot exist.
    """

    verifier: ITokenVerifier
    requirement: Requirement = field(converter=requirement_of, alias="scopes")
    settings: Settings = field(default=Factory(lambda self: settings_of(self.verifier), takes_self=True))
    #: Where the resource's metadata is (RFC 9728).
    metadata_address: str | None = None
    _takes_address: bool = field(
        default=Factory(lambda self: takes_address(self.verifier), takes_self=True), init=False
    )
    _counter: IRequestCounter | None = field(
        default=Factory(lambda self: IRequestCounter(self.verifier, None), takes_self=True), init=False
    )
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        # A verifier that knows which scopes there are can tell which of these is missing.
        asked_for = getattr(self.verifier, "scopes_asked_for", None)
        if isinstance(asked_for, set):
            asked_for.update(self.requirement.scopes)

    def authenticate(self, request: Any) -> Deferred[AccessToken]:
        """The request's access token: a Deferred that fails with the `DJOAuthError` to answer.

        Where the client hangs up before, the look-up is cancelled and the Deferred fails with `HungUp`.
        """
        return execute(presented_token, request, self.settings).addCallback(self._verify, request)

    def authenticate_if_sent(self, request: Any) -> Deferred[AccessToken | None]:
        """The same, but None where no access token was sent in any way."""

        def read() -> str | None:
            try:
                return presented_token(request, self.settings)
            except MissingCredentials:
                if names_parameter(request, "access_token"):
                    raise
                self.requirement.demand(_method(request))
                return None

        def verify(token: str | None) -> Any:
            return None if token is None else self._verify(token, request)

        return execute(read).addCallback(verify)

    def _verify(self, token: str, request: Any) -> Deferred[AccessToken]:
        method = _method(request)
        if self._counter is not None and not self._counter.begin_request(request):
            raise TemporarilyUnavailable()
        request.setComponent(_IPresented, _Presented(token))

        def end(found: Any) -> Any:
            # Even a look-up that does not care to be cancelled ends here.
            if has_hung_up(request):
                raise HungUp()
            return found

        def check(found: AccessToken | None) -> AccessToken:
            return self.requirement.demand(method).check(found)

        sender = {"address": address_of(request)} if self._takes_address else {}
        scopes = self.requirement.asked(method)
        looking_up = maybeDeferred(self.verifier.verify, token, scopes, **sender)
        request.notifyFinish().addErrback(lambda _: looking_up.cancel())
        return looking_up.addBoth(end).addCallback(check).addErrback(self._explain)

    def _explain(self, failure: Failure) -> Failure:
        """What is neither a refusal nor a hang-up is a fault of the verifier's."""
        if failure.check(DJOAuthError, HungUp):
            return failure
        self._log.failure("An access token could not be judged", failure)
        return Failure(ServerError())

    def refuse(self, request: Any, error: DJOAuthError) -> Response:
        """The answer to a request that is refused (RFC 6750, section 3)."""
        headers = {**respond.NO_STORE, **respond.error_headers(error)}
        # What is no matter of credentials does not challenge the client to bring better ones.
        if error.status_code in {400, 401, 403}:
            headers["WWW-Authenticate"] = bearer.challenge(
                error, self.settings.realm, self.metadata_address
            )
        if isinstance(error, MissingCredentials):
            return respond.respond(request, error.status_code, headers, b"")
        return respond.as_json(request, error.status_code, get_error_details(error), headers)


def _method(request: Any) -> str:
    method: bytes = request.method
    return method.decode("latin-1")
