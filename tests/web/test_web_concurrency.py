"""Many at once: one code and one refresh token are good once, whatever happens side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as the_reactor
from twisted.internet import ssl
from twisted.internet.endpoints import serverFromString
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from web_driver import (
    Answer,
    App,
    Sent,
    System,
    assert_challenge,
    assert_token_error,
    basic,
    encoded,
    post_bytes,
    tokens_of,
    wait,
)

from djoauth2_twisted import Settings
from djoauth2_twisted.cli.certificate import make_certificate
from djoauth2_twisted.web.site import LimitedSite

MakeSystem = Callable[..., System]

AT_ONCE = 16

reactor: Any = the_reactor


class Networked(System):
    """A server on a true TLS port, over SQLite."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        super().__init__(settings, url=f"sqlite:///{folder / 'oauth.db'}")
        pem = make_certificate("localhost")
        path = folder / "server.pem"
        path.write_bytes(pem)
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={path}:certKey={path}"
        site = LimitedSite(self.server.root(), reactor)
        self.port = wait(serverFromString(reactor, endpoint).listen(site))
        self.origin = f"https://localhost:{self.port.getHost().port}"
        trusted = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(pem)])
        pool = HTTPConnectionPool(reactor, persistent=False)
        self.agent = Agent(reactor, BrowserLikePolicyForHTTPS(trustRoot=trusted), pool=pool)

    def stop(self) -> None:
        wait(self.port.stopListening())
        super().stop()


@pytest.fixture(params=["memory", "sqlite in threads", "sqlite over TLS"])
def busy(request: pytest.FixtureRequest, make_system: MakeSystem, tmp_path: Path) -> Iterator[App]:
    """A client of a server, over several stores and transports."""
    if request.param == "sqlite over TLS":
        system: System = Networked(tmp_path)
        yield system.add_client("App")
        system.stop()
        return
    if request.param == "memory":
        system = make_system()
    else:
        system = make_system(url=f"sqlite:///{tmp_path / 'oauth.db'}")
    yield system.add_client("App")


def all_of(sent: list[Sent]) -> list[Answer]:
    return [each.answer for each in sent]


def one_won(answers: list[Answer]) -> list[dict[str, Any]]:
    """At most one succeeds; all others get `invalid_grant`."""
    for answer in answers:
        if answer.status != 200:
            assert_token_error(answer, 400, "invalid_grant")
    won = [tokens_of(answer) for answer in answers if answer.status == 200]
    assert len(won) <= 1
    return won


def test_many_exchanges_of_one_code(busy: App) -> None:
    """CC-01; D12: and as it was used again, nothing that came of it is good."""
    code = busy.code(busy.system.browser("alice"))
    won = one_won(all_of([busy.begin(busy.code_form(code)) for _ in range(AT_ONCE)]))
    assert len(won) == 1
    assert_challenge(busy.system.call(won[0]["access_token"]), 401, "invalid_token")
    assert_token_error(busy.refresh(won[0]["refresh_token"]), 400, "invalid_grant")
    assert busy.system.grants() == []


def test_many_refreshes_of_one_token(busy: App) -> None:
    """CC-02."""
    token = busy.tokens(busy.system.browser("alice"))["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    won = one_won(all_of([busy.begin(form) for _ in range(AT_ONCE)]))
    assert len(won) == 1
    assert_challenge(busy.system.call(won[0]["access_token"]), 401, "invalid_token")
    assert_token_error(busy.refresh(won[0]["refresh_token"]), 400, "invalid_grant")


def test_many_codes_each_for_its_own(busy: App) -> None:
    """CC-09's shape: every answer belongs to its own request."""
    alice, bob = busy.system.browser("alice"), busy.system.browser("bob")
    people = [(alice, "alice"), (bob, "bob")] * 4
    codes = [busy.code(browser) for browser, _ in people]
    answers = all_of([busy.begin(busy.code_form(code)) for code in codes])
    tokens = [tokens_of(answer)["access_token"] for answer in answers]
    assert len(set(tokens)) == len(tokens)
    assert [busy.system.call(token).json["username"] for token in tokens] == [name for _, name in people]


def test_one_consent_form_many_times(busy: App) -> None:
    """UI-07: each answer leads to the client; there is one grant, and of the codes the last is good."""
    alice = busy.system.browser("alice")
    form = busy.ask(alice).form("user_action")
    body = encoded({**form.hidden, "user_action": "Accept"})
    headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Cookie", f"__Host-djoauth2={alice.secret}"),
    ]
    answers = all_of([busy.system.begin("POST", form.action, body, headers) for _ in range(AT_ONCE)])
    codes = {answer.parameters["code"] for answer in answers}
    assert len(codes) == AT_ONCE
    assert len(busy.system.grants()) == 1
    exchanged = [busy.exchange(code).status for code in codes]
    assert sorted(exchanged) == [200] + [400] * (AT_ONCE - 1)


