"""Metadata: of the server (RFC 8414) and of protected resources (RFC 9728)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.web.resource import Resource
from web_driver import ISSUER, System

from djoauth2_twisted import OAuthGuard, Settings

SERVER = "/.well-known/oauth-authorization-server"
RESOURCE = "/.well-known/oauth-protected-resource"


@pytest.mark.parametrize("slash", ["", "/"])
def test_what_the_server_says_of_itself(system: System, slash: str) -> None:
    """MD-01, MD-02, PK-12: what is enforced, neither more nor less."""
    answer = system.send("GET", SERVER + slash)
    said = answer.json
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert said["issuer"] == ISSUER
    assert said["response_types_supported"] == ["code"]
    assert said["grant_types_supported"] == ["authorization_code", "refresh_token"]
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["authorization_response_iss_parameter_supported"] is True
    assert "user_info" in said["scopes_supported"]
    for name in ("token", "revocation", "introspection"):
        methods = said[f"{name}_endpoint_auth_methods_supported"]
        assert methods == ["client_secret_basic", "client_secret_post"]
        answer = system.send("POST", said[f"{name}_endpoint"].removeprefix(ISSUER), b"")
        assert answer.status == 400, "the endpoint answers"
    assert system.send("GET", said["authorization_endpoint"].removeprefix(ISSUER)).status == 400


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "evil.example")],
        [("X-Forwarded-Host", "evil.example"), ("Forwarded", "host=evil.example")],
        [("X-Forwarded-Proto", "http")],
    ],
)
def test_nothing_follows_the_request(system: System, headers: list[tuple[str, str]]) -> None:
    """MD-03."""
    expected = system.send("GET", SERVER).body
    assert system.send("GET", SERVER, None, headers).body == expected


def test_an_issuer_with_a_path(make_system: Callable[..., System]) -> None:
    """MD-01: the path is inserted, and nothing is where it would be without it."""
    system = make_system(issuer="https://as.example/tenant")
    assert system.send("GET", f"{SERVER}/tenant").json["issuer"] == "https://as.example/tenant"
    assert system.send("GET", SERVER).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods(system: System, method: str) -> None:
    answer = system.send(method, SERVER)
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")


def test_tls_is_required(system: System) -> None:
    assert system.send("GET", f"http://as.example{SERVER}").status == 400


def test_a_guard_names_its_metadata(system: System) -> None:
    """MD-05, MD-06, BG-01."""
    address = f"{ISSUER}{RESOURCE}/api/user_info"
    challenge = system.send("GET", "/api/user_info/").header("www-authenticate")
    assert challenge == f'Bearer realm="", resource_metadata="{address}"'
    assert system.send("GET", address.removeprefix(ISSUER)).json == {
        "resource": f"{ISSUER}/api/user_info",
        "authorization_servers": [ISSUER],
        "scopes_supported": ["user_info"],
        "bearer_methods_supported": ["header"],
    }


@pytest.mark.parametrize(
    "path",
    ["", "/", "/api", "/api/user_info/more", "/api%2Fuser_info", "/api//user_info", "/../x", "/%ff"],
)
def test_nothing_is_said_of_other_paths(system: System, path: str) -> None:
    """MD-07."""
    answer = system.send("GET", RESOURCE + path)
    assert answer.status == 404
    assert answer.json["error"] == "invalid_request"


def test_a_guard_of_ones_own_is_published(make_system: Callable[..., System]) -> None:
    system = make_system(Settings(realm="files"))
    guard = OAuthGuard(
        Resource(), system.server, scopes=("verify",), address="https://files.example/deep/down/"
    )
    system.site.resource.putChild(b"files", guard)
    challenge = system.send("GET", "/files/x").header("www-authenticate")
    metadata = "https://files.example/.well-known/oauth-protected-resource/deep/down"
    assert challenge == f'Bearer realm="files", resource_metadata="{metadata}"'
    said = system.send("GET", f"{RESOURCE}/deep/down").json
    assert said["resource"] == "https://files.example/deep/down/"
    assert said["scopes_supported"] == ["verify"]


def test_the_prefix_is_followed(make_system: Callable[..., System]) -> None:
    """Said where it is known beforehand, and learned from the first request where not."""

    def root(server):  # type: ignore[no-untyped-def]
        tree = Resource()
        tree.putChild(b"auth", server.resource())
        tree.putChild(b".well-known", server.well_known_resource())
        return tree

    told = make_system(root=root, prefix="/auth")
    told.send("GET", "/auth/login/")
    assert told.send("GET", SERVER).json["token_endpoint"] == f"{ISSUER}/auth/token/"


def test_before_the_store_is_open(make_system: Callable[..., System]) -> None:
    system = make_system(started=False)
    answer = system.send("GET", SERVER, faults=True)
    assert (answer.status, answer.header("retry-after")) == (503, "1")
