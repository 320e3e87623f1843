"""Checks the access token of a request (RFC 6750), for `OAuthGuard` and `oauth_scope`."""

from __future__ import annotations

from collections.abc import Collection
from inspect import signature
from typing import Any, cast

from attrs import Factory, field, frozen
from twisted.internet.defer import CancelledError, Deferred, execute, maybeDeferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from zope.interface import implementer

from .conf import Settings
from .errors import (
    ConfigurationError,
    DJOAuthError,
    InvalidRequest,
    MissingCredentials,
    TemporarilyUnavailable,
)
from .interfaces import AnyVerifier, IRecallingVerifier, IRequestCounter, IResourceServer
from .models import AccessToken
from .protocol import bearer
from .protocol.requirement import Requirement, requirement_of
from .web.error_response import BearerErrors, logged_fault
from .web.reading import address_of, has_hung_up, names_parameter, require_tls
from .web.respond import Response


class HungUp(CancelledError):
    """The client has hung up during the look-up; no response is needed."""


#: The attribute with the token of a request, for an inner guard, as the outer one removes the header.
_PRESENTED = "_djoauth2_presented"


def presented_token(request: IRequest, settings: Settings) -> str:
    """The access token of a request.

    :raises MissingCredentials: the header has none.
    :raises InvalidRequest: the token was sent without TLS, malformed, or in more than one way.
    """
    require_tls(request, settings)
    authorization = request.requestHeaders.getRawHeaders(b"authorization") or ()
    kept: str | None = None if authorization else vars(request).get(_PRESENTED)
    token = bearer.read_token(authorization) if kept is None else kept
    # RFC 6750, section 2: "Clients MUST NOT use more than one method to transmit the token in each
    # request." Only the header is accepted (RFC 9700, section 4.3.2).
    if names_parameter(request, "access_token"):
        raise InvalidRequest("the access token was sent in more than one way")
    return token


def recalling(verifier: AnyVerifier) -> IRecallingVerifier | None:
    """The verifier, if it may be asked by `IRecallingVerifier.recall` first."""
    if not IRecallingVerifier.providedBy(verifier):
        return None
    for kind in type(verifier).__mro__:
        names = vars(kind)
        # A verifier with ``__slots__`` has no dictionary.
        if "recall" in names and "verify" not in getattr(verifier, "__dict__", {}):
            return cast("IRecallingVerifier", verifier)
        if "verify" in names:
            return None
    return None


def takes_address(verifier: AnyVerifier) -> bool:
    """Whether a verifier takes the address of the token's sender; see `ITokenVerifier`."""
    try:
        return "address" in signature(getattr(verifier, "verify", None)).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):  # there is no method, or it has no signature
        return False


@implementer(IResourceServer)
@frozen
class _NotPublishing:
    """The resource server of a verifier that does not provide one."""

    settings: Settings

    def note_scopes(self, scopes: Collection[str]) -> None:
        """Accept all scopes, because the verifier has no list of them."""

    def publish_metadata(self, address: str, scopes: tuple[str, ...]) -> None:
        """Raise ConfigurationError, because the verifier publishes no metadata."""
        raise ConfigurationError(
            "address= needs a verifier that publishes metadata, and this one does not"
        )


def resource_server_of(verifier: AnyVerifier) -> IResourceServer:
    """The resource server of a verifier; see `IResourceServer`."""
    provided: IResourceServer | None = IResourceServer(verifier, None)
    if provided is not None:
        return provided
    settings = getattr(verifier, "settings", None)
    return _NotPublishing(settings if isinstance(settings, Settings) else Settings())


def settings_of(verifier: AnyVerifier) -> Settings:
    """The settings for the guards of a verifier."""
    settings: Settings = resource_server_of(verifier).settings
    return settings


