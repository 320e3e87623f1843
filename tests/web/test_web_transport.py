"""With TLS and without it, HTTP/2, and answers that are not compressed."""

from __future__ import annotations

import pytest
from web_driver import FORM, Browser, System, Wire

FORM_LINE = ": ".join(FORM)


def sent(system: System, request: str, secure: bool = True) -> Wire:
    """A connection on which one request was sent."""
    wire = Wire(system.site, secure)
    wire.send(request.replace("\n", "\r\n").encode("ascii"))
    return wire


def test_browsers_keep_to_https_only_where_https_is_spoken(system: System) -> None:
    """TL-03: RFC 6797, section 7.2, forbids the header without TLS."""
    page = "GET /oauth2/login/ HTTP/1.1\nHost: as.example\n\n"
    with_tls, without = (sent(system, page, secure).answer for secure in (True, False))
    assert with_tls.header("strict-transport-security") == "max-age=31536000"
    assert without.header("strict-transport-security") is None


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /oauth2/token/",
        "POST /oauth2/revoke/",
        "POST /oauth2/introspect/",
        "POST /oauth2/authorization/",
        "POST /oauth2/login/",
        "GET /oauth2/login/",
        "GET /oauth2/account/",
        "GET /api/user_info/",
    ],
)
def test_without_tls_nothing_is_served_and_no_form_is_read(system: System, request_line: str) -> None:
    """TL-03: a form with a repeated parameter is refused for its transport, not for its content."""
    lines = f"{request_line} HTTP/1.1\nHost: as.example\n{FORM_LINE}\nContent-Length: 7\n\na=1&a=2"
    answer = sent(system, lines, secure=False).answer
    assert answer.status == 400
    assert b"TLS" in answer.body or b"https" in answer.body
    assert b"more than once" not in answer.body
    assert answer.header("location") is None
    assert answer.header("set-cookie") is None


def test_http_2_is_not_spoken(system: System) -> None:
    """HT-12: neither by ALPN, nor to a client that begins with it, nor by an upgrade."""
    assert system.site.acceptableProtocols() == [b"http/1.1"]
    preface = sent(system, "PRI * HTTP/2.0\n\nSM\n\n")
    assert preface.value().startswith(b"HTTP/1.1 400 ")
    assert preface.value().count(b"HTTP/1.1 ") == 1
    assert preface.closed
    upgrade = "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__"
    answer = sent(system, f"GET /healthz HTTP/1.1\nHost: as.example\n{upgrade}\n\n").answer
    assert answer.status == 200
    assert answer.header("upgrade") is None


def test_pages_with_a_token_are_not_compressed(system: System, alice: Browser) -> None:
    """HT-14: their size tells nothing, and the token is another one each time."""
    pages = [alice.get("/oauth2/logout/", headers=[("Accept-Encoding", "gzip, br")]) for _ in range(2)]
    assert all(page.status == 200 and page.header("content-encoding") is None for page in pages)
    tokens = {page.form("csrf_token").hidden["csrf_token"] for page in pages}
    assert len(tokens) == 2
    assert len({len(token) for token in tokens}) == 1
