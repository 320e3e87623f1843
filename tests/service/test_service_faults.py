"""Servers that are killed, clients that vanish, and many who want the same.

Behaviours F-01, F-31, CC-01, CC-02, CC-08.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from service_kit import (
    Answer,
    Application,
    Browser,
    Prepared,
    Server,
    as_bytes,
    bearer,
    code_form,
    hang_up,
    refresh_form,
    together,
)
from waiting import wait_for

ROUNDS = 3
RACERS = 16


def rows(prepared: Prepared, query: str) -> list[tuple[Any, ...]]:
    """What is in the database of a server that has ended, which is sound."""
    with closing(sqlite3.connect(prepared.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return database.execute(query).fetchall()


def nothing_is_half_done(prepared: Prepared) -> None:
    """A code is used if, and only if, tokens were issued for it, and one pair of a grant is live."""
    used = "SELECT id FROM djoauth2_grant WHERE code_used"
    issued = "SELECT DISTINCT grant_id FROM djoauth2_token"
    assert sorted(rows(prepared, used)) == sorted(rows(prepared, issued))
    live = rows(
        prepared,
        "SELECT grant_id, count(*) FROM djoauth2_token JOIN djoauth2_grant ON id = grant_id "
        "WHERE NOT revoked AND NOT rotated GROUP BY grant_id HAVING count(*) != 1",
    )
    assert live == []


def no_fault_is_logged(server: Server) -> None:
    """No traceback, nothing unhandled, and no line but of known kinds."""
    text = server.text()
    assert not re.search(r"Traceback|Unhandled|critical|error\]|locked", text), text


# kill -9.


class Ledger:
    """What a client was answered, on disk before it continues; and what it asked for last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a", encoding="utf-8")

    def write(self, **entry: Any) -> None:
        """Add an entry."""
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def has_answers(self, count: int) -> bool:
        """Whether so many answers are in it, though it is being written."""
        return self._path.read_text("utf-8").count('"answered"') >= count

    def entries(self) -> list[dict[str, Any]]:
        """All that was written."""
        return [json.loads(line) for line in self._path.read_text("utf-8").splitlines()]


def exchange_and_refresh(server: Server, browser: Browser, ledger: Ledger, refreshes: int) -> None:
    """Go through flow after flow until the server is gone."""
    try:
        with Application(server) as application:
            while True:
                code = browser.code()
                ledger.write(code=code)
                ledger.write(asked="exchange")
                answer = application.exchange(code)
                for number in range(refreshes):
                    ledger.write(answered=answer.json, status=answer.status)
                    if number + 1 < refreshes:
                        ledger.write(asked="refresh")
                        answer = application.refresh(answer.json["refresh_token"])
    except (OSError, HTTPException):
        # The server is gone.
        pass


class Chain:
    """A code and what came of it, as a ledger tells."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.newest: dict[str, Any] = {}
        self.pending = False

    def check(self, application: Application) -> None:
        """What was answered works; what was not is wholly done or wholly not."""
        if not self.newest:
            answer = application.exchange(self.code)
            assert answer.status == 200 or (self.pending and is_invalid_grant(answer)), answer.text
            assert is_invalid_grant(application.exchange(self.code))
            return
        known = application.user_info(self.newest["access_token"]).status
        answer = application.refresh(self.newest["refresh_token"])
        if self.pending and known == 401:
            assert is_invalid_grant(answer)
        else:
            assert (known, answer.status) == (200, 200), answer.text
        assert is_invalid_grant(application.exchange(self.code))


def is_invalid_grant(answer: Answer) -> bool:
    """Whether a code or refresh token was refused, in the standard's words."""
    return answer.status == 400 and answer.json["error"] == "invalid_grant"


def chains(entries: list[dict[str, Any]]) -> list[Chain]:
    """The chains of a ledger, the last of which may be unfinished."""
    found: list[Chain] = []
    for entry in entries:
        if "code" in entry:
            found.append(Chain(entry["code"]))
        elif "asked" in entry:
            found[-1].pending = True
        else:
            assert entry["status"] == 200, entry
            found[-1].newest, found[-1].pending = entry["answered"], False
    return found


def test_what_was_answered_survives_kill_9(start, prepared: Prepared):
    """Killed under load again and again, the server loses nothing it answered, and doubles nothing."""
    ledgers: list[Ledger] = []
    server = start()
    browser = Browser(server).log_in_as_user()
    for number in range(ROUNDS):
        now = [Ledger(prepared.folder / f"ledger-{number}-{each}") for each in range(4)]
        ledgers += now
        with ThreadPoolExecutor(len(now)) as pool:
            working = [
                pool.submit(exchange_and_refresh, server, browser, ledger, refreshes)
                for ledger, refreshes in zip(now, (1, 2, 5, 1000), strict=True)
            ]
            enough = random.Random(number).randrange(5, 15)
            for ledger in now:
                wait_for(partial(ledger.has_answers, enough), "answers", server.text)
            server.kill()
            for each in working:
                each.result()
        for ledger in now:
            ledger.close()
        no_fault_is_logged(server)
        server = start()
        browser.server = server
    with Application(server) as application:
        everything = [chain for ledger in ledgers for chain in chains(ledger.entries())]
        assert len(everything) > 20
        for chain in everything:
            chain.check(application)
    server.stop()
    no_fault_is_logged(server)


