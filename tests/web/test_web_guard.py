"""OAuthGuard: bearer tokens (RFC 6750), and that no request gets around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from klein import Klein
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import File
from web_driver import (
    FORM,
    Answer,
    App,
    Browser,
    System,
    assert_challenge,
    encoded,
    wait,
)
from zope.interface import implementer
from zope.interface.verify import verifyObject

from djoauth2_twisted import (
    AuthorizationServer,
    IAccessToken,
    ITokenVerifier,
    OAuthGuard,
    Settings,
)
from djoauth2_twisted.errors import InsufficientScope, TemporarilyUnavailable
from djoauth2_twisted.interfaces import IResourceServer
from djoauth2_twisted.models import AccessToken, ResourceOwner

MakeSystem = Callable[..., System]

TOKEN = AccessToken("client", ResourceOwner("alice"), ("user_info",), 0, 2**40, "grant")
BEARER = ("Authorization", "Bearer some-token")


class Inside(Resource):
    """What is guarded: it notes every touch, and answers at any address below itself."""

    def __init__(self, touched: list[str]) -> None:
        super().__init__()
        self.touched = touched

    def getChildWithDefault(self, path: bytes, request: Any) -> Resource:
        self.touched.append(f"getChild {path!r}")
        return self

    def render(self, request: Any) -> bytes:
        self.touched.append("render")
        token = IAccessToken(request)
        path = b"/".join(request.prepath)
        return b"%s|%s|%s" % (path, token.user.username.encode(), request.content.read())


class WatchedFile(File):
    """Files, of which every touch is noted."""

    touched: list[str]

    def getChild(self, path: bytes, request: Any) -> Any:
        self.touched.append("getChild")
        child = super().getChild(path, request)
        child.touched = self.touched
        return child

    def render_GET(self, request: Any) -> Any:
        self.touched.append("render")
        return super().render_GET(request)


def klein_inside(touched: list[str]) -> IResource:
    app = Klein()

    @app.route("/", branch=True)
    def anything(request: Any) -> bytes:
        touched.append("render")
        return b"inside, for " + IAccessToken(request).user.username.encode()

    @app.route("/items/<int:number>")
    def item(request: Any, number: int) -> bytes:
        touched.append("render")
        return b"item %d" % number

    return app.resource()


def files_inside(touched: list[str], folder: Path) -> IResource:
    (folder / "child").write_text("inside")
    (folder / "deep").mkdir()
    (folder / "deep" / "index.html").write_text("inside")
    files = WatchedFile(str(folder))
    files.touched = touched
    return files


class Guarded:
    """A site with one guarded resource, at `/g` unless the test says otherwise."""

    def __init__(
        self,
        make_system: MakeSystem,
        inside: Callable[[list[str]], IResource] = Inside,
        guard: Callable[[IResource, Any], IResource] | None = None,
        at: str = "/g",
        **named: Any,
    ) -> None:
        self.touched: list[str] = []
        guard = guard or (lambda resource, server: OAuthGuard(resource, server, scopes=["user_info"]))

        def root(server: AuthorizationServer) -> IResource:
            tree: Any = server.root()
            guarded = guard(inside(self.touched), server)
            if at == "in a route":
                app = Klein()

                @app.route("/g/", branch=True)
                def place(request: Any) -> IResource:
                    return guarded

                tree.putChild(b"k", app.resource())
            else:
                tree.putChild(at.strip("/").encode(), guarded)
            return tree

        self.system = make_system(root=root, **named)
        self.app = self.system.add_client("App")

    def token(self, scope: str = "user_info", **changed: Any) -> str:
        return str(self.app.tokens(self.system.browser("alice"), scope)["access_token"])

    def get(
        self, path: str, *headers: tuple[str, str], method: str = "GET", body: bytes | None = None
    ) -> Answer:
        return self.system.send(method, path, body, headers)


@pytest.fixture(params=["resource", "routes", "file", "nested", "in a route"])
def guarded(request: pytest.FixtureRequest, make_system: MakeSystem, tmp_path: Path) -> Guarded:
    def nested(resource: IResource, server: Any) -> IResource:
        return OAuthGuard(OAuthGuard(resource, server, ["user_info"]), server, ["verify"])

    kinds: dict[str, dict[str, Any]] = {
        "resource": {},
        "routes": {"inside": klein_inside},
        "file": {"inside": lambda touched: files_inside(touched, tmp_path)},
        "nested": {"guard": nested},
        "in a route": {"at": "in a route"},
    }
    return Guarded(make_system, **kinds[request.param])


PATHS = [
    "/g", "/g/", "/g/child", "/g/a/b/c", "/g//", "/g//child", "/g/?x", "/g?x=1",  # GW-01
    "/g%2Fchild", "/%67/child", "/%67", "/g/%2e%2e/g/child", "/g%252Fchild", "/g/%2e", "/g/..",  # GW-03
    "//g/child", "/./g/child", "/x/../g/child", "/g;x=1/child", "/G/child", "/g/child%00",  # GW-04
    "/g\\child", "/g/..%2f..%2fetc/passwd", "/g/%2e%2e/", "/g/%ff", "/g/deep/", "/g/deep",  # GW-08
    "http://as.example/g/child", "*", "/g/items/7", "/g#x", "/g/child?access_token=x",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "get", "X"]


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_nothing_inside_is_touched(guarded: Guarded, path: str) -> None:
    """GW-01 to GW-04: whatever the address and the method."""
    for prefix in ("", "/k") if path.startswith("/") else ("",):
        for method in METHODS:
            line = f"{method} {prefix}{path} HTTP/1.1\r\nHost: as.example\r\nContent-Length: 0\r\n\r\n"
            answer = guarded.system.raw(line.encode(), ours=False)
            # Klein answers some addresses of an application's own with a redirect.
            redirected = prefix == "/k" and answer.status == 308
            assert answer.status in {400, 401, 404, 405} or redirected or path == "*", answer
            assert guarded.touched == []


@pytest.mark.parametrize(
    "headers",
    [
        [("Range", "bytes=0-1")],
        [("If-None-Match", "*")],
        [("If-Modified-Since", "Sat, 01 Jan 2050 00:00:00 GMT")],
        [("X-User", "alice"), ("X-Forwarded-User", "alice")],
        [("X-Original-URL", "/healthz"), ("X-Rewrite-URL", "/healthz")],
        [("X-HTTP-Method-Override", "OPTIONS")],
        [("Cookie", "access_token=x")],
        [("X-Access-Token", "x")],
        [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "GET")],
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_header_bypasses_the_guard(
    guarded: Guarded, headers: list[tuple[str, str]], method: str
) -> None:
    """GW-08, GW-11: neither 206 nor 304."""
    place = "/g/child" if guarded.system.send("GET", "/g").status == 401 else "/k/g/child"
    assert_challenge(guarded.get(place, *headers, method=method), 401, None)
    assert guarded.touched == []


def test_with_a_token_every_child_is_reached(guarded: Guarded) -> None:
    from twisted.internet import reactor

    place = "/g" if guarded.system.send("GET", "/g").status == 401 else "/k/g"
    token = ("Authorization", f"Bearer {guarded.token('user_info verify')}")
    for path in ("/child", "/deep/"):
        sent = guarded.system.begin("GET", place + path, None, [token])
        answers: list[Answer] = []
        sent.deferred.addCallback(answers.append)
        # Twisted reads files bit by bit, a bit in each turn of the reactor.
        while not answers:
            wait(deferLater(reactor, 0, guarded.system.agent.flush))
        (answer,) = answers
        assert answer.status == 200
        assert b"inside" in answer.body or b"|alice|" in answer.body
    assert guarded.touched


def test_each_nested_guard_is_asked(make_system: MakeSystem) -> None:
    guarded = Guarded(
        make_system, guard=lambda r, s: OAuthGuard(OAuthGuard(r, s, ["user_info"]), s, ["verify"])
    )
    for scope, missing in (("user_info", "verify"), ("verify", "user_info")):
        answer = guarded.get("/g/x", ("Authorization", f"Bearer {guarded.token(scope)}"))
        assert_challenge(answer, 403, "insufficient_scope")
        assert f'scope="{missing}"' in (answer.header("www-authenticate") or "")
    assert guarded.touched == []


def test_routes_inside_see_their_own_addresses(make_system: MakeSystem) -> None:
    guarded = Guarded(make_system, klein_inside)
    token = ("Authorization", f"Bearer {guarded.token()}")
    assert guarded.get("/g/items/7", token).body == b"item 7"


def test_a_guarded_resource_sees_prepath_and_body(make_system: MakeSystem) -> None:
    """The guard eats neither a path segment nor the body."""
    guarded = Guarded(make_system)
    bearer = ("Authorization", f"Bearer {guarded.token()}")
    answer = guarded.get("/g/a/b", bearer, FORM, method="POST", body=b"x=1&y=2")
    assert answer.body == b"g/a/b|alice|x=1&y=2"
    assert guarded.get("/g/", bearer).body == b"g/|alice|"
    assert guarded.get("/g", bearer).body == b"g|alice|"


def test_a_guard_can_be_the_whole_site(make_system: MakeSystem) -> None:
    touched: list[str] = []
    other = make_system()
    system = make_system(root=lambda server: OAuthGuard(Inside(touched), other.server))
    for path in ("/", "/x/y", "/oauth2/token/"):
        assert_challenge(system.send("GET", path), 401, None)
    assert touched == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_request_without_tls_is_refused(make_system: MakeSystem, method: str) -> None:
    """DJOAuth2's `test_ssl_only_insecure_request_fails`; RFC 6750, section 5.3."""
    guarded = Guarded(make_system)
    bearer = ("Authorization", f"Bearer {guarded.token()}")
    answer = guarded.get("http://as.example/g/x", bearer, method=method)
    assert_challenge(answer, 400, "invalid_request")
    assert guarded.touched == []
    assert guarded.get("https://as.example/g/x", bearer).status == 200


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_request_without_tls_is_served_where_ssl_only_is_false(
    make_system: MakeSystem, scheme: str
) -> None:
    guarded = Guarded(make_system, settings=Settings(ssl_only=False), origin=f"{scheme}://as.example")
    answer = guarded.get(f"{scheme}://as.example/g/x", ("Authorization", f"Bearer {guarded.token()}"))
    assert answer.status == 200