@frozen
class AccessTokenAuthenticator:
    """Checks the access token of a request, and makes the response if the request is refused::

        authenticator = AccessTokenAuthenticator(server, ("user_info",))

        @app.route("/me")
        async def me(request):
            try:
                access_token = await authenticator.authenticate(request)
            except DJOAuthError as error:
                return authenticator.refuse(request, error)

    :param verifier: an `AuthorizationServer`, or any other ITokenVerifier.
    :param scopes: as for `OAuthGuard`.
    :param settings: for ``ssl_only`` and ``realm``; by default the verifier's own.
    :raises ConfigurationError: a scope is not a valid name.
    """

    verifier: AnyVerifier
    requirement: Requirement = field(converter=requirement_of, alias="scopes")
    settings: Settings = field(default=Factory(lambda self: settings_of(self.verifier), takes_self=True))
    #: The address of the resource's metadata (RFC 9728).
    metadata_address: str | None = None
    _takes_address: bool = field(
        default=Factory(lambda self: takes_address(self.verifier), takes_self=True), init=False
    )
    _counter: IRequestCounter | None = field(
        default=Factory(lambda self: IRequestCounter(self.verifier, None), takes_self=True), init=False
    )

    _recalling: IRecallingVerifier | None = field(
        default=Factory(lambda self: recalling(self.verifier), takes_self=True), init=False
    )

    def __attrs_post_init__(self) -> None:
        resource_server_of(self.verifier).note_scopes(self.requirement.scopes)

    def enter(self, request: Request) -> AccessToken | None:
        """The request's access token, if the request can be admitted without waiting.

        It passes the same checks as in `authenticate`, which says why where one fails. Unless the result
        is None, `leave` has to be called once the guarded code has returned.

        :raises InvalidToken: the token is known to be invalid, and nothing else is wrong.
        """
        verifier = self._recalling
        if verifier is None:
            return None
        authorization = request.requestHeaders.getRawHeaders(b"authorization")
        if authorization is None:
            return None
        try:
            require_tls(request, self.settings)
            token = bearer.read_token(authorization)
            demand = self.requirement.everywhere or self.requirement.demand(_method(request))
        except DJOAuthError:
            return None
        has_parameters = b"?" in request.uri or request.requestHeaders.hasHeader(b"content-type")
        if has_parameters and names_parameter(request, "access_token"):
            return None
        found = verifier.recall(token)
        if found is None or not demand.is_covered(found.scopes):
            return None
        vars(request)[_PRESENTED] = token
        verifier.enter()
        return found

    def leave(self, request: Request) -> None:
        """The guarded code of a request that has entered has returned."""
        if self._recalling is not None:
            self._recalling.leave(request)

    def authenticate(self, request: IRequest) -> Deferred[AccessToken]:
        """Check the request's access token.

        :returns: a Deferred of the token. It fails with the `DJOAuthError` to answer with. If the client
            hangs up, the look-up is cancelled, and the Deferred fails with `HungUp`.
        """
        return execute(presented_token, request, self.settings).addCallback(self._verify, request)

    def authenticate_if_sent(self, request: IRequest) -> Deferred[AccessToken | None]:
        """Check the request's access token as `authenticate` does; None if the request has none."""

        def read() -> str | None:
            try:
                return presented_token(request, self.settings)
            except MissingCredentials:
                if names_parameter(request, "access_token"):
                    raise
                self.requirement.demand(_method(request))
                return None

        def verify(token: str | None) -> Any:
            if token is not None:
                return self._verify(token, request)
            # It needs no server, so it is never refused. A server that stops waits until it has ended.
            if self._counter is not None:
                self._counter.begin_request(cast("Request", request))
            return None

        return execute(read).addCallback(verify)

    def _verify(self, token: str, sent: IRequest) -> Deferred[AccessToken]:
        # IRequest leaves out some of what a request of Twisted has.
        request = cast("Request", sent)
        method = _method(request)
        if self._counter is not None and not self._counter.begin_request(request):
            raise TemporarilyUnavailable()
        vars(request)[_PRESENTED] = token

        def end(found: Any) -> Any:
            # A verifier may ignore the cancellation.
            if has_hung_up(request):
                raise HungUp()
            return found

        def check(found: AccessToken | None) -> AccessToken:
            return self.requirement.demand(method).check(found)

        sender = {"address": address_of(request)} if self._takes_address else {}
        scopes = self.requirement.asked(method)
        looking_up = maybeDeferred(self.verifier.verify, token, scopes, **sender)
        request.notifyFinish().addErrback(lambda _: looking_up.cancel())
        return looking_up.addBoth(end).addCallback(check).addErrback(self._explain, request)

    def _explain(self, failure: Failure, request: IRequest) -> Failure:
        """Log an unexpected error of the verifier, and answer with `logged_fault`."""
        if failure.check(DJOAuthError, HungUp):
            return failure
        what = "The verifier failed to check an access token"
        return Failure(logged_fault(request, what, failure))

    def refuse(self, request: IRequest, error: DJOAuthError) -> Response:
        """The response to a request that is refused (RFC 6750, section 3)."""
        return BearerErrors(self.settings.realm, self.metadata_address)(request, error)


def _method(request: IRequest) -> str:
    method: bytes = request.method
    return method.decode("latin-1")
