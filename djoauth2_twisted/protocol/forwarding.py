"""What trusted proxies say of a request: the client's address, its TLS, and the path's prefix.

A proxy says it in ``Forwarded`` (RFC 7239) or in ``X-Forwarded-For``, ``X-Forwarded-Proto`` and
``X-Forwarded-Prefix``. A client can send the same headers, so they are believed from trusted peers
only. A request whose headers are missing or contradict each other is insecure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeVar

from attrs import frozen

from ..errors import ConfigurationError

_T = TypeVar("_T")

#: Names the peer of a Unix socket, which has no address.
UNIX = "unix"

#: The largest number of proxies that a request may have passed.
MAX_HOPS = 32

#: The longest header that is read, in characters. The time to split one grows with its square.
MAX_LENGTH = 1024

# RFC 7239, section 4: forwarded-pair = token "=" value, where a value is a token or a quoted string.
_TOKEN, _QUOTED = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", r'"(?:[^"\\]|\\.)*"'
_PAIR = re.compile(rf"\s*({_TOKEN})=({_TOKEN}|{_QUOTED})\s*")
_ELEMENT = re.compile(rf'(?:[^",]|{_QUOTED})+')
_PARAMETER = re.compile(rf'(?:[^";]|{_QUOTED})+')

# What a path may begin with: segments of unreserved characters, none of them "." or "..".
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+/?")

_CONTRADICTION = "the headers in which proxies forward the client's address contradict each other"
_MALFORMED = "the headers in which proxies forward the client's address cannot be read"


@frozen
class Origin:
    """Where a request comes from.

    :param address: the client's address; ``"local"`` for the peer of a Unix socket.
    :param is_secure: whether the client has used TLS.
    :param prefix: the beginning of the path that the proxy has removed, like ``/auth``, or empty.
    :param problem: why the headers of a trusted proxy were not believed, or empty.
    :param has_protocol: whether the trusted proxy has sent the client's protocol. True without a proxy.
    """

    address: str
    is_secure: bool
    prefix: str = ""
    problem: str = ""
    has_protocol: bool = True


class _NotBelieved(Exception):
    """The headers of a trusted proxy are not believed. The message says why."""


@frozen
class _Hop:
    """What one proxy says of its own peer. None: it says nothing."""

    address: str | None
    is_secure: bool | None


@frozen
class TrustedProxies:
    """The peers whose headers are believed."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    @classmethod
    def of(cls, names: Iterable[str]) -> TrustedProxies:
        """Read the names of peers: addresses, networks like ``10.0.0.0/8``, or ``unix``.

        :raises ConfigurationError: a name is none of them.
        """
        names = [name.strip() for name in names]
        networks = tuple(_network(name) for name in names if name != UNIX)
        return cls(networks, UNIX in names)

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)

    def trusts(self, host: str | None) -> bool:
        """Whether a peer is trusted.

        :param host: its address; None for the peer of a Unix socket.
        """
        if host is None:
            return self.unix
        if not self.networks:
            return False
        address = _address(host)
        return address is not None and any(address in network for network in self.networks)

    def origin(
        self, host: str | None, is_secure: bool, lines_of: Callable[[str], Sequence[str]]
    ) -> Origin:
        """Where a request comes from.

        :param host: the address of the connection's peer; None for a Unix socket.
        :param is_secure: whether the connection itself has TLS.
        :param lines_of: the values of a header of the request, a text for each of its lines.
        """
        peer = host if host is not None else "local"
        if not self.trusts(host):
            return Origin(peer, is_secure)
        try:
            address, secure = self._client(peer, lines_of)
            prefix = _prefix(lines_of("x-forwarded-prefix"))
            return Origin(address, bool(secure), prefix, has_protocol=secure is not None)
        except _NotBelieved as error:
            return Origin(peer, is_secure=False, problem=str(error))

    def _client(self, peer: str, lines_of: Callable[[str], Sequence[str]]) -> tuple[str, bool | None]:
        standard = self._walk(_hops(_bounded(lines_of("forwarded"))))
        usual = self._walk(_usual_hops(_bounded(lines_of("x-forwarded-for"))))
        is_secure = _agreed(standard.is_secure, _is_https(lines_of("x-forwarded-proto")))
        return _agreed(standard.address, usual.address) or peer, is_secure

    def _walk(self, hops: Sequence[_Hop]) -> _Hop:
        """The client among hops: the last one that is not a trusted proxy. The nearest hop is last.

        Hops before it were written by the client itself. The client used TLS only if each hop did.
        """
        address: str | None = None
        said: set[bool | None] = set()
        if len(hops) > MAX_HOPS:
            raise _NotBelieved(_MALFORMED)
        for hop in reversed(hops):
            address = hop.address or address
            said.add(hop.is_secure)
            if hop.address is None or not self.trusts(hop.address):
                break
        return _Hop(address, None if said <= {None} else said == {True})