# RFC 6750.


def test_request_without_credentials_gets_a_bare_challenge(system: System) -> None:
    """BG-01, D1: 401 with a bare challenge, where DJOAuth2 said 400."""
    answer = system.send("GET", "/api/user_info/")
    assert_challenge(answer, 401, None)
    challenge = answer.header("www-authenticate") or ""
    assert challenge.startswith('Bearer realm=""')
    assert "scope=" not in challenge


@pytest.mark.parametrize(
    "header",
    ["NotBearer tok", "Basic YTpi", "BearerX tok", "INVALID", "", "tok", "Bearer,tok", "Digest a=b"],
)
def test_other_scheme_gets_a_bare_challenge(system: System, header: str) -> None:
    """BG-02."""
    assert_challenge(system.send("GET", "/api/user_info/", None, [("Authorization", header)]), 401, None)


def test_unknown_expired_and_revoked_tokens_get_the_same_answer(
    system: System, app: App, alice: Browser
) -> None:
    """BG-03."""
    revoked = app.tokens(alice)["access_token"]
    system.do(system.administration.revoke_grant(system.grants()[0].id))
    expired = app.tokens(alice)["access_token"]
    system.advance(3600)
    good = app.tokens(alice)["access_token"]
    bad = ["doesNotExist", revoked, expired, good.swapcase(), good[:-1], good + "="]
    answers = [system.call(token) for token in bad]
    for answer in answers:
        assert_challenge(answer, 401, "invalid_token")
    assert len({(answer.body, answer.header("www-authenticate")) for answer in answers}) == 1
    assert system.call(good).status == 200


