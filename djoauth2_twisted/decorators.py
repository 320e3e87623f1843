"""The guard as a decorator, as in DJOAuth2 (RFC 6750)."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from inspect import Parameter, iscoroutine, signature
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request

from .access_token import AccessTokenAuthenticator, settings_of
from .conf import Settings
from .errors import DJOAuthError, InvalidToken
from .interfaces import AnyVerifier, IAccessToken
from .models import AccessToken
from .protocol.requirement import AnyOf
from .web.error_response import logged_fault
from .web.reading import has_hung_up
from .web.respond import Response, start_over, write

Route = Callable[..., Any]

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)

#: The attribute of what is decorated already.
_IS_GUARDED = "_is_guarded_by_oauth_scope"


def oauth_scope(
    *scopes: str | AnyOf, verifier: AnyVerifier, settings: Settings | None = None
) -> Callable[[Route], Route]:
    """Guard a Klein route or a ``render_*`` method, which gets the access token as an argument::

        @app.route("/me")
        @oauth_scope("user_info", verifier=server)
        def me(access_token, request):
            return access_token.user.username

    A method is called ``(self, access_token, request)``.

    :param scopes: the scopes that a token must cover, all of them; or ``any_of(...)`` alone.
    :param verifier: an `AuthorizationServer`, or any other ITokenVerifier.
    :param settings: ``realm`` and ``ssl_only``; by default the verifier's own, where it has any.
    :raises ConfigurationError: a scope is not a valid name.
    :raises TypeError: what is decorated is not a function or a method, does not take the access token
        and the request, or is decorated already.
    """
    authenticator = AccessTokenAuthenticator(verifier, scopes, settings or settings_of(verifier))

    def decorate(route: Route) -> Route:
        _check(route)
        as_route, as_render = _guard_route(route, authenticator), _guard_render(route, authenticator)

        @functools.wraps(route)
        def guarded(*arguments: Any, **named: Any) -> Any:
            # A function of such a name that is not a method of a resource is a route.
            is_render = route.__name__.startswith("render") and IResource.providedBy(arguments[0])
            return (as_render if is_render else as_route)(*arguments, **named)

        setattr(guarded, _IS_GUARDED, True)
        return guarded

    return decorate


def _check(route: Any) -> None:
    """Raise TypeError for what would fail at each request."""
    name = getattr(route, "__name__", None)
    if name is None or not callable(route) or isinstance(route, type | staticmethod | classmethod):
        kind = "class" if isinstance(route, type) else type(route).__name__
        raise TypeError(
            f"oauth_scope decorates a function or a method, not the {kind} {name or ''}".rstrip()
            + ": OAuthGuard guards a resource"
        )
    if hasattr(route, _IS_GUARDED):
        raise TypeError(f"oauth_scope decorates {name} already: give it all scopes at once")
    parameters = list(signature(route, follow_wrapped=False).parameters.values())
    is_method = bool(parameters) and parameters[0].name == "self"
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    takes_any = any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters)
    if not takes_any and len(positional) < 2 + is_method:
        expected = f"{name}({'self, ' if is_method else ''}access_token, request)"
        raise TypeError(f"oauth_scope gives the access token and the request: define {expected}")


def _guard_route(route: Route, authenticator: AccessTokenAuthenticator) -> Route:
    def guarded(*arguments: Any, **named: Any) -> Deferred[Any]:
        bound, request, rest = _split(arguments)

        def admit(token: AccessToken) -> Any:
            request.setComponent(IAccessToken, token)
            answer = route(*bound, token, request, *rest, **named)
            return Deferred.fromCoroutine(answer) if iscoroutine(answer) else answer

        def refuse(failure: Failure) -> Response:
            failure.trap(DJOAuthError)
            error: Any = failure.value
            return authenticator.refuse(request, error)

        try:
            token = authenticator.enter(request)
        except InvalidToken as error:
            return succeed(authenticator.refuse(request, error))
        if token is None:
            return authenticator.authenticate(request).addCallbacks(admit, refuse)
        try:
            return maybeDeferred(admit, token)
        finally:
            authenticator.leave(request)

    return guarded


def _guard_render(render: Route, authenticator: AccessTokenAuthenticator) -> Route:
    route = _guard_route(render, authenticator)

    def answer_later(answered: Deferred[Any], request: Request) -> None:
        answered.addCallback(_answer, request, render)
        answered.addErrback(_fail, request, authenticator)
        if not request.finished:
            request.notifyFinish().addErrback(lambda _: answered.cancel())

    def answer_now(bound: tuple[Any, ...], token: AccessToken, request: Request) -> None:
        request.setComponent(IAccessToken, token)
        try:
            result = render(*bound, token, request)
            if isinstance(result, Deferred):
                answer_later(result, request)
            elif iscoroutine(result):
                answer_later(Deferred.fromCoroutine(result), request)
            else:
                _answer(result, request, render)
        except Exception:
            _fail(Failure(), request, authenticator)
        finally:
            authenticator.leave(request)

    def guarded(*arguments: Any) -> int:
        bound, request, rest = _split(arguments)
        try:
            token = None if rest else authenticator.enter(request)
        except InvalidToken as error:
            write(request, authenticator.refuse(request, error))
            return NOT_DONE_YET
        if token is None:
            answer_later(maybeDeferred(route, *arguments), request)
        else:
            answer_now(bound, token, request)
        return NOT_DONE_YET

    return guarded


def _answer(result: Any, request: Request, render: Route) -> None:
    """Write what a ``render_*`` method has returned."""
    if isinstance(result, bytes):
        request.setHeader(b"content-length", b"%d" % len(result))
        request.write(result)
        request.finish()
    elif isinstance(result, Response):
        write(request, result)
    elif _is_response_of_klein(result):
        write(request, Response(result.code, result.headers, result.body))
    elif result is not NOT_DONE_YET:
        raise TypeError(f"{render.__qualname__} must return bytes, a Response or NOT_DONE_YET")


def _fail(failure: Failure, request: Request, authenticator: AccessTokenAuthenticator) -> None:
    """Answer for a ``render_*`` method that has failed."""
    if has_hung_up(request):
        return
    error = logged_fault(request, "A guarded resource failed", failure)
    if start_over(request):
        write(request, authenticator.refuse(request, error))


def _is_response_of_klein(result: object) -> bool:
    # Importing Klein installs a reactor. A route that returns a response of Klein has imported it.
    klein = sys.modules.get("klein")
    return klein is not None and isinstance(result, klein.Response)


def _split(arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any, tuple[Any, ...]]:
    """The arguments before the request, the request, and the arguments after it."""
    index = 0 if IRequest.providedBy(arguments[0]) else 1
    return arguments[:index], arguments[index], arguments[index + 1 :]
