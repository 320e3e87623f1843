"""Logging in and out: the pages, the cookie, the session behind it (RFC 9700, 4.11 and 4.16)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.error import LoginDenied
from twisted.cred.portal import Portal
from web_driver import (
    PASSWORDS,
    Answer,
    App,
    Browser,
    System,
    assert_not_sent,
    encoded,
    post_bytes,
    wait,
)
from zope.interface import implementer

from djoauth2_twisted import IResourceOwner, Settings
from djoauth2_twisted.models import ResourceOwner
from djoauth2_twisted.resource_owners import ResourceOwnerRealm
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore

MakeSystem = Callable[..., System]

COOKIE = "__Host-djoauth2"


def logged_in(browser: Browser) -> bool:
    """Whether the server knows who is behind a browser."""
    return "You are logged in" in browser.get("/oauth2/logout/").words


# On the way to the consent page.


@pytest.mark.parametrize(
    "more",
    [
        "",
        "&x=a;b",
        "&x=a+b%20c",
        "&x=%25%26%3D%2B%23",
        "&x=caf%C3%A9",
        "&x=%ff",
        "&x=%0d%0a",
        "&x=//evil.example",
        "&x='()*!",
        "&x",
        "&x=%e9%E9",
    ],
)
def test_the_same_request_goes_on_after_the_login(system: System, app: App, more: str) -> None:
    """UI-01: byte by byte; DJOAuth2's `test_unauthenticated_user_redirected_to_login`."""
    browser = system.browser()
    away = app.ask(browser, more)
    assert away.status == 303
    assert away.location.startswith("/oauth2/login/?next=")
    back = browser.log_in("alice", page=browser.follow(away))
    assert back.location == app.address(more)
    assert browser.follow(back).is_consent


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_pages_without_tls_are_refused(system: System, scheme: str) -> None:
    """INTERFACE, section 3: nothing is redirected from http to https with its credentials."""
    for page in ("login", "logout"):
        answer = system.send("GET", f"{scheme}://as.example/oauth2/{page}/")
        assert answer.status == (200 if scheme == "https" else 400)
        if scheme == "http":
            assert_not_sent(answer)
            assert answer.header("strict-transport-security") is None
        else:
            assert "max-age=" in (answer.header("strict-transport-security") or "")


@pytest.mark.parametrize("page", ["login", "logout"])
@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "post"])
def test_other_methods_are_refused(system: System, page: str, method: str) -> None:
    answer = system.send(method, f"/oauth2/{page}/")
    assert_not_sent(answer, 405)
    assert answer.header("allow") == "GET, POST"


@pytest.mark.parametrize("slash", ["", "/"])
def test_both_spellings(system: System, slash: str) -> None:
    for page in ("login", "logout"):
        assert system.send("GET", f"/oauth2/{page}{slash}").status == 200


# Who is let in.


def test_the_right_password(system: System) -> None:
    alice = system.browser()
    assert alice.log_in("alice").location == "/oauth2/login/"
    page = alice.get("/oauth2/login/")
    assert page.words.startswith(
        "You are logged in as.example You are logged in You are logged in as alice"
    )
    assert "password" not in page.text


WRONG = [
    ("alice", "a guess"),
    ("nobody", "a guess"),
    ("", ""),
    ("alice", ""),
    ("Alice", PASSWORDS["alice"]),
    ("alice ", PASSWORDS["alice"]),
    ("alice", PASSWORDS["alice"] + " "),
    ("alice", PASSWORDS["bob"]),
    ("alice\x00", PASSWORDS["alice"]),
    ("\udcff", "\udcff"),
    ("é", "日本"),
    ("' OR 1=1--", "' OR 1=1--"),
    ("x" * 20_000, "y" * 20_000),
]


@pytest.mark.parametrize("checked_in_memory", [True, False], ids=["memory", "argon2"])
def test_a_wrong_password_or_name(make_system: MakeSystem, checked_in_memory: bool) -> None:
    """UI-24: one answer for all of them, by whatever checker."""
    system = make_system(checked_in_memory=checked_in_memory)
    for username, password in WRONG:
        browser = system.browser()
        answer = browser.log_in(username, password)
        assert answer.status == 403
        assert "The name or the password is wrong." in answer.words
        assert answer.form("password").hidden.keys() == {"csrf_token", "next"}
        assert 'type="password" autocomplete="current-password" required' in answer.text
        assert "a guess" not in answer.text
        assert not logged_in(browser)


