"""Clients' pictures: kept here, shown from here, and never anything but pictures."""

from __future__ import annotations

import pytest
from web_driver import App, Browser, System

from djoauth2_twisted.errors import RegistrationError
from djoauth2_twisted.protocol.registration import MAX_IMAGE_SIZE

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
PICTURES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(100),
    "image/gif": b"GIF89a" + bytes(100),
    "image/webp": b"RIFF\x24\n\0\0WEBPVP8 " + bytes(100),
}


def shown(app: App, browser: Browser) -> list[str]:
    """The addresses of pictures on the consent page."""
    return [a["src"] or "" for tag, a in app.ask(browser).page.elements if tag == "img"]


@pytest.mark.parametrize("media_type", PICTURES)
def test_a_picture_on_the_consent_page(
    system: System, app: App, alice: Browser, media_type: str
) -> None:
    """UI-21: it comes from us, as what it is, and cannot do anything."""
    assert shown(app, alice) == []
    content = PICTURES[media_type]
    system.do(system.administration.set_image(app.client_id, content))
    (address,) = shown(app, alice)
    answer = system.send("GET", address)
    assert (answer.status, answer.body) == (200, content)
    assert answer.header("content-type") == media_type
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("content-security-policy") == "default-src 'none'; sandbox"
    assert "max-age" in (answer.header("cache-control") or "")
    assert answer.header("set-cookie") is None


def test_a_new_picture_has_a_new_address(system: System, app: App, alice: Browser) -> None:
    """So that no browser shows the one it has kept."""
    system.do(system.administration.set_image(app.client_id, PNG))
    (before,) = shown(app, alice)
    system.do(system.administration.set_image(app.client_id, PNG + b"x"))
    (after,) = shown(app, alice)
    assert before != after
    system.do(system.administration.set_image(app.client_id, None))
    assert shown(app, alice) == []
    assert system.send("GET", after).status == 404


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"<html>",
        b" " + PNG,
        b"\x89PNG",
        b"RIFF1234WAVE",
        b"GIF88a",
        b"BM" + bytes(100),
        PNG + bytes(MAX_IMAGE_SIZE),
    ],
    ids=lambda content: ascii(content[:12]),
)
def test_content_that_is_no_picture_is_refused(system: System, app: App, content: bytes) -> None:
    """Whatever it is called, and above all no SVG."""
    with pytest.raises(RegistrationError, match="a picture"):
        system.do(system.administration.set_image(app.client_id, content))
    with pytest.raises(RegistrationError, match="a picture"):
        system.add_client("Other", image=content)
    assert [client.name for client in system.clients()] == ["App"]


@pytest.mark.parametrize("query", ["", "?", "?id=", "?id=nobody", "?id=%ff", "?id=a&id=b", "?v=x"])
def test_a_picture_that_is_not_there(system: System, query: str) -> None:
    assert system.send("GET", f"/oauth2/image/{query}").status == 404


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE"])
def test_other_methods_are_refused(system: System, method: str) -> None:
    answer = system.send(method, "/oauth2/image/")
    assert (answer.status, answer.header("allow")) == (405, "GET")


def test_without_tls(system: System) -> None:
    assert system.send("GET", "http://as.example/oauth2/image/").status == 400
