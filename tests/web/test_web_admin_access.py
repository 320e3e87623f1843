"""AD-01, AD-02: who may come into the administration, and what a form must have."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import attrs
import pytest
from admin_driver import (
    ADMIN,
    PAGES,
    PASSWORD,
    address,
    administrator,
    fill_in,
    form_of,
    secret_on,
    send,
)
from web_driver import ORIGIN, App, Browser, Form, System, wait

from djoauth2_twisted.web.sessions import FORM_LIFETIME


@pytest.fixture
def root(system: System) -> Browser:
    return administrator(system)


def snapshot(system: System) -> dict[str, Any]:
    """All that is kept."""
    kept = {**vars(system.registry), **vars(system.tokens)}
    return {name: dict(value) for name, value in kept.items() if isinstance(value, dict)}


def where(page: str, app: App, slash: bool = True) -> str:
    name, question, query = page.partition("?")
    return f"{ADMIN}{name}{'/' if slash and name else ''}{question}{query.format(client=app.client_id)}"


pages = pytest.mark.parametrize("page", PAGES)


@pages
@pytest.mark.parametrize("slash", [True, False])
def test_an_administrator_sees_each_page(
    app: App, alice: Browser, root: Browser, page: str, slash: bool
) -> None:
    app.tokens(alice)
    answer = root.get(where(page, app, slash))
    assert answer.status == 200
    assert answer.header("x-frame-options") == "DENY"
    assert PAGES[page] is any(form.method == "POST" for form in answer.page.forms)


@pages
def test_a_page_needs_no_script_and_no_style_of_its_own(
    app: App, alice: Browser, root: Browser, page: str
) -> None:
    """UI-21, and what the policy forbids: nothing inline, nothing from elsewhere."""
    app.tokens(alice)
    answer = root.get(where(page, app))
    policy = answer.header("content-security-policy") or ""
    assert "unsafe" not in policy
    labels = {a["for"] for tag, a in answer.page.elements if tag == "label"}
    for tag, attributes in answer.page.elements:
        assert tag not in {"script", "style", "iframe", "object"}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "/").startswith("/")
        shown = attributes.get("type") != "hidden" and "hidden" not in attributes
        if tag in {"input", "textarea", "select"} and shown:
            assert attributes["id"] in labels
        if tag == "th":
            assert attributes.get("scope") in {"row", "col"}
    headings = [tag for tag, _ in answer.page.elements if tag == "h1"]
    assert headings == ["h1"]


@pages
@pytest.mark.parametrize("slash", [True, False])
def test_without_a_login_each_page_sends_to_the_login(app: App, page: str, slash: bool) -> None:
    """And come back to where they wanted to go."""
    before = snapshot(app.system)
    stranger = app.system.browser()
    wanted = where(page, app, slash)
    for answer in (stranger.get(wanted), stranger.post(wanted, {"csrf_token": "x"})):
        assert answer.status == 303
        assert urlsplit(answer.location).path == "/oauth2/login/"
        assert parse_qs(urlsplit(answer.location).query)["next"] == [wanted]
    assert snapshot(app.system) == before


@pages
@pytest.mark.parametrize("slash", [True, False])
def test_users_who_are_no_administrators_get_403(
    app: App, alice: Browser, page: str, slash: bool
) -> None:
    app.tokens(alice)
    before = snapshot(app.system)
    wanted = where(page, app, slash)
    for answer in (alice.get(wanted), alice.post(wanted, {"csrf_token": "x"})):
        assert answer.status == 403
        assert not answer.page.forms
        assert "alice" not in answer.text
        assert "You are logged in, but not as an administrator." in answer.words
        assert "/oauth2/logout/" in answer.text
    assert snapshot(app.system) == before


@pages
@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(app: App, root: Browser, page: str, method: str) -> None:
    """AD-02: HEAD is none of ours, here as on every page."""
    before = snapshot(app.system)
    for browser in (root, app.system.browser()):
        answer = browser.get(where(page, app), method=method)
        assert (answer.status, answer.header("allow")) == (405, "GET, POST")
    assert snapshot(app.system) == before


@pytest.mark.parametrize("page", [page for page, form in PAGES.items() if not form])
def test_a_list_is_only_looked_at(app: App, root: Browser, page: str) -> None:
    answer = root.post(where(page, app), {"csrf_token": "x"})
    assert (answer.status, answer.header("allow")) == (405, "GET")


@pytest.mark.parametrize(
    "path",
    [
        "/oauth2/admin%2Fclients",
        "/oauth2/admin%2Fclients%2Fadd",
        "/oauth2/%61dmin/clients",
        "/oauth2%2Fadmin/clients/",
        "/oauth2/admin/%63lients",
        "/oauth2//admin/clients",
        "//oauth2/admin/clients",
        "/oauth2/admin//clients",
        "/oauth2/admin/clients//add",
        "/oauth2/admin/clients//",
        "/oauth2/admin/./clients",
        "/oauth2/x/../admin/clients",
        "/oauth2/admin/clients;x=1",
        "/oauth2/admin/clients%00",
        "/oauth2/admin/clients%0a",
        "/oauth2/admin%252Fclients",
        "/oauth2/admin\\clients",
        "/oauth2/ADMIN/clients",
        "/oauth2/admin/clients%ff",
        "/oauth2/admin/%2e%2e/admin/clients",
        "/oauth2/admin/clients%2F",
        "/oauth2/administrator",
    ],
)
def test_roads_around_the_gate(system: System, app: App, alice: Browser, path: str) -> None:
    """AD-01, GW-03, GW-04: however the path is written, only administrators see the page."""
    for browser in (system.browser(), alice):
        for answer in (browser.get(path), browser.post(path, {"name": "x"})):
            assert answer.status in {303, 400, 403, 404, 405}
            assert app.client_id not in answer.text
            assert "csrf_token" not in answer.text
            if answer.status == 303:
                assert answer.location.startswith("/oauth2/login/?next=/oauth2/admin/")


@pytest.mark.parametrize("page", ["nothing", "client/x", "Clients", "clients/add/x", "user/password/x"])
def test_an_unknown_page_is_404(root: Browser, page: str) -> None:
    assert root.get(ADMIN + page).status == 404
    assert root.post(ADMIN + page, {}).status == 404


@pytest.mark.parametrize(
    "page", ["client", "client/secret", "client/image", "client/delete", "scope", "scope/delete",
             "user", "user/password", "user/delete"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["", "nobody", "\udcff", "' OR 1=1--", "%", "../users", "x" * 3000])
def test_the_page_of_an_unknown_name_is_404(root: Browser, page: str, name: str) -> None:
    """DB-11: no name stands for another."""
    wanted = f"{ADMIN}{page}?id={quote(name, safe='', errors='surrogateescape')}"
    answer = root.get(wanted)
    assert answer.status == 404
    assert "OR 1=1" not in answer.text
    assert "There is nothing with this name." in answer.words
    assert f'href="{ADMIN}"' in answer.text


def test_without_tls(root: Browser) -> None:
    assert root.system.send("GET", f"http://as.example{ADMIN}").status == 400


def test_an_administrator_loses_access_with_the_next_request(system: System, root: Browser) -> None:
    """It is asked again at every request."""
    page = root.get(address("scopes/add"))
    system.do(system.administration.edit_user("root", admin=False))
    assert root.get(ADMIN).status == 403
    assert send(root, form_of(page), name="new").status == 403
    system.do(system.administration.edit_user("root", admin=True))
    assert root.get(ADMIN).status == 200
    system.do(system.administration.edit_user("root", disabled=True))
    assert root.get(ADMIN).status == 303, "disabling ends logins"


def test_a_disabled_administrator_with_a_login_has_no_access(system: System, root: Browser) -> None:
    """As where the login was made at the very moment."""
    user = system.do(system.administration.user("root"))
    wait(system.registry.update_user(attrs.evolve(user, disabled=True)))
    assert root.get(ADMIN).status == 303, "to log in"


def test_a_user_the_registry_does_not_know_is_no_administrator(system: System, alice: Browser) -> None:
    system.registry._users.pop("alice")  # as with a checker of the operator's own
    assert alice.get(ADMIN).status == 403


# Forms.


def links(browser: Browser) -> Iterator[str]:
    """All addresses that links lead to, from the first page on, within the administration."""
    seen, waiting = {ADMIN}, [ADMIN]
    while waiting:
        here = waiting.pop()
        yield here
        page = browser.get(here)
        assert page.status == 200, here
        for tag, attributes in page.page.elements:
            there = urljoin(here, attributes.get("href") or "") if tag == "a" else ""
            if there.startswith(ADMIN) and there not in seen:
                seen.add(there)
                waiting.append(there)


def all_forms(browser: Browser) -> list[Form]:
    return [
        form for here in links(browser) for form in browser.get(here).page.forms if form.method == "POST"
    ]


def test_every_page_is_reached_by_links(app: App, alice: Browser, root: Browser) -> None:
    app.tokens(alice)
    reached = {there.partition("?")[0] for there in links(root)}
    pages = {where(page, app).partition("?")[0] for page in PAGES}
    assert reached == pages | {address("audit/csv")}, "and the file of the audit trail"


FORGERIES: dict[str, Callable[[str, str], str | None]] = {
    "missing": lambda own, other: None,
    "empty": lambda own, other: "",
    "made up": lambda own, other: "x" * 30 + "-1700000000-" + "y" * 43,
    "another's": lambda own, other: other,
    "changed": lambda own, other: own[:-1] + ("A" if own[-1] != "A" else "B"),
    "not UTF-8": lambda own, other: own + "\udcff",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_form_works_without_its_own_token(
    system: System, app: App, alice: Browser, root: Browser, forgery: str
) -> None:
    """AD-02, UI-04, U-05: nothing changes, whatever else the form says."""
    app.tokens(alice)
    other = administrator(system, "other")
    theirs = {form.action: form.values["csrf_token"] for form in all_forms(other)}
    forms = all_forms(root)
    assert len(forms) > 15
    before = snapshot(system)
    for form in forms:
        token = FORGERIES[forgery](form.values["csrf_token"], theirs[form.action])
        sent = {**form.values, "csrf_token": token, "name": "forged", "username": "forged"}
        answer = root.post(urljoin(ORIGIN, form.action), sent)
        assert answer.status in {400, 403}, form.action
    assert snapshot(system) == before


def what_it_does(form: Form) -> tuple[str, str | None]:
    """One grant is ended by the same form, whatever was searched for when it was found."""
    grant = form.values.get("grant")
    return (form.action if grant is None else "", grant)


def test_a_token_is_good_for_one_page_alone(app: App, alice: Browser, root: Browser) -> None:
    """UI-05: not for another page, nor for another client, user, scope or grant."""
    app.tokens(alice)
    forms = all_forms(root)
    before = snapshot(app.system)
    for form, other in itertools.permutations(forms, 2):
        if what_it_does(form) != what_it_does(other):
            sent = {**form.values, "csrf_token": other.values["csrf_token"]}
            assert root.post(urljoin(ORIGIN, form.action), sent).status in {400, 403}
    assert snapshot(app.system) == before


def test_a_token_in_the_query_is_none(root: Browser) -> None:
    """UI-11."""
    form = form_of(root.get(address("scopes/add")))
    token = form.values.pop("csrf_token")
    answer = root.post(f"{form.action}?csrf_token={token}", {**form.values, "name": "new"})
    assert answer.status == 403


def test_a_page_that_was_open_too_long(system: System, root: Browser) -> None:
    """Nothing that was typed is lost, and the form works when it is sent again."""
    page = root.get(address("scopes/add"))
    system.advance(FORM_LIFETIME)
    answer = send(root, form_of(page), name="new", description="Words\nand more")
    assert answer.status == 403
    assert "expired" in answer.words
    assert form_of(answer).values["description"] == "Words\nand more"
    assert send(root, form_of(answer)).status == 303
    assert system.do(system.administration.scope("new")).description == "Words\nand more"


def test_nothing_changes_by_looking(app: App, alice: Browser, root: Browser) -> None:
    """AD-02: whatever stands in the address."""
    app.tokens(alice)
    before = snapshot(app.system)
    for here in list(links(root)):
        more = "&" if "?" in here else "?"
        fields = "name=x&disabled=yes&all=yes&grant=x&remove=yes&restored=yes&csrf_token=x"
        assert root.get(f"{here}{more}{fields}").status == 200
    assert snapshot(app.system) == before


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([("Content-Type", "application/json")], b"{}"),
        ([("Content-Type", "text/plain")], b"name=x"),
        ([], b"name=x"),
        ([("Content-Type", "application/x-www-form-urlencoded")], b"name=a&name=b"),
        ([("Content-Type", "application/x-www-form-urlencoded")], b"&".join([b"a=b"] * 200)),
    ],
)
def test_body_that_is_no_form_is_refused(
    app: App, root: Browser, headers: list[Any], body: bytes
) -> None:
    """U-01."""
    before = snapshot(app.system)
    cookie = "; ".join(f"{name}={value}" for name, value in root.cookies.items())
    for page in PAGES:
        answer = app.system.send("POST", where(page, app), body, [*headers, ("Cookie", cookie)])
        assert answer.status in {400, 405}
    assert snapshot(app.system) == before


# A login that has ended.


def test_what_was_typed_outlives_a_login(system: System, root: Browser) -> None:
    """UI-25: but for the password; and it is not sent by itself."""
    page = root.get(address("users/add"))
    wait(system.registry.end_sessions("root"))
    typed = {"username": "dave", "password": "secretive words", "email": "d@e", "admin": "yes"}
    answer = send(root, form_of(page), **typed)
    system.oracle.secrets.add("secretive words")
    assert answer.status == 303
    assert "secretive" not in answer.location
    back = root.log_in("root", PASSWORD, root.follow(answer))
    assert "secretive" not in back.location
    page = root.follow(back)
    assert "check it before you send it" in page.words
    values = form_of(page).values
    assert (values["username"], values["email"], values["admin"]) == ("dave", "d@e", "yes")
    assert values["password"] == ""
    assert [user.username for user in system.people()] == ["alice", "bob", "root"]
    assert send(root, form_of(page), password="secretive words").status == 303
    assert system.do(system.administration.user("dave")).admin


def test_typed_fields_that_are_too_long_are_not_kept(system: System, app: App, root: Browser) -> None:
    page = root.get(address("client", id=app.client_id))
    wait(system.registry.end_sessions("root"))
    answer = send(root, form_of(page), description="x" * 13_000)
    back = root.log_in("root", PASSWORD, root.follow(answer))
    assert back.location == address("client", id=app.client_id)


def test_from_an_empty_database(make_system: Callable[..., System], tmp_path: Path) -> None:
    """The command line makes the first administrator; all else is done in the browser."""
    system = make_system(checked_in_memory=False, url=f"sqlite:///{tmp_path}/a.db")
    root = administrator(system)
    password = "dave's own password"
    system.oracle.secrets.add(password)
    fill_in(root, address("scopes/add"), name="photos", description="See your photos")
    fill_in(root, address("users/add"), username="dave", password=password)
    added = fill_in(root, address("clients/add"), name="Album", redirect_uris="https://album.example/cb")
    app = App(system, *secret_on(root, added), "https://album.example/cb")
    system.oracle.redirect_uris.add(app.redirect_uri)
    dave = system.browser()
    assert dave.log_in("dave", password).status == 303
    assert app.tokens(dave, scope="photos")["scope"] == "photos"
    system.advance(30)
    assert len(list(links(root))) > len(PAGES)
    done = {(event.action, event.subject) for event in system.events() if event.actor == "root"}
    assert done == {
        ("scope add", "photos"),
        ("user add", "dave"),
        ("client add", app.client_id),
    }
    for page, gone in (("client", app.client_id), ("scope", "photos"), ("user", "dave")):
        assert fill_in(root, address(f"{page}/delete", id=gone)).status == 303
    assert (system.clients(), system.grants()) == ([], [])


@pytest.mark.parametrize(
    ("page", "typed"),
    [
        ("client?id={client}", {"name": "New"}),
        ("scopes/add", {"name": "new", "description": "Words"}),
        ("scope?id=verify", {"description": "Words"}),
        ("users/add", {"username": "Dora", "password": "a password of hers"}),
        ("user?id=alice", {"first_name": "Alicia"}),
        ("user/password?id=alice", {"password": "a password of hers"}),
        ("grants?user=alice", {}),
        ("client/delete?id={client}", {}),
        ("scope/delete?id=verify", {}),
        ("user/delete?id=alice", {}),
    ],
)
def test_form_that_is_sent_again_gets_the_answer_of_the_first_time(
    app: App, alice: Browser, root: Browser, page: str, typed: dict[str, str]
) -> None:
    """The change is made once."""
    app.tokens(alice)
    path, _, query = page.format(client=app.client_id).partition("?")
    forms = root.get(f"{ADMIN}{path}/?{query}").page.forms
    form = next(form for form in forms if form.method == "POST" and "grant" not in form.names)
    first, events = send(root, form, **typed), len(app.system.events())
    again = send(root, form, **typed)
    assert (first.status, again.status, again.location) == (303, 303, first.location)
    assert len(app.system.events()) == events
    assert "Done." in root.follow(again).words
