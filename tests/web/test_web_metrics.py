"""What a server counts and times, as Prometheus reads it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, fail
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from web_driver import App, System, basic, wait
from zope.interface import implementer_only

import djoauth2_twisted.metrics
from djoauth2_twisted import AuthorizationServer, OAuthGuard
from djoauth2_twisted.errors import ConfigurationError, TemporarilyUnavailable
from djoauth2_twisted.interfaces import IInvalidationFeed, IRegistry, ITokenStore
from djoauth2_twisted.metrics import Metrics
from djoauth2_twisted.stores.contract import new_grant
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore

MakeSystem = Callable[..., System]

REQUESTS = "djoauth2_requests_total"


class Measured:
    """A server with metrics, whose site is watched."""

    def __init__(self, make_system: MakeSystem, **named: Any) -> None:
        self.metrics = Metrics()
        self.system = make_system(metrics=self.metrics, **named)
        self.metrics.watch_site(self.system.site)

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of a metric by the values of their labels, which are sorted by name."""
        families = text_string_to_metric_families(self.metrics.text().decode())
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
            if sample.name == name
        }

    def value(self, name: str, *labels: str) -> float:
        return self.values(name).get(labels, 0.0)


@pytest.fixture
def measured(make_system: MakeSystem) -> Measured:
    return Measured(make_system)


@pytest.fixture
def system(measured: Measured) -> System:
    return measured.system


# Off.


def test_server_without_metrics_is_as_it_was(make_system: MakeSystem) -> None:
    """Nothing stands between the server and its stores, and the site has its own methods."""
    plain = make_system()
    assert plain.server.tokens is plain.tokens
    assert plain.server.registry is plain.registry
    assert not {"getResourceFor", "log"} & set(vars(plain.site))


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'djoauth2-twisted\[metrics\]'") as raised:
        importlib.reload(djoauth2_twisted.metrics)
    assert raised.value.about == "metrics_port"
    monkeypatch.undo()
    importlib.reload(djoauth2_twisted.metrics)


# Requests.


def test_requests_are_counted_by_endpoint_method_and_status(measured: Measured) -> None:
    system = measured.system
    system.send("GET", "/oauth2/login/")
    system.send("GET", "/oauth2/login")
    system.send("POST", "/oauth2/token/")
    system.send("GET", "/api/user_info/")
    system.send("GET", "/healthz")
    system.send("HEAD", "/livez")
    system.send("GET", "/.well-known/oauth-authorization-server")
    system.send("GET", "/oauth2/style.css")
    system.send("GET", "/oauth2/admin/clients/")
    assert measured.values(REQUESTS) == {
        ("login", "GET", "200"): 2,
        ("token", "POST", "400"): 1,
        ("guarded", "GET", "401"): 1,
        ("healthz", "GET", "200"): 1,
        ("livez", "HEAD", "200"): 1,
        ("well_known", "GET", "200"): 1,
        ("style", "GET", "200"): 1,
        ("admin", "GET", "303"): 1,
    }
    assert measured.value("djoauth2_request_duration_seconds_count", "login") == 2
    assert measured.value("djoauth2_request_duration_seconds_bucket", "login", "+Inf") == 2


def test_strangers_choose_no_label(measured: Measured) -> None:
    """Neither by a path nor by a method: each new one would cost memory without end."""
    for number in range(20):
        measured.system.send("GET", f"/odd{number}")
        measured.system.send("GET", f"/oauth2/odd{number}/")
        measured.system.send(f"ODD{number}", "/oauth2/login/")
    assert measured.values(REQUESTS) == {("other", "GET", "404"): 40, ("login", "other", "405"): 20}
    assert "odd" not in measured.metrics.text().decode().lower()