def test_unknown_name_and_wrong_password_cannot_be_told_apart(system: System) -> None:
    """UI-24."""

    def page(username: str) -> str:
        answer = system.browser().log_in(username, "wrong")
        assert answer.status == 403
        hidden = answer.form("password").hidden["csrf_token"]
        return answer.text.replace(username, "NAME").replace(hidden, "TOKEN")

    assert page("alice") == page("a-stranger")


def test_argon2_passwords_of_the_registry(make_system: MakeSystem) -> None:
    """The whole flow with true hashes, which are made and compared in threads."""
    system = make_system(checked_in_memory=False)
    app = system.add_client("App")
    assert system.call(app.tokens(system.browser("alice"))["access_token"]).status == 200
    system.add_user("zoë", "Pässwörd 日本語")
    assert system.browser().log_in("zoë", "Pässwörd 日本語").status == 303
    assert system.browser().log_in("zoë", "Passwörd 日本語").status == 403


def test_a_disabled_user_is_a_stranger(make_system: MakeSystem) -> None:
    system = make_system(checked_in_memory=False)
    alice = system.browser("alice")
    system.do(system.administration.edit_user("alice", disabled=True))
    assert not logged_in(alice)
    assert system.browser().log_in("alice").status == 403


def test_a_new_password_ends_the_logins(make_system: MakeSystem) -> None:
    """RT-14's neighbour."""
    system = make_system(checked_in_memory=False)
    alice = system.browser("alice")
    system.do(system.administration.set_password("alice", "another one altogether"))
    assert not logged_in(alice)
    assert system.browser().log_in("alice").status == 403
    assert system.browser().log_in("alice", "another one altogether").status == 303


def test_too_many_logins_at_once_are_sent_away_soon(make_system: MakeSystem) -> None:
    """CC-10: the queue before the password threads is bounded; who does not fit in is told to wait."""
    system = make_system(checked_in_memory=False)
    browser = system.browser()
    page = browser.get("/oauth2/login/")
    headers = [("Cookie", f"{COOKIE}={browser.secret}"), _FORM]
    form = page.form("password").hidden
    sent = [
        system.begin(
            "POST",
            "/oauth2/login/",
            encoded({**form, "username": f"user{number}", "password": "wrong"}),
            headers,
            faults=True,
        )
        for number in range(30)
    ]
    answers = [each.answer for each in sent]
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {403, 503}
    assert statuses.count(503) == 10
    assert all(answer.header("retry-after") for answer in answers if answer.status == 503)


_FORM = ("Content-Type", "application/x-www-form-urlencoded")


@implementer(IResourceOwner)
class _Employee:
    username = "carol"
    first_name = "Carol"


def test_a_portal_of_ones_own(make_system: MakeSystem) -> None:
    """INTERFACE, section 4: it is asked for `IResourceOwner`; what it does not know stays empty."""
    checker = InMemoryUsernamePasswordDatabaseDontUse(carol=b"secret of carol")

    class Realm:
        def requestAvatar(self, avatarId: bytes, mind: object, *interfaces: object) -> object:
            assert interfaces == (IResourceOwner,)
            return IResourceOwner, _Employee(), lambda: None

    system = make_system(portal=Portal(Realm(), [checker]))
    app, carol = system.add_client("App"), system.browser()
    assert carol.log_in("alice", PASSWORDS["alice"]).status == 403
    assert carol.log_in("carol", "secret of carol").status == 303
    said = system.call(app.tokens(carol)["access_token"]).json
    assert said == {"username": "carol", "first_name": "Carol", "last_name": "", "email": ""}


def test_a_portal_that_denies_a_login(make_system: MakeSystem) -> None:
    """Whoever may not come in although the password is right is told no more than others."""

    class Realm:
        def requestAvatar(self, avatarId: bytes, mind: object, *interfaces: object) -> object:
            raise LoginDenied()

    checker = InMemoryUsernamePasswordDatabaseDontUse(carol=b"secret of carol")
    carol = make_system(portal=Portal(Realm(), [checker])).browser()
    denied = carol.log_in("carol", "secret of carol")
    assert (denied.status, denied.words) == (403, carol.log_in("carol", "wrong").words)


