"""The administration's forms: each error at its field, scopes as boxes; and a client's page."""

from __future__ import annotations

import attrs
import pytest
from admin_driver import address, administrator, fill_in, form_of, secret_on, send
from web_driver import Answer, App, Browser, System, wait

from djoauth2_twisted.models import Scope
from djoauth2_twisted.web import refusals
from djoauth2_twisted.web.admin.client_form import MAX_BOXES

ADD = address("clients/add")
CLIENT = {"name": "Album", "redirect_uris": "https://album.example/cb"}


@pytest.fixture
def root(system: System) -> Browser:
    return administrator(system)


def errors_of(answer: Answer) -> list[str]:
    """The fields with an error, in the order of the list at the top; each field says it, too."""
    (alert,) = [a for _, a in answer.page.elements if a.get("role") == "alert"]
    assert alert
    links = [a["href"] or "" for tag, a in answer.page.elements if tag == "a"]
    named = [link[1:] for link in links if link.startswith("#")]
    ids = {a.get("id"): a for _, a in answer.page.elements}
    for name in named:
        assert f"{name}-error" in ids
        assert f"{name}-error" in (ids[name].get("aria-describedby") or "")
    marked = [a.get("id") for _, a in answer.page.elements if a.get("aria-invalid")]
    assert set(marked) | {"scopes"} == {*named, "scopes"}
    return named


@pytest.mark.parametrize(
    ("page", "fields", "wrong"),
    [
        (ADD, {"name": ""}, ["name", "redirect_uris"]),
        (
            ADD,
            {
                "name": " ",
                "description": "\x00",
                "redirect_uris": "http://x.example/",
                "scope_choice": "some",
            },
            ["scopes", "name", "description", "redirect_uris"],
        ),
        (ADD, {**CLIENT, "scope_choice": "some", "scopes": "nothing"}, ["scopes"]),
        (address("scopes/add"), {"name": "a b", "description": "x" * 5000}, ["name", "description"]),
        (address("scopes/add"), {"name": "verify"}, ["name"]),
        (
            address("users/add"),
            {"username": "\x00", "password": "short", "email": "x" * 300, "last_name": "\x00"},
            ["username", "email", "last_name", "password"],
        ),
        (address("users/add"), {"username": "alice", "password": "long enough"}, ["username"]),
        (address("user", id="alice"), {"email": "\x00", "first_name": "\x00"}, ["email", "first_name"]),
        (address("user/password", id="alice"), {"password": "alice"}, ["password"]),
    ],
)
def test_each_error_of_a_form_is_at_its_field(
    system: System, root: Browser, page: str, fields: dict[str, str], wrong: list[str]
) -> None:
    """All of them at once, and in a list at the top that leads to the fields."""
    answer = fill_in(root, page, **fields)
    assert answer.status in {400, 409}
    assert errors_of(answer) == wrong


def test_error_of_no_field_is_said_at_the_top(root: Browser) -> None:
    answer = fill_in(root, ADD, **CLIENT, csrf_token="x")
    assert answer.status == 403
    assert errors_of(answer) == []
    assert "This page has expired" in answer.words


def ticked(answer: Answer) -> set[str | None]:
    boxes = [a for _, a in answer.page.elements if a.get("name") == "scopes"]
    return {a.get("value") for a in boxes if "checked" in a}


def test_scopes_are_boxes_with_their_words(system: System, root: Browser) -> None:
    """What was ticked is kept, and shown ticked."""
    wait(system.registry.update_scope(Scope("verify", "See that it is you.")))
    page = root.get(ADD)
    assert "See that it is you. verify" in page.words
    assert ticked(page) == set()
    form = form_of(page)
    assert form.values["scope_choice"] == "every"
    sent = {**form.values, **CLIENT, "scope_choice": "some"}
    pairs = [*sent.items(), ("scopes", "verify"), ("scopes", "example")]
    client_id, _ = secret_on(root, root.post(ADD, pairs))
    (client,) = system.clients()
    assert client.scopes == ("verify", "example")
    page = root.get(address("client", id=client_id))
    assert ticked(page) == {"verify", "example"}
    assert form_of(page).values["scope_choice"] == "some"


def test_order_of_boxes_is_no_change(system: System, root: Browser) -> None:
    """A client's scopes keep the order that they were registered in."""
    app = system.add_client("App", scopes=("verify", "example"))
    page = address("client", id=app.client_id)
    assert fill_in(root, page).status == 303
    (client,) = system.clients()
    assert client.scopes == ("verify", "example")
    (edit,) = [event for event in system.events() if event.action == "client edit"]
    assert edit.details == {}


