"""The administration's pages of clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from admin_driver import (
    PASSWORD,
    address,
    administrator,
    fill_in,
    form_of,
    secret_on,
    send,
    send_multipart,
    upload,
)
from web_driver import App, Browser, System, assert_token_error, tokens_of, wait

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.models import Client, Image
from djoauth2_twisted.protocol.registration import MAX_IMAGE_SIZE

ADD = address("clients/add")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def root(system: System) -> Browser:
    return administrator(system)


def client_of(app: App) -> Client:
    return next(c for c in app.system.clients() if c.client_id == app.client_id)


def test_a_client_is_added_and_its_secret_shown_once(system: System, root: Browser) -> None:
    """INTERFACE, section 2: on the page that follows, once."""
    answer = fill_in(
        root,
        ADD,
        name="Album <b>",
        description="Shows\r\nphotos",
        redirect_uris="https://album.example/cb\r\n\r\nhttps://album.example/other?a=%20b\r\n",
        scope_choice="some",
        scopes="verify\r\nuser_info verify",
    )
    client_id, secret = secret_on(root, answer)
    (client,) = system.clients()
    assert client == Client(
        client_id,
        "Album <b>",
        digest(secret),
        "Shows\nphotos",
        "",
        ("https://album.example/cb", "https://album.example/other?a=%20b"),
        ("verify", "user_info"),
    )
    for page in ("clients", "audit", "clients/add"):
        assert secret not in root.get(address(page)).text
    for page in ("client", "client/secret", "client/image", "client/delete"):
        assert secret not in root.get(address(page, id=client_id)).text
    assert secret not in str(system.events())
    again = root.follow(answer)
    assert (again.status, again.location) == (303, address("client", id=client_id))


def test_a_new_secret_is_for_the_browser_that_asked_for_it(
    app: App, system: System, root: Browser
) -> None:
    """And for the next minute, unless another secret came after it."""
    page = address("client/secret", id=app.client_id)
    answer = fill_in(root, page)
    other = administrator(system, "other")
    (flashed,) = set(root.cookies) - set(other.cookies)
    own = root.cookies[flashed]
    for sealed in (None, "", "x", "AAAA", own[:-8] + "AAAAAAA=", own):
        other.cookies.pop(flashed, None)
        if sealed is not None:
            other.cookies[flashed] = sealed
        assert other.follow(answer).location == address("client", id=app.client_id)
    attributes = (answer.header("set-cookie") or "").split("; ")[1:]
    assert attributes == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=60"]
    assert own not in root.get(address("client", id=app.client_id)).text
    fill_in(other, page)
    assert root.follow(answer).location == address("client", id=app.client_id)
    for method in ("POST", "PUT"):
        assert root.get(answer.location, method=method).status == 405
    assert root.get(address("client/new-secret", id="unknown")).status == 404
    assert root.get(address("client/new-secret")).status == 404


def test_a_page_that_is_loaded_again_makes_no_second_client(system: System, root: Browser) -> None:
    """The form is good once. Sent again with other values, nothing that was typed is lost."""
    form = form_of(root.get(ADD))
    typed = {"name": "Album", "redirect_uris": "https://album.example/cb"}
    client_id, secret = secret_on(root, send(root, form, **typed))
    again = send(root, form, **typed)
    assert again.status == 303
    found = root.follow(again)
    assert client_id in found.text
    assert secret not in found.text
    again = send(root, form, **{**typed, "name": "Albums"})
    assert again.status == 409
    assert "sent before" in again.words
    assert "client_secret" not in again.text
    assert form_of(again).values["name"] == "Albums"
    assert len(system.clients()) == 1
    secret_on(root, send(root, form_of(again)))
    assert len(system.clients()) == 2


def test_the_search_finds_clients_by_name_and_id(app: App, other_app: App, root: Browser) -> None:
    for wanted in (other_app.client_id, other_app.client_id[5:].upper(), "OTHER"):
        page = root.get(address("clients", search=wanted))
        assert other_app.client_id in page.words
        assert app.client_id not in page.words
        assert page.page.forms[0].values["search"] == wanted
    assert "Nothing was found." in root.get(address("clients", search="x" * 300)).words


def test_a_client_may_have_every_scope_some_or_none(system: System, root: Browser) -> None:
    """Every scope, some, or none, as on the command line."""
    base = {"name": "App", "redirect_uris": "https://app.example/cb"}
    secret_on(root, fill_in(root, ADD, **base))
    secret_on(root, fill_in(root, ADD, **base, scope_choice="some", scopes="verify"))
    secret_on(root, fill_in(root, ADD, **base, scope_choice="none"))
    server = fill_in(root, ADD, name="API", resource_server="yes")
    secret_on(root, server)
    assert {(c.name, c.scopes, c.resource_server) for c in system.clients()} == {
        ("App", None, False),
        ("App", ("verify",), False),
        ("App", (), False),
        ("API", None, True),
    }
    for client in system.clients():
        page = address("client", id=client.client_id)
        assert fill_in(root, page).status == 303
        assert client in system.clients(), "saved as it stands, nothing changes"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": " x"}, "name"),
        ({"name": "a\u202eb"}, "printable"),
        ({"name": "x" * 300}, "255"),
        ({"redirect_uris": ""}, "redirect URI"),
        ({"redirect_uris": "http://app.example/"}, "https"),
        ({"redirect_uris": "https://app.example/#x"}, "fragment"),
        ({"redirect_uris": "https://app.example/ "}, "white space"),
        ({"redirect_uris": "https://app.example/\nhttps://app.example/"}, "once"),
        ({"redirect_uris": "https://app.example/?error=x"}, "must not have the parameter error"),
        ({"redirect_uris": "javascript:alert(1)"}, "https"),
        ({"description": "a\x00b"}, "printable"),
        ({"description": "x" * 5000}, "4000"),
        ({"scope_choice": "some", "scopes": "nothing"}, "no scope 'nothing'"),
        ({"scope_choice": "some"}, "at least one scope"),
        ({"scopes": "verify"}, "Untick the scopes"),
        ({"scope_choice": "none", "scopes": "verify"}, "Untick the scopes"),
        ({"scope_choice": "x"}, "Choose which scopes"),
        ({"name": "\udcff"}, "printable"),
    ],
)
def test_a_client_that_does_not_fit_is_not_registered(
    system: System, app: App, root: Browser, fields: dict[str, str], said: str
) -> None:
    """The same rules as the command line's; nothing changes, and nothing typed is lost."""
    before = system.clients()
    typed = {
        "name": "New",
        "redirect_uris": "https://new.example/cb",
        "description": "It does",
        **fields,
    }
    for page in (ADD, address("client", id=app.client_id)):
        answer = fill_in(root, page, **typed)
        assert answer.status == 400
        (_,) = [a for _, a in answer.page.elements if a.get("role") == "alert"]
        assert said in answer.words
        if "\x00" not in typed["description"] and "\udcff" not in typed["name"]:
            values = form_of(answer).values
            kept = [name for name in typed if name in {"name", "redirect_uris", "description"}]
            assert {name: values[name] for name in kept} == {name: typed[name] for name in kept}
        assert system.clients() == before
    assert [event.action for event in system.events()].count("client add") == 1


