"""My applications: what somebody has let in, and the way to put it out."""

from __future__ import annotations

import pytest
from web_driver import App, Browser, System, assert_token_error

ACCOUNT = "/oauth2/account/"


def test_what_was_let_in(app: App, other_app: App, alice: Browser, bob: Browser) -> None:
    app.tokens(alice, scope="user_info verify")
    other_app.tokens(bob)
    words = alice.get(ACCOUNT).words
    assert "App" in words
    assert "what user_info is for" in words
    assert "what verify is for" in words
    assert "Other" not in words


def test_nothing_was_let_in(app: App, alice: Browser) -> None:
    """A code that nobody has redeemed is no application."""
    app.code(alice)
    assert "not let any application in" in alice.get(ACCOUNT).words


def test_remove_ends_every_token_at_once(app: App, alice: Browser) -> None:
    tokens = app.tokens(alice)
    page = alice.get(ACCOUNT)
    answer = alice.submit(page, "grant")
    assert (answer.status, answer.location) == (303, ACCOUNT)
    assert app.system.call(tokens["access_token"]).status == 401
    assert_token_error(app.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert "not let any application in" in alice.follow(answer).words
    assert alice.submit(page, "grant").status == 303, "once more does no harm"


def test_nobody_removes_anothers(app: App, alice: Browser, bob: Browser) -> None:
    token = app.tokens(alice)["access_token"]
    form = alice.get(ACCOUNT).form("grant")
    answer = bob.post(ACCOUNT, form.hidden)
    assert answer.status == 403
    assert app.system.call(token).status == 200


@pytest.mark.parametrize("name", ["csrf_token", "grant"])
@pytest.mark.parametrize("value", ["", "x", "\udcff"])
def test_a_form_that_is_not_ours(app: App, alice: Browser, name: str, value: str) -> None:
    """UI-04, UI-05."""
    token = app.tokens(alice)["access_token"]
    form = alice.get(ACCOUNT).form("grant")
    assert alice.post(ACCOUNT, {**form.hidden, name: value}).status == 403
    assert app.system.call(token).status == 200


def test_who_is_not_logged_in_is_asked_to(system: System, app: App, alice: Browser) -> None:
    app.tokens(alice)
    stranger = system.browser()
    for answer in (stranger.get(ACCOUNT), stranger.post(ACCOUNT, {"grant": "x"})):
        assert answer.status == 303
        assert answer.location == "/oauth2/login/?next=%2Foauth2%2Faccount%2F"
    back = stranger.log_in("alice", page=stranger.follow(stranger.get(ACCOUNT)))
    assert "App" in stranger.follow(back).words


def test_a_client_that_is_gone(system: System, app: App, alice: Browser) -> None:
    """Its grants went with it."""
    app.tokens(alice)
    system.do(system.administration.delete_client(app.client_id))
    assert "not let any application in" in alice.get(ACCOUNT).words


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods(system: System, method: str) -> None:
    answer = system.send(method, ACCOUNT)
    assert (answer.status, answer.header("allow")) == (405, "GET, POST")


def test_without_tls(system: System) -> None:
    assert system.send("GET", f"http://as.example{ACCOUNT}").status == 400
