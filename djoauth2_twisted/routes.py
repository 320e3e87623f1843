"""The tree of addresses. Which methods an address knows, and what it demands, each endpoint says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from klein import Klein, Response
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException, NotFound
from zope.interface import implementer

from .authorization import ENDPOINT as AUTHORIZATION
from .authorization import AuthorizationEndpoint
from .conf import Settings
from .endpoints.introspection import IntrospectionEndpoint
from .endpoints.revocation import RevocationEndpoint
from .endpoints.token import TokenEndpoint
from .errors import (
    DJOAuthError,
    InvalidRequest,
    MissingRedirectURI,
    NothingHere,
    ServerError,
    TemporarilyUnavailable,
)
from .web import respond
from .web.account import ENDPOINT as ACCOUNT
from .web.account import Account
from .web.admin.admin_request import ENDPOINT as ADMIN
from .web.admin.dispatch import Admin
from .web.host_login import HostLogin
from .web.image import ENDPOINT as IMAGE
from .web.image import ImageEndpoint
from .web.login import Login
from .web.mounting import IMount, Mount
from .web.pages import Pages
from .web.reading import require_method, require_tls

_FOR_CLIENTS = ([b"token"], [b"revoke"], [b"introspect"])


@frozen
class Routes:
    """The addresses below the mount point, with and without a slash at their end."""

    settings: Settings
    pages: Pages
    authorization_endpoint: AuthorizationEndpoint
    login_pages: Login | HostLogin
    token_endpoint: TokenEndpoint
    revocation_endpoint: RevocationEndpoint
    introspection_endpoint: IntrospectionEndpoint
    account_page: Account
    image_endpoint: ImageEndpoint
    admin_pages: Admin

    app = Klein()
    # Werkzeug would redirect `//x`, to an address made from the Host header.
    app.url_map.merge_slashes = False
    _log = Logger()

    @app.route(AUTHORIZATION, strict_slashes=False)
    async def authorization(self, request: Any) -> Response:
        return await self.authorization_endpoint(request)

    @app.route("/missing_redirect_uri/", strict_slashes=False)
    def missing_redirect_uri(self, request: Any) -> Response:
        require_tls(request, self.settings)
        require_method(request, "GET")
        return self.pages.error(request, MissingRedirectURI(), "missing_redirect_uri.html")

    @app.route("/login/", strict_slashes=False)
    async def login(self, request: Any) -> Response:
        return await self.login_pages.login(request)

    @app.route("/logout/", strict_slashes=False)
    async def logout(self, request: Any) -> Response:
        return await self.login_pages.logout(request)

    @app.route("/token/", strict_slashes=False)
    async def token(self, request: Any) -> Response:
        return await self.token_endpoint(request)

    @app.route("/revoke/", strict_slashes=False)
    async def revoke(self, request: Any) -> Response:
        return await self.revocation_endpoint(request)

    @app.route("/introspect/", strict_slashes=False)
    async def introspect(self, request: Any) -> Response:
        return await self.introspection_endpoint(request)

    @app.route(ACCOUNT, strict_slashes=False)
    async def account(self, request: Any) -> Response:
        return await self.account_page(request)

    @app.route(IMAGE, strict_slashes=False)
    async def image(self, request: Any) -> Response:
        return await self.image_endpoint(request)

    @app.route(ADMIN, strict_slashes=False)
    async def admin(self, request: Any) -> Response:
        return await self.admin_pages(request, "")

    @app.route(f"{ADMIN}<path:page>", strict_slashes=False)
    async def admin_page(self, request: Any, page: str) -> Response:
        return await self.admin_pages(request, page)

    @app.route("/style.css")
    def style(self, request: Any) -> Response:
        require_method(request, "GET")
        return self.pages.style(request)

    def refusal(self, request: Any, error: DJOAuthError) -> Response:
        """An error's answer: JSON at the endpoints for clients, a page at those for people."""
        if request.postpath[:1] in _FOR_CLIENTS:
            return respond.as_error(request, error, self.settings.realm)
        return self.pages.error(request, error)

    @app.handle_errors(DJOAuthError)
    def refuse(self, request: Any, failure: Failure) -> Response:
        return self.refusal(request, failure.value)

    @app.handle_errors(NotFound)
    def nothing_here(self, request: Any, failure: Failure) -> Response:
        return self.refusal(request, NothingHere("there is nothing at this address"))

    @app.handle_errors(HTTPException)
    def malformed(self, request: Any, failure: Failure) -> Response:
        return self.refusal(request, InvalidRequest("the address cannot be read"))

    @app.handle_errors(Exception)
    def fail(self, request: Any, failure: Failure) -> Response:
        self._log.failure("A request failed", failure)
        return self.refusal(request, ServerError())


@frozen
class Part:
    """One address that is mounted by itself, and answers as it would in the tree.

    :param begin: counts a request in; false where the server does not serve now.
    :param mount: tells of a request where the other pages are.
    """

    answer: AuthorizationEndpoint | TokenEndpoint
    begin: Callable[[Any], bool]
    mount: Callable[[Any], Mount]
    _log = Logger()

    async def __call__(self, request: Any) -> Response:
        request.setComponent(IMount, self.mount(request))
        try:
            if not self.begin(request):
                raise TemporarilyUnavailable()
            return await self.answer(request)
        except DJOAuthError as error:
            return self.answer.refusal(request, error)
        except Exception:
            self._log.failure("A request failed")
            return self.answer.refusal(request, ServerError())


@implementer(IResource)
class Tree:
    """All routes as one resource, which notes where in the site a request met it.

    :param begin: takes a request and the mount point of the tree, and counts the request in; false where
        the server does not serve now.
    """

    isLeaf = True

    def __init__(self, begin: Callable[[Any, Mount], bool], routes: Routes) -> None:
        self._begin = begin
        self._routes = routes
        self._resource = routes.app.resource()

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        """A leaf is never asked for children."""
        raise NotImplementedError("a leaf has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        """A leaf takes no children."""
        raise NotImplementedError("a leaf has no children")

    def render(self, request: Any) -> int:
        """Hand the request to Klein, unless the server is not there yet or Klein cannot read it."""
        mount = Mount.of(request)
        request.setComponent(IMount, mount)
        if not self._begin(request, mount):
            respond.write(request, self._routes.refusal(request, TemporarilyUnavailable()))
        elif not _is_readable(request):
            error = InvalidRequest("the address cannot be read")
            respond.write(request, self._routes.refusal(request, error))
        else:
            self._resource.render(request)
        return NOT_DONE_YET


def _is_readable(request: Any) -> bool:
    """Whether Klein can route a request: where address or host are not UTF-8, it gives up."""
    try:
        b"/".join([request.getRequestHostname(), *request.prepath, *request.postpath]).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
