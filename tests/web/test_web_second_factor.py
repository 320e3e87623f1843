"""The second factor: set up, asked for at a login, required, used once, lost and removed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pyotp
import pytest
from attrs import frozen
from twisted.internet.defer import Deferred
from web_driver import PASSWORDS, Answer, Browser, System, wait

from djoauth2_twisted import Settings, credentials
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.events import AccountChanged, LoggedIn, LoginRefused, Throttled
from djoauth2_twisted.models import ResourceOwner
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore

MakeSystem = Callable[..., System]

ACCOUNT = "/oauth2/account/settings/"
PAGE = "/oauth2/account/second_factor/"
STEP = "/oauth2/login/second_factor/"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.key"
    path.write_text("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def make(make_system: MakeSystem, key_file: Path) -> MakeSystem:
    """Makes servers whose users are those of the database, with a key file."""

    def make(stores: Any = None, **settings: Any) -> System:
        named = Settings(openid_key_file=str(key_file), **settings)
        return make_system(named, checked_in_memory=False, stores=stores)

    return make


@pytest.fixture
def system(make: MakeSystem) -> System:
    return make()


@frozen
class Authenticator:
    """The authenticator application of a user, and the recovery codes."""

    system: System
    secret: str
    codes: list[str]

    def code(self, later: int = 0) -> str:
        """The code of now.

        :param later: in seconds.
        """
        code = pyotp.TOTP(self.secret).at(int(self.system.reactor.seconds()) + later)
        self.system.oracle.secrets.add(self.secret)
        return code


def secret_of(page: Answer) -> str:
    """The key that a page shows."""
    return page.words.partition("Key: ")[2].partition(" Code")[0].replace(" ", "")


def codes_of(page: Answer) -> list[str]:
    """The recovery codes that a page shows."""
    return re.findall(r">(\w{4}-\w{4}-\w{4})<", page.text)


def set_up(browser: Browser, username: str = "alice") -> Authenticator:
    """Set up a second factor on the page of the account."""
    page = browser.submit(browser.get(PAGE), "old_password", old_password=PASSWORDS[username])
    assert page.status == 200, page.words
    return confirmed(browser, page)


def confirmed(browser: Browser, page: Answer) -> Authenticator:
    """Type the first code of a page's key."""
    mine = Authenticator(browser.system, secret_of(page), [])
    answer = browser.submit(page, "code", code=mine.code())
    assert answer.status == 200, answer.words
    return attrs.evolve(mine, codes=codes_of(answer))


def step_of(browser: Browser, username: str = "alice") -> Answer:
    """The page after the password."""
    answer = browser.log_in(username)
    assert answer.location.startswith(STEP)
    return browser.follow(answer)


def is_logged_in(browser: Browser) -> bool:
    return browser.get(ACCOUNT).status == 200


@pytest.fixture
def mine(system: System, alice: Browser) -> Authenticator:
    """Alice's second factor, set up a while ago."""
    mine = set_up(alice)
    system.advance(60)
    return mine


# Setting one up.


def test_second_factor_is_set_up(system: System, alice: Browser) -> None:
    """SF-01: the password is asked for again, and the first code proves the application."""
    assert "A login asks for the password alone." in alice.get(ACCOUNT).words
    page = alice.submit(alice.get(PAGE), "old_password", old_password=PASSWORDS["alice"])
    assert '<svg viewBox="0 0' in page.text
    assert len(page.body) + len(system.send("GET", "/oauth2/style.css").body) < 30_000
    mine = Authenticator(system, secret_of(page), [])
    assert len(mine.secret) == 32
    done = alice.submit(page, "code", code=mine.code())
    assert len(set(codes_of(done))) == 10
    assert "A login asks for a code" in alice.get(ACCOUNT).words


@pytest.mark.parametrize("password", ["", "a guess"])
def test_second_factor_is_not_set_up_without_the_password(alice: Browser, password: str) -> None:
    """SF-01"""
    answer = alice.submit(alice.get(PAGE), "old_password", old_password=password)
    assert answer.status == 403
    assert "The password is wrong" in answer.words
    assert "Key:" not in answer.words


