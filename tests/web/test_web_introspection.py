"""The introspection endpoint (RFC 7662)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from web_driver import FORM, ISSUER, App, Browser, System, assert_token_error, basic, encoded, wait

from djoauth2_twisted.conf import Settings
from djoauth2_twisted.errors import TemporarilyUnavailable

INTROSPECT = "/oauth2/introspect/"
INACTIVE = {"active": False}


@pytest.fixture
def resource_server(system: System) -> App:
    administration = system.administration
    client, secret = system.do(administration.add_client("API", resource_server=True))
    system.oracle.secrets.add(secret)
    return App(system, client.client_id, secret, "")


def introspect(app: App, token: str | None, **more: str | None) -> Any:
    headers = [("Authorization", basic(app.client_id, app.secret))]
    return app.system.post(INTROSPECT, {"token": token, **more}, headers)


@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "bogus"])
def test_good_token_is_active(app: App, resource_server: App, alice: Browser, hint: str | None) -> None:
    """IN-01, IN-06: all that there is to know, whatever the hint, and never the token."""
    token = app.tokens(alice, scope="user_info verify")["access_token"]
    subject = wait(app.system.registry.find_user("alice")).subject
    assert len(subject) == 22
    for asking in (app, resource_server):
        answer = introspect(asking, token, token_type_hint=hint)
        said = answer.json
        now = int(app.system.reactor.seconds())
        assert answer.status == 200
        assert answer.header("cache-control") == "no-store"
        assert said["active"] is True
        assert set(said.pop("scope").split()) == {"user_info", "verify"}
        assert said == {
            "active": True,
            "client_id": app.client_id,
            "username": "alice",
            "sub": subject,
            "iss": ISSUER,
            "exp": now + 3600,
            "iat": now,
            "token_type": "Bearer",
        }


def test_any_other_token_is_inactive(app: App, resource_server: App, alice: Browser) -> None:
    """IN-02: unknown, revoked, rotated, a code, a refresh token."""
    tokens = app.tokens(alice)
    code = app.code(alice)
    newer = app.refresh(tokens["refresh_token"]).json
    for token in ("unknown", tokens["access_token"], code, newer["refresh_token"], "é", "\udcff"):
        for asking in (app, resource_server):
            answer = introspect(asking, token)
            assert (answer.status, answer.json) == (200, INACTIVE)
    assert app.exchange(code).status == 200


def test_expired_token_is_inactive(app: App, alice: Browser) -> None:
    token = app.tokens(alice)["access_token"]
    app.system.advance(3599.9)
    assert introspect(app, token).json["active"] is True
    app.system.advance(0.1)
    assert introspect(app, token).json == INACTIVE


def test_token_of_another_client_is_inactive(app: App, other_app: App, alice: Browser) -> None:
    """IN-04."""
    assert introspect(other_app, app.tokens(alice)["access_token"]).json == INACTIVE


def test_client_must_authenticate(app: App, alice: Browser) -> None:
    """IN-03."""
    token = app.tokens(alice)["access_token"]
    for headers in ([], [("Authorization", f"Bearer {token}")]):
        answer = app.system.post(INTROSPECT, {"token": token}, headers)
        assert_token_error(answer, 401, "invalid_client")
    assert_token_error(introspect(app, None), 400, "invalid_request")
    answer = app.system.send("GET", f"{INTROSPECT}?token={token}")
    assert (answer.status, answer.header("allow")) == (405, "POST")
    plain = app.system.send("POST", f"http://as.example{INTROSPECT}", encoded({"token": token}), [FORM])
    assert_token_error(plain, 400, "invalid_request")


def test_many_unknown_tokens_are_throttled(
    system: System, resource_server: App, app: App, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IN-10: many unknown tokens from one place; fifty within a minute are nothing."""
    token = app.tokens(alice)["access_token"]
    for number in range(50):
        assert introspect(resource_server, f"unknown-{number}").json == INACTIVE
    assert introspect(resource_server, token).json["active"] is True
    statuses = {
        introspect(resource_server, f"more-{n}").status for n in range(Settings().max_unknown_tokens)
    }
    assert statuses == {200, 429}
    answer = introspect(resource_server, "one more")
    assert_token_error(answer, 429, "temporarily_unavailable")
    assert int(answer.header("retry-after") or 0) > 0


def test_good_token_is_answered_while_unknown_ones_are_throttled(
    system: System, app: App, resource_server: App, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many unknown ones were asked for. Beyond the limit, these are looked up and no more."""
    token = app.tokens(alice)["access_token"]
    statuses = [
        introspect(resource_server, f"more-{n}").status for n in range(Settings().max_unknown_tokens + 5)
    ]
    assert statuses[-4:] == [429] * 4
    for asking in (resource_server, app):
        assert introspect(asking, token).json["active"] is True
    newer = app.tokens(alice)["access_token"]
    assert introspect(resource_server, newer).json["active"] is True
    monkeypatch.setattr(type(system.registry), "count_failures", None)
    assert introspect(resource_server, "one more").status == 429


def test_unreachable_store_is_answered_503(
    system: System, app: App, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IN-09: neither active nor inactive."""
    token = app.tokens(alice)["access_token"]

    def find(*_: object) -> Deferred[None]:
        return fail(TemporarilyUnavailable())

    monkeypatch.setattr(system.tokens, "find_access_token", find)
    headers = [("Authorization", basic(app.client_id, app.secret))]
    answer = system.post(INTROSPECT, {"token": token}, headers, faults=True)
    assert_token_error(answer, 503, "temporarily_unavailable")
