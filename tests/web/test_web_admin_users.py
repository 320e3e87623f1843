"""The administration's pages of users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from admin_driver import ADMIN, PASSWORD, address, administrator, fill_in, form_of, send
from twisted.internet.defer import Deferred, succeed
from web_driver import App, Browser, System, assert_token_error, encoded, post_bytes, wait

from djoauth2_twisted.credentials import verify_password
from djoauth2_twisted.errors import TemporarilyUnavailable
from djoauth2_twisted.models import User
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore
from djoauth2_twisted.web.admin import users

MakeSystem = Callable[..., System]

ADD = address("users/add")
SECRET = "a password that the user chose"


@pytest.fixture
def root(system: System) -> Browser:
    system.oracle.secrets.add(SECRET)
    return administrator(system)


def user(system: System, name: str) -> User:
    found: User = system.do(system.administration.user(name))
    return found


def test_a_user_is_added_with_the_form(system: System, root: Browser) -> None:
    answer = fill_in(
        root,
        ADD,
        username="D\xe4ve & co",
        password=SECRET,
        email="d@e.example",
        first_name="Dave",
        last_name="\u65e5\u672c",
        admin="yes",
    )
    assert (answer.status, answer.location) == (
        303,
        address("user", id="D\xe4ve & co").replace("%20", "+"),
    )
    kept = user(system, "D\xe4ve & co")
    assert verify_password(kept.password_hash, SECRET)
    assert attrs.evolve(kept, password_hash="x") == User(
        "D\xe4ve & co", "x", "d@e.example", "Dave", "\u65e5\u672c", admin=True, subject=kept.subject
    )
    shown = form_of(root.follow(answer)).values
    assert (shown["email"], shown["admin"]) == ("d@e.example", "yes")
    assert SECRET not in str(system.events())


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"username": ""}, 400),
        ({"username": " "}, 400),
        ({"username": " Alice "}, 409),
        ({"username": "a\u202eb"}, 400),
        ({"username": "x" * 256}, 400),
        ({"username": "alice"}, 409),
        ({"password": ""}, 400),
        ({"password": "1234567"}, 400),
        ({"password": "Iloveyou1"}, 400),
        ({"password": "x" * 1025}, 400),
        ({"email": "x" * 300}, 400),
        ({"first_name": "a\tb"}, 400),
    ],
)
def test_a_user_who_does_not_fit_is_not_added(
    system: System, root: Browser, fields: dict[str, str], status: int
) -> None:
    """Nothing that was typed is lost but the password, which no page repeats."""
    before = system.people()
    typed = {"username": "dave", "password": SECRET, "email": "d@e", **fields}
    answer = fill_in(root, ADD, **typed)
    assert answer.status == status
    assert SECRET not in answer.text
    values = form_of(answer).values
    assert {**typed, "password": ""} == {name: values[name] for name in typed}
    assert system.people() == before


def test_a_user_is_edited_with_the_form(system: System, root: Browser) -> None:
    page = address("user", id="alice")
    fill_in(root, page, email="new@e", first_name="", last_name="Pleasance")
    kept = user(system, "alice")
    assert (kept.email, kept.first_name, kept.last_name) == ("new@e", "", "Pleasance")
    assert not kept.admin
    answer = fill_in(root, page, email="x" * 300)
    assert answer.status == 400
    assert form_of(answer).values["last_name"] == "Pleasance"


def test_a_page_that_another_made_old(app: App, alice: Browser, root: Browser) -> None:
    """Saving an older page does not enable a user again who was disabled meanwhile."""
    page = address("user", id="alice")
    old = form_of(root.get(page))
    fill_in(root, page, disabled="yes")
    refused = send(root, old, email="new@e.example")
    assert refused.status == 409
    assert user(app.system, "alice").disabled
    assert send(root, form_of(refused), email="new@e.example").status == 303
    assert (user(app.system, "alice").disabled, user(app.system, "alice").email) == (
        True,
        "new@e.example",
    )


def test_disabling_a_user_ends_logins_codes_and_tokens(app: App, alice: Browser, root: Browser) -> None:
    """Logins, codes and tokens end at once."""
    token = app.tokens(alice)["access_token"]
    code = app.code(alice)
    page = address("user", id="alice")
    fill_in(root, page, disabled="yes")
    assert alice.get("/oauth2/account/").status == 303
    assert app.system.call(token).status == 401
    assert_token_error(app.exchange(code), 400, "invalid_grant")
    fill_in(root, page, disabled=None)
    assert not user(app.system, "alice").disabled


class LateRegistry(MemoryRegistry):
    """A registry whose changes of users are made at once, and answered when the test wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Deferred[None] = succeed(None)

    def update_user(self, *arguments: Any, **named: Any) -> Deferred[None]:
        done = super().update_user(*arguments, **named)
        return self.answer.addCallback(lambda _: done)


