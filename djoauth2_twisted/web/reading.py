"""Reads and checks a request: method, TLS, query, form, headers and address."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote

from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import ContentTooLarge, InvalidRequest, MethodNotAllowed
from ..parameters import Parameters, has_name, parse

#: The longest form that the server reads, in bytes.
MAX_BODY_SIZE = 64 * 1024

#: The longest address of ours that a browser is sent to, in characters as they are sent. Twisted reads
#: 16,384 bytes of a request's first line and headers; a browser's headers and our cookies need the rest.
MAX_ADDRESS_LENGTH = 12_000

# What a query holds as it is: printable ASCII, but for what no URI may hold, and the backslash.
_IN_QUERY = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"#<>\\')

# The same for one value of a query. Some servers take the semicolon for a separator.
_IN_VALUE = _IN_QUERY.translate({ord(c): None for c in "%&+;'"})


def require_tls(request: IRequest, settings: Settings) -> None:
    """Raise InvalidRequest where a request came without TLS and the settings demand it."""
    # RFC 6749, sections 3.1 and 3.2: "the authorization server MUST require the use of TLS".
    if settings.ssl_only and not request.isSecure():
        raise InvalidRequest("TLS is required")


def require_method(request: IRequest, *allowed: str) -> None:
    """Raise MethodNotAllowed for other methods. Case matters (RFC 9110, section 9.1)."""
    if request.method.decode("latin-1") not in allowed:
        raise MethodNotAllowed(*allowed)


def query_of(request: IRequest) -> bytes:
    """The query of a request, as it was sent."""
    return cast("bytes", request.uri.partition(b"?")[2])


def with_query(path: str, *queries: bytes) -> str:
    """A path with queries as they were sent. Bytes that no URI may hold are percent-encoded."""
    query = b"&".join(query for query in queries if query)
    return f"{path}?{quote(query, safe=_IN_QUERY)}" if query else path


def with_parameter(path: str, name: str, value: str) -> str:
    """A path with one parameter, in which no more is percent-encoded than must be."""
    return f"{path}?{name}={quote(value, safe=_IN_VALUE)}"


def short_enough(address: str) -> str:
    """An address of ours that a browser can be sent to, which is the one given.

    :raises InvalidRequest: it is longer than `MAX_ADDRESS_LENGTH`.
    """
    # Browsers encode the apostrophe of a query (URL Standard, "special-query percent-encode set").
    if len(address.replace("'", "%27")) > MAX_ADDRESS_LENGTH:
        raise InvalidRequest("the request is too long")
    return address


def read_query(request: IRequest) -> Parameters:
    """The parameters of a request's query."""
    return parse(query_of(request))


def form_body(request: IRequest) -> bytes:
    """The body of a form. It can be read again afterwards.

    :raises InvalidRequest: it is not a form.
    :raises ContentTooLarge: it is longer than `MAX_BODY_SIZE`.
    """
    content_types = request.requestHeaders.getRawHeaders(b"content-type") or []
    kinds = {value.partition(b";")[0].strip().lower() for value in content_types}
    # RFC 6749, appendix B: parameters are sent "using the "application/x-www-form-urlencoded" format".
    if kinds != {b"application/x-www-form-urlencoded"}:
        raise InvalidRequest("the content type must be application/x-www-form-urlencoded")
    request.content.seek(0)
    body = cast("bytes", request.content.read(MAX_BODY_SIZE + 1))
    request.content.seek(0)
    if len(body) > MAX_BODY_SIZE:
        raise ContentTooLarge()
    return body


def names_parameter(request: IRequest, name: str) -> bool:
    """Whether the query or the form of a request has a parameter.

    Only the first `MAX_BODY_SIZE` bytes of a longer form are searched.
    """
    try:
        form = form_body(request)
    except ContentTooLarge:
        form = cast("bytes", request.content.read(MAX_BODY_SIZE))
        request.content.seek(0)
    except InvalidRequest:
        form = b""
    return has_name(query_of(request), name) or has_name(form, name)


def wants_json(request: IRequest) -> bool:
    """Whether a request's Accept header names JSON and no page (RFC 9110, section 12.5.1)."""
    accept = b",".join(request.requestHeaders.getRawHeaders(b"accept") or []).lower()
    return b"application/json" in accept and b"text/html" not in accept


def address_of(request: IRequest) -> str:
    """The network address that a request came from."""
    return str(getattr(request.getClientAddress(), "host", "local"))


def has_hung_up(request: IRequest) -> bool:
    """Whether the client of a request has hung up."""
    # Twisted sets the channel to None when the connection is lost.
    return getattr(request, "channel", request) is None