# Clients that vanish.


def storm(server: Server, sent: list[bytes], partly: bool = False) -> None:
    """Send each of these requests, or a part of it, on a separate connection, and vanish."""
    for number, whole in enumerate(sent):
        connection = server.connect()
        part = whole[: -1 - number % 40] if partly else whole
        connection.sendall(part)
        if number % 3 == 0:
            # The request is being read, or was, when this is answered.
            wait_for(server.is_healthy, "health", server.text)
        hang_up(connection)


MANY = 30


@pytest.mark.parametrize("partly", [False, True], ids=["whole requests", "parts of requests"])
def test_clients_that_hang_up_on_a_token_request(start, prepared: Prepared, partly):
    """The code is used with tokens, or not used: then a second try is answered."""
    server = start()
    browser = Browser(server).log_in_as_user()
    codes = [browser.code() for _ in range(MANY)]
    with Application(server) as application:
        headers = application.headers
        storm(
            server,
            [as_bytes(server, "POST", "/oauth2/token/", code_form(code), headers) for code in codes],
            partly,
        )
        answers = [application.exchange(code) for code in codes]
        assert all(answer.status == 200 or is_invalid_grant(answer) for answer in answers)
        if partly:
            assert {answer.status for answer in answers} == {200}
        tokens = [answer.json["refresh_token"] for answer in answers if answer.status == 200]
        forms = [refresh_form(token) for token in tokens]
        storm(
            server,
            [as_bytes(server, "POST", "/oauth2/token/", form, headers) for form in forms],
            partly,
        )
        answers = [application.refresh(token) for token in tokens]
        assert all(answer.status == 200 or is_invalid_grant(answer) for answer in answers)
    server.stop()
    no_fault_is_logged(server)
    nothing_is_half_done(prepared)


def test_clients_that_hang_up_on_login_and_consent(start, prepared: Prepared):
    """A consent made one grant or none; the form can be sent again where it made none."""
    server = start()
    browser = Browser(server).log_in_as_user()
    forms = [browser.consent_form() for _ in range(MANY)]
    storm(server, [as_bytes(server, "POST", *form, browser.headers) for form in forms])
    answers = [browser.post(*form) for form in forms]
    assert {answer.status for answer in answers} <= {303, 400}
    login = browser.form("/oauth2/login/").fields
    login |= {"username": prepared.username, "password": prepared.password}
    storm(server, [as_bytes(server, "POST", "/oauth2/login/", login, browser.headers)] * 6)
    assert Browser(server).log_in_as_user()
    server.stop()
    no_fault_is_logged(server)
    assert rows(prepared, "SELECT count(*) FROM djoauth2_grant") == [(MANY,)]


