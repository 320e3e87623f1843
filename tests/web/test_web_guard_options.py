"""OAuthGuard's options, what of a request comes through it, and what happens where something breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from klein import Klein, Response
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.python.components import proxyForInterface
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.vhost import NameVirtualHost
from web_driver import FORM, Answer, System, Wire, assert_challenge
from zope.interface import implementer

from djoauth2_twisted import IAccessToken, ITokenVerifier, OAuthGuard, Settings, oauth_scope
from djoauth2_twisted.access_token import AccessTokenAuthenticator
from djoauth2_twisted.errors import ConfigurationError, DJOAuthError, MissingCredentials
from djoauth2_twisted.guard import any_of
from djoauth2_twisted.web.reading import MAX_BODY_SIZE
from djoauth2_twisted.web.site import LimitedSite

MakeSystem = Callable[..., System]
Header = tuple[str, str]


class Inside(Resource):
    """It notes what it was asked, and serves every method and address."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def render(self, request: Any) -> bytes:
        self.seen.append(request)
        self.headers = dict(request.requestHeaders.getAllRawHeaders())
        self.token = IAccessToken(request, None)
        self.at = request.content.tell()
        self.body = request.content.read()
        self.args = dict(request.args)
        self.paths = (list(request.prepath), list(request.postpath))
        return b"inside"


class Guarded:
    """A site in which `/g` is guarded, in one way or another."""

    def __init__(self, make_system: MakeSystem, scopes: Any = (), **named: Any) -> None:
        self.inside = Inside()
        resource = named.pop("resource", self.inside)
        settings = named.pop("settings", None)

        def root(server: Any) -> Any:
            tree = server.root()
            tree.putChild(b"g", OAuthGuard(resource, server, scopes, **named))
            return tree

        self.system = make_system(root=root, settings=settings)
        self.app = self.system.add_client("App")

    def bearer(self, scope: str = "user_info") -> Header:
        token = self.app.tokens(self.system.browser("alice"), scope)["access_token"]
        return ("Authorization", f"Bearer {token}")

    def send(
        self, *headers: Header, method: str = "GET", path: str = "/g", body: bytes | None = None
    ) -> Answer:
        return self.system.begin(method, path, body, headers, faults=True).answer


# Scopes by method, and alternatives.


BY_METHOD = {"GET": ("user_info",), "POST": ("user_info", "verify"), "PUT": any_of("example", "verify")}


@pytest.mark.parametrize(
    ("method", "scope", "status", "needed"),
    [
        ("GET", "user_info", 200, None),
        ("HEAD", "user_info", 200, None),
        ("GET", "verify", 403, "user_info"),
        ("HEAD", "verify", 403, "user_info"),
        ("POST", "user_info", 403, "user_info verify"),
        ("POST", "user_info verify", 200, None),
        ("PUT", "verify", 200, None),
        ("PUT", "example", 200, None),
        ("PUT", "user_info", 403, "example"),
    ],
)
def test_scopes_by_method(
    make_system: MakeSystem, method: str, scope: str, status: int, needed: str | None
) -> None:
    """BG-04, BG-05: and a refusal names what would do."""
    guarded = Guarded(make_system, BY_METHOD)
    answer = guarded.send(guarded.bearer(scope), method=method)
    assert answer.status == status
    if needed is not None:
        assert_challenge(answer, 403, "insufficient_scope")
        assert f'scope="{needed}"' in (answer.header("www-authenticate") or "")
    assert len(guarded.inside.seen) == (status == 200)


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH", "get", "TRACE"])
@pytest.mark.parametrize("optional", [False, True])
def test_method_without_scopes_is_refused(make_system: MakeSystem, method: str, optional: bool) -> None:
    """401 without a token, as always; with a good one 405, before anything inside runs."""
    guarded = Guarded(make_system, BY_METHOD, optional=optional)
    bare = guarded.send(method=method)
    if optional:
        assert (bare.status, bare.header("allow")) == (405, "GET, POST, PUT, HEAD")
    else:
        assert_challenge(bare, 401, None)
    assert_challenge(guarded.send(("Authorization", "Bearer x"), method=method), 401, "invalid_token")
    answer = guarded.send(guarded.bearer("example"), method=method)
    assert (answer.status, answer.error) == (405, "invalid_request")
    assert answer.header("allow") == "GET, POST, PUT, HEAD"
    assert answer.header("www-authenticate") is None
    assert guarded.inside.seen == []


