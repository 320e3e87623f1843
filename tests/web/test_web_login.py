"""Logging in and out: the pages, the cookie, the session behind it (RFC 9700, 4.11 and 4.16)."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import attrs
import pytest
from argon2 import PasswordHasher
from attrs import frozen
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.error import LoginDenied
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from web_driver import (
    PASSWORDS,
    Answer,
    App,
    Browser,
    System,
    Wire,
    assert_not_sent,
    encoded,
    post_bytes,
    tokens_of,
    wait,
)
from zope.interface import implementer

from djoauth2_twisted import IResourceOwner, Settings, credentials, passwords
from djoauth2_twisted.conf import MAX_SESSIONS
from djoauth2_twisted.errors import TemporarilyUnavailable
from djoauth2_twisted.models import ResourceOwner
from djoauth2_twisted.passwords import MANY, MAX_WAITING_PER_KEY, THREADS, PasswordThreads
from djoauth2_twisted.resource_owners import ResourceOwnerRealm
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore
from djoauth2_twisted.web import devices
from djoauth2_twisted.web.deadline import LOGIN_DEADLINE

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
def test_pages_answer_with_and_without_a_slash(system: System, slash: str) -> None:
    for page in ("login", "logout"):
        assert system.send("GET", f"/oauth2/{page}{slash}").status == 200


# Who can log in.


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
    ("alice x", PASSWORDS["alice"]),
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


@pytest.mark.usefixtures("true_hashes")
def test_argon2_passwords_of_the_registry(make_system: MakeSystem) -> None:
    """The whole flow with true hashes, which are made and compared in threads."""
    system = make_system(checked_in_memory=False)
    app = system.add_client("App")
    assert system.call(app.tokens(system.browser("alice"))["access_token"]).status == 200
    system.add_user("zoë", "Pässwörd 日本語")
    assert system.browser().log_in("zoë", "Pässwörd 日本語").status == 303
    assert system.browser().log_in("zoë", "Passwörd 日本語").status == 403


@pytest.fixture
def parameters(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets argon2's time cost; the other parameters are small, so that hashes are quick."""

    def choose(time_cost: int) -> None:
        hasher = PasswordHasher(time_cost=time_cost, memory_cost=64, parallelism=1)
        monkeypatch.setattr(credentials, "_hasher", hasher)

    choose(1)
    return choose


def _hash_of(system: System, username: str) -> str:
    password_hash: str = wait(system.registry.find_user(username)).password_hash
    return password_hash


def test_a_login_renews_a_hash_of_old_parameters(
    make_system: MakeSystem, parameters: Callable[[int], None]
) -> None:
    """RFC 9106, section 4: it ends no login and no token, and the browser stays a known one."""
    system = make_system(checked_in_memory=False)
    app, alice = system.add_client("App"), system.browser("alice")
    tokens, old = app.tokens(alice), _hash_of(system, "alice")
    parameters(2)
    assert system.browser().log_in("alice", "wrong").status == 403
    assert _hash_of(system, "alice") == old
    browser = system.browser("alice")
    new = _hash_of(system, "alice")
    assert "t=1," in old
    assert "t=2," in new
    assert logged_in(alice)
    assert system.call(tokens["access_token"]).status == 200
    assert tokens_of(app.refresh(tokens["refresh_token"]))
    (device,) = [name for name in browser.cookies if name.endswith("-device")]
    nonce, _, proof = browser.cookies[device].partition("-")
    user = wait(system.registry.find_user("alice"))
    assert devices._proof(user, nonce).decode() == proof
    # Once is enough.
    system.browser("alice")
    assert _hash_of(system, "alice") == new
    assert system.browser().log_in("bob").status == 303


