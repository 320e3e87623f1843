"""The root of the stand-alone site."""

from __future__ import annotations

import pytest
from web_driver import System


def test_the_root_is_a_small_page(system: System) -> None:
    """INTERFACE, section 2: it leads to one's applications, and to the metadata."""
    page = system.send("GET", "/")
    assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    links = {found.get("href") for tag, found in page.page.elements if tag == "a"}
    assert links == {"/oauth2/account/", "/.well-known/oauth-authorization-server"}
    assert system.send("GET", "/.well-known/oauth-authorization-server").status == 200
    assert system.send("POST", "/", b"").status == 405


def test_the_icon_that_browsers_ask_for(system: System) -> None:
    """INTERFACE, section 2."""
    for address in ("/favicon.ico", "/oauth2/icon/"):
        answer = system.send("GET", address)
        assert (answer.status, answer.header("content-type")) == (200, "image/svg+xml")
        assert answer.header("content-security-policy") == "default-src 'none'; sandbox"


@pytest.mark.parametrize("address", ["/nothing", "/nothing/at/all", "/oauth2/nothing", "/favicon.ico/x"])
def test_a_page_that_is_not_there(system: System, address: str) -> None:
    """One style for pages, in the language of the browser; JSON for those who ask for it."""
    browser = [("Accept", "text/html,*/*;q=0.8"), ("Accept-Language", "de")]
    page = system.send("GET", address, None, browser)
    assert (page.status, page.header("content-type")) == (404, "text/html; charset=utf-8")
    assert "Diese Seite gibt es nicht." in page.words
    answer = system.send("GET", address, None, [("Accept", "application/json")])
    assert (answer.status, answer.json["error"]) == (404, "invalid_request")


@pytest.mark.parametrize(
    "address",
    ["/api/", "/api/nothing", "/.well-known/nothing", "/oauth2/token/x", "/oauth2/revoke/x", "/livez/x"],
)
def test_an_api_address_that_is_not_there(system: System, address: str) -> None:
    """One style for programs."""
    answer = system.send("GET", address)
    assert (answer.status, answer.header("content-type")) == (404, "application/json")
    assert answer.json["error"] == "invalid_request"
