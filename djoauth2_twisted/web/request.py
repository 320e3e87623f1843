"""Requests: what is read of them, and where in a site they met us."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import quote

from attrs import frozen
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from zope.interface import Attribute, Interface, implementer

from ..conf import Settings
from ..errors import ContentTooLarge, InvalidRequest, MethodNotAllowed
from ..parameters import Parameters, has_name, parse

#: No form of this server is longer, in bytes.
MAX_BODY_SIZE = 64 * 1024

# Printable ASCII, without the space and the backslash.
_IN_URI = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != "\\")


class IMount(Interface):
    """Where in the site a request met our tree."""

    path = Attribute("The mount point without a slash at its end: ``/oauth2``. (str)")


@implementer(IMount)
@frozen
class Mount:
    """See `IMount`."""

    path: str

    @classmethod
    def at(cls, segments: Iterable[bytes]) -> Mount:
        """The mount point of a resource that segments of a path lead to."""
        return cls("".join("/" + quote(segment, safe="") for segment in segments if segment))

    @classmethod
    def of(cls, request: Any) -> Mount:
        """The mount point of a resource that is asked to render a request."""
        return cls.at(request.prepath)

    @classmethod
    def within(cls, site: Any, wanted: IResource) -> Mount | None:
        """The mount point of a resource that was put into a site, before anybody has asked for it."""
        found: list[tuple[tuple[bytes, ...], Any]] = [((), getattr(site, "resource", None))]
        seen = set()
        for segments, resource in found:
            if resource is wanted:
                return cls.at(segments)
            # A resource may well be its own child.
            if isinstance(resource, Resource) and id(resource) not in seen:
                seen.add(id(resource))
                found.extend(((*segments, name), child) for name, child in resource.children.items())
        return None


def require_tls(request: IRequest, settings: Settings) -> None:
    """Raise InvalidRequest where a request came without TLS and the settings demand it."""
    # RFC 6749, sections 3.1 and 3.2: "the authorization server MUST require the use of TLS".
    if settings.ssl_only and not request.isSecure():
        raise InvalidRequest("TLS is required")


def require_method(request: Any, *allowed: str) -> None:
    """Raise MethodNotAllowed for any other method. Methods are case-sensitive (RFC 9110, 9.1)."""
    if request.method.decode("latin-1") not in allowed:
        raise MethodNotAllowed(*allowed)


def query_of(request: Any) -> bytes:
    """The query of a request, as it was sent."""
    return cast("bytes", request.uri.partition(b"?")[2])


def with_query(path: str, *queries: bytes) -> str:
    """A path of ours with queries as they were sent, but for what no URI may hold."""
    query = b"&".join(query for query in queries if query)
    return f"{path}?{quote(query, safe=_IN_URI)}" if query else path


def address_with_query(request: Any, endpoint: str, *queries: bytes) -> str:
    """An address of our tree with queries."""
    return with_query(IMount(request).path + endpoint, *queries)


def read_query(request: Any) -> Parameters:
    """The parameters of a request's query."""
    return parse(query_of(request))


def form_body(request: Any) -> bytes:
    """The body of a form, left in place for whoever reads it next.

    :raises InvalidRequest: it is not a form, or larger than any.
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


def names_parameter(request: Any, name: str) -> bool:
    """Whether the query or the form of a request has a parameter, however much else is there.

    Of a longer form than any of ours the beginning is looked at.
    """
    try:
        form = form_body(request)
    except ContentTooLarge:
        form = cast("bytes", request.content.read(MAX_BODY_SIZE))
        request.content.seek(0)
    except InvalidRequest:
        form = b""
    return has_name(query_of(request), name) or has_name(form, name)


def wants_json(request: Any) -> bool:
    """Whether a request's Accept header names JSON and no page (RFC 9110, section 12.5.1)."""
    accept = b",".join(request.requestHeaders.getRawHeaders(b"accept") or []).lower()
    return b"application/json" in accept and b"text/html" not in accept


def address_of(request: Any) -> str:
    """The network address that a request came from."""
    return str(getattr(request.getClientAddress(), "host", "local"))


def has_hung_up(request: Any) -> bool:
    """Whether nobody is there any more to be answered."""
    # So does Twisted leave a request whose connection is lost.
    return getattr(request, "channel", request) is None


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
