"""oauth_scope: the guard as a decorator of Klein routes and `render_*` methods."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from klein import Klein, Response
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from web_driver import System, assert_challenge

from djoauth2_twisted import AuthorizationServer, IAccessToken, Settings, oauth_scope
from djoauth2_twisted.models import AccessToken, ResourceOwner

MakeSystem = Callable[..., System]

TOKEN = AccessToken("client", ResourceOwner("alice"), ("other",), 0, 2**40, "grant")


def methods(server: AuthorizationServer, ran: list[str]) -> Any:
    """Klein routes of an instance."""

    class Application:
        app = Klein()
        greeting = "hello"

        @app.route("/method")
        @oauth_scope("user_info", verifier=server)
        def method(self, access_token: Any, request: Any) -> str:
            ran.append("method")
            return f"{self.greeting} {access_token.user.username}"

        @app.route("/method/<name>")
        @oauth_scope("user_info", verifier=server)
        async def with_name(self, access_token: Any, request: Any, name: str) -> str:
            ran.append("with_name")
            return f"{self.greeting} {access_token.user.username} and {name}"

    return Application().app.resource()


def rendered(server: AuthorizationServer, ran: list[str]) -> Resource:
    class Methods(Resource):
        isLeaf = True

        @oauth_scope("user_info", verifier=server)
        def render_GET(self, access_token: Any, request: Any) -> bytes:
            ran.append("render_GET")
            assert IAccessToken(request) is access_token
            return b"got by " + access_token.user.username.encode()

        @oauth_scope("user_info", verifier=server)
        def render_POST(self, access_token: Any, request: Any) -> int:
            ran.append("render_POST")
            request.write(b"written later")
            request.finish()
            return NOT_DONE_YET

        @oauth_scope("user_info", verifier=server)
        def render_PUT(self, access_token: Any, request: Any) -> bytes:
            raise ZeroDivisionError("secret detail")

    return Methods()


def functions(server: AuthorizationServer, ran: list[str]) -> Any:
    app = Klein()

    @app.route("/me")
    @oauth_scope("user_info", verifier=server)
    def me(access_token: Any, request: Any) -> str:
        ran.append("me")
        assert IAccessToken(request) is access_token
        return str(access_token.user.username)

    @app.route("/two")
    @oauth_scope("user_info", "verify", verifier=server)
    def two(access_token: Any, request: Any) -> str:
        ran.append("two")
        return "both"

    @app.route("/any")
    @oauth_scope(verifier=server)
    def anybody(access_token: Any, request: Any) -> str:
        ran.append("any")
        return "any"

    @app.route("/later")
    @oauth_scope("user_info", verifier=server)
    def later(access_token: Any, request: Any) -> Deferred[str]:
        return succeed("later")

    @app.route("/coroutine/<int:number>")
    @oauth_scope("user_info", verifier=server)
    async def coroutine(access_token: Any, request: Any, number: int) -> Response:
        return Response(201, {"X-Number": str(number)}, b"made")

    @app.route("/broken")
    @oauth_scope("user_info", verifier=server)
    def broken(access_token: Any, request: Any) -> str:
        raise ZeroDivisionError("secret detail")

    return app.resource()


class Decorated:
    def __init__(self, make_system: MakeSystem, **named: Any) -> None:
        self.ran: list[str] = []

        def root(server: AuthorizationServer) -> Any:
            tree: Any = server.root()
            tree.putChild(b"f", functions(server, self.ran))
            tree.putChild(b"m", methods(server, self.ran))
            tree.putChild(b"r", rendered(server, self.ran))
            return tree

        self.system = make_system(root=root, **named)
        self.client = self.system.add_client("App")

    def token(self, scope: str = "user_info") -> str:
        return str(self.client.tokens(self.system.browser("alice"), scope)["access_token"])


@pytest.fixture
def decorated(make_system: MakeSystem) -> Decorated:
    return Decorated(make_system)


PLACES = ["/f/me", "/f/later", "/f/coroutine/7", "/m/method", "/m/method/bob", "/r"]


@pytest.mark.parametrize(
    ("place", "body"),
    [
        ("/f/me", b"alice"),
        ("/f/later", b"later"),
        ("/f/coroutine/7", b"made"),
        ("/m/method", b"hello alice"),
        ("/m/method/bob", b"hello alice and bob"),
        ("/r", b"got by alice"),
    ],
)
def test_decorated_code_gets_the_access_token(decorated: Decorated, place: str, body: bytes) -> None:
    """INTERFACE, section 4: functions get the token first, methods after `self`."""
    assert decorated.system.call(decorated.token(), address=place).body == body


def test_a_rendered_answer_may_be_written_by_hand(decorated: Decorated) -> None:
    assert decorated.system.call(decorated.token(), "POST", "/r").body == b"written later"


@pytest.mark.parametrize("place", PLACES)
def test_request_without_a_valid_token_is_refused(decorated: Decorated, place: str) -> None:
    """BG-01."""
    assert_challenge(decorated.system.send("GET", place), 401, None)
    assert_challenge(decorated.system.call("unknown", address=place), 401, "invalid_token")
    assert_challenge(decorated.system.call("a b", address=place), 400, "invalid_request")
    assert decorated.ran == []


@pytest.mark.parametrize("place", PLACES)
def test_without_tls(decorated: Decorated, place: str) -> None:
    """DJOAuth2's `test_ssl_only_insecure_request_fails`."""
    answer = decorated.system.call(decorated.token(), address="http://as.example" + place)
    assert_challenge(answer, 400, "invalid_request")
    assert decorated.ran == []


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_without_ssl_only(make_system: MakeSystem, scheme: str) -> None:
    """DJOAuth2's `test_no_ssl_required_...`."""
    decorated = Decorated(
        make_system, settings=Settings(ssl_only=False), origin=f"{scheme}://as.example"
    )
    assert decorated.system.call(decorated.token(), address="/f/me").body == b"alice"