@pytest.mark.parametrize(
    "scope", ["user_info", "user_info verify", "verify user_info example autologin"]
)
def test_token_that_covers_the_scopes_is_accepted(app: App, alice: Browser, scope: str) -> None:
    """BG-04: the same, or more."""
    assert app.system.call(app.tokens(alice, scope)["access_token"]).status == 200


def test_token_with_too_little_scope_is_refused(make_system: MakeSystem) -> None:
    """BG-05; RFC 6750, section 3.1; several scopes mean all of them."""
    guarded = Guarded(make_system, guard=lambda r, s: OAuthGuard(r, s, ["verify", "autologin"]))
    for scope in ("user_info", "verify", "autologin", "example verify"):
        answer = guarded.get("/g", ("Authorization", f"Bearer {guarded.token(scope)}"))
        assert_challenge(answer, 403, "insufficient_scope")
        assert 'scope="verify autologin"' in (answer.header("www-authenticate") or "")
    assert guarded.touched == []
    assert (
        guarded.get("/g", ("Authorization", f"Bearer {guarded.token('autologin verify')}")).status == 200
    )


@pytest.mark.parametrize("form", ["bearer {}", "BEARER {}", "Bearer   {}", "  Bearer {}  "])
def test_scheme_is_read_in_any_case(app: App, alice: Browser, form: str) -> None:
    """BG-07, D10."""
    header = ("Authorization", form.format(app.tokens(alice)["access_token"]))
    assert app.system.send("GET", "/api/user_info/", None, [header]).status == 200


