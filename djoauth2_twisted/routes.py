"""The tree of addresses: the endpoint of each address, and the form of its errors.

Each endpoint itself checks the method and the other requirements of a request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request
from werkzeug.exceptions import HTTPException, NotFound
from zope.interface import implementer

from .authorization import AuthorizationEndpoint
from .conf import Settings
from .endpoints.claims import ClaimsEndpoint
from .endpoints.introspection import IntrospectionEndpoint
from .endpoints.key_set import KeySetEndpoint
from .endpoints.revocation import RevocationEndpoint
from .endpoints.token import TokenEndpoint
from .errors import (
    InvalidRequest,
    MissingRedirectURI,
    NothingHere,
    TemporarilyUnavailable,
)
from .events import Events
from .protocol import paths
from .web.account import Account
from .web.admin.dispatch import Admin
from .web.end_session import EndSession
from .web.endpoint import serve
from .web.error_response import BearerErrors, ClientErrors, ErrorResponse, logged_fault, response_of
from .web.host_login import HostLogin
from .web.image import ImageEndpoint
from .web.login import Login
from .web.mounting import IMount, Mount
from .web.pages import Pages
from .web.reading import origin_of_request, require_method, require_tls
from .web.reporting import ReportedErrors
from .web.respond import Response, write
from .web.second_factor_page import SecondFactorPage
from .web.second_step import SecondStep
from .web.well_known import BelowIssuer
from .web.your_account import YourAccount

if TYPE_CHECKING:
    from klein import Klein


@frozen
class Route:
    """One address of the tree.

    :param address: the path below the mount point, as a rule of Werkzeug.
    :param answer: makes the response; it takes the request, and the rule's variables by name.
    :param errors: makes the responses of its errors.
    :param any_slash: whether the path matches with and without a slash at its end.
    """

    address: str
    answer: Callable[..., Awaitable[Response]]
    errors: ErrorResponse
    any_slash: bool = True


@frozen
class OpenIDRoutes:
    """The endpoints of OpenID Connect."""

    key_set: KeySetEndpoint
    claims: ClaimsEndpoint
    configuration: BelowIssuer
    end_session: EndSession


@frozen
class Routes:
    """The addresses below the mount point, with and without a slash at their end."""

    settings: Settings
    pages: Pages
    events: Events
    authorization_endpoint: AuthorizationEndpoint
    login_pages: Login | HostLogin
    token_endpoint: TokenEndpoint
    revocation_endpoint: RevocationEndpoint
    introspection_endpoint: IntrospectionEndpoint
    account_page: Account
    your_account: YourAccount
    second_factor_page: SecondFactorPage
    second_step: SecondStep | None
    image_endpoint: ImageEndpoint
    admin_pages: Admin
    openid: OpenIDRoutes | None = None

    def for_clients(self) -> tuple[Route, ...]:
        """The routes whose errors are JSON."""
        return (
            Route(paths.TOKEN, self.token_endpoint, self._reported("token")),
            Route(paths.REVOCATION, self.revocation_endpoint, self._reported("revoke")),
            Route(paths.INTROSPECTION, self.introspection_endpoint, self._reported("introspect")),
            *(() if self.openid is None else self._of_openid(self.openid)),
        )

    def _of_openid(self, openid: OpenIDRoutes) -> tuple[Route, ...]:
        return (
            Route(paths.KEY_SET, openid.key_set, ClientErrors(self.settings.realm)),
            Route(paths.CLAIMS, openid.claims, BearerErrors(self.settings.realm)),
            Route(paths.OPENID_CONFIGURATION, openid.configuration, ClientErrors(self.settings.realm)),
        )

    def _reported(self, endpoint: str) -> ErrorResponse:
        return ReportedErrors(endpoint, ClientErrors(self.settings.realm), self.events)

    def for_people(self) -> tuple[Route, ...]:
        """The routes whose errors are pages."""
        errors = self.pages.error
        return (
            Route(
                paths.AUTHORIZATION,
                self.authorization_endpoint,
                ReportedErrors("authorization", errors, self.events),
            ),
            Route(paths.MISSING_REDIRECT_URI, self._missing_redirect_uri, errors),
            Route(paths.LOGIN, self.login_pages.login, errors),
            Route(paths.LOGOUT, self.login_pages.logout, errors),
            *(() if self.openid is None else self._of_logout(self.openid, errors)),
            Route(paths.ACCOUNT, self.account_page, errors),
            Route(paths.ACCOUNT_SETTINGS, self.your_account.settings, errors),
            Route(paths.ACCOUNT_PASSWORD, self.your_account.password, errors),
            Route(paths.ACCOUNT_SECOND_FACTOR, self.second_factor_page, errors),
            *([Route(paths.SECOND_STEP, self.second_step, errors)] if self.second_step else []),
            Route(paths.IMAGE, self.image_endpoint, errors),
            Route(paths.ADMIN, self.admin_pages, errors),
            Route(f"{paths.ADMIN}<path:address>", self.admin_pages, errors),
            Route(paths.STYLE, self._style, errors, any_slash=False),
            Route(paths.LOGO, self._logo, errors),
            Route(paths.ICON, self._icon, errors),
            Route(paths.ADMIN_STYLE, self._admin_style, errors, any_slash=False),
        )

    def _of_logout(self, openid: OpenIDRoutes, errors: ErrorResponse) -> tuple[Route, ...]:
        return (Route(paths.END_SESSION, openid.end_session, errors),)

    async def _missing_redirect_uri(self, request: IRequest) -> Response:
        require_tls(request, self.settings)
        require_method(request, "GET")
        return self.pages.error(request, MissingRedirectURI(), "missing_redirect_uri.html")

    async def _style(self, request: IRequest) -> Response:
        require_method(request, "GET")
        return self.pages.style(request)

    async def _logo(self, request: IRequest) -> Response:
        require_method(request, "GET")
        return self.pages.logo(request)

    async def _icon(self, request: IRequest) -> Response:
        require_method(request, "GET")
        return self.pages.icon(request)

    async def _admin_style(self, request: IRequest) -> Response:
        require_method(request, "GET")
        return self.pages.style(request, "admin.css")


class _ForPeople:
    """The routes for people of one server. All servers share Klein's application, which finds the route.

    :param errors_for: makes the responses of errors that no route raises.
    """

    def __init__(self, routes: Sequence[Route], errors_for: Callable[[IRequest], ErrorResponse]) -> None:
        self.errors_for = errors_for
        self._routes = {route.address: route for route in routes}

    def resource(self) -> IResource:
        """Finds the route of each request."""
        addresses = tuple((route.address, route.any_slash) for route in self._routes.values())
        # As Klein binds an application that is an attribute of a class.
        return _app_of(addresses).__get__(self, type(self)).resource()

    async def answer(self, address: str, request: IRequest, /, **variables: str) -> Response:
        """Answer a request by the route of an address."""
        route = self._routes[address]
        return await response_of(route.answer(request, **variables), request, route.errors)


@cache
def _app_of(addresses: tuple[tuple[str, bool], ...]) -> Klein:
    """The Klein application of some addresses, which all servers of a process share.

    Werkzeug makes and compiles code for each address. That takes up to a millisecond.

    :param addresses: each as in `Route`, and whether it may have a slash more or less.
    """
    # Importing Klein installs a reactor. By now the application has chosen one.
    from klein import Klein

    app = Klein()
    # Werkzeug would redirect `//x` to an address that it makes from the Host header.
    app.url_map.merge_slashes = False
    for address, any_slash in addresses:
        _add(app, address, any_slash)

    @app.handle_errors(NotFound)
    def nothing_here(self: _ForPeople, request: IRequest, failure: Failure) -> Response:
        return self.errors_for(request)(request, NothingHere("there is nothing at this address"))

    @app.handle_errors(HTTPException)
    def malformed(self: _ForPeople, request: IRequest, failure: Failure) -> Response:
        return self.errors_for(request)(request, InvalidRequest("the address cannot be read"))

    @app.handle_errors(Exception)
    def fail(self: _ForPeople, request: IRequest, failure: Failure) -> Response:
        return self.errors_for(request)(request, logged_fault(request, "A request failed", failure))

    return app


def _add(app: Klein, address: str, any_slash: bool) -> None:
    @app.route(address, endpoint=address, strict_slashes=not any_slash)
    async def answer(server: _ForPeople, request: IRequest, **variables: str) -> Response:
        return await server.answer(address, request, **variables)


@frozen
class SingleEndpoint:
    """One endpoint that is mounted alone, and answers as it does in the tree.

    :param begin: counts a request as in flight; it returns False if the server does not serve now.
    :param mount: finds the mount point of the tree for a request.
    """

    answer: AuthorizationEndpoint | TokenEndpoint
    begin: Callable[[Request], bool]
    mount: Callable[[IRequest], Mount]

    async def __call__(self, request: Request) -> Response:
        """Answer a request; see `Endpoint`."""
        request.setComponent(IMount, self.mount(request))
        if not self.begin(request):
            raise TemporarilyUnavailable()
        return await self.answer(request)


@implementer(IResource)
class Tree:
    """All routes as one resource, which records its mount point with each request.

    :param begin: counts a request as in flight; it returns False if the server does not serve now.
    :param mount: finds the mount point at which a request has reached the tree.
    """

    isLeaf = True

    def __init__(
        self, begin: Callable[[Request], bool], mount: Callable[[IRequest], Mount], routes: Routes
    ) -> None:
        self._begin = begin
        self._proxies = routes.settings.trusted_proxies
        self._mount = mount
        self._for_clients = ClientErrors(routes.settings.realm)
        self._for_people = routes.pages.error
        clients = routes.for_clients()
        self._client_paths = [route.address.strip("/").encode("ascii").split(b"/") for route in clients]
        self._client_routes = {path: route for route in clients for path in _spellings(route.address)}
        self._resource = _ForPeople(routes.for_people(), self._errors_for).resource()

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        """Raise NotImplementedError: a leaf has no children."""
        raise NotImplementedError("a leaf has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        """Raise NotImplementedError: a leaf has no children."""
        raise NotImplementedError("a leaf has no children")

    def render(self, request: Request) -> int:
        """Answer a request, unless the server does not serve or the address cannot be read.

        The addresses for clients are few and have no variables. Klein finds all others.
        """
        if self._proxies:
            origin_of_request(request, self._proxies)
        request.setComponent(IMount, self._mount(request))
        if not self._begin(request):
            write(request, self._errors_for(request)(request, TemporarilyUnavailable()))
        elif not _is_readable(request):
            error = InvalidRequest("the address cannot be read")
            write(request, self._errors_for(request)(request, error))
        elif (route := self._client_route(request)) is not None:
            serve(request, route.answer(request), route.errors)
        else:
            self._resource.render(request)
        return NOT_DONE_YET

    def _client_route(self, request: IRequest) -> Route | None:
        """The route of a request to an address for clients."""
        return self._client_routes.get(b"/".join(request.postpath).lstrip(b"/"))

    def _errors_for(self, request: IRequest) -> ErrorResponse:
        """The form of errors that no route raises: JSON below the addresses for clients, else a page."""
        is_for_clients = any(request.postpath[: len(path)] == path for path in self._client_paths)
        return self._for_clients if is_for_clients else self._for_people


def _spellings(address: str) -> Iterator[bytes]:
    """The paths that lead to an address for clients, without the slashes at their beginning.

    One slash more or less at the end makes no difference, as with the addresses that Klein finds.
    """
    name = address.lstrip("/").removesuffix("/")
    for slashes in range(3 if address.endswith("/") else 2):
        yield f"{name}{'/' * slashes}".encode("ascii")


def _is_readable(request: IRequest) -> bool:
    """Whether Klein can route a request. It fails where the method, the address or the host is not
    UTF-8, and where the host is not a name, as with a label of more than 63 characters.
    """
    words = (request.method, *request.prepath, *request.postpath)
    host = request.getRequestHostname()
    # RFC 9112, section 3.2: "A server MUST respond with a 400 (Bad Request) status code [...] to any
    # request message that contains [...] a Host header field with an invalid field value."
    try:
        b"/".join(words).decode("utf-8")
        host.decode("utf-8").partition(":")[0].encode("idna")
    except UnicodeError:
        return False
    return True