def test_second_factor_is_not_set_up_with_a_wrong_code(system: System, alice: Browser) -> None:
    """The same key is shown again, so that it need not be scanned twice."""
    page = alice.submit(alice.get(PAGE), "old_password", old_password=PASSWORDS["alice"])
    again = alice.submit(page, "code", code="12345")
    assert again.status == 403
    assert "The code is wrong" in again.words
    assert secret_of(again) == secret_of(page)
    assert len(confirmed(alice, again).codes) == 10


def test_key_of_another_user_is_not_taken(system: System, alice: Browser, bob: Browser) -> None:
    """It is sealed for the browser and the user who have seen it."""
    page = alice.submit(alice.get(PAGE), "old_password", old_password=PASSWORDS["alice"])
    theirs = bob.submit(bob.get(PAGE), "old_password", old_password=PASSWORDS["bob"])
    hidden = {**theirs.form("code").hidden, "new": page.form("code").hidden["new"]}
    code = Authenticator(system, secret_of(page), []).code()
    assert bob.post(PAGE, {**hidden, "code": code}).status == 403
    assert "A login asks for the password alone." in bob.get(ACCOUNT).words


def test_new_second_factor_ends_the_other_logins(system: System, alice: Browser) -> None:
    """SF-01: they were without one."""
    other = system.browser("alice")
    set_up(alice)
    assert not is_logged_in(other)
    assert is_logged_in(alice)


def test_secrets_are_sealed_at_rest(system: System, mine: Authenticator) -> None:
    """SF-02: neither the key nor a recovery code is in the store."""
    user = wait(system.registry.find_user("alice"))
    factor = wait(system.registry.find_second_factor(user.subject))
    stored = factor.sealed + b"".join(factor.recovery_digests)
    assert pyotp.TOTP(mine.secret).byte_secret() not in stored
    for code in mine.codes:
        plain = code.replace("-", "")
        assert plain.encode() not in stored
        assert credentials.digest(plain) not in factor.recovery_digests


def test_row_of_another_user_opens_nothing(system: System, mine: Authenticator, bob: Browser) -> None:
    """SF-02: access to the database alone does not give a user the second factor of another."""
    registry = system.registry
    users = {name: wait(registry.find_user(name)) for name in ("alice", "bob")}
    factor = wait(registry.find_second_factor(users["alice"].subject))
    wait(registry.add_second_factor(attrs.evolve(factor, subject=users["bob"].subject)))
    stranger = system.browser()
    form = step_of(stranger, "bob").form("code")
    answer = stranger.post(form.action, {**form.hidden, "code": mine.code()}, faults=True)
    assert answer.status == 503


# Logging in.


def test_login_asks_for_the_code(system: System, mine: Authenticator) -> None:
    """SF-03: there is no login before it."""
    browser = system.browser()
    page = step_of(browser)
    assert not is_logged_in(browser)
    answer = browser.submit(page, "code", code=mine.code())
    assert (answer.status, answer.location) == (303, "/oauth2/login/")
    assert is_logged_in(browser)
    assert "__Host-djoauth2-step" not in browser.cookies


def test_login_goes_on_to_the_request(system: System, mine: Authenticator) -> None:
    """SF-03: the consent page comes after both steps."""
    app, browser = system.add_client("App"), system.browser()
    away = browser.log_in("alice", page=browser.follow(app.ask(browser)))
    page = browser.follow(away)
    back = browser.submit(page, "code", code=mine.code())
    assert back.location == app.address()
    assert browser.follow(back).is_consent


def test_user_without_a_second_factor_logs_in_as_before(system: System, mine: Authenticator) -> None:
    assert system.browser().log_in("bob").location == "/oauth2/login/"


def test_password_alone_opens_no_page(system: System, mine: Authenticator) -> None:
    """SF-03"""
    app, browser = system.add_client("App"), system.browser()
    step_of(browser)
    assert app.ask(browser).location.startswith("/oauth2/login/")
    for address in (ACCOUNT, PAGE, "/oauth2/account/", "/oauth2/admin/"):
        assert browser.get(address).location.startswith("/oauth2/login/")


