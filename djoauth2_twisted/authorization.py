"""The authorization endpoint and its consent page (RFC 6749, section 4.1.1)."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import attrs
from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource

from .conf import Settings
from .credentials import random_string
from .errors import (
    AccessDenied,
    DJOAuthError,
    MissingRedirectURI,
    get_error_details,
)
from .events import CodeIssued, ConsentDenied, Events
from .interfaces import IRegistry, ITokenStore
from .models import Grant, GrantFilter, ResourceOwner
from .paging import by_age, entries
from .parameters import Parameters, parse
from .protocol import authorization as protocol
from .protocol import paths
from .protocol.authorization import AuthorizationRequest, Redirection
from .protocol.openid_scopes import without_passed_over, words_of
from .protocol.redirection import host_of
from .scope_lookup import find_scopes
from .web import respond, statistics
from .web.consent import FORM_FIELDS, bound_values, covers, new_grant, without_form_fields
from .web.error_response import ErrorResponse
from .web.image import image_address
from .web.mounting import IMount
from .web.pages import DescribedScope, Pages, hidden_fields
from .web.reading import (
    address_of,
    form_body,
    note_client,
    query_of,
    request_id_of,
    require_method,
    require_tls,
    short_enough,
    with_query,
)
from .web.reporting import refusal
from .web.respond import Response
from .web.sessions import FORM_LIFETIME, Browser, Sessions
from .web.shield import shield
from .web.statistics import Statistics


@frozen
class AuthorizationEndpoint:
    """``/authorization/``: asks the resource owner, and redirects with the answer to the client.

    :param path: its path in the site; None where it is in the server's tree.
    :param template: the template of its consent page.
    :param missing_redirect_uri: the address of the error page for browsers that cannot be redirected to
        a client; None for our own page.
    """

    clock: IReactorTime
    issuer: str
    settings: Settings
    registry: IRegistry
    tokens: ITokenStore
    sessions: Sessions
    pages: Pages
    statistics: Statistics
    events: Events
    path: str | None = None
    template: str = "authorization.html"
    missing_redirect_uri: str | None = None

    async def __call__(self, request: IRequest) -> Response:
        """Answer an authorization request (RFC 6749, sections 4.1.1 and 4.1.2).

        The client is checked first, then the request, then the login, and then the consent.
        """
        try:
            parameters, form = self._read(request)
            redirection, client = await self._redirection(request, parameters)
        except MissingRedirectURI as error:
            self.statistics.count("authorization/missing_redirect_uri")
            self._report_refusal(request, error)
            return self._missing_redirection(request, error)
        # From here on the client is known, and errors are sent to it.
        try:
            asked, names = protocol.check_request(
                parameters,
                client,
                redirection.redirect_uri,
                require_state=self.settings.require_state,
                require_pkce=self.settings.require_pkce,
            )
            asked = await self._with_scopes(asked, client, names, parameters)
            browser = await self.sessions.browser(request)
            if browser.owner is None:
                own_address = self._own_address(request)
                return respond.redirect(request, await self.sessions.login_address(request, own_address))
            if form is None:
                if await self._is_remembered(asked, browser.owner):
                    return await self._authorize(
                        request, None, asked, redirection, browser, browser.owner
                    )
                return self._consent_page(request, asked, browser, browser.owner)
            return await self._decide(request, form, asked, redirection, browser, browser.owner)
        except DJOAuthError as error:
            if error.status_code >= 500:
                raise
            self.statistics.count(f"authorization/{error.error_name}")
            self._report_refusal(request, error)
            return respond.redirect(request, redirection.address(get_error_details(error)))

    def _report_refusal(self, request: IRequest, error: DJOAuthError) -> None:
        self.events.publish(refusal("authorization", request, error))

    def _missing_redirection(self, request: IRequest, error: MissingRedirectURI) -> Response:
        if self.missing_redirect_uri is not None:
            return respond.redirect(request, self.missing_redirect_uri)
        return self.pages.error(request, error, "missing_redirect_uri.html")

    def _read(self, request: IRequest) -> tuple[Parameters, Parameters | None]:
        """The request's parameters, and the consent form if one was sent."""
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        if request.method == b"GET":
            return parse(query_of(request)), None
        body = form_body(request)
        sent = parse(body)
        form = sent if sent.values.keys() & FORM_FIELDS else None
        # RFC 6749, section 3.1: the server "MAY support the use of the "POST" method as well". A
        # parameter in both the query and the form is a repeated parameter.
        return parse(query_of(request), without_form_fields(body)), form

    async def _redirection(self, request: IRequest, parameters: Parameters) -> tuple[Redirection, Any]:
        client = await self.registry.find_client(protocol.client_id_of(parameters))
        note_client(request, client)
        found = protocol.find_redirection(parameters, client, self.issuer, self.settings.ssl_only)
        return found, client

    async def _with_scopes(
        self,
        asked: AuthorizationRequest,
        client: Any,
        names: tuple[str, ...],
        parameters: Parameters,
    ) -> AuthorizationRequest:
        """The request with its scopes, and with the parameters that only ``openid`` gives a meaning."""
        known = await find_scopes(self.registry, names, self.settings.openid)
        if self.settings.openid:
            names = without_passed_over(names, known)
        asked = attrs.evolve(asked, scopes=protocol.check_scopes(client, names, known))
        is_openid = self.settings.openid and asked.is_openid
        return attrs.evolve(asked, nonce=parameters.get("nonce")) if is_openid else asked

    def _own_address(self, request: IRequest) -> str:
        """An address at which this request can be repeated with GET.

        :raises InvalidRequest: it would be too long.
        """
        body = without_form_fields(form_body(request)) if request.method == b"POST" else b""
        # In a query, Twisted counts what is between semicolons as arguments.
        body = body.replace(b";", b"%3B")
        path = self.path or IMount(request).path + paths.AUTHORIZATION
        return short_enough(with_query(path, query_of(request), body))

    def _consent_page(
        self, request: IRequest, asked: AuthorizationRequest, browser: Browser, owner: ResourceOwner
    ) -> Response:
        """The consent page. Its form holds only a token, which is bound to the request."""
        token = self.sessions.form_token(browser, *bound_values(asked, owner))
        # RFC 9700, section 4.2.4: the page loads nothing from other origins.
        client = attrs.evolve(asked.client, image_url=image_address(request, asked.client))
        context = {
            "client": client,
            "scopes": [DescribedScope(scope.name, words_of(scope)) for scope in asked.scopes],
            "form": hidden_fields(csrf_token=token),
            "form_action": self._own_address(request),
            "owner": owner,
            # Only the host application can log out a user that it has logged in.
            "may_change": self.sessions.who is None,
            "redirect_host": host_of(asked.redirect_uri),
        }
        page = self.pages.page(request, self.template, context, leads_away=True)
        return self.sessions.remember(page, browser)

    async def _decide(
        self,
        request: IRequest,
        form: Parameters,
        asked: AuthorizationRequest,
        redirection: Redirection,
        browser: Browser,
        owner: ResourceOwner,
    ) -> Response:
        nonce = self.sessions.check_form_token(
            browser, form.get("csrf_token"), *bound_values(asked, owner)
        )
        if nonce is None:
            # RFC 6749, section 10.12: the endpoint "MUST implement CSRF protection".
            error = AccessDenied("this page was not made for your login")
            return self.pages.error(request, error, "expired.html", again=self._own_address(request))
        if form.get("user_action") == "Change":
            own_address = self._own_address(request)
            response = respond.redirect(request, await self.sessions.login_address(request, own_address))
            return self.sessions.remember(response, await self.sessions.log_out(browser))
        if form.get("user_action") != "Accept":
            # The user may have accepted, gone back, and declined. What is said last counts.
            await self.tokens.revoke_grant(nonce)
            self.statistics.count(statistics.DENIAL)
            self.events.publish(
                ConsentDenied(
                    username=owner.username,
                    client_id=asked.client.client_id,
                    address=address_of(request),
                    request_id=request_id_of(request),
                )
            )
            denied = get_error_details(AccessDenied("the resource owner denied the request"))
            return respond.redirect(request, redirection.address(denied))
        # A double click hangs up the first request. What it has begun must not be left half done.
        return await shield(self._authorize(request, nonce, asked, redirection, browser, owner))

    async def _is_remembered(self, asked: AuthorizationRequest, owner: ResourceOwner) -> bool:
        """Whether a grant in use covers this request, so that the page need not ask again."""
        if not self.settings.remember_consent:
            return False
        mine = GrantFilter(owner.username, asked.client.client_id)
        names = {scope.name for scope in asked.scopes}
        now = int(self.clock.seconds())
        async for grant in entries(partial(self.tokens.grants, mine), by_age):
            is_mine = grant.owner.subject == owner.subject
            if is_mine and covers(grant, names, asked.redirect_uri, now):
                return True
        return False

    async def _authorize(
        self,
        request: IRequest,
        nonce: str | None,
        asked: AuthorizationRequest,
        redirection: Redirection,
        browser: Browser,
        owner: ResourceOwner,
    ) -> Response:
        """Send the client a code.

        :param nonce: the nonce of the consent form; None where consent was remembered.
        """
        code = random_string(self.settings.authorization_code_length)
        now = int(self.clock.seconds())
        grant = new_grant(self.settings, now, nonce, asked, browser, owner, code)
        is_new = await self.tokens.add_code(grant, self.settings.max_grants_per_client)
        if nonce is not None:
            await self._check_form_use(grant, is_new)
        if not await self._still_good(request, asked, owner):
            await self.tokens.revoke_grant(grant.id)
            return self._missing_redirection(request, MissingRedirectURI())
        if is_new:
            self.statistics.count(statistics.AUTHORIZATION)
        self.events.publish(
            CodeIssued(
                username=owner.username,
                client_id=asked.client.client_id,
                scopes=grant.scopes,
                grant_id=grant.id,
                address=address_of(request),
                request_id=request_id_of(request),
            )
        )
        return respond.redirect(request, redirection.address({"code": code}))

    async def _check_form_use(self, grant: Grant, is_new: bool) -> None:
        """Let a consent form make one grant, and no other for as long as the form is valid.

        The form's nonce is the grant's id. A form that is sent again, by a double click or after Back,
        gives its grant a new code. While the form is valid, its grant may be revoked and pruned. So a
        lease of the same lifetime records that the form was used. No code is sent before that.

        :param is_new: whether the grant was just stored, and not before.
        :raises AccessDenied: the form's grant has ended, or its code was exchanged.
        """
        if is_new:
            now = int(self.clock.seconds())
            holder, until = random_string(30), now + FORM_LIFETIME
            if await self.registry.acquire_lease(f"consent:{grant.id}", holder, until, now):
                return
            await self.tokens.revoke_grant(grant.id)
        elif await self.tokens.renew_code(grant):
            return
        raise AccessDenied("the consent form was used before")

    async def _still_good(
        self, request: IRequest, asked: AuthorizationRequest, owner: ResourceOwner
    ) -> bool:
        """Whether client, scopes and login are unchanged since before the code was stored.

        A deletion first deletes the client, the scope or the user, and then revokes its grants. This
        check finds a grant that was stored too late for that.
        """
        client = await self.registry.find_client(asked.client.client_id)
        names = tuple(scope.name for scope in asked.scopes)
        scopes = await find_scopes(self.registry, names, self.settings.openid)
        browser = await self.sessions.browser(request)
        return (
            client is not None
            and not client.disabled
            and asked.redirect_uri in client.redirect_uris
            and len(scopes) == len(asked.scopes)
            and browser.owner is not None
            and browser.owner.username == owner.username
            and browser.owner.subject == owner.subject
        )


