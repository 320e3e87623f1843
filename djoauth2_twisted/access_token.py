"""A request's access token, judged (RFC 6750): what `OAuthGuard` and `oauth_scope` share."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from klein import Response
from twisted.internet.defer import Deferred, execute, maybeDeferred
from zope.interface import classImplements

from .conf import Settings
from .errors import (
    ContentTooLarge,
    DJOAuthError,
    InvalidRequest,
    MissingCredentials,
    TemporarilyUnavailable,
    get_error_details,
)
from .interfaces import IAccessToken, ITokenVerifier
from .models import AccessToken
from .parameters import Parameters, parse
from .protocol import bearer
from .web import respond
from .web.request import form_body, read_query, require_tls

classImplements(AccessToken, IAccessToken)


@frozen
class AccessTokenAuthenticator:
    """Judges the access token of a request, and makes the answer where it is refused.

    :param scopes: all of those that the token must cover.
    :param settings: of which ``ssl_only`` and ``realm`` matter here.
    """

    verifier: ITokenVerifier
    scopes: tuple[str, ...]
    settings: Settings
    #: Where the resource's metadata is (RFC 9728).
    metadata_address: str | None = None

    def authenticate(self, request: Any) -> Deferred[AccessToken]:
        """The request's access token: a Deferred that fails with the `DJOAuthError` to answer."""

        def verify(token: str) -> Deferred[AccessToken]:
            return maybeDeferred(self.verifier.verify, token, self.scopes)

        return execute(self._read, request).addCallback(verify)

    def _read(self, request: Any) -> str:
        require_tls(request, self.settings)
        authorization = request.requestHeaders.getRawHeaders(b"authorization") or []
        token = bearer.read_token(authorization)
        # RFC 6750, section 2: "Clients MUST NOT use more than one method to transmit the token in each
        # request." The header is the only one that is taken (RFC 9700, section 4.3.2).
        if _names_token(read_query(request)) or _names_token(self._form(request)):
            raise InvalidRequest("the access token was sent in more than one way")
        return token

    def _form(self, request: Any) -> Parameters:
        try:
            return parse(form_body(request))
        except ContentTooLarge:
            raise
        except InvalidRequest:
            # It is no form of ours to read, and none of our business.
            return Parameters({})

    def refuse(self, request: Any, error: DJOAuthError) -> Response:
        """The answer to a request that is refused (RFC 6750, section 3)."""
        headers = {**respond.NO_STORE, **respond.error_headers(error)}
        if not isinstance(error, TemporarilyUnavailable):
            headers["WWW-Authenticate"] = bearer.challenge(
                error, self.settings.realm, self.metadata_address
            )
        if isinstance(error, MissingCredentials):
            return respond.respond(request, error.status_code, headers, b"")
        return respond.as_json(request, error.status_code, get_error_details(error), headers)


def _names_token(parameters: Parameters) -> bool:
    return "access_token" in parameters.values or "access_token" in parameters.repeated
