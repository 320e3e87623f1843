"""Authentication requests of users who have, or must have, a second factor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from argon2 import PasswordHasher
from openid_driver import Provider, ask, follow, is_login_page, log_in, log_in_silently
from test_web_second_factor import set_up
from web_driver import PASSWORDS, App, Browser

from djoauth2_twisted import credentials


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_hasher", PasswordHasher(1, 8, 1))


@pytest.fixture
def provider(make_provider: Callable[..., Provider]) -> Provider:
    """One whose users are those of the database."""
    return make_provider(checked_in_memory=False)


def test_a_login_that_is_demanded_ends_with_the_second_step(
    provider: Provider, rp: App, alice: Browser
) -> None:
    """Not after the password alone. The step keeps the request, and its language."""
    mine = set_up(alice)
    log_in(rp, alice)
    provider.advance(40)
    page = ask(rp, alice, prompt="login", ui_locales="de")
    assert is_login_page(page)
    step = follow(alice, alice.log_in("alice", page=page))
    assert step.header("content-language") == "de"
    assert is_login_page(ask(rp, alice, prompt="login"))
    answer = follow(alice, alice.submit(step, "code", code=mine.code()))
    assert rp.exchange(answer.parameters["code"]).status == 200
    newest = max(provider.grants(), key=lambda grant: grant.created)
    assert newest.auth_time == int(provider.reactor.seconds())


def test_a_user_who_must_set_one_up_is_not_logged_in_silently(
    make_provider: Callable[..., Provider],
) -> None:
    """OpenID Connect Core 1.0, section 3.1.2.6: an error, and never a page."""
    provider = make_provider(checked_in_memory=False, require_second_factor="all")
    rp, browser = provider.add_client("App"), provider.browser()
    browser.log_in("alice")
    assert log_in_silently(rp, browser).parameters["error"] == "login_required"


@pytest.fixture
def told(provider: Provider) -> App:
    """A client that takes logout tokens."""
    return provider.add_client("Told", backchannel_logout_uri="https://told.example/bye")


def notices(provider: Provider) -> int:
    """How many notices of logouts are kept."""
    return len(provider.registry._notices)


def test_a_new_second_factor_tells_the_clients_of_the_logins_that_it_ends(
    provider: Provider, told: App, alice: Browser
) -> None:
    """OpenID Connect Back-Channel Logout 1.0: not of the login that stays."""
    log_in(told, alice)
    log_in(told, provider.browser("alice"), prompt="consent")
    set_up(alice)
    assert notices(provider) == 1


def test_a_second_factor_that_is_reset_tells_the_clients_of_all_logins(
    provider: Provider, told: App, alice: Browser
) -> None:
    """By an administrator."""
    set_up(alice)
    log_in(told, alice)
    provider.do(provider.server.administration.reset_second_factor("alice"))
    assert notices(provider) == 1
    assert is_login_page(ask(told, alice))


def test_a_new_password_that_is_refused_ends_no_login(
    provider: Provider, told: App, alice: Browser
) -> None:
    log_in(told, provider.browser("alice"))
    page = alice.get("/oauth2/account/password/")
    sent = {"old_password": PASSWORDS["alice"], "password": "short", "repeated": "short"}
    assert alice.submit(page, "old_password", **sent).status == 400
    assert notices(provider) == 0
