"""The check of settings, proxies, the issuer and descriptors: each finding, and when there is none."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from djoauth2_twisted.conf import Settings
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.finding import Finding, Weight, error, note, refuse_errors, warning
from djoauth2_twisted.standalone.check.report import has_errors, has_password, lines_of
from djoauth2_twisted.standalone.check.settings import is_local, judge_settings
from djoauth2_twisted.standalone.endpoint_strings import waits_for_systemd

ISSUER = "https://as.example"
GOOD: dict[str, Any] = {"require_pkce": True}


@pytest.fixture(autouse=True)
def many_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that allows all connections."""
    limit_descriptors(monkeypatch, 100_000)


def limit_descriptors(monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (hard, hard))


def judge(
    *ports: str, issuer: str = ISSUER, settings: dict[str, Any] | None = None
) -> list[tuple[str, str]]:
    """The weight and the fault of each finding."""
    found = judge_settings(Settings(**{**GOOD, **(settings or {})}), ports or ("ssl:443",), issuer)
    assert all(each.mend for each in found)
    return [(each.weight.name, each.fault) for each in found]


def test_a_good_configuration_has_no_finding() -> None:
    assert judge() == []
    assert judge("tcp:8080:interface=127.0.0.1", settings={"trusted_proxies": ("127.0.0.1",)}) == []


@pytest.mark.parametrize("network", ["10.0.0.0/8", "fd00::/8", "::ffff:10.0.0.0/104"])
def test_a_network_of_proxies_may_be_a_slash_8(network: str) -> None:
    assert judge(settings={"trusted_proxies": (network,)}) == []


@pytest.mark.parametrize("network", ["0.0.0.0/0", "10.0.0.0/7", "::/0", "::ffff:0:0/96"])
def test_a_wider_network_of_proxies_is_an_error(network: str) -> None:
    [(weight, fault)] = judge(settings={"trusted_proxies": (network,)})
    assert weight == "ERROR"
    assert "wider than a /8" in fault


@pytest.mark.parametrize(
    "port",
    [
        "tcp:8080:interface=127.0.0.1",
        r"tcp6:8080:interface=\:\:1",
        "ssl:8443:interface=localhost:privateKey=k.pem",
        "haproxy:tcp:80:interface=127.0.0.2",
        "unix:/run/djoauth2",
        "systemd:domain=INET:index=0",
    ],
)
def test_without_ssl_only_a_port_of_this_machine_is_no_error(port: str) -> None:
    assert is_local(port)
    assert judge(port, issuer="http://localhost:8080", settings={"ssl_only": False})[:1] in (
        [],
        [("NOTE", "the issuer is at port 8080, and no --port is")],
    )


@pytest.mark.parametrize(
    "port", ["tcp:8080", "ssl:443", "tcp:8080:interface=0.0.0.0", "tcp:8080:interface=192.0.2.1"]
)
def test_without_ssl_only_a_port_for_other_machines_is_an_error(port: str) -> None:
    [(weight, fault), *_] = judge(port, settings={"ssl_only": False})
    assert weight == "ERROR"
    assert f"and {port} is open to other machines" in fault


def test_neither_state_nor_pkce_is_an_error() -> None:
    """RFC 9700, section 2.1."""
    [(weight, fault)] = judge(settings={"require_state": False, "require_pkce": False})
    assert weight == "ERROR"
    assert "CSRF" in fault
    assert judge(settings={"require_state": False}) == []


def test_no_pkce_is_a_note() -> None:
    """RFC 9700, section 2.1.1."""
    assert [weight for weight, _ in judge(settings={"require_pkce": False})] == ["NOTE"]


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("access_token_lifetime", 86400),
        ("refresh_token_lifetime", 366 * 86400),
        ("refresh_retry_seconds", 60),
    ],
)
def test_a_long_lifetime_is_a_warning(name: str, most: int) -> None:
    assert judge(settings={name: most}) == []
    [(weight, fault)] = judge(settings={name: most + 1})
    assert weight == "WARNING"
    assert name.upper() in fault