def test_no_header_changes_the_method(make_system: MakeSystem) -> None:
    """Otherwise a client that may read could write, where a framework believes it."""
    guarded = Guarded(make_system, {"GET": ("user_info",)})
    override = [
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Method-Override", "PUT"),
        ("X_HTTP_Method", "PUT"),
    ]
    assert guarded.send(guarded.bearer(), *override).status == 200
    assert not [name for name in guarded.inside.headers if b"ethod" in name]


@pytest.mark.parametrize(
    "scopes",
    [any_of("verify", "example"), [any_of("verify", "example")], {"GET": any_of("verify", "example")}],
)
def test_any_alternative_is_enough(make_system: MakeSystem, scopes: Any) -> None:
    guarded = Guarded(make_system, scopes)
    for scope in ("verify", "example", "example verify"):
        assert guarded.send(guarded.bearer(scope)).status == 200
    answer = guarded.send(guarded.bearer("user_info"))
    assert_challenge(answer, 403, "insufficient_scope")
    assert 'scope="verify"' in (answer.header("www-authenticate") or "")


@pytest.mark.parametrize("scopes", [("a b",), {"get": ("read",)}, {}, (b"read",)])
def test_scope_that_cannot_exist_is_a_configuration_error(system: System, scopes: Any) -> None:
    """BG-13: and so for a decorator, and for those who check by hand."""
    with pytest.raises(ConfigurationError):
        OAuthGuard(Resource(), system.server, scopes)
    with pytest.raises(ConfigurationError):
        AccessTokenAuthenticator(system.server, scopes)
    with pytest.raises(ConfigurationError):
        oauth_scope("user_info", "a b", verifier=system.server)


def test_a_scope_that_is_not_registered_is_warned_of(make_system: MakeSystem, log: Any) -> None:
    """BG-13: once, when the server is ready. A new database has none, and may get it any time."""
    guarded = Guarded(make_system, {"GET": ("later",), "POST": any_of("later", "user_info")})
    server = guarded.system.server
    oauth_scope("unheard_of", verifier=server)
    log.lines.clear()
    guarded.system.stop()
    server.startService()
    warned = [line.split("scope=")[1].strip() for line in log.lines if "not registered" in line]
    assert warned == ["'later'", "'unheard_of'"]
    guarded.system.do(guarded.system.administration.add_scope("later", "Later."))
    assert guarded.send(guarded.bearer("later")).status == 200


# Optional.


def test_optional_guard_serves_requests_without_a_token(make_system: MakeSystem) -> None:
    guarded = Guarded(make_system, ("user_info",), optional=True)
    for headers in ([], [("Authorization", "Basic YTpi")], [("Authorization", "")]):
        assert guarded.send(*headers).body == b"inside"
        assert guarded.inside.token is None
        assert b"Authorization" not in guarded.inside.headers
    assert guarded.send(guarded.bearer()).body == b"inside"
    token: Any = guarded.inside.token
    assert token.user.username == "alice"


