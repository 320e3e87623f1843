"""Your account: one's own password, and one's own logins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from web_driver import PASSWORDS, Answer, Browser, System, assert_token_error, wait

from djoauth2_twisted import Settings
from djoauth2_twisted.events import AccountChanged
from djoauth2_twisted.models import ResourceOwner, Session
from djoauth2_twisted.web.your_account import MAX_SHOWN

MakeSystem = Callable[..., System]

SETTINGS, PASSWORD = "/oauth2/account/settings/", "/oauth2/account/password/"
NEW = "another good password"


@pytest.fixture
def system(make_system: MakeSystem) -> System:
    """A server whose users are those of the database."""
    return make_system(checked_in_memory=False)


def change(
    browser: Browser, old: str | None = None, new: str = NEW, repeated: str | None = None
) -> Answer:
    """Fill in the form for a new password."""
    browser.system.oracle.secrets.add(new)
    fields = {
        "old_password": PASSWORDS["alice"] if old is None else old,
        "password": new,
        "repeated": new if repeated is None else repeated,
    }
    return browser.submit(browser.get(PASSWORD), "old_password", **fields)


# The way there.


def test_applications_lead_to_the_account_and_back(alice: Browser) -> None:
    assert ("a", {"href": SETTINGS}) in alice.get("/oauth2/account/").page.elements
    page = alice.get(SETTINGS)
    assert ("a", {"href": "/oauth2/account/"}) in page.page.elements
    assert ("a", {"href": PASSWORD}) in page.page.elements


@pytest.mark.parametrize("address", [SETTINGS, PASSWORD])
def test_without_a_login_the_page_sends_to_the_login(system: System, address: str) -> None:
    stranger = system.browser()
    for answer in (stranger.get(address), stranger.post(address, {"others": "yes"})):
        assert answer.status == 303
        assert answer.location == f"/oauth2/login/?next={address}"


@pytest.mark.parametrize("address", [SETTINGS, PASSWORD])
def test_user_of_another_checker_has_no_account_here(make_system: MakeSystem, address: str) -> None:
    """AC-04: the password is kept elsewhere."""
    alice = make_system(checked_in_memory=True).browser("alice")
    assert alice.get(address).status == 404
    assert alice.post(address, {}).status == 404
    assert SETTINGS not in alice.get("/oauth2/account/").text


def test_user_of_a_host_application_has_no_account_here(make_system: MakeSystem) -> None:
    """AC-04: its logins are kept elsewhere."""
    system = make_system(checked_in_memory=False, who=lambda request, path: ResourceOwner("alice"))
    browser = system.browser()
    assert browser.get(SETTINGS).status == 404
    assert SETTINGS not in browser.get("/oauth2/account/").text


@pytest.mark.parametrize("address", [SETTINGS, PASSWORD])
def test_pages_need_tls_and_take_two_methods(system: System, address: str) -> None:
    assert system.send("GET", f"http://as.example{address}").status == 400
    for method in ("HEAD", "PUT", "DELETE"):
        answer = system.send(method, address)
        assert (answer.status, answer.header("allow")) == (405, "GET, POST")


@pytest.mark.parametrize("address", [SETTINGS, PASSWORD])
def test_deleted_user_has_no_account(system: System, alice: Browser, address: str) -> None:
    system.do(system.administration.delete_user("alice"))
    assert alice.get(address).location == f"/oauth2/login/?next={address}"


# The password.


def test_password_is_changed(system: System, alice: Browser) -> None:
    """AC-02: it is good for a login from then on, and the one before is not."""
    answer = change(alice)
    assert (answer.status, answer.location) == (303, SETTINGS)
    assert "Your password is changed." in alice.follow(answer).words
    assert "Your password is changed." not in alice.get(SETTINGS).words
    assert system.browser().log_in("alice").status == 403
    assert system.browser().log_in("alice", NEW).status == 303


def test_new_password_ends_the_other_logins(system: System, alice: Browser, bob: Browser) -> None:
    """AC-02: this one stays, and those of other users."""
    other = system.browser("alice")
    change(alice)
    assert other.get(SETTINGS).status == 303
    assert alice.get(SETTINGS).status == 200
    assert bob.get(SETTINGS).status == 200


def test_new_password_ends_the_refresh_tokens(system: System, alice: Browser) -> None:
    app = system.add_client("App")
    tokens = app.tokens(alice)
    change(alice)
    assert_token_error(app.refresh(tokens["refresh_token"]), 400, "invalid_grant")


def test_new_password_keeps_the_browser_known(system: System, alice: Browser) -> None:
    """It keeps its own limit in a flood of guesses."""
    change(alice)
    alice.log_out()
    stranger = system.browser()
    for _ in range(100):
        stranger.log_in("alice", "a guess")
        system.advance(1)
    assert alice.log_in("alice", NEW).status == 303


@pytest.mark.parametrize("old", ["", "a guess", PASSWORDS["bob"]])
def test_password_is_not_changed_without_the_old_one(system: System, alice: Browser, old: str) -> None:
    answer = change(alice, old)
    assert answer.status == 403
    assert "The password is wrong" in answer.words
    assert system.browser().log_in("alice").status == 303


@pytest.mark.parametrize(
    ("new", "repeated", "said"),
    [
        ("short", None, "a password has at least 8 characters"),
        ("password1", None, "the most common ones"),
        (NEW, "another good passwort", "the two new passwords are different"),
        (NEW, "", "the two new passwords are different"),
    ],
)
def test_new_password_follows_the_rules_for_passwords(
    system: System, alice: Browser, new: str, repeated: str | None, said: str
) -> None:
    answer = change(alice, new=new, repeated=repeated)
    assert answer.status == 400
    assert said.lower() in answer.words.lower()
    assert new not in answer.text.replace("new_password", "")
    assert system.browser().log_in("alice").status == 303


def test_guesses_at_the_old_password_are_limited(make_system: MakeSystem) -> None:
    """AC-02, AB-03: a login in the wrong hands is no way to find the password."""
    system = make_system(Settings(max_wrong_passwords=3), checked_in_memory=False)
    alice = system.browser("alice")
    statuses = [change(alice, "a guess").status for _ in range(4)]
    assert statuses == [403, 403, 403, 429]
    answer = change(alice)
    assert answer.status == 429
    assert int(answer.header("retry-after") or "") <= 20
    assert "There were too many attempts." in answer.words
    system.advance(60)
    assert change(alice).status == 303


def test_guesses_of_strangers_do_not_keep_a_user_from_a_new_password(
    make_system: MakeSystem,
) -> None:
    settings = Settings(max_wrong_passwords=3, max_wrong_passwords_per_account=3)
    system = make_system(settings, checked_in_memory=False)
    alice, stranger = system.browser("alice"), system.browser()
    for _ in range(5):
        stranger.log_in("alice", "a guess")
    assert stranger.log_in("alice", "a guess").status == 429
    assert change(alice).status == 303


def test_form_for_a_password_is_of_this_login(system: System, alice: Browser, bob: Browser) -> None:
    """UI-04, UI-05: no other page sends it, and it is good for an hour."""
    form = alice.get(PASSWORD).form("old_password").hidden
    fields = {**form, "old_password": PASSWORDS["bob"], "password": NEW, "repeated": NEW}
    for answer in (bob.post(PASSWORD, fields), bob.post(PASSWORD, {**fields, "csrf_token": ""})):
        assert answer.status == 403
        assert "This page has expired" in answer.words
    assert system.browser().log_in("bob").status == 303
    page = alice.get(PASSWORD)
    system.advance(3600)
    assert alice.submit(page, "old_password", old_password=PASSWORDS["alice"]).status == 403


def test_changed_password_is_in_the_audit_trail_and_an_event(system: System, alice: Browser) -> None:
    events: list[AccountChanged] = []
    system.server.events.subscribe(AccountChanged, events.append)
    change(alice)
    (event,) = events
    assert (event.username, event.change, event.address) == ("alice", "user set-password", "127.0.0.1")
    (row,) = [each for each in system.events() if each.action == "user set-password"]
    assert (row.actor, row.action, row.subject) == ("alice", "user set-password", "alice")
    assert row.details == {}


# The logins.


def test_logins_are_listed_with_their_time_and_address(system: System, alice: Browser) -> None:
    """The newest first; this one is marked, and has no button."""
    system.advance(3600)
    system.browser("alice")
    system.browser("bob")
    page = alice.get(SETTINGS)
    assert "2023-11-14 23:13 UTC from 127.0.0.1 End 2023-11-14 22:13 UTC" in page.words
    assert page.words.count("This login") == 1
    assert page.text.count('name="login"') == 1


def test_login_of_before_there_were_addresses_is_listed(system: System, alice: Browser) -> None:
    user = wait(system.registry.find_user("alice"))
    old = Session(b"old", ResourceOwner("alice", subject=user.subject), 1_700_040_000, 1_699_996_800)
    wait(system.registry.add_session(old))
    assert "2023-11-14 21:20 UTC End" in alice.get(SETTINGS).words


def test_one_login_is_ended(system: System, alice: Browser) -> None:
    """The others stay."""
    one, other = system.browser("alice"), system.browser("alice")
    page = alice.get(SETTINGS)
    assert page.text.count('name="login"') == 2
    form = next(form for form in page.page.forms if "login" in form.names)
    answer = alice.post(SETTINGS, form.hidden)
    assert (answer.status, answer.location) == (303, SETTINGS)
    page = alice.follow(answer)
    assert "The login has ended." in page.words
    assert page.text.count('name="login"') == 1
    assert sorted(each.get(SETTINGS).status for each in (one, other)) == [200, 303]


def test_all_other_logins_are_ended(system: System, alice: Browser, bob: Browser) -> None:
    others = [system.browser("alice") for _ in range(3)]
    answer = alice.submit(alice.get(SETTINGS), "others")
    assert "All other logins have ended." in alice.follow(answer).words
    assert {each.get(SETTINGS).status for each in others} == {303}
    assert alice.get(SETTINGS).status == bob.get(SETTINGS).status == 200
    assert "End all other logins" not in alice.get(SETTINGS).words
    assert "user end-logins" in {each.action for each in system.events()}


def test_login_of_another_user_is_not_ended(system: System, alice: Browser, bob: Browser) -> None:
    """AC-03: also with the form that its user has got."""
    system.browser("alice")
    form = alice.get(SETTINGS).form("login").hidden
    assert bob.post(SETTINGS, form).status == 403
    mine = bob.get(SETTINGS).form("csrf_token").hidden if "csrf_token" in bob.get(SETTINGS).text else {}
    assert bob.post(SETTINGS, {**mine, "login": form["login"]}).status == 403
    assert alice.get(SETTINGS).text.count('name="login"') == 1


def test_login_that_has_ended_already_is_no_error(system: System, alice: Browser) -> None:
    other = system.browser("alice")
    page = alice.get(SETTINGS)
    other.log_out()
    assert alice.submit(page, "login").status == 303
    assert alice.get(SETTINGS).status == 200


def test_many_logins_are_not_all_shown(system: System, alice: Browser) -> None:
    """The page stays small, and all of them can be ended."""
    for _ in range(MAX_SHOWN + 1):
        system.browser("alice")
    page = alice.get(SETTINGS)
    assert page.text.count('name="login"') in (MAX_SHOWN - 1, MAX_SHOWN)
    assert "Older logins are not shown." in page.words
    assert len(page.body) + len(system.send("GET", "/oauth2/style.css").body) < 30_000
    alice.submit(page, "others")
    assert "Older logins are not shown." not in alice.get(SETTINGS).words
