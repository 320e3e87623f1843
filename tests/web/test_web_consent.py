"""The consent page and its form (RFC 6749, sections 10.12 and 10.13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import pytest
from twisted.internet.defer import Deferred
from web_driver import (
    CHALLENGE,
    ORIGIN,
    VERIFIER,
    Answer,
    App,
    Browser,
    System,
    assert_not_sent,
    assert_sent_back,
    assert_token_error,
    basic,
    challenge_of,
    encoded,
    post_bytes,
    tokens_of,
    wait,
)

from djoauth2_twisted import Settings
from djoauth2_twisted.models import Grant
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore
from djoauth2_twisted.web.sessions import FORM_LIFETIME
from djoauth2_twisted.web.statistics import AUTHORIZATION


def assert_refused(answer: Answer, system: System) -> None:
    """403, nothing sent, nothing stored."""
    assert_not_sent(answer, 403)
    assert system.grants() == []


@pytest.mark.parametrize(
    "more",
    [
        "&user_action=Accept",
        "&approve=1",
        "&bypass_approval_prompt=true",
        "&user_action=Accept&csrf_token=x",
        "&authorize=Accept&prompt=none",
    ],
)
def test_no_address_consents(app: App, alice: Browser, more: str) -> None:
    """UI-03: a page, never a code."""
    assert app.ask(alice, more).is_consent
    token = app.ask(alice).form("user_action").hidden["csrf_token"]
    assert app.ask(alice, f"&user_action=Accept&csrf_token={token}").is_consent
    assert app.system.grants() == []


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "x",
        "\udcff",
        "é",
        "A" * 30 + "-1700000000-" + "A" * 43,
        "<script>alert(1)</script>",
        "x" * 9999,
    ],
    ids=lambda token: ascii(token and token[:20]),
)
def test_a_consent_needs_its_pages_token(
    system: System, app: App, alice: Browser, token: str | None
) -> None:
    """UI-04, UI-09, UI-10."""
    answer = alice.submit(app.ask(alice), "user_action", csrf_token=token, user_action="Accept")
    assert_refused(answer, system)
    assert "<script>" not in answer.text


def test_a_token_of_another_session(system: System, app: App, alice: Browser) -> None:
    """UI-04: of the same person."""
    token = app.ask(system.browser("alice")).form("user_action").hidden["csrf_token"]
    answer = alice.submit(app.ask(alice), "user_action", csrf_token=token, user_action="Accept")
    assert_refused(answer, system)


def test_a_token_of_another_user(system: System, app: App, alice: Browser, bob: Browser) -> None:
    """UI-04, UI-06: an attacker's form in a victim's browser."""
    attackers = app.ask(bob)
    assert_refused(alice.submit(attackers, "user_action", user_action="Accept"), system)


def test_a_token_in_the_query_does_not_count(system: System, app: App, alice: Browser) -> None:
    """UI-11."""
    form = app.ask(alice).form("user_action")
    answer = alice.post(
        f"{form.action}&csrf_token={form.hidden['csrf_token']}", {"user_action": "Accept"}
    )
    assert_refused(answer, system)


def test_a_token_of_the_login_form(system: System, app: App, alice: Browser) -> None:
    token = alice.get("/oauth2/login/?next=/x").form("password").hidden["csrf_token"]
    answer = alice.submit(app.ask(alice), "user_action", csrf_token=token, user_action="Accept")
    assert_refused(answer, system)


@pytest.mark.parametrize("name", ["csrf_token", "user_action"])
def test_a_form_field_twice(system: System, app: App, alice: Browser, name: str) -> None:
    form = app.ask(alice).form("user_action")
    fields = [*form.hidden.items(), ("user_action", "Accept"), (name, form.hidden.get(name, "Accept"))]
    answer = alice.post(form.action, fields)
    assert "code" not in (answer.header("location") or "")
    assert system.grants() == []


def test_a_post_without_any_session(system: System, app: App, alice: Browser) -> None:
    """UI-10: the stranger is sent to log in, and the request continues after it."""
    page = app.ask(alice)
    stranger = system.browser()
    away = stranger.submit(page, "user_action", user_action="Accept")
    assert away.location.startswith("/oauth2/login/")
    back = stranger.log_in("alice", page=stranger.follow(away))
    assert stranger.follow(back).is_consent
    assert system.grants() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"scope": "user_info verify"},
        {"scope": "verify"},
        {"state": "another"},
        {"redirect_uri": "https://app.example/two"},
        {"redirect_uri": None},
        {"code_challenge": challenge_of("e" * 43)},
        {"code_challenge": None, "code_challenge_method": None},
        {"client_id": "OTHER"},
    ],
    ids=str,
)
def test_an_altered_request_is_not_what_was_shown(
    system: System, alice: Browser, changed: dict[str, Any]
) -> None:
    """UI-05, PK-10: the token is bound to everything that was consented to."""
    uris = ("https://app.example/cb", "https://app.example/two")
    app, other = system.add_client("App", *uris), system.add_client("Other", *uris)
    if "client_id" in changed:
        changed = {"client_id": other.client_id}
    asked: dict[str, Any] = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    form = app.ask(alice, **asked).form("user_action")
    altered = app.address(**{**asked, **changed})
    answer = alice.post(altered, {**form.hidden, "user_action": "Accept"})
    assert answer.status in {400, 403}
    assert answer.header("location") is None
    assert system.grants() == []
    assert "code" in alice.post(form.action, {**form.hidden, "user_action": "Accept"}).parameters


def test_a_redirect_uri_left_out_is_an_alteration_too(system: System, app: App, alice: Browser) -> None:
    """UI-05: it decides what the client has to show with the code."""
    form = app.ask(alice).form("user_action")
    altered = app.address(redirect_uri=None)
    assert_refused(alice.post(altered, {**form.hidden, "user_action": "Accept"}), system)


@pytest.mark.parametrize("field", ["scope", "state", "client_id", "redirect_uri", "code_challenge"])
def test_nothing_is_believed_of_the_form(system: System, app: App, alice: Browser, field: str) -> None:
    """UI-05: what stands in the address and in the body was sent twice."""
    form = app.ask(alice, code_challenge=CHALLENGE, code_challenge_method="S256").form("user_action")
    assert set(form.hidden) == {"csrf_token"}
    answer = alice.post(form.action, {**form.hidden, "user_action": "Accept", field: "other"})
    assert "code=" not in (answer.header("location") or "")
    assert system.grants() == []


def assert_not_let_in_again(app: App, answer: Answer) -> None:
    """The browser reaches the client, with an error in the place of a code."""
    assert_sent_back(answer, app, "access_denied")
    assert "used before" in answer.parameters["error_description"]


def test_accept_sent_twice_gives_the_same_grant_a_new_code(
    system: System, app: App, alice: Browser
) -> None:
    """UI-07: the browser follows the last answer, so its code is the good one."""
    page = app.ask(alice, code_challenge=CHALLENGE, code_challenge_method="S256")
    codes = [app.accept(alice, page) for _ in range(3)]
    assert len(set(codes)) == 3
    (grant,) = system.grants()
    for old in codes[:2]:
        assert_token_error(app.exchange(old, code_verifier=VERIFIER), 400, "invalid_grant")
    tokens = tokens_of(app.exchange(codes[2], code_verifier=VERIFIER))
    assert [each.id for each in system.grants()] == [grant.id]
    assert system.call(tokens["access_token"]).status == 200


def test_a_code_before_the_last_ends_nothing(system: System, app: App, alice: Browser) -> None:
    """UI-07: a slow client may exchange it, while the browser is on its way with the last one."""
    page = app.ask(alice)
    first, last = app.accept(alice, page), app.accept(alice, page)
    tokens = tokens_of(app.exchange(last))
    assert_token_error(app.exchange(first), 400, "invalid_grant")
    assert system.call(tokens["access_token"]).status == 200


def test_accept_sent_again_after_the_code_was_exchanged(
    system: System, app: App, alice: Browser
) -> None:
    """UI-07: the browser reaches the client, and the tokens stay."""
    page = app.ask(alice)
    tokens = tokens_of(app.exchange(app.accept(alice, page)))
    assert_not_let_in_again(app, alice.submit(page, "user_action", user_action="Accept"))
    assert len(system.grants()) == 1
    assert system.call(tokens["access_token"]).status == 200


def test_accept_sent_again_after_the_code_has_expired(system: System, app: App, alice: Browser) -> None:
    """UI-07: a form that is still valid has its grant, and gives it another code."""
    page = app.ask(alice)
    first = app.accept(alice, page)
    lifetime = system.settings.authorization_code_lifetime
    for _ in range(2):
        system.advance(lifetime + 60)
        system.do(system.administration.clean_up(int(system.reactor.seconds())))
        assert_token_error(app.exchange(first), 400, "invalid_grant")
        first = app.accept(alice, page)
    assert len(system.grants()) == 1
    system.advance(lifetime - 1)
    assert tokens_of(app.exchange(first))


def test_a_grant_that_nobody_exchanged_is_forgotten_after_its_form(
    system: System, app: App, alice: Browser
) -> None:
    page = app.ask(alice)
    app.accept(alice, page)
    system.advance(FORM_LIFETIME)
    system.do(system.administration.clean_up(int(system.reactor.seconds())))
    assert system.grants() == []
    assert "This page has expired" in alice.submit(page, "user_action", user_action="Accept").words


@pytest.mark.parametrize("how", ["removed", "revoked", "code used, then removed"])
def test_a_form_makes_one_grant_as_long_as_it_lives(
    system: System, app: App, alice: Browser, how: str
) -> None:
    """UI-07: also when its grant was taken back and deleted."""
    page = app.ask(alice)
    code = app.accept(alice, page)
    if how.startswith("code used"):
        tokens_of(app.exchange(code))
    (grant,) = system.grants()
    if how == "revoked":
        wait(system.tokens.revoke_grant(grant.id))
    else:
        wait(system.tokens.revoke_grants(username="alice"))
    for moment in (0, 600, 60, FORM_LIFETIME - 661):
        assert_not_let_in_again(app, alice.submit(page, "user_action", user_action="Accept"))
        assert system.grants() == []
        system.advance(moment)
        system.do(system.administration.clean_up(int(system.reactor.seconds())))
        assert_not_let_in_again(app, alice.submit(page, "user_action", user_action="Accept"))
        assert system.grants() == []
    system.advance(1)
    assert "This page has expired" in alice.submit(page, "user_action", user_action="Accept").words


def test_accept_sent_again_is_counted_once(system: System, app: App, alice: Browser) -> None:
    page = app.ask(alice)
    for _ in range(3):
        app.accept(alice, page)
    system.advance(60)
    counted = wait(system.registry.statistics(0, 1))
    assert sum(count for (_, kind), count in counted.items() if kind == AUTHORIZATION) == 1


def test_decline_sent_twice(system: System, app: App, alice: Browser) -> None:
    """UI-07: the same answer each time."""
    page = app.ask(alice)
    for _ in range(2):
        answer = alice.submit(page, "user_action", user_action="Decline")
        assert_sent_back(answer, app, "access_denied")
    assert system.grants() == []


@pytest.mark.parametrize("exchanged", [False, True])
def test_decline_after_accept_takes_it_back(
    system: System, app: App, alice: Browser, exchanged: bool
) -> None:
    """What a person says last counts, also with Back."""
    page = app.ask(alice)
    code = app.accept(alice, page)
    token = tokens_of(app.exchange(code))["access_token"] if exchanged else None
    assert_sent_back(alice.submit(page, "user_action", user_action="Decline"), app, "access_denied")
    assert system.grants() == []
    assert_token_error(app.exchange(code), 400, "invalid_grant")
    assert token is None or system.call(token).status == 401
    assert_not_let_in_again(app, alice.submit(page, "user_action", user_action="Accept"))


def test_accept_after_decline(app: App, alice: Browser) -> None:
    page = app.ask(alice)
    alice.submit(page, "user_action", user_action="Decline")
    assert tokens_of(app.exchange(app.accept(alice, page)))


def test_a_browser_that_hangs_up_leaves_a_form_that_was_used(make_system: Callable[..., System]) -> None:
    """UI-07: a double click hangs up the first request in the middle of its work."""
    tokens = Late()
    system = make_system(stores=(None, MemoryRegistry(), tokens))
    app, alice = system.add_client("App"), system.browser("alice")
    page = app.ask(alice)
    form = page.form("user_action")
    body = encoded({**form.hidden, "user_action": "Accept"})
    wire = system.wire()
    wire.send(post_bytes(form.action, body, f"Cookie: __Host-djoauth2={alice.secret}"))
    wire.hang_up()
    tokens.go_on.callback(None)
    (grant,) = system.grants()
    app.accept(alice, page)
    assert [each.id for each in system.grants()] == [grant.id]
    wait(tokens.revoke_grants(username="alice"))
    system.do(system.administration.clean_up(int(system.reactor.seconds())))
    assert_not_let_in_again(app, alice.submit(page, "user_action", user_action="Accept"))


def test_what_a_form_has_spent_is_forgotten_after_it(system: System, app: App, alice: Browser) -> None:
    app.code(alice)
    leases = system.registry._leases
    assert [name for name in leases if name.startswith("consent:")]
    system.advance(FORM_LIFETIME)
    system.do(system.administration.clean_up(int(system.reactor.seconds())))
    assert not [name for name in leases if name.startswith("consent:")]


def test_another_login_in_the_same_browser(system: System, app: App, alice: Browser) -> None:
    """UI-08: what alice was shown, bob does not consent to."""
    page = app.ask(alice)
    alice.log_out()
    alice.log_in("bob")
    assert_refused(alice.submit(page, "user_action", user_action="Accept"), system)


def test_the_login_ends_before_the_form_is_sent(system: System, app: App, alice: Browser) -> None:
    """ARCHITECTURE, section 4: what was asked is judged against the login of now."""
    page = app.ask(alice)
    system.do(system.administration.delete_user("alice"))
    answer = alice.submit(page, "user_action", user_action="Accept")
    assert answer.location.startswith("/oauth2/login/")
    assert system.grants() == []


class Late(MemoryTokenStore):
    """A store that answers the first code when the test wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on: Deferred[None] = Deferred()

    def add_code(self, grant: Grant, most: int | None = None) -> Deferred[bool]:
        adding = super().add_code(grant, most)
        return adding if self.go_on.called else self.go_on.addCallback(lambda _: adding)


