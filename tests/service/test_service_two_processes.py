"""Two server processes on one store: what one of them knows, the other does; and one of many wins.

Behaviours CA-27, CC-01, CC-02, CC-05, F-18, RD-02, RV-01, RV-10.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest
import sqlalchemy as sa
from attrs import frozen
from servers import MARIADB, POSTGRESQL
from service_kit import (
    DJOAUTH2,
    Answer,
    Application,
    Browser,
    Prepared,
    Server,
    basic,
    code_form,
    run,
    together,
)
from store_kit import redis_options, sql_options
from waiting import PATIENCE, wait_for

from djoauth2_twisted.cli.demo.walk import Form
from djoauth2_twisted.conf import Settings
from djoauth2_twisted.credentials import random_string
from djoauth2_twisted.stores.sql import schema

#: The default limits on wrong passwords and secrets.
GUESSES = Settings().max_wrong_passwords
SECRETS = Settings().max_wrong_secrets


@frozen
class Two:
    """Two servers, and their database."""

    prepared: Prepared
    options: tuple[str, ...]
    database: str
    first: Server
    second: Server

    def each(self, count: int) -> list[Server]:
        """So many times one of both in turn."""
        return [(self.first, self.second)[number % 2] for number in range(count)]


OPTIONS: dict[str, Callable[[Prepared, ExitStack], tuple[str, ...]]] = {
    "sqlite": lambda prepared, stack: (),
    "postgresql": partial(sql_options, POSTGRESQL),
    "mariadb": partial(sql_options, MARIADB),
    "redis": redis_options,
}


@pytest.fixture(scope="module", params=OPTIONS)
def two(
    request: pytest.FixtureRequest, prepared_once: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Two]:
    prepared = prepared_once.copy_to(tmp_path_factory.mktemp("two"))
    with ExitStack() as stack:
        options = OPTIONS[request.param](prepared, stack)
        database = options[1] if "--database" in options else f"sqlite:///{prepared.database}"
        first, second = (Server.start(prepared, *options, log=name) for name in ("first", "second"))
        stack.callback(first.kill)
        stack.callback(second.kill)
        first.wait_until_ready()
        second.wait_until_ready()
        yield Two(prepared, options, database, first, second)
        for server in (first, second):
            assert "Traceback" not in server.text(), server.text()
            assert "Unhandled" not in server.text(), server.text()


def is_invalid_grant(answer: Answer) -> bool:
    return answer.status == 400 and answer.json["error"] == "invalid_grant"


def raced(two: Two, count: int, act: Callable[[Application], Answer]) -> Answer:
    """The one answer among many that is 200; all the others refuse.

    On a slow machine a step may come too late: nothing of it is done. Its request gets 503, and
    is sent again.
    """
    applications = [Application(server).connect() for server in two.each(count)]

    def ask(application: Application) -> Answer:
        def answered() -> Answer | None:
            answer = act(application)
            return None if answer.status == 503 else answer

        answer = wait_for(answered, "an answer other than 503")
        assert answer is not None
        return answer

    answers = together([partial(ask, application) for application in applications])
    for application in applications:
        application.close()
    (won,) = [answer for answer in answers if answer.status == 200]
    refused = [answer.text for answer in answers if not is_invalid_grant(answer)]
    assert refused == [won.text]
    return won


@pytest.mark.parametrize("by", ["revocation", "refresh"])
def test_a_token_ended_at_one_server_is_refused_by_the_other(two: Two, by: str):
    """RV-10: a request sent a tenth of a second after the answer is refused, also for a token in use.

    RV-01: the server that gave the answer refuses each request sent after it.
    """
    code = Browser(two.first).log_in_as_user().code()
    with Application(two.first) as first, Application(two.second) as second:
        pair = first.exchange(code).json
        for _ in range(20):
            ended = pair["access_token"]
            for _ in range(5):
                assert first.user_info(ended).status == 200
                assert second.user_info(ended).status == 200
            if by == "revocation":
                assert first.revoke(ended).status == 200
            else:
                pair = first.refresh(pair["refresh_token"]).json
            answered = time.monotonic()
            assert first.user_info(ended).status == 401
            while (asked := time.monotonic()) and second.user_info(ended).status == 200:
                assert asked < answered + 0.1
            assert second.user_info(ended).status == 401
            if by == "revocation":
                pair = first.refresh(pair["refresh_token"]).json


def test_a_secret_rotated_by_a_command_is_refused_by_both_servers(two: Two):
    """CA-27: a request sent a tenth of a second after the rotation is refused, also for a client in use.

    The new secret is taken at once.
    """

    def command(*arguments: str) -> dict[str, str]:
        done = run(*DJOAUTH2, *two.options, "client", *arguments, "--json", folder=two.prepared.folder)
        assert done.returncode == 0, done.stderr
        answer: dict[str, str] = json.loads(done.stdout)
        return answer

    client = command("add", "--name", "Rotated", "--resource-server")

    def status(application: Application, secret: str) -> int:
        """401; or 400, as nothing is asked for."""
        headers = {"Authorization": basic(client["client_id"], secret)}
        return application.token({}, headers).status

    secret = client["client_secret"]
    with Application(two.first) as first, Application(two.second) as second:
        for _ in range(2):
            for application in (first, second) * 5:
                assert status(application, secret) == 400
            old, secret = secret, command("rotate-secret", client["client_id"])["client_secret"]
            answered = time.monotonic()
            for application in (first, second):
                assert status(application, secret) == 400
                while (asked := time.monotonic()) and status(application, old) == 400:
                    assert asked < answered + 0.1
                assert status(application, secret) == 400


def has_ended(two: Two, answer: Answer) -> bool:
    """Whether both servers refuse the tokens of an answer."""
    for server in (two.first, two.second):
        with Application(server) as application:
            if application.user_info(answer.json["access_token"]).status != 401:
                return False
            if not is_invalid_grant(application.refresh(answer.json["refresh_token"])):
                return False
    return True


@pytest.mark.parametrize("count", [2, 16, 50])
def test_a_code_raced_at_both_servers_is_exchanged_once(two: Two, count: int):
    """Exactly one gets tokens, which the others' replays then end."""
    code = Browser(two.first).log_in_as_user().code()
    won = raced(two, count, lambda application: application.exchange(code))
    assert has_ended(two, won)