def test_clients_that_hang_up_on_the_guard(start):
    """Whether it would have accepted them or not."""
    server = start()
    code = Browser(server).log_in_as_user().code()
    with Application(server) as application:
        token = application.exchange(code).json["access_token"]
        for path in ("/api/user_info/", "/healthz"):
            sent = [as_bytes(server, "GET", path, headers=bearer(each)) for each in (token, "x" * 30)]
            storm(server, sent * (MANY // 2))
        assert application.user_info(token).status == 200
    server.stop()
    no_fault_is_logged(server)
    lines = [line for line in server.text().splitlines() if "/api/user_info/" in line]
    assert len(lines) <= MANY + 1


@contextmanager
def locked(prepared: Prepared) -> Iterator[None]:
    """Keep a server's writer waiting."""
    with closing(sqlite3.connect(prepared.database, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def can_read(server: Server) -> bool:
    """Whether a request that only reads is answered."""
    return Browser(server).get("/.well-known/oauth-authorization-server").status == 200


def vanish_while_it_waits(server: Server, sent: list[bytes]) -> list[str]:
    """Send requests that have to wait for the writer, vanish, let it go on; what is logged of that."""
    before = len(server.text().splitlines())
    connections = [server.connect() for _ in sent]
    with locked(server.prepared):
        for connection, whole in zip(connections, sent, strict=True):
            connection.sendall(whole)
        # Twice, for a request reads before it writes.
        assert can_read(server)
        assert can_read(server)
        for connection in connections:
            hang_up(connection)
        assert can_read(server)
    return [line for line in server.text().splitlines()[before:] if "/.well-known/" not in line]


def at_most_a_line_each(lines: list[str], sent: list[bytes]) -> None:
    """Nothing but the line that each request has in the log, if it got so far."""
    assert len(lines) <= len(sent), lines
    # The writer says so where it had to wait too long.
    assert not re.search("Traceback|Unhandled|critical", "".join(lines)), lines


def test_clients_that_hang_up_while_a_code_is_redeemed(start, prepared: Prepared):
    """The code is redeemed, or good for a second try."""
    server = start()
    browser = Browser(server).log_in_as_user()
    codes = [browser.code() for _ in range(RACERS)]
    with Application(server) as application:
        headers = application.headers
        sent = [as_bytes(server, "POST", "/oauth2/token/", code_form(code), headers) for code in codes]
        at_most_a_line_each(vanish_while_it_waits(server, sent), sent)
        answers = [application.exchange(code) for code in codes]
        assert all(answer.status == 200 or is_invalid_grant(answer) for answer in answers)
        tokens = [answer.json["refresh_token"] for answer in answers if answer.status == 200]
        forms = [refresh_form(token) for token in tokens]
        sent = [as_bytes(server, "POST", "/oauth2/token/", form, headers) for form in forms]
        at_most_a_line_each(vanish_while_it_waits(server, sent), sent)
        answers = [application.refresh(token) for token in tokens]
        assert all(answer.status == 200 or is_invalid_grant(answer) for answer in answers)
    server.stop()
    nothing_is_half_done(prepared)


def test_clients_that_hang_up_while_a_consent_is_stored(start, prepared: Prepared):
    """The form made a grant, or can be sent again."""
    server = start()
    browser = Browser(server).log_in_as_user()
    forms = [browser.consent_form() for _ in range(RACERS)]
    sent = [as_bytes(server, "POST", *form, browser.headers) for form in forms]
    at_most_a_line_each(vanish_while_it_waits(server, sent), sent)
    answers = [browser.post(*form) for form in forms]
    assert {answer.status for answer in answers} <= {303, 400}
    server.stop()
    assert rows(prepared, "SELECT count(*) FROM djoauth2_grant") == [(RACERS,)]


# Many who want the same.


def race(servers: list[Server], ask: Callable[[Application], Answer]) -> list[Answer]:
    """Ask the same at one instant, over connections that are open already."""
    with ExitStack() as stack:
        applications = [
            stack.enter_context(Application(servers[number % len(servers)])).connect()
            for number in range(RACERS)
        ]
        return together([partial(ask, each) for each in applications])


def one_wins(answers: list[Answer]) -> None:
    """At most one is answered with tokens, all others are refused in the standard's words."""
    won = [answer for answer in answers if answer.status == 200]
    assert len(won) <= 1
    others = [answer for answer in answers if answer.status != 200]
    assert all(is_invalid_grant(answer) for answer in others), [answer.text for answer in others]


@pytest.mark.parametrize("count", [1, 2], ids=["one server", "two servers on one file"])
def test_races(start, prepared: Prepared, count):
    """Many exchanges of one code, and many refreshes of one token."""
    servers = [start(log=f"server-{number}") for number in range(count)]
    browser = Browser(servers[0]).log_in_as_user()
    for _ in range(3):
        code = browser.code()
        one_wins(race(servers, lambda application: application.exchange(code)))  # noqa: B023
        with Application(servers[-1]) as application:
            answer = application.exchange(browser.code())
            assert answer.status == 200, answer.text
            token = answer.json["refresh_token"]
            one_wins(race(servers, lambda application: application.refresh(token)))  # noqa: B023
            # The replays have ended the grant.
            assert application.user_info(answer.json["access_token"]).status == 401
    for server in servers:
        server.stop()
        no_fault_is_logged(server)
    nothing_is_half_done(prepared)
    assert rows(prepared, "SELECT count(*) FROM djoauth2_grant WHERE NOT revoked") == [(0,)]


def test_two_servers_on_one_file_under_load(start, prepared: Prepared):
    """Each grant is served by both of them in turn, and no request is answered with 503."""
    servers = [start(log=f"server-{number}") for number in range(2)]
    browser = Browser(servers[0]).log_in_as_user()
    codes = [browser.code() for _ in range(8)]
    gone = Event()

    def chain(code: str) -> set[int]:
        statuses = set()
        with Application(servers[0]) as one, Application(servers[1]) as other:
            answer = one.exchange(code)
            for number in range(10):
                statuses.add(answer.status)
                if answer.status != 200 or gone.is_set():
                    gone.set()
                    break
                answer = (other, one)[number % 2].refresh(answer.json["refresh_token"])
        return statuses

    assert together([partial(chain, code) for code in codes]) == [{200}] * len(codes)
    for server in servers:
        server.stop()
        no_fault_is_logged(server)
    nothing_is_half_done(prepared)