class Interrupted(MemoryTokenStore):
    """A store that serves another request before its next step."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], Any]] = []

    def add_code(self, grant: Grant, most: int | None = None) -> Deferred[bool]:
        while self.meanwhile:
            self.meanwhile.pop()()
        return super().add_code(grant, most)


@pytest.mark.parametrize(
    "what",
    ["logout", "client deleted", "client disabled", "URI changed", "scope deleted", "user deleted"],
)
def test_a_code_is_invalid_if_login_client_or_user_ends_meanwhile(
    make_system: Callable[..., System], what: str
) -> None:
    """RU-22, CC-06: it existed when the request began; the code is invalid all the same."""
    tokens = Interrupted()
    system = make_system(stores=(None, MemoryRegistry(), tokens))
    app, alice = system.add_client("App"), system.browser("alice")
    administration = system.administration
    actions: dict[str, Callable[[], Any]] = {
        "logout": lambda: wait(system.registry.end_sessions("alice")),
        "client deleted": lambda: system.do(administration.delete_client(app.client_id)),
        "client disabled": lambda: app.change(disabled=True),
        "URI changed": lambda: app.change(redirect_uris=("https://app.example/new",)),
        "scope deleted": lambda: system.do(administration.delete_scope("user_info")),
        "user deleted": lambda: system.do(administration.delete_user("alice")),
    }
    page = app.ask(alice)
    tokens.meanwhile.append(actions[what])
    assert_not_sent(alice.submit(page, "user_action", user_action="Accept"))
    assert tokens.meanwhile == []
    assert system.grants() == []


# What a person sees.


def test_the_page_says_who_asks_what_and_where_it_leads(system: System, alice: Browser) -> None:
    """UI-20; DJOAuth2's `client` and `scopes` of the template."""
    app = system.add_client(
        "Weather",
        "https://weather.example:8443/cb",
        description="Rain or shine.",
        image_url="https://i.example/a",
    )
    page = app.ask(alice, scope="verify autologin")
    for shown in (
        "Let Weather use your account?",
        "Rain or shine.",
        "Logged in as alice.",
        "Its developer says: Rain or shine.",
        "what verify is for verify",
        "what autologin is for autologin",
        "you go on to weather.example:8443",
    ):
        assert shown in page.words
    assert "example: what example" not in page.words
    assert "user_info" not in page.words