def test_request_that_is_refused_unread_is_counted(measured: Measured) -> None:
    measured.system.raw(b"GET /healthz?" + b"&" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", ours=False)
    assert measured.values(REQUESTS) == {("other", "GET", "400"): 1}


def test_client_that_hangs_up_is_counted(make_system: MakeSystem) -> None:
    class Slow(Resource):
        isLeaf = True

        def render_GET(self, request: Any) -> Any:
            return NOT_DONE_YET

    def root(server: AuthorizationServer) -> Any:
        tree = server.root()
        tree.putChild(b"slow", Slow())
        return tree

    measured = Measured(make_system, root=root)
    wire = measured.system.wire()
    wire.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    assert measured.value("djoauth2_requests_in_flight") == 1
    wire.hang_up()
    assert measured.value("djoauth2_requests_in_flight") == 0
    assert measured.values(REQUESTS) == {("other", "GET", "hung up"): 1}


def test_guarded_resource_of_an_application_is_counted(make_system: MakeSystem) -> None:
    """The site of an application around the server, with other resources of its own."""

    def root(server: AuthorizationServer) -> Any:
        tree = Resource()
        tree.putChild(b"oauth2", server.resource())
        tree.putChild(b"files", OAuthGuard(Resource(), server))
        return tree

    measured = Measured(make_system, root=root, embedded=True)
    measured.system.send("GET", "/files/a")
    measured.system.send("GET", "/oauth2/login/")
    measured.system.send("GET", "/else")
    assert measured.values(REQUESTS) == {
        ("guarded", "GET", "401"): 1,
        ("login", "GET", "200"): 1,
        ("other", "GET", "404"): 1,
    }


# Outcomes.


def test_outcomes_of_a_flow_are_counted(measured: Measured, app: App) -> None:
    system = measured.system
    alice = system.browser("alice")
    code = app.code(alice)
    tokens = app.exchange(code).json
    tokens = app.refresh(tokens["refresh_token"]).json
    client = [("Authorization", basic(app.client_id, app.secret))]
    system.post("/oauth2/revoke/", {"token": tokens["access_token"]}, client)
    app.exchange(code)
    app.exchange("unknown", auth=None)
    system.browser().log_in("alice", "wrong")
    for name, labels, count in (
        ("logins_total", (), 1),
        ("logins_refused_total", (), 1),
        ("codes_issued_total", (), 1),
        ("tokens_issued_total", ("authorization_code",), 1),
        ("tokens_issued_total", ("refresh_token",), 1),
        ("tokens_revoked_total", (), 1),
        ("reuse_detected_total", (), 1),
        ("requests_refused_total", ("token", "invalid_grant"), 1),
        ("requests_refused_total", ("token", "invalid_client"), 1),
    ):
        assert (name, measured.value(f"djoauth2_{name}", *labels)) == (name, count)


def test_counters_begin_at_zero(measured: Measured) -> None:
    """So that Prometheus sees the first increase."""
    assert measured.values("djoauth2_tokens_issued_total") == {
        ("authorization_code",): 0,
        ("refresh_token",): 0,
    }
    assert measured.values("djoauth2_reuse_detected_total") == {(): 0}


def test_throttled_requests_are_counted(measured: Measured, app: App) -> None:
    for _ in range(40):
        app.exchange("unknown", auth=None)
        measured.system.post(
            "/oauth2/token/",
            app.code_form("code"),
            [("Authorization", basic(app.client_id, "wrong"))],
        )
    assert measured.value(REQUESTS, "token", "POST", "429") > 0


def test_no_secret_and_no_name_is_shown(measured: Measured, app: App) -> None:
    alice = measured.system.browser("alice")
    tokens = app.exchange(app.code(alice)).json
    measured.system.call(tokens["access_token"])
    measured.system.browser().log_in("alice", "wrong password")
    text = measured.metrics.text().decode()
    for secret in (
        *measured.system.oracle.secrets,
        app.client_id,
        "alice",
        "wrong password",
        "127.0.0.1",
    ):
        assert secret not in text


# State.


def test_cache_is_shown(measured: Measured, app: App) -> None:
    token = app.tokens(measured.system.browser("alice"))["access_token"]
    for _ in range(3):
        assert measured.system.call(token).status == 200
    assert measured.value("djoauth2_access_token_cache_entries") == 1
    assert measured.value("djoauth2_access_token_cache_misses_total") == 1
    assert measured.value("djoauth2_access_token_cache_hits_total") == 2


def test_readiness_and_pruning_are_shown(make_system: MakeSystem) -> None:
    measured = Measured(make_system, started=False)
    assert measured.value("djoauth2_ready") == 0
    assert measured.values("djoauth2_prune_last_timestamp_seconds") == {}
    measured.system.start()
    assert measured.value("djoauth2_ready") == 1
    first = measured.value("djoauth2_prune_last_timestamp_seconds")
    assert first == measured.system.reactor.seconds()
    measured.system.advance(120)
    assert measured.value("djoauth2_prune_last_timestamp_seconds") == first + 120
    assert measured.value("djoauth2_prune_round_seconds") == 0


def test_round_of_pruning_that_goes_on_is_shown(make_system: MakeSystem) -> None:
    class Slow(MemoryTokenStore):
        def prune(self, now: int, limit: int) -> Deferred[Any]:
            return Deferred()

    measured = Measured(make_system, stores=(None, MemoryRegistry(), Slow()))
    measured.system.advance(50)
    assert measured.value("djoauth2_prune_round_seconds") == 50
    assert measured.values("djoauth2_prune_last_timestamp_seconds") == {}


BACKLOG = "djoauth2_prune_backlog_rows"


def test_backlog_of_pruning_is_counted_each_minute(make_system: MakeSystem) -> None:
    """Also during a round that does not end."""

    class Stuck(MemoryTokenStore):
        def prune(self, now: int, limit: int) -> Deferred[Any]:
            return Deferred()

    measured = Measured(make_system, stores=(None, MemoryRegistry(), Stuck()))
    system = measured.system
    for minutes in (1, 2):
        wait(system.tokens.add_code(new_grant(expires=int(system.reactor.seconds()) + 60 * minutes)))
    assert measured.values(BACKLOG) == {}
    for expired in (1, 2, 2):
        system.advance(60)
        assert measured.value(BACKLOG, "grants") == expired
    kinds = {kind for (kind,) in measured.values(BACKLOG)}
    assert kinds == {
        "answers", "events", "grants", "leases", "sessions", "statistics", "throttles"
    }  # fmt: skip


def test_only_the_server_that_prunes_counts_the_backlog(make_system: MakeSystem) -> None:
    measured = Measured(make_system)
    measured.system.advance(60)
    assert measured.values(BACKLOG) != {}
    now = int(measured.system.reactor.seconds())
    wait(measured.system.registry.acquire_lease("prune", "another server", now + 9999, now + 9999))
    measured.system.advance(120)
    assert measured.values(BACKLOG) == {}


def test_store_that_cannot_count_has_no_backlog(make_system: MakeSystem) -> None:
    """A store that does not answer, and an application's own store without `IBacklog`."""

    class Away(MemoryTokenStore):
        def count_expired(self, cutoffs: Mapping[str, int]) -> Deferred[Any]:
            return fail(TemporarilyUnavailable())

    @implementer_only(ITokenStore)
    class Plain(MemoryTokenStore):
        pass

    for tokens, kinds in ((Away(), set()), (Plain(), {"sessions"})):
        measured = Measured(make_system, stores=(None, MemoryRegistry(), tokens))
        measured.system.advance(60)
        found = {kind for (kind,) in measured.values(BACKLOG)}
        assert found & {"sessions", "grants"} == kinds


def test_waiting_passwords_are_shown(measured: Measured) -> None:
    hashing = [measured.system.server.passwords.hash("a password", key="root") for _ in range(5)]
    assert measured.value("djoauth2_passwords_running") == 2
    assert measured.values("djoauth2_passwords_waiting") == {
        ("administration",): 3,
        ("acquaintances",): 0,
        ("strangers",): 0,
    }
    for each in hashing:
        wait(each)
    assert measured.value("djoauth2_passwords_running") == 0


def test_connections_of_a_database_are_shown(make_system: MakeSystem, tmp_path: Any) -> None:
    measured = Measured(make_system, url=f"sqlite:///{tmp_path / 'oauth.db'}")
    for _ in range(2):
        # The write lasts until the reactor has its answer.
        writing = measured.system.registry.acquire_lease("x", "y", 1, 1)
        waiting = measured.system.registry.acquire_lease("z", "y", 1, 1)
        assert measured.value("djoauth2_pool_busy", "write") == 1
        assert measured.value("djoauth2_pool_waiting", "write") == 1
        wait(writing)
        wait(waiting)
    assert measured.value("djoauth2_pool_busy", "write") == 0
    assert measured.value("djoauth2_pool_connections", "write") == 1
    assert measured.values("djoauth2_invalidation_lag_seconds") == {}
    measured.system.server.tokens.is_current()  # type: ignore[attr-defined]
    wait(measured.system.tokens.find_grant("no grant"))
    lags = measured.values("djoauth2_invalidation_lag_seconds")
    assert all(0 <= lag < 60 for lag in lags.values())


# The stores.


def test_steps_are_timed_by_verb(measured: Measured, app: App) -> None:
    app.tokens(measured.system.browser("alice"))
    counts = measured.values("djoauth2_store_duration_seconds_count")
    assert counts["tokens", "add_code"] == 1
    assert counts["tokens", "redeem_code"] == 1
    assert counts["registry", "begin_attempt"] >= 1
    assert measured.values("djoauth2_store_failures_total") == {}


def test_failed_steps_are_counted(make_system: MakeSystem) -> None:
    class Failing(MemoryTokenStore):
        def find_access_token(self, access_digest: bytes) -> Deferred[Any]:
            return fail(TemporarilyUnavailable())

    measured = Measured(make_system, stores=(None, MemoryRegistry(), Failing()))
    measured.system.send("GET", "/healthz", None, (), True)
    assert measured.values("djoauth2_store_failures_total") == {("tokens", "find_access_token"): 1}
    assert measured.value("djoauth2_store_duration_seconds_count", "tokens", "find_access_token") == 1


def test_step_that_is_cancelled_is_neither_timed_nor_a_failure(make_system: MakeSystem) -> None:
    class Hanging(MemoryTokenStore):
        def find_grant(self, grant_id: str) -> Deferred[Any]:
            return Deferred()

    measured = Measured(make_system, stores=(None, MemoryRegistry(), Hanging()))
    finding = measured.system.server.tokens.find_grant("x")
    finding.addErrback(lambda _: None)
    finding.cancel()
    assert measured.value("djoauth2_store_duration_seconds_count", "tokens", "find_grant") == 0
    assert measured.values("djoauth2_store_failures_total") == {}


def test_timed_stores_provide_what_the_stores_provide(measured: Measured) -> None:
    server = measured.system.server
    assert ITokenStore.providedBy(server.tokens)
    assert IInvalidationFeed.providedBy(server.tokens)
    assert IRegistry.providedBy(server.registry)
    assert not IRegistry.providedBy(server.tokens)


# One for each server.


def test_two_servers_have_metrics_of_their_own(make_system: MakeSystem) -> None:
    first, second = Measured(make_system), Measured(make_system)
    first.system.send("GET", "/healthz")
    assert first.value(REQUESTS, "healthz", "GET", "200") == 1
    assert second.values(REQUESTS) == {}
    with pytest.raises(ConfigurationError, match="make one for each"):
        make_system(metrics=first.metrics)


# The resource.


def test_resource_answers_get_and_head_alone(make_system: MakeSystem) -> None:
    metrics = Metrics()

    def root(server: AuthorizationServer) -> Any:
        tree = server.root()
        tree.putChild(b"metrics", metrics.resource())
        return tree

    system = make_system(metrics=metrics, root=root)
    answer = system.send("GET", "/metrics")
    assert answer.status == 200
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.header("cache-control") == "no-store"
    assert b"\ndjoauth2_ready 1.0\n" in answer.body
    assert b"_created" not in answer.body
    head = system.send("HEAD", "/metrics")
    assert (head.status, head.body) == (200, b"")
    assert system.send("POST", "/metrics").status == 405
    assert system.send("GET", "/metrics/more").status == 404