def test_optional_guard_refuses_a_bad_token(make_system: MakeSystem) -> None:
    guarded = Guarded(make_system, ("user_info",), optional=True)
    assert_challenge(guarded.send(("Authorization", "Bearer x")), 401, "invalid_token")
    assert_challenge(guarded.send(("Authorization", "Bearer a b")), 400, "invalid_request")
    assert_challenge(guarded.send(("Authorization", "Bearer")), 400, "invalid_request")
    assert_challenge(guarded.send(guarded.bearer("verify")), 403, "insufficient_scope")
    two = [("Authorization", "Basic YTpi"), guarded.bearer()]
    assert_challenge(guarded.send(*two), 400, "invalid_request")
    assert_challenge(guarded.send(path="/g?access_token=x"), 401, None)
    assert_challenge(guarded.send(FORM, method="POST", body=b"access_token=x"), 401, None)
    assert_challenge(guarded.send(path="http://as.example/g"), 400, "invalid_request")
    assert guarded.inside.seen == []


# CORS.


ORIGIN = ("Origin", "https://app.example")
ASKS = ("Access-Control-Request-Method", "PUT")


def test_a_preflight_is_answered_by_the_guard(make_system: MakeSystem) -> None:
    """Without a token, which a browser does not send with it; nothing inside is asked."""
    guarded = Guarded(make_system, cors=["https://app.example", "http://localhost:3000"])
    answer = guarded.send(ORIGIN, ASKS, method="OPTIONS", path="/g/any/where")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.header("access-control-allow-origin") == "https://app.example"
    assert answer.header("access-control-allow-methods") == "GET, HEAD, POST, PUT, PATCH, DELETE"
    assert answer.header("access-control-allow-headers") == "Authorization, Content-Type"
    assert answer.header("access-control-allow-credentials") is None
    assert answer.header("content-length") is None
    assert answer.header("vary") == "Origin"
    assert guarded.inside.seen == []


def test_preflight_answer_names_the_allowed_methods(make_system: MakeSystem) -> None:
    guarded = Guarded(make_system, BY_METHOD, cors=["https://app.example"])
    answer = guarded.send(ORIGIN, ASKS, method="OPTIONS")
    assert answer.header("access-control-allow-methods") == "GET, POST, PUT, HEAD"


@pytest.mark.parametrize(
    "headers",
    [
        [("Origin", "https://evil.example"), ASKS],
        [("Origin", "https://app.example.evil.example"), ASKS],
        [("Origin", "http://app.example"), ASKS],
        [("Origin", "null"), ASKS],
        [("Origin", "\udcff"), ASKS],
        [ORIGIN, ORIGIN, ASKS],
        [ORIGIN],
        [ASKS],
        [],
    ],
)
def test_options_request_that_is_no_preflight_needs_a_token(
    make_system: MakeSystem, headers: list[Header]
) -> None:
    guarded = Guarded(make_system, cors=["https://app.example"])
    answer = guarded.send(*headers, method="OPTIONS")
    assert_challenge(answer, 401, None)
    allowed = "https://app.example" if headers == [ORIGIN] else None
    assert answer.header("access-control-allow-origin") == allowed
    assert answer.header("vary") == "Origin"


def test_a_preflight_without_tls_is_refused(make_system: MakeSystem) -> None:
    """The token would follow it in the clear."""
    guarded = Guarded(make_system, cors=["https://app.example"])
    answer = guarded.send(ORIGIN, ASKS, method="OPTIONS", path="http://as.example/g")
    assert_challenge(answer, 400, "invalid_request")


def test_allowed_origin_can_read_every_answer(make_system: MakeSystem) -> None:
    """Refusals included, or a script could not tell why."""
    guarded = Guarded(make_system, ("user_info",), cors=["https://app.example"])
    bearer = guarded.bearer()
    for headers, status in [
        ([bearer], 200),
        ([], 401),
        ([("Authorization", "Bearer x")], 401),
        ([guarded.bearer("verify")], 403),
    ]:
        answer = guarded.send(ORIGIN, *headers)
        assert answer.status == status
        assert answer.header("access-control-allow-origin") == "https://app.example"
        assert answer.header("access-control-expose-headers") == "WWW-Authenticate"
        assert answer.header("vary") == "Origin"
        other = guarded.send(("Origin", "https://evil.example"), *headers)
        assert other.header("access-control-allow-origin") is None
        assert other.header("vary") == "Origin"