def test_several_checkers_are_asked_in_turn(make_system: MakeSystem) -> None:
    """A Portal alone would keep the last of them."""
    registry = MemoryRegistry()
    first = InMemoryUsernamePasswordDatabaseDontUse(dave=b"secret of dave")
    second = InMemoryUsernamePasswordDatabaseDontUse(erin=b"secret of erin")
    system = make_system(stores=(None, registry, MemoryTokenStore()), checkers=[first, second])
    for name in ("dave", "erin"):
        assert system.browser().log_in(name, f"secret of {name}").status == 303
        assert system.browser().log_in(name, "wrong").status == 403
    realm = ResourceOwnerRealm(registry)
    _, owner, logout = wait(realm.requestAvatar(b"erin", None, IResourceOwner))
    logout()
    assert owner == ResourceOwner("erin")


# The cookie and the session.


def test_the_cookie_is_for_this_host_and_tls_alone(system: System) -> None:
    """UI-15; RFC 6265bis, section 4.1.3.2."""
    answer = system.browser().get("/oauth2/login/")
    name_value, *attributes = (answer.header("set-cookie") or "").split("; ")
    assert name_value.startswith(COOKIE + "=")
    assert set(attributes) == {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"}


def test_the_cookie_without_ssl_only(make_system: MakeSystem) -> None:
    system = make_system(Settings(ssl_only=False), origin="http://as.example")
    cookie = system.browser().get("/oauth2/login/").header("set-cookie") or ""
    assert cookie.startswith("djoauth2=")
    assert cookie.partition("; ")[2] == "Path=/; HttpOnly; SameSite=Lax"


def test_the_secret_changes_at_the_login_and_dies_with_it(system: System) -> None:
    """UI-14: no session fixation."""
    browser = system.browser()
    browser.get("/oauth2/login/")
    fixed = browser.fork()
    browser.log_in("alice")
    assert browser.secret != fixed.secret
    assert logged_in(browser)
    assert not logged_in(fixed)
    old = browser.fork()
    browser.log_out()
    assert not logged_in(browser)
    assert not logged_in(old)
    assert browser.secret != old.secret


def test_a_second_login_ends_the_first(system: System, alice: Browser) -> None:
    """UI-14: the old secret is dead also where the same person logs in again."""
    old = alice.fork()
    page = alice.get("/oauth2/login/?next=/oauth2/logout/")
    assert alice.log_in("alice", page=page).location == "/oauth2/logout/"
    assert logged_in(alice)
    assert not logged_in(old)


def test_an_unknown_secret_is_no_login(system: System) -> None:
    """UI-14: one of an attacker's choice is dropped at the login."""
    victim = system.browser()
    victim.cookies[COOKIE] = "A" * 43
    assert not logged_in(victim)
    victim.log_in("alice")
    assert victim.secret != "A" * 43


@pytest.mark.parametrize(
    "cookie", ["\udcff\udcfe", "", "x", "A" * 42, "A" * 44, "é" * 43, '"' * 43, "A" * 9000]
)
def test_a_malformed_cookie_is_none(system: System, app: App, cookie: str) -> None:
    """UI-10: a new secret, not a 500."""
    header = ("Cookie", f"{COOKIE}={cookie}")
    answer = system.send("GET", "/oauth2/login/", None, [header])
    assert answer.status == 200
    assert answer.header("set-cookie") is not None
    assert system.send("GET", app.address(), None, [header]).location.startswith("/oauth2/login/")


def test_two_cookies_of_the_name_are_not_believed(system: System, alice: Browser) -> None:
    """UI-15: cookie tossing (pin: refused)."""
    good = f"{COOKIE}={alice.secret}"
    for lines in (
        [f"{good}; {COOKIE}={'A' * 43}"],
        [f"{COOKIE}={'A' * 43}; {good}"],
        [good, f"{COOKIE}="],
    ):
        answer = system.send("GET", "/oauth2/logout/", None, [("Cookie", line) for line in lines])
        assert "You are not logged in" in answer.words
    both = system.send("GET", "/oauth2/logout/", None, [("Cookie", f"a=b; {good}; {good}")])
    assert "You are logged in" in both.words


def test_a_header_is_no_cookie(system: System, app: App, alice: Browser) -> None:
    """UI-13."""
    for name in ("X-Auth-Token", "Authorization", "X-Session"):
        answer = system.send("GET", app.address(), None, [(name, alice.secret)])
        assert answer.location.startswith("/oauth2/login/")


def test_the_secret_is_on_no_page(system: System, app: App, alice: Browser) -> None:
    """UI-12: the form's token is not the session's id, and another one each time."""
    pages = [app.ask(alice), app.ask(alice), alice.get("/oauth2/login/"), alice.get("/oauth2/logout/")]
    assert not any(alice.secret in page.text for page in pages)
    tokens = {page.form("csrf_token").hidden["csrf_token"] for page in pages[:2]}
    assert len(tokens) == 2


def test_a_login_outlives_a_restart(make_system: MakeSystem) -> None:
    """UI-25: also with a consent page open meanwhile."""
    stores = (None, MemoryRegistry(), MemoryTokenStore())
    before = make_system(stores=stores)
    app, alice = before.add_client("App"), before.browser("alice")
    page = app.ask(alice)
    before.stop()
    after = make_system(stores=stores)
    after.oracle.redirect_uris.add(app.redirect_uri)
    alice.system = after
    assert logged_in(alice)
    assert "code" in alice.submit(page, "user_action", user_action="Accept").parameters


def test_a_login_page_outlives_a_restart(make_system: MakeSystem) -> None:
    """UI-25."""
    before = make_system()
    browser = before.browser()
    page = browser.get("/oauth2/login/?next=/oauth2/logout/")
    browser.system = make_system()
    assert browser.log_in("alice", page=page).location == "/oauth2/logout/"


def test_nothing_is_kept_of_strangers(system: System, app: App) -> None:
    """AB-01: a session is a row only for who is logged in."""
    for _ in range(20):
        app.ask(system.browser())
        system.browser().get("/oauth2/login/")
        system.browser().log_in("alice", "wrong" * 2)
        system.advance(60)
    assert wait(system.registry.prune_sessions(2**40, 1000)) == 0


# The login form.


@pytest.mark.parametrize("token", [None, "", "x", "<script>alert(1)</script>", "\udcff", "é", "a-1-b"])
def test_a_login_needs_its_pages_token(system: System, token: str | None) -> None:
    """UI-04, UI-09, UI-10: login CSRF; the form is simply shown again."""
    browser = system.browser()
    page = browser.get("/oauth2/login/")
    answer = browser.submit(
        page, "password", csrf_token=token, username="alice", password=PASSWORDS["alice"]
    )
    assert answer.status == 403
    assert "<script>" not in answer.text
    assert not logged_in(browser)
    assert browser.log_in("alice", page=answer).status == 303


def test_a_login_without_a_cookie(system: System) -> None:
    """UI-10: POST without any session; where the person was going, and the name, are kept."""
    page = system.browser().get("/oauth2/login/?next=/oauth2/logout/")
    stranger = system.browser()
    answer = stranger.log_in("alice", page=page)
    assert answer.status == 403
    assert "Please allow cookies for this site" in answer.words
    assert answer.form("password").hidden["next"] == "/oauth2/logout/"
    assert 'value="alice"' in answer.text
    assert stranger.log_in("alice", page=answer).location == "/oauth2/logout/"


def test_a_token_in_the_query_does_not_count(system: System) -> None:
    """UI-11."""
    browser = system.browser()
    token = browser.get("/oauth2/login/").form("password").hidden["csrf_token"]
    form: dict[str, str | None] = {"username": "alice", "password": PASSWORDS["alice"]}
    assert browser.post(f"/oauth2/login/?csrf_token={token}", form).status == 403
    assert not logged_in(browser)


def test_a_token_is_good_for_its_own_form_alone(system: System, alice: Browser) -> None:
    login = alice.get("/oauth2/login/?next=/x").form("password").hidden["csrf_token"]
    assert alice.post("/oauth2/logout/", {"csrf_token": login}).status == 403
    assert logged_in(alice)


@pytest.mark.parametrize("name", ["username", "password", "csrf_token", "next"])
def test_a_field_twice_is_refused(system: System, name: str) -> None:
    browser = system.browser()
    form = browser.get("/oauth2/login/").form("password").hidden
    fields = [
        *form.items(),
        ("username", "alice"),
        ("password", PASSWORDS["alice"]),
        (name, "x"),
        (name, "y"),
    ]
    answer = browser.post("/oauth2/login/", fields)
    assert answer.status == 400
    assert not logged_in(browser)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json", "text/plain"])
def test_a_body_that_is_no_form(system: System, kind: str) -> None:
    answer = system.send("POST", "/oauth2/login/", b"username=alice", [("Content-Type", kind)])
    assert_not_sent(answer)


# When a login does not go as it should: each time said so, and nothing lost of what was interrupted.


def assert_goes_on(browser: Browser, page: Answer, address: str) -> None:
    """After the login on this page the interrupted request goes on, byte for byte."""
    assert browser.log_in("alice", page=page).location == address


def test_a_wrong_password_loses_nothing(system: System, app: App) -> None:
    browser = system.browser()
    address = app.address("&x=a+b%20c")
    page = browser.log_in("alice", "wrong", page=browser.follow(browser.get(address)))
    assert "The name or the password is wrong." in page.words
    assert 'value="alice"' in page.text
    assert_goes_on(browser, page, address)


def test_who_has_to_wait_is_told_how_long(system: System, app: App) -> None:
    browser = system.browser()
    address = app.address("&x=a+b%20c")
    page = browser.follow(browser.get(address))
    for _ in range(11):
        page = browser.log_in("alice", "wrong", page=page)
    assert page.status == 429
    seconds = int(page.header("retry-after") or 0)
    assert f"Please wait {seconds} seconds, then try again." in page.words
    assert 'value="alice"' in page.text
    assert "a-stranger" not in page.text
    system.advance(seconds)
    assert_goes_on(browser, page, address)


def test_a_stranger_has_to_wait_as_long(system: System) -> None:
    """UI-24: throttled, too, an unknown name is as good as a known one."""
    pages = []
    for name in ("alice", "nobody"):
        browser = system.browser()
        page = browser.get("/oauth2/login/")
        for _ in range(11):
            page = browser.log_in(name, "wrong", page=page)
        token = page.form("password").hidden["csrf_token"]
        pages.append((page.status, page.text.replace(token, "TOKEN").replace(name, "NAME")))
    assert pages[0] == pages[1]


@pytest.mark.parametrize("length", [255, 256, 60_000])
def test_what_was_typed_is_kept_where_it_may_be_a_name(system: System, length: int) -> None:
    """UI-19: the page stays small, whatever was sent."""
    page = system.browser().log_in("x" * length, "wrong")
    assert page.status == 403
    assert page.form("password").values["username"] == ("x" * length if length < 256 else "")
    assert len(page.body) < 3000


ENDED = "Your login has ended. Log in again, and you go on where you were."


@pytest.mark.parametrize("how", ["time", "a new password"])
def test_a_login_that_is_over(make_system: MakeSystem, how: str) -> None:
    """It is told so, whatever it was doing: asking, consenting, or removing an application."""
    system = make_system()
    app = system.add_client("App")
    for method in ("GET", "consent", "remove"):
        alice = system.browser("alice")
        app.tokens(alice)
        consent, account = app.ask(alice, "&x=a+b%20c"), alice.get("/oauth2/account/")
        if how == "time":
            system.advance(12 * 3600)
        else:
            system.do(system.administration.set_password("alice", PASSWORDS["alice"]))
        if method == "GET":
            away, address = app.ask(alice, "&x=a+b%20c"), app.address("&x=a+b%20c")
        elif method == "consent":
            away = alice.submit(consent, "user_action", user_action="Accept")
            address = app.address("&x=a+b%20c")
        else:
            away, address = alice.submit(account, "client_id"), "/oauth2/account/"
        assert away.status == 303
        page = alice.follow(away)
        assert ENDED in page.words
        assert_goes_on(alice, page, address)
        assert ENDED not in alice.get("/oauth2/login/?next=/x").words


def test_who_never_logged_in_is_not_told_that_it_is_over(app: App, system: System) -> None:
    stranger = system.browser()
    for _ in range(2):
        assert ENDED not in stranger.follow(app.ask(stranger)).words
    alice = system.browser("alice")
    alice.log_out()
    assert ENDED not in alice.follow(app.ask(alice)).words


def test_a_forged_mark_says_nothing_but_words(system: System, app: App) -> None:
    """The cookie's mark decides what a page says, and nothing else."""
    for cookie in ("A" * 43 + ".", "A" * 42 + ".", "A" * 43 + "..", "." * 44):
        browser = system.browser()
        browser.cookies[COOKIE] = cookie
        assert app.ask(browser).location.startswith("/oauth2/login/")
        assert not logged_in(browser)


def test_a_login_page_that_was_open_for_too_long(system: System, app: App) -> None:
    browser = system.browser()
    address = app.address("&x=a+b%20c")
    old = browser.follow(browser.get(address))
    system.advance(3600)
    page = browser.log_in("alice", page=old)
    assert page.status == 403
    assert "This page has expired. Please try again." in page.words
    assert not logged_in(browser)
    assert_goes_on(browser, page, address)


def test_cookies_that_are_off(system: System, app: App) -> None:
    """Every answer brings a cookie, and none comes back."""
    address = app.address("&x=a+b%20c")
    for _ in range(3):
        browser = system.browser()
        page = browser.follow(browser.get(address))
        browser.cookies.clear()
        page = browser.log_in("alice", page=page)
        assert page.status == 403
        assert "Your browser sent no cookie" in page.words
        assert page.form("password").hidden["next"] == address
        assert PASSWORDS["alice"] not in page.text
    # Switched on.
    assert_goes_on(browser, page, address)


def test_a_message_belongs_to_its_field(system: System) -> None:
    """WCAG 2.2, 3.3.1 and 4.1.3: whoever hears the page hears what is wrong."""
    page = system.browser().log_in("alice", "wrong")
    (message,) = [found for _, found in page.page.elements if found.get("id") == "message"]
    assert message["role"] == "alert"
    described = [found for tag, found in page.page.elements if found.get("aria-describedby")]
    assert [found["name"] for found in described] == ["username", "password"]


def test_who_is_logged_in_already_can_simply_go_on(app: App, alice: Browser) -> None:
    """The login page in a second tab, after the first one has logged in."""
    page = alice.get("/oauth2/login/?next=" + quote(app.address(), safe=""))
    links = [found["href"] for tag, found in page.page.elements if tag == "a"]
    assert app.address() in links
    for there in ("https://evil.example/", "//evil.example", "javascript:alert(1)"):
        page = alice.get("/oauth2/login/?next=" + quote(there, safe=""))
        assert "evil" not in page.text
        assert "javascript" not in page.text


# Where the browser goes next.


@pytest.mark.parametrize(
    "there",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        "https:evil.example",
        "%2f%2fevil.example",
        "/x\r\nLocation: https://evil.example",
        "/x\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "evil.example",
        " /x",
        "/é",
        "/x\x00",
        "http:///evil.example",
        "/.\\evil",
    ],
    ids=lambda there: ascii(there[:24]),
)
def test_no_open_redirector(system: System, there: str) -> None:
    """UI-22; RFC 9700, section 4.11: the oracle looks at every Location."""
    browser = system.browser()
    page = browser.get("/oauth2/login/?next=" + quote(there[:9000], safe="", errors="surrogateescape"))
    assert browser.log_in("alice", page=page).location == "/oauth2/login/"
    forged = system.browser()
    form = forged.get("/oauth2/login/")
    answer = forged.submit(form, "password", next=there, username="alice", password=PASSWORDS["alice"])
    assert answer.location == "/oauth2/login/"


