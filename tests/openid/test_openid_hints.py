"""Hints to our pages, and parameters that are taken without harm (OpenID Connect Core 1.0, 3.1.2.1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from openid_driver import Provider, again, ask, follow, log_in
from web_driver import App, Browser, System, wait

GERMAN = ("Accept-Language", "de")


def test_oidcc_login_hint(provider: Provider, rp: App) -> None:
    """The name is filled in, and stays when the password was wrong."""
    browser = provider.browser()
    page = ask(rp, browser, login_hint="alice")
    assert 'value="alice"' in page.text
    page = browser.submit(page, "password", username="alice", password="wrong")
    assert 'value="alice"' in page.text
    assert again(rp, browser, page).is_consent


@pytest.mark.parametrize("hint", ['"><script>', "\udcff", "a\nb", "x" * 300])
def test_a_login_hint_does_no_harm(provider: Provider, rp: App, hint: str) -> None:
    """It is shown as text, or not at all."""
    page = ask(rp, provider.browser(), login_hint=hint)
    assert page.status == 200
    assert "<script>" not in page.text


def test_the_request_is_carried_whole_through_the_login(provider: Provider, rp: App) -> None:
    """OPENID.md, failure 11: login_hint together with prompt=login."""
    browser = provider.browser("bob")
    page = ask(rp, browser, login_hint="alice", prompt="login", nonce="of the request", max_age="50")
    rp.accept(browser, again(rp, browser, page))
    (grant,) = provider.grants()
    assert (grant.owner.username, grant.nonce) == ("alice", "of the request")


@pytest.mark.parametrize("locales", ["de", "de-AT", "fr-CA de en", "xx DE"])
def test_oidcc_ui_locales(provider: Provider, rp: App, locales: str) -> None:
    """The pages are in the first language that there is; an unknown one does no harm."""
    browser = provider.browser()
    page = ask(rp, browser, ui_locales=locales)
    assert page.header("content-language") == "de"
    page = browser.submit(page, "password", username="alice", password="wrong")
    assert page.header("content-language") == "de"
    assert again(rp, browser, page).header("content-language") == "de"


@pytest.mark.parametrize("locales", ["fr", "", "<x>", "\udcff", "- de-", "_" * 3000])
def test_without_a_known_language_the_browser_is_asked(
    provider: Provider, rp: App, locales: str
) -> None:
    browser = provider.browser()
    address = rp.address(scope="openid", ui_locales=locales)
    page = browser.get(browser.get(address).location, [GERMAN])
    assert page.header("content-language") == "de"


def test_ui_locales_come_before_the_browser(provider: Provider, rp: App) -> None:
    browser = provider.browser()
    address = rp.address(scope="openid", ui_locales="en")
    page = browser.get(browser.get(address).location, [GERMAN])
    assert page.header("content-language") == "en"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({"claims_locales": "se"}, id="oidcc-claims-locales"),
        pytest.param({"display": "page"}, id="oidcc-display-page"),
        pytest.param({"display": "popup"}, id="oidcc-display-popup"),
        pytest.param({"display": "hologram"}, id="display-unknown"),
        pytest.param({"acr_values": "1 2"}, id="oidcc-ensure-request-with-acr-values-succeeds"),
        pytest.param({"extra": "foobar"}, id="oidcc-ensure-request-with-unknown-parameter-succeeds"),
        pytest.param(
            {"claims": '{"userinfo":{"name":{"essential":true}}}'}, id="oidcc-claims-essential"
        ),
        pytest.param({"claims": "{"}, id="claims-malformed"),
        pytest.param({"registration": "{}"}, id="registration"),
    ],
)
def test_a_parameter_does_no_harm(rp: App, alice: Browser, sent: dict[str, str]) -> None:
    log_in(rp, alice, **sent)
    assert "code" in ask(rp, alice, **sent).parameters


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        pytest.param(
            {"request_uri": "https://app.example/request.jwt"},
            "request_uri_not_supported",
            id="oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported",
        ),
        pytest.param(
            {"request": "eyJhbGciOiJub25lIn0.e30."},
            "request_not_supported",
            id="oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported",
        ),
        pytest.param(
            {"request": "eyJhbGciOiJub25lIn0.eyJyZWRpcmVjdF91cmkiOiJodHRwczovL2V2aWwuZXhhbXBsZSJ9."},
            "request_not_supported",
            id="oidcc-ensure-request-object-with-redirect-uri",
        ),
    ],
)
def test_request_objects_are_refused_to_the_registered_address(
    rp: App, alice: Browser, sent: dict[str, str], error: str
) -> None:
    answer = ask(rp, alice, **sent)
    assert answer.parameters["error"] == error
    assert answer.location.startswith(rp.redirect_uri)


def test_without_the_setting_hints_count_for_nothing() -> None:
    """No byte of the login page differs."""
    system = System()
    app, browser = system.add_client("App"), system.browser()
    page = follow(browser, app.ask(browser, scope="user_info", login_hint="alice", ui_locales="de"))
    assert "alice" not in page.text.replace("login_hint=alice", "")
    assert page.header("content-language") == "en"
    openid = follow(browser, browser.get("/oauth2/login/?next=/x%3Fscope%3Dopenid%26ui_locales%3Dde"))
    assert openid.header("content-language") == "en"
    wait(system.server.stopService())


def test_a_login_page_of_another_path_takes_no_hints(provider: Provider) -> None:
    """Only what an authentication request says counts, and a malformed one does no harm."""
    browser = provider.browser()
    for following in ("/x%3Flogin_hint%3Dalice", "/x%3Fscope%3Dopenid%26%25", "/x%3F" + "a%26" * 200):
        page = browser.get(f"/oauth2/login/?next={following}")
        assert page.status == 200
        assert 'value="alice"' not in page.text


def test_a_form_of_openid_alone_is_no_request_of_another_scope(
    make_provider: Callable[..., Provider],
) -> None:
    """Without ``openid`` among the scopes, the parameters count for nothing."""
    provider = make_provider(remember_consent=False)
    app, alice = provider.add_client("App"), provider.browser("alice")
    assert app.ask(alice, prompt="none", max_age="x").is_consent
