"""The whole flow once, and the driver's oracles, which must be able to fail."""

from __future__ import annotations

import pytest
from twisted.web.http_headers import Headers
from web_driver import Answer, App, Browser, Oracle, System, tokens_of


def test_the_whole_flow(system: System, app: App, alice: Browser) -> None:
    """Authorize, exchange, call, refresh, call (RFC 6749, sections 4.1 and 6)."""
    tokens = tokens_of(app.exchange(app.code(alice)))
    assert system.call(tokens["access_token"]).json["username"] == "alice"
    again = tokens_of(app.refresh(tokens["refresh_token"]))
    assert system.call(again["access_token"]).json["first_name"] == "Alice"
    assert system.call(tokens["access_token"]).status == 401


def _answer(status: int, body: bytes = b"", /, **headers: str) -> Answer:
    given = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})
    return Answer(status, given, body)


_JSON = {
    "content_type": "application/json",
    "cache_control": "no-store",
    "x_content_type_options": "nosniff",
    "referrer_policy": "no-referrer",
}
_GONE = {name: value for name, value in _JSON.items() if name != "content_type"}


@pytest.mark.parametrize(
    ("oracle", "answer"),
    [
        ("U-01", _answer(500)),
        ("U-02", _answer(400, b"Traceback (most recent call last)")),
        ("U-02", _answer(200, server="TwistedWeb/26.10.0")),
        ("U-04", _answer(303, location="https://evil.example/", **_GONE)),
        ("U-04", _answer(303, location="//evil.example/", **_GONE)),
        ("U-04", _answer(303, location="https://app.example/cb?extra=1", **_GONE)),
        ("U-06", _answer(400, b'{"error_description": "a\\"b"}', **_JSON)),
        ("U-07", _answer(200, b"{}", content_type="application/json")),
        ("D8", _answer(400, b"secret-code is unknown")),
    ],
)
def test_an_oracle_can_fail(oracle: str, answer: Answer) -> None:
    watcher = Oracle("https://as.example")
    watcher.redirect_uris.add("https://app.example/cb")
    with pytest.raises(AssertionError, match=oracle):
        watcher.check(answer, b"code=secret-code")