@pytest.mark.parametrize(
    "code", ["", "000000", "12345", "1234567", "abcdef", "\u0661\u0662", "\udcff", "x" * 9999]
)
def test_wrong_code_is_refused(system: System, mine: Authenticator, code: str) -> None:
    browser, refused = system.browser(), list[LoginRefused]()
    system.server.events.subscribe(LoginRefused, refused.append)
    page = step_of(browser)
    answer = browser.submit(page, "code", code=code)
    assert answer.status == 403
    assert "The code is wrong, or was used before." in answer.words
    assert not is_logged_in(browser)
    (event,) = refused
    assert (event.username, event.reason) == ("alice", "the code is wrong, or was used before")


@pytest.mark.parametrize(
    ("later", "good"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)]
)
def test_clock_may_be_wrong_by_one_step(
    system: System, mine: Authenticator, later: int, good: bool
) -> None:
    """SF-04"""
    browser = system.browser()
    system.advance(120)
    answer = browser.submit(step_of(browser), "code", code=mine.code(later))
    assert (answer.status == 303) is good


def test_code_is_typed_with_spaces(system: System, mine: Authenticator) -> None:
    """As applications show it."""
    browser, code = system.browser(), mine.code()
    answer = browser.submit(step_of(browser), "code", code=f" {code[:3]} {code[3:]} ")
    assert answer.status == 303


def test_code_is_used_once(system: System, mine: Authenticator) -> None:
    """SF-05: also by a browser that has begun before, and also an earlier code."""
    one, other = system.browser(), system.browser()
    pages = [step_of(browser) for browser in (one, other)]
    earlier, code = mine.code(-30), mine.code()
    assert one.submit(pages[0], "code", code=code).status == 303
    assert other.submit(pages[1], "code", code=code).status == 403
    assert other.submit(pages[1], "code", code=earlier).status == 403
    system.advance(30)
    assert other.submit(pages[1], "code", code=mine.code()).status == 303


def test_first_code_is_not_good_for_a_login(system: System, alice: Browser) -> None:
    """SF-05: the code that has set up the second factor is used."""
    mine = set_up(alice)
    browser = system.browser()
    assert browser.submit(step_of(browser), "code", code=mine.code()).status == 403


