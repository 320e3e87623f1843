"""The check of settings: the trusted proxies, the issuer, and what RFC 9700 asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import urlsplit

from ...conf import Settings
from ...finding import Finding, error, note, warning
from ..descriptors import MAX_CONNECTIONS, most_served
from ..endpoint_fields import behind_proxy
from ..endpoint_strings import port_number

#: The widest network of proxies, as the length of its prefix in bits.
WIDEST = 8

#: IPv4 addresses as a socket of both families shows them.
_MAPPED = IPv6Network("::ffff:0:0/96")

#: Lifetimes beyond which a stolen token is good for too long, in seconds.
LONG_ACCESS, LONG_REFRESH, LONG_RETRY = 86400, 366 * 86400, 60

_LOOPBACK = re.compile(r"^(?:tcp|tcp6|ssl|tls):.*?\binterface=(?P<host>(?:\\.|[^:\\])+)")


def judge_settings(settings: Settings, ports: Sequence[str], issuer: str) -> list[Finding]:
    """Judge what can be judged without a look at files, stores and the network.

    :param ports: the endpoint strings.
    :param issuer: empty if it is not usable.
    """
    return [
        *_judge_proxies(settings),
        *_judge_tls(settings, ports),
        *_judge_strength(settings),
        *_judge_lifetimes(settings),
        *_judge_issuer(settings, ports, issuer),
        *_judge_descriptors(settings),
    ]


def _judge_proxies(settings: Settings) -> Iterator[Finding]:
    for network in settings.trusted_proxies.networks:
        if _length(network) < WIDEST:
            fault = f"{network} is wider than a /{WIDEST}: any client in it can pretend to be another"
            yield error(fault, "Name only the addresses of the proxies", "trusted_proxy")


def _length(network: IPv4Network | IPv6Network) -> int:
    """The length of the prefix, as of IPv4 where all of it is IPv4."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return network.prefixlen - _MAPPED.prefixlen
    return network.prefixlen


def _judge_tls(settings: Settings, ports: Sequence[str]) -> Iterator[Finding]:
    if settings.ssl_only:
        return
    for port in ports:
        if not is_local(port):
            fault = f"SSL_ONLY is false (for development only), and {port} is open to other machines"
            mend = "Leave SSL_ONLY out, or listen at 127.0.0.1 as in --port tcp:8080:interface=127.0.0.1"
            yield error(fault, mend, "ssl_only")


def is_local(port: str) -> bool:
    """Whether an endpoint string names a port that this machine alone can reach.

    A socket of systemd is in its unit, which this cannot see.
    """
    behind = behind_proxy(port)
    if behind.startswith(("unix:", "systemd:")):
        return True
    match = _LOOPBACK.match(behind)
    host = match["host"].replace("\\", "") if match else ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _judge_strength(settings: Settings) -> Iterator[Finding]:
    # RFC 9700, section 2.1: "Clients MUST prevent CSRF." They do so by state, or by PKCE.
    if not settings.require_state and not settings.require_pkce:
        fault = "REQUIRE_STATE and REQUIRE_PKCE are both false: nothing stops a forged response (CSRF)"
        yield error(fault, "Set one of them to true", "require_state")
    # RFC 9700, section 2.1.1: "For confidential clients, the use of PKCE is RECOMMENDED".
    elif not settings.require_pkce:
        fault = "REQUIRE_PKCE is false, so that an injected authorization code may be accepted"
        yield note(fault, "Set it to true if all clients send a code_challenge", "require_pkce")


def _judge_lifetimes(settings: Settings) -> Iterator[Finding]:
    # RFC 9700, section 2.2.1, section 4.14 and RFC 6819, section 5.1.5.3.
    for name, longest, why in (
        ("access_token_lifetime", LONG_ACCESS, "a stolen access token is good for all that time"),
        ("refresh_token_lifetime", LONG_REFRESH, "a forgotten refresh token is good for all that time"),
        ("refresh_retry_seconds", LONG_RETRY, "a stolen refresh token can be used again that long"),
    ):
        seconds = getattr(settings, name)
        if seconds > longest:
            fault = f"{name.upper()} is {seconds} seconds: {why}"
            yield warning(fault, f"Set it to {longest} or less", name)


def _judge_issuer(settings: Settings, ports: Sequence[str], issuer: str) -> Iterator[Finding]:
    if not issuer:
        return
    parts = urlsplit(issuer)
    if is_this_machine(parts.hostname or "") and not all(map(is_local, ports)):
        fault = f"the issuer is {issuer}, which other machines cannot reach"
        yield note(fault, "Give the public address of this server as --issuer", "issuer")
        return
    if settings.trusted_proxies:
        return
    if parts.path.strip("/"):
        fault = f"the issuer has the path {parts.path}, which only a proxy in front can add"
        yield note(fault, "Name the proxy by --trusted-proxy", "issuer")
    wanted = parts.port or (443 if parts.scheme == "https" else 80)
    found = [port_number(port) for port in ports]
    # Port 0 is one of the system's choice.
    if all(found) and wanted not in found:
        fault = f"the issuer is at port {wanted}, and no --port is"
        yield note(fault, "Let a proxy or firewall forward that port to this server", "issuer")


def is_this_machine(host: str) -> bool:
    """Whether a host's name or address means the machine itself, on each machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _judge_descriptors(settings: Settings) -> Iterator[Finding]:
    wanted = settings.max_connections or MAX_CONNECTIONS
    served = most_served(wanted)
    if served >= wanted:
        return
    fault = f"the limit of open files allows {served} connections, not {wanted}"
    mend = "Raise the hard limit with LimitNOFILE= of systemd or with `ulimit -Hn`"
    found = warning if settings.max_connections else note
    yield found(fault, mend, "max_connections" if settings.max_connections else "")
