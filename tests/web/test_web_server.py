"""AuthorizationServer as a service, and where its tree can stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from web_driver import (
    FORM,
    STATE,
    Answer,
    System,
    assert_challenge,
    assert_token_error,
    encoded,
    post_bytes,
    tokens_of,
    wait,
)
from zope.interface.verify import verifyObject

import djoauth2_twisted
from djoauth2_twisted import AuthorizationServer, OAuthGuard, Settings
from djoauth2_twisted.errors import ConfigurationError, TemporarilyUnavailable
from djoauth2_twisted.interfaces import IRequestCounter, ITokenVerifier
from djoauth2_twisted.models import Pruned
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore

MakeSystem = Callable[..., System]

ADDRESSES = [
    ("GET", "/oauth2/authorization/"),
    ("GET", "/oauth2/login/"),
    ("POST", "/oauth2/token/"),
    ("GET", "/oauth2/missing_redirect_uri/"),
]


class Opening:
    """What has to be opened before the stores answer, as it happens to go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.opened = 0
        self.closed = 0

    def report_outages(self, report: Any) -> None: ...

    def key_file(self) -> None: ...

    def open(self, prepare: bool = True) -> None:
        self.opened += 1
        if self.error is not None:
            raise self.error

    def connect(self) -> Deferred[None]:
        return succeed(None)

    def version(self) -> str | None:
        return None

    def check_writable(self) -> Deferred[None]:
        return succeed(None)

    def close(self) -> Deferred[None]:
        self.closed += 1
        return succeed(None)


def unavailable(answer: Answer) -> None:
    """503 with `Retry-After`."""
    assert answer.status == 503
    assert int(answer.header("retry-after") or 0) >= 1
    assert answer.header("www-authenticate") is None


# The beginning.


def test_server_provides_its_interfaces(system: System) -> None:
    assert verifyObject(IService, system.server)
    assert verifyObject(ITokenVerifier, system.server)
    assert verifyObject(IRequestCounter, system.server)


def test_nothing_is_opened_before_it_starts() -> None:
    """ARCHITECTURE, section 5: neither by making it, nor by asking for its trees."""
    opening = Opening()
    system = System(stores=(opening, MemoryRegistry(), MemoryTokenStore()), started=False)
    assert opening.opened == 0
    assert not system.server.running
    assert system.reactor.getDelayedCalls() == []


@pytest.mark.parametrize(("method", "address"), ADDRESSES)
def test_before_it_is_open_requests_are_sent_away(
    make_system: MakeSystem, method: str, address: str
) -> None:
    """INTERFACE, section 4: until then requests get 503."""
    system = make_system(started=False)
    unavailable(system.send(method, address, None, (), True))
    answer = system.send(method, address, None, [("Accept", "application/json")], True)
    unavailable(answer)
    assert answer.error == "temporarily_unavailable"


def test_before_it_is_open_the_guard_says_so(make_system: MakeSystem) -> None:
    """BG-17: never `invalid_token`."""
    system = make_system(started=False)
    bearer = ("Authorization", "Bearer tok")
    answer = system.send("GET", "/api/user_info/", None, [bearer], True)
    unavailable(answer)
    assert answer.error == "temporarily_unavailable"
    assert_challenge(system.send("GET", "/api/user_info/"), 401, None)


def test_before_it_is_open_it_is_not_healthy(make_system: MakeSystem) -> None:
    """INTERFACE, section 2: 503 with the reason's name."""
    system = make_system(started=False)
    answer = system.send("GET", "/healthz", None, (), True)
    unavailable(answer)
    assert answer.json == {"status": "store"}
    system.start()
    for address in ("/healthz", "/healthz/"):
        assert system.send("GET", address).json == {"status": "ok"}
    assert system.send("HEAD", "/healthz").status == 200
    assert system.send("POST", "/healthz").status == 405


def test_process_lives_whatever_the_store_does(make_system: MakeSystem) -> None:
    """INTERFACE, section 2."""
    system = make_system(started=False)
    for address in ("/livez", "/livez/"):
        assert system.send("GET", address).json == {"status": "ok"}
    assert system.send("HEAD", "/livez").status == 200
    assert system.send("POST", "/livez").status == 405
    assert system.send("GET", "/livez/more").status == 404