#: No peer is trusted.
NO_PROXIES = TrustedProxies()


def _network(name: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(name)
    except ValueError as error:
        raise ConfigurationError(
            f"trusted proxy {name!r}: {error}. Write an address, a network like 10.0.0.0/8, or unix"
        ) from None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket of both families shows IPv4 clients as ::ffff:192.0.2.1.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _agreed(one: _T | None, other: _T | None) -> _T | None:
    """What two sources say. One that says nothing agrees."""
    if one is not None and other is not None and one != other:
        raise _NotBelieved(_CONTRADICTION)
    return other if one is None else one


def _is_https(lines: Sequence[str]) -> bool | None:
    """Whether X-Forwarded-Proto says https, and nothing else."""
    if not lines:
        return None
    return len(lines) == 1 and lines[0].strip().lower() == "https"


def _prefix(lines: Sequence[str]) -> str:
    if not lines or lines == [""] or lines == ["/"]:
        return ""
    if len(lines) != 1 or not _PREFIX.fullmatch(lines[0]):
        raise _NotBelieved("the header X-Forwarded-Prefix is not a path like /auth")
    return lines[0].rstrip("/")


def _usual_hops(lines: Sequence[str]) -> list[_Hop]:
    """The hops of X-Forwarded-For."""
    return [_Hop(_node(text), None) for line in lines for text in line.split(",")]


def _hops(lines: Sequence[str]) -> list[_Hop]:
    """The hops of Forwarded."""
    return [_hop(element) for line in lines for element in _split(_ELEMENT, ",", line)]


def _hop(element: str) -> _Hop:
    pairs: dict[str, str] = {}
    for text in _split(_PARAMETER, ";", element):
        match = _PAIR.fullmatch(text)
        # RFC 7239, section 4: "Each parameter MUST NOT occur more than once per field-value."
        if match is None or match[1].lower() in pairs:
            raise _NotBelieved(_MALFORMED)
        value = match[2]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        pairs[match[1].lower()] = value
    proto = pairs.get("proto")
    return _Hop(_node(pairs.get("for", "")), None if proto is None else proto.lower() == "https")


def _split(piece: re.Pattern[str], separator: str, text: str) -> list[str]:
    """Split a text at separators outside of quoted strings. Empty pieces do not count."""
    pieces: list[str] = piece.findall(text)
    if "".join(pieces).replace(separator, "") != text.replace(separator, ""):
        raise _NotBelieved(_MALFORMED)
    return pieces


def _node(text: str) -> str | None:
    """The address of a node, which may have a port. None for ``unknown`` and obfuscated names."""
    text = text.strip().strip('"')
    # RFC 7239, section 6: an IPv6 address stands in brackets, and a port may follow.
    match = re.fullmatch(r"\[([^\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}", text)
    address = _address((match[1] or match[2]) if match else text)
    return None if address is None else str(address)


def _bounded(lines: Sequence[str]) -> Sequence[str]:
    if sum(map(len, lines)) > MAX_LENGTH:
        raise _NotBelieved(_MALFORMED)
    return lines