def test_the_question_fits_what_is_asked_for(system: System, app: App, alice: Browser) -> None:
    """To see a name and an e-mail address is not to use an account."""
    for name in ("openid", "profile", "email"):
        system.do(system.administration.add_scope(name, f"what {name} is for"))
    for scope in ("user_info", "email profile openid"):
        assert "Let App see who you are?" in app.ask(alice, scope=scope).words
    for scope in ("verify", "user_info verify"):
        assert "Let App use your account?" in app.ask(alice, scope=scope).words


def test_a_client_without_a_picture_has_its_letter(system: System, alice: Browser) -> None:
    page = system.add_client("weather").ask(alice)
    assert '<span class="letter" aria-hidden="true"><bdi>W</bdi></span>' in page.text


def test_the_page_says_who_has_made_the_client(system: System, alice: Browser) -> None:
    """Only what is registered; the links lead to where the administrator said."""
    about = {
        "homepage_url": "https://weather.example/",
        "privacy_url": "https://weather.example/privacy",
        "developer": "Sun & <b>Rain</b>",
    }
    page = system.add_client("Weather", **about).ask(alice)
    assert "Made by Sun & <b>Rain</b>" in page.words
    links = [found.get("href") for tag, found in page.page.elements if tag == "a"]
    assert links[:2] == ["https://weather.example/", "https://weather.example/privacy"]
    assert "Made by" not in system.add_client("Plain", "https://plain.example/cb").ask(alice).words