class MeetingRegistry(MemoryRegistry):
    """A registry in which two steps meet: the first waits until the second has come."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: Deferred[None] | None = None

    def use_time_step(self, subject: str, step: int) -> Deferred[bool]:
        use = super().use_time_step
        if self.waiting is None:
            self.waiting = Deferred()
            return self.waiting.addCallback(lambda _: use(subject, step))
        used = use(subject, step)
        self.waiting.callback(None)
        return used


def test_one_of_two_requests_with_one_code_wins(make: MakeSystem) -> None:
    """SF-05: both have found the code good before either was used."""
    registry = MeetingRegistry()
    system = make((None, registry, MemoryTokenStore()))
    mine = set_up(system.browser("alice"))
    system.advance(60)
    browsers = [system.browser() for _ in range(2)]
    forms = [step_of(browser).form("code") for browser in browsers]
    registry.waiting = None
    sent = [
        system.begin(
            "POST",
            form.action,
            "&".join(
                f"{name}={value}" for name, value in {**form.hidden, "code": mine.code()}.items()
            ).encode(),
            [("Content-Type", "application/x-www-form-urlencoded"), *browser.cookie(form.action)],
        )
        for browser, form in zip(browsers, forms, strict=True)
    ]
    system.agent.flush()
    assert sorted(each.answer.status for each in sent) == [303, 403]


def test_recovery_code_is_good_for_one_login(system: System, mine: Authenticator) -> None:
    """SF-06: in capitals and without hyphens, too. The others stay good."""
    one, two, *_ = mine.codes
    for code, status in ((one, 303), (one, 403), (two.upper().replace("-", " "), 303)):
        browser = system.browser()
        answer = browser.submit(step_of(browser), "code", code=code)
        assert answer.status == status


def test_guesses_at_the_code_are_limited(make: MakeSystem) -> None:
    """SF-07: from one address, and from many."""
    system = make(max_wrong_passwords=3)
    throttled: list[Throttled] = []
    system.server.events.subscribe(Throttled, throttled.append)
    alice = system.browser("alice")
    mine = set_up(alice)
    system.advance(60)
    browser = system.browser()
    page = step_of(browser)
    statuses = [browser.submit(page, "code", code="000000").status for _ in range(4)]
    assert statuses == [403, 403, 403, 429]
    answer = browser.submit(page, "code", code=mine.code())
    assert answer.status == 429
    assert int(answer.header("retry-after") or "") > 0
    assert "There were too many attempts." in answer.words
    assert throttled[-1].reason == "too many wrong codes of this user from this address"
    # A browser that has logged in before is not locked out.
    alice.log_out()
    assert alice.submit(step_of(alice), "code", code=mine.code()).status == 303


def test_guesses_at_one_account_are_limited_whatever_the_address(make: MakeSystem) -> None:
    """SF-07: twenty an hour."""
    system = make(max_wrong_passwords=1000)
    set_up(system.browser("alice"))
    browser = system.browser()
    page = step_of(browser)
    statuses = [browser.submit(page, "code", code="000000").status for _ in range(21)]
    assert statuses == [403] * 20 + [429]
    system.advance(180)
    assert browser.submit(page, "code", code="000000").status == 403


def test_guesses_from_many_known_browsers_are_limited_together(make: MakeSystem) -> None:
    """SF-07: the password alone made them known, before there was a second factor."""
    known = [(system := make()).browser("alice"), system.browser("alice"), system.browser("alice")]
    set_up(system.browser("alice"))
    pages = [(browser, step_of(browser)) for browser in known]
    for browser, page in pages[:2]:
        statuses = [browser.submit(page, "code", code="000000").status for _ in range(20)]
        assert statuses == [403] * 20
    browser, page = pages[2]
    assert browser.submit(page, "code", code="000000").status == 429


# The state between the steps.


def test_second_step_without_the_first_leads_to_the_login(system: System, mine: Authenticator) -> None:
    """SF-08"""
    browser = system.browser()
    assert browser.get(STEP).location.startswith("/oauth2/login/")
    assert browser.post(STEP, {"code": mine.code()}).location.startswith("/oauth2/login/")


def test_state_of_another_browser_is_not_taken(system: System, mine: Authenticator) -> None:
    """SF-08: nor one that was changed."""
    one, other = system.browser(), system.browser()
    step_of(one)
    other.get("/oauth2/login/")
    state = one.cookies["__Host-djoauth2-step"]
    other.cookies["__Host-djoauth2-step"] = state
    assert other.get(STEP).location.startswith("/oauth2/login/")
    for changed in (state[:-4], state[:40] + "AAAA" + state[44:], "x", "===="):
        one.cookies["__Host-djoauth2-step"] = changed
        assert one.get(STEP).location.startswith("/oauth2/login/")
    one.cookies["__Host-djoauth2-step"] = state
    assert one.get(STEP).status == 200


def test_state_is_good_for_ten_minutes(system: System, mine: Authenticator) -> None:
    """SF-08"""
    browser = system.browser()
    page = step_of(browser)
    system.advance(599)
    assert browser.get(STEP).status == 200
    system.advance(1)
    assert browser.submit(page, "code", code=mine.code()).location.startswith("/oauth2/login/")
    assert not is_logged_in(browser)


@pytest.mark.parametrize("change", ["password", "disabled", "deleted"])
def test_state_ends_with_what_it_was_made_for(system: System, mine: Authenticator, change: str) -> None:
    """SF-08"""
    browser = system.browser()
    page = step_of(browser)
    administration = system.administration
    system.do(
        {
            "password": lambda: administration.set_password("alice", "another good one"),
            "disabled": lambda: administration.edit_user("alice", disabled=True),
            "deleted": lambda: administration.delete_user("alice"),
        }[change]()
    )
    assert browser.submit(page, "code", code=mine.code()).location.startswith("/oauth2/login/")
    assert not is_logged_in(browser)


def test_second_factor_that_is_reset_between_the_steps_asks_for_the_password_again(
    system: System, mine: Authenticator
) -> None:
    """SF-08: none is set up that is not required."""
    browser = system.browser()
    step_of(browser)
    system.do(system.administration.reset_second_factor("alice"))
    assert browser.get(STEP).location.startswith("/oauth2/login/")
    assert browser.log_in("alice").location == "/oauth2/login/"


def test_secret_is_sealed_again_when_the_key_was_changed(make: MakeSystem, key_file: Path) -> None:
    """SF-02: at the next login, so that the old key can go."""
    registry = MemoryRegistry()
    system = make((None, registry, MemoryTokenStore()))
    mine = set_up(system.browser("alice"))
    keys = [key_file.read_text(), "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n"]
    for lines, later in ((keys[::-1], 60), (keys[1:], 120)):
        key_file.write_text("".join(lines))
        system = make((None, registry, MemoryTokenStore()))
        system.advance(later)
        browser = system.browser()
        page = step_of(browser)
        assert browser.submit(page, "code", code=mine.code(later)).status == 303


def test_form_that_is_not_ours_is_refused(system: System, mine: Authenticator) -> None:
    """UI-04"""
    browser = system.browser()
    form = step_of(browser).form("code")
    answer = browser.post(form.action, {"csrf_token": "x", "code": mine.code()})
    assert answer.status == 403
    assert "This page has expired." in answer.words
    assert not is_logged_in(browser)


def test_form_that_is_sent_twice_goes_on(system: System, mine: Authenticator) -> None:
    browser = system.browser()
    page = step_of(browser)
    assert browser.submit(page, "code", code=mine.code()).status == 303
    answer = browser.submit(page, "code", code=mine.code())
    assert (answer.status, answer.location) == (303, "/oauth2/login/")


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example/", "/\\evil.example"])
def test_second_step_leads_to_no_other_site(system: System, mine: Authenticator, to: str) -> None:
    """UI-22"""
    browser = system.browser()
    form = step_of(browser).form("code")
    answer = browser.post(f"{STEP}?next={to}", {**form.hidden, "code": mine.code()})
    assert answer.location == "/oauth2/login/"


def test_login_is_reported_once(system: System, mine: Authenticator) -> None:
    """After the second step, with the session's own mark."""
    found: list[LoggedIn] = []
    system.server.events.subscribe(LoggedIn, found.append)
    browser = system.browser()
    page = step_of(browser)
    assert found == []
    browser.submit(page, "code", code=mine.code())
    assert [event.username for event in found] == ["alice"]
    now = int(system.reactor.seconds())
    newest, *_ = wait(system.registry.sessions_of("alice", now, 1))
    assert (newest.second_factor, newest.auth_time) == (True, now)


