"""What is counted, for the administrator's plots, and how it is written down."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import fail
from web_driver import START, App, Browser, System, wait

from djoauth2_twisted.errors import AlreadyExists, TemporarilyUnavailable
from djoauth2_twisted.web.statistics import MAX_HOURS

HOUR = START // 3600


def counted(system: System) -> dict[str, int]:
    """What was written down, of all hours together."""
    wait(system.server.stopService())
    found = wait(system.registry.statistics(0, 1_000_000))
    return {kind: count for (_, kind), count in found.items()}


def test_everything_of_note_is_counted(app: App, alice: Browser) -> None:
    tokens = app.tokens(alice)
    refreshed = app.refresh(tokens["refresh_token"]).json
    revoke = {"token": refreshed["refresh_token"], "client_id": app.client_id}
    app.system.post("/oauth2/revoke/", {**revoke, "client_secret": app.secret})
    app.system.post("/oauth2/revoke/", {**revoke, "client_secret": app.secret, "token": "nothing"})
    app.authorize(alice, decision="Decline")
    app.ask(alice, scope="nothing")
    app.ask(alice, client_id="nobody")
    app.exchange("nothing")
    app.token({}, auth=None)
    app.system.browser().log_in("alice", "wrong")
    assert counted(app.system) == {
        "authorization": 1,
        "exchange": 1,
        "refresh": 1,
        "revocation": 1,
        "denial": 1,
        "login": 1,
        "failed login": 1,
        "authorization/invalid_scope": 1,
        "authorization/missing_redirect_uri": 1,
        "token/invalid_grant": 1,
        "token/invalid_client": 1,
    }


def test_it_is_written_down_now_and_then(system: System) -> None:
    system.browser("alice")
    assert wait(system.registry.statistics(0, 1)) == {}
    system.advance(30)
    assert wait(system.registry.statistics(0, 1)) == {(HOUR, "login"): 1}
    system.advance(3600)
    system.browser("alice")
    system.browser("alice")
    system.advance(30)
    assert wait(system.registry.statistics(0, 1)) == {(HOUR, "login"): 1, (HOUR + 1, "login"): 2}


@pytest.mark.parametrize("error", [AlreadyExists("taken"), TemporarilyUnavailable()])
def test_what_cannot_be_written_now_is_written_later(
    system: System, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(system.registry, "add_statistics", lambda counts: fail(error))
        system.browser("alice")
        system.advance(30)
        system.browser("alice")
    assert wait(system.registry.statistics(0, 1)) == {}
    assert counted(system) == {"login": 2}


def test_a_long_outage_does_not_fill_the_memory(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    statistics: Any = system.server._statistics
    with monkeypatch.context() as broken:
        broken.setattr(system.registry, "add_statistics", lambda counts: fail(TemporarilyUnavailable()))
        for _ in range(MAX_HOURS + 20):
            statistics.count("login")
            system.advance(3600)
        assert len(statistics._counts) <= MAX_HOURS + 1


def last_use(app: App) -> int | None:
    client = wait(app.system.registry.find_client(app.client_id))
    assert client is not None
    found: int | None = client.last_used
    return found


def test_last_use_of_a_client_is_written_once_an_hour(app: App, alice: Browser) -> None:
    """A refresh is a use, too; a refused request is none."""
    app.exchange("nothing")
    app.system.advance(30)
    assert last_use(app) is None
    tokens = app.tokens(alice)
    assert last_use(app) is None
    first = int(app.system.server._clock.seconds())
    app.system.advance(30)
    assert last_use(app) == first
    refreshed = app.refresh(tokens["refresh_token"]).json
    app.system.advance(60)
    assert last_use(app) == first
    app.system.advance(3600)
    app.refresh(refreshed["refresh_token"])
    app.system.advance(30)
    assert last_use(app) == first + 30 + 60 + 3600


def test_last_use_that_cannot_be_written_is_written_later(
    app: App, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(app.system.registry, "note_uses", lambda uses: fail(TemporarilyUnavailable()))
        app.tokens(alice)
        used = int(app.system.server._clock.seconds())
        app.system.advance(30)
    assert last_use(app) is None
    app.system.advance(30)
    assert last_use(app) == used