def test_when_ready_fires_once_the_store_is_open(make_system: MakeSystem) -> None:
    opening = Opening()
    system = make_system(stores=(opening, MemoryRegistry(), MemoryTokenStore()), started=False)
    early = [system.server.when_ready(), system.server.when_ready()]
    assert not any(deferred.called for deferred in early)
    system.server.startService()
    for deferred in [*early, system.server.when_ready()]:
        assert wait(deferred) is None
    assert opening.opened == 1
    assert system.send("GET", "/healthz").status == 200
    system.stop()
    assert opening.closed == 1


def test_a_store_that_cannot_be_opened_fails_when_ready_alone(make_system: MakeSystem, log: Any) -> None:
    """ARCHITECTURE, section 5: one clear line; an application that embeds it continues."""
    stores = (Opening(ConfigurationError("the disk is away")), MemoryRegistry(), MemoryTokenStore())
    system = make_system(stores=stores, started=False)
    early = system.server.when_ready()
    system.server.startService()
    for deferred in (early, system.server.when_ready()):
        with pytest.raises(ConfigurationError, match="the disk is away"):
            wait(deferred)
    assert "The server cannot start: the disk is away" in log
    unavailable(system.send("GET", "/oauth2/login/", None, (), True))
    unavailable(system.send("GET", "/healthz", None, (), True))


def test_an_application_may_stop_it_as_soon_as_it_fails(make_system: MakeSystem) -> None:
    """In the very errback that tells of the failure."""
    opening = Opening(ConfigurationError("the disk is away"))
    system = make_system(stores=(opening, MemoryRegistry(), MemoryTokenStore()), started=False)
    stopped = system.server.when_ready().addErrback(lambda _: system.server.stopService())
    system.server.startService()
    assert wait(stopped) is None
    assert opening.closed == 1


def test_it_can_be_started_again_after_a_failure(make_system: MakeSystem) -> None:
    """What failed then says nothing of now."""
    opening = Opening(ConfigurationError("the disk is away"))
    system = make_system(stores=(opening, MemoryRegistry(), MemoryTokenStore()), started=False)
    system.server.startService()
    with pytest.raises(ConfigurationError):
        wait(system.server.when_ready())
    system.stop()
    opening.error = None
    system.server.startService()
    assert wait(system.server.when_ready()) is None
    assert system.send("GET", "/healthz").status == 200


def test_a_failed_start_without_a_waiting_caller_logs_no_unhandled_error(
    make_system: MakeSystem,
) -> None:
    """It was logged once; no Deferred is left with it."""
    stores = (Opening(ConfigurationError("the disk is away")), MemoryRegistry(), MemoryTokenStore())
    system = make_system(stores=stores, started=False)
    system.server.startService()
    system.stop()
    assert stores[0].opened == 1


def test_a_fault_while_opening_is_logged_with_its_stack(
    make_system: MakeSystem,
    logged_failures,
) -> None:
    stores = (Opening(ZeroDivisionError("oops")), MemoryRegistry(), MemoryTokenStore())
    system = make_system(stores=stores, started=False)
    system.server.startService()
    with pytest.raises(ZeroDivisionError):
        wait(system.server.when_ready())
    assert logged_failures.take(ZeroDivisionError)


def test_a_true_database_is_opened_in_a_thread(make_system: MakeSystem, tmp_path: Path) -> None:
    system = make_system(url=f"sqlite:///{tmp_path / 'oauth.db'}", started=False)
    system.server.startService()
    unavailable(system.send("GET", "/oauth2/login/", None, (), True))
    wait(system.server.when_ready())
    assert system.send("GET", "/oauth2/login/").status == 200


def test_it_opens_though_the_reactors_threads_are_busy(make_system: MakeSystem, tmp_path: Path) -> None:
    """ARCHITECTURE, section 5: a host application may use all of them."""
    from twisted.internet import reactor

    busy: Any = reactor
    pool, end = busy.getThreadPool(), Event()
    for _ in range(pool.max):
        pool.callInThread(end.wait)
    try:
        system = make_system(url=f"sqlite:///{tmp_path / 'oauth.db'}", started=False)
        system.server.startService()
        wait(system.server.when_ready())
        assert system.send("GET", "/healthz").status == 200
    finally:
        end.set()


def test_a_true_database_that_cannot_be_opened(make_system: MakeSystem, tmp_path: Path) -> None:
    system = make_system(url=f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}", started=False)
    system.server.startService()
    with pytest.raises(ConfigurationError):
        wait(system.server.when_ready())


