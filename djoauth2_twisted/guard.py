"""A wrapper that serves a resource only to requests with a valid access token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet.defer import execute
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource, getChildForRequest
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from .access_token import AccessTokenAuthenticator, HungUp, resource_server_of, settings_of
from .conf import Settings
from .errors import ConfigurationError, InvalidToken, RegistrationError
from .interfaces import AnyVerifier, IAccessToken
from .models import AccessToken
from .protocol.metadata import RESOURCE, well_known_address
from .protocol.redirection import check_absolute_uri
from .protocol.requirement import Scopes, any_of
from .web.cors import Cors, preflight
from .web.error_response import logged_fault
from .web.forged_headers import drop_forged
from .web.reading import require_tls
from .web.respond import start_over, write

__all__ = ["OAuthGuard", "any_of"]


@implementer(IResource)
class OAuthGuard:
    """Guards a resource and everything below it, for every method::

        root.putChild(b"api", OAuthGuard(api, server, scopes=("user_info",)))

    The resource is neither located nor rendered before the token was checked. In the resource,
    ``IAccessToken(request)`` is the token, with its client and its resource owner (RFC 6750).

    :param resource: any IResource.
    :param verifier: an `AuthorizationServer`, or any other ITokenVerifier.
    :param scopes: the scopes that a token must cover, all of them; or alternatives,
        ``any_of("read", "admin")``; or either by method, ``{"GET": ("read",), "POST": ("write",)}``,
        and other methods are refused.
    :param settings: ``realm`` and ``ssl_only``; by default the verifier's own, where it has any.
    :param address: the public address of the resource. Its metadata (RFC 9728) is then published by the
        verifier's ``well_known_resource()`` and named in the guard's challenges.
    :param optional: whether requests without an access token are served, too. For them,
        ``IAccessToken(request, None)`` is None. A token that is sent must be valid.
    :param cors: origins, like ``"https://app.example"``, whose scripts may send requests and read the
        answers.
    :param pass_authorization: whether the resource sees the Authorization header.
    :raises ConfigurationError: a scope, a method, an origin or the address is not valid, or the verifier
        publishes no metadata.
    """

    #: True, so that Twisted does not look for children before the token was checked.
    isLeaf = True

    def __init__(
        self,
        resource: IResource | Resource,
        verifier: AnyVerifier,
        scopes: Scopes | Mapping[str, Scopes] = (),
        settings: Settings | None = None,
        address: str | None = None,
        *,
        optional: bool = False,
        cors: Iterable[str] = (),
        pass_authorization: bool = False,
    ) -> None:
        self._resource = resource
        settings = settings or settings_of(verifier)
        metadata_address = None if address is None else _metadata_address(address, settings)
        self._authenticator = AccessTokenAuthenticator(verifier, scopes, settings, metadata_address)
        self._optional = optional
        self._cors = Cors(cors)
        self._pass_authorization = pass_authorization
        if address is not None:
            named = self._authenticator.requirement.scopes
            resource_server_of(verifier).publish_metadata(address, named)

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        """The guard itself. It locates the children of the resource after it has checked the token."""
        request.prepath.pop()
        request.postpath.insert(0, name)
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """Raise NotImplementedError: children belong to the resource that is guarded."""
        raise NotImplementedError("add the child to the resource that is guarded")

    def render(self, request: Request) -> int:
        """Check the request's access token; then render the resource, or refuse the request."""
        self._cors.allow(request)
        try:
            # A request with the method OPTIONS may be a preflight.
            token = None if request.method == b"OPTIONS" else self._authenticator.enter(request)
        except InvalidToken as error:
            write(request, self._authenticator.refuse(request, error))
            return NOT_DONE_YET
        if token is not None:
            try:
                self._admit(token, request)
            except Exception:
                self._fail(Failure(), request)
            finally:
                self._authenticator.leave(request)
            return NOT_DONE_YET
        checked, proceed = self._check(request)
        checked.addCallbacks(proceed, self._refuse, callbackArgs=(request,), errbackArgs=(request,))
        checked.addErrback(self._fail, request)
        return NOT_DONE_YET

    def _check(self, request: IRequest) -> tuple[Any, Any]:
        """A Deferred of the check, and the callback for a request that passes it."""
        if self._cors.is_preflight(request):
            # If this passed without TLS, the browser would next send the token unencrypted.
            return execute(require_tls, request, self._authenticator.settings), self._answer_preflight
        if self._optional:
            return self._authenticator.authenticate_if_sent(request), self._admit
        return self._authenticator.authenticate(request), self._admit

    def _answer_preflight(self, _: object, request: IRequest) -> None:
        write(request, preflight(self._authenticator.requirement.methods))

    def _admit(self, token: AccessToken | None, request: Request) -> None:
        drop_forged(request.requestHeaders)
        if not self._pass_authorization:
            request.requestHeaders.removeHeader(b"authorization")
        if token is not None:
            request.setComponent(IAccessToken, token)
        request.render(getChildForRequest(self._resource, request))

    def _refuse(self, failure: Failure, request: IRequest) -> None:
        if failure.check(HungUp):
            return
        error: Any = failure.value
        write(request, self._authenticator.refuse(request, error))

    def _fail(self, failure: Failure, request: Request) -> None:
        error = logged_fault(request, "A guarded resource failed", failure)
        if start_over(request):
            self._cors.allow(request)
            write(request, self._authenticator.refuse(request, error))


def _metadata_address(address: str, settings: Settings) -> str:
    # RFC 9728, section 1.2: "a URL that uses the "https" scheme and has no fragment component".
    try:
        check_absolute_uri(address, settings.ssl_only)
    except RegistrationError:
        raise ConfigurationError(
            f"the address of a guard is {address!r}: it must be an https URL without fragment, "
            "like https://api.example/files"
        ) from None
    return well_known_address(RESOURCE, address)
