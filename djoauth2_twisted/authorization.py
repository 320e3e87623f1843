"""The authorization endpoint and its consent page (RFC 6749, section 4.1.1)."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import frozen
from klein import Response
from twisted.logger import Logger

from .conf import Settings
from .credentials import digest, random_string
from .errors import AccessDenied, DJOAuthError, InvalidRequest, MissingRedirectURI, get_error_details
from .interfaces import IRegistry, ITokenStore
from .models import Grant, ResourceOwner
from .parameters import Parameters, decode, parse
from .protocol import authorization as protocol
from .protocol.authorization import AuthorizationRequest, Redirection
from .protocol.redirection import host_of, origin_of
from .web import respond
from .web.login import login_address
from .web.pages import Pages, hidden_fields
from .web.request import (
    address_with_query,
    form_body,
    query_of,
    require_method,
    require_tls,
)
from .web.sessions import Browser, Sessions

ENDPOINT = "/authorization/"

# The consent form's own fields, which count in the body alone.
_FORM_FIELDS = frozenset({"user_action", "csrf_token"})


@frozen
class AuthorizationEndpoint:
    """``/authorization/``: asks the resource owner, and sends the answer to the client.

    :param clock: provides IReactorTime.
    """

    clock: Any
    issuer: str
    settings: Settings
    registry: IRegistry
    tokens: ITokenStore
    sessions: Sessions
    pages: Pages
    _log = Logger()

    async def __call__(self, request: Any) -> Response:
        """Answer a request: all checks in the order of the standard, then login, then consent."""
        try:
            require_tls(request, self.settings)
            require_method(request, "GET", "POST")
            parameters, form = self._read(request)
            redirection, client = await self._redirection(parameters)
        except MissingRedirectURI as error:
            return self.pages.error(request, error, "missing_redirect_uri.html")
        # From here on the client is known, and errors are sent to it.
        try:
            asked, names = protocol.check_request(
                parameters, client, redirection.redirect_uri, self.settings
            )
            known = await self.registry.find_scopes(names)
            asked = attrs.evolve(asked, scopes=protocol.check_scopes(client, names, known))
            browser = await self.sessions.browser(request)
            if browser.owner is None:
                return respond.redirect(request, login_address(request, self._own_address(request)))
            if form is None:
                return self._ask(request, asked, browser, browser.owner)
            return await self._decide(request, form, asked, redirection, browser, browser.owner)
        except DJOAuthError as error:
            if error.status_code >= 500:
                raise
            return respond.redirect(request, redirection.address(get_error_details(error)))

    def _read(self, request: Any) -> tuple[Parameters, Parameters | None]:
        """The request's parameters, and the consent form where one was sent."""
        if request.method == b"GET":
            return parse(query_of(request)), None
        body = form_body(request)
        sent = parse(body)
        form = sent if sent.values.keys() & _FORM_FIELDS else None
        # RFC 6749, section 3.1: the server "MAY support the use of the "POST" method as well". What
        # stands in query and form at once was sent more than once.
        return parse(query_of(request), _without_form_fields(body)), form

    async def _redirection(self, parameters: Parameters) -> tuple[Redirection, Any]:
        client = await self.registry.find_client(protocol.client_id_of(parameters))
        found = protocol.find_redirection(parameters, client, self.issuer, self.settings.ssl_only)
        return found, client

    def _own_address(self, request: Any) -> str:
        """This request's address, as it can be asked again with GET."""
        body = _without_form_fields(form_body(request)) if request.method == b"POST" else b""
        return address_with_query(request, ENDPOINT, query_of(request), body)

    def _ask(
        self, request: Any, asked: AuthorizationRequest, browser: Browser, owner: ResourceOwner
    ) -> Response:
        """The consent page. Its form says nothing of the request but a token bound to all of it."""
        token = self.sessions.form_token(browser, *_bound(asked, owner))
        context = {
            "client": asked.client,
            "scopes": asked.scopes,
            "form": hidden_fields(csrf_token=token),
            "form_action": self._own_address(request),
            "owner": owner,
            "redirect_host": host_of(asked.redirect_uri),
        }
        return self.pages.page(
            request, "authorization.html", context, form_target=origin_of(asked.redirect_uri)
        )

    async def _decide(
        self,
        request: Any,
        form: Parameters,
        asked: AuthorizationRequest,
        redirection: Redirection,
        browser: Browser,
        owner: ResourceOwner,
    ) -> Response:
        nonce = self.sessions.check_form_token(browser, form.get("csrf_token"), *_bound(asked, owner))
        if nonce is None:
            # RFC 6749, section 10.12: the endpoint "MUST implement CSRF protection".
            return self.pages.error(request, AccessDenied("this page was not made for your login"))
        if form.get("user_action") != "Accept":
            denied = get_error_details(AccessDenied("the resource owner denied the request"))
            return respond.redirect(request, redirection.address(denied))
        code = random_string(self.settings.authorization_code_length)
        grant = self._grant(nonce, asked, owner, code)
        # The form's nonce is the grant's id, so that a form sent twice makes one grant.
        if not await self.tokens.add_code(grant):
            return self.pages.error(request, InvalidRequest("this page was answered before"))
        if not await self._still_good(asked, browser):
            await self.tokens.revoke_grant(grant.id)
            return self.pages.error(request, MissingRedirectURI(), "missing_redirect_uri.html")
        self._log.info(
            "{username!r} let {client_id} in for {scopes}: grant {grant_id}",
            username=owner.username,
            client_id=asked.client.client_id,
            scopes=grant.scopes,
            grant_id=grant.id,
        )
        return respond.redirect(request, redirection.address({"code": code}))

    def _grant(
        self, grant_id: str, asked: AuthorizationRequest, owner: ResourceOwner, code: str
    ) -> Grant:
        now = int(self.clock.seconds())
        expires = now + self.settings.authorization_code_lifetime
        return Grant(
            id=grant_id,
            client_id=asked.client.client_id,
            owner=owner,
            scopes=tuple(scope.name for scope in asked.scopes),
            created=now,
            last_used=now,
            expires=expires,
            code_digest=digest(code),
            code_expires=expires,
            redirect_uri=asked.redirect_uri if asked.redirect_uri_sent else None,
            code_challenge=asked.code_challenge,
        )

    async def _still_good(self, asked: AuthorizationRequest, browser: Browser) -> bool:
        """Whether client, scopes and login are what they were before the code was stored.

        Whoever takes one of them away does so first and ends the grants after it; what was stored
        too late to be ended by that is found here.
        """
        if browser.session is None:
            return False
        client = await self.registry.find_client(asked.client.client_id)
        scopes = await self.registry.find_scopes(tuple(scope.name for scope in asked.scopes))
        now = int(self.clock.seconds())
        session = await self.registry.find_session(browser.session.digest, now)
        return (
            client is not None
            and not client.disabled
            and asked.redirect_uri in client.redirect_uris
            and len(scopes) == len(asked.scopes)
            and session is not None
        )


def _bound(asked: AuthorizationRequest, owner: ResourceOwner) -> tuple[object, ...]:
    """All that a consent is given for."""
    return (
        "consent",
        owner.username,
        asked.client.client_id,
        asked.redirect_uri,
        asked.redirect_uri_sent,
        [scope.name for scope in asked.scopes],
        asked.state,
        asked.code_challenge,
    )


def _without_form_fields(body: bytes) -> bytes:
    """A form's body without the consent form's own fields."""
    pairs = body.split(b"&")
    return b"&".join(pair for pair in pairs if decode(pair.partition(b"=")[0]) not in _FORM_FIELDS)