def test_it_can_start_as_part_of_an_application(make_system: MakeSystem) -> None:
    """INTERFACE, section 4: `setServiceParent`."""
    system = make_system(started=False)
    application = MultiService()
    system.server.setServiceParent(application)
    application.startService()
    assert wait(system.server.when_ready()) is None
    wait(application.stopService())
    assert not system.server.running


def test_from_url(tmp_path: Path) -> None:
    """INTERFACE, section 4; a wrong URL or issuer is said at once."""
    reactor = System(started=False).reactor
    url = f"sqlite:///{tmp_path / 'oauth.db'}"
    server = AuthorizationServer.from_url(
        reactor, url, issuer="https://example.com", settings=Settings()
    )
    assert server.issuer == "https://example.com"
    assert not (tmp_path / "oauth.db").exists()
    with pytest.raises(ConfigurationError):
        AuthorizationServer.from_url(reactor, "nonsense", issuer="https://example.com")
    for issuer in (
        "http://example.com",
        "https://example.com/?q",
        "https://example.com/#f",
        "example.com",
        "",
    ):
        with pytest.raises(ConfigurationError):
            AuthorizationServer.from_url(reactor, url, issuer=issuer)
    with pytest.raises(ConfigurationError):
        AuthorizationServer.from_url(
            reactor, url, issuer="https://example.com", templates=str(tmp_path / "no")
        )


def test_ssl_only_false_is_warned_of(make_system: MakeSystem, log: Any) -> None:
    """INTERFACE, section 1: at every start."""
    make_system()
    assert "SSL_ONLY is false" not in log
    make_system(Settings(ssl_only=False), issuer="http://as.example")
    assert "SSL_ONLY is false" in log


# The end.


class SlowTokens(MemoryTokenStore):
    """A store whose redemptions take as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Deferred[None]] = []

    def redeem_code(self, *arguments: Any) -> Deferred[Any]:
        self.waiting.append(Deferred())
        return self.waiting[-1].addCallback(lambda _: MemoryTokenStore.redeem_code(self, *arguments))


@pytest.fixture
def slow(make_system: MakeSystem) -> System:
    return make_system(stores=(Opening(), MemoryRegistry(), SlowTokens()))


def test_requests_in_flight_are_finished(slow: System) -> None:
    """INTERFACE, section 2; ARCHITECTURE, section 5: then the store is closed."""
    app = slow.add_client("App")
    sent = app.begin(app.code_form(app.code(slow.browser("alice"))))
    (step,) = vars(slow.tokens)["waiting"]
    stopping = slow.server.stopService()
    assert not stopping.called
    assert vars(slow.server)["_database"].closed == 0
    unavailable(slow.send("GET", "/oauth2/login/", None, (), True))
    step.callback(None)
    slow.agent.flush()
    assert tokens_of(sent.answer)
    assert wait(stopping) is None
    assert vars(slow.server)["_database"].closed == 1


class SlowRegistry(MemoryRegistry):
    """A registry whose look-ups take as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.is_slow = False
        self.waiting: list[Deferred[None]] = []

    def _later(self, verb: Any, *arguments: Any) -> Deferred[Any]:
        if not self.is_slow:
            return verb(self, *arguments)
        self.waiting.append(Deferred())
        return self.waiting[-1].addCallback(lambda _: verb(self, *arguments))

    def find_user(self, username: str) -> Deferred[Any]:
        return self._later(MemoryRegistry.find_user, username)

    def find_scopes(self, names: tuple[str, ...]) -> Deferred[Any]:
        return self._later(MemoryRegistry.find_scopes, names)

    def scopes(self) -> Deferred[Any]:
        return self._later(MemoryRegistry.scopes)


@pytest.mark.parametrize(
    "address", ["/api/user_info/", "/.well-known/oauth-authorization-server", "/healthz"]
)
def test_requests_outside_of_the_tree_are_finished(make_system: MakeSystem, address: str) -> None:
    """ARCHITECTURE, section 5: all that ask the store, before it is closed."""
    registry, opening = SlowRegistry(), Opening()
    system = make_system(stores=(opening, registry, MemoryTokenStore()))
    token = system.add_client("App").tokens(system.browser("alice"))["access_token"]
    registry.is_slow = True
    sent = system.begin("GET", address, headers=[("Authorization", f"Bearer {token}")])
    stopping = system.server.stopService()
    assert (stopping.called, opening.closed) == (False, 0)
    (step,) = registry.waiting
    step.callback(None)
    system.agent.flush()
    assert sent.answer.status == 200
    assert wait(stopping) is None
    assert opening.closed == 1