@implementer(ITokenVerifier)
class Verifier:
    """A verifier of an application's own, which answers as the test says."""

    def __init__(self, answer: Callable[[], Any] = lambda: succeed(TOKEN)) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self._answer = answer

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        self.asked.append((token, scopes))
        return self._answer()


def behind(make_system: MakeSystem, verifier: Any, **named: Any) -> Guarded:
    return Guarded(make_system, guard=lambda r, _: OAuthGuard(r, verifier, ["user_info"], **named))


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer a b",
        "Bearer \udcff",
        "Bearer tok\x00",
        "Bearer " + "x" * 15_000,
        "Bearer\ttok",
        "Bearer access_token=tok",
    ],
    ids=lambda header: ascii(header[:20]),
)
def test_malformed_credentials_are_refused(make_system: MakeSystem, header: str) -> None:
    """BG-08: nothing is looked up for them."""
    verifier = Verifier()
    guarded = behind(make_system, verifier)
    answer = guarded.get("/g", ("Authorization", header))
    if answer.status == 401:
        assert_challenge(answer, 401, None)
    elif "\x00" in header:
        # Twisted refuses that by itself.
        assert answer.status == 400
    else:
        assert_challenge(answer, 400, "invalid_request")
    assert verifier.asked == []
    assert guarded.touched == []


@pytest.mark.parametrize("other", ["Bearer invalid", "Basic YTpi", "Bearer GOOD", ""])
@pytest.mark.parametrize("good_first", [True, False])
def test_two_authorization_lines_are_refused(
    app: App, alice: Browser, other: str, good_first: bool
) -> None:
    """BG-09: Twisted would take the last, and a proxy the first."""
    token = app.tokens(alice)["access_token"]
    lines = [("Authorization", f"Bearer {token}"), ("Authorization", other.replace("GOOD", token))]
    answer = app.system.send("GET", "/api/user_info/", None, lines if good_first else lines[::-1])
    assert_challenge(answer, 400, "invalid_request")


def test_token_in_the_query_is_refused(app: App, alice: Browser) -> None:
    """BG-10; RFC 9700, section 4.3.2: alone it is none; beside the header it is a second method."""
    token = app.tokens(alice)["access_token"]
    alone = app.system.send("GET", f"/api/user_info/?access_token={token}")
    assert_challenge(alone, 401, None)
    for query in (f"?access_token={token}", "?access_token=x", "?a&access%5ftoken=x"):
        answer = app.system.call(token, address=f"/api/user_info/{query}")
        assert_challenge(answer, 400, "invalid_request")


@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
def test_token_in_a_form_is_refused(app: App, alice: Browser, method: str) -> None:
    """BG-11; RFC 6750, section 2: "MUST NOT use more than one method"."""
    token = app.tokens(alice)["access_token"]
    body = encoded({"access_token": token})
    assert_challenge(app.system.send(method, "/api/user_info/", body, [FORM]), 401, None)
    both = app.system.send(method, "/api/user_info/", body, [FORM, ("Authorization", f"Bearer {token}")])
    assert_challenge(both, 400, "invalid_request")


