"""Where a request comes from, as trusted proxies say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.protocol.forwarding import MAX_HOPS, MAX_LENGTH, NO_PROXIES, Origin, TrustedProxies

PROXY, INNER, CLIENT = "10.0.0.1", "10.0.0.2", "203.0.113.7"
PROXIES = TrustedProxies.of(["10.0.0.0/8", "2001:db8:1::/48", "unix"])


def lines_of(*headers: tuple[str, str]) -> Callable[[str], Sequence[str]]:
    """The lines of some headers."""
    return lambda wanted: [value for name, value in headers if name == wanted]


def origin(*headers: tuple[str, str], peer: str | None = PROXY, is_secure: bool = False) -> Origin:
    return PROXIES.origin(peer, is_secure, lines_of(*headers))


def xff(value: str) -> tuple[str, str]:
    return "x-forwarded-for", value


def proto(value: str) -> tuple[str, str]:
    return "x-forwarded-proto", value


def forwarded(value: str) -> tuple[str, str]:
    return "forwarded", value


# Who is believed.


@pytest.mark.parametrize("peer", ["192.0.2.1", "::1", "11.0.0.1", "2001:db8:2::1", "local"])
@pytest.mark.parametrize("is_secure", [True, False])
def test_headers_of_other_peers_are_not_believed(peer: str, is_secure: bool) -> None:
    """TL-04."""
    headers = xff(CLIENT), proto("https"), forwarded(f"for={CLIENT};proto=https")
    prefix = "x-forwarded-prefix", "/auth"
    assert origin(*headers, prefix, peer=peer, is_secure=is_secure) == Origin(peer, is_secure)


def test_no_peer_is_trusted_by_default() -> None:
    found = NO_PROXIES.origin(PROXY, False, lines_of(xff(CLIENT), proto("https")))
    assert found == Origin(PROXY, False)
    assert not NO_PROXIES


@pytest.mark.parametrize("peer", [PROXY, "::ffff:10.0.0.1", "2001:db8:1:9::9", None])
def test_headers_of_trusted_peers_are_believed(peer: str | None) -> None:
    assert origin(xff(CLIENT), proto("https"), peer=peer) == Origin(CLIENT, True)
    assert origin(forwarded(f"for={CLIENT};proto=https"), peer=peer) == Origin(CLIENT, True)


def test_peer_of_a_unix_socket_is_trusted_only_if_it_is_named() -> None:
    proxies = TrustedProxies.of([PROXY])
    assert proxies.origin(None, False, lines_of(proto("https"))) == Origin("local", False)


# The client's address.


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (CLIENT, CLIENT),
        (f"1.2.3.4, {CLIENT}", CLIENT),
        (f"1.2.3.4, {CLIENT}, {INNER}", CLIENT),
        (f"{CLIENT},{INNER},{INNER}", CLIENT),
        (f"{INNER}, {PROXY}", INNER),
        (f"{CLIENT}:51234", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:51234", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("::ffff:203.0.113.7", CLIENT),
        # What no proxy writes stops the walk at the last proxy.
        ("", PROXY),
        ("unknown", PROXY),
        (f"{CLIENT}, unknown, {INNER}", INNER),
        (f"{CLIENT}, nonsense", PROXY),
        ("203.0.113.7.example", PROXY),
        ("0x7f.1", PROXY),
    ],
)
def test_client_is_the_last_hop_that_is_no_proxy(value: str, address: str) -> None:
    assert origin(xff(value), proto("https")) == Origin(address, True)


@pytest.mark.parametrize(
    ("headers", "has_protocol"),
    [
        ((), False),
        ((xff(CLIENT),), False),
        ((forwarded(f"for={CLIENT}"),), False),
        ((xff(CLIENT), proto("http")), True),
        ((forwarded(f"for={CLIENT};proto=http"),), True),
    ],
)
def test_proxy_that_does_not_send_the_protocol_is_known(
    headers: tuple[tuple[str, str], ...], has_protocol: bool
) -> None:
    found = origin(*headers, is_secure=True)
    assert (found.is_secure, found.has_protocol) == (False, has_protocol)


def test_lines_of_a_header_are_one_list() -> None:
    assert origin(xff(CLIENT), xff(INNER), proto("https")).address == CLIENT


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (f"for={CLIENT};proto=https", CLIENT),
        (f"For={CLIENT} ; Proto=HTTPS;by={PROXY};host=a.example", CLIENT),
        ('for="[2001:db8::7]:51234";proto=https', "2001:db8::7"),
        (f'for="{CLIENT}:51234";proto=https', CLIENT),
        ('for="\\203.0.113.7";proto=https', CLIENT),
        (f"for=1.2.3.4;proto=https, for={CLIENT};proto=https,for={INNER};proto=https", CLIENT),
        ("for=unknown;proto=https", PROXY),
        ("for=_hidden;proto=https", PROXY),
        ("proto=https", PROXY),
        (f'for={CLIENT};proto=https;extension="a,b;c"', CLIENT),
    ],
)
def test_forwarded_header_is_read_as_rfc_7239_defines_it(value: str, address: str) -> None:
    assert origin(forwarded(value)) == Origin(address, True)


# TLS.


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (proto("http"),),
        (proto(""),),
        (proto("https, http"),),
        (proto("http, https"),),
        (proto("https,https"),),
        (proto("https"), proto("https")),
        (proto("httpss"),),
        (("x-forwarded-ssl", "on"),),
        (("front-end-https", "on"),),
        (forwarded(f"for={CLIENT}"),),
        (forwarded(f"for={CLIENT};proto=http"),),
        (forwarded(f"for={CLIENT};proto=https, for={INNER}"),),
        (forwarded(f"for={CLIENT};proto=https, for={INNER};proto=http"),),
        (forwarded(f"for={CLIENT};proto=http, for={INNER};proto=https"),),
        (forwarded(f"for={CLIENT}, for={INNER};proto=https"),),
    ],
)
@pytest.mark.parametrize("is_secure", [True, False])
def test_request_of_a_proxy_is_secure_only_if_each_hop_was(
    headers: tuple[tuple[str, str], ...], is_secure: bool
) -> None:
    """TL-05: also where the proxy itself uses TLS."""
    assert not origin(*headers, is_secure=is_secure).is_secure


# Contradictions.


@pytest.mark.parametrize(
    "headers",
    [
        (xff(CLIENT), proto("https"), forwarded("for=1.2.3.4")),
        (xff(CLIENT), proto("https"), forwarded(f"for={CLIENT};proto=http")),
        (xff(CLIENT), proto("http"), forwarded(f"for={CLIENT};proto=https")),
        (proto("https"), forwarded("for=")),
        (proto("https"), forwarded(f"for={CLIENT};for=1.2.3.4")),
        (proto("https"), forwarded('for="1.2.3.4')),
        (proto("https"), forwarded("nonsense")),
        (proto("https"), forwarded("for=1.2.3.4;=https")),
        (proto("https"), xff(", ".join([INNER] * (MAX_HOPS + 1)))),
        (proto("https"), xff(" " * (MAX_LENGTH + 1))),
        (proto("https"), forwarded("for=1.2.3.4;ext=" + "a" * MAX_LENGTH)),
        (proto("https"), ("x-forwarded-prefix", "auth")),
        (proto("https"), ("x-forwarded-prefix", "//evil.example")),
        (proto("https"), ("x-forwarded-prefix", "/a/../b")),
        (proto("https"), ("x-forwarded-prefix", "/a?b")),
        (proto("https"), ("x-forwarded-prefix", "/a"), ("x-forwarded-prefix", "/b")),
        (proto("https"), ("x-forwarded-prefix", "https://evil.example")),
    ],
)
def test_contradicting_or_malformed_headers_make_a_request_insecure(
    headers: tuple[tuple[str, str], ...],
) -> None:
    """TL-05."""
    found = origin(*headers, is_secure=True)
    assert (found.address, found.is_secure, found.prefix) == (PROXY, False, "")
    assert found.problem


def test_headers_that_agree_are_believed() -> None:
    found = origin(xff(CLIENT), proto("https"), forwarded(f"for={CLIENT};proto=https"))
    assert found == Origin(CLIENT, True)


# The prefix.


@pytest.mark.parametrize(
    ("value", "prefix"),
    [("/auth", "/auth"), ("/auth/", "/auth"), ("/a/b.c_d~e-f", "/a/b.c_d~e-f"), ("/", ""), ("", "")],
)
def test_prefix_is_a_path_without_a_slash_at_its_end(value: str, prefix: str) -> None:
    assert origin(proto("https"), ("x-forwarded-prefix", value)) == Origin(PROXY, True, prefix)


# The names of proxies.


@pytest.mark.parametrize("name", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "", "*", "Unix"])
def test_name_that_is_no_network_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="trusted proxy"):
        TrustedProxies.of([name])
