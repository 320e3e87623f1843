"""Access tokens as credentials of twisted.cred, for `twisted.web.guard` and for other protocols.

A site that logs people in with `twisted.web.guard` can accept our tokens as well as its passwords::

    portal = Portal(realm, [passwords, BearerTokenChecker(server, scopes=("files",))])
    resource = HTTPAuthSessionWrapper(
        portal, [BasicCredentialFactory(b"files"), BearerCredentialFactory(server.settings)])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import ICredentialFactory, IRequest
from zope.interface import Attribute, implementer

from .access_token import presented_token
from .conf import Settings
from .errors import (
    DJOAuthError,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    MissingCredentials,
    TemporarilyUnavailable,
    get_error_details,
)
from .interfaces import AnyVerifier
from .protocol.bearer import is_token
from .protocol.requirement import AnyOf, demand_of
from .web.error_response import BearerErrors
from .web.respond import write


class IBearerToken(ICredentials):
    """Credentials that consist of an access token."""

    token = Attribute("As it was sent. (str)")


def _text(token: str | bytes) -> str:
    return token.decode("latin-1") if isinstance(token, bytes) else token


@implementer(IBearerToken)
@frozen
class BearerToken:
    """An access token as it was sent: a str, or bytes from the network.

    :param answer: answers the HTTP request that the token came with, by an error; None in any other
        protocol.
    """

    token: str = field(repr=False, converter=_text)
    answer: Callable[[DJOAuthError], None] | None = field(default=None, repr=False, eq=False)


@implementer(ICredentialsChecker)
@frozen
class BearerTokenChecker:
    """A checker whose avatar id is the resource owner's username, in UTF-8.

    An invalid token fails with `UnauthorizedLogin`. If the verifier cannot check the token, its own
    failure is passed on, because that is not a refusal. In `twisted.web.guard` the request is answered
    with 503 instead, and the login never ends: any failure would become a 401, or a 500 with a traceback
    in the log.

    :param scopes: the scopes that a token must cover: a sequence, of which it needs all, or
        ``any_of(...)``.
    :raises ConfigurationError: a scope's name is not valid.
    """

    credentialInterfaces = (IBearerToken,)

    _log = Logger()

    verifier: AnyVerifier
    scopes: AnyOf = field(converter=demand_of, default=AnyOf(((),)))

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """A Deferred that fires with the resource owner's username, in UTF-8 bytes."""
        checking = Deferred.fromCoroutine(self._check(credentials.token))
        answer = getattr(credentials, "answer", None)
        return checking if answer is None else checking.addErrback(self._unavailable, answer)

    def _unavailable(self, failure: Failure, answer: Callable[[DJOAuthError], None]) -> Deferred[Any]:
        failure.trap(TemporarilyUnavailable)
        error: Any = failure.value
        self._log.warn(
            "An access token could not be checked. The request is answered with {status}.",
            status=error.status_code,
        )
        answer(error)
        return Deferred()

    async def _check(self, token: str) -> bytes:
        if not is_token(token):
            raise UnauthorizedLogin()
        try:
            looking_up = maybeDeferred(self.verifier.verify, token, self.scopes.in_any_case)
            found = self.scopes.check(await looking_up)
        except (InvalidRequest, InvalidToken, InsufficientScope) as error:
            raise UnauthorizedLogin(error.error_name) from None
        return found.user.username.encode("utf-8")


@implementer(ICredentialFactory)
@frozen
class BearerCredentialFactory:
    """Reads access tokens for `twisted.web.guard.HTTPAuthSessionWrapper`.

    :param settings: those of the server or the verifier; ``realm`` and ``ssl_only`` are used.
    """

    settings: Settings = field(factory=Settings)
    scheme = b"bearer"

    def getChallenge(self, request: IRequest) -> dict[str, str]:
        """The challenge. It names the error if the request has a token (RFC 6750, section 3)."""
        return {"realm": self.settings.realm, **self._error(request)}

    def _error(self, request: IRequest) -> dict[str, str]:
        try:
            presented_token(request, self.settings)
        except MissingCredentials:
            return {}
        except DJOAuthError as error:
            return get_error_details(error)
        return {"error": InvalidToken.error_name}

    def decode(self, response: bytes, request: IRequest) -> BearerToken:
        """The access token of a request.

        :raises LoginFailed: there is none, or RFC 6750 calls the request an ``invalid_request``.
        """

        def answer(error: DJOAuthError) -> None:
            write(request, BearerErrors(self.settings.realm)(request, error))

        try:
            return BearerToken(presented_token(request, self.settings), answer)
        except DJOAuthError as error:
            raise LoginFailed(error.description) from None
