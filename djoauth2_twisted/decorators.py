"""The guard as a decorator, as in DJOAuth2."""

from __future__ import annotations

import functools
from collections.abc import Callable
from inspect import iscoroutine
from typing import Any

from klein import Response
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import NOT_DONE_YET

from .access_token import AccessTokenAuthenticator
from .conf import Settings
from .errors import DJOAuthError
from .guard import settings_of
from .interfaces import IAccessToken, ITokenVerifier
from .models import AccessToken
from .web.respond import write

Route = Callable[..., Any]


def oauth_scope(
    *scopes: str, verifier: ITokenVerifier, settings: Settings | None = None
) -> Callable[[Route], Route]:
    """Guard a Klein route or a ``render_*`` method; its first argument is then the access token::

        @app.route("/me")
        @oauth_scope("user_info", verifier=server)
        def me(access_token, request):
            return access_token.user.username

    A method is called ``(self, access_token, request)``.

    :param scopes: all of those that a token must cover.
    :param verifier: an `AuthorizationServer`, or any other ITokenVerifier.
    :param settings: ``realm`` and ``ssl_only``; by default the verifier's own, where it has any.
    """
    authenticator = AccessTokenAuthenticator(verifier, scopes, settings or settings_of(verifier))

    def decorate(route: Route) -> Route:
        if route.__name__.startswith("render_"):
            return _guard_render(route, authenticator)
        return _guard_route(route, authenticator)

    return decorate


def _guard_route(route: Route, authenticator: AccessTokenAuthenticator) -> Route:
    @functools.wraps(route)
    def guarded(*arguments: Any, **named: Any) -> Deferred[Any]:
        bound, request, rest = _split(arguments)

        def admit(token: AccessToken) -> Any:
            request.setComponent(IAccessToken, token)
            answer = route(*bound, token, request, *rest, **named)
            return Deferred.fromCoroutine(answer) if iscoroutine(answer) else answer

        def refuse(failure: Failure) -> Response:
            if not isinstance(failure.value, DJOAuthError):
                failure.raiseException()
            return authenticator.refuse(request, failure.value)

        return authenticator.authenticate(request).addCallbacks(admit, refuse)

    return guarded


def _guard_render(render: Route, authenticator: AccessTokenAuthenticator) -> Route:
    route = _guard_route(render, authenticator)

    @functools.wraps(render)
    def guarded(*arguments: Any) -> int:
        _, request, _ = _split(arguments)
        gone: list[object] = []

        def hang_up(reason: Failure) -> None:
            gone.append(reason)
            answered.cancel()

        def answer(result: Any) -> None:
            if isinstance(result, Response):
                write(request, result)
            elif result is not NOT_DONE_YET:
                request.write(result)
                request.finish()

        def fail(failure: Failure) -> None:
            if not gone:
                request.processingFailed(failure)

        answered = maybeDeferred(route, *arguments)
        request.notifyFinish().addErrback(hang_up)
        answered.addCallback(answer).addErrback(fail)
        return NOT_DONE_YET

    return guarded


def _split(arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any, tuple[Any, ...]]:
    """What stands before the request, the request, and what stands after it."""
    place = 0 if IRequest.providedBy(arguments[0]) else 1
    return arguments[:place], arguments[place], arguments[place + 1 :]