@pytest.mark.parametrize("count", [2, 16, 50])
def test_a_refresh_token_raced_at_both_servers_is_used_once(two: Two, count: int):
    """Exactly one gets the next pair, and the others' replays end the grant."""
    code = Browser(two.first).log_in_as_user().code()
    with Application(two.second) as application:
        token = application.exchange(code).json["refresh_token"]
    won = raced(two, count, lambda application: application.refresh(token))
    assert has_ended(two, won)


def test_a_login_at_one_server_is_known_to_the_other(two: Two):
    """The whole flow, each step at the other one; and the logout, too."""
    browser = Browser(two.first).log_in_as_user()
    browser.server = two.second
    path, form = browser.consent_form()
    browser.server = two.first
    code = browser.post(path, form).location.partition("code=")[2].partition("&")[0]
    with Application(two.first) as first, Application(two.second) as second:
        issued = second.exchange(code).json
        assert first.user_info(issued["access_token"]).status == 200
        renewed = first.refresh(issued["refresh_token"]).json
        assert second.user_info(renewed["access_token"]).status == 200
        assert second.user_info(issued["access_token"]).status == 401
        assert is_invalid_grant(second.exchange(code))
        assert first.user_info(renewed["access_token"]).status == 401
    page = browser.get("/oauth2/login/").text
    token = Form(page).fields["csrf_token"]
    assert browser.post("/oauth2/logout/", {"csrf_token": token}).status in {200, 303}
    browser.server = two.second
    assert browser.get(browser.address("s")).status == 303


#: What a slow machine answers to what it cannot judge in time. It does not count as a failure.
LATE = 503


def assert_throttled(
    limit: int, two: Two, places: str, fail: Callable[[Server], Answer], wrong: int
) -> None:
    """So many failures are answered at both servers, or at the second, and further ones get 429.

    A limit forgets failures with time: on a slow machine a few more are answered. The failures are sent
    together, as one after the other might be forgotten as fast as they come.

    :param wrong: the status of a failure that was judged.
    """
    begun = time.monotonic()
    servers = two.each(limit) if places == "both" else [two.second] * limit
    statuses = Counter(answer.status for answer in together([partial(fail, each) for each in servers]))
    assert set(statuses) <= {wrong, LATE}
    failures = statuses[wrong]
    while True:
        answers = together([partial(fail, two.first)] * limit)
        refused = [answer for answer in answers if answer.status == 429]
        failures += [answer.status for answer in answers].count(wrong)
        took = time.monotonic() - begun
        assert failures <= limit + (took + 1) * limit // 60
        if refused:
            assert int(refused[0].headers["retry-after"]) > 0
            return
        assert took < PATIENCE, [answer.status for answer in answers]


@pytest.mark.parametrize("places", ["one", "both"])
def test_wrong_logins_at_both_are_counted_together(two: Two, places: str):
    """The eleventh gets 429, at whichever server the first ten were."""
    name = f"stranger-{random_string(8)}"

    def fail(server: Server) -> Answer:
        return Browser(server).log_in(name, "wrong")

    assert_throttled(GUESSES, two, places, fail, 403)
    # Other users can log in.
    Browser(two.first).log_in_as_user()


@pytest.mark.parametrize("places", ["one", "both"])
def test_wrong_client_secrets_at_both_are_counted_together(two: Two, places: str):
    headers = {"Authorization": basic(f"stranger-{random_string(8)}", "wrong")}

    def fail(server: Server) -> Answer:
        with Application(server) as application:
            return application.token(code_form("x"), headers)

    assert_throttled(SECRETS, two, places, fail, 401)


def test_only_the_holder_of_the_lease_prunes(two: Two):
    """A server that starts later does not prune, until the lease has expired."""
    engine = sa.create_engine(two.database, poolclass=sa.pool.NullPool)
    lease, session = schema.lease, schema.session

    def holder() -> str:
        with engine.connect() as connection:
            found: str = (
                connection.scalar(sa.select(lease.c.holder).where(lease.c.name == "prune")) or ""
            )
            return found

    def expired_sessions() -> int:
        with engine.connect() as connection:
            query = sa.select(sa.func.count()).select_from(session).where(session.c.expires == 1)
            return int(connection.scalar(query) or 0)

    wait_for(holder, "a lease")
    another = "another process"
    with engine.begin() as connection:
        row = {"digest": bytes(32), "username": "alice", "profile": {}, "expires": 1}
        connection.execute(sa.update(lease).values(holder=another, expires=int(time.time()) + 1000))
        connection.execute(sa.insert(session), row)
    third = Server.start(two.prepared, *two.options, log="third").wait_until_ready()
    third.stop()
    assert (holder(), expired_sessions()) == (another, 1)
    with engine.begin() as connection:
        connection.execute(sa.update(lease).values(expires=0))
    fourth = Server.start(two.prepared, *two.options, log="fourth").wait_until_ready()
    try:
        wait_for(lambda: expired_sessions() == 0, "pruning", fourth.text)
        assert holder() not in {"", another}
    finally:
        fourth.stop()
