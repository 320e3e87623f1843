"""Responses, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import field, frozen
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from .reading import has_hung_up, is_secure

Headers = dict[str, str]

#: RFC 6749, section 5.1: "The authorization server MUST include the HTTP "Cache-Control" response
#: header field with a value of "no-store" in any response containing tokens, credentials, or other
#: sensitive information, as well as the "Pragma" response header field with a value of "no-cache"."
NO_STORE: Headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}

#: A browser uses only https for a year, 31,536,000 seconds (RFC 6797, section 6.1).
_TRANSPORT_SECURITY: Headers = {"Strict-Transport-Security": "max-age=31536000"}


@implementer(IResource)
@frozen
class Response:
    """The answer to one request.

    It is a resource that renders itself, so that a route of Klein may return it.

    :param headers: the values by name. A list becomes one line for each of its values.
    """

    status: int
    headers: Mapping[str, str | Sequence[str]]
    body: bytes = field(repr=False)

    isLeaf = True

    def render(self, request: IRequest) -> int:
        """Write the response."""
        write(request, self)
        return NOT_DONE_YET

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        """Raise NotImplementedError: a leaf has no children."""
        raise NotImplementedError("a leaf has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        """Raise NotImplementedError: a leaf has no children."""
        raise NotImplementedError("a leaf has no children")


def respond(
    request: IRequest, status: int, headers: Mapping[str, str | Sequence[str]], body: bytes
) -> Response:
    """A response with the headers that all our responses have."""
    everything = {
        "Content-Length": str(len(body)),
        # Twisted's default would reveal its version.
        "Server": "djoauth2",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        **(_TRANSPORT_SECURITY if is_secure(request) else {}),
        **headers,
    }
    return Response(status, everything, body)


def with_header(response: Response, name: str, value: str | list[str]) -> Response:
    """The response with another header. A list becomes one line for each of its values."""
    return attrs.evolve(response, headers={**response.headers, name: value})


def with_cookie(response: Response, cookie: str) -> Response:
    """The response with another cookie (RFC 6265, section 4.1)."""
    return with_header(response, "Set-Cookie", [*response.headers.get("Set-Cookie", ()), cookie])


def write(request: IRequest, response: Response) -> None:
    """Write a response, unless the client has hung up."""
    if has_hung_up(request):
        return
    request.setResponseCode(response.status)
    for name, value in response.headers.items():
        request.responseHeaders.setRawHeaders(name, [value] if isinstance(value, str) else value)
    request.write(response.body)
    request.finish()


def start_over(request: Request) -> bool:
    """Clear an answer that has failed, so that another can replace it.

    Returns False where it is too late. An answer that is sent in part must not look complete, so its
    connection is cut, or under HTTP/2 its stream is reset.
    """
    if request.finished or has_hung_up(request):
        return False
    if request.startedWriting:
        _cut(request)
        return False
    for name, _ in list(request.responseHeaders.getAllRawHeaders()):
        request.responseHeaders.removeHeader(name)
    request.cookies.clear()
    return True


def _cut(request: Request) -> None:
    """End an answer that is sent in part, so that the client sees that the rest is missing."""
    if hasattr(request.channel, "streamID"):
        _reset_stream(request.channel)
    elif request.chunked or request.responseHeaders.hasHeader(b"content-length"):
        request.loseConnection()
    else:
        # RFC 9112, section 8: an answer without a length, as with HTTP/1.0, is complete if it ends with
        # "an orderly closure of the connection".
        transport: Any = request.channel.transport
        transport.abortConnection()


def _reset_stream(stream: Any) -> None:
    """Reset a stream of Twisted's HTTP/2 (RFC 9113, section 6.4).

    Twisted's own `abortConnection` says NO_ERROR, which some clients take for the end of a whole answer
    (section 8.1). It does not report the end to the request, either.
    """
    from h2.errors import ErrorCodes

    connection = stream._conn
    connection.conn.reset_stream(stream.streamID, ErrorCodes.INTERNAL_ERROR)
    if connection._tryToWriteControlData():
        stream.connectionLost(Failure(ConnectionAborted()))
        connection._requestDone(stream.streamID)


def as_json(
    request: IRequest,
    status: int,
    content: Mapping[str, Any],
    headers: Mapping[str, str] = NO_STORE,
) -> Response:
    """A response with a JSON object."""
    body = json.dumps(content).encode("ascii")
    return respond(request, status, {"Content-Type": "application/json", **headers}, body)


def redirect(request: IRequest, location: str) -> Response:
    """A redirect, which browsers follow with GET (RFC 9110, section 15.4.4; RFC 9700, section 4.12)."""
    return respond(request, 303, {"Location": location, **NO_STORE}, b"")