class Later(Resource):
    """An application's resource that answers when the test says so."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render_GET(self, request: Any) -> int:
        self.requests.append(request)
        return NOT_DONE_YET


@pytest.fixture
def guarded() -> Later:
    return Later()


@pytest.fixture
def api(make_system: MakeSystem, guarded: Later) -> System:
    """A server beside an application's resource, which it guards twice."""
    system = make_system(stores=(Opening(), MemoryRegistry(), MemoryTokenStore()))
    inner = OAuthGuard(guarded, system.server, scopes=("user_info",))
    system.site.resource.putChild(b"guarded", OAuthGuard(inner, system.server))
    return system


def _ask_guarded(api: System, token: str) -> Any:
    return api.begin("GET", "/guarded", None, [("Authorization", f"Bearer {token}")], True)


def test_guarded_requests_are_finished(api: System, guarded: Later) -> None:
    """ARCHITECTURE, section 5: an application's own resources too; it may look the token up again."""
    token = api.add_client("App").tokens(api.browser("alice"))["access_token"]
    sent = _ask_guarded(api, token)
    (request,) = guarded.requests
    stopping = api.server.stopService()
    assert not stopping.called
    assert api.server.begin_request(request)
    assert wait(api.server.verify(token, ())).has_scope("user_info")
    unavailable(_ask_guarded(api, token).answer)
    request.finish()
    api.agent.flush()
    assert sent.answer.status == 200
    assert wait(stopping) is None


def test_requests_without_a_token_are_finished_too(make_system: MakeSystem, guarded: Later) -> None:
    """ARCHITECTURE, section 5: those that an optional guard admits."""
    api = make_system(stores=(Opening(), MemoryRegistry(), MemoryTokenStore()))
    api.site.resource.putChild(b"open", OAuthGuard(guarded, api.server, optional=True))
    sent = api.begin("GET", "/open", None, (), True)
    stopping = api.server.stopService()
    assert not stopping.called
    # They need no server, so those that come now are answered as well.
    later = api.begin("GET", "/open", None, (), True)
    guarded.requests[0].finish()
    api.agent.flush()
    assert sent.answer.status == 200
    assert wait(stopping) is None
    guarded.requests[1].finish()
    api.agent.flush()
    assert later.answer.status == 200


def test_a_look_up_after_the_deadline_is_answered_503(api: System, guarded: Later) -> None:
    """BG-17: the store is closed, and nothing is said of the token."""
    token = api.add_client("App").tokens(api.browser("alice"))["access_token"]
    _ask_guarded(api, token)
    stopping = api.server.stopService()
    api.advance(5)
    assert wait(stopping) is None
    with pytest.raises(TemporarilyUnavailable):
        wait(api.server.verify(token, ()))
    unavailable(_ask_guarded(api, token).answer)
    guarded.requests[0].finish()
    api.agent.flush()


def test_a_guarded_request_that_is_hung_up_on_is_not_waited_for(api: System, guarded: Later) -> None:
    token = api.add_client("App").tokens(api.browser("alice"))["access_token"]
    wire = api.wire()
    head = f"GET /guarded HTTP/1.1\r\nHost: as.example\r\nAuthorization: Bearer {token}\r\n\r\n"
    wire.send(head.encode())
    (request,) = guarded.requests
    wire.hang_up()
    # It is not counted any more, nor again.
    api.server.begin_request(request)
    assert wait(api.server.stopService()) is None


def test_requests_that_hang_are_waited_for_no_longer_than_that(slow: System) -> None:
    """F-03."""
    app = slow.add_client("App")
    sent = app.begin(app.code_form(app.code(slow.browser("alice"))))
    stopping = slow.server.stopService()
    slow.advance(4.9)
    assert not stopping.called
    slow.advance(0.1)
    assert wait(stopping) is None
    vars(slow.tokens)["waiting"][0].callback(None)
    slow.agent.flush()
    assert sent.answer.status == 200


def test_the_stop_does_not_wait_for_a_client_that_hung_up(slow: System) -> None:
    app = slow.add_client("App")
    code = app.code(slow.browser("alice"))
    body = encoded(app.code_form(code, client_id=app.client_id, client_secret=app.secret))
    wire = slow.wire()
    wire.send(post_bytes("/oauth2/token/", body))
    assert len(vars(slow.tokens)["waiting"]) == 1
    wire.hang_up()
    assert wait(slow.server.stopService()) is None