def test_redirect_uris_in_fields_of_their_own(system: System, root: Browser) -> None:
    """As a template of the operator's may ask for them; all else is still sent once."""
    form = form_of(root.get(ADD))
    uris = ["https://album.example/cb", "", "https://album.example/other"]
    fields = [*form.values.items(), *(("redirect_uris", uri) for uri in uris)]
    fields = [(name, "Album" if name == "name" else value) for name, value in fields]
    assert root.post(ADD, [*fields, ("name", "Album")]).status == 400
    assert system.clients() == []
    secret_on(root, root.post(ADD, fields))
    assert system.clients()[0].redirect_uris == (
        "https://album.example/cb",
        "https://album.example/other",
    )


def test_a_page_that_another_made_old(app: App, root: Browser) -> None:
    """Saving an older page does not enable a client again that was disabled meanwhile."""
    page = address("client", id=app.client_id)
    old = form_of(root.get(page))
    fill_in(root, page, disabled="yes", description="Stolen")
    refused = send(root, old, name="Renamed")
    assert refused.status == 409
    assert "Another administrator has changed this meanwhile" in refused.words
    name = form_of(root.get(page)).values["name"]
    kept = client_of(app)
    assert (kept.name, kept.description, kept.disabled) == (name, "Stolen", True)
    fresh = form_of(refused)
    assert (fresh.values["description"], fresh.values["disabled"]) == ("Stolen", "yes")
    assert send(root, fresh, name="Renamed").status == 303
    kept = client_of(app)
    assert (kept.name, kept.description, kept.disabled) == ("Renamed", "Stolen", True)