def test_nested_guards_send_cors_headers_once(make_system: MakeSystem) -> None:
    outer = Resource()
    guarded = Guarded(make_system, resource=outer, cors=["https://app.example"])
    inner = OAuthGuard(Inside(), guarded.system.server, cors=["https://app.example"])
    outer.putChild(b"in", inner)
    answer = guarded.send(ORIGIN, guarded.bearer(), path="/g/in")
    assert (answer.status, answer.body) == (200, b"inside")
    assert answer.header("access-control-allow-origin") == "https://app.example"
    assert answer.header("vary") == "Origin"


def test_without_cors_no_cors_header_is_sent(make_system: MakeSystem) -> None:
    guarded = Guarded(make_system)
    for headers in ([ORIGIN, ASKS], [ORIGIN, guarded.bearer()]):
        answer = guarded.send(*headers)
        assert not [n for n, _ in answer.headers.getAllRawHeaders() if n.startswith(b"Access-")]
        assert answer.header("vary") is None


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://app.example/",
        "https://*.example",
        "https://APP.example",
        "https://app.example:443",
        "http://app.example:80",
        "app.example",
        "ftp://app.example",
        "https://",
        "https://a@app.example",
        "https://app.example:x",
        "https://äpp.example",
        "https://app.example ",
        "",
    ],
)
def test_malformed_origin_is_a_configuration_error(system: System, origin: str) -> None:
    """No browser would ever send it, and the operator would look for the fault elsewhere."""
    with pytest.raises(ConfigurationError):
        OAuthGuard(Resource(), system.server, cors=[origin])


def test_cors_given_as_a_string_is_refused(system: System) -> None:
    with pytest.raises(TypeError, match="a sequence of origins"):
        OAuthGuard(Resource(), system.server, cors="https://app.example")


# What comes through.


MADE_UP = [
    "X-User", "X-Forwarded-User", "X-Remote-User", "Remote-User", "X-Original-URL", "X-Rewrite-URL",
    "X-Scopes", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
    "X-Auth-Request-User", "X-Auth-Request-Access-Token", "X-Original-URI", "X-Forwarded-Uri",
    "Remote-Groups", "X-WebAuth-User", "X-Authenticated-User", "X-Amzn-Oidc-Identity", "X-User-Id",
    "Cf-Access-Authenticated-User-Email", "X-Goog-Authenticated-User-Email", "X-SSL-Client-S-DN",
    "X-Forwarded-Client-Cert", "OIDC-Claim-Sub", "X-Original-Method", "X-Roles", "X-Access-Token",
    "X-authentik-username", "X-Consumer-Username", "Tailscale-User-Login", "X-Credential-Identifier",
    "X-MS-Client-Principal-Name", "X-Pomerium-Claim-Email", "Impersonate-User", "SM-User", "X-UserId",
    "X-Subject", "X-Identity", "X-JWT-Assertion", "X-Httpd-Username", "X-Proxy-User", "X-Trusted-User",
    "X-Token-Scopes", "X-Token-User", "X-OAuth-Client-Id", "X-OAuth2-User", "X-Access-Token-Scopes",
    "X-Endpoint-API-UserInfo", "X-Amzn-Mtls-Clientcert", "X-Vouch-User", "X-Forwarded-Roles",
    "X-ARR-ClientCert",
]  # fmt: skip
KEPT = ["X-Requested-With", "X-Forwarded-For", "X-Request-ID", "User-Agent", "Cookie", "X-User-Agent"]


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("spell", [str, str.lower, str.upper, lambda name: name.replace("-", "_")])
def test_forged_headers_do_not_reach_the_resource(
    make_system: MakeSystem, optional: bool, spell: Callable[[str], str]
) -> None:
    """GW-11: neither who it is nor what was asked for, however spelled."""
    guarded = Guarded(make_system, optional=optional)
    sent = [(spell(name), "admin") for name in MADE_UP]
    kept = [(name, "kept") for name in KEPT]
    credentials = [] if optional else [guarded.bearer()]
    assert guarded.send(*sent, *kept, *credentials).status == 200
    assert [name for name, values in guarded.inside.headers.items() if b"admin" in values] == []
    names = {name for name, values in guarded.inside.headers.items() if b"kept" in values}
    assert {name.lower() for name in names} == {name.lower().encode() for name in KEPT}