@pytest.mark.parametrize(
    ("issuer", "ports", "words"),
    [
        ("https://localhost", ("ssl:443",), "other machines cannot reach"),
        ("https://127.0.0.1:8443", ("ssl:8443",), "other machines cannot reach"),
        ("https://as.example/tenant", ("ssl:443",), "has the path /tenant"),
        (ISSUER, ("ssl:8443",), "the issuer is at port 443"),
        (f"{ISSUER}:8443", ("ssl:443", "ssl:444"), "the issuer is at port 8443"),
    ],
)
def test_an_issuer_that_does_not_match_is_a_note(
    issuer: str, ports: tuple[str, ...], words: str
) -> None:
    [(weight, fault)] = judge(*ports, issuer=issuer)
    assert weight == "NOTE"
    assert words in fault


@pytest.mark.parametrize(
    ("issuer", "ports"),
    [
        ("https://localhost:8443", ("ssl:8443:interface=127.0.0.1",)),
        (f"{ISSUER}:8443", ("ssl:444", "ssl:8443")),
        (ISSUER, ("unix:/run/socket",)),
        (ISSUER, ("ssl:0",)),
        ("", ("ssl:443",)),
    ],
)
def test_an_issuer_that_may_match_is_no_finding(issuer: str, ports: tuple[str, ...]) -> None:
    assert judge(*ports, issuer=issuer) == []


def test_a_proxy_explains_the_path_and_the_port_of_the_issuer() -> None:
    proxies = {"trusted_proxies": ("10.0.0.5",)}
    assert judge("tcp:8080", issuer="https://as.example/tenant", settings=proxies) == []


@pytest.mark.parametrize(
    ("hard", "wanted", "weights"),
    [(5128, 5000, []), (5127, 5000, ["WARNING"]), (1024, 0, ["NOTE"]), (8128, 0, [])],
)
def test_descriptors_for_fewer_connections_than_wanted(
    monkeypatch: pytest.MonkeyPatch, hard: int, wanted: int, weights: list[str]
) -> None:
    """A number that was asked for is missed; the default adapts."""
    limit_descriptors(monkeypatch, hard)
    assert [weight for weight, _ in judge(settings={"max_connections": wanted})] == weights


def test_findings_are_told_in_the_order_of_their_weight_each_once() -> None:
    findings = [note("c", "C"), warning("b", "B", "realm"), error("a", "A\x1b"), note("c", "C")]
    assert lines_of(findings, lambda name: f"--{name}", {}) == [
        r"error: a. A\x1b",
        "warning: --realm: b. B",
        "note: c. C",
    ]
    assert has_errors(findings)
    assert not has_errors(findings[:2])


def test_a_start_is_refused_by_an_error_alone() -> None:
    refuse_errors([warning("b", "B"), note("c", "C")])
    with pytest.raises(ConfigurationError) as raised:
        refuse_errors([warning("b", "B"), error("a", "A", "realm"), error("z")])
    assert (str(raised.value), raised.value.about) == ("a\nA", "realm")
    assert Finding.of(raised.value) == Finding(Weight.ERROR, "a", "A", "realm")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"database": "postgresql://me:secret@db/x"}, True),
        ({"token_store": "redis://:secret@db/0"}, True),
        ({"auth": ["memory:me:secret"]}, True),
        ({"database": "postgresql://me@db/x", "port": ["ssl:443"], "require_pkce": True}, False),
    ],
)
def test_a_password_in_the_configuration_file(values: dict[str, Any], expected: bool) -> None:
    assert has_password(values) is expected


def test_a_socket_of_systemd_is_not_there_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert waits_for_systemd("systemd:domain=INET:index=0")
    assert waits_for_systemd("haproxy:systemd:domain=INET:index=0")
    assert not waits_for_systemd("ssl:443")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert not waits_for_systemd("systemd:domain=INET:index=0")
