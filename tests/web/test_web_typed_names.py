"""Names and passwords as people type them at the login and on the administrator's pages (RFC 8265)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from admin_driver import address, administrator, fill_in
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail
from waiting import until
from web_driver import System, wait

from djoauth2_twisted import credentials
from djoauth2_twisted.conf import Settings
from djoauth2_twisted.errors import TemporarilyUnavailable
from djoauth2_twisted.models import User
from djoauth2_twisted.stores.sql import schema

#: The default limit on wrong passwords.
GUESSES = Settings().max_wrong_passwords

MakeSystem = Callable[..., System]

COMPOSED, DECOMPOSED = "j\u00fcrgen", "ju\u0308rgen"
PASSWORD, PASSWORD_DECOMPOSED = "gr\u00fcne Wiese", "gru\u0308ne Wiese"


@pytest.fixture
def system(make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch) -> System:
    """Our own users, whose hash is the password in brackets."""
    monkeypatch.setattr(credentials, "hash_password", "<{}>".format)
    monkeypatch.setattr("web_driver.hash_password", "<{}>".format)
    monkeypatch.setattr(credentials, "verify_password", lambda kept, sent: kept == f"<{sent}>")
    system = make_system(checked_in_memory=False)
    add(system, COMPOSED, f"<{PASSWORD}>")
    return system


def add(system: System, name: str, password_hash: str) -> None:
    wait(system.registry.add_user(User(name, password_hash)))


def hash_of(system: System, name: str) -> str:
    user = wait(system.registry.find_user(name))
    assert user is not None
    return user.password_hash


def log_in(system: System, name: str, password: str) -> int:
    browser = system.browser()
    form = browser.get("/oauth2/login/").form("password").hidden
    typed = {**form, "username": name, "password": password}
    return browser.post("/oauth2/login/", typed, faults=True).status


@pytest.mark.parametrize("password", [PASSWORD, PASSWORD_DECOMPOSED])
@pytest.mark.parametrize(
    "name", [COMPOSED, DECOMPOSED, f"{COMPOSED} ", f" {DECOMPOSED}\u3000", "J\u00dcRGEN", "JU\u0308rgen"]
)
def test_login_takes_a_name_in_any_spelling(system: System, name: str, password: str) -> None:
    """It is the registered name that is logged in."""
    browser = system.browser()
    assert browser.log_in(name, password).status == 303
    assert f"You are logged in as {COMPOSED}" in browser.get("/oauth2/login/").words


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("jurgen", PASSWORD),
        (COMPOSED, PASSWORD.upper()),
        (COMPOSED, f"{PASSWORD} "),
        (f"{COMPOSED}x", PASSWORD),
    ],
)
def test_other_names_and_passwords_are_wrong(system: System, name: str, password: str) -> None:
    assert log_in(system, name, password) == 403


def test_hash_of_before_is_verified_and_renewed(system: System) -> None:
    """It was made of what a keyboard sent. After one such login, every keyboard's form is right."""
    add(system, "old", f"<{PASSWORD_DECOMPOSED}>")
    assert log_in(system, "old", PASSWORD) == 403
    assert log_in(system, "old", PASSWORD_DECOMPOSED) == 303
    assert hash_of(system, "old") == f"<{PASSWORD}>"
    for password in (PASSWORD, PASSWORD_DECOMPOSED):
        assert log_in(system, "old", password) == 303
    # One in the right form is never hashed again.
    assert hash_of(system, COMPOSED) == f"<{PASSWORD}>"


def test_new_passwords_are_hashed_in_one_form(system: System) -> None:
    for action in (
        lambda: system.server.administration.add_user("new", PASSWORD_DECOMPOSED),
        lambda: system.server.administration.set_password("new", "u\u0308ber den Wolken"),
    ):
        system.do(action())
    assert hash_of(system, "new") == "<\u00fcber den Wolken>"