# Required by the operator.


def test_user_who_must_have_one_sets_it_up_at_the_login(make: MakeSystem) -> None:
    """SF-09: before anything else, consent included."""
    system = make(require_second_factor="all")
    app, browser = system.add_client("App"), system.browser()
    page = browser.follow(browser.log_in("alice", page=browser.follow(app.ask(browser))))
    assert "Your account must have a second factor." in page.words
    assert app.ask(browser).location.startswith("/oauth2/login/")
    mine = Authenticator(system, secret_of(page), [])
    assert browser.submit(page, "code", code="000000").status == 403
    done = browser.submit(browser.submit(page, "code", code="x"), "code", code=mine.code())
    assert len(codes_of(done)) == 10
    assert ("a", {"href": app.address()}) in done.page.elements
    assert app.ask(browser).is_consent


class DeletingRegistry(MemoryRegistry):
    """A registry from which a user is deleted as soon as the password was right."""

    deletes = ""

    def give_back(self, keys: Any) -> Deferred[None]:
        if self.deletes:
            self.delete_user(self.deletes)
        return super().give_back(keys)


def test_user_who_is_deleted_during_the_login_is_not_logged_in(make: MakeSystem) -> None:
    registry = DeletingRegistry()
    system = make((None, registry, MemoryTokenStore()))
    logged_in: list[LoggedIn] = []
    system.server.events.subscribe(LoggedIn, logged_in.append)
    browser = system.browser()
    registry.deletes = "alice"
    browser.log_in("alice")
    assert logged_in == []
    assert browser.get("/oauth2/account/").status == 303