def test_a_next_page_too_long_for_a_request_line_is_left_out(system: System) -> None:
    browser = system.browser()
    answer = browser.submit(
        browser.get("/oauth2/login/"),
        "password",
        next="/" + "x" * 20_000,
        username="alice",
        password=PASSWORDS["alice"],
    )
    assert answer.location == "/oauth2/login/"


def test_the_next_page_is_on_the_same_host(system: System) -> None:
    browser = system.browser()
    page = browser.get("/oauth2/login/?next=%2Fsomewhere%3Fa%3D%252F%26b%23c")
    assert browser.log_in("alice", page=page).location == "/somewhere?a=%2F&b#c"


# Logging out.


def test_a_link_logs_nobody_out(system: System, alice: Browser) -> None:
    for address in ("/oauth2/logout/", "/oauth2/logout/?csrf_token=x"):
        assert alice.get(address).status == 200
        assert logged_in(alice)


@pytest.mark.parametrize("token", [None, "", "x", "\udcff"])
def test_a_forged_form_logs_nobody_out(system: System, alice: Browser, token: str | None) -> None:
    assert alice.post("/oauth2/logout/", {"csrf_token": token, "x": "y"}).status == 403
    assert logged_in(alice)


def test_a_logout_goes_on_to_a_path_of_ours(system: System, app: App, alice: Browser) -> None:
    """UI-22: and to nothing else."""
    page = alice.get("/oauth2/logout/?next=" + quote(app.address("&x=a+b"), safe=""))
    assert alice.submit(page, "csrf_token").location == app.address("&x=a+b")
    assert not logged_in(alice)
    for there in ("https://evil.example/", "//evil.example", "/\\evil.example", "/x\r\nA: b", ""):
        bob = system.browser("bob")
        page = bob.get("/oauth2/logout/?next=" + quote(there, safe=""))
        assert bob.submit(page, "csrf_token").location == "/oauth2/login/"
        bob.log_in("bob")
        page = bob.get("/oauth2/logout/")
        assert bob.submit(page, "csrf_token", next=there).location == "/oauth2/login/"