def test_the_page_of_an_error_names_the_application_and_leads_back(
    system: System, app: App, alice: Browser
) -> None:
    """To its homepage, where one is registered; never to what was sent."""
    evil = {"redirect_uri": "https://evil.example/"}
    page = app.ask(alice, **evil)
    assert "The request is from App, or pretends to be." in page.words
    assert "Back to App" not in page.words
    system.do(system.administration.edit_client(app.client_id, homepage_url="https://app.example/"))
    page = app.ask(alice, **evil)
    assert [found["href"] for tag, found in page.page.elements if tag == "a"] == ["https://app.example/"]
    assert "Back to App" in page.words
    assert f"this request is {page.header('x-request-id')}" in page.words
    system.do(system.administration.edit_client(app.client_id, disabled=True))
    assert "App" not in app.ask(alice, **evil).words.replace("The application", "")


def test_the_page_brings_in_nothing_from_elsewhere(system: System, alice: Browser) -> None:
    """UI-21: no image of a client's is fetched or linked to."""
    app = system.add_client("App", image_url="https://tracker.example/pixel.png")
    for page in (
        app.ask(alice),
        alice.get("/oauth2/login/"),
        alice.get("/oauth2/logout/"),
        app.ask(alice, state=""),
    ):
        for tag, attributes in page.page.elements if page.status != 303 else ():
            assert tag not in {"script", "iframe", "object", "embed", "img", "base"}
            for name in ("src", "href", "action", "srcset"):
                there = urljoin(ORIGIN + "/", attributes.get(name) or "")
                assert there.startswith(ORIGIN + "/")
            assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert page.header("referrer-policy") == "no-referrer"
    assert "tracker.example" not in app.ask(alice).text


