"""Redirect URIs: their registration, their choice for a request, and their parameters."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import quote, urlencode, urlsplit

from ..errors import MissingRedirectURI, RegistrationError
from ..messages import Message
from ..models import Client
from ..parameters import decode, has_name

MAX_URI_LENGTH = 2000

#: The parameters of an authorization response (RFC 6749, sections 4.1.2 and 4.1.2.1; RFC 9207, section
#: 2). A redirect URI has none of them, since a response must not have a parameter twice.
RESPONSE_PARAMETERS = ("code", "state", "iss", "error", "error_description", "error_uri")

# RFC 3986, appendix A. Path and query may also have letters outside ASCII: they are stored as
# registered, and percent-encoded in the Location header. White space, control characters, backslash,
# quotes and angle brackets are never allowed. No character matches two of the alternatives, so that a
# match does not take exponential time.
_URI = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#\\]++)"
    r"(?P<rest>(?:[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2}|[^\W\x00-\x7f])*+)",
)
# What a state keeps as it is, so that it does not become longer than the client can read.
_IN_STATE = "/:?@!$()*,"
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_PORT = re.compile(r"[1-9][0-9]{0,4}")


def check_redirect_uri(
    uri: str, ssl_only: bool = True, added: Iterable[str] = RESPONSE_PARAMETERS
) -> None:
    """Refuse a redirect URI that cannot be registered.

    :param ssl_only: whether the URI must be https; otherwise http is accepted too.
    :param added: the parameters that an answer adds to it.
    :raises RegistrationError: the URI is not absolute, not https, or ambiguous in any way; or its query
        has one of the parameters that are added.
    """
    check_absolute_uri(uri, ssl_only)
    query = uri.partition("?")[2].encode()
    for name in added:
        # RFC 6749, section 3.1: "Request and response parameters MUST NOT be included more than once."
        if has_name(query, name):
            text = Message("a redirect URI must not have the parameter %(name)s: the answer has it")
            raise RegistrationError(text.filled(name=name))


def check_absolute_uri(uri: str, ssl_only: bool = True) -> None:
    """Refuse a URI that is not absolute, not https, or ambiguous in any way.

    :param ssl_only: whether the URI must be https; otherwise http is accepted too.
    :raises RegistrationError: its text calls it a redirect URI.
    """
    # RFC 6749, section 3.1.2: "The redirection endpoint URI MUST be an absolute URI [...]. The
    # endpoint URI MUST NOT include a fragment component."
    if "#" in uri:
        raise RegistrationError(Message("a redirect URI must not have a fragment"))
    if len(uri) > MAX_URI_LENGTH:
        text = Message("a redirect URI has at most %(most)s characters")
        raise RegistrationError(text.filled(most=MAX_URI_LENGTH))
    match = _URI.fullmatch(uri)
    if not match:
        raise RegistrationError(
            Message(
                "a redirect URI must be absolute, like https://app.example/callback, without white space"
            )
        )
    if match["scheme"] != "https" and (ssl_only or match["scheme"] != "http"):
        raise RegistrationError(Message("a redirect URI must be https"))
    _check_authority(match["authority"])
    # Another reader of the URI must find the same host, or a code could be sent to the wrong one.
    try:
        parts = urlsplit(uri)
        agreed = parts.netloc == match["authority"] and parts.hostname is not None
    except ValueError:
        agreed = False
    if not agreed:
        raise RegistrationError(Message("a redirect URI must have a host"))
    if any(segment in {".", "..", "%2e", "%2e%2e", ".%2e", "%2e."} for segment in _segments(parts.path)):
        raise RegistrationError(Message("a redirect URI must not have dot segments"))


def _segments(path: str) -> Iterable[str]:
    return path.lower().split("/")


def _check_authority(authority: str) -> None:
    if "@" in authority:
        raise RegistrationError(Message("a redirect URI must not have user information"))
    if authority.startswith("["):
        literal, bracket, port = authority[1:].partition("]")
        try:
            ipaddress.IPv6Address(literal)
        except ValueError:
            bracket = ""
        # RFC 3986, section 3.2.2: an IPv6 address in a URI has no zone.
        if not bracket or "%" in literal or (port and not port.startswith(":")):
            raise RegistrationError(Message("a redirect URI must have a host"))
        port = port[1:] if port else "443"
    else:
        host, colon, port = authority.partition(":")
        if not all(_HOST_LABEL.fullmatch(label) for label in host.split(".")):
            raise RegistrationError(
                Message("a redirect URI must have a host of ASCII letters, digits, dots and hyphens")
            )
        if host.rsplit(".", 1)[-1].isdigit():
            _check_ipv4(host)
        port = port if colon else "443"
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise RegistrationError(Message("a redirect URI's port must be a number from 1 to 65535"))


def _check_ipv4(host: str) -> None:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise RegistrationError(Message("a redirect URI's host is not an address")) from None


def choose_redirect_uri(client: Client, requested: str | None) -> str:
    """The registered redirect URI of an authorization request.

    :raises MissingRedirectURI: the URI is not registered, or it is missing and there are several.
    """
    if requested is None:
        # RFC 6749, section 3.1.2.3: "If multiple redirection URIs have been registered [...] the
        # client MUST include a redirection URI with the authorization request".
        if len(client.redirect_uris) == 1:
            return client.redirect_uris[0]
        why = f"redirect_uri is missing, and the client has {len(client.redirect_uris)}"
        raise MissingRedirectURI("redirect_uri is missing", reason=why)
    # RFC 9700, section 2.1: "authorization servers MUST utilize exact string matching except for port
    # numbers in localhost redirection URIs of native apps"; we do not support native apps.
    if requested in client.redirect_uris:
        return requested
    raise MissingRedirectURI(
        "redirect_uri is not one that the client has registered",
        reason=f"redirect_uri {requested} is not registered, but {' '.join(client.redirect_uris)}",
    )


def host_of(uri: str) -> str:
    """The host of a URI, with its port if it has one."""
    return urlsplit(uri).netloc


def origin_of(uri: str) -> str:
    """The origin of a URI: its scheme, host and port (RFC 6454, section 4)."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def as_ascii(uri: str) -> str:
    """A registered URI with its letters outside ASCII percent-encoded (RFC 3987, section 3.1)."""
    return quote(uri, safe="%/:?#[]@!$&'()*+,;=-._~")


def update_parameters(uri: str, parameters: dict[str, str]) -> str:
    """The URI of an authorization response: a redirect URI with parameters, percent-encoded.

    The query of the URI is kept (RFC 6749, section 3.1.2), but not a parameter in it that belongs to the
    response: the URI may have been registered before that was refused. Lone surrogates in a value become
    the bytes that they stand for.
    """
    address, _, query = uri.partition("?")
    kept = "&".join(pair for pair in query.split("&") if not _is_of_response(pair))
    separator = "&" if kept and not kept.endswith("&") else ""
    added = "&".join(
        urlencode({name: value}, safe=_IN_STATE if name == "state" else "", errors="surrogateescape")
        for name, value in parameters.items()
    )
    return as_ascii(f"{address}?{kept}") + separator + added


def _is_of_response(pair: str) -> bool:
    return decode(pair.partition("=")[0].encode()) in RESPONSE_PARAMETERS