def test_an_exchange_that_has_not_begun_is_left_out(slow: System) -> None:
    """CC-08: a client that hangs up while others are served, and tries again, has lost nothing."""
    app = slow.add_client("App")
    code = app.code(slow.browser("alice"))
    body = encoded(app.code_form(code, client_id=app.client_id, client_secret=app.secret))
    wire = slow.wire()
    wire.send(post_bytes("/oauth2/token/", body))
    wire.hang_up()
    sent = app.begin(app.code_form(code))
    for turn in vars(slow.tokens)["waiting"]:
        turn.callback(None)
    slow.agent.flush()
    assert tokens_of(sent.answer)


def test_it_can_be_stopped_before_and_twice(make_system: MakeSystem) -> None:
    system = make_system(started=False)
    assert wait(system.server.stopService()) is None
    system.start()
    assert wait(system.server.stopService()) is None
    assert wait(system.server.stopService()) is None
    assert system.reactor.getDelayedCalls() == []


def test_it_can_be_started_again(make_system: MakeSystem) -> None:
    system = make_system()
    app, alice = system.add_client("App"), system.browser("alice")
    system.stop()
    unavailable(alice.get(app.address(), faults=True))
    system.start()
    assert app.ask(alice).is_consent


def test_it_can_be_stopped_while_it_opens(make_system: MakeSystem, tmp_path: Path) -> None:
    system = make_system(url=f"sqlite:///{tmp_path / 'oauth.db'}", started=False)
    system.server.startService()
    wait(system.server.stopService())
    unavailable(system.send("GET", "/oauth2/login/", None, (), True))


# In between.


class FailingTokens(MemoryTokenStore):
    error: Exception | None = None

    def prune(self, now: int, limit: int) -> Deferred[Pruned]:
        return super().prune(now, limit) if self.error is None else fail(self.error)


@pytest.mark.parametrize("error", [TemporarilyUnavailable(), ZeroDivisionError("oops")])
def test_pruning_outlives_a_failure(
    make_system: MakeSystem,
    logged_failures,
    error: Exception,
) -> None:
    """ARCHITECTURE, section 5: the next time may do, also where the failure is a store's fault."""
    tokens = FailingTokens()
    system = make_system(stores=(None, MemoryRegistry(), tokens))
    system.add_client("App").code(system.browser("alice"))
    for _ in range(59):
        system.advance(60)
    tokens.error = error
    system.advance(60)
    tokens.error = None
    assert system.grants()
    assert len(logged_failures.take()) == isinstance(error, ZeroDivisionError)
    system.advance(60)
    assert system.grants() == []


class Unreachable(MemoryTokenStore):
    """A store that cannot answer."""

    away: Exception | None = None

    def _if_there(self, verb: Any, *arguments: Any) -> Deferred[Any]:
        return verb(self, *arguments) if self.away is None else fail(self.away)

    def add_code(self, *arguments: Any) -> Deferred[Any]:
        return self._if_there(MemoryTokenStore.add_code, *arguments)

    def redeem_code(self, *arguments: Any) -> Deferred[Any]:
        return self._if_there(MemoryTokenStore.redeem_code, *arguments)

    def rotate_refresh_token(self, *arguments: Any) -> Deferred[Any]:
        return self._if_there(MemoryTokenStore.rotate_refresh_token, *arguments)

    def find_access_token(self, *arguments: Any) -> Deferred[Any]:
        return self._if_there(MemoryTokenStore.find_access_token, *arguments)


def test_a_store_that_cannot_answer_is_no_refusal(make_system: MakeSystem) -> None:
    """BG-17, oracle 2 of the faults: 503, and the same credentials are good again after it."""
    tokens = Unreachable()
    system = make_system(stores=(None, MemoryRegistry(), tokens))
    app, alice = system.add_client("App"), system.browser("alice")
    said, code, page = app.tokens(alice), app.code(alice), app.ask(alice)
    tokens.away = TemporarilyUnavailable()
    bearer = ("Authorization", f"Bearer {said['access_token']}")
    answers = [
        system.send("GET", "/api/user_info/", None, [bearer], True),
        _token(app, app.code_form(code)),
        _token(app, {"grant_type": "refresh_token", "refresh_token": said["refresh_token"]}),
        alice.post(
            page.form("user_action").action,
            {**page.form("user_action").hidden, "user_action": "Accept"},
            faults=True,
        ),
    ]
    for answer in answers:
        unavailable(answer)
        assert answer.header("location") is None
    tokens.away = None
    assert "code" in alice.submit(page, "user_action", user_action="Accept").parameters
    assert system.call(said["access_token"]).status == 200
    assert tokens_of(app.exchange(code))
    assert tokens_of(app.refresh(said["refresh_token"]))