def test_simultaneous_changes_of_different_fields_are_both_kept(
    app: App, root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the second is as far as the first when both have looked, each has his way."""
    page = address("client", id=app.client_id)
    forms = [form_of(root.get(page)) for _ in range(2)]
    find: Any = app.system.registry.find_client
    found = []

    def find_and_be_overtaken(client_id: str) -> Any:
        before = find(client_id)
        found.append(before)
        if len(found) == 1:
            assert send(root, forms[1], description="Mine").status == 303
        return before

    monkeypatch.setattr(app.system.registry, "find_client", find_and_be_overtaken)
    assert send(root, forms[0], name="Renamed").status == 303
    kept = client_of(app)
    assert (kept.name, kept.description) == ("Renamed", "Mine")


def test_a_page_that_is_old_stays_old_however_it_comes_back(app: App, root: Browser) -> None:
    """After a login that was over."""
    page = address("client", id=app.client_id)
    refused = send(root, form_of(root.get(page)), redirect_uris="http://album.example/")
    typed = form_of(refused).values | {"redirect_uris": "https://album.example/new"}
    wait(app.system.registry.end_sessions("root"))
    over = send(root, form_of(refused), redirect_uris="https://album.example/new")
    restored = form_of(root.follow(root.log_in("root", PASSWORD, root.follow(over))))
    assert restored.values["redirect_uris"] == typed["redirect_uris"]
    fill_in(root, page, disabled="yes")
    assert send(root, restored, redirect_uris="https://album.example/new").status == 409
    assert client_of(app).disabled


def test_a_page_that_is_old_stays_old_after_a_refusal(app: App, root: Browser) -> None:
    page = address("client", id=app.client_id)
    refused = send(root, form_of(root.get(page)), redirect_uris="http://album.example/")
    fill_in(root, page, disabled="yes")
    assert send(root, form_of(refused), redirect_uris="https://album.example/new").status == 409
    assert client_of(app).disabled


def test_a_client_is_edited_with_the_form(app: App, alice: Browser, root: Browser) -> None:
    """Each field is shown as it is kept; redirect URIs count from the next request on."""
    page = address("client", id=app.client_id)
    answer = fill_in(
        root,
        page,
        name="Renamed",
        description="New words",
        redirect_uris="https://other.example/cb",
        scope_choice="some",
        scopes="verify",
    )
    assert (answer.status, answer.location) == (303, page)
    saved = root.follow(answer)
    assert "Done." in saved.words
    assert "Done." not in root.get(page).words
    shown = form_of(saved).values
    assert shown["redirect_uris"] == "https://other.example/cb"
    assert (shown["name"], shown["description"]) == ("Renamed", "New words")
    assert app.ask(alice).status == 400
    app.system.oracle.redirect_uris.add("https://other.example/cb")
    moved = attrs.evolve(app, redirect_uri="https://other.example/cb")
    assert "Let Renamed use your account?" in moved.ask(alice, scope="verify").words


def test_disabling_and_enabling(app: App, alice: Browser, root: Browser) -> None:
    tokens = app.tokens(alice)
    page = address("client", id=app.client_id)
    fill_in(root, page, disabled="yes")
    assert client_of(app).disabled
    assert app.system.call(tokens["access_token"]).status == 401
    assert_token_error(app.refresh(tokens["refresh_token"]), 401, "invalid_client")
    fill_in(root, page, disabled=None)
    assert not client_of(app).disabled
    assert app.tokens(alice)


def rotate(app: App, root: Browser, keep_old: str | None) -> App:
    answer = fill_in(root, address("client/secret", id=app.client_id), keep_old=keep_old)
    client_id, secret = secret_on(root, answer)
    assert client_id == app.client_id
    return attrs.evolve(app, secret=secret)


@pytest.mark.parametrize("keep_old", [None, "0"])
def test_a_new_secret_at_once(app: App, alice: Browser, root: Browser, keep_old: str | None) -> None:
    rotated = rotate(app, root, keep_old)
    code = app.code(alice)
    assert_token_error(app.exchange(code), 401, "invalid_client")
    assert tokens_of(rotated.exchange(code))


def test_two_secrets_for_an_hour(app: App, alice: Browser, root: Browser) -> None:
    """CA-27: both are good until the time that was chosen, and the page says which."""
    rotated = rotate(app, root, "3600")
    page = root.get(address("client", id=app.client_id))
    assert "the old one is valid until 2023-11-14 23:13 UTC" in page.words
    app.system.advance(3599)
    assert tokens_of(app.exchange(app.code(alice)))
    assert tokens_of(rotated.exchange(app.code(alice)))
    app.system.advance(1)
    assert_token_error(app.exchange(app.code(alice)), 401, "invalid_client")
    assert tokens_of(rotated.exchange(app.code(alice)))
    assert "good until" not in root.get(address("client", id=app.client_id)).words


def test_two_new_secrets_at_once(app: App, root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """CA-27: no secret is shown that another has ended before it was seen."""
    page = address("client/secret", id=app.client_id)
    forms = [form_of(root.get(page)) for _ in range(2)]
    registry: Any = app.system.registry
    update = registry.update_client
    shown: list[str] = []

    def be_overtaken(*arguments: Any, **named: Any) -> Any:
        if not shown:
            shown.append("")
            shown.append(secret_on(root, send(root, forms[1]))[1])
        return update(*arguments, **named)

    monkeypatch.setattr(registry, "update_client", be_overtaken)
    refused = send(root, forms[0])
    assert refused.status == 409
    assert "client_secret" not in refused.text
    assert client_of(app).secret_digest == digest(shown[-1])


@pytest.mark.parametrize("keep_old", ["1", "-1", "3e3", "99999999999", "x"])
def test_a_time_that_is_no_choice(app: App, root: Browser, keep_old: str) -> None:
    before = client_of(app)
    answer = fill_in(root, address("client/secret", id=app.client_id), keep_old=keep_old)
    assert answer.status == 400
    assert client_of(app) == before


def test_a_new_secret_is_shown_once(app: App, root: Browser) -> None:
    """A page that is loaded again makes no other, and the one that was shown stays good."""
    form = form_of(root.get(address("client/secret", id=app.client_id)))
    first = send(root, form)
    again = send(root, form)
    _, secret = secret_on(root, again)
    assert client_of(app).secret_digest == digest(secret)
    kept = client_of(app)
    assert send(root, form).location == first.location
    assert root.follow(first).location == address("client", id=app.client_id)
    assert client_of(app) == kept


def test_deleting_a_client_ends_its_grants(
    app: App, other_app: App, alice: Browser, root: Browser
) -> None:
    """CC-06: it says what ends before it ends."""
    token, other = app.tokens(alice)["access_token"], other_app.tokens(alice)["access_token"]
    app.tokens(alice)
    page = root.get(address("client/delete", id=app.client_id))
    assert "2 grants end at once" in page.words
    assert app.system.call(token).status == 200
    answer = send(root, form_of(page))
    assert (answer.status, answer.location) == (303, address("clients"))
    assert app.system.call(token).status == 401
    assert app.system.call(other).status == 200
    assert [client.name for client in app.system.clients()] == ["Other"]
    assert send(root, form_of(page)).status == 303, "once more does no harm"


def test_deleting_while_tokens_are_issued(app: App, alice: Browser, root: Browser) -> None:
    """CC-06: no orphan lives on."""
    code = app.code(alice)
    page = root.get(address("client/delete", id=app.client_id))
    sent = app.begin(app.code_form(code))
    assert send(root, form_of(page)).status == 303
    answer = sent.answer
    if answer.status == 200:
        assert app.system.call(answer.json["access_token"]).status == 401
    assert app.system.grants() == []


def test_the_list_comes_in_pages(system: System, root: Browser) -> None:
    for number in range(60):
        system.add_client(f"App{number:02}")
    names, page = [], root.get(address("clients"))
    for _ in range(3):
        rows = [a for tag, a in page.page.elements if tag == "a" and "/client/?id=" in (a["href"] or "")]
        names.append(len(rows))
        onward = [a["href"] or "" for _, a in page.page.elements if a.get("rel") == "next"]
        if onward:
            page = root.get(onward[0])
    assert names == [25, 25, 10]
    assert onward == []
    first = [a["href"] for _, a in page.page.elements if a.get("rel") == "first"]
    assert first == ["/oauth2/admin/clients/"]


@pytest.mark.parametrize("noun", ["clients", "scopes", "grants", "audit"])
@pytest.mark.parametrize(
    "after",
    [
        "x",
        "[",
        "[" * 5000,
        "1-x",
        "{}",
        "[]",
        '[""]',
        '["", "", ""]',
        "[[], {}]",
        "[true, 1]",
        '[1e3, ""]',
        '[-1, ""]',
        f'[{2**53}, ""]',
        f'[{"9" * 3000}, ""]',
    ],
)
def test_page_after_no_key_is_the_first(app: App, root: Browser, noun: str, after: str) -> None:
    """DB-11, U-01."""
    page = root.get(address(noun, after=after))
    assert page.status == 200
    assert 'rel="first"' not in page.text or (noun, after) == ("scopes", '[""]')
    assert noun != "clients" or app.client_id in page.text


def test_list_goes_on_after_a_client_that_was_deleted(system: System, root: Browser) -> None:
    for number in range(30):
        system.add_client(f"App{number:02}")
    page = root.get(address("clients"))
    (onward,) = [a["href"] or "" for _, a in page.page.elements if a.get("rel") == "next"]
    for client in system.clients()[:25]:
        system.do(system.administration.delete_client(client.client_id))
    assert [f"App{number:02}" in root.get(onward).text for number in (24, 25, 29)] == [False, True, True]


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "=cmd|' /C calc'!A0"],
)
def test_texts_of_a_client_are_escaped(system: System, root: Browser, text: str) -> None:
    """AD-06, UI-19: on every page that shows them."""
    app = system.keep_client(
        Client("id&=%/..?#<b>", text, digest("x"), text, "", ("https://app.example/cb",))
    )
    for page in ("client", "client/secret", "client/image", "client/delete"):
        answer = root.get(address(page, id=app.client_id))
        assert answer.status == 200
        assert "49" not in answer.words
        assert not [tag for tag, a in answer.page.elements if tag == "script" or "onerror" in a]
        assert text in answer.words
    (link,) = [
        a["href"]
        for tag, a in root.get(address("clients")).page.elements
        if tag == "a" and "/client/?id=" in (a["href"] or "")
    ]
    assert form_of(root.get(link or "")).values["name"] == text
    assert fill_in(root, link or "", description="New").status == 303
    assert client_of(app).description == "New"


# Pictures.


def test_an_uploaded_picture_is_shown(app: App, alice: Browser, root: Browser) -> None:
    """It is what it begins with, whatever it was called and said to be."""
    page = address("client/image", id=app.client_id)
    answer = upload(root, page, PNG + b"\r\n--y\x00\xff")
    assert (answer.status, answer.location) == (303, address("client", id=app.client_id))
    image = client_of(app).image_digest
    assert image == Image("image/png", PNG + b"\r\n--y\x00\xff").digest
    for shown in (root.follow(answer), app.ask(alice)):
        (source,) = [a["src"] for tag, a in shown.page.elements if tag == "img"]
        assert root.get(source or "").body == PNG + b"\r\n--y\x00\xff"
    assert upload(root, page, None, remove="yes").status == 303
    assert client_of(app).image_digest is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "Choose a picture"),
        (b"", "Choose a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "PNG, JPEG, GIF or WebP"),
        (b"<html><script>", "PNG, JPEG, GIF or WebP"),
        (PNG + bytes(MAX_IMAGE_SIZE), "16 KiB"),
    ],
    ids=["missing", "empty", "svg", "html", "large"],
)
def test_an_upload_that_is_no_picture_is_refused(
    app: App, root: Browser, content: bytes | None, said: str
) -> None:
    answer = upload(root, address("client/image", id=app.client_id), content)
    assert answer.status == 400
    assert said in answer.words
    assert client_of(app).image_digest is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data"),
        (b"x", "multipart/form-data; boundary="),
        (b"x", "multipart/form-data; boundary=x"),
        (b"--x", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: nothing\r\n\r\nx\r\n--x--", "multipart/form-data; boundary=x"),
        (
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" * 300,
            "multipart/form-data; boundary=x",
        ),
        (b"csrf_token=x", "application/x-www-form-urlencoded"),
        (b"--x--", "multipart/form-data; charset=utf-16; boundary=x"),
        (b"\xff" * 100, "multipart/form-data; boundary=\xff"),
        (
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n" * 2 + b"--x--",
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_what_is_no_form_with_a_file(app: App, root: Browser, body: bytes, kind: str) -> None:
    """U-01."""
    page = address("client/image", id=app.client_id)
    assert send_multipart(root, page, body, kind).status in {400, 403}
    assert client_of(app).image_digest is None


def test_a_body_that_is_too_large(app: App, root: Browser) -> None:
    page = address("client/image", id=app.client_id)
    assert send_multipart(root, page, b"x" * 70_000).status == 413


def test_the_same_in_a_host_application(make_system: Callable[..., System]) -> None:
    """Whose site has limits of its own, or none."""
    system = make_system(embedded=True)
    root = administrator(system)
    app = system.add_client("App")
    page = address("client/image", id=app.client_id)
    assert upload(root, page, PNG + bytes(70_000)).status == 413
    assert upload(root, page, PNG).status == 303