def test_only_administrators_must_have_one(make: MakeSystem) -> None:
    """SF-09"""
    system = make(require_second_factor="admins")
    system.do(system.administration.edit_user("alice", admin=True))
    assert system.browser().log_in("bob").location == "/oauth2/login/"
    browser = system.browser()
    confirmed(browser, step_of(browser))
    assert browser.get("/oauth2/admin/").status == 200


def test_login_of_before_it_was_required_ends(make: MakeSystem) -> None:
    """SF-09: on consent and administration pages alike."""
    system = make(require_second_factor="admins")
    app, alice = system.add_client("App"), system.browser("alice")
    assert app.ask(alice).is_consent
    system.do(system.administration.edit_user("alice", admin=True))
    for address in (app.address(), "/oauth2/admin/", ACCOUNT):
        assert alice.get(address).location.startswith("/oauth2/login/")
    confirmed(alice, step_of(alice))
    assert app.ask(alice).is_consent


@pytest.mark.parametrize("required", ["admins", "all"])
def test_requirement_needs_users_and_a_key_file(
    make_system: MakeSystem, key_file: Path, required: str
) -> None:
    """SF-09: else no user could log in, or all would do without one."""
    settings = Settings(require_second_factor=required)
    with pytest.raises(ConfigurationError, match="needs a key file, which OPENID_KEY_FILE names"):
        make_system(settings, checked_in_memory=False)
    settings = attrs.evolve(settings, openid_key_file=str(key_file))
    with pytest.raises(ConfigurationError, match="for the users of the database"):
        make_system(settings, checked_in_memory=True)
    with pytest.raises(ConfigurationError, match="for the users of the database"):
        make_system(settings, checked_in_memory=False, who=lambda request, path: ResourceOwner("a"))


# Without a key file.


def test_without_a_key_file_none_is_offered(make_system: MakeSystem) -> None:
    """Only an administrator is shown why."""
    system = make_system(checked_in_memory=False)
    alice, bob = system.browser("alice"), system.browser("bob")
    system.do(system.administration.edit_user("alice", admin=True))
    assert "OPENID_KEY_FILE" in alice.get(ACCOUNT).words
    assert "econd factor" not in bob.get(ACCOUNT).words
    assert bob.get(PAGE).status == 404


def test_key_file_is_made_beside_a_sqlite_database(make_system: MakeSystem, tmp_path: Path) -> None:
    """When the first second factor is set up. The login works with it after a restart."""
    url, path = f"sqlite:///{tmp_path / 'store.db'}", tmp_path / "store.db.key"
    system = make_system(url=url, checked_in_memory=False)
    alice = system.browser("alice")
    assert not path.exists()
    mine = set_up(alice)
    assert path.stat().st_mode & 0o777 == 0o600
    system.stop()
    again = make_system(url=url, checked_in_memory=False)
    again.advance(60)
    browser = again.browser()
    assert browser.submit(step_of(browser), "code", code=mine.code(60)).status == 303


# Removed and reset.


def test_second_factor_is_removed(system: System, alice: Browser, mine: Authenticator) -> None:
    """SF-10: with the password. The recovery codes go with it."""
    wrong = alice.submit(alice.get(PAGE), "old_password", old_password="a guess")
    assert wrong.status == 403
    answer = alice.submit(alice.get(PAGE), "old_password", old_password=PASSWORDS["alice"])
    assert "The second factor is removed." in alice.follow(answer).words
    assert system.browser().log_in("alice").location == "/oauth2/login/"


def test_removed_second_factor_that_is_required_is_set_up_anew(make: MakeSystem) -> None:
    """SF-09, SF-10: a new phone."""
    system = make(require_second_factor="all")
    alice = system.browser()
    old = confirmed(alice, step_of(alice))
    answer = alice.submit(alice.get(PAGE), "old_password", old_password=PASSWORDS["alice"])
    assert answer.location.startswith("/oauth2/login/")
    assert not is_logged_in(alice)
    new = confirmed(alice, step_of(alice))
    assert new.secret != old.secret
    assert is_logged_in(alice)