def test_authorization_header_reaches_the_resource_only_on_demand(make_system: MakeSystem) -> None:
    """GW-11; RFC 9700, section 4.13."""
    guarded = Guarded(make_system)
    guarded.send(guarded.bearer())
    assert b"Authorization" not in guarded.inside.headers
    assert "Bearer" not in repr(vars(guarded.inside.seen[0]))
    guarded = Guarded(make_system, pass_authorization=True)
    bearer = guarded.bearer()
    guarded.send(bearer)
    assert guarded.inside.headers[b"Authorization"] == [bearer[1].encode()]


def test_method_path_body_and_arguments_reach_the_resource(make_system: MakeSystem) -> None:
    guarded = Guarded(make_system)
    body = b"a=1&a=2&b=%20"
    guarded.send(guarded.bearer(), FORM, method="POST", path="/g/a%2Fb//c;d?x=1&x=2&y=", body=body)
    inside = guarded.inside
    assert inside.seen[0].method == b"POST"
    assert inside.paths == ([b"g"], [b"a/b", b"", b"c;d"])
    assert (inside.at, inside.body) == (0, body)
    assert inside.args == {b"x": [b"1", b"2"], b"y": [b""]}


def test_arguments_of_a_form_reach_the_resource(make_system: MakeSystem) -> None:
    """A site of an application's own has read the form before the guard."""
    system = make_system(settings=Settings(ssl_only=False))
    inside = Inside()
    token = system.add_client("App").tokens(system.browser("alice"))["access_token"]
    site = Site(OAuthGuard(inside, system.server))
    wire = Wire(site)
    body = b"a=1&" + b"x=" + b"y" * MAX_BODY_SIZE + b"&z=" * 200
    wire.send(
        b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (token.encode(), len(body)) + body
    )
    assert wire.answer.body == b"inside"
    assert (inside.at, inside.body) == (0, body)
    assert inside.args[b"a"] == [b"1"]
    assert len(inside.args[b"z"]) == 200
    wire.hang_up()


def test_long_query_reaches_the_resource(make_system: MakeSystem) -> None:
    """How many arguments a resource takes is its own business; a token among them is not."""
    guarded = Guarded(make_system)
    bearer = guarded.bearer()
    assert guarded.send(bearer, path="/g?" + "a=1&" * 500).status == 200
    answer = guarded.send(bearer, path="/g?" + "a=1&" * 500 + "access%5Ftoken=x")
    assert_challenge(answer, 400, "invalid_request")


def test_parent_that_ignores_is_leaf_does_not_bypass_the_guard(make_system: MakeSystem) -> None:
    """GW-01: a wrapper that asks the guard for children is given the guard."""

    class Opaque(proxyForInterface(IResource)):  # type: ignore[misc]
        isLeaf = False

    inside = Inside()
    system = make_system(
        root=lambda server: Opaque(OAuthGuard(inside, server)), issuer="https://o.example"
    )
    other = make_system()
    token = other.add_client("App").tokens(other.browser("alice"))["access_token"]
    for path in ("/", "/a", "/a/b", "//a"):
        assert_challenge(system.send("GET", path), 401, None)
    assert inside.seen == []
    system = make_system(root=lambda _: Opaque(OAuthGuard(inside, other.server)))
    answer = system.send("GET", "/a/b%2Fc", None, [("Authorization", f"Bearer {token}")])
    assert answer.body == b"inside"
    assert inside.paths == ([], [b"a", b"b/c"])


