"""What a page of the administration says and has filled in is our own, whatever address led to it."""

from __future__ import annotations

import base64
import zlib

import pytest
from admin_driver import ADMIN, PASSWORD, address, administrator, fill_in, form_of, send
from web_driver import App, Browser, System, wait

from djoauth2_twisted.credentials import unseal
from djoauth2_twisted.web.sessions import FORM_LIFETIME
from djoauth2_twisted.web.typed import TYPED_LIFETIME

TYPED = "What was typed before is here"
COOKIE = "__Host-djoauth2-typed"
MADE_UP = {
    "restored": "yes",
    "name": "Forged",
    "username": "forged",
    "email": "forged@evil.example",
    "description": "Forged",
    "redirect_uris": "https://evil.example/cb",
    "admin": "yes",
    "disabled": "yes",
    "version": "0" * 32,
}
FORMS = [
    "clients/add",
    "client?id={client}",
    "scopes/add",
    "scope?id=verify",
    "users/add",
    "user?id=alice",
]

forms = pytest.mark.parametrize("page", FORMS)


@pytest.fixture
def root(system: System) -> Browser:
    return administrator(system)


def where(page: str, app: App, **more: str) -> str:
    name, _, query = page.format(client=app.client_id).partition("?id=")
    return address(name, **({"id": query} if query else {}), **more)


def end_login(browser: Browser, system: System, name: str = "root") -> None:
    """As a new password does, or the time."""
    wait(system.registry.end_sessions(name))


def restored(page: object) -> bool:
    return TYPED in page.words  # type: ignore[attr-defined]


# Whatever stands in the address.


@forms
def test_no_address_fills_in_a_form(app: App, root: Browser, page: str) -> None:
    """A link, and one press on Save, made a user an administrator and added a redirect URI."""
    shown, forged = root.get(where(page, app)), root.get(where(page, app, **MADE_UP))
    assert not restored(forged)
    tokens = [form_of(each).values.pop("csrf_token") for each in (shown, forged)]
    assert tokens[0] != tokens[1]
    assert form_of(forged).values | {"csrf_token": ""} == form_of(shown).values | {"csrf_token": ""}
    assert "orged" not in forged.text
    assert "evil.example" not in forged.text


@pytest.mark.parametrize(
    "query", ["done=yes", "done", "message=Done.", "restored=yes", "error=x", "secret=x"]
)
def test_no_address_makes_a_page_say_what_is_not_so(app: App, root: Browser, query: str) -> None:
    for page in (
        "",
        "clients/",
        "users/",
        "grants/",
        "scopes/",
        "audit/",
        f"client/?id={app.client_id}",
    ):
        answer = root.get(f"{ADMIN}{page}{'&' if '?' in page else '?'}{query}")
        assert answer.status == 200
        assert "Done." not in answer.words
        assert not restored(answer)


def test_a_change_is_confirmed_once_and_where_it_leads(system: System, root: Browser) -> None:
    answer = fill_in(root, address("user", id="alice"), email="a@example.com")
    assert "Done." not in root.get(address("user", id="bob")).words, "another page, in another window"
    stranger = administrator(system, "other")
    stranger.cookies["__Host-djoauth2-done"] = root.cookies["__Host-djoauth2-done"]
    assert "Done." not in stranger.follow(answer).words
    assert "Done." in root.follow(answer).words
    assert "Done." not in root.follow(answer).words


# A form that was sent when the login was over.


def test_typed_fields_are_restored_once_after_the_login(system: System, root: Browser) -> None:
    page = root.get(address("user", id="alice"))
    end_login(root, system)
    answer = send(root, form_of(page), email="new@example.com", admin="yes")
    assert answer.status == 303
    assert "new" not in answer.location
    assert "restored" not in answer.location
    back = root.follow(root.log_in("root", PASSWORD, root.follow(answer)))
    assert restored(back)
    assert form_of(back).values["email"] == "new@example.com"
    assert form_of(back).values["admin"] == "yes"
    assert not system.do(system.administration.user("alice")).admin, "nothing is sent by itself"
    assert COOKIE not in root.cookies
    again = root.get(address("user", id="alice"))
    assert not restored(again)
    assert form_of(again).values["email"] == ""
    assert send(root, form_of(back)).status == 303
    assert system.do(system.administration.user("alice")).email == "new@example.com"


def test_it_outlives_a_wrong_password_and_a_form_that_was_open_for_long(
    system: System, root: Browser
) -> None:
    page = root.get(address("user", id="alice"))
    system.advance(13 * 3600)
    login = root.follow(send(root, form_of(page), email="new@example.com"))
    login = root.log_in("root", "wrong password", login)
    assert login.status == 403
    back = root.follow(root.log_in("root", PASSWORD, login))
    assert form_of(back).values["email"] == "new@example.com"


@pytest.mark.parametrize("seconds", [TYPED_LIFETIME - 1, TYPED_LIFETIME])
@pytest.mark.parametrize("before_login", [True, False])
def test_for_a_short_time_alone(system: System, root: Browser, seconds: int, before_login: bool) -> None:
    page = root.get(address("user", id="alice"))
    end_login(root, system)
    login = root.follow(send(root, form_of(page), email="new@example.com"))
    if before_login:
        system.advance(seconds)
    answer = root.log_in("root", PASSWORD, login)
    if not before_login:
        system.advance(seconds)
    assert restored(root.follow(answer)) is (seconds < TYPED_LIFETIME)