def test_the_page_is_in_no_frame_and_leads_to_the_client(
    system: System, app: App, alice: Browser
) -> None:
    """UI-17, UI-18; RFC 9700, section 4.16."""
    page = app.ask(alice)
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in (page.header("content-security-policy") or "").split(";")
    )
    assert page.header("x-frame-options") == "DENY"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == policy["img-src"] == "'self'"
    assert policy["base-uri"] == "'none'"
    assert "script-src" not in policy
    assert "form-action" not in policy, "it holds for all that the client redirects to"
    for address in ("/oauth2/login/", "/oauth2/logout/", "/oauth2/account/", "/oauth2/nothing"):
        other = alice.get(address).header("content-security-policy") or ""
        assert "form-action 'self';" in other


def test_the_form_leads_to_the_same_request(app: App, alice: Browser) -> None:
    """DJOAuth2's `form_action`: the request's own address."""
    assert app.ask(alice).form("user_action").action == app.address()


@pytest.mark.parametrize("more", ["&x='\"><script>", "&x=%3Cscript%3E", "&x={{7*7}}", "&x=%27%22"])
def test_the_address_is_escaped_in_the_page(app: App, alice: Browser, more: str) -> None:
    """UI-19: whatever a request holds, it stays an attribute."""
    page = alice.system.raw(
        b"GET " + (app.address() + more).encode() + b" HTTP/1.1\r\nHost: as.example\r\n"
        b"Cookie: __Host-djoauth2=" + alice.secret.encode() + b"\r\n\r\n"
    )
    assert page.is_consent
    assert not any(tag == "script" for tag, _ in page.page.elements)
    assert "49" not in page.form("user_action").action[-8:]