# One guard in another.


def nested(make_system: MakeSystem, **named: Any) -> tuple[Guarded, Inside]:
    inside = Inside()
    outer = Resource()
    guarded = Guarded(make_system, ("user_info",), resource=outer, **named)
    outer.putChild(b"in", OAuthGuard(inside, guarded.system.server, ("verify",)))
    return guarded, inside


@pytest.mark.parametrize("pass_authorization", [False, True])
def test_a_guard_in_a_guard(make_system: MakeSystem, pass_authorization: bool) -> None:
    """The inner one judges the same token by its own scopes, though resources do not see the header."""
    guarded, inside = nested(make_system, pass_authorization=pass_authorization)
    assert guarded.send(guarded.bearer("user_info verify"), path="/g/in").body == b"inside"
    assert inside.token is not None
    assert inside.token.scopes == ("user_info", "verify")
    assert b"Authorization" not in inside.headers
    answer = guarded.send(guarded.bearer("user_info"), path="/g/in")
    assert_challenge(answer, 403, "insufficient_scope")
    assert 'scope="verify"' in (answer.header("www-authenticate") or "")
    assert len(inside.seen) == 1


def test_a_guard_in_an_optional_one(make_system: MakeSystem) -> None:
    """What has come in without a token does not come further."""
    guarded, inside = nested(make_system, optional=True)
    assert_challenge(guarded.send(path="/g/in"), 401, None)
    assert_challenge(guarded.send(("Authorization", "Basic YTpi"), path="/g/in"), 401, None)
    assert inside.seen == []


def test_a_decorated_route_in_a_guard(make_system: MakeSystem) -> None:
    app = Klein()
    guarded = Guarded(make_system, ("user_info",), resource=app.resource())

    @app.route("/me")
    @oauth_scope(any_of("verify", "example"), verifier=guarded.system.server)
    def me(access_token: Any, request: Any) -> bytes:
        assert IAccessToken(request) is access_token
        return b"inside"

    assert guarded.send(guarded.bearer("user_info example"), path="/g/me").body == b"inside"
    answer = guarded.send(guarded.bearer("user_info"), path="/g/me")
    assert_challenge(answer, 403, "insufficient_scope")


def test_authenticator_can_be_used_by_hand(make_system: MakeSystem) -> None:
    """`AccessTokenAuthenticator`, as its docstring says."""
    app = Klein()

    def root(server: Any) -> Any:
        authenticator = AccessTokenAuthenticator(server, ("user_info",))

        @app.route("/me")
        async def me(request: Any) -> Any:
            try:
                access_token = await authenticator.authenticate(request)
            except DJOAuthError as error:
                return authenticator.refuse(request, error)
            return access_token.user.username

        tree = server.root()
        tree.putChild(b"h", app.resource())
        return tree

    system = make_system(root=root, settings=Settings(realm="by hand"))
    token = system.add_client("App").tokens(system.browser("alice"))["access_token"]
    assert system.call(token, address="/h/me").body == b"alice"
    answer = system.send("GET", "/h/me")
    assert_challenge(answer, 401, None)
    assert answer.header("www-authenticate") == 'Bearer realm="by hand"'


@pytest.mark.parametrize("host", ["as.example", "other.example", "evil", "", "as:99999"])
def test_a_guarded_resource_of_several_hosts(make_system: MakeSystem, host: str) -> None:
    """GW-12: by whatever name it is reached, and where none is known."""
    inside = Inside()
    other = make_system()
    guard = OAuthGuard(inside, other.server)
    hosts: Any = NameVirtualHost()
    hosts.default = guard
    hosts.addHost(b"other.example", guard)
    system = make_system(root=lambda _: hosts)
    for line in (f"Host: {host}\r\n", f"Host: {host}\r\nX-Forwarded-Host: as.example\r\n", ""):
        answer = system.raw(f"GET /a HTTP/1.1\r\n{line}\r\n".encode(), ours=False)
        assert_challenge(answer, 401, None)
    assert inside.seen == []


