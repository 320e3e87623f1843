"""An operator's templates of the version before still work: no name of their contexts is gone.

``templates_before`` has them all, as that version shipped them. Where one uses a name that its page no
longer has, the answer is 500, because undefined is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from admin_driver import administrator
from web_driver import Answer, System

from djoauth2_twisted.web.pages import Pages

MakeSystem = Callable[..., System]

BEFORE = Path(__file__).parent / "templates_before"


@pytest.fixture
def system(make_system: MakeSystem) -> System:
    return make_system(templates=str(BEFORE))


def links(page: Answer) -> set[str]:
    """Where the links of a page lead, without fragments."""
    found = {attributes.get("href") or "" for tag, attributes in page.page.elements if tag == "a"}
    return {urlsplit(address)._replace(fragment="").geturl() for address in found}


def test_pages_of_users(system: System) -> None:
    """Each is made of the operator's template, and its forms work."""
    app, browser = (
        system.add_client("App", description="Rain or shine.", image=b"GIF89a"),
        system.browser(),
    )
    login = browser.follow(app.ask(browser))
    assert "brand" not in login.text
    assert browser.submit(login, "password", username="alice", password="wrong").status == 403
    consent = browser.follow(browser.log_in("alice", page=login))
    assert "Let App use your account?" in consent.words
    assert browser.post(app.address(), {"user_action": "Accept"}).status == 403
    answer = browser.submit(consent, "user_action", user_action="Accept")
    assert app.exchange(answer.parameters["code"]).status == 200
    account = browser.get("/oauth2/account/")
    assert "App" in account.words
    assert browser.get("/oauth2/login/").status == 200
    assert browser.get("/oauth2/nothing").status == 404
    assert app.ask(browser, redirect_uri="https://evil.example/").status == 400
    assert browser.submit(account, "client_id").status == 303
    assert browser.follow(browser.log_out()).status == 200
    assert browser.get("/").status == 200


def test_pages_of_administration(make_system: MakeSystem) -> None:
    """Every page that links lead to from the first one."""
    system = make_system(templates=str(BEFORE))
    root = administrator(system)
    system.add_client("App")
    seen, left = set(), {"/oauth2/admin/"}
    while left:
        address = left.pop()
        seen.add(address)
        page = root.get(address)
        assert page.status == 200, address
        left |= {link for link in links(page) if link.startswith("/oauth2/admin/")} - seen
    assert {address.partition("?")[0] for address in seen} >= {
        f"/oauth2/admin/{page}"
        for page in (
            "",
            "clients/",
            "client/",
            "scopes/",
            "scope/",
            "users/",
            "user/",
            "grants/",
            "audit/",
        )
    }


def test_pages_that_every_visitor_needs() -> None:
    """As the check of the server's health makes them."""
    Pages(str(BEFORE)).check()