@pytest.mark.parametrize("place", PLACES)
def test_too_little_scope(decorated: Decorated, place: str) -> None:
    """BG-05; DJOAuth2's `test_scope_subset_of_endpoint_scope_fails`."""
    answer = decorated.system.call(decorated.token("verify"), address=place)
    assert_challenge(answer, 403, "insufficient_scope")
    assert decorated.ran == []


def test_several_scopes_mean_all_of_them(decorated: Decorated) -> None:
    for scope in ("user_info", "verify"):
        answer = decorated.system.call(decorated.token(scope), address="/f/two")
        assert_challenge(answer, 403, "insufficient_scope")
    assert decorated.system.call(decorated.token("verify user_info"), address="/f/two").body == b"both"


def test_no_scope_means_any_token(decorated: Decorated) -> None:
    assert decorated.system.call(decorated.token("example"), address="/f/any").body == b"any"
    assert_challenge(decorated.system.send("GET", "/f/any"), 401, None)


def test_a_route_keeps_its_own_status_and_headers(decorated: Decorated) -> None:
    answer = decorated.system.call(decorated.token(), address="/f/coroutine/42")
    assert (answer.status, answer.header("x-number")) == (201, "42")


@pytest.mark.parametrize(("place", "method"), [("/f/broken", "GET"), ("/r", "PUT")])
def test_a_fault_inside_is_a_500(
    decorated: Decorated,
    place: str,
    method: str,
    logged_failures,
) -> None:
    """GW-13."""
    bearer = ("Authorization", f"Bearer {decorated.token()}")
    answer = decorated.system.send(method, place, None, [bearer], True)
    assert answer.status == 500
    assert b"secret detail" not in answer.body
    assert logged_failures.take(ZeroDivisionError)


def test_head_is_answered_by_render_head(decorated: Decorated) -> None:
    """Twisted's `render_HEAD` goes to `render_GET`, and so through the guard."""
    assert decorated.system.send("HEAD", "/r").status == 401
    answer = decorated.system.call(decorated.token(), "HEAD", "/r")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("place", ["/f/me", "/r", "/m/method"])
@pytest.mark.parametrize(
    ("found", "status", "error"),
    [
        (None, 401, "invalid_token"),
        (TOKEN, 403, "insufficient_scope"),
        (True, 500, "server_error"),
        (ZeroDivisionError("secret detail"), 500, "server_error"),
    ],
    ids=["nothing", "too little", "no token", "a fault"],
)
def test_a_verifier_with_a_fault(
    make_system: MakeSystem,
    place: str,
    found: Any,
    status: int,
    error: str,
    logged_failures,
) -> None:
    """Access is refused, and the answer is that of a guard; see `test_web_guard`."""
    ran: list[str] = []

    class Faulty:
        def verify(self, token: str, scopes: tuple[str, ...]) -> Any:
            return fail(found) if isinstance(found, Exception) else found

    def root(server: AuthorizationServer) -> Any:
        tree: Any = server.root()
        faulty: Any = Faulty()
        tree.putChild(b"f", functions(faulty, ran))
        tree.putChild(b"m", methods(faulty, ran))
        tree.putChild(b"r", rendered(faulty, ran))
        return tree

    system = make_system(root=root)
    answer = system.send("GET", place, None, [("Authorization", "Bearer some-token")], True)
    assert (answer.status, answer.error) == (status, error)
    assert "secret detail" not in answer.text
    assert ran == []
    logged = logged_failures.take(AttributeError) + logged_failures.take(ZeroDivisionError)
    assert len(logged) == (status == 500)