def _token(app: Any, form: dict[str, str | None]) -> Answer:
    body = encoded({**form, "client_id": app.client_id, "client_secret": app.secret})
    return app.system.send("POST", "/oauth2/token/", body, [FORM], True)


def test_a_fault_of_the_store_is_a_500_without_a_word(
    make_system: MakeSystem,
    logged_failures,
) -> None:
    """U-02."""
    tokens = Unreachable()
    system = make_system(stores=(None, MemoryRegistry(), tokens))
    app, alice = system.add_client("App"), system.browser("alice")
    code, page = app.code(alice), app.ask(alice)
    tokens.away = ZeroDivisionError("secret detail")
    form = page.form("user_action")
    for answer in (
        _token(app, app.code_form(code)),
        alice.post(form.action, {**form.hidden, "user_action": "Accept"}, faults=True),
        system.send("GET", "/api/user_info/", None, [("Authorization", "Bearer tok")], True),
    ):
        assert answer.status == 500
        assert "secret detail" not in answer.text
    assert len(logged_failures.take(ZeroDivisionError)) == 3


class FailingRegistry(MemoryRegistry):
    away: Exception | None = None

    def find_client(self, client_id: str) -> Deferred[Any]:
        return super().find_client(client_id) if self.away is None else fail(self.away)

    def find_user(self, username: str) -> Deferred[Any]:
        return super().find_user(username) if self.away is None else fail(self.away)

    def clients_are_current(self) -> bool:
        return self.away is None


def test_a_registry_that_cannot_answer_is_no_refusal(make_system: MakeSystem) -> None:
    """Neither `invalid_client`, nor "the password is wrong"."""
    registry = FailingRegistry()
    system = make_system(stores=(None, registry, MemoryTokenStore()))
    app, alice = system.add_client("App"), system.browser("alice")
    code, token = app.code(alice), app.tokens(alice)["access_token"]
    page = system.browser().get("/oauth2/login/")
    stranger = system.browser()
    page = stranger.get("/oauth2/login/")
    registry.away = TemporarilyUnavailable()
    login = {**page.form("password").hidden, "username": "alice", "password": "correct horse battery"}
    for answer in (
        alice.get(app.address(), faults=True),
        _token(app, app.code_form(code)),
        stranger.post("/oauth2/login/", login, faults=True),
        system.send("GET", "/api/user_info/", None, [("Authorization", f"Bearer {token}")], True),
    ):
        unavailable(answer)
    registry.away = None
    assert tokens_of(app.exchange(code))


# Where it stands.


@pytest.mark.parametrize("prefix", ["/oauth2", "/auth", "/a/b/c", "/with%20space", "/%C3%A9", ""])
def test_it_follows_the_prefix_that_it_stands_at(make_system: MakeSystem, prefix: str) -> None:
    """INTERFACE, section 4: every address and form action follows."""

    def root(server: AuthorizationServer) -> IResource:
        tree: IResource = server.resource()
        for segment in reversed([part for part in prefix.split("/") if part]):
            above = Resource()
            name = {"with%20space": b"with space", "%C3%A9": "é".encode()}.get(segment, segment.encode())
            above.putChild(name, tree)
            tree = above
        return tree

    system = make_system(root=root, prefix=prefix)
    app, browser = system.add_client("App"), system.browser()
    away = app.ask(browser)
    assert away.location.startswith(f"{prefix}/login/?next=")
    login = browser.follow(away)
    assert login.form("password").action == f"{prefix}/login/"
    links = [a["href"] for tag, a in login.page.elements if tag == "link"]
    assert links == [f"{prefix}/icon/", f"{prefix}/style.css"]
    assert system.send("GET", f"{prefix}/style.css").header("content-type") == "text/css; charset=utf-8"
    page = browser.follow(browser.log_in("alice", page=login))
    assert page.form("user_action").action.startswith(f"{prefix}/authorization/?")
    answer = browser.submit(page, "user_action", user_action="Accept")
    assert answer.parameters["state"] == STATE
    assert tokens_of(app.exchange(answer.parameters["code"]))
    assert browser.log_out().location == f"{prefix}/logout/?done=yes"


