"""Requests whose token the guard knows: they are admitted at once, by the same rules as all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from klein import Klein
from twisted.internet.defer import Deferred, fail
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from web_driver import App, System, basic, wait
from zope.interface import implementer

from djoauth2_twisted import AuthorizationServer, IAccessToken, OAuthGuard, oauth_scope
from djoauth2_twisted.access_token import recalling
from djoauth2_twisted.errors import InvalidToken
from djoauth2_twisted.guard import any_of
from djoauth2_twisted.interfaces import IRecallingVerifier

MakeSystem = Callable[..., System]


class Inside(Resource):
    """A guarded resource, which does what the test says."""

    isLeaf = True

    def __init__(self, act: Callable[[Any], Any] = lambda request: b"inside") -> None:
        super().__init__()
        self.act = act

    def render(self, request: Any) -> Any:
        return self.act(request)


class Known:
    """A guarded resource, and a token that the cache knows."""

    def __init__(
        self,
        make_system: MakeSystem,
        guard: Callable[[AuthorizationServer], IResource],
        scope: str = "user_info",
    ) -> None:
        def root(server: AuthorizationServer) -> IResource:
            tree: Any = server.root()
            tree.putChild(b"g", guard(server))
            return tree

        self.system = make_system(root=root)
        self.app: App = self.system.add_client("App")
        token = str(self.app.tokens(self.system.browser("alice"), scope)["access_token"])
        self.token = token
        self.cache: Any = vars(self.system.server)["_verifier"].cache
        self.send()
        assert len(self.cache) == 1

    def send(
        self, method: str = "GET", path: str = "/g", *headers: tuple[str, str], faults: bool = False
    ) -> Any:
        """The answer to a request with the token."""
        sent = [("Authorization", f"Bearer {self.token}"), *headers]
        return self.system.send(method, path, None, sent, faults=faults)

    def put(self, resource: IResource) -> None:
        """Replace the guarded resource."""
        root: Any = self.system.site.resource
        root.putChild(b"g", resource)


def around(inside: Resource, **named: Any) -> Callable[[AuthorizationServer], IResource]:
    """A guard around a resource."""
    return lambda server: OAuthGuard(inside, server, **{"scopes": ["user_info"], **named})


def never_asked(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each look-up fail, but for that of the cache."""
    verifier = vars(known.system.server)["_verifier"]
    monkeypatch.setattr(verifier, "verify", lambda *_: fail(InvalidToken()))


def test_known_token_is_not_looked_up(make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Known(make_system, around(Inside()))
    never_asked(known, monkeypatch)
    hits, misses = known.cache.hits, known.cache.misses
    assert known.send().body == b"inside"
    assert (known.cache.hits, known.cache.misses) == (hits + 1, misses)


def test_decorated_method_has_the_known_token(
    make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch, logged_failures
) -> None:
    def make(server: AuthorizationServer) -> IResource:
        class Decorated(Resource):
            isLeaf = True

            @oauth_scope("user_info", verifier=server)
            def render_GET(self, token: Any, request: Any) -> bytes:
                assert IAccessToken(request) is token
                name: str = token.user.username
                return name.encode()

            @oauth_scope("user_info", verifier=server)
            async def render_POST(self, token: Any, request: Any) -> bytes:
                return b"posted"

            @oauth_scope("user_info", verifier=server)
            def render_PUT(self, token: Any, request: Any) -> Any:
                raise ZeroDivisionError

        return Decorated()

    known = Known(make_system, make)
    never_asked(known, monkeypatch)
    assert known.send().body == b"alice"
    assert known.send("POST").body == b"posted"
    assert known.send("PUT", faults=True).status == 500
    assert len(logged_failures.take(ZeroDivisionError)) == 1


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        (["user_info"], 200),
        (["user_info", "verify"], 403),
        (any_of("verify", "user_info"), 200),
        ({"POST": ["user_info"]}, 405),
        ({"GET": ["verify"]}, 403),
        ([], 200),
    ],
)
def test_known_token_must_cover_the_scopes(make_system: MakeSystem, scopes: Any, status: int) -> None:
    known = Known(make_system, around(Inside()))
    known.put(around(Inside(), scopes=scopes)(known.system.server))
    assert known.send().status == status


def test_known_token_is_refused_once_it_has_expired(make_system: MakeSystem) -> None:
    known = Known(make_system, around(Inside()))
    known.system.reactor.advance(known.system.settings.access_token_lifetime - 1)
    assert known.send().status == 200
    known.system.reactor.advance(2)
    assert known.send().status == 401


def test_known_token_is_refused_once_it_is_revoked(make_system: MakeSystem) -> None:
    """RV-01."""
    known = Known(make_system, around(Inside()))
    headers = [("Authorization", basic(known.app.client_id, known.app.secret))]
    assert known.system.post("/oauth2/revoke/", {"token": known.token}, headers).status == 200
    assert known.send().status == 401


@pytest.mark.parametrize("form", ["/g?access_token=x", "/g?x&access_token="])
def test_known_token_is_refused_if_another_is_sent_beside_it(make_system: MakeSystem, form: str) -> None:
    assert Known(make_system, around(Inside())).send(path=form).status == 400