@pytest.mark.parametrize("place", ["/f/me", "/r", "/m/method"])
def test_a_client_that_hangs_up_ends_the_look_up(make_system: MakeSystem, place: str) -> None:
    """U-08."""
    pending: list[Deferred[Any]] = []

    class Slow:
        def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[Any]:
            pending.append(Deferred())
            return pending[0]

    ran: list[str] = []

    def root(server: AuthorizationServer) -> Any:
        tree: Any = server.root()
        slow: Any = Slow()
        tree.putChild(b"f", functions(slow, ran))
        tree.putChild(b"m", methods(slow, ran))
        tree.putChild(b"r", rendered(slow, ran))
        return tree

    system = make_system(root=root)
    wire = system.wire()
    wire.send(f"GET {place} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tok\r\n\r\n".encode())
    wire.hang_up()
    assert len(pending) == 1
    assert pending[0].called
    assert ran == []
    assert wire.value() == b""


def test_a_name_does_not_make_a_render_method(make_system: MakeSystem) -> None:
    """Nor the lack of an underscore a route."""

    def root(server: AuthorizationServer) -> Any:
        app, tree = Klein(), Resource()

        @app.route("/page")
        @oauth_scope("user_info", verifier=server)
        def render_page(access_token: Any, request: Any) -> str:
            return f"a page for {access_token.user.username}"

        class Whole(Resource):
            isLeaf = True

            @oauth_scope("user_info", verifier=server)
            def render(self, access_token: Any, request: Any) -> bytes:
                return b"all for " + access_token.user.username.encode()

        tree.putChild(b"oauth2", server.resource())
        tree.putChild(b"app", app.resource())
        tree.putChild(b"whole", Whole())
        return tree

    system = make_system(root=root)
    token = system.add_client("App").tokens(system.browser("alice"))["access_token"]
    for place, body in [("/app/page", b"a page for alice"), ("/whole", b"all for alice")]:
        assert_challenge(system.send("GET", place), 401, None)
        assert system.call(token, address=place).body == body


def test_the_decorated_keeps_its_name(system: System) -> None:
    @oauth_scope("user_info", verifier=system.server)
    def me(access_token: Any, request: Any) -> None:
        """About me."""

    assert (me.__name__, me.__doc__) == ("me", "About me.")


def returns_nothing(*_: Any) -> None: ...


def takes_the_request_alone(request: Any) -> None: ...


def takes_nothing() -> None: ...


def takes_the_request_by_name(access_token: Any, *, request: Any) -> None: ...


class Page(Resource):
    def render_GET(self, request: Any) -> bytes:
        return b""

    @property
    def address(self) -> str:
        return ""


@pytest.mark.parametrize(
    "what",
    [
        *(None, "route", Page, Page(), succeed(None), Klein()),
        *(staticmethod(returns_nothing), classmethod(returns_nothing), Page.address),
        functools.partial(returns_nothing),
        *(takes_the_request_alone, takes_nothing, takes_the_request_by_name),
        *(Page.render_GET, Page().render_GET),
    ],
)
def test_what_cannot_be_decorated_is_refused_at_once(system: System, what: Any) -> None:
    """It would fail at each request."""
    with pytest.raises(TypeError, match="oauth_scope"):
        oauth_scope("user_info", verifier=system.server)(what)


def test_a_route_is_decorated_once(system: System) -> None:
    decorate = oauth_scope("user_info", verifier=system.server)

    def me(access_token: Any, request: Any) -> None: ...

    with pytest.raises(TypeError, match="all scopes at once"):
        decorate(decorate(me))


def test_what_takes_any_arguments_can_be_decorated(system: System) -> None:
    """As other decorators make it, which pass on what they get or add to it."""

    def route(database: Any, access_token: Any, request: Any, name: str) -> None: ...

    @functools.wraps(route)
    def with_database(*arguments: Any, **named: Any) -> None:
        route("database", *arguments, **named)

    @inlineCallbacks
    def later(access_token: Any, request: Any) -> Any:
        yield succeed(None)

    for each in (with_database, later, route):
        assert oauth_scope("user_info", verifier=system.server)(each).__name__ == each.__name__


@pytest.mark.parametrize("place", [*PLACES, "/api/user_info"])
def test_the_refusal_says_what_is_needed(decorated: Decorated, place: str) -> None:
    """In words for a person whose browser asked. HEAD has the same header, and no body."""
    text = "An access token is needed for this address.\n"
    for method, body in [("GET", text), ("HEAD", "")]:
        wire = decorated.system.wire()
        wire.send(f"{method} {place} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, sent = wire.value().decode().partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 401 ")
        assert "\r\nContent-Type: text/plain; charset=utf-8\r\n" in head
        assert f"\r\nContent-Length: {len(text)}\r\n" in head
        assert sent == body
        wire.hang_up()