# Where something breaks.


class Broken(Resource):
    """It fails at one moment or another."""

    isLeaf = True

    def __init__(self, when: str) -> None:
        super().__init__()
        self._when = when

    def render(self, request: Any) -> int:
        request.addCookie(b"secret", b"detail")
        request.setHeader("x-secret", "half an answer")
        if self._when != "before":
            request.write(b"half an answer")
        if self._when == "after":
            request.finish()
        raise ZeroDivisionError("secret detail")


@pytest.mark.parametrize("when", ["before", "between", "after"])
@pytest.mark.parametrize("tracebacks", [False, True])
def test_a_fault_inside_a_site_of_an_application(
    make_system: MakeSystem, when: str, tracebacks: bool, logged_failures: Any, log: Any
) -> None:
    """GW-13: no traceback, no token, no half an answer that looks whole; one line in the log."""
    system = make_system()
    token = system.add_client("App").tokens(system.browser("alice"))["access_token"]
    site = Site(OAuthGuard(Broken(when), system.server, cors=["https://app.example"]))
    site.displayTracebacks = tracebacks
    wire = Wire(site)
    wire.send(
        b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\n"
        b"Authorization: Bearer %s\r\n\r\n" % token.encode()
    )
    said = wire.value()
    if when == "before":
        assert said.startswith(b"HTTP/1.1 500 ")
        assert b'{"error": "server_error"}' in said
        assert b"secret" not in said.lower()
        assert b"Access-Control-Allow-Origin: https://app.example\r\n" in said
    elif when == "between":
        # Cut, without the last chunk.
        assert wire.closed
        assert said.endswith(b"half an answer\r\n")
    else:
        assert said.endswith(b"half an answer\r\n0\r\n\r\n")
    assert b"Traceback" not in said
    assert token.encode() not in said
    assert token not in log
    assert len(logged_failures.take(ZeroDivisionError)) == 1
    wire.hang_up()


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("line", ["Accept: */*", "Connection: keep-alive"])
def test_half_an_answer_without_a_length_aborts_the_connection(
    make_system: MakeSystem, ours: bool, line: str, logged_failures: Any
) -> None:
    """GW-13, RFC 9112, section 8: under HTTP/1.0 an orderly end would say that the answer is whole."""
    system = make_system()
    token = system.add_client("App").tokens(system.browser("alice"))["access_token"]
    guarded = OAuthGuard(Broken("between"), system.server)
    wire = Wire(LimitedSite(guarded, system.reactor) if ours else Site(guarded))
    request = f"GET / HTTP/1.0\r\n{line}\r\nAuthorization: Bearer {token}\r\n\r\n"
    wire.send(request.encode())
    assert wire.aborted
    assert len(logged_failures.take(ZeroDivisionError)) == 1


@pytest.mark.parametrize("where", ["guarded", "guarded in our site", "in our site"])
def test_a_fault_after_the_client_has_hung_up(
    make_system: MakeSystem, where: str, logged_failures: Any
) -> None:
    """U-08: it is logged once, and no answer is written."""

    class Gone(Resource):
        isLeaf = True

        def render(self, request: Any) -> int:
            request.channel.loseConnection()
            raise ZeroDivisionError

    system = make_system()
    token = system.add_client("App").tokens(system.browser("alice"))["access_token"]
    resource = OAuthGuard(Gone(), system.server) if "guarded" in where else Gone()
    ours = "our site" in where
    wire = Wire(LimitedSite(resource, system.reactor) if ours else Site(resource))
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % token.encode())
    assert wire.closed
    assert wire.value() == b""
    assert len(logged_failures.take(ZeroDivisionError)) == 1