def test_many_scopes_are_typed(system: System, root: Browser) -> None:
    """A form has 100 fields at most."""
    for number in range(MAX_BOXES):
        wait(system.registry.add_scope(Scope(f"scope{number:03}", "")))
    page = root.get(ADD)
    assert [tag for tag, a in page.page.elements if a.get("name") == "scopes"] == ["textarea"]
    secret_on(root, fill_in(root, ADD, **CLIENT, scope_choice="some", scopes="scope001\r\nverify"))
    (client,) = system.clients()
    assert client.scopes == ("scope001", "verify")


def test_stored_address_of_an_image_stays(system: System, root: Browser) -> None:
    """The form has no field for it."""
    app = system.add_client("App", image_url="https://app.example/logo.png")
    page = address("client", id=app.client_id)
    assert "image_url" not in root.get(page).text
    assert fill_in(root, page, name="Renamed").status == 303
    (client,) = system.clients()
    assert (client.name, client.image_url) == ("Renamed", "https://app.example/logo.png")


def test_form_of_another_template_that_is_old_is_refused(app: App, root: Browser) -> None:
    page = address("client", id=app.client_id)
    old = form_of(root.get(page))
    fill_in(root, page, description="Changed")
    values = {name: value for name, value in old.values.items() if name != "scope_choice"}
    assert root.post(page, {**values, "scopes": "", "no_scope": "yes"}).status == 409


# A client's page.


def test_clients_page_says_how_to_configure_it(app: App, system: System, root: Browser) -> None:
    """The addresses are those of the metadata (RFC 8414)."""
    page = root.get(address("client", id=app.client_id))
    metadata = system.send("GET", "/.well-known/oauth-authorization-server").json
    for name in ("issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint"):
        assert f"<dd><code>{metadata[name]}</code></dd>" in page.text
    assert f"<dd><code>{app.redirect_uri}</code></dd>" in page.text
    assert f"<dd><code>{app.client_id}</code></dd>" in page.text
    assert app.secret not in page.text


def test_clients_page_tells_recent_refusals_with_their_reasons(
    app: App, other_app: App, alice: Browser, root: Browser
) -> None:
    """Those of this client alone, newest first; no secret is in them."""
    page = address("client", id=app.client_id)
    assert "None yet." in root.get(page).words
    app.exchange("a code that is none")
    app.system.advance(60)
    app.ask(alice, redirect_uri="https://evil.example/cb")
    attrs.evolve(app, secret="a wrong secret").exchange("a code that is none")
    answer = root.get(page)
    assert answer.words.index("the client authentication failed") < answer.words.index("evil.example")
    assert answer.words.index("evil.example") < answer.words.index("refresh token is not valid")
    assert "Authorization: the client or its redirect URI is not known" in answer.words
    assert "2023-11-14 22:13 UTC, from 127.0.0.1" in answer.words
    assert "of the server process that has made this page" in answer.words
    for secret in (app.secret, "a wrong secret", "a code that is none"):
        assert secret not in answer.text
    assert "None yet." in root.get(address("client", id=other_app.client_id)).words


def test_refusals_are_kept_within_bounds(
    app: App, other_app: App, root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last ones of each client."""
    for number in range(refusals.MAX_EACH + 5):
        app.system.advance(60)
        app.token({"grant_type": f"type{number}"})
    page = root.get(address("client", id=app.client_id))
    assert page.words.count("unsupported_grant_type") == refusals.MAX_EACH


def test_reason_of_a_refusal_is_text(app: App, alice: Browser, root: Browser) -> None:
    """AD-06: a client chooses a part of it."""
    app.ask(alice, redirect_uri="https://x.example/<script>alert(1)</script>" + "x" * 1000)
    page = root.get(address("client", id=app.client_id))
    assert "script" not in {tag for tag, _ in page.page.elements}
    assert "x" * 400 not in page.words


def test_list_of_clients_tells_hosts_grants_and_last_use(
    app: App, alice: Browser, system: System, root: Browser
) -> None:
    uris = ("https://b.example/", "https://a.example:8443/")
    system.add_client("Unused", *uris)
    app.tokens(alice)
    system.advance(30)
    words = root.get(address("clients")).words
    assert f"App {app.client_id} app.example 1 2023-11-14 Active" in words
    assert "a.example:8443, b.example 0 not used yet Active" in words


def test_delete_is_in_no_row(app: App, root: Browser) -> None:
    """It is on the page of the object, and asks there."""
    for page in ("clients", "scopes", "users"):
        assert "delete" not in root.get(address(page)).text.lower()
    for page, name in (("client", app.client_id), ("scope", "verify"), ("user", "root")):
        answer = root.get(address(page, id=name))
        assert f'class="button danger" href="{address(f"{page}/delete", id=name)}"' in answer.text
        assert 'class="danger"' in root.get(address(f"{page}/delete", id=name)).text


def test_form_sent_with_its_own_values_changes_nothing(app: App, root: Browser) -> None:
    page = address("client", id=app.client_id)
    before = app.system.clients()
    assert send(root, form_of(root.get(page))).status == 303
    assert app.system.clients() == before