def test_token_in_a_form_is_found_whatever_charset_it_names(app: App, alice: Browser) -> None:
    """BG-11: what is behind the guard may read the form as UTF-8 all the same."""
    token = app.tokens(alice)["access_token"]
    kind = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-16")
    headers = [kind, ("Authorization", f"Bearer {token}")]
    body = encoded({"access_token": token})
    assert_challenge(app.system.send("POST", "/api/user_info/", body, headers), 400, "invalid_request")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            "multipart/form-data; boundary=x",
            '--x\r\nContent-Disposition: form-data; name="access_token"\r\n\r\n{}\r\n--x--\r\n',
        ),
        ("application/json", '{{"access_token": "{}"}}'),
        ("text/plain", "access_token={}"),
    ],
)
def test_token_in_another_body_is_not_accepted(app: App, alice: Browser, kind: str, body: str) -> None:
    """BG-11: never accepted."""
    token = app.tokens(alice)["access_token"]
    answer = app.system.send(
        "POST", "/api/user_info/", body.format(token).encode(), [("Content-Type", kind)]
    )
    assert_challenge(answer, 401, None)


def test_the_realm_and_scope_are_escaped(make_system: MakeSystem) -> None:
    """BG-12; RFC 9110, section 11.2."""
    settings = Settings(realm='a "b" \\ c')
    guarded = Guarded(make_system, guard=lambda r, s: OAuthGuard(r, s, ["x:y"], settings=settings))
    answer = guarded.get("/g")
    assert answer.header("www-authenticate") == 'Bearer realm="a \\"b\\" \\\\ c"'
    answer = guarded.get("/g", ("Authorization", f"Bearer {guarded.token()}"))
    assert 'scope="x:y"' in (answer.header("www-authenticate") or "")


# The example API.


def test_user_info(system: System, app: App, alice: Browser) -> None:
    """INTERFACE, section 2."""
    system.do(system.administration.edit_user("alice", email="alice@example.org"))
    said = system.call(app.tokens(alice)["access_token"]).json
    assert said == {
        "username": "alice",
        "first_name": "Alice",
        "last_name": "Liddell",
        "email": "alice@example.org",
    }


