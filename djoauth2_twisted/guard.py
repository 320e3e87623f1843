"""A wrapper that lets nobody into a resource without a good access token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from .access_token import AccessTokenAuthenticator
from .conf import Settings
from .errors import DJOAuthError, ServerError
from .interfaces import IAccessToken, ITokenVerifier
from .models import AccessToken
from .protocol.metadata import RESOURCE, resource_metadata, well_known_address, well_known_path
from .web.respond import write


@implementer(IResource)
class OAuthGuard:
    """Guards a resource and everything below it, whatever the method::

        root.putChild(b"api", OAuthGuard(api, server, scopes=("user_info",)))

    Nothing of the resource is touched, located or rendered before the verdict. Inside,
    ``IAccessToken(request)`` tells who came, and for whom.

    :param resource: any IResource.
    :param verifier: an `AuthorizationServer`, or any other ITokenVerifier.
    :param scopes: all of those that a token must cover.
    :param settings: ``realm`` and ``ssl_only``; by default the verifier's own, where it has any.
    :param address: the public address of the resource. Its metadata (RFC 9728) is then published by the
        verifier's ``well_known_resource()`` and named in the guard's challenges.
    """

    #: So that Twisted looks no further for children before the verdict.
    isLeaf = True
    _log = Logger()

    def __init__(
        self,
        resource: IResource,
        verifier: ITokenVerifier,
        scopes: Iterable[str] = (),
        settings: Settings | None = None,
        address: str | None = None,
    ) -> None:
        self._resource = resource
        self._authenticator = AccessTokenAuthenticator(
            verifier,
            scopes_of(scopes),
            settings or settings_of(verifier),
            None if address is None else well_known_address(RESOURCE, address),
        )
        if address is not None:
            _publish(verifier, address, scopes_of(scopes))

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        """Whoever asks for a child gets the guard, which asks for its own children itself."""
        request.prepath.pop()
        request.postpath.insert(0, name)
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """Children belong to the resource that is guarded."""
        raise NotImplementedError("add the child to the resource that is guarded")

    def render(self, request: Any) -> int:
        """Judge the request's access token; then let it through or refuse it."""
        verdict = self._authenticator.authenticate(request)
        # Whoever hung up while we looked gets nothing rendered.
        request.notifyFinish().addErrback(lambda _: verdict.cancel())
        verdict.addCallbacks(self._admit, self._refuse, callbackArgs=(request,), errbackArgs=(request,))
        verdict.addErrback(self._fail, request)
        return NOT_DONE_YET

    def _admit(self, token: AccessToken, request: Any) -> None:
        request.setComponent(IAccessToken, token)
        request.render(getChildForRequest(self._resource, request))

    def _refuse(self, failure: Failure, request: Any) -> None:
        if failure.check(CancelledError):
            return
        error = failure.value
        if not isinstance(error, DJOAuthError):
            self._log.failure("An access token could not be judged", failure)
            error = ServerError()
        write(request, self._authenticator.refuse(request, error))

    def _fail(self, failure: Failure, request: Any) -> None:
        request.processingFailed(failure)


def _publish(verifier: Any, address: str, scopes: tuple[str, ...]) -> None:
    """Have a resource's metadata published by a verifier that knows its issuer."""

    async def document() -> dict[str, Any]:
        return resource_metadata(address, verifier.issuer, scopes)

    verifier.well_known.add(well_known_path(RESOURCE, address), document)


def scopes_of(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes that a guard is given; a lone string would be taken letter by letter."""
    if isinstance(scopes, str):
        raise TypeError('scopes must be a sequence of names, like ("user_info",)')
    return tuple(scopes)


def settings_of(verifier: ITokenVerifier) -> Settings:
    """The settings that go with a verifier."""
    found = getattr(verifier, "settings", None)
    return found if isinstance(found, Settings) else Settings()
