"""Responses, as values that Klein writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from klein import Response
from twisted.web.iweb import IRequest

from ..errors import DJOAuthError, MethodNotAllowed, TemporarilyUnavailable, get_error_details
from ..protocol.bearer import quoted
from .reading import has_hung_up

Headers = dict[str, str]

#: RFC 6749, section 5.1: "The authorization server MUST include the HTTP "Cache-Control" response
#: header field with a value of "no-store" in any response containing tokens, credentials, or other
#: sensitive information, as well as the "Pragma" response header field with a value of "no-cache"."
NO_STORE: Headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}

#: For a year browsers come back by https alone (RFC 6797).
_TRANSPORT_SECURITY: Headers = {"Strict-Transport-Security": "max-age=31536000"}


def respond(request: IRequest, status: int, headers: Mapping[str, Any], body: bytes) -> Response:
    """A response with what every response of ours has."""
    everything: dict[Any, Any] = {
        "Content-Length": str(len(body)),
        # Which program this is, is nobody's business, nor in which version.
        "Server": "djoauth2",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        **(_TRANSPORT_SECURITY if request.isSecure() else {}),
        **headers,
    }
    return Response(status, everything, body)


def with_header(response: Response, name: str, value: str | list[str]) -> Response:
    """A response with one header more; a list has a line for each of its values."""
    return Response(response.code, {**response.headers, name: value}, response.body)


def with_cookie(response: Response, cookie: str) -> Response:
    """A response with one cookie more (RFC 6265, section 4.1)."""
    return with_header(response, "Set-Cookie", [*response.headers.get("Set-Cookie", ()), cookie])


def write(request: Any, response: Response) -> None:
    """Write a response where no Klein route does."""
    request.setResponseCode(response.code)
    for name, value in response.headers.items():
        request.responseHeaders.setRawHeaders(name, [value] if isinstance(value, str) else value)
    request.write(response.body)
    request.finish()


def as_json(
    request: IRequest, status: int, content: Mapping[str, Any], headers: Mapping[str, Any] = NO_STORE
) -> Response:
    """A JSON object."""
    body = json.dumps(content).encode("ascii")
    return respond(request, status, {"Content-Type": "application/json", **headers}, body)


def error_headers(error: DJOAuthError) -> Headers:
    """The headers that go with an error's status, on a page as well as on JSON."""
    match error:
        case MethodNotAllowed():
            return {"Allow": ", ".join(error.allowed)}
        case TemporarilyUnavailable():
            return {"Retry-After": str(error.retry_after)}
        case _:
            return {}


def as_error(request: IRequest, error: DJOAuthError, realm: str) -> Response:
    """The JSON of an error at an endpoint for clients (RFC 6749, section 5.2)."""
    headers = {**NO_STORE, **error_headers(error)}
    if error.status_code == 401:
        # RFC 6749, section 5.2: "the authorization server MUST respond with an HTTP 401
        # (Unauthorized) status code and include the "WWW-Authenticate" response header field".
        headers["WWW-Authenticate"] = f"Basic realm={quoted(realm)}"
    return as_json(request, error.status_code, get_error_details(error), headers)


def redirect(request: IRequest, location: str) -> Response:
    """Send a browser on, always with GET (RFC 9110, section 15.4.4; RFC 9700, section 4.12)."""
    return respond(request, 303, {"Location": location, **NO_STORE}, b"")


def start_over(request: Any) -> bool:
    """Forget an answer that has failed, so that another can be given.

    False where it is too late. Of what is half sent the connection is cut: it must not look whole.
    """
    if request.finished:
        return False
    if request.startedWriting or has_hung_up(request):
        request.loseConnection()
        return False
    for name, _ in list(request.responseHeaders.getAllRawHeaders()):
        request.responseHeaders.removeHeader(name)
    request.cookies.clear()
    return True
