"""What has a time is alive just before its end, and dead exactly at it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock
from web_driver import (
    ISSUER,
    App,
    Browser,
    System,
    assert_challenge,
    assert_token_error,
    tokens_of,
    wait,
)

from djoauth2_twisted import Settings
from djoauth2_twisted.stores.memory import MemoryRegistry
from djoauth2_twisted.web.sessions import Browser as SessionBrowser
from djoauth2_twisted.web.sessions import Sessions

MakeSystem = Callable[..., System]

JUST_BEFORE, AT, AFTER = -0.001, 0, 1000
moments = pytest.mark.parametrize(
    ("moment", "alive"),
    [(JUST_BEFORE, True), (AT, False), (AFTER, False)],
    ids=["before", "at", "after"],
)


@moments
@pytest.mark.parametrize("lifetime", [600, 1])
def test_a_code_expires(make_system: MakeSystem, lifetime: int, moment: float, alive: bool) -> None:
    """CG-04; RFC 6749, section 4.1.2."""
    system = make_system(Settings(authorization_code_lifetime=lifetime))
    app = system.add_client("App")
    code = app.code(system.browser("alice"))
    system.advance(lifetime + moment)
    if alive:
        assert tokens_of(app.exchange(code))
    else:
        assert_token_error(app.exchange(code), 400, "invalid_grant")


@moments
@pytest.mark.parametrize("lifetime", [3600, 1])
def test_an_access_token_expires(
    make_system: MakeSystem, lifetime: int, moment: float, alive: bool
) -> None:
    """BG-03, CG-20: `expires_in` says when."""
    system = make_system(Settings(access_token_lifetime=lifetime))
    said = system.add_client("App").tokens(system.browser("alice"))
    assert said["expires_in"] == lifetime
    system.advance(lifetime + moment)
    answer = system.call(said["access_token"])
    if alive:
        assert answer.status == 200
    else:
        assert_challenge(answer, 401, "invalid_token")


@moments
def test_a_refresh_token_expires(make_system: MakeSystem, moment: float, alive: bool) -> None:
    """RT-10; INTERFACE, section 1: its time begins again with each use."""
    system = make_system(Settings(refresh_token_lifetime=50, access_token_lifetime=10))
    app = system.add_client("App")
    token = app.tokens(system.browser("alice"))["refresh_token"]
    for _ in range(3):
        system.advance(49)
        token = tokens_of(app.refresh(token))["refresh_token"]
    system.advance(50 + moment)
    if alive:
        assert tokens_of(app.refresh(token))
    else:
        assert_token_error(app.refresh(token), 400, "invalid_grant")


def test_an_expired_access_token_can_be_refreshed(system: System, app: App, alice: Browser) -> None:
    said = app.tokens(alice)
    system.advance(3600)
    again = tokens_of(app.refresh(said["refresh_token"]))
    assert system.call(again["access_token"]).status == 200


@moments
def test_a_login_expires(system: System, app: App, alice: Browser, moment: float, alive: bool) -> None:
    """Twelve hours."""
    system.advance(12 * 3600 + moment)
    answer = app.ask(alice)
    assert answer.is_consent is alive
    assert alive or answer.location.startswith("/oauth2/login/")


@moments
def test_a_consent_page_expires(
    system: System, app: App, alice: Browser, moment: float, alive: bool
) -> None:
    """An hour; then it is refused, and nothing is granted."""
    page = app.ask(alice)
    system.advance(3600 + moment)
    answer = alice.submit(page, "user_action", user_action="Accept")
    assert answer.status == (303 if alive else 403)
    assert bool(system.grants()) is alive


@moments
def test_a_login_page_expires(system: System, moment: float, alive: bool) -> None:
    """An hour; then it is shown again, with where the browser wanted to go."""
    browser = system.browser()
    page = browser.get("/oauth2/login/?next=/x")
    system.advance(3600 + moment)
    answer = browser.log_in("alice", page=page)
    if alive:
        assert answer.location == "/x"
    else:
        assert answer.status == 403
        assert browser.log_in("alice", page=answer).location == "/x"


@moments
def test_a_logout_page_expires(system: System, alice: Browser, moment: float, alive: bool) -> None:
    page = alice.get("/oauth2/logout/")
    system.advance(3600 + moment)
    assert alice.submit(page, "csrf_token").status == (303 if alive else 403)


def test_a_page_from_the_future_is_none() -> None:
    """F-26: one that another process made, whose clock is ahead, is not good for longer."""
    registry, browser = MemoryRegistry(), SessionBrowser("s" * 30, is_new=True)
    ahead, behind = Clock(), Clock()
    ahead.advance(10)
    token = Sessions(ahead, registry, Settings(), ISSUER, None).form_token(browser)
    sessions = Sessions(behind, registry, Settings(), ISSUER, None)
    assert sessions.check_form_token(browser, token) is None
    behind.advance(10)
    assert sessions.check_form_token(browser, token) is not None


def test_a_clock_put_back_revives_no_page(system: System, app: App, alice: Browser) -> None:
    """F-26: what was refused as expired stays refused."""
    page = app.ask(alice)
    system.advance(3600)
    for _ in range(2):
        assert alice.submit(page, "user_action", user_action="Accept").status == 403
        system.reactor.rightNow -= 3600


def test_a_clock_put_back_revives_no_code_and_no_token(system: System, app: App, alice: Browser) -> None:
    """F-26: what was refused as expired stays refused, while what is new lives as long as it should."""
    old = app.code(alice)
    tokens = tokens_of(app.exchange(app.code(alice)))
    system.advance(3600)
    for _ in range(2):
        assert system.call(tokens["access_token"]).status == 401
        assert_token_error(app.exchange(old), 400, "invalid_grant")
        system.reactor.rightNow -= 3600
    new = tokens_of(app.refresh(tokens["refresh_token"]))
    assert system.call(new["access_token"]).status == 200


def test_a_clock_put_back_revives_nothing(system: System, app: App, alice: Browser) -> None:
    """F-26: what was used stays used."""
    code = app.code(alice)
    tokens_of(app.exchange(code))
    system.reactor.rightNow -= 3600
    assert_token_error(app.exchange(code), 400, "invalid_grant")


def test_the_service_prunes_expired_grants(system: System, app: App, alice: Browser) -> None:
    """AB-02: the service prunes every minute."""
    app.code(alice)
    assert len(system.grants()) == 1
    system.advance(3599)
    assert len(system.grants()) == 1
    system.advance(61)
    assert system.grants() == []
    for _ in range(12 * 60):
        system.advance(60)
    assert wait(system.registry.prune_sessions(2**40, 10)) == 0