def test_an_administrator_who_hangs_up_leaves_nothing_half_done(make_system: MakeSystem) -> None:
    """ARCHITECTURE, section 3: as a browser does whose user presses a button twice."""
    registry = LateRegistry()
    system = make_system(stores=(None, registry, MemoryTokenStore()))
    app, alice, root = system.add_client("App"), system.browser("alice"), administrator(system)
    token = app.tokens(alice)["access_token"]
    form = form_of(root.get(address("user", id="alice")))
    registry.answer = Deferred()
    wire = system.wire()
    cookie = f"Cookie: __Host-djoauth2={root.secret}"
    wire.send(post_bytes(form.action, encoded({**form.values, "disabled": "yes"}), cookie))
    wire.hang_up()
    assert user(system, "alice").disabled
    registry.answer.callback(None)
    assert system.call(token).status == 401
    assert alice.get("/oauth2/account/").status == 303


def test_a_failed_change_is_logged_if_the_browser_has_hung_up(
    make_system: MakeSystem, logged_failures: Any
) -> None:
    registry = LateRegistry()
    system = make_system(stores=(None, registry, MemoryTokenStore()))
    root = administrator(system)
    cookie = f"Cookie: __Host-djoauth2={root.secret}"
    for error in (ZeroDivisionError(), TemporarilyUnavailable()):
        form = form_of(root.get(address("user", id="alice")))
        registry.answer = Deferred()
        wire = system.wire()
        wire.send(post_bytes(form.action, encoded({**form.values, "email": str(id(error))}), cookie))
        wire.hang_up()
        registry.answer.errback(error)
    (failure,) = logged_failures.take()
    assert failure.check(ZeroDivisionError)