class AuthorizationEndpointOwner(Protocol):
    """The interface of the `AuthorizationServer` to `make_authorization_endpoint`."""

    authorization_endpoint: AuthorizationEndpoint

    def single_endpoint(
        self,
        endpoint: AuthorizationEndpoint,
        errors: ErrorResponse | None = None,
        **elsewhere: str,
    ) -> IResource: ...


def make_authorization_endpoint(
    server: AuthorizationEndpointOwner,
    *,
    authorization_endpoint_uri: str,
    authorization_template_name: str = "authorization.html",
    missing_redirect_uri: str | None = None,
) -> IResource:
    """The authorization endpoint alone, for applications that mount the endpoints one by one::

        root.putChild(b"authorize", make_authorization_endpoint(
            server, authorization_endpoint_uri="/authorize",
            authorization_template_name="let_in.html"))

    :param server: an `AuthorizationServer`, which searches its own folder of templates first.
    :param authorization_endpoint_uri: the path at which browsers reach it.
    :param authorization_template_name: the template of its consent page.
    :param missing_redirect_uri: the address of the error page for browsers that cannot be redirected to
        a client; None for ``missing_redirect_uri.html``.
    :raises ConfigurationError: ``authorization_endpoint_uri`` is not a path.
    """
    endpoint = attrs.evolve(
        server.authorization_endpoint,
        path=authorization_endpoint_uri,
        template=authorization_template_name,
        missing_redirect_uri=missing_redirect_uri,
    )
    return server.single_endpoint(
        endpoint, endpoint.pages.error, authorization_endpoint=authorization_endpoint_uri
    )
