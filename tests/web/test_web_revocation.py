"""The revocation endpoint (RFC 7009)."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, fail
from web_driver import FORM, App, Browser, System, assert_token_error, basic, encoded, wait

from djoauth2_twisted.errors import TemporarilyUnavailable

REVOKE = "/oauth2/revoke/"


def revoke(app: App, token: str | None, **more: str | None):
    headers = [("Authorization", basic(app.client_id, app.secret))]
    return app.system.post(REVOKE, {"token": token, **more}, headers)


def assert_done(answer) -> None:
    assert (answer.status, answer.json) == (200, {})
    assert answer.header("cache-control") == "no-store"


@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "bogus"])
def test_revoking_an_access_token_keeps_its_grant(app: App, alice: Browser, hint: str | None) -> None:
    """RV-01, RT-18: its refresh token stays good."""
    tokens = app.tokens(alice)
    assert_done(revoke(app, tokens["access_token"], token_type_hint=hint))
    assert app.system.call(tokens["access_token"]).status == 401
    assert app.refresh(tokens["refresh_token"]).status == 200


@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "bogus"])
def test_revoking_a_refresh_token_revokes_its_grant(app: App, alice: Browser, hint: str | None) -> None:
    """RV-01, RT-11."""
    tokens = app.tokens(alice)
    assert_done(revoke(app, tokens["refresh_token"], token_type_hint=hint))
    assert app.system.call(tokens["access_token"]).status == 401
    assert_token_error(app.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert app.system.grants() == []


def test_unknown_token_is_answered_as_revoked(app: App, alice: Browser) -> None:
    """RV-02, RV-09: unknown, revoked, a code, a session's secret."""
    tokens = app.tokens(alice)
    code = app.code(alice)
    revoke(app, tokens["access_token"])
    for token in ("unknown", tokens["access_token"], code, alice.secret, "é", "\udcff", "x" * 9000):
        assert_done(revoke(app, token))
    assert app.exchange(code).status == 200
    assert app.refresh(tokens["refresh_token"]).status == 200


def test_expired_token_is_answered_as_revoked(app: App, alice: Browser) -> None:
    """RV-08: a refresh token whose access token has expired can be revoked."""
    tokens = app.tokens(alice)
    app.system.advance(3600)
    assert_done(revoke(app, tokens["access_token"]))
    assert_done(revoke(app, tokens["refresh_token"]))
    assert_token_error(app.refresh(tokens["refresh_token"]), 400, "invalid_grant")


def test_token_of_another_client_is_not_revoked(app: App, other_app: App, alice: Browser) -> None:
    """RV-03: and the answer does not tell that it exists."""
    tokens = app.tokens(alice)
    for name in ("access_token", "refresh_token"):
        assert_done(revoke(other_app, tokens[name]))
    assert app.system.call(tokens["access_token"]).status == 200
    assert app.refresh(tokens["refresh_token"]).status == 200


def test_client_must_authenticate(app: App, alice: Browser) -> None:
    """RV-04: the token itself is no authentication."""
    tokens = app.tokens(alice)
    bearer = [("Authorization", f"Bearer {tokens['access_token']}")]
    wrong = [("Authorization", basic(app.client_id, "wrong"))]
    for headers in ([], bearer, wrong):
        answer = app.system.post(REVOKE, {"token": tokens["access_token"]}, headers)
        assert_token_error(answer, 401, "invalid_client")
    assert app.system.call(tokens["access_token"]).status == 200


def test_malformed_request_is_refused(app: App, alice: Browser) -> None:
    """RV-06: missing, twice, in the address, by another method, without TLS."""
    token = app.tokens(alice)["access_token"]
    headers = [("Authorization", basic(app.client_id, app.secret))]
    system = app.system
    assert_token_error(revoke(app, None), 400, "invalid_request")
    assert_token_error(revoke(app, ""), 400, "invalid_request")
    twice = system.post(REVOKE, [("token", token), ("token", token)], headers)
    assert_token_error(twice, 400, "invalid_request")
    in_address = system.send("POST", f"{REVOKE}?token={token}", b"", [FORM, *headers])
    assert_token_error(in_address, 400, "invalid_request")
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        answer = system.send(method, f"{REVOKE}?callback=x", None, headers)
        assert (answer.status, answer.header("allow")) == (405, "POST")
        assert answer.header("access-control-allow-origin") is None
    plain = system.send(
        "POST", f"http://as.example{REVOKE}", encoded({"token": token}), [FORM, *headers]
    )
    assert_token_error(plain, 400, "invalid_request")
    assert system.call(token).status == 200


def test_unreachable_store_is_answered_503(
    system: System, app: App, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RV-07: 503, never 200."""
    token = app.tokens(alice)["access_token"]

    def revoked(*_: object) -> Deferred[None]:
        return fail(TemporarilyUnavailable())

    monkeypatch.setattr(system.tokens, "revoke", revoked)
    headers = [("Authorization", basic(app.client_id, app.secret))]
    answer = system.post(REVOKE, {"token": token}, headers, faults=True)
    assert_token_error(answer, 503, "temporarily_unavailable")
    assert answer.header("retry-after") == "1"


def test_revocation_wins_over_a_refresh_at_the_same_time(app: App, alice: Browser) -> None:
    """CC-03: after the answer nothing of the grant is good, whichever came first."""
    for _ in range(20):
        tokens = app.tokens(alice)
        refreshing = app.begin({"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]})
        assert_done(revoke(app, tokens["refresh_token"]))
        refreshed = refreshing.answer
        if refreshed.status == 200:
            # The refresh was first: what was revoked then was a used token, and with it all.
            assert app.system.call(refreshed.json["access_token"]).status == 401
        assert app.system.grants() == []
    wait(app.system.tokens.prune(10**10, 100))