def test_it_stands_in_a_site_of_an_application(make_system: MakeSystem) -> None:
    """A plain `Site` reads POSTed forms itself before a resource asks for them."""
    system = make_system(embedded=True)
    app, alice = system.add_client("App"), system.browser("alice")
    said = app.tokens(alice)
    assert system.call(said["access_token"]).status == 200
    assert tokens_of(app.refresh(said["refresh_token"]))
    code = app.code(alice)
    form = app.code_form(code)
    assert_token_error(app.token(form, query=f"?code={code}"), 400, "invalid_request")
    assert_token_error(app.token([*form.items(), ("code", code)]), 400, "invalid_request")
    kind = [("Content-Type", "multipart/form-data; boundary=x"), FORM]
    assert system.send("POST", "/oauth2/token/", b"--x--\r\n", kind).status == 400
    assert alice.post("/oauth2/authorization/", app.fields()).is_consent


def test_a_large_body_in_a_site_of_an_application(make_system: MakeSystem) -> None:
    """HT-05: what the site has accepted is refused all the same."""
    system = make_system(embedded=True)
    app = system.add_client("App")
    answer = app.token({"code": "x" * 65_536})
    assert_token_error(answer, 413, "invalid_request")
    answer = system.post("/oauth2/login/", {"username": "x" * 65_536})
    assert answer.status == 413


def test_two_servers_in_one_process(make_system: MakeSystem) -> None:
    """INTERFACE, section 4: they share nothing."""
    one = make_system(issuer="https://one.example", settings=Settings(realm="one"))
    two = make_system(
        issuer="https://two.example", settings=Settings(realm="two", access_token_lifetime=7)
    )
    for system, lifetime, name in ((one, 3600, "one"), (two, 7, "two")):
        app = system.add_client("App")
        answer = app.authorize(system.browser("alice"))
        assert answer.parameters["iss"] == f"https://{name}.example"
        said = tokens_of(app.exchange(answer.parameters["code"]))
        assert said["expires_in"] == lifetime
        challenge = system.send("GET", "/api/user_info/").header("www-authenticate") or ""
        assert challenge.startswith(f'Bearer realm="{name}"')
    other = one.add_client("Other")
    assert_token_error(_token_elsewhere(two, other), 401, "invalid_client")


def _token_elsewhere(system: System, app: Any) -> Answer:
    body = encoded({**app.code_form("x"), "client_id": app.client_id, "client_secret": app.secret})
    return system.send("POST", "/oauth2/token/", body, [FORM])


def test_two_servers_in_one_site(make_system: MakeSystem) -> None:
    one = make_system()
    site = Resource()
    site.putChild(b"one", one.server.resource())

    def root(server: AuthorizationServer) -> IResource:
        site.putChild(b"two", server.resource())
        return site

    two = make_system(root=root, prefix="/two", issuer="https://two.example")
    app = two.add_client("App")
    assert app.authorize(two.browser("alice")).parameters["iss"] == "https://two.example"
    assert two.send("GET", "/one/login/").form("password").action == "/one/login/"


def test_two_logins_at_one_host(make_system: MakeSystem) -> None:
    """Tenants: each server has a cookie of its own, so that neither login ends the other."""
    site = Resource()
    systems = []
    for name in ("one", "two"):

        def root(server: AuthorizationServer, name: str = name) -> IResource:
            site.putChild(name.encode(), server.resource())
            return site

        issuer = f"https://as.example/{name}"
        systems.append(make_system(root=root, prefix=f"/{name}", issuer=issuer))
    one, two = systems[0].browser("alice"), systems[1].browser("bob")
    one.cookies.update(two.cookies)
    two.cookies = one.cookies
    assert set(one.cookies) == {"__Host-djoauth2%2Fone", "__Host-djoauth2%2Ftwo"}
    assert "alice" in one.get("/one/account/").words
    assert "bob" in two.get("/two/account/").words


def test_a_guard_beside_it_asks_it(make_system: MakeSystem) -> None:
    """INTERFACE, section 4's example, as it stands there."""

    class Hello(Resource):
        isLeaf = True

        def render_GET(self, request: Any) -> bytes:
            return b"hello"

    def root(server: AuthorizationServer) -> IResource:
        site = Resource()
        site.putChild(b"oauth2", server.resource())
        site.putChild(b"hello", OAuthGuard(Hello(), server, scopes=("user_info",)))
        return site

    system = make_system(root=root, embedded=True)
    token = system.add_client("App").tokens(system.browser("alice"))["access_token"]
    assert system.call(token, address="/hello/").body == b"hello"
    assert_challenge(system.send("GET", "/hello/"), 401, None)