@pytest.mark.parametrize("address", ["/api/user_info", "/api/user_info/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_user_info_by_get_and_post_with_and_without_slash(
    app: App, alice: Browser, address: str, method: str
) -> None:
    assert app.system.call(app.tokens(alice)["access_token"], method, address).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
def test_user_info_refuses_other_methods(app: App, alice: Browser, method: str) -> None:
    answer = app.system.call(app.tokens(alice)["access_token"], method)
    assert (answer.status, answer.header("allow")) == (405, "GET, POST")


def test_below_user_info_there_is_nothing(app: App, alice: Browser) -> None:
    """HT-10."""
    token = app.tokens(alice)["access_token"]
    answer = app.system.call(token, address="/api/user_info/more")
    assert (answer.status, answer.error) == (404, "invalid_request")


def test_fault_of_user_info_is_answered_in_json(
    app: App,
    alice: Browser,
    monkeypatch: pytest.MonkeyPatch,
    logged_failures,
) -> None:
    """INTERFACE, section 3: `server_error`, never a traceback."""
    bearer = ("Authorization", f"Bearer {app.tokens(alice)['access_token']}")
    fault = ZeroDivisionError("secret detail")
    monkeypatch.setattr(app.system.registry, "find_user", lambda username: fail(fault))
    answer = app.system.send("GET", "/api/user_info/", None, [bearer], True)
    assert (answer.status, answer.error) == (500, "server_error")
    assert "secret detail" not in answer.text
    assert len(logged_failures.take(ZeroDivisionError)) == 1


# What IAccessToken says inside.


def test_access_token_is_available_inside(make_system: MakeSystem) -> None:
    """INTERFACE, section 4."""
    seen: list[Any] = []

    class Curious(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            seen.append(IAccessToken(request))
            return b""

    guarded = Guarded(make_system, inside=lambda _: Curious())
    guarded.get("/g", ("Authorization", f"Bearer {guarded.token('user_info verify')}"))
    (token,) = seen
    assert verifyObject(IAccessToken, token)
    assert (token.client_id, token.user.username) == (guarded.app.client_id, "alice")
    assert token.scopes == ("user_info", "verify")
    assert token.has_scope("verify", "user_info")
    assert not token.has_scope("verify", "example")
    assert (token.issued, token.expires) == (1_700_000_000, 1_700_003_600)
    assert token.grant_id == guarded.system.grants()[0].id


def test_guard_and_verifiers_provide_their_interfaces(system: System) -> None:
    guard = OAuthGuard(Resource(), system.server)
    assert verifyObject(IResource, guard)
    assert verifyObject(ITokenVerifier, system.server)
    assert verifyObject(IResourceServer, system.server)
    assert verifyObject(ITokenVerifier, Verifier())


def test_scopes_given_as_a_string_are_refused(system: System) -> None:
    """It would be taken letter by letter."""
    with pytest.raises(TypeError, match="a sequence of names"):
        OAuthGuard(Resource(), system.server, scopes="user_info")


def test_guard_takes_no_children(system: System) -> None:
    with pytest.raises(NotImplementedError):
        OAuthGuard(Resource(), system.server).putChild(b"x", Resource())


# Verifiers that are slow, fail or are none of ours.


def test_own_verifier_is_used(make_system: MakeSystem) -> None:
    verifier = Verifier()
    guarded = behind(make_system, verifier)
    assert guarded.get("/g/x", BEARER).body == b"g/x|alice|"
    assert verifier.asked == [("some-token", ("user_info",))]


def test_error_of_the_verifier_is_the_answer(make_system: MakeSystem) -> None:
    guarded = behind(make_system, Verifier(lambda: fail(InsufficientScope(("user_info",)))))
    assert_challenge(guarded.get("/g", BEARER), 403, "insufficient_scope")
    assert guarded.touched == []


def test_unavailable_verifier_is_answered_503(make_system: MakeSystem) -> None:
    """BG-17: 503 with `Retry-After`; never a refusal of good credentials, never a pass."""
    guarded = behind(make_system, Verifier(lambda: fail(TemporarilyUnavailable(retry_after=7))))
    answer = guarded.system.send("GET", "/g", None, [BEARER], True)
    assert (answer.status, answer.error) == (503, "temporarily_unavailable")
    assert answer.header("retry-after") == "7"
    assert answer.header("www-authenticate") is None
    assert guarded.touched == []


@pytest.mark.parametrize("how", ["fails", "raises"])
def test_fault_of_the_verifier_is_answered_500(
    make_system: MakeSystem,
    how: str,
    logged_failures,
) -> None:
    """U-02: logged, and answered without a word of it."""

    def answer() -> Any:
        error = ZeroDivisionError("secret detail")
        if how == "raises":
            raise error
        return fail(error)

    guarded = behind(make_system, Verifier(answer))
    said = guarded.system.send("GET", "/g", None, [BEARER], True)
    assert (said.status, said.error) == (500, "server_error")
    assert "secret detail" not in said.text
    assert guarded.touched == []
    assert len(logged_failures.take(ZeroDivisionError)) == 1


@pytest.mark.parametrize("found", ["a text", True, False, 0, object], ids=repr)
def test_verifier_that_returns_no_access_token_is_answered_500(
    make_system: MakeSystem,
    found: Any,
    logged_failures,
) -> None:
    """What is no access token opens nothing."""
    guarded = behind(make_system, Verifier(lambda: succeed(found)))
    said = guarded.system.send("GET", "/g", None, [BEARER], True)
    assert (said.status, said.error) == (500, "server_error")
    assert guarded.touched == []
    assert len(logged_failures.take(AttributeError)) == 1


def test_none_from_the_verifier_is_an_unknown_token(make_system: MakeSystem) -> None:
    """An unknown token, by an author who did not read that a verifier fails then."""
    guarded = behind(make_system, Verifier(lambda: succeed(None)))
    assert_challenge(guarded.get("/g", BEARER), 401, "invalid_token")
    assert guarded.touched == []


def test_scopes_are_checked_even_if_the_verifier_does_not(make_system: MakeSystem) -> None:
    """BG-05: the guard looks at them once more."""
    found = attrs.evolve(TOKEN, scopes=("other",))
    guarded = behind(make_system, Verifier(lambda: succeed(found)))
    assert_challenge(guarded.get("/g", BEARER), 403, "insufficient_scope")
    assert guarded.touched == []


def test_verifier_may_return_a_coroutine_or_a_token(make_system: MakeSystem) -> None:
    """No interface declared; a coroutine, or no Deferred at all."""

    class Coroutine:
        async def verify(self, token: str, scopes: tuple[str, ...]) -> AccessToken:
            return TOKEN

    class Plain:
        def verify(self, token: str, scopes: tuple[str, ...]) -> AccessToken:
            return TOKEN

    for verifier in (Coroutine(), Plain()):
        guarded = behind(make_system, verifier)
        assert guarded.get("/g/x", BEARER).body == b"g/x|alice|"


@pytest.mark.parametrize("answers_late", [True, False])
def test_resource_is_not_rendered_after_a_hang_up(make_system: MakeSystem, answers_late: bool) -> None:
    """U-08: the look-up is cancelled, and the request is not touched again."""
    cancelled: list[Any] = []
    pending: Deferred[Any] = Deferred(None if answers_late else cancelled.append)
    guarded = behind(make_system, Verifier(lambda: pending))
    wire = guarded.system.wire()
    wire.send(b"GET /g/x HTTP/1.1\r\nHost: as.example\r\nAuthorization: Bearer tok\r\n\r\n")
    wire.hang_up()
    if answers_late:
        pending.callback(TOKEN)
    else:
        assert cancelled == [pending]
    assert guarded.touched == []
    assert wire.value() == b""


def test_slow_verifier_is_waited_for(make_system: MakeSystem) -> None:
    pending: Deferred[Any] = Deferred()
    guarded = behind(make_system, Verifier(lambda: pending))
    wire = guarded.system.wire()
    wire.send(b"GET /g/x HTTP/1.1\r\nHost: as.example\r\nAuthorization: Bearer tok\r\n\r\n")
    assert wire.value() == b""
    assert guarded.touched == []
    pending.callback(TOKEN)
    assert wire.answer.body == b"g/x|alice|"
    wire.hang_up()


def test_fault_of_the_resource_is_answered_500(
    make_system: MakeSystem,
    logged_failures,
) -> None:
    """GW-13: without the token, the stack or half of an answer."""

    class Broken(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            request.setHeader("x-secret", "half an answer")
            raise ZeroDivisionError("secret detail")

    guarded = Guarded(make_system, inside=lambda _: Broken())
    bearer = ("Authorization", f"Bearer {guarded.token()}")
    answer = guarded.system.send("GET", "/g", None, [bearer], True)
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert answer.header("x-secret") is None
    assert logged_failures.take(ZeroDivisionError)


def test_a_resource_inside_may_answer_later(make_system: MakeSystem) -> None:
    waiting: list[Any] = []

    class Slow(Resource):
        isLeaf = True

        def render(self, request: Any) -> int:
            waiting.append(request)
            return NOT_DONE_YET

    guarded = Guarded(make_system, inside=lambda _: Slow())
    sent = guarded.system.begin("GET", "/g", None, [("Authorization", f"Bearer {guarded.token()}")])
    waiting[0].write(b"at last")
    waiting[0].finish()
    guarded.system.agent.flush()
    assert sent.answer.body == b"at last"


def test_token_of_another_server_is_refused(make_system: MakeSystem) -> None:
    """Two servers in one process keep to themselves."""
    here, there = make_system(), make_system(issuer="https://other.example")
    token = here.add_client("App").tokens(here.browser("alice"))["access_token"]
    assert_challenge(there.call(token), 401, "invalid_token")
    assert here.call(token).status == 200