def test_a_code_is_bound_to_the_user_who_consented(
    system: System, app: App, alice: Browser, bob: Browser
) -> None:
    codes = app.code(alice), app.code(bob)
    names = [
        system.call(tokens_of(app.exchange(code))["access_token"]).json["username"] for code in codes
    ]
    assert names == ["alice", "bob"]


# As whom.


def test_request_goes_on_after_a_login_as_another_user(system: System, app: App, alice: Browser) -> None:
    """After one step as another user, the request continues byte for byte."""
    page = app.ask(alice, "&x=a+b%20c")
    assert "Logged in as alice." in page.words
    old = alice.fork()
    away = alice.submit(page, "user_action", user_action="Change")
    assert away.location.startswith("/oauth2/login/?next=")
    assert app.ask(old).location.startswith("/oauth2/login/")
    login = alice.follow(away)
    assert "has ended" not in login.words
    back = alice.log_in("bob", page=login)
    assert back.location == app.address("&x=a+b%20c")
    page = alice.follow(back)
    assert "Logged in as bob." in page.words
    code = alice.submit(page, "user_action", user_action="Accept").parameters["code"]
    token = tokens_of(app.exchange(code))["access_token"]
    assert system.call(token).json["username"] == "bob"
    assert len(system.grants()) == 1


@pytest.mark.parametrize("token", [None, "", "x"])
def test_a_forged_form_logs_no_user_out(
    system: System, app: App, alice: Browser, token: str | None
) -> None:
    """UI-04."""
    answer = alice.submit(app.ask(alice), "user_action", csrf_token=token, user_action="Change")
    assert_refused(answer, system)
    assert app.ask(alice).is_consent


def test_no_address_logs_a_user_out(app: App, alice: Browser) -> None:
    assert app.ask(alice, "&user_action=Change").is_consent
    assert app.ask(alice).is_consent


