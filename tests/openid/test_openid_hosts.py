"""OpenID Connect where the application around the server logs the users in (``who=``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from openid_driver import Provider, ask, consent, follow, log_in_silently
from web_driver import STATE, App, Browser

from djoauth2_twisted.models import ResourceOwner
from djoauth2_twisted.testing.verifier import START

AGAIN = "https://as.example/host/again"


class Host:
    """An application that keeps its logins itself."""

    def __init__(self, auth_time: int | None = START) -> None:
        self.owner: ResourceOwner | None = ResourceOwner("alice", auth_time=auth_time)
        self.sent_back_to: list[str] = []

    def __call__(self, request: Any, returning_to: str) -> ResourceOwner | str:
        if self.owner is None:
            self.sent_back_to.append(returning_to)
        return self.owner or "/host/login"


class HostWithLogins(Host):
    """One that can ask for a new login."""

    def login_again(self, request: Any, returning_to: str) -> str:
        self.sent_back_to.append(returning_to)
        return AGAIN


MakeProvider = Callable[..., Provider]


def made(make_provider: MakeProvider, host: Any, **named: Any) -> tuple[App, Browser]:
    provider = make_provider(who=host, **named)
    return provider.add_client("App"), provider.browser()


@pytest.mark.parametrize("changed", [{"prompt": "login"}, {"max_age": "0"}, {"max_age": "5"}])
def test_without_auth_time_a_demanded_login_is_login_required(
    make_provider: MakeProvider, changed: dict[str, str]
) -> None:
    rp, browser = made(make_provider, HostWithLogins(None))
    answer = ask(rp, browser, **changed)
    assert answer.parameters["error"] == "login_required"
    assert answer.parameters["state"] == STATE


@pytest.mark.parametrize("changed", [{"prompt": "login"}, {"max_age": "0"}])
def test_without_a_way_to_log_in_again_it_is_login_required(
    make_provider: MakeProvider, changed: dict[str, str]
) -> None:
    rp, browser = made(make_provider, Host())
    assert ask(rp, browser, **changed).parameters["error"] == "login_required"
    assert ask(rp, browser, max_age="100").is_consent


@pytest.mark.parametrize(
    "changed", [{"prompt": "login"}, {"max_age": "0"}, {"max_age": "1"}, {"prompt": "select_account"}]
)
def test_the_host_asks_for_a_new_login_once(
    make_provider: MakeProvider, changed: dict[str, str]
) -> None:
    """The browser comes back with a later auth_time, and not before."""
    host = HostWithLogins()
    rp, browser = made(make_provider, host)
    rp.system.advance(3)
    assert rp.ask(browser, scope="openid", **changed).location == AGAIN
    (returning_to,) = host.sent_back_to
    assert browser.get(returning_to).location == AGAIN
    host.owner = ResourceOwner("alice", auth_time=START + 3)
    page = follow(browser, browser.get(host.sent_back_to[-1]))
    assert page.is_consent
    rp.accept(browser, page)
    (grant,) = rp.system.grants()
    assert (grant.auth_time, grant.sid) == (START + 3, None)


def test_an_account_cannot_be_chosen_where_the_host_offers_none(make_provider: MakeProvider) -> None:
    rp, browser = made(make_provider, Host())
    answer = ask(rp, browser, prompt="select_account")
    assert answer.parameters["error"] == "account_selection_required"


def test_prompt_none_is_answered_for_the_hosts_login(make_provider: MakeProvider) -> None:
    host = Host()
    rp, browser = made(make_provider, host)
    assert log_in_silently(rp, browser).parameters["error"] == "consent_required"
    assert rp.exchange(consent(rp, browser)).status == 200
    assert "code" in log_in_silently(rp, browser).parameters
    host.owner = None
    assert log_in_silently(rp, browser).parameters["error"] == "login_required"


class HostWithoutAddress(Host):
    """One whose method is wrong."""

    def login_again(self, request: Any, returning_to: str) -> None: ...


def test_what_login_again_returns_must_be_an_address(
    make_provider: MakeProvider, logged_failures: Any
) -> None:
    host = HostWithoutAddress()
    rp, browser = made(make_provider, host)
    answer = browser.get(rp.address(scope="openid", prompt="login"), faults=True)
    assert answer.status == 500
    (failure,) = logged_failures.take(TypeError)
    assert "login_again" in failure.getErrorMessage()


def test_the_host_ends_its_own_logins(make_provider: MakeProvider) -> None:
    """At its page, if it has one; the client's address is not returned to."""
    rp, browser = made(make_provider, Host())
    assert browser.get("/oauth2/end_session/").status == 404
    rp, browser = made(make_provider, Host(), logout="/host/logout")
    assert browser.get("/oauth2/end_session/").location == "/host/logout"
    sent = f"client_id={rp.client_id}&post_logout_redirect_uri=https%3A%2F%2Fevil.example"
    assert browser.get(f"/oauth2/end_session/?{sent}").status == 400