def decorated(server: AuthorizationServer) -> IResource:
    """A resource with a decorated method."""

    class Decorated(Resource):
        isLeaf = True

        @oauth_scope("user_info", verifier=server)
        def render_GET(self, token: Any, request: Any) -> bytes:
            return b"inside"

    return Decorated()


def routed(server: AuthorizationServer) -> IResource:
    """A decorated route of Klein."""
    app = Klein()

    @app.route("/", strict_slashes=False)
    @oauth_scope("user_info", verifier=server)
    def route(token: Any, request: Any) -> bytes:
        return b"inside"

    resource: IResource = app.resource()
    return resource


@pytest.mark.parametrize(
    "guard",
    [
        around(Inside()),
        around(Inside(), optional=True),
        around(Inside(), cors=["https://script.example"]),
        around(Inside(), address="https://api.example/g"),
        decorated,
        routed,
    ],
    ids=["guard", "optional", "cors", "address", "method", "route"],
)
def test_unknown_token_is_refused_at_once_as_at_the_first_time(
    make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch, guard: Any
) -> None:
    known = Known(make_system, guard)
    origin = ("Origin", "https://script.example")

    def answer() -> Any:
        sent = [("Authorization", "Bearer unknown"), origin]
        answered = known.system.send("GET", "/g/", None, sent)
        # A second may pass meanwhile.
        answered.headers.removeHeader("Date")
        return answered.status, answered.headers, answered.body

    first = answer()
    assert first[0] == 401
    never_asked(known, monkeypatch)
    monkeypatch.setattr(known.system.server, "verify", lambda *_: fail(ZeroDivisionError()))
    assert answer() == first


def test_unknown_token_is_the_last_that_is_complained_of(make_system: MakeSystem) -> None:
    known = Known(make_system, around(Inside()))
    sent = [("Authorization", "Bearer unknown")]
    for _ in range(2):
        assert known.system.send("GET", "/g", None, sent).status == 401
        assert known.system.send("GET", "/g?access_token=x", None, sent).status == 400


def test_headers_are_dropped_for_a_known_token(make_system: MakeSystem) -> None:
    def names(request: Any) -> bytes:
        return b" ".join(sorted(name.lower() for name, _ in request.requestHeaders.getAllRawHeaders()))

    sent = ("X-User", "admin"), ("X-Harmless", "x")
    body = Known(make_system, around(Inside(names))).send("GET", "/g", *sent).body
    assert b"x-harmless" in body
    assert b"x-user" not in body
    assert b"authorization" not in body


def test_inner_guard_knows_the_token_as_well(make_system: MakeSystem) -> None:
    known = Known(
        make_system, lambda server: OAuthGuard(around(Inside())(server), server, ["user_info"])
    )
    assert known.send().body == b"inside"


def test_resource_that_fails_is_answered_with_500(make_system: MakeSystem, logged_failures) -> None:
    """It is counted no more: the server can stop."""

    def act(request: Any) -> bytes:
        raise ZeroDivisionError

    known = Known(make_system, around(Inside()))
    known.put(around(Inside(act))(known.system.server))
    assert known.send(faults=True).status == 500
    assert len(logged_failures.take(ZeroDivisionError)) == 1
    assert wait(known.system.server.stopService()) is None


def test_request_with_a_known_token_is_finished_before_the_server_stops(
    make_system: MakeSystem,
) -> None:
    """Also if the guarded code itself stops the server."""
    held: list[Any] = []
    stopping: list[Deferred[None]] = []
    inside = Inside()
    known = Known(make_system, around(inside))

    def act(request: Any) -> Any:
        held.append(request)
        stopping.append(known.system.server.stopService())
        assert not stopping[0].called
        return NOT_DONE_YET

    inside.act = act
    sent = known.system.begin("GET", "/g", None, [("Authorization", f"Bearer {known.token}")])
    assert not stopping[0].called
    held[0].write(b"inside")
    held[0].finish()
    known.system.agent.flush()
    assert sent.answer.body == b"inside"
    assert wait(stopping[0]) is None


def test_no_request_is_admitted_while_the_server_stops(make_system: MakeSystem) -> None:
    known = Known(make_system, around(Inside()))
    wait(known.system.server.stopService())
    assert known.send(faults=True).status == 503


def test_verify_of_a_subclass_is_not_passed_by(make_system: MakeSystem) -> None:
    system = make_system()

    class Strict(AuthorizationServer):
        def verify(self, token: str, scopes: tuple[str, ...]) -> Any:
            return fail(InvalidToken())

    class Same(AuthorizationServer):
        pass

    named: dict[str, Any] = {"issuer": system.issuer}
    parts = system.reactor, None, system.registry, system.tokens
    same = Same(*parts, **named)
    assert IRecallingVerifier.providedBy(same)
    assert recalling(same) is same
    assert recalling(Strict(*parts, **named)) is None
    vars(same)["verify"] = lambda *_: fail(InvalidToken())
    assert recalling(same) is None


def test_verifier_may_have_slots() -> None:
    @implementer(IRecallingVerifier)
    class Slotted:
        __slots__ = ()

        def verify(self, token: str, scopes: tuple[str, ...]) -> Any:
            raise NotImplementedError

        def recall(self, token: str) -> Any:
            raise NotImplementedError

        def enter(self) -> None:
            raise NotImplementedError

        def leave(self, request: Any) -> None:
            raise NotImplementedError

    slotted: Any = Slotted()
    assert recalling(slotted) is slotted