# A page that cannot be answered any more: the way on is a link to the same request.


def links(answer: Answer) -> list[str | None]:
    return [found.get("href") for tag, found in answer.page.elements if tag == "a"]


def test_a_consent_page_that_was_open_for_too_long(system: System, app: App, alice: Browser) -> None:
    page = app.ask(alice, "&x=a+b%20c")
    system.advance(3600)
    answer = alice.submit(page, "user_action", user_action="Accept")
    assert_refused(answer, system)
    assert "This page has expired" in answer.words
    assert links(answer) == [app.address("&x=a+b%20c")]
    assert alice.get(app.address("&x=a+b%20c")).is_consent


# Consent that is remembered.


def test_consent_is_asked_for_every_time(app: App, alice: Browser) -> None:
    """INTERFACE, section 3."""
    app.tokens(alice)
    assert app.ask(alice).is_consent


@pytest.fixture
def forgiving(make_system: Callable[..., System]) -> System:
    """A server that remembers consent."""
    return make_system(Settings(remember_consent=True))


TWO = ("https://app.example/cb", "https://app.example/two")


@pytest.fixture
def known(forgiving: System) -> App:
    """A client with two redirect URIs, on that server."""
    return forgiving.add_client("App", *TWO)


def test_remembered_consent_is_not_asked_for_again(forgiving: System, known: App, log: Any) -> None:
    """By the same redirect URI, for the same scopes or fewer, in any order."""
    alice = forgiving.browser("alice")
    first = known.tokens(alice, scope="user_info verify")
    for scope in ("user_info verify", "verify user_info", "verify"):
        answer = known.ask(alice, scope=scope, state="another")
        assert answer.parameters["state"] == "another"
        assert answer.parameters["iss"] == forgiving.issuer
        tokens = tokens_of(known.exchange(answer.parameters["code"]))
        assert set(tokens["scope"].split()) == set(scope.split())
        assert forgiving.call(first["access_token"]).status == 200
    assert "{client_id}" not in log
    assert sum(f"allowed {known.client_id} the scopes" in line for line in log.lines) == 4


@pytest.mark.parametrize(
    "changed",
    [
        {"scope": "user_info example"},
        {"scope": "example"},
        {"redirect_uri": TWO[1]},
    ],
    ids=str,
)
def test_more_than_was_accepted_is_asked_for(
    forgiving: System, known: App, changed: dict[str, Any]
) -> None:
    alice = forgiving.browser("alice")
    known.tokens(alice, scope="user_info verify")
    assert known.ask(alice, **changed).is_consent
    assert "code" in known.ask(alice).parameters


def test_scopes_of_two_grants_do_not_add_up(forgiving: System, known: App) -> None:
    alice = forgiving.browser("alice")
    known.tokens(alice, scope="user_info")
    known.tokens(alice, scope="verify")
    assert known.ask(alice, scope="user_info verify").is_consent


def test_a_redirect_uri_that_was_left_out_is_the_one_that_the_code_was_sent_to(
    forgiving: System,
) -> None:
    """Also where the client's registration has changed since."""
    app, alice = forgiving.add_client("App"), forgiving.browser("alice")
    tokens_of(app.exchange(app.code(alice, redirect_uri=None), redirect_uri=None))
    for redirect_uri in (None, app.redirect_uri):
        assert "code" in app.ask(alice, redirect_uri=redirect_uri).parameters
    app.change(redirect_uris=("https://app.example/new",))
    for redirect_uri in (None, "https://app.example/new"):
        assert app.ask(alice, redirect_uri=redirect_uri).is_consent


def test_the_consent_of_another_user_does_not_count(forgiving: System, known: App) -> None:
    other = forgiving.add_client("Other", *TWO)
    known.tokens(forgiving.browser("alice"))
    assert known.ask(forgiving.browser("bob")).is_consent
    assert other.ask(forgiving.browser("alice")).is_consent
    assert known.ask(forgiving.browser()).location.startswith("/oauth2/login/")


