"""Templates that an operator made for an earlier release: all pages of the administration still work."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from admin_driver import ADMIN, PAGES, address, administrator, fill_in, form_of, secret_on, send
from web_driver import START, App, Browser, System, wait

from djoauth2_twisted.web.pages import templates_folder

MakeSystem = Callable[..., System]

#: The templates as they were before the administration got its own style sheet.
OLD = Path(__file__).resolve().parent / "templates_before"

HOUR = START // 3600


def open_all(system: System, client_id: str, root: Browser) -> Iterator[tuple[str, str]]:
    """Every page of the administration, and its text."""
    for page in PAGES:
        name, question, query = page.partition("?")
        answer = root.get(f"{ADMIN}{name}{question}{query.format(client=client_id)}")
        assert answer.status == 200, page
        yield name, answer.text


def fill(system: System) -> tuple[App, Browser]:
    """A client with a grant, some statistics, and an administrator."""
    app = system.add_client("App", image_url="https://app.example/logo.png")
    app.tokens(system.browser("alice"))
    counts = {(HOUR, "refresh"): 5, (HOUR, "token/invalid_grant"): 2}
    wait(system.registry.add_statistics(counts))
    return app, administrator(system)


def test_all_templates_of_an_earlier_release_together(make_system: MakeSystem) -> None:
    system = make_system(templates=str(OLD))
    app, root = fill(system)
    for name, text in open_all(system, app.client_id, root):
        assert '<nav class="admin"' in text, name
    secret_on(
        root, fill_in(root, address("clients/add"), name="New", redirect_uris="https://n.example/")
    )
    assert fill_in(root, address("client", id=app.client_id), scopes="verify").status == 303
    (kept,) = [client for client in system.clients() if client.client_id == app.client_id]
    assert (kept.scopes, kept.image_url) == (("verify",), "https://app.example/logo.png")
    assert fill_in(root, address("client", id=app.client_id), scopes="", no_scope="yes").status == 303
    refused = fill_in(root, address("client", id=app.client_id), scopes="verify", no_scope="yes")
    assert refused.status == 400
    assert "no scope" in refused.words
    page = root.get(address("grants"))
    (form,) = [form for form in page.page.forms if "grant" in form.names]
    assert send(root, form).status == 303
    assert system.grants() == []


@pytest.mark.parametrize("path", sorted(OLD.rglob("*.*")), ids=lambda path: path.name)
def test_one_template_of_an_earlier_release(make_system: MakeSystem, tmp_path: Path, path: Path) -> None:
    """Among the templates of today."""
    copy = tmp_path / path.relative_to(OLD)
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(path, copy)
    system = make_system(templates=str(tmp_path))
    app, root = fill(system)
    assert len(list(open_all(system, app.client_id, root))) == len(PAGES)
    assert form_of(root.get(address("grants", user="alice")))


def test_bar_is_there_also_without_a_header(make_system: MakeSystem, tmp_path: Path) -> None:
    """A base.html of an operator may have no header."""
    base = '<!DOCTYPE html><html lang="en"><title>x</title><body>{% block main %}{% endblock %}'
    (tmp_path / "base.html").write_text(base)
    root = administrator(make_system(templates=str(tmp_path)))
    text = root.get(ADMIN).text
    assert text.count('<nav class="admin"') == 1
    assert text.count('href="/oauth2/admin.css"') == 1
    shipped = administrator(make_system()).get(ADMIN).text
    assert shipped.count('<nav class="admin"') == 1
    assert shipped.index('<nav class="admin"') < shipped.index("<main>")


def test_style_of_the_administration_is_on_its_pages_alone(
    app: App, system: System, alice: Browser
) -> None:
    """It is cached as the other one, and can be replaced."""
    root = administrator(system)
    assert 'href="/oauth2/admin.css"' in root.get(ADMIN).text
    for answer in (alice.get("/oauth2/account/"), app.ask(alice), alice.get("/oauth2/login/")):
        assert "admin.css" not in answer.text
    style = system.send("GET", "/oauth2/admin.css")
    assert style.header("content-type") == "text/css; charset=utf-8"
    assert style.header("cache-control") == "no-cache"
    tag = style.header("etag") or ""
    again = system.send("GET", "/oauth2/admin.css", None, [("If-None-Match", tag)])
    assert (again.status, again.body) == (304, b"")
    assert system.send("GET", "/oauth2/style.css").header("etag") != tag
    assert style.body.strip() == (templates_folder() / "admin.css").read_bytes().strip()
