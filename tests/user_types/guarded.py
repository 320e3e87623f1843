"""What applications write. mypy with and without mypy-zope, and pyright, must find no error in it."""

from __future__ import annotations

from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.static import Data, File
from zope.interface import implementer

from djoauth2_twisted import (
    AuthorizationServer,
    IAccessToken,
    IntrospectionClient,
    ITokenVerifier,
    OAuthGuard,
    Settings,
    oauth_scope,
)
from djoauth2_twisted.cred import BearerTokenChecker
from djoauth2_twisted.errors import InvalidToken
from djoauth2_twisted.guard import any_of
from djoauth2_twisted.models import AccessToken
from djoauth2_twisted.testing import GrantingVerifier


class Hello(Resource):
    """A resource inside a guard."""

    isLeaf = True

    def render_GET(self, request: IRequest) -> bytes:
        token = IAccessToken(request)
        seconds: int = token.expires - token.issued
        scopes: tuple[str, ...] = token.scopes
        return f"{token.user.username} {token.client_id} {seconds} {scopes}".encode()


class MaybeHello(Resource):
    """A resource inside a guard with ``optional=True``."""

    isLeaf = True

    def render_GET(self, request: IRequest) -> bytes:
        token = IAccessToken(request, None)
        return b"Hello." if token is None else token.user.username.encode()


@implementer(ITokenVerifier)
class Own:
    """A verifier of the application's own, which takes an address."""

    def verify(
        self, token: str, scopes: tuple[str, ...], address: str | None = None
    ) -> Deferred[AccessToken]:
        raise InvalidToken


def guards(reactor: Any) -> list[OAuthGuard]:
    """Each kind of verifier, in front of each kind of resource."""
    server = AuthorizationServer.from_url(
        reactor, "sqlite:///oauth.db", issuer="https://a.example", settings=Settings(ssl_only=True)
    )
    client = IntrospectionClient(reactor, "https://a.example", "id", "secret")
    app = routes(server)
    return [
        OAuthGuard(Hello(), server, scopes=("read",)),
        OAuthGuard(File("/srv"), client, scopes={"GET": ("read",)}),
        OAuthGuard(Data(b"", "text/plain"), Own(), any_of("read", "admin"), optional=True),
        OAuthGuard(app.resource(), verifier=GrantingVerifier()),
        OAuthGuard(MaybeHello(), server, cors=["https://b.example"], pass_authorization=True),
    ]


def routes(server: AuthorizationServer) -> Klein:
    """Klein routes of a verifier."""
    app = Klein()

    @app.route("/me")
    @oauth_scope("user_info", verifier=server)
    def me(access_token: AccessToken, request: IRequest) -> str:
        return access_token.user.username

    return app


def checker(server: AuthorizationServer) -> BearerTokenChecker:
    """For a Portal."""
    return BearerTokenChecker(server, scopes=("read",))


def verified(server: AuthorizationServer) -> Deferred[AccessToken]:
    """By hand."""
    return server.verify("token", ("read",))