def test_unknown_name_takes_as_many_hashes_as_a_wrong_password(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UI-24: in either form."""
    verified: list[str] = []
    monkeypatch.setattr(credentials, "verify_password", lambda _, sent: verified.append(sent))
    for password in ("plain", PASSWORD_DECOMPOSED):
        counts = []
        for name in (COMPOSED, "unknown"):
            verified.clear()
            assert log_in(system, name, password) == 403
            counts.append(len(verified))
        assert counts == [1 if password == "plain" else 2] * 2


def test_spellings_of_a_name_share_the_throttle(system: System) -> None:
    """UI-24: to write a name in another way gives no further guesses."""
    spellings = [COMPOSED, DECOMPOSED, COMPOSED.upper(), f"{COMPOSED} ", f" {DECOMPOSED.title()}"]
    for number in range(GUESSES):
        assert log_in(system, spellings[number % len(spellings)], "a guess") == 403
    for spelling in spellings:
        assert log_in(system, spelling, "a guess") == 429
    assert log_in(system, "another", "a guess") == 403


# A database from before names were folded.


@pytest.fixture
def namesakes(tmp_path: Any, make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch) -> System:
    """A database with three users whose names are alike; one of them is disabled."""
    import sqlalchemy as sa

    monkeypatch.setattr(credentials, "hash_password", "<{}>".format)
    monkeypatch.setattr("web_driver.hash_password", "<{}>".format)
    monkeypatch.setattr(credentials, "verify_password", lambda kept, sent: kept == f"<{sent}>")
    url = f"sqlite:///{tmp_path}/old.db"
    system = make_system(url=url, checked_in_memory=False)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for number, name in enumerate(("ALICIA", "Alicia", "alicia")):
            row = {
                "username": name,
                "password_hash": f"<of {name}>",
                "email": "",
                "first_name": "",
                "last_name": "",
                "admin": False,
                "disabled": name == "Alicia",
                "folded": schema.folded_digest(name),
                "namesake": number,
            }
            connection.execute(sa.insert(schema.user), row)
    engine.dispose()
    return system


def test_users_whose_names_are_alike_stay_apart(namesakes: System) -> None:
    """The exact name is meant; another spelling means none of them."""
    for name in ("ALICIA", "alicia"):
        browser = namesakes.browser()
        assert browser.log_in(f"{name} ", f"of {name}").status == 303
        assert f"You are logged in as {name}" in browser.get("/oauth2/login/").words
    for name in ("Alicia", "aLICIA"):
        for whose in ("ALICIA", "Alicia", "alicia"):
            assert log_in(namesakes, name, f"of {whose}") in {403, 429}


def test_start_warns_of_names_that_are_alike(namesakes: System, log: Any) -> None:
    namesakes.stop()
    namesakes.server.startService()
    wait(namesakes.server.when_ready())
    line = "These users must log in with exactly their names, which are alike otherwise: "
    logged = until(lambda: f"{line}'ALICIA', 'Alicia', 'alicia'" in log, "the line")
    wait(Deferred.fromCoroutine(logged))


# Other checkers and Portals.


class Refusing:
    """A Portal that notes what it is asked, and refuses everybody or does not answer."""

    def __init__(self, *outcomes: Exception) -> None:
        self.asked: list[tuple[str, str]] = []
        self.outcomes = list(outcomes)

    def login(self, presented: Any, mind: object, *interfaces: Any) -> Any:
        self.asked.append((presented.username.decode(), presented.password.decode()))
        return fail(self.outcomes.pop(0) if self.outcomes else UnauthorizedLogin())


def test_portal_is_asked_as_typed_and_then_in_the_normalized_form(make_system: MakeSystem) -> None:
    portal = Refusing()
    system = make_system(portal=portal)
    assert log_in(system, f"{DECOMPOSED} ", PASSWORD_DECOMPOSED) == 403
    assert portal.asked == [(f"{DECOMPOSED} ", PASSWORD_DECOMPOSED), (COMPOSED, PASSWORD)]
    portal.asked.clear()
    assert log_in(system, COMPOSED, PASSWORD) == 403
    assert portal.asked == [(COMPOSED, PASSWORD)]


def test_checker_that_is_asked_in_both_forms_counts_one_guess(make_system: MakeSystem) -> None:
    """Also where it does not answer the second time; where it never answered, it counts none."""
    away = TemporarilyUnavailable()
    for outcomes, status in (((), 403), ((UnauthorizedLogin(), away), 403), ((away,), 503)):
        portal = Refusing()
        system = make_system(portal=portal)
        for _ in range(GUESSES):
            portal.outcomes = list(outcomes)
            assert log_in(system, DECOMPOSED, PASSWORD) == status
        portal.outcomes = list(outcomes)
        assert log_in(system, DECOMPOSED, PASSWORD) == (429 if status == 403 else 503)


def test_name_of_another_checker_takes_no_users_place(make_system: MakeSystem) -> None:
    """Elsewhere ``Root`` and ``root`` may be two people: only one of them administers here."""
    system = make_system()
    administrator(system)
    system.checker.addUser(b"Root", b"somebody else's")
    browser = system.browser()
    assert browser.log_in("Root", "somebody else's").status == 303
    assert "logged in as Root" in browser.get("/oauth2/login/").words
    assert browser.get("/oauth2/admin/").status == 403


def test_disabled_user_is_disabled_in_any_spelling(make_system: MakeSystem) -> None:
    """A directory that ignores case says yes to all of them."""
    system = make_system()
    system.do(system.administration.edit_user("alice", disabled=True))
    system.checker.addUser(b"ALICE", b"the same password")
    assert log_in(system, "ALICE", "the same password") == 403


# The administrator's pages.


def test_user_is_added_under_the_normalized_name(make_system: MakeSystem) -> None:
    system = make_system()
    root = administrator(system)
    page = address("users/add")
    added = fill_in(root, page, username=f" {DECOMPOSED} ", password="a good password")
    assert added.status == 303
    assert wait(system.registry.find_user(COMPOSED)) is not None
    assert COMPOSED in root.follow(added).words
    for name in (COMPOSED, DECOMPOSED.upper(), f"{COMPOSED} "):
        again = fill_in(root, page, username=name, password="a good password")
        assert (again.status, f"'{COMPOSED}' already" in again.words) == (409, True)


def test_search_finds_a_name_in_any_spelling(make_system: MakeSystem) -> None:
    system = make_system()
    root = administrator(system)
    add(system, COMPOSED, "")
    add(system, f"{COMPOSED}s Bruder", "")
    for text in (DECOMPOSED, f"{COMPOSED.upper()} ", f" {COMPOSED}"):
        words = root.get(address("users", search=text)).words
        assert words.count(COMPOSED) - words.count(f"{COMPOSED}s Bruder") >= 1
    assert f"{COMPOSED}s Bruder" in root.get(address("users", search=DECOMPOSED)).words


def test_rule_for_passwords_stands_at_their_field(make_system: MakeSystem) -> None:
    """NIST SP 800-63B, section 5.1.1.2; also for a reader of the screen."""
    system = make_system()
    root = administrator(system)
    for page in (address("users/add"), address("user/password", id="alice")):
        text = root.get(page).text
        assert 'aria-describedby="password-hint"' in text
        assert '<span id="password-hint" class="aside">At least 8 characters.' in text


def test_short_password_of_before_is_still_good(system: System) -> None:
    add(system, "old", "<x>")
    assert log_in(system, "old", "x") == 303