def test_new_password_ends_logins_and_refresh_tokens(app: App, alice: Browser, root: Browser) -> None:
    """It ends logins and refresh tokens; access tokens live out their time."""
    tokens = app.tokens(alice)
    answer = fill_in(root, address("user/password", id="alice"), password=SECRET)
    assert (answer.status, answer.location) == (303, address("user", id="alice"))
    assert alice.get("/oauth2/account/").status == 303
    assert_token_error(app.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert app.system.call(tokens["access_token"]).status == 200
    assert SECRET not in str(app.system.events())


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_a_password_that_is_none(system: System, root: Browser, password: str) -> None:
    before = user(system, "alice")
    answer = fill_in(root, address("user/password", id="alice"), password=password)
    assert answer.status == 400
    assert user(system, "alice") == before


def test_deleting_a_user_ends_their_grants(
    app: App, alice: Browser, bob: Browser, root: Browser
) -> None:
    token, other = app.tokens(alice)["access_token"], app.tokens(bob)["access_token"]
    page = root.get(address("user/delete", id="alice"))
    assert "1 grant ends at once" in page.words
    answer = send(root, form_of(page))
    assert (answer.status, answer.location) == (303, address("users"))
    assert app.system.call(token).status == 401
    assert app.system.call(other).status == 200
    assert alice.get("/oauth2/account/").status == 303
    assert [each.username for each in app.system.people()] == ["bob", "root"]
    assert send(root, form_of(page)).status == 303, "once more does no harm"


LOCKING_OUT: dict[str, dict[str, Any]] = {
    "user": {"admin": None},
    "user ": {"disabled": "yes"},
    "user/delete": {},
}


@pytest.mark.parametrize("page", LOCKING_OUT)
def test_the_last_administrator_stays(system: System, root: Browser, page: str) -> None:
    """AD-08: an administrator cannot lock out all administrators, nor themselves as the last one."""
    before = system.people()
    here = address(page.strip(), id="root")
    answer = fill_in(root, here, **LOCKING_OUT[page])
    assert answer.status == 409
    assert "last administrator" in answer.words
    assert system.people() == before
    administrator(system, "second")
    assert fill_in(root, here, **LOCKING_OUT[page]).status == 303
    assert root.get(ADMIN).status in {303, 403}


def test_a_disabled_administrator_does_not_count(system: System, root: Browser) -> None:
    administrator(system, "second")
    fill_in(root, address("user", id="second"), disabled="yes")
    assert fill_in(root, address("user", id="root"), admin=None).status == 409


def test_two_administrators_cannot_disable_each_other(system: System, root: Browser) -> None:
    """AD-08: at the same moment; one of them stays."""
    second = administrator(system, "second")
    forms = [
        (root, form_of(root.get(address("user", id="second")))),
        (second, form_of(second.get(address("user", id="root")))),
    ]
    for browser, form in forms:
        del form.values["admin"]
        send(browser, form)
    assert wait(system.registry.totals(0)).admins == 1


def test_an_administrator_may_give_up_the_role(system: System, root: Browser) -> None:
    """A new password of one's own ends one's own login, too."""
    fill_in(root, address("user/password", id="root"), password=SECRET)
    assert root.get(ADMIN).status == 303


def test_the_list_comes_in_pages(system: System, root: Browser) -> None:
    for number in range(30):
        wait(system.registry.add_user(User(f"user{number:02}", "x", disabled=number == 29)))
    first = root.get(address("users"))
    (onward,) = [a["href"] for tag, a in first.page.elements if tag == "a" and a.get("rel") == "next"]
    second = root.get(str(onward))
    assert f'href="{address("users")}" rel="first"' in second.text
    assert "Administrator" in first.words
    assert "user21" in first.words
    assert "user29" not in first.words
    assert "user29" in second.words
    assert "Disabled" in second.words


def test_the_search_finds_users_by_a_part_of_the_name(system: System, root: Browser) -> None:
    for number in range(30):
        wait(system.registry.add_user(User(f"user{number:02}", "x", "a@b.example", "Ann", "Lee")))
    form = root.get(address("users")).page.forms[0]
    assert (form.method, form.action, form.names) == ("GET", address("users"), {"search"})
    for wanted in ("USER1", "ser1"):
        page = root.get(address("users", search=wanted))
        assert "user10" in page.words
        assert "user20" not in page.words
        assert page.page.forms[0].values["search"] == wanted
    elements = root.get(address("users", search="ann lee")).page.elements
    (further,) = [a["href"] or "" for tag, a in elements if tag == "a" and a.get("rel") == "next"]
    assert root.get(further).text.count("a@b.example") == 5, "and root has no such name"
    nothing = root.get(address("users", search="<b>nobody"))
    assert "Nothing was found." in nothing.words
    assert "<b>" not in nothing.text
    assert root.get(address("users") + "?search=%ff%00").status == 200


def test_a_search_among_many(system: System, root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page takes a few steps of a bounded size, says what was found so far, and goes on from there."""
    monkeypatch.setattr(users, "MAX_STEPS", 3)
    steps: list[str] = []
    search = system.registry.search_users

    def search_some(text: str, after: str, limit: int) -> Any:
        steps.append(after)
        return search(text, after, limit, 4)

    monkeypatch.setattr(system.registry, "search_users", search_some)
    for number in range(30):
        email = "rare@b.example" if number in (1, 20, 29) else ""
        wait(system.registry.add_user(User(f"user{number:02}", "x", email)))
    page, found = root.get(address("users", search="rare")), []
    for _ in range(3):
        assert len(steps) <= 3
        steps.clear()
        found.append([name for name in ("user01", "user20", "user29") if name in page.words])
        onward = [a["href"] for tag, a in page.page.elements if tag == "a" and a.get("rel") == "next"]
        assert ("Search on" in page.words) is bool(onward)
        if onward:
            page = root.get(str(onward[0]))
    assert found == [["user01"], ["user20"], ["user29"]]
    assert not onward
    assert "Nothing was found so far." in root.get(address("users", search="rare", after="user02")).words
    page = root.get(address("users", search="user29"))
    assert "user29" in page.words, "who has the very name is found at once"


@pytest.mark.parametrize(
    "name", ["<script>", "a&b=c", "../../x", "%2e", "a/b", "' OR 1=1--", "\U0001f511", "{{7*7}}"]
)
def test_names_of_any_characters(system: System, root: Browser, name: str) -> None:
    """AD-06, DB-11."""
    wait(system.registry.add_user(User(name, "x", name, name, name)))
    listed = root.get(address("users"))
    links = [a["href"] or "" for tag, a in listed.page.elements if tag == "a"]
    (link,) = [link for link in links if link == address("user", id=name).replace("%2F", "/")]
    assert "49" not in listed.words
    page = root.get(link)
    assert form_of(page).values["email"] == name
    assert not [tag for tag, _ in page.page.elements if tag == "script"]
    assert fill_in(root, link, email="").status == 303
    assert user(system, name) == attrs.evolve(User(name, "x", "", name, name))
    assert PASSWORD not in page.text
