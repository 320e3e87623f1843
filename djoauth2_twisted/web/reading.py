"""Reads and checks a request: method, TLS, query, form, headers and address."""

from __future__ import annotations

import re
from functools import partial
from typing import cast
from urllib.parse import quote

from twisted.web.iweb import IRequest

from ..conf import Settings
from ..credentials import random_string
from ..errors import ContentTooLarge, InvalidRequest, MethodNotAllowed
from ..models import Client
from ..parameters import Parameters, has_name, parse
from ..protocol.addresses import throttle_address
from ..protocol.forwarding import Origin, TrustedProxies

#: The longest form that the server reads, in bytes.
MAX_BODY_SIZE = 64 * 1024

#: The length of the identifier of a request, in characters.
REQUEST_ID_LENGTH = 12

# What nginx, HAProxy, Envoy and cloud load balancers send as the identifier of a request.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")

# The charset that a content type names, perhaps in quotes, and how clients write UTF-8.
_CHARSET = re.compile(rb";[ \t]*charset[ \t]*=([^;]*)", re.IGNORECASE)
_UTF_8 = frozenset((b"utf-8", b"utf8"))

#: The longest address of ours that a browser is sent to, in characters as they are sent. Twisted reads
#: 16,384 bytes of a request's first line and headers; a browser's headers and our cookies need the rest.
MAX_ADDRESS_LENGTH = 12_000

# For the operator: the client may have used TLS, and the proxy lacks a line in its configuration.
_NO_PROTOCOL = (
    "TLS is required: the trusted proxy sends neither X-Forwarded-Proto nor proto in Forwarded"
)

# What a query holds as it is: printable ASCII, except what no URI may hold, and the backslash.
_IN_QUERY = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"#<>\\')

# The same for one value of a query. Some servers take the semicolon for a separator.
_IN_VALUE = _IN_QUERY.translate({ord(c): None for c in "%&+;'"})


def require_tls(request: IRequest, settings: Settings) -> None:
    """Raise InvalidRequest where a request came without TLS and the settings demand it."""
    # RFC 6749, sections 3.1 and 3.2: "the authorization server MUST require the use of TLS".
    if not (settings.ssl_only or settings.trusted_proxies):
        return
    known = _known_origin(request)
    if known is None and not settings.trusted_proxies and request.isSecure():
        # The usual case, without finding the client's address.
        return
    origin = known or origin_of_request(request, settings.trusted_proxies)
    if settings.ssl_only and not origin.is_secure:
        reason = "" if origin.has_protocol else _NO_PROTOCOL
        raise InvalidRequest(origin.problem or "TLS is required", reason=reason)


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

    :raises InvalidRequest: it is not a form, or not in UTF-8.
    :raises ContentTooLarge: it is longer than `MAX_BODY_SIZE`.
    """
    # RFC 6749, appendix B: parameters are sent "using the "application/x-www-form-urlencoded" format".
    if not _is_form(request):
        raise InvalidRequest("the content type must be application/x-www-form-urlencoded")
    require_utf_8(request)
    body = _beginning(request)
    if len(body) > MAX_BODY_SIZE:
        raise ContentTooLarge()
    return body


def require_utf_8(request: IRequest) -> None:
    """Raise InvalidRequest where the content type of a request names another charset than UTF-8."""
    # RFC 6749, appendix B: "with a character encoding of UTF-8".
    for value in request.requestHeaders.getRawHeaders(b"content-type") or []:
        for charset in _CHARSET.findall(value):
            if charset.strip(b" \t\"'").lower() not in _UTF_8:
                raise InvalidRequest("the form must be in UTF-8")


def _is_form(request: IRequest) -> bool:
    content_types = request.requestHeaders.getRawHeaders(b"content-type")
    if not content_types:
        return False
    kinds = {value.partition(b";")[0].strip().lower() for value in content_types}
    return kinds == {b"application/x-www-form-urlencoded"}


def _beginning(request: IRequest) -> bytes:
    """At most `MAX_BODY_SIZE` + 1 bytes of the body."""
    request.content.seek(0)
    body = cast("bytes", request.content.read(MAX_BODY_SIZE + 1))
    request.content.seek(0)
    return body


def names_parameter(request: IRequest, name: str) -> bool:
    """Whether the query or the form of a request has a parameter. The form may name any charset.

    Only the beginning of a form that is longer than `MAX_BODY_SIZE` is searched.
    """
    if b"?" in request.uri and has_name(query_of(request), name):
        return True
    return _is_form(request) and has_name(_beginning(request), name)


def wants_json(request: IRequest) -> bool:
    """Whether a request's Accept header names JSON and no page (RFC 9110, section 12.5.1)."""
    accept = b",".join(request.requestHeaders.getRawHeaders(b"accept") or []).lower()
    return b"application/json" in accept and b"text/html" not in accept