def test_a_logout_page_that_was_open_for_too_long(system: System, alice: Browser) -> None:
    page = alice.get("/oauth2/logout/?next=/x")
    system.advance(3600)
    page = alice.submit(page, "csrf_token")
    assert page.status == 403
    assert "This page has expired. Please try again." in page.words
    assert logged_in(alice)
    assert alice.submit(page, "csrf_token").location == "/x"


def test_after_the_logout_the_pages_show_nothing(system: System, app: App, alice: Browser) -> None:
    """UI-20."""
    page = app.ask(alice)
    assert page.header("cache-control") == "no-store"
    assert alice.log_out().location == "/oauth2/login/"
    assert app.ask(alice).location.startswith("/oauth2/login/")
    assert "alice" not in alice.get("/oauth2/login/").text
    answer = alice.submit(page, "user_action", user_action="Accept")
    assert answer.location.startswith("/oauth2/login/")
    assert system.grants() == []


def test_the_login_page_has_a_way_out(system: System, alice: Browser) -> None:
    page = alice.get("/oauth2/login/")
    assert not page.is_login
    (form,) = page.page.forms
    assert form.action == "/oauth2/logout/"
    assert alice.post(form.action, form.hidden).status == 303
    assert not logged_in(alice)


# Throttles.


def _attempt(system: System, peer: str, password: str, username: str = "alice") -> Answer:
    """One login from one address, written byte by byte."""
    page = system.raw(b"GET /oauth2/login/ HTTP/1.1\r\nHost: as.example\r\n\r\n", peer=peer)
    cookie = (page.header("set-cookie") or "").partition(";")[0]
    form = {**page.form("password").hidden, "username": username, "password": password}
    body = encoded(form)
    return system.raw(post_bytes("/oauth2/login/", body, f"Cookie: {cookie}"), peer=peer)


