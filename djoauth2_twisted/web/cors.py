"""Cross-Origin Resource Sharing (Fetch standard, section 3.2) for a list of origins."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import field, frozen
from twisted.web.iweb import IRequest

from ..errors import ConfigurationError
from .respond import Response

#: The methods in the answer to a preflight, where the guard's scopes name no methods.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
)


def _origins(given: Iterable[str]) -> frozenset[bytes]:
    if isinstance(given, str):
        raise TypeError('cors must be a sequence of origins, like ("https://app.example",)')
    return frozenset(_origin(each) for each in given)


def _origin(given: str) -> bytes:
    """An origin as browsers write it: in small letters, without path, default port or ``*``."""
    match = _ORIGIN.fullmatch(given)
    if match is None or match["port"] == {"https": "443", "http": "80"}[match["scheme"]]:
        raise ConfigurationError(f"{given!r} is not an origin: write it like 'https://app.example'")
    return given.encode("ascii")


#: What a script may send, and a form may not: an access token, and its proof (RFC 9449).
_OPEN_HEADERS = "Authorization, Content-Type, DPoP"


def open_to_scripts(request: IRequest) -> None:
    """Let scripts of every origin read the answer. No cookie is sent with such a request."""
    headers = request.responseHeaders
    headers.setRawHeaders(b"access-control-allow-origin", [b"*"])
    headers.setRawHeaders(b"access-control-expose-headers", [b"WWW-Authenticate"])


def answer_preflight(*methods: str) -> Response:
    """The answer to OPTIONS at an address that `open_to_scripts` has opened."""
    allowed = ", ".join(dict.fromkeys((*methods, "OPTIONS")))
    headers = {
        "Allow": allowed,
        "Access-Control-Allow-Methods": allowed,
        "Access-Control-Allow-Headers": _OPEN_HEADERS,
        "Access-Control-Max-Age": "3600",
    }
    return Response(204, headers, b"")


@frozen
class Cors:
    """The origins whose scripts may read the answers.

    :raises ConfigurationError: one of the values is not an origin.
    """

    origins: frozenset[bytes] = field(converter=_origins)

    def _origin_of(self, request: IRequest) -> bytes | None:
        sent = request.requestHeaders.getRawHeaders(b"origin") or []
        return sent[0] if len(sent) == 1 and sent[0] in self.origins else None

    def allow(self, request: IRequest) -> None:
        """Set the headers that let scripts of these origins read the answer, also an error."""
        if not self.origins:
            return
        headers = request.responseHeaders
        if b"Origin" not in headers.getRawHeaders(b"vary", []):
            headers.addRawHeader(b"vary", b"Origin")
        origin = self._origin_of(request)
        if origin is not None:
            headers.setRawHeaders(b"access-control-allow-origin", [origin])
            headers.setRawHeaders(b"access-control-expose-headers", [b"WWW-Authenticate"])

    def is_preflight(self, request: IRequest) -> bool:
        """Whether a request is the preflight of one of these origins."""
        return (
            request.method == b"OPTIONS"
            and self._origin_of(request) is not None
            and request.requestHeaders.hasHeader(b"access-control-request-method")
        )


def preflight(methods: Iterable[str]) -> Response:
    """The answer to a preflight. As a 204 it has no Content-Length (RFC 9110, section 8.6).

    :param methods: the methods that a script may use.
    """
    return Response(
        204,
        {
            "Access-Control-Allow-Methods": ", ".join(methods or _METHODS),
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
        },
        b"",
    )
