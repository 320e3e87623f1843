"""Metadata: of the server (RFC 8414) and of protected resources (RFC 9728)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import GzipEncoderFactory, Site
from twisted.web.vhost import NameVirtualHost
from web_driver import ISSUER, System

from djoauth2_twisted import OAuthGuard, Settings
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.testing import MemorySite

SERVER = "/.well-known/oauth-authorization-server"
RESOURCE = "/.well-known/oauth-protected-resource"


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_metadata_lists_what_the_server_supports(system: System, slash: str) -> None:
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


@pytest.mark.parametrize("issuer", ["https://as.example/caf%C3%A9", "https://as.example/caf\u00e9"])
def test_an_issuer_that_is_not_in_ascii(make_system: Callable[..., System], issuer: str) -> None:
    """MD-01: it is found where clients look for it."""
    system = make_system(issuer=issuer)
    assert system.send("GET", f"{SERVER}/caf%C3%A9").json["issuer"] == issuer


@pytest.mark.parametrize("place", [SERVER, SERVER + "/", RESOURCE + "/api/user_info"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_scripts_of_every_origin_may_read_it(system: System, method: str, place: str) -> None:
    """INTERFACE, section 2: a client in a browser discovers the server."""
    for headers in ([], [("Origin", "https://spa.example")], [("Origin", "null")]):
        answer = system.send(method, place, None, headers)
        assert answer.status == (204 if method == "OPTIONS" else 200)
        assert answer.header("access-control-allow-origin") == "*"
        assert answer.header("access-control-allow-credentials") is None
        assert (answer.body != b"") == (method == "GET")


@pytest.mark.parametrize("place", [SERVER, RESOURCE + "/api/user_info"])
def test_a_preflight_is_answered(system: System, place: str) -> None:
    """Fetch standard, section 3.2.2."""
    asks = [
        ("Origin", "https://spa.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "x-requested-with"),
    ]
    answer = system.send("OPTIONS", place, None, asks)
    assert answer.status == 204
    assert answer.header("allow") == "GET, HEAD, OPTIONS"
    assert answer.header("access-control-allow-methods") == "GET, HEAD, OPTIONS"
    assert answer.header("access-control-allow-headers") == "*"
    assert answer.header("content-length") is None


def test_an_error_can_be_read_by_scripts_too(system: System) -> None:
    for method, place, status in (("POST", SERVER, 405), ("GET", "/.well-known/nothing", 404)):
        answer = system.send(method, place, None, [("Origin", "https://spa.example")])
        assert (answer.status, answer.header("access-control-allow-origin")) == (status, "*")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(system: System, method: str) -> None:
    answer = system.send(method, SERVER)
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, OPTIONS")


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


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("https://as.example", ""),
        ("https://as.example/", ""),
        ("https://as.example/caf%C3%A9", "/caf%C3%A9"),
        ("https://as.example/caf\u00e9", "/caf%C3%A9"),
        ("https://as.example/a%2Fb/c", "/a%2Fb/c"),
        ("https://as.example/a?tenant=1", "/a?tenant=1"),
    ],
)
def test_addresses_of_guards(make_system: Callable[..., System], address: str, path: str) -> None:
    """MD-05, MD-06: what the challenge names is there, and says the address as it was given."""
    system = make_system()
    guard = OAuthGuard(Resource(), system.server, address=address)
    system.site.resource.putChild(b"guarded", guard)
    challenge = system.send("GET", "/guarded").header("www-authenticate")
    assert f'resource_metadata="{ISSUER}{RESOURCE}{path}"' in (challenge or "")
    said = system.send("GET", f"{RESOURCE}{path}").json
    assert said["resource"] == address


def test_addresses_that_differ_in_their_query(make_system: Callable[..., System]) -> None:
    """RFC 9728, section 3.1."""
    system = make_system()
    for query in ("", "?tenant=1", "?tenant=2"):
        OAuthGuard(Resource(), system.server, address=f"{ISSUER}/a{query}")
    for query, found in {"": "", "?tenant=1": "?tenant=1", "?tenant=2": "?tenant=2", "?x": ""}.items():
        assert system.send("GET", f"{RESOURCE}/a{query}").json["resource"] == f"{ISSUER}/a{found}"


@pytest.mark.parametrize(
    "address", ["", "/files", "http://as.example/files", "https://as.example/files#x", "https:///files"]
)
def test_addresses_that_guards_cannot_have(make_system: Callable[..., System], address: str) -> None:
    """RFC 9728, section 1.2."""
    with pytest.raises(ConfigurationError, match="must be an https URL"):
        OAuthGuard(Resource(), make_system().server, address=address)


class Anything(Resource):
    """A resource that has a child of any name."""

    def __init__(self, child: Any) -> None:
        super().__init__()
        self.child = child

    def getChild(self, path: bytes, request: Any) -> Any:
        return self.child


def deep(wrapped: bool) -> Callable[[Any], Resource]:
    """A site with the tree far down.

    :param wrapped: whether a resource with any children hides it.
    """

    def root(server: Any) -> Resource:
        site, deep = Resource(), Resource()
        # As is done for a page at the root.
        site.putChild(b"", site)
        site.putChild(b"deep", deep)
        site.putChild(b".well-known", server.well_known_resource())
        deep.putChild(b"down there", Anything(server.resource()) if wrapped else server.resource())
        return site

    return root


def token_endpoint(system: System) -> str:
    said: str = system.send("GET", SERVER).json["token_endpoint"]
    return said.removeprefix(ISSUER)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_configured_prefix_stays(
    make_system: Callable[..., System], wrapped: bool, slash: str
) -> None:
    """MD-02: whatever path a request uses, in the metadata as in the links of a page."""
    system = make_system(root=deep(wrapped), told_prefix=f"/deep/down%20there{slash}")
    for path in ("/x", "/y") if wrapped else ("",):
        page = system.send("GET", f"/deep/down%20there{path}/login/")
        assert page.form("password").action == "/deep/down%20there/login/"
        assert token_endpoint(system) == "/deep/down%20there/token/"


@pytest.mark.parametrize("prefix", ["auth", "//evil.example", "/a//b", "/a b", "/a?b", "/a#b", "/é"])
def test_a_prefix_that_is_no_path_is_refused(make_system: Callable[..., System], prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a path"):
        make_system(told_prefix=prefix)


def beside(server: Any) -> Resource:
    """The tree in the site, and under any name beside it."""
    site = deep(wrapped=False)(server)
    site.putChild(b"strange", Anything(server.resource()))
    return site


def behind_a_virtual_host(server: Any) -> Any:
    site: Any = NameVirtualHost()
    site.addHost(b"other.example", Resource())
    site.addHost(b"as.example", beside(server))
    site.default = Resource()
    return site


def compressed(server: Any) -> Resource:
    site = beside(server)
    site.children[b"deep"].children.clear()
    wrapped = EncodingResourceWrapper(server.resource(), [GzipEncoderFactory()])
    site.children[b"deep"].putChild(b"down there", wrapped)
    return site


@pytest.mark.parametrize("root", [beside, behind_a_virtual_host, compressed])
def test_the_place_in_the_site_stays(make_system: Callable[..., System], root: Any) -> None:
    """MD-02: the site shows it before the first request, and no other way to the tree changes it."""
    system = make_system(root=root)
    for path in ("/strange/x", "/strange/y", "/deep/down%20there"):
        assert system.send("GET", f"{path}/style.css").status == 200
        assert token_endpoint(system) == "/deep/down%20there/token/"


def test_a_hidden_place_is_not_learnt_from_requests(
    make_system: Callable[..., System], log: Any
) -> None:
    """MD-02: a path that a stranger chooses is never what others read. The log says it once."""
    system = make_system(root=deep(wrapped=True))
    for path in ("/x", "/y"):
        page = system.send("GET", f"/deep/down%20there{path}/login/")
        assert page.form("password").action == f"/deep/down%20there{path}/login/"
        assert token_endpoint(system) == "/oauth2/token/"
    assert len([line for line in log.lines if "`prefix=` sets it" in line]) == 1


def test_two_sites_have_each_their_own_place(make_system: Callable[..., System]) -> None:
    """MD-02: a request to one site changes nothing of the other."""
    system = make_system()
    root = deep(wrapped=False)(system.server)
    other = MemorySite(Site(root, reactor=system.reactor))
    said = other.get(SERVER).json
    assert said["token_endpoint"] == f"{ISSUER}/deep/down%20there/token/"
    assert token_endpoint(system) == "/oauth2/token/"


def test_before_the_store_is_open(make_system: Callable[..., System]) -> None:
    system = make_system(started=False)
    answer = system.send("GET", SERVER, faults=True)
    assert (answer.status, answer.header("retry-after")) == (503, "1")