def test_a_code_that_was_not_redeemed_does_not_count(forgiving: System, known: App) -> None:
    alice = forgiving.browser("alice")
    known.code(alice)
    assert known.ask(alice).is_consent
    known.authorize(alice, decision="Decline")
    assert known.ask(alice).is_consent


def _remove(system: System, app: App, alice: Browser, tokens: dict[str, Any]) -> None:
    alice.remove(alice.get("/oauth2/account/"))


def _revoke(system: System, app: App, alice: Browser, tokens: dict[str, Any]) -> None:
    form = {"token": tokens["refresh_token"]}
    credentials = ("Authorization", basic(app.client_id, app.secret))
    assert system.post("/oauth2/revoke/", form, [credentials]).status == 200


def _expire(system: System, app: App, alice: Browser, tokens: dict[str, Any]) -> None:
    system.advance(system.settings.refresh_token_lifetime)
    alice.log_in("alice")


@pytest.mark.parametrize("end", [_remove, _revoke, _expire])
def test_consent_is_asked_for_again_after_the_grant_has_ended(
    forgiving: System, known: App, end: Any
) -> None:
    """Also where consent was remembered before: all of the client's grants went."""
    alice = forgiving.browser("alice")
    tokens = known.tokens(alice)
    if end is _remove:
        tokens = tokens_of(known.exchange(known.ask(alice).parameters["code"]))
        assert len(forgiving.grants()) == 2
    end(forgiving, known, alice, tokens)
    assert known.ask(alice).is_consent


def test_a_grant_on_a_further_page_counts(forgiving: System, known: App) -> None:
    """Codes that were never redeemed come before it."""
    alice = forgiving.browser("alice")
    for _ in range(100):
        known.code(alice)
    known.tokens(alice)
    assert "code" in known.ask(alice).parameters


def test_all_checks_hold_where_consent_is_remembered(forgiving: System, known: App) -> None:
    """The client, its redirect URIs and scopes are judged as they are now."""
    alice = forgiving.browser("alice")
    known.tokens(alice)
    assert known.ask(alice, state=None).parameters["error"] == "invalid_request"
    assert known.ask(alice, code_challenge="x").parameters["error"] == "invalid_request"
    forgiving.do(forgiving.administration.edit_client(known.client_id, scopes=("verify",)))
    assert known.ask(alice).parameters["error"] == "invalid_scope"
    known.change(scopes=None, redirect_uris=(TWO[1],))
    assert_not_sent(known.ask(alice))
    known.change(redirect_uris=TWO, disabled=True)
    assert_not_sent(known.ask(alice))


def test_the_login_leads_on_to_the_client(forgiving: System, known: App, app: App) -> None:
    """UI-18: a form's target counts with all that it is redirected to, here the client's callback."""
    known.tokens(forgiving.browser("alice"))
    browser = forgiving.browser()
    login = browser.follow(known.ask(browser))
    policy = login.header("content-security-policy") or ""
    assert "default-src 'none'" in policy
    assert "form-action" not in policy
    back = browser.log_in("alice", page=login)
    assert "code" in browser.follow(back).parameters
    # Where it is not remembered, an error may be sent to the client without the consent page.
    stranger = app.system.browser()
    login = stranger.follow(app.ask(stranger))
    assert "form-action" not in (login.header("content-security-policy") or "")
    app.change(scopes=())
    back = stranger.log_in("alice", page=login)
    assert stranger.follow(back).parameters["error"] == "invalid_scope"
    for address in ("/oauth2/login/", "/oauth2/logout/"):
        policy = stranger.get(address).header("content-security-policy") or ""
        assert "form-action 'self';" in policy


def test_a_denied_page_can_be_asked_for_again(system: System, app: App, alice: Browser) -> None:
    app.authorize(alice, decision="Decline")
    code = app.code(alice)
    assert tokens_of(app.exchange(code))
    assert_token_error(app.exchange(code), 400, "invalid_grant")
    assert encoded({"a": None}) == b""