def test_administrator_resets_a_second_factor(
    system: System, alice: Browser, mine: Authenticator
) -> None:
    """SF-10: the user's logins end, and the audit trail knows."""
    system.do(system.administration.reset_second_factor("ALICE"))
    assert not is_logged_in(alice)
    assert system.browser().log_in("alice").location == "/oauth2/login/"
    assert "user reset-second-factor" in {event.action for event in system.events()}


def test_administration_page_resets_a_second_factor(
    system: System, alice: Browser, mine: Authenticator
) -> None:
    """SF-10: after a question. The page of a user without one has no such link."""
    system.do(system.administration.edit_user("bob", admin=True))
    bob = system.browser("bob")
    page = bob.get("/oauth2/admin/user/?id=alice")
    assert "This user has a second factor. Reset it" in page.words
    assert "second factor" not in bob.get("/oauth2/admin/user/?id=bob").words
    question = bob.get("/oauth2/admin/user/second-factor/?id=alice")
    assert is_logged_in(alice)
    answer = bob.submit(question, "csrf_token")
    assert "second factor" not in bob.follow(answer).words
    assert not is_logged_in(alice)
    assert system.browser().log_in("alice").location == "/oauth2/login/"


def test_changes_are_in_the_audit_trail(system: System, alice: Browser) -> None:
    found: list[AccountChanged] = []
    system.server.events.subscribe(AccountChanged, found.append)
    set_up(alice)
    alice.submit(alice.get(PAGE), "old_password", old_password=PASSWORDS["alice"])
    actions = ["user set-up-second-factor", "user remove-second-factor"]
    assert [event.change for event in found] == actions
    assert set(actions) <= {event.action for event in system.events()}


# What ends a user's logins, in the moment in which one begins.


def meanwhile(system: System, change: Callable[[], Any]) -> None:
    """Change something just before the next login is stored."""
    registry: Any = system.registry
    add_session = registry.add_session

    def add_later(*arguments: Any) -> Deferred[None]:
        registry.add_session = add_session
        changing = Deferred.fromCoroutine(change())
        return changing.addCallback(lambda _: add_session(*arguments))

    registry.add_session = add_later


CHANGES: dict[str, Callable[[System], Any]] = {
    "new password": lambda system: system.administration.set_password("alice", "a new password 1"),
    "deleted": lambda system: system.administration.delete_user("alice"),
    "disabled": lambda system: system.administration.edit_user("alice", disabled=True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_login_that_begins_while_the_user_changes_does_not_outlive_the_change(
    system: System, change: str
) -> None:
    browser = system.browser()
    meanwhile(system, lambda: CHANGES[change](system))
    answer = browser.log_in("alice")
    assert not is_logged_in(browser), answer.words
    assert wait(system.registry.totals(int(system.reactor.seconds()))).sessions == 0
    assert wait(system.registry.sessions_of("alice", 0, 10)) == []


@pytest.mark.parametrize("change", [*CHANGES, "reset"])
def test_second_step_that_ends_while_the_user_changes_begins_no_login(
    system: System, alice: Browser, mine: Authenticator, change: str
) -> None:
    resets = {"reset": lambda system: system.administration.reset_second_factor("alice")}
    browser = system.browser()
    page = step_of(browser)
    system.advance(60)
    meanwhile(system, lambda: {**CHANGES, **resets}[change](system))
    answer = browser.submit(page, "code", code=mine.code())
    assert answer.status == 303
    assert not is_logged_in(browser)
    assert wait(system.registry.sessions_of("alice", 0, 10)) == []


def test_wrong_code_is_counted_as_a_failed_login(system: System, mine: Authenticator) -> None:
    before, browser = failed_logins(system), system.browser()
    browser.submit(step_of(browser), "code", code="000000")
    assert failed_logins(system) == before + 1


def failed_logins(system: System) -> int:
    counted = system.do(system.server._statistics.counted(0, 1))
    return sum(count for (_, kind), count in counted.items() if kind == "failed login")
