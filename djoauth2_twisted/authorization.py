"""The authorization endpoint and its consent page (RFC 6749, section 4.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import attrs
from attrs import frozen
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource

from .conf import Settings
from .errors import (
    AccessDenied,
    ConsentRequired,
    DJOAuthError,
    MissingRedirectURI,
    get_error_details,
)
from .events import ConsentDenied, Events
from .interfaces import IRegistry
from .models import Grant, ResourceOwner
from .parameters import Parameters, parse
from .protocol import authorization as protocol
from .protocol import paths
from .protocol.authorization import AuthorizationRequest, Redirection
from .protocol.openid_scopes import without_passed_over, words_of
from .protocol.redirection import host_of
from .scope_lookup import find_scopes
from .web import respond, statistics
from .web.authentication import MARK, Authentication
from .web.codes import Codes
from .web.consent import FORM_FIELDS, bound_values, without
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
from .web.sessions import Browser, Sessions
from .web.shield import shield
from .web.statistics import Statistics


@frozen
class AuthorizationEndpoint:
    """``/authorization/``: asks the resource owner, and redirects with the answer to the client.

    :param authentication: judges logins for authentication requests; None without ``OPENID``.
    :param path: its path in the site; None where it is in the server's tree.
    :param template: the template of its consent page.
    :param missing_redirect_uri: the address of the error page for browsers that cannot be redirected to
        a client; None for our own page.
    """

    issuer: str
    settings: Settings
    registry: IRegistry
    codes: Codes
    sessions: Sessions
    pages: Pages
    statistics: Statistics
    events: Events
    authentication: Authentication | None = None
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
            self.statistics.count(f"authorization/{statistics.MISSING_REDIRECT_URI}")
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
                openid=self.settings.openid,
            )
            asked = await self._with_scopes(asked, client, names)
            browser = await self.sessions.browser(request)
            to_log_in = await self._to_log_in(request, asked, browser, parameters.get(MARK))
            if to_log_in is not None:
                return to_log_in
            assert browser.owner is not None
            if form is None:
                return await self._answer(request, asked, redirection, browser, browser.owner)
            return await self._decide(request, form, asked, redirection, browser, browser.owner)
        except DJOAuthError as error:
            if error.status_code >= 500:
                raise
            self.statistics.count(f"authorization/{error.error_name}")
            self._report_refusal(request, error)
            return respond.redirect(request, redirection.address(get_error_details(error)))

    async def _to_log_in(
        self, request: IRequest, asked: AuthorizationRequest, browser: Browser, mark: str | None
    ) -> Response | None:
        """A redirect to the login page; None where the user is logged in as the request demands."""
        if asked.authentication is not None and self.authentication is not None:
            return await self.authentication.check(
                request, asked, asked.authentication, browser, mark, partial(self._own_address, request)
            )
        if browser.owner is not None:
            return None
        own_address = self._own_address(request)
        return respond.redirect(request, await self.sessions.login_address(request, own_address))

    async def _answer(
        self,
        request: IRequest,
        asked: AuthorizationRequest,
        redirection: Redirection,
        browser: Browser,
        owner: ResourceOwner,
    ) -> Response:
        """Ask the user for consent, unless it is remembered."""
        in_use = [] if asked.demands_page else await self.codes.remembered(asked, owner)
        if in_use:
            return await self._authorize(request, None, asked, redirection, browser, owner, in_use)
        if asked.is_silent:
            raise ConsentRequired("the user must consent, and prompt is none")
        return self._consent_page(request, asked, browser, owner)

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
        return parse(query_of(request), without(FORM_FIELDS, body)), form

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
    ) -> AuthorizationRequest:
        """The request with its scopes."""
        known = await find_scopes(self.registry, names, self.settings.openid)
        if self.settings.openid:
            names = without_passed_over(names, known)
        return attrs.evolve(asked, scopes=protocol.check_scopes(client, names, known))

    def _own_address(self, request: IRequest, mark: str | None = None) -> str:
        """An address at which this request can be repeated with GET.

        :param mark: a new mark of a login that the request demands, see `Marks`; None to keep the one
            that came with the request.
        :raises InvalidRequest: it would be too long.
        """
        body = without(FORM_FIELDS, form_body(request)) if request.method == b"POST" else b""
        query = query_of(request)
        if mark is not None:
            body, query = without({MARK}, body), without({MARK}, query)
        # In a query, Twisted counts what is between semicolons as arguments.
        body = body.replace(b";", b"%3B")
        path = self.path or IMount(request).path + paths.AUTHORIZATION
        marked = f"{MARK}={mark}".encode("ascii") if mark else b""
        return short_enough(with_query(path, query, body, marked))

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
            "identity_only": asked.is_for_identity,
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
            mark = None if self.authentication is None else self.authentication.mark(asked, browser)
            own_address = self._own_address(request, mark)
            response = respond.redirect(request, await self.sessions.login_address(request, own_address))
            return self.sessions.remember(response, await self.sessions.log_out(browser))
        if form.get("user_action") != "Accept":
            # The user may have accepted, gone back, and declined. What is said last counts.
            await self.codes.tokens.revoke_grant(nonce)
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

    async def _authorize(
        self,
        request: IRequest,
        nonce: str | None,
        asked: AuthorizationRequest,
        redirection: Redirection,
        browser: Browser,
        owner: ResourceOwner,
        in_use: Sequence[Grant] = (),
    ) -> Response:
        """Send the client a code; see `Codes.issue`."""
        code = await self.codes.issue(request, nonce, asked, browser, owner, in_use)
        if code is None:
            return self._missing_redirection(request, MissingRedirectURI())
        return respond.redirect(request, redirection.address({"code": code}))


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