# What is known of a request is kept in attributes of it. Adapters, which Twisted offers for this, cost
# ten times as much.
_ORIGIN, _KNOWN_ID, _CLIENT = "_djoauth2_origin", "_djoauth2_request_id", "_djoauth2_client"


def origin_of_request(request: IRequest, proxies: TrustedProxies) -> Origin:
    """Where a request comes from.

    It is found once, at the first entry to our code, and kept for callers that do not know the proxies.
    """
    known = _known_origin(request)
    if known is not None:
        return known
    peer = _peer_of(request)
    origin = proxies.origin(peer, request.isSecure(), partial(_lines_of, request))
    if proxies:
        vars(request)[_ORIGIN] = origin
        if proxies.trusts(peer):
            _take_request_id(request)
    return origin


def _peer_of(request: IRequest) -> str | None:
    return getattr(request.getClientAddress(), "host", None)


def _lines_of(request: IRequest, name: str) -> list[str]:
    lines = request.requestHeaders.getRawHeaders(name.encode("ascii")) or []
    return [line.decode("latin-1") for line in lines]


def _known_origin(request: IRequest) -> Origin | None:
    known: Origin | None = getattr(request, _ORIGIN, None)
    return known


def address_of(request: IRequest) -> str:
    """The address of a request's client; of the nearest proxy, if that one is not trusted."""
    known = _known_origin(request)
    return (_peer_of(request) or "local") if known is None else known.address


def throttle_key_of(request: IRequest) -> str:
    """The address or network that a request came from, as the limits by address count it."""
    return throttle_address(address_of(request))


def is_secure(request: IRequest) -> bool:
    """Whether a request's client has used TLS."""
    known = _known_origin(request)
    return bool(request.isSecure()) if known is None else known.is_secure


def prefix_of(request: IRequest) -> str:
    """The beginning of a request's path that a trusted proxy has removed, like ``/auth``, or empty."""
    known = _known_origin(request)
    return "" if known is None else known.prefix


def _take_request_id(request: IRequest) -> None:
    """Take the identifier that a trusted proxy has given to a request."""
    lines = request.requestHeaders.getRawHeaders(b"x-request-id") or []
    if len(lines) == 1 and _REQUEST_ID.fullmatch(lines[0]):
        vars(request)[_KNOWN_ID] = lines[0].decode("ascii")


def request_id_of(request: IRequest) -> str:
    """The identifier of a request, by which its lines are found in the log.

    It is drawn when it is needed first, so that a request without such a line does not pay for it.
    """
    known = known_request_id(request)
    if known is None:
        known = random_string(REQUEST_ID_LENGTH)
        vars(request)[_KNOWN_ID] = known
    return known


def known_request_id(request: IRequest) -> str | None:
    """The identifier of a request, if it was needed already."""
    known: str | None = getattr(request, _KNOWN_ID, None)
    return known


def note_client(request: IRequest, client: Client | None) -> None:
    """Note the registered client that a request names. It need not be authenticated."""
    if client is not None:
        vars(request)[_CLIENT] = client


def client_of(request: IRequest) -> Client | None:
    """The registered client that a request names, as far as that is known."""
    noted: Client | None = getattr(request, _CLIENT, None)
    return noted


def has_hung_up(request: IRequest) -> bool:
    """Whether the client of a request has hung up."""
    # Twisted sets the channel to None when the connection is lost.
    return getattr(request, "channel", request) is None