def test_a_code_and_its_replay_and_a_refresh(busy: App) -> None:
    """CC-04: no survivor."""
    code = busy.code(busy.system.browser("alice"))
    first = tokens_of(busy.exchange(code))
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    sent = [busy.begin(form) for form in (refresh, busy.code_form(code)) * 4]
    for answer in all_of(sent):
        if answer.status == 200:
            assert_challenge(busy.system.call(tokens_of(answer)["access_token"]), 401, "invalid_token")
    assert busy.system.grants() == []


def test_repeats_within_the_retry_time_agree(make_system: MakeSystem, tmp_path: Path) -> None:
    """CC-02, RT-16: all get one and the same answer."""
    settings = Settings(refresh_retry_seconds=60)
    for system in (make_system(settings), Networked(tmp_path, settings)):
        app = system.add_client("App")
        token = app.tokens(system.browser("alice"))["refresh_token"]
        form = {"grant_type": "refresh_token", "refresh_token": token}
        answers = [tokens_of(a) for a in all_of([app.begin(form) for _ in range(AT_ONCE)])]
        assert len({answer["access_token"] for answer in answers}) == 1
        assert len({answer["refresh_token"] for answer in answers}) == 1
        assert system.call(answers[0]["access_token"]).status == 200
        if isinstance(system, Networked):
            system.stop()


def test_a_client_that_hangs_up_leaves_no_half(make_system: MakeSystem, tmp_path: Path) -> None:
    """CC-08: the step behind it is taken wholly; a retry is answered as a second use."""
    system = make_system(url=f"sqlite:///{tmp_path / 'oauth.db'}")
    app = system.add_client("App")
    code = app.code(system.browser("alice"))
    body = encoded(app.code_form(code))
    wire = system.wire()
    authorization = f"Authorization: {basic(app.client_id, app.secret)}"
    wire.send(post_bytes("/oauth2/token/", body, authorization))
    wire.hang_up()
    answer = app.exchange(code)
    if answer.status == 200:
        assert system.call(tokens_of(answer)["access_token"]).status == 200
    else:
        assert_token_error(answer, 400, "invalid_grant")
        assert system.grants() == []


def test_a_look_up_that_is_abandoned(make_system: MakeSystem, tmp_path: Path) -> None:
    """CC-08, U-08: a guard over a thread, whose client has hung up."""
    system = make_system(url=f"sqlite:///{tmp_path / 'oauth.db'}")
    app = system.add_client("App")
    token = app.tokens(system.browser("alice"))["access_token"]
    wire = system.wire()
    wire.send(
        f"GET /api/user_info/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    wire.hang_up()
    assert system.call(token).status == 200
    assert wire.value() == b""


def test_the_whole_flow_over_tls(tmp_path: Path) -> None:
    """The same sentences, over a true connection."""
    system = Networked(tmp_path)
    app, alice = system.add_client("App"), system.browser("alice")
    said = app.tokens(alice)
    assert system.call(said["access_token"]).json["username"] == "alice"
    again = tokens_of(app.refresh(said["refresh_token"]))
    assert system.call(again["access_token"]).status == 200
    system.stop()