def test_another_user_sees_nothing_of_it(system: System, root: Browser) -> None:
    administrator(system, "other")
    page = root.get(address("user", id="alice"))
    end_login(root, system)
    login = root.follow(send(root, form_of(page), email="new@example.com"))
    back = root.follow(root.log_in("other", PASSWORD, login))
    assert not restored(back)
    assert form_of(back).values["email"] == ""
    assert COOKIE not in root.cookies
    root.log_out()
    root.log_in("root", PASSWORD)
    assert not restored(root.get(address("user", id="alice"))), "it is gone for good"


def test_another_page_shows_nothing_of_it(system: System, root: Browser) -> None:
    page = root.get(address("user", id="alice"))
    end_login(root, system)
    login = root.follow(send(root, form_of(page), email="new@example.com"))
    root.log_in("root", PASSWORD, login)
    for other in (address("user", id="bob"), address("users/add"), address("user/delete", id="alice")):
        answer = root.get(other)
        assert not restored(answer)
        assert "new@example.com" not in answer.text
    assert restored(root.get(address("user", id="alice")))


@pytest.mark.parametrize("how", ["another browser", "changed", "empty", "two"])
def test_a_cookie_of_anothers_making(system: System, root: Browser, how: str) -> None:
    page = root.get(address("user", id="alice"))
    end_login(root, system)
    answer = root.log_in("root", PASSWORD, root.follow(send(root, form_of(page), email="n@example.com")))
    kept = root.cookies.pop(COOKIE)
    reader = administrator(system, "reader") if how == "another browser" else root
    if how != "two":
        changed = {"another browser": kept, "changed": kept[:-4] + "AAAA", "empty": "="}
        reader.cookies[COOKIE] = changed[how]
        page = reader.follow(answer)
    else:
        page = root.get(answer.location, [("Cookie", f"{COOKIE}={kept}; {COOKIE}=x")])
    assert page.status == 200
    assert not restored(page)
    assert "n@example.com" not in page.text


@pytest.mark.parametrize(
    "change", [{"csrf_token": None}, {"csrf_token": "x"}, {"visitor": "other"}, {"visitor": None}]
)
def test_only_a_form_of_that_login_is_kept(
    system: System, root: Browser, change: dict[str, str | None]
) -> None:
    """A page of a neighbour's can send a form here, with the cookie, but has no token of ours."""
    page = root.get(address("user", id="alice"))
    end_login(root, system)
    answer = send(root, form_of(page), email="new@example.com", **change)
    assert COOKIE not in root.cookies
    assert not restored(root.follow(root.log_in("root", PASSWORD, root.follow(answer))))


def test_no_password_is_ever_kept(system: System, root: Browser) -> None:
    page = root.get(address("users/add"))
    end_login(root, system)
    before = root.secret
    send(root, form_of(page), username="dave", password="secretive words")
    value = unseal(f"{before}-typed", base64.urlsafe_b64decode(root.cookies[COOKIE]))
    assert b"dave" in zlib.decompress(value)
    assert b"secretive" not in zlib.decompress(value)
    assert b"dave" not in base64.urlsafe_b64decode(root.cookies[COOKIE])


@pytest.mark.parametrize(
    "page", ["user/password?id=alice", "client/secret?id={client}", "user/delete?id=alice"]
)
def test_other_forms_are_not_kept(system: System, app: App, root: Browser, page: str) -> None:
    form = form_of(root.get(where(page, app)))
    end_login(root, system)
    assert send(root, form, password="secretive words").status == 303
    assert COOKIE not in root.cookies


# A form that is not ours.


def test_a_foreign_form_fills_in_nothing(root: Browser) -> None:
    """It is refused, and what it says is not shown as if it had been typed here."""
    sent = {**MADE_UP, "csrf_token": "x", "visitor": "root"}
    answer = root.post(address("user", id="alice"), sent)
    assert answer.status == 403
    assert "forged" not in answer.text
    assert not form_of(answer).values.get("admin")
    assert send(root, form_of(answer)).status == 303
    assert not root.system.do(root.system.administration.user("alice")).admin


@pytest.mark.parametrize(
    ("site", "kept"), [("same-origin", True), ("same-site", False), ("none", False)]
)
def test_typed_fields_are_kept_after_a_new_login_in_another_window(
    system: System, root: Browser, site: str, kept: bool
) -> None:
    """The browser tells that the form was sent from a page of ours."""
    page = root.get(address("user", id="alice"))
    root.log_out()
    root.log_in("root", PASSWORD)
    answer = send(root, form_of(page), [("Sec-Fetch-Site", site)], email="new@example.com")
    assert answer.status == 403
    assert (form_of(answer).values["email"] == "new@example.com") is kept


@pytest.mark.parametrize("page", ["client?id={client}", "scope?id=verify", "user?id=alice"])
@pytest.mark.parametrize("version", [None, ""])
def test_a_form_that_does_not_say_what_it_was_made_of(
    app: App, root: Browser, page: str, version: str | None
) -> None:
    """It is refused, and works once its sender has seen how things stand."""
    form = form_of(root.get(where(page, app)))
    answer = send(root, form, version=version, description="New words", last_name="New")
    assert answer.status == 403
    values = form_of(answer).values
    assert "New words" in answer.text if "description" in values else values["last_name"] == "New"
    assert send(root, form_of(answer)).status == 303


def test_a_page_that_was_open_too_long_keeps_what_was_typed(system: System, root: Browser) -> None:
    page = root.get(address("user", id="alice"))
    system.advance(FORM_LIFETIME)
    answer = send(root, form_of(page), email="new@example.com")
    assert (answer.status, form_of(answer).values["email"]) == (403, "new@example.com")