@implementer(ITokenVerifier)
class Verifier:
    """One whose look-up a test ends in its own way."""

    def __init__(self, pending: Deferred[Any]) -> None:
        self.pending = pending

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[Any]:
        return self.pending


def test_look_up_that_cancels_itself_is_answered_500(
    make_system: MakeSystem, logged_failures: Any
) -> None:
    """The client is still there, and waits for an answer."""
    inside = Inside()
    wire = Wire(Site(OAuthGuard(inside, Verifier(fail(CancelledError())))))
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tok\r\n\r\n")
    assert wire.value().startswith(b"HTTP/1.1 500 ")
    assert b"WWW-Authenticate" not in wire.value()
    assert len(logged_failures.take(CancelledError)) == 1
    assert inside.seen == []
    wire.hang_up()


@pytest.mark.parametrize("how", ["succeeds", "fails", "never ends"])
def test_no_answer_after_a_hang_up_whatever_the_look_up_returns(how: str) -> None:
    """U-08: also where a look-up that is cancelled ends as if nothing had been."""
    ends: dict[str, Callable[[Deferred[Any]], None]] = {
        "succeeds": lambda pending: pending.callback(None),
        "fails": lambda pending: pending.errback(MissingCredentials()),
        "never ends": lambda pending: None,
    }
    inside = Inside()
    wire = Wire(Site(OAuthGuard(inside, Verifier(Deferred(ends[how])), optional=True)))
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tok\r\n\r\n")
    wire.hang_up()
    assert inside.seen == []
    assert wire.value() == b""


@pytest.mark.parametrize("result", [None, "text"])
def test_a_decorated_render_returns_bytes(
    make_system: MakeSystem, result: Any, logged_failures: Any
) -> None:
    """Or nothing is sent that looks like an answer."""

    def root(server: Any) -> Any:
        class Wrong(Resource):
            isLeaf = True

            @oauth_scope("user_info", verifier=server)
            def render_GET(self, access_token: Any, request: Any) -> Any:
                return result

            @oauth_scope("user_info", verifier=server)
            def render_PUT(self, access_token: Any, request: Any) -> Any:
                return NOT_DONE_YET

        tree = server.root()
        tree.putChild(b"w", Wrong())
        return tree

    system = make_system(root=root)
    token = system.add_client("App").tokens(system.browser("alice"))["access_token"]
    bearer = ("Authorization", f"Bearer {token}")
    assert system.send("GET", "/w", None, [bearer], True).status == 500
    assert len(logged_failures.take(TypeError)) == 1


def test_decorated_render_may_return_a_response_of_klein(make_system: MakeSystem) -> None:
    def root(server: Any) -> Any:
        class Made(Resource):
            isLeaf = True

            @oauth_scope("user_info", verifier=server)
            def render_POST(self, access_token: Any, request: Any) -> Response:
                return Response(201, {"X-Number": "7", "X-Two": ["a", "b"]}, b"made")

        tree = server.root()
        tree.putChild(b"w", Made())
        return tree

    system = make_system(root=root)
    token = system.add_client("App").tokens(system.browser("alice"))["access_token"]
    answer = system.call(token, "POST", "/w")
    assert (answer.status, answer.header("x-number"), answer.body) == (201, "7", b"made")
    assert answer.headers.getRawHeaders("x-two") == ["a", "b"]


def test_address_needs_a_verifier_that_publishes_metadata() -> None:
    """Or a challenge would name metadata that is nowhere."""
    with pytest.raises(ConfigurationError):
        OAuthGuard(Resource(), Verifier(Deferred()), address="https://as.example/g")


def test_the_scopes_of_a_guard_are_published(make_system: MakeSystem) -> None:
    """RFC 9728: all of them, whatever the method."""
    guarded = Guarded(make_system, BY_METHOD, address="https://as.example/g")
    said = guarded.system.send("GET", "/.well-known/oauth-protected-resource/g").json
    assert said["scopes_supported"] == ["user_info", "verify", "example"]
