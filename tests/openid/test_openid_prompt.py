"""``prompt`` and ``max_age`` (OpenID Connect Core 1.0, section 3.1.2.1)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from openid_driver import (
    NONCE,
    Provider,
    again,
    ask,
    consent,
    follow,
    is_login_page,
    log_in,
    log_in_silently,
)
from web_driver import CHALLENGE, STATE, VERIFIER, Answer, App, Browser, assert_not_sent, encoded, wait

from djoauth2_twisted.key_file import in_memory
from djoauth2_twisted.testing.verifier import START
from djoauth2_twisted.web.authentication import MARK, MARK_LIFETIME
from djoauth2_twisted.web.codes import MAX_OF_LOGIN


def next_of(answer: Answer) -> str:
    """The address that the browser returns to after the login."""
    return parse_qs(urlsplit(answer.location).query)["next"][0]


def auth_time(provider: Provider) -> int | None:
    """Of the newest grant."""
    return max(provider.grants(), key=lambda grant: grant.created).auth_time


def test_oidcc_prompt_none_not_logged_in(provider: Provider, rp: App) -> None:
    """A redirect with login_required, and the state as it was sent."""
    state = "s" * 128
    answer = log_in_silently(rp, provider.browser(), state=state)
    assert answer.parameters["error"] == "login_required"
    assert answer.location.startswith(rp.redirect_uri)


def test_oidcc_prompt_none_logged_in(provider: Provider, rp: App, alice: Browser) -> None:
    """It succeeds after an earlier consent, and auth_time is the same."""
    assert log_in_silently(rp, alice).parameters["error"] == "consent_required"
    log_in(rp, alice)
    first = auth_time(provider)
    provider.advance(100)
    code = log_in_silently(rp, alice).parameters["code"]
    assert rp.exchange(code).status == 200
    assert auth_time(provider) == first == START


def test_oidcc_prompt_login(provider: Provider, rp: App, alice: Browser) -> None:
    """The user logs in again, and the second auth_time is later."""
    log_in(rp, alice)
    provider.advance(2)
    page = ask(rp, alice, prompt="login")
    answer = again(rp, alice, page)
    assert rp.exchange(answer.parameters["code"]).status == 200
    assert auth_time(provider) == START + 2


def test_oidcc_max_age_1(provider: Provider, rp: App, alice: Browser) -> None:
    """The user logs in again, and the second auth_time is later."""
    log_in(rp, alice)
    provider.advance(2)
    page = ask(rp, alice, max_age="1")
    answer = again(rp, alice, page)
    assert rp.exchange(answer.parameters["code"]).status == 200
    assert auth_time(provider) == START + 2


def test_oidcc_max_age_10000(provider: Provider, rp: App, alice: Browser) -> None:
    """No login page, and the same auth_time."""
    log_in(rp, alice)
    provider.advance(2)
    answer = ask(rp, alice, max_age="10000")
    assert rp.exchange(answer.parameters["code"]).status == 200
    assert auth_time(provider) == START


@pytest.mark.parametrize(
    "changed", [{"prompt": "login"}, {"max_age": "0"}, {"prompt": "login consent", "max_age": "0"}]
)
def test_a_login_that_is_demanded_is_asked_for_once(
    provider: Provider, rp: App, alice: Browser, changed: dict[str, str]
) -> None:
    """Also within one second, with a consent page after it that stays open for a while."""
    page = again(rp, alice, ask(rp, alice, **changed))
    assert page.is_consent
    provider.advance(300)
    assert rp.exchange(rp.accept(alice, page)).status == 200
    assert auth_time(provider) == START


@pytest.mark.parametrize("changed", [{"prompt": "login"}, {"max_age": "0"}])
def test_a_login_in_an_empty_browser_is_the_one_demanded(
    provider: Provider, rp: App, changed: dict[str, str]
) -> None:
    browser = provider.browser()
    assert again(rp, browser, ask(rp, browser, **changed)).is_consent


def test_without_a_new_login_the_request_is_not_answered(
    provider: Provider, rp: App, alice: Browser
) -> None:
    """ "Go on" on the login page, and the address itself, lead back to it."""
    log_in(rp, alice)
    returning_to = next_of(rp.ask(alice, scope="openid", prompt="login"))
    for _ in range(3):
        assert is_login_page(follow(alice, alice.get(returning_to)))


def test_each_request_demands_its_own_login(provider: Provider, rp: App, alice: Browser) -> None:
    """A mark is bound to its request, and expires."""
    log_in(rp, alice)
    returning_to = next_of(rp.ask(alice, scope="openid", prompt="login"))
    alice.log_in("alice", page=alice.get("/oauth2/login/?next=/x"))
    assert "code" in follow(alice, alice.get(returning_to)).parameters
    other = returning_to.replace(f"state={STATE}", "state=another")
    assert is_login_page(follow(alice, alice.get(other)))
    assert is_login_page(ask(rp, alice, prompt="login"))
    provider.advance(MARK_LIFETIME + 10)
    assert is_login_page(follow(alice, alice.get(returning_to)))


@pytest.mark.parametrize("mark", ["", "x", "AQ" * 60, "é", "a" * 5000, "[]"])
def test_a_browser_cannot_make_a_mark(rp: App, alice: Browser, mark: str) -> None:
    log_in(rp, alice)
    assert is_login_page(ask(rp, alice, prompt="login", **{MARK: mark}))
    assert "code" in ask(rp, alice, **{MARK: mark}).parameters


def test_a_mark_of_another_key_file_does_not_count(provider: Provider, rp: App, alice: Browser) -> None:
    returning_to = next_of(rp.ask(alice, scope="openid", prompt="login"))
    alice.log_in("alice", page=alice.get("/oauth2/login/?next=/x"))
    ring = provider.server.key_ring
    assert ring is not None
    assert ring._sealed is not None
    ring._sealed.file = in_memory()
    assert is_login_page(follow(alice, alice.get(returning_to)))


def test_another_account_may_log_in(provider: Provider, rp: App, alice: Browser) -> None:
    """By "Use another account" after a login that was demanded: the user is not asked twice."""
    page = again(rp, alice, ask(rp, alice, prompt="login"))
    login = follow(alice, alice.submit(page, "user_action", user_action="Change"))
    page = again(rp, alice, login, "bob")
    assert page.is_consent
    rp.accept(alice, page)
    assert [grant.owner.username for grant in provider.grants()] == ["bob"]


def test_prompt_consent_asks_again(rp: App, alice: Browser) -> None:
    log_in(rp, alice)
    assert ask(rp, alice, prompt="consent").is_consent
    log_in(rp, alice, prompt="consent")
    assert "code" in ask(rp, alice).parameters


def test_select_account_shows_the_account_and_offers_others(rp: App, alice: Browser) -> None:
    log_in(rp, alice)
    page = ask(rp, alice, prompt="select_account")
    assert page.is_consent
    assert "Change" in page.text
    rp.accept(alice, page)


@pytest.mark.parametrize(
    "changed",
    [{"prompt": "none login"}, {"prompt": "consent none"}, {"max_age": "-1"}, {"max_age": "soon"}],
)
def test_a_malformed_request_is_refused_to_the_client(
    rp: App, alice: Browser, changed: dict[str, str]
) -> None:
    answer = ask(rp, alice, **changed)
    assert answer.parameters["error"] == "invalid_request"
    assert answer.parameters["state"] == STATE


@pytest.mark.parametrize("prompt", ["create", "LOGIN", "login-hint"])
def test_an_unknown_prompt_is_ignored(rp: App, alice: Browser, prompt: str) -> None:
    assert ask(rp, alice, prompt=prompt).is_consent


@pytest.mark.parametrize(
    "changed",
    [{"redirect_uri": "https://evil.example/cb"}, {"client_id": "unknown"}, {"redirect_uri": ""}],
)
def test_client_and_redirect_uri_come_before_prompt(
    provider: Provider, rp: App, changed: dict[str, str]
) -> None:
    """OPENID.md, failure 6: nothing is sent to an address that is not registered."""
    two = provider.add_client("Two", "https://two.example/a", "https://two.example/b")
    for prompt in ("none", "none login"):
        answer = two.ask(provider.browser(), scope="openid", prompt=prompt, **changed)
        assert_not_sent(answer)


def test_max_age_is_not_met_silently(provider: Provider, rp: App, alice: Browser) -> None:
    log_in(rp, alice)
    provider.advance(2)
    for max_age in ("0", "1"):
        assert log_in_silently(rp, alice, max_age=max_age).parameters["error"] == "login_required"
    assert "code" in log_in_silently(rp, alice, max_age="2").parameters


def test_oidcc_ensure_post_request_succeeds(provider: Provider, rp: App, alice: Browser) -> None:
    """A form of another site comes without a cookie, and the user is not asked to log in again."""
    log_in(rp, alice)
    form = rp.fields(scope="openid", nonce=NONCE)
    sent = provider.post("/oauth2/authorization/", form)
    assert "code" in follow(alice, sent).parameters
    assert "code" in alice.post("/oauth2/authorization/", form).parameters
    silent = provider.post("/oauth2/authorization/", {**form, "prompt": "none"})
    assert "code" in follow(alice, silent).parameters


def test_state_may_be_missing_with_pkce_or_nonce(rp: App, alice: Browser) -> None:
    """OPENID.md: openid-client sends no state where PKCE is advertised."""
    pkce = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    code = consent(rp, alice, state=None, nonce=None, **pkce)
    assert rp.exchange(code, code_verifier=VERIFIER).status == 200
    assert "state" not in ask(rp, alice, state=None, nonce="n").parameters
    assert ask(rp, alice, state=None, nonce=None).parameters["error"] == "invalid_request"
    assert ask(rp, alice, state=None, scope="user_info").parameters["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", "consent"),
        ("max_age", "20"),
        ("nonce", "another"),
        ("login_hint", "bob"),
    ],
)
def test_a_consent_form_is_bound_to_the_authentication_request(
    provider: Provider, rp: App, alice: Browser, name: str, value: str
) -> None:
    sent = {"prompt": "select_account", "max_age": "10000", "nonce": NONCE, "login_hint": "alice"}
    token = ask(rp, alice, **sent).form("user_action").hidden["csrf_token"]
    address = rp.address(scope="openid", **{**sent, name: value})
    form = {"csrf_token": token, "user_action": "Accept"}
    assert_not_sent(alice.post(address, form), 403)
    assert provider.grants() == []


def test_consent_is_withdrawn_under_my_applications(rp: App, alice: Browser) -> None:
    log_in(rp, alice)
    assert "code" in log_in_silently(rp, alice).parameters
    alice.remove(alice.get("/oauth2/account/"))
    assert log_in_silently(rp, alice).parameters["error"] == "consent_required"


def test_remembered_consent_is_one_look_up(provider: Provider, rp: App, alice: Browser) -> None:
    """However many codes were never exchanged."""
    log_in(rp, alice)
    for number in range(30):
        rp.authorize(alice, scope="openid", state=str(number), prompt="consent")
    asked: list[tuple[object, ...]] = []
    real = provider.tokens.grants_in_use

    def note(*arguments: object) -> object:
        asked.append(arguments)
        return real(*arguments)

    provider.tokens.grants_in_use = note
    assert "code" in log_in_silently(rp, alice).parameters
    assert len(asked) == 1


def test_without_the_setting_no_parameter_counts(
    make_provider: Callable[..., Provider],
) -> None:
    from web_driver import System

    system = System()
    app, alice = system.add_client("App"), system.browser("alice")
    page = app.ask(alice, prompt="none login", max_age="x", nonce="\x00", id_token_hint="é")
    assert page.is_consent
    assert app.ask(alice, scope="openid").parameters["error"] == "invalid_scope"
    assert alice.get("/oauth2/end_session/").status == 404
    wait(system.server.stopService())
    assert encoded({}) == b""


def test_silent_logins_do_not_end_the_other_logins_of_a_user(
    make_provider: Callable[..., Provider],
) -> None:
    """A client that asks often has its newest grants of the login, and the quota is not filled."""
    provider = make_provider(max_grants_per_client=MAX_OF_LOGIN + 5)
    rp, alice = provider.add_client("App"), provider.browser("alice")
    elsewhere = log_in(rp, provider.browser("alice"))
    issued = [log_in(rp, alice, prompt="consent")]
    for _ in range(2 * MAX_OF_LOGIN):
        provider.advance(1)
        answer = log_in_silently(rp, alice)
        issued.append(rp.exchange(answer.parameters["code"]).json)
    assert rp.refresh(elsewhere["refresh_token"]).status == 200
    statuses = [rp.refresh(tokens["refresh_token"]).status for tokens in issued]
    assert statuses == [400] * MAX_OF_LOGIN + [200] * (MAX_OF_LOGIN + 1)


def test_silent_login_with_fewer_scopes_ends_no_wider_consent(
    provider: Provider, rp: App, alice: Browser
) -> None:
    wide = log_in(rp, alice, scope="openid profile email")
    for _ in range(2 * MAX_OF_LOGIN):
        provider.advance(1)
        rp.exchange(log_in_silently(rp, alice, scope="openid").parameters["code"])
    assert rp.refresh(wide["refresh_token"]).status == 200
    assert "code" in log_in_silently(rp, alice, scope="openid profile email").parameters
