"""The events of a server: in its log, and for the application around it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from web_driver import App, Browser, System, basic, wait

from djoauth2_twisted import events as events_module
from djoauth2_twisted.events import (
    LOG_INTERVAL,
    MAX_FIELD_LENGTH,
    MAX_LINES,
    Administered,
    ApplicationRemoved,
    CodeIssued,
    ConsentDenied,
    Events,
    LoggedIn,
    LoginRefused,
    RequestRefused,
    ReuseDetected,
    Throttled,
    TokenRevoked,
    TokensIssued,
)

ALL = (
    Administered,
    ApplicationRemoved,
    CodeIssued,
    ConsentDenied,
    LoggedIn,
    LoginRefused,
    RequestRefused,
    ReuseDetected,
    Throttled,
    TokenRevoked,
    TokensIssued,
)
ADDRESS = "127.0.0.1"


class Heard:
    """A subscriber of all events of a server."""

    def __init__(self, system: System) -> None:
        self.events: list[Any] = []
        for kind in ALL:
            system.server.events.subscribe(kind, self.events.append)

    def one(self, kind: type[Any]) -> Any:
        """The only event of a type."""
        (event,) = [each for each in self.events if isinstance(each, kind)]
        return event

    @property
    def refusals(self) -> list[tuple[str, str, str]]:
        """Endpoint, error and reason of each refused request."""
        refused = [each for each in self.events if isinstance(each, RequestRefused)]
        return [(each.endpoint, each.error, each.reason) for each in refused]


@pytest.fixture
def heard(system: System) -> Heard:
    return Heard(system)


def test_flow_is_published(app: App, system: System, heard: Heard) -> None:
    alice = system.browser("alice")
    tokens = app.exchange(app.code(alice)).json
    tokens = app.refresh(tokens["refresh_token"]).json
    grant = system.grants()[0]
    form = {"token": tokens["access_token"]}
    system.post("/oauth2/revoke/", form, [("Authorization", basic(app.client_id, app.secret))])
    logged_in = heard.one(LoggedIn)
    assert logged_in == LoggedIn(username="alice", address=ADDRESS, request_id=logged_in.request_id)
    assert heard.one(CodeIssued).grant_id == grant.id
    issued = [each for each in heard.events if isinstance(each, TokensIssued)]
    assert [each.grant_type for each in issued] == ["authorization_code", "refresh_token"]
    assert issued[0] == TokensIssued(
        client_id=app.client_id,
        client_name="App",
        username="alice",
        grant_type="authorization_code",
        grant_id=grant.id,
        scopes=("user_info",),
        address=ADDRESS,
        request_id=issued[0].request_id,
    )
    assert len({each.request_id for each in heard.events}) == len(heard.events)
    assert heard.one(TokenRevoked).client_id == app.client_id
    assert heard.refusals == []


def test_reuse_is_published(app: App, alice: Browser, heard: Heard) -> None:
    code = app.code(alice)
    app.exchange(code)
    app.exchange(code)
    event = heard.one(ReuseDetected)
    assert (event.what, event.username, event.client_id) == (
        "An authorization code",
        "alice",
        app.client_id,
    )


def test_denial_and_removal_are_published(app: App, alice: Browser, heard: Heard) -> None:
    app.authorize(alice, decision="Decline")
    assert heard.one(ConsentDenied).username == "alice"
    app.tokens(alice)
    alice.remove(alice.get("/oauth2/account/"))
    assert heard.one(ApplicationRemoved).count == 1


def test_a_token_that_is_sent_as_a_scope_or_redirect_uri_is_not_logged(
    app: App, alice: Browser, heard: Heard
) -> None:
    """U-03: the reason repeats what was asked for, but nothing that may be a secret."""
    token = app.tokens(alice)["access_token"]
    app.ask(alice, scope=f"user_info {token}")
    app.ask(alice, redirect_uri=f"https://{token}.example/cb")
    assert [each[2] for each in heard.refusals[-2:]] == [
        "there is no scope \u2026",
        f"redirect_uri https://\u2026.example/cb is not registered, but {app.redirect_uri}",
    ]


def test_each_way_to_be_wrong_has_its_own_reason(
    system: System, app: App, other_app: App, alice: Browser, heard: Heard
) -> None:
    """More than twelve ways in which a client can be wrong, each told apart by the log alone."""
    unknown = App(system, "no-such-client", "secret", app.redirect_uri)
    wrong = App(system, app.client_id, "wrong secret", app.redirect_uri)
    tokens = app.tokens(alice)
    elsewhere = "https://other.example/cb"
    grant = system.grants()[0].id

    def expired_code() -> None:
        code = app.code(alice)
        system.reactor.advance(601)
        app.exchange(code)

    for attempt, reason in (
        (lambda: wrong.exchange("code"), "the secret is wrong"),
        (lambda: unknown.exchange("code"), "there is no such client"),
        (lambda: app.exchange(None), "code is missing"),
        (lambda: app.exchange("unknown code"), "it is unknown, or its grant has ended"),
        (
            lambda: other_app.exchange(app.code(alice), redirect_uri=app.redirect_uri),
            "it was issued to another client",
        ),
        (
            lambda: app.exchange(app.code(alice), redirect_uri=elsewhere),
            "redirect_uri is not that of the authorization request",
        ),
        (
            lambda: app.token({"grant_type": "password"}),
            "grant_type must be authorization_code or refresh_token",
        ),
        (lambda: app.token({}), "grant_type is missing"),
        (lambda: app.refresh(None), "refresh_token is missing"),
        (
            lambda: app.refresh(tokens["refresh_token"], scope="user_info verify"),
            "the scope exceeds what was granted",
        ),
        (
            lambda: app.token({"grant_type": "refresh_token", "refresh_token": "a", "scope": '"'}),
            "the scope is malformed",
        ),
        (lambda: app.ask(alice, scope="unknown"), "there is no scope unknown"),
        (lambda: app.ask(alice, response_type="token"), "response_type must be code"),
        (lambda: app.ask(alice, state=None), "state is missing"),
        (
            lambda: app.ask(alice, redirect_uri=elsewhere),
            f"redirect_uri {elsewhere} is not registered, but {app.redirect_uri}",
        ),
        (expired_code, "it expired 1 seconds ago"),
    ):
        before = len(heard.refusals)
        attempt()
        assert [each[2] for each in heard.refusals[before:]] == [reason]
    named = [event for event in heard.events if isinstance(event, RequestRefused)]
    assert [event.client_id for event in named[:2]] == [app.client_id, ""]
    assert grant in {event.grant_id for event in named}


def test_disabled_client_has_its_own_reason(system: System, app: App, heard: Heard) -> None:
    """The answer is that to a wrong secret."""
    wait(ensureDeferred(system.server.administration.edit_client(app.client_id, disabled=True)))
    assert app.exchange("code").json["error_description"] == "client authentication failed"
    assert heard.refusals[-1][2] == "the client is disabled"


def test_administration_is_published(system: System, app: App, heard: Heard) -> None:
    wait(ensureDeferred(system.server.administration.edit_client(app.client_id, name="Renamed")))
    assert heard.one(Administered) == Administered(
        actor="the application",
        address="the same process",
        action="client edit",
        subject=app.client_id,
        details={"name": "Renamed"},
    )


def test_line_of_a_refusal_names_client_address_and_reason(app: App, heard: Heard) -> None:
    with capturedLogs() as logged:
        app.exchange("unknown code")
    lines = [formatEvent(event) for event in logged]
    assert (
        f"refused token request of {app.client_id} (App) from {ADDRESS}: "
        f"invalid_grant: it is unknown, or its grant has ended [{heard.one(RequestRefused).request_id}]"
    ) in lines


def test_refused_login_names_only_a_user_that_exists(system: System, heard: Heard) -> None:
    """People type passwords into the field for the name."""
    system.browser().log_in("alice", "wrong password")
    assert heard.one(LoginRefused).username == "alice"
    heard.events.clear()
    with capturedLogs() as logged:
        system.browser().log_in("my secret password", "x")
    assert heard.one(LoginRefused).username == ""
    assert "my secret password" not in str([formatEvent(event) for event in logged])


def test_throttled_login_says_so(system: System, heard: Heard) -> None:
    while system.browser().log_in("alice", "wrong password").status != 429:
        pass
    assert heard.one(Throttled).endpoint == "login"
    assert heard.one(Throttled).reason == "too many wrong passwords for this name from this address"


def test_throttled_client_has_its_own_event(system: System, app: App, heard: Heard) -> None:
    wrong = App(system, app.client_id, "wrong secret", app.redirect_uri)
    while wrong.exchange("code").status != 429:
        pass
    event = heard.one(Throttled)
    assert event.endpoint == "token"
    assert event.reason == "too many repetitions of one wrong secret of this client from this address"
    assert event.retry_after > 0


# The identifier of a request.


def test_error_page_shows_the_identifier_that_the_log_has(system: System, heard: Heard) -> None:
    page = system.browser().get("/oauth2/authorization/?client_id=unknown")
    identifier = page.header("X-Request-ID")
    assert heard.one(RequestRefused).request_id == identifier
    assert f"<code>{identifier}</code>" in page.text


def test_error_of_a_client_has_the_identifier_in_a_header(app: App, heard: Heard) -> None:
    assert app.exchange("code").header("X-Request-ID") == heard.one(RequestRefused).request_id


# What a client sends.


@pytest.mark.parametrize("sent", ["a\nrefused", "\x1b[31m", "\u202e", "\ud800", "x" * 100_000])
def test_field_of_a_line_is_printable_and_bounded(sent: str) -> None:
    with capturedLogs() as logged:
        Events(Clock()).publish(LoginRefused(username=sent, address=ADDRESS, reason="x"))
    line = formatEvent(logged[0])
    assert line.isprintable()
    assert len(line) <= MAX_FIELD_LENGTH + 100


# Receivers, and the log.


def event(number: int = 0) -> LoggedIn:
    return LoggedIn(username=f"user {number}", address=ADDRESS)


def test_receiver_gets_its_type_until_it_unsubscribes() -> None:
    events, got = Events(Clock()), list[Any]()
    events.subscribe(LoggedIn, got.append)
    events.publish(event(1))
    events.publish(LoginRefused(username="", address=ADDRESS, reason="x"))
    events.unsubscribe(LoggedIn, got.append)
    events.publish(event(2))
    assert got == [event(1)]
    with pytest.raises(ValueError, match="not in list"):
        events.unsubscribe(LoggedIn, got.append)


def test_receiver_that_fails_stops_nothing(logged_failures: Any) -> None:
    events, got = Events(Clock()), list[Any]()

    def fail(_: LoggedIn) -> None:
        raise ZeroDivisionError

    events.subscribe(LoggedIn, fail)
    events.subscribe(LoggedIn, got.append)
    events.publish(event())
    assert got == [event()]
    assert len(logged_failures.take(ZeroDivisionError)) == 1


def test_flood_is_counted_and_not_written() -> None:
    """LG-05."""
    clock = Clock()
    events, got = Events(clock), list[Any]()
    events.subscribe(LoggedIn, got.append)
    with capturedLogs() as logged:
        for number in range(MAX_LINES + 50):
            events.publish(event(number))
        events.publish(LoginRefused(username="", address=ADDRESS, reason="x"))
        assert len(logged) == MAX_LINES + 1
        clock.advance(LOG_INTERVAL)
        events.publish(event())
    lines = [formatEvent(each) for each in logged[-2:]]
    assert lines == ["50 more events LoggedIn were not written.", f"'user 0' logged in from {ADDRESS}"]
    assert len(got) == MAX_LINES + 51


def test_events_go_on_when_the_clock_goes_back() -> None:
    clock = Clock()
    clock.advance(1000)
    events = Events(clock)
    for _ in range(MAX_LINES + 1):
        events.publish(event())
    clock.rightNow = 500.0
    with capturedLogs() as logged:
        events.publish(event())
    assert len(logged) == 2


def test_event_has_fields_for_a_log_of_json() -> None:
    with capturedLogs() as logged:
        Events(Clock()).publish(event())
    (written,) = logged
    assert written["event"] == "LoggedIn"
    assert (written["username"], written["address"]) == ("user 0", ADDRESS)


def test_every_event_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "logging.md").read_text("utf-8")
    table = page.partition("## Events")[2].partition("## The identifier")[0]
    named = set(re.findall(r"`([A-Z]\w+)`", table))
    assert named == {
        name for name, kind in vars(events_module).items() if hasattr(kind, "line") and name != "Event"
    }