def test_guessing_is_slowed_down_and_locks_nobody_out(system: System) -> None:
    """UI-24: more than ten failures are answered 429; the person is served from elsewhere."""
    statuses = [_attempt(system, "192.0.2.1", "wrong password").status for _ in range(12)]
    assert statuses == [403] * 10 + [429] * 2
    refused = _attempt(system, "192.0.2.1", PASSWORDS["alice"])
    assert refused.status == 429
    assert int(refused.header("retry-after") or 0) > 0
    assert _attempt(system, "192.0.2.1", PASSWORDS["bob"], "bob").status == 303
    assert _attempt(system, "192.0.2.2", PASSWORDS["alice"]).status == 303
    system.advance(int(refused.header("retry-after") or 0))
    assert _attempt(system, "192.0.2.1", PASSWORDS["alice"]).status == 303


def test_five_mistakes_are_no_attack(system: System) -> None:
    """INTERFACE, section 3."""
    browser = system.browser()
    assert [browser.log_in("alice", "a mistake").status for _ in range(5)] == [403] * 5
    assert browser.log_in("alice").status == 303


def test_many_names_from_one_address_are_slowed_down_too(system: System) -> None:
    """AB-03: the address counts by itself."""
    for number in range(300):
        assert _attempt(system, "192.0.2.1", "wrong password", f"name{number}").status == 403
    assert _attempt(system, "192.0.2.1", "wrong password", "one-more").status == 429
    assert _attempt(system, "192.0.2.2", "wrong password", "one-more").status == 403