# Addresses that are none.


@pytest.mark.parametrize(
    "address",
    [
        "/oauth2/", "/oauth2", "/oauth2/nothing", "/oauth2/token/more", "/oauth2/login/more",
        "/oauth2/%74oken", "/oauth2//token/", "/oauth2//", "/oauth2/token//", "/oauth2/a%2Fb",
        "/oauth2/%252e", "/oauth2/<script>", "/oauth2/style.css/", "/oauth2////",
    ],
)  # fmt: skip
@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
def test_there_is_nothing_else_in_the_tree(system: System, address: str, accept: str) -> None:
    """HT-10, HT-11: no redirect, nothing repeated unescaped."""
    line = f"GET {address} HTTP/1.1\r\nHost: evil.example\r\nAccept: {accept}\r\n\r\n"
    answer = system.raw(line.encode())
    # Some of these are other ways to write the token endpoint's address, which knows POST alone.
    assert answer.status == (405 if "oken" in address and "more" not in address else 404)
    assert answer.header("location") is None
    assert "evil.example" not in answer.text
    assert "<script>" not in answer.text
    if accept == "application/json":
        assert answer.error == "invalid_request"


@pytest.mark.parametrize("address", ["/oauth2///login/", "/oauth2/login///", "/oauth2///token/"])
def test_slashes_too_many_are_no_redirect(system: System, address: str) -> None:
    """HT-11: Werkzeug would make one, of the Host header."""
    answer = system.raw(f"GET {address} HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode())
    assert answer.status in {200, 404, 405}
    assert answer.header("location") is None


@pytest.mark.parametrize(
    "address", ["/nothing", "/api", "/api/", "/api/more", "/healthz/more", "/%ff", "//", "/api//"]
)
def test_there_is_nothing_else_in_the_site(system: System, address: str) -> None:
    """HT-10: JSON on addresses for clients."""
    answer = system.raw(f"GET {address} HTTP/1.1\r\nHost: as.example\r\n\r\n".encode())
    assert (answer.status, answer.error) == (404, "invalid_request")


@pytest.mark.parametrize("address", ["/oauth2/%ff", "/oauth2/%c3%28", "/oauth2/token/%ff"])
def test_an_address_that_is_no_text(system: System, address: str) -> None:
    """HT-08."""
    answer = system.raw(f"GET {address} HTTP/1.1\r\nHost: as.example\r\n\r\n".encode())
    assert answer.status in {400, 404}


@pytest.mark.parametrize(
    "host",
    [
        b"Host: evil.example\r\n",
        b"Host: as.example\r\nHost: evil.example\r\n",
        b"Host: as.example:99999\r\n",
        b"Host: as.example\r\nX-Forwarded-Host: evil.example\r\n",
        b"Host: as.example\r\nForwarded: host=evil.example;proto=http\r\n",
        b"Host: <script>\r\n",
        b"Host: \xff\r\n",
        b"",
    ],
)
@pytest.mark.parametrize(
    "address", ["/oauth2/login/", "/oauth2/token", "/oauth2//x", "AUTHORIZATION", "/oauth2"]
)
def test_nothing_comes_from_the_host_header(system: System, host: bytes, address: str) -> None:
    """HT-11: no link, redirect, cookie or issuer."""
    app = system.add_client("App")
    address = app.address() if address == "AUTHORIZATION" else address
    answer = system.raw(b"GET " + address.encode() + b" HTTP/1.1\r\n" + host + b"\r\n")
    heads = repr(list(answer.headers.getAllRawHeaders()))
    assert "evil" not in answer.text + heads
    assert "99999" not in answer.text + heads
    assert "Domain" not in heads
    if answer.header("location") is not None:
        assert answer.location.startswith("/oauth2/login/?")


def test_the_public_names() -> None:
    """INTERFACE, section 4."""
    for name in ("AuthorizationServer", "OAuthGuard", "oauth_scope", "IAccessToken", "ITokenVerifier"):
        assert name in djoauth2_twisted.__all__
    for name in djoauth2_twisted.__all__:
        assert hasattr(djoauth2_twisted, name)