def test_a_renewed_hash_does_not_replace_a_new_password(
    make_system: MakeSystem, parameters: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password is changed after the old one was verified."""
    system = make_system(checked_in_memory=False)
    parameters(2)
    rehash = PasswordThreads.rehash

    def change_first(self: PasswordThreads, password: str, turn: Any) -> Any:
        changing = Deferred.fromCoroutine(
            system.administration.set_password("alice", "another one altogether")
        )
        return changing.addCallback(lambda _: rehash(self, password, turn))

    monkeypatch.setattr(PasswordThreads, "rehash", change_first)
    assert system.browser().log_in("alice").status == 403
    monkeypatch.undo()
    assert system.browser().log_in("alice").status == 403
    assert system.browser().log_in("alice", "another one altogether").status == 303


def test_a_login_does_not_fail_as_another_has_renewed_the_hash(
    make_system: MakeSystem, parameters: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    system = make_system(checked_in_memory=False)
    parameters(2)
    rehash = PasswordThreads.rehash

    def log_in_first(self: PasswordThreads, password: str, turn: Any) -> Any:
        monkeypatch.setattr(PasswordThreads, "rehash", rehash)
        user = wait(system.registry.find_user("alice"))
        renewed = attrs.evolve(user, password_hash=credentials.hash_password(password))
        wait(system.registry.update_user(renewed))
        return rehash(self, password, turn)

    monkeypatch.setattr(PasswordThreads, "rehash", log_in_first)
    assert system.browser().log_in("alice").status == 303


def test_a_password_that_is_changed_while_it_is_checked_begins_no_login(
    make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a login would outlive the change, which ends all others."""
    system = make_system(checked_in_memory=False)
    verify = PasswordThreads.verify

    def change_then(self: PasswordThreads, password_hash: str | None, typed: str, turn: Any) -> Any:
        def change(right: str | None) -> Any:
            new = system.administration.set_password("alice", "another one altogether")
            return Deferred.fromCoroutine(new).addCallback(lambda _: right)

        return verify(self, password_hash, typed, turn).addCallback(change)

    monkeypatch.setattr(PasswordThreads, "verify", change_then)
    browser = system.browser()
    assert browser.log_in("alice").status == 403
    assert not logged_in(browser)


def test_a_hash_that_cannot_be_renewed_now_is_no_reason_to_refuse(
    make_system: MakeSystem, parameters: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    system = make_system(checked_in_memory=False)
    parameters(2)
    monkeypatch.setattr(system.registry, "update_user", lambda *_, **__: fail(TemporarilyUnavailable()))
    assert system.browser().log_in("alice").status == 303
    assert "t=1," in _hash_of(system, "alice")


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


class Threads:
    """Password threads that work when the test says so; the true ones, but for `deferToThreadPool`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._working: list[tuple[Callable[[], object], Deferred[object]]] = []
        self.done = 0
        monkeypatch.setattr(passwords, "deferToThreadPool", self._defer)
        monkeypatch.setattr(credentials, "hash_password", "<{}>".format)
        monkeypatch.setattr(credentials, "verify_password", lambda kept, sent: kept == f"<{sent}>")

    def _defer(self, reactor: object, pool: object, work: Callable[[], object]) -> Deferred[object]:
        self._working.append((work, Deferred()))
        return self._working[-1][1]

    def __len__(self) -> int:
        return len(self._working)

    def go_on(self, system: System) -> None:
        """End the work that began first."""
        work, done = self._working.pop(0)
        self.done += 1
        done.callback(work())
        system.agent.flush()

    def end(self, system: System) -> None:
        """End all work."""
        while self._working:
            self.go_on(system)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    return Threads(monkeypatch)


@pytest.fixture
def guarded(threads: Threads, make_system: MakeSystem) -> System:
    """A server whose users are its own, and whose passwords are hashed when the test says so."""
    system = make_system(checked_in_memory=False)
    for username, password in PASSWORDS.items():
        user = wait(system.registry.find_user(username))
        kept = attrs.evolve(user, password_hash=f"<{password}>")
        wait(system.registry.update_user(kept))
    return system


@frozen
class Login:
    """A login that has been sent, over a separate connection."""

    system: System
    threads: Threads
    wire: Wire

    @property
    def status(self) -> int:
        """Of the answer; 0 where there is none yet."""
        return self.wire.answer.status if self.wire.value() else 0

    @property
    def answer(self) -> Answer:
        """The answer, once the passwords before it and its own are judged."""
        self.threads.end(self.system)
        return self.wire.answer

    def hang_up(self) -> None:
        self.wire.hang_up()


@frozen
class People:
    """Those who log in at a server, from wherever the test says."""

    system: System
    threads: Threads

    def begin(
        self, peer: str, username: str = "alice", password: str = "a guess", cookies: str = ""
    ) -> Login:
        """Send a login and do not wait for the answer."""
        hello = b"GET /oauth2/login/ HTTP/1.1\r\nHost: as.example\r\n\r\n"
        page = self.system.raw(hello, peer=peer)
        cookie = (page.header("set-cookie") or "").partition(";")[0]
        form = {**page.form("password").hidden, "username": username, "password": password}
        wire = self.system.wire(peer=peer)
        head = f"Cookie: {cookie}{cookies and '; '}{cookies}"
        wire.send(post_bytes("/oauth2/login/", encoded(form), head))
        return Login(self.system, self.threads, wire)

    def status(self, *arguments: str, **named: str) -> int:
        """The status of a login's answer."""
        return self.begin(*arguments, **named).answer.status

    def device(self, peer: str, username: str) -> str:
        """The cookie by which the server knows a browser again that was used for a login."""
        answer = self.begin(peer, username, PASSWORDS[username]).answer
        assert answer.status == 303
        (device,) = [
            line.partition(";")[0]
            for line in answer.headers.getRawHeaders("set-cookie", [])
            if line.startswith(f"{COOKIE}-device=")
        ]
        return device


@pytest.fixture
def people(guarded: System, threads: Threads) -> People:
    return People(guarded, threads)


def test_too_many_logins_from_one_address_are_sent_away_soon(people: People, threads: Threads) -> None:
    """CC-10: the queue before the password threads is bounded, and shared by turns."""
    crowd = [people.begin("192.0.2.1", f"user{number}") for number in range(30)]
    away = [login for login in crowd if login.status == 503]
    assert len(away) == 30 - MAX_WAITING_PER_KEY - THREADS
    assert int(away[0].answer.header("retry-after") or 0) > 0
    assert len(threads) == 0


def test_many_logins_from_one_address_do_not_delay_another_address(
    people: People, threads: Threads
) -> None:
    """A login from another address is the next, whether the many wait or hang up."""
    for hangs_up in (False, True):
        crowd = [people.begin("192.0.2.1", f"user{number}") for number in range(30)]
        alice = people.begin("192.0.2.2", "alice", PASSWORDS["alice"])
        for login in crowd:
            if hangs_up:
                login.hang_up()
        for _ in range(THREADS + 2):
            if threads:
                threads.go_on(people.system)
        assert alice.status == 303
        threads.end(people.system)


def test_a_login_counts_though_its_client_hangs_up(people: People, threads: Threads) -> None:
    """The attempt counts when it begins; what waited for a thread waits no longer."""
    for _ in range(10):
        people.begin("192.0.2.1").hang_up()
    assert len(threads) == THREADS
    threads.end(people.system)
    assert threads.done == THREADS
    assert people.begin("192.0.2.1").status == 429
    assert people.status("192.0.2.2", "alice", PASSWORDS["alice"]) == 303


def test_many_names_from_one_address_that_hangs_up(people: People, threads: Threads) -> None:
    """That address has to wait, and no other."""
    for number in range(300):
        people.begin("192.0.2.1", f"user{number}").hang_up()
    threads.end(people.system)
    assert people.begin("192.0.2.1", "one-more").status == 429
    assert people.status("192.0.2.2", "alice", PASSWORDS["alice"]) == 303


def test_simultaneous_guesses_count_as_successive_ones(people: People, threads: Threads) -> None:
    """None begins before those before it are counted."""
    crowd = [people.begin("192.0.2.1", password=f"guess {number}") for number in range(15)]
    assert [login.status for login in crowd] == [0] * 10 + [429] * 5
    threads.end(people.system)
    assert [login.status for login in crowd] == [403] * 10 + [429] * 5


def test_a_login_that_is_not_checked_in_time_is_no_guess(people: People, threads: Threads) -> None:
    """503, and the attempt is given back: the client has learned nothing about the password."""
    crowd = [people.begin("192.0.2.1", password=f"guess {number}") for number in range(10)]
    people.system.advance(LOGIN_DEADLINE)
    people.system.agent.flush()
    assert [login.status for login in crowd] == [503] * 10
    threads.end(people.system)
    assert [people.status("192.0.2.1") for _ in range(11)] == [403] * 10 + [429]


def test_a_right_password_is_not_counted_as_a_guess(people: People) -> None:
    """It is given back; the guesses before it stay counted."""
    for _ in range(9):
        assert people.status("192.0.2.1") == 403
    for _ in range(20):
        assert people.status("192.0.2.1", "alice", PASSWORDS["alice"]) == 303
    assert people.status("192.0.2.1") == 403
    assert people.status("192.0.2.1") == 429


def test_a_password_that_is_replayed(people: People, threads: Threads) -> None:
    """No person logs in that often: it takes neither threads nor rows, and others continue."""
    system = people.system
    statuses = [people.status("192.0.2.1", "alice", PASSWORDS["alice"]) for _ in range(130)]
    assert statuses == [303] * 120 + [429] * 10
    # The first that is too many is judged, as its success is not known before.
    assert threads.done == 121
    assert wait(system.registry.totals(int(system.reactor.seconds()))).sessions == MAX_SESSIONS
    assert people.status("192.0.2.1", "bob", PASSWORDS["bob"]) == 303
    assert people.status("192.0.2.2", "alice", PASSWORDS["alice"]) == 303
    system.advance(60)
    assert people.status("192.0.2.1", "alice", PASSWORDS["alice"]) == 303


def test_the_oldest_of_too_many_logins_ends(people: People) -> None:
    system = people.system
    first, second = Browser(system), Browser(system)
    for browser in (first, second):
        cookie = people.begin("192.0.2.1", "alice", PASSWORDS["alice"]).answer.headers
        name, value = cookie.getRawHeaders("set-cookie", [])[-1].partition(";")[0].split("=")
        browser.cookies[name] = value
        system.advance(1)
    for _ in range(MAX_SESSIONS - 1):
        system.advance(1)
        assert people.status("192.0.2.1", "alice", PASSWORDS["alice"]) == 303
    assert [logged_in(first), logged_in(second)] == [False, True]


def test_guesses_from_everywhere_do_not_lock_the_owner_out(people: People) -> None:
    """Guesses at an account are limited over all addresses; the owner's browser is known again."""
    system = people.system
    home = people.device("198.51.100.1", "alice")
    others = people.device("198.51.100.1", "bob")
    for number in range(100):
        # In each spelling it is the same account.
        assert people.status(f"192.0.2.{number}", ("alice", "Alice ", "ALICE")[number % 3]) == 403
    assert people.status("192.0.2.200") == 429
    assert people.status("198.51.100.1", "alice", PASSWORDS["alice"]) == 429
    for name in ("alice", "Alice"):
        assert people.status("198.51.100.9", name, PASSWORDS["alice"], cookies=home) == 303
    # The proof is the user's own and cannot be made up, and there is one limit to each.
    changed = home[:-1] + ("A" if home[-1] != "A" else "B")
    for cookies in (others, changed, f"{COOKIE}-device=x", f"{home}; {others}"):
        assert people.status("198.51.100.1", cookies=cookies) == 429
    assert people.status("198.51.100.9", "bob", PASSWORDS["bob"]) == 303
    assert [people.status("192.0.2.201", cookies=home) for _ in range(11)] == [403] * 10 + [429]
    # Now and then one, from any address; and a name that no user has is limited just as well.
    system.advance(36)
    assert people.status("198.51.100.1", "alice", PASSWORDS["alice"]) == 303
    for number in range(100):
        assert people.status(f"192.0.2.{number}", "nobody") == 403
    assert people.status("192.0.2.200", "nobody") == 429


def test_a_new_password_makes_every_browser_a_stranger(people: People, threads: Threads) -> None:
    home = people.device("198.51.100.1", "alice")
    user = wait(people.system.registry.find_user("alice"))
    wait(people.system.registry.update_user(attrs.evolve(user, password_hash="<new one>")))
    for number in range(100):
        people.status(f"192.0.2.{number}")
    assert people.status("198.51.100.1", "alice", "new one", cookies=home) == 429


def test_a_known_browser_can_log_in_from_an_address_that_has_to_wait(people: People) -> None:
    """A proxy's, or an office's: what its others do does not count for it."""
    home = people.device("192.0.2.1", "alice")
    for number in range(300):
        people.begin("192.0.2.1", f"user{number}").hang_up()
    assert people.status("192.0.2.1", "bob", PASSWORDS["bob"]) == 429
    assert people.status("192.0.2.1", "alice", PASSWORDS["alice"], cookies=home) == 303


def test_the_cookie_of_a_known_browser(people: People) -> None:
    """UI-15: like the other cookie, but it stays; and it logs no user in."""
    answer = people.begin("192.0.2.1", "alice", PASSWORDS["alice"]).answer
    (line,) = [
        line for line in answer.headers.getRawHeaders("set-cookie", []) if f"{COOKIE}-device=" in line
    ]
    device, *attributes = line.split("; ")
    assert set(attributes) == {"Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=34560000"}
    page = people.system.send("GET", "/oauth2/logout/", None, [("Cookie", device)])
    assert "You are not logged in" in page.words


@pytest.mark.parametrize(
    ("address", "same"),
    [("2001:db8::2", True), ("2001:db8::ffff:1", True), ("2001:db8:0:1::1", False)],
)
def test_an_ipv6_network_is_one_throttle_key(system: System, address: str, same: bool) -> None:
    """AB-03: otherwise an attacker with a /64 has as many addresses as guesses."""
    for _ in range(10):
        assert _attempt(system, "2001:db8::1", "wrong password").status == 403
    assert _attempt(system, address, "wrong password").status == (429 if same else 403)


def test_new_passwords_are_not_kept_waiting_by_logins(people: People, threads: Threads) -> None:
    """Nor those by these: each kind has its share, and each administrator."""
    system = people.system
    for number in range(MANY):
        people.begin(f"192.0.2.{number}", f"user{number}")
    new = system.server.passwords.hash("a new password", key="admin")
    for _ in range(THREADS + 1):
        threads.go_on(system)
    assert wait(new) == "<a new password>"
    threads.end(system)


_FORM = ("Content-Type", "application/x-www-form-urlencoded")


class _Employee:
    username = "carol"
    first_name = "Carol"


def test_a_portal_of_the_application_logs_users_in(make_system: MakeSystem) -> None:
    """INTERFACE, section 4: it is asked for `IResourceOwner`; what it does not know stays empty."""
    checker = InMemoryUsernamePasswordDatabaseDontUse(carol=b"secret of carol")

    @implementer(IRealm)
    class Realm:
        def requestAvatar(self, avatarId: bytes | tuple[()], mind: object, *interfaces: object) -> Any:
            assert interfaces == (IResourceOwner,)
            return IResourceOwner, _Employee(), lambda: None

    system = make_system(portal=Portal(Realm(), [checker]))
    app, carol = system.add_client("App"), system.browser()
    assert carol.log_in("alice", PASSWORDS["alice"]).status == 403
    assert carol.log_in("carol", "secret of carol").status == 303
    said = system.call(app.tokens(carol)["access_token"]).json
    assert said == {"username": "carol", "first_name": "Carol", "last_name": "", "email": ""}


def test_a_portal_that_denies_a_login(make_system: MakeSystem) -> None:
    """The page is the same as for a wrong password, although the password is right."""

    @implementer(IRealm)
    class Realm:
        def requestAvatar(self, avatarId: bytes | tuple[()], mind: object, *interfaces: object) -> Any:
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


@implementer(IRealm)
class _Answers:
    """A realm whose avatar is what the test wants."""

    def __init__(self, avatar: object) -> None:
        self.avatar = avatar

    def requestAvatar(self, avatarId: bytes | tuple[()], mind: object, *interfaces: object) -> Any:
        return IResourceOwner, self.avatar, lambda: None


def _portal(realm: IRealm) -> Portal:
    return Portal(realm, [InMemoryUsernamePasswordDatabaseDontUse(carol=b"secret of carol")])


UNFIT = {
    "nothing": None,
    "no name": SimpleNamespace(),
    "a name of bytes": SimpleNamespace(username=b"carol"),
    "a number": SimpleNamespace(username=7),
    "an empty name": SimpleNamespace(username=""),
    "a long name": SimpleNamespace(username="x" * 256),
    "a name with a NUL": SimpleNamespace(username="carol\0"),
    "two lines": SimpleNamespace(username="carol\nroot"),
    "half a character": SimpleNamespace(username="\udcff"),
    "white space": SimpleNamespace(username=" carol"),
    "a long email": SimpleNamespace(username="carol", email="x" * 256),
    "a name that is none": SimpleNamespace(username="carol", first_name=["Carol"]),
    "an unprintable name": SimpleNamespace(username="carol", last_name="\x1b[2J"),
}


@pytest.mark.parametrize("avatar", UNFIT.values(), ids=list(UNFIT))
def test_an_avatar_that_cannot_be_stored_is_refused(
    make_system: MakeSystem, avatar: object, log: Any
) -> None:
    """No login, no fault, and one line that says why."""
    system = make_system(portal=_portal(_Answers(avatar)))
    browser = system.browser()
    answer = browser.log_in("carol", "secret of carol")
    assert (answer.status, answer.words) == (403, browser.log_in("carol", "wrong").words)
    assert sum("returned no resource owner" in line for line in log.lines) == 1
    assert not logged_in(browser)


def test_an_avatar_may_leave_out_what_it_does_not_know(make_system: MakeSystem) -> None:
    avatar = SimpleNamespace(username="carol", email=None)
    system = make_system(portal=_portal(_Answers(avatar)))
    assert system.browser().log_in("carol", "secret of carol").status == 303


@pytest.mark.parametrize("by", ["checker", "portal"])
def test_a_disabled_user_cannot_log_in_by_checker_or_portal(make_system: MakeSystem, by: str) -> None:
    """Whatever checker or Portal said yes: logins, consent, codes and tokens."""
    registry = MemoryRegistry()
    checker = InMemoryUsernamePasswordDatabaseDontUse(carol=b"secret of carol")
    ways: dict[str, dict[str, Any]] = {
        "checker": {"checkers": [checker]},
        "portal": {"portal": _portal(_Answers(SimpleNamespace(username="carol")))},
    }
    system = make_system(
        Settings(remember_consent=True), stores=(None, registry, MemoryTokenStore()), **ways[by]
    )
    app, carol = system.add_client("App"), system.browser()
    assert carol.log_in("carol", "secret of carol").status == 303
    system.do(system.administration.add_user("carol", "another password"))
    assert not logged_in(carol), "who has the name here need not be the same"
    assert carol.log_in("carol", "secret of carol").status == 303
    tokens, code = app.tokens(carol), app.ask(carol).parameters["code"]
    system.do(system.administration.edit_user("carol", disabled=True))
    assert not logged_in(carol)
    assert app.ask(carol).location.startswith("/oauth2/login/")
    assert system.call(tokens["access_token"]).status == 401
    assert app.refresh(tokens["refresh_token"]).error == "invalid_grant"
    assert app.exchange(code).error == "invalid_grant"
    assert carol.log_in("carol", "secret of carol").status == 403
    assert system.browser().log_in("carol", "secret of carol").status == 403
    assert system.grants() == []
    system.do(system.administration.edit_user("carol", disabled=False))
    assert system.browser().log_in("carol", "secret of carol").status == 303


def test_a_user_added_as_disabled_loses_earlier_logins_and_grants(make_system: MakeSystem) -> None:
    """Logins and grants by another checker under that name end, also after the user is enabled."""
    registry = MemoryRegistry()
    checker = InMemoryUsernamePasswordDatabaseDontUse(carol=b"secret of carol")
    system = make_system(stores=(None, registry, MemoryTokenStore()), checkers=[checker])
    app, carol = system.add_client("App"), system.browser()
    carol.log_in("carol", "secret of carol")
    tokens = app.tokens(carol)
    system.do(system.administration.add_user("carol", "another password", disabled=True))
    assert system.call(tokens["access_token"]).status == 401
    system.do(system.administration.edit_user("carol", disabled=False))
    assert not logged_in(carol)
    assert system.grants() == []


def test_a_user_disabled_during_the_login_is_not_logged_in(
    make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The login is stored too late to be ended by that, and is none."""
    registry = MemoryRegistry()
    checker = InMemoryUsernamePasswordDatabaseDontUse(carol=b"secret of carol")
    system = make_system(stores=(None, registry, MemoryTokenStore()), checkers=[checker])
    system.do(system.administration.add_user("carol", "another password"))
    add_session = registry.add_session

    def disable_first(*arguments: Any) -> Any:
        system.do(system.administration.edit_user("carol", disabled=True))
        return add_session(*arguments)

    monkeypatch.setattr(registry, "add_session", disable_first)
    carol = system.browser()
    carol.log_in("carol", "secret of carol")
    assert not logged_in(carol)


@pytest.mark.parametrize("late", ["yes", "no", "never"])
def test_a_portal_that_does_not_answer(make_system: MakeSystem, log: Any, late: str) -> None:
    """503 after a while, and one line; what is said later changes nothing."""
    saying: Deferred[object] = Deferred()

    @implementer(IRealm)
    class Realm:
        def requestAvatar(self, avatarId: bytes | tuple[()], mind: object, *interfaces: object) -> Any:
            return saying

    system = make_system(portal=_portal(Realm()))
    browser = system.browser()
    page = browser.get("/oauth2/login/")
    form = {**page.form("password").hidden, "username": "carol", "password": "secret of carol"}
    cookie = ("Cookie", f"{COOKIE}={browser.secret}")
    sent = system.begin("POST", "/oauth2/login/", encoded(form), [cookie, _FORM], faults=True)
    system.advance(LOGIN_DEADLINE - 1)
    assert sum("did not answer within" in line for line in log.lines) == 0
    system.advance(1)
    system.agent.flush()
    answer = sent.answer
    assert answer.status == 503
    assert answer.header("retry-after")
    if late != "never":
        said = (IResourceOwner, _Employee(), lambda: None) if late == "yes" else Failure(LoginDenied())
        saying.callback(said)
    assert sum("did not answer within" in line for line in log.lines) == 1
    assert not logged_in(browser)
    assert wait(system.registry.totals(0)).sessions == 0


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
    """After the login on this page the interrupted request continues, byte for byte."""
    assert browser.log_in("alice", page=page).location == address


def test_a_wrong_password_loses_nothing(system: System, app: App) -> None:
    browser = system.browser()
    address = app.address("&x=a+b%20c")
    page = browser.log_in("alice", "wrong", page=browser.follow(browser.get(address)))
    assert "The name or the password is wrong." in page.words
    assert 'value="alice"' in page.text
    assert_goes_on(browser, page, address)


def test_the_page_says_how_long_to_wait(system: System, app: App) -> None:
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
def test_a_typed_username_is_shown_again_if_it_may_be_one(system: System, length: int) -> None:
    """UI-19: the page stays small, whatever was sent."""
    page = system.browser().log_in("x" * length, "wrong")
    assert page.status == 403
    assert page.form("password").values["username"] == ("x" * length if length < 256 else "")
    assert len(page.body) < 3000


ENDED = "Your login has ended. Log in again to continue."


@pytest.mark.parametrize("how", ["time", "a new password"])
def test_the_login_page_says_that_the_login_has_ended(make_system: MakeSystem, how: str) -> None:
    """The page says so, whether the browser asked, consented, or removed an application."""
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


def test_without_an_earlier_login_the_page_does_not_say_that_it_has_ended(
    app: App, system: System
) -> None:
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
    """WCAG 2.2, 3.3.1 and 4.1.3: a screen reader reads what is wrong."""
    page = system.browser().log_in("alice", "wrong")
    (message,) = [found for _, found in page.page.elements if found.get("id") == "message"]
    assert message["role"] == "alert"
    described = [found for tag, found in page.page.elements if found.get("aria-describedby")]
    assert [found["name"] for found in described] == ["username", "password"]


def test_the_login_page_lets_a_logged_in_user_go_on(app: App, alice: Browser) -> None:
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


def test_a_link_does_not_log_out(system: System, alice: Browser) -> None:
    for address in ("/oauth2/logout/", "/oauth2/logout/?csrf_token=x"):
        assert alice.get(address).status == 200
        assert logged_in(alice)


@pytest.mark.parametrize("token", [None, "", "x", "\udcff"])
def test_a_forged_form_does_not_log_out(system: System, alice: Browser, token: str | None) -> None:
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
        assert bob.submit(page, "csrf_token").location == "/oauth2/logout/?done=yes"
        bob.log_in("bob")
        page = bob.get("/oauth2/logout/")
        assert bob.submit(page, "csrf_token", next=there).location == "/oauth2/logout/?done=yes"


def test_a_logout_page_that_was_open_for_too_long(system: System, alice: Browser) -> None:
    page = alice.get("/oauth2/logout/?next=/x")
    system.advance(3600)
    page = alice.submit(page, "csrf_token")
    assert page.status == 403
    assert "This page has expired. Please try again." in page.words
    assert logged_in(alice)
    assert alice.submit(page, "csrf_token").location == "/x"


def test_a_login_that_is_sent_twice(system: System, app: App) -> None:
    """By a double click: the second one leads to the same page, whatever the first has changed."""
    browser = system.browser()
    page = browser.follow(app.ask(browser))
    answers = [browser.log_in("alice", page=page) for _ in range(3)]
    assert {answer.location for answer in answers} == {app.address()}
    assert logged_in(browser)


def test_a_login_that_is_sent_again_as_somebody_else(system: System) -> None:
    """A form of another login is refused."""
    browser = system.browser()
    page = browser.get("/oauth2/login/")
    browser.log_in("alice", page=page)
    answer = browser.log_in("bob", page=page)
    assert answer.status == 403
    assert "This page has expired. Please try again." in answer.words
    assert "You are logged in as alice." in browser.get("/oauth2/account/").words


def test_a_logout_that_is_sent_twice(system: System, alice: Browser) -> None:
    """The second one finds no user logged in, and leads to the same page."""
    page = alice.get("/oauth2/logout/?next=/x")
    for _ in range(2):
        assert alice.submit(page, "csrf_token").location == "/x"
    alice.log_in("bob")
    assert alice.submit(page, "csrf_token").status == 403
    assert logged_in(alice)


def test_after_the_logout_the_pages_show_nothing(system: System, app: App, alice: Browser) -> None:
    """UI-20."""
    page = app.ask(alice)
    assert page.header("cache-control") == "no-store"
    assert alice.log_out().location == "/oauth2/logout/?done=yes"
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


def test_guessing_is_slowed_down_and_does_not_lock_the_user_out(system: System) -> None:
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


def test_the_limits_on_wrong_passwords_are_settings(make_system: MakeSystem, threads: Threads) -> None:
    """AB-03: for a name at an address, for an address, and for an account."""
    limits = Settings(
        max_wrong_passwords=2, max_failures_per_address=4, max_wrong_passwords_per_account=3
    )
    people = People(make_system(limits, checked_in_memory=False), threads)

    def statuses(*attempts: tuple[str, str]) -> list[int]:
        return [people.status(host, name) for host, name in attempts]

    first, second = "192.0.2.1", "192.0.2.2"
    assert statuses(*[(first, "alice")] * 3) == [403, 403, 429]
    assert statuses(*[(first, f"name{number}") for number in range(3)]) == [403, 403, 429]
    assert statuses(*[(second, "alice")] * 2) == [403, 429]
    assert statuses((second, "bob")) == [403]


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


def test_login_names_the_application_that_it_is_for(system: System, app: App) -> None:
    """As far as the request names a client that is registered and enabled."""
    browser = system.browser()
    page = browser.follow(browser.get(app.address()))
    assert "to go on to App" in page.words
    assert "to go on to App" in browser.log_in("alice", "a wrong one", page=page).words
    system.do(system.administration.edit_client(app.client_id, disabled=True))
    for address in (
        f"/oauth2/login/?next=/oauth2/authorization/?client_id={app.client_id}",
        "/oauth2/login/?next=/oauth2/authorization/?client_id=nobody",
        "/oauth2/login/?next=/oauth2/authorization/?client_id=%25ff",
        f"/oauth2/login/?next=/elsewhere/?client_id={app.client_id}",
    ):
        assert "to go on to" not in browser.get(address).words


def test_a_page_says_that_one_is_logged_out(system: System, alice: Browser) -> None:
    """But not to a user who is logged in."""
    assert "You are logged out" not in alice.get("/oauth2/logout/?done=yes").words
    answer = alice.submit(alice.get("/oauth2/logout/"), "csrf_token")
    assert answer.location == "/oauth2/logout/?done=yes"
    assert "You are logged out" in alice.follow(answer).words
