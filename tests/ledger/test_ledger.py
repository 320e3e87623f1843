"""Servers and engines are killed under load; whatever was acknowledged holds.

Two server processes share a store. People consent, and applications exchange, refresh, revoke and try
twice what may be done once, at both. Each answer goes into a ledger in this process's memory before it
is used. Afterwards every acknowledged token works, every acknowledged revocation holds, and no code or
token was redeemed twice. Behaviours F-01, F-18, CC-01 to CC-05, RD-06.

DJOAUTH2_LEDGER_ROUNDS says how many rounds there are: in each, servers are killed once, and the engine
once. ``pytest -s`` shows the figures.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from threading import Event, Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from attrs import define, field
from service_kit import (
    DJOAUTH2,
    Answer,
    Application,
    Browser,
    Prepared,
    Server,
    ask,
    prepare,
    run,
    together,
)
from throwaway import Engine, MariaDB, PostgreSQL, Redis, running
from waiting import PATIENCE, wait_for

from djoauth2_twisted.cli.demo.walk import Form
from djoauth2_twisted.credentials import random_string
from djoauth2_twisted.stores.sql import schema

ROUNDS = int(os.environ.get("DJOAUTH2_LEDGER_ROUNDS", "3"))
WORKERS = 6

#: An application takes its time before it tries again what was answered 503.
BREATH = 0.05

#: How long another server may still accept what was revoked, from the answer on, in seconds; see
#: docs/stores.md, "The cache of access tokens and clients".
NOTICED_WITHIN = 0.1


# What is killed.


class System:
    """Two servers on one store, and its engine, if that is a process."""

    def __init__(self, prepared: Prepared, options: tuple[str, ...], engine: Engine | None) -> None:
        self.prepared = prepared
        self.options = options
        self.engine = engine
        self.started = 0
        self.servers: list[Server] = [self._start(), self._start()]
        self.wait()

    def _start(self) -> Server:
        self.started += 1
        # All grants are of one user with one client.
        many = {"DJOAUTH2_MAX_GRANTS_PER_CLIENT": "10000"}
        log = f"server-{self.started}-"
        return Server.start(self.prepared, *self.options, variables=many, log=log)

    def wait(self) -> None:
        """Wait until all of it serves."""
        for server in self.servers:
            server.wait_until_ready()

    def kill_servers(self, which: list[int]) -> None:
        """Kill servers, and start others in their place."""
        for number in which:
            self.servers[number].kill()
        for number in which:
            new = self._start()
            new.wait_until_ready()
            self.servers[number] = new

    def kill_engine(self) -> None:
        """Kill the engine, and start it again; the servers continue."""
        assert self.engine is not None
        self.engine.kill()
        self.engine.start()

    def end(self) -> None:
        """End the servers."""
        for server in self.servers:
            server.kill()

    def logs(self) -> str:
        """All that the servers have written."""
        paths = sorted(self.prepared.folder.glob("server-*.log"))
        return "".join(path.read_text("utf-8") for path in paths)


# What was acknowledged.


@define(eq=False)
class Chain:
    """A code and what came of it, as far as was answered."""

    code: str
    answers: list[dict[str, Any]] = field(factory=list)
    redeemed: Counter[str] = field(factory=Counter)  #: how often each code and refresh token got a 200
    revoked: bool = False
    #: Something was asked and not answered, or with 503: it was done or not, and this is unknown.
    unsure: bool = False

    @property
    def newest(self) -> dict[str, Any]:
        return self.answers[-1]


@define(eq=False)
class Ledger:
    """What was acknowledged, of all chains; and whatever should not have been answered."""

    chains: list[Chain] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)
    wrong: list[str] = field(factory=list)
    _lock: Any = field(factory=Lock)

    def open(self, code: str) -> Chain:
        """A new chain."""
        chain = Chain(code)
        with self._lock:
            self.chains.append(chain)
        self.count("codes")
        return chain

    def count(self, what: str) -> None:
        """One more."""
        with self._lock:
            self.counts[what] += 1

    def complain(self, what: str, answer: Answer) -> None:
        """Note an answer that breaks a promise."""
        with self._lock:
            self.wrong.append(f"{what}: {answer.status} {answer.text[:200]}")

    def acknowledged(self) -> int:
        """How much has been answered so far."""
        return sum(self.counts[name] for name in ("codes", "exchanges", "refreshes", "revocations"))


# Who makes the load.


class NoAnswer(Exception):
    """A request was not answered, or with 503: whether it was done is unknown."""


class Worker:
    """A user and an application, who go from chain to chain."""

    def __init__(self, system: System, ledger: Ledger, seed: int) -> None:
        self._system = system
        self._ledger = ledger
        self._random = random.Random(seed)
        self._browser = Browser(system.servers[0]).log_in_as_user()

    def work(self, enough: Event) -> None:
        """Go on until it is enough."""
        while not enough.is_set():
            try:
                self._live_one(self._ledger.open(self._new_code()))
            except NoAnswer:
                self._ledger.count("not answered")
                enough.wait(BREATH)

    def _new_code(self) -> str:
        browser = self._browser
        browser.server = self._random.choice(self._system.servers)
        try:
            page = browser.get(browser.address(random_string(20)))
            if page.status == 503:
                raise NoAnswer
            assert page.status == 200, (page.status, page.location, page.text)
            form = Form(page.text)
            answer = browser.post(form.action, {**form.fields, "user_action": "Accept"})
        except (OSError, HTTPException):
            raise NoAnswer from None
        if answer.status == 503:
            raise NoAnswer
        assert answer.status == 303, (answer.status, answer.text)
        query = parse_qs(urlsplit(answer.location).query)
        if "code" not in query:
            assert query["error"] == ["temporarily_unavailable"], answer.location
            raise NoAnswer
        return query["code"][0]

    def _ask(
        self, chain: Chain, path: str, form: dict[str, str], server: Server | None = None
    ) -> Answer:
        answer = try_to_ask(server or self._random.choice(self._system.servers), path, form)
        if answer is None:
            chain.unsure = True
            raise NoAnswer
        return answer

    def _live_one(self, chain: Chain) -> None:
        """A chain's life: exchanged, refreshed a few times, then left, revoked or misused."""
        if self._random.random() < 0.15:
            self._race(chain, chain.code, exchange_form(chain.code))
            return
        self._redeem(chain, chain.code, exchange_form(chain.code), "exchanges")
        for _ in range(self._random.choice((0, 1, 1, 2, 5))):
            token = chain.newest["refresh_token"]
            if self._random.random() < 0.1:
                self._race(chain, token, refresh_form(token))
                return
            self._redeem(chain, token, refresh_form(token), "refreshes")
            self._look(chain)
        self._end(chain)

    def _redeem(self, chain: Chain, value: str, form: dict[str, str], what: str) -> None:
        answer = self._ask(chain, "/oauth2/token/", form)
        if answer.status == 200:
            chain.redeemed[value] += 1
            chain.answers.append(answer.json)
            self._ledger.count(what)
        else:
            self._ledger.complain(what, answer)
            chain.unsure = True
            raise NoAnswer

    def _look(self, chain: Chain) -> None:
        """The token that was just given works at once, at either server."""
        status = try_token(self._random.choice(self._system.servers), chain.newest["access_token"])
        self._ledger.count("looks")
        if status not in {200, 503, None}:
            self._ledger.wrong.append(f"a good token was answered {status}")

    def _end(self, chain: Chain) -> None:
        choice = self._random.random()
        if choice < 0.2:
            self._revoke(chain, "/oauth2/revoke/", {"token": chain.newest["refresh_token"]}, 200)
        elif choice < 0.35:
            self._revoke(chain, "/oauth2/token/", exchange_form(chain.code), 400)
        elif choice < 0.5 and len(chain.answers) > 1:
            used = self._random.choice(chain.answers[:-1])["refresh_token"]
            self._revoke(chain, "/oauth2/token/", refresh_form(used), 400)

    def _revoke(self, chain: Chain, path: str, form: dict[str, str], expected: int) -> None:
        server = self._random.choice(self._system.servers)
        answer = self._ask(chain, path, form, server)
        if answer.status != expected:
            self._ledger.complain("revocation", answer)
            return
        chain.revoked = True
        self._ledger.count("revocations")
        # CC-05: no 200 begins after the answer, and at another server none after the time that it has.
        asked = self._random.choice(self._system.servers)
        if asked is not server:
            time.sleep(NOTICED_WITHIN)
        status = try_token(asked, chain.newest["access_token"])
        if status not in {401, 503, None}:
            self._ledger.wrong.append(f"a revoked token was answered {status}")

    def _race(self, chain: Chain, value: str, form: dict[str, str]) -> None:
        """Redeem at both servers at once: one of them issues, the other ends the grant."""
        asked = [partial(try_to_ask, server, "/oauth2/token/", form) for server in self._system.servers]
        answers = together(asked)
        for answer in answers:
            if answer is None:
                chain.unsure = True
            elif answer.status == 200:
                chain.redeemed[value] += 1
                chain.answers.append(answer.json)
            elif not is_invalid_grant(answer):
                self._ledger.complain("race", answer)
        statuses = [answer.status for answer in answers if answer is not None]
        if sorted(statuses) == [200, 400]:
            chain.revoked = True
            self._ledger.count("revocations")
        elif len(statuses) == len(answers):
            self._ledger.wrong.append(f"two at once were answered {statuses}")
        self._ledger.count("races")


def exchange_form(code: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "https://app.example/cb",
    }


def refresh_form(token: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": token}


def try_to_ask(server: Server, path: str, form: dict[str, str]) -> Answer | None:
    """An answer of an endpoint for clients; None where there is none, or only 503."""
    try:
        with Application(server) as application:
            answer = ask(application._connection, "POST", path, form, application.headers)
    except (OSError, HTTPException):
        return None
    return None if answer.status == 503 else answer


def try_token(server: Server, token: str) -> int | None:
    """What the API answers to a token."""
    try:
        with Application(server) as application:
            return application.user_info(token).status
    except (OSError, HTTPException):
        return None


def is_invalid_grant(answer: Answer) -> bool:
    """Whether a code or refresh token was refused, in the standard's words."""
    return answer.status == 400 and answer.json["error"] == "invalid_grant"


# What must hold afterwards.


class Auditor:
    """Compares a chain with what the servers say, over a separate connection."""

    def __init__(self, server: Server) -> None:
        self._application = Application(server)

    def audit(self, chains: list[Chain]) -> list[str]:
        """What does not hold."""
        found: list[str] = []
        with self._application:
            for chain in chains:
                found += [f"{what}: {chain}" for what in self._faults(chain)]
        return found

    def _faults(self, chain: Chain) -> Iterator[str]:
        if any(count > 1 for count in chain.redeemed.values()):
            yield "redeemed twice"
        if chain.revoked:
            yield from self._faults_of_dead(chain)
        elif chain.unsure:
            yield from self._faults_of_unsure(chain)
        elif chain.answers:
            yield from self._faults_of_live(chain)
        else:
            yield from self._faults_of_code(chain)

    def _statuses(self, chain: Chain) -> list[int]:
        """What the API says to all access tokens, the newest last."""
        return [self._application.user_info(each["access_token"]).status for each in chain.answers]

    def _is_over(self, chain: Chain) -> Iterator[str]:
        if chain.answers and set(self._statuses(chain)) != {401}:
            yield "a token of a revoked grant works"
        tokens = [refresh_form(each["refresh_token"]) for each in chain.answers]
        for form in (*tokens, exchange_form(chain.code)):
            if not is_invalid_grant(self._application.token(form)):
                yield "something of a revoked grant was redeemed"

    def _faults_of_dead(self, chain: Chain) -> Iterator[str]:
        yield from self._is_over(chain)

    def _faults_of_live(self, chain: Chain) -> Iterator[str]:
        *older, newest = self._statuses(chain)
        if newest != 200 or 200 in older:
            yield f"access tokens are answered {[*older, newest]}"
        refreshed = self._application.refresh(chain.newest["refresh_token"])
        if refreshed.status != 200:
            yield f"the refresh token is answered {refreshed.status}"
            return
        chain.answers.append(refreshed.json)
        # Its code is used: to try it again ends everything.
        yield from self._is_over_after_replay(chain)

    def _is_over_after_replay(self, chain: Chain) -> Iterator[str]:
        if not is_invalid_grant(self._application.token(exchange_form(chain.code))):
            yield "the code was redeemed twice"
        yield from self._is_over(chain)

    def _faults_of_code(self, chain: Chain) -> Iterator[str]:
        answer = self._application.token(exchange_form(chain.code))
        if answer.status != 200:
            yield f"the code is answered {answer.status}"
            return
        chain.answers.append(answer.json)
        yield from self._is_over_after_replay(chain)

    def _faults_of_unsure(self, chain: Chain) -> Iterator[str]:
        """What was not answered was wholly done or wholly not."""
        if not chain.answers:
            answer = self._application.token(exchange_form(chain.code))
            if answer.status == 200:
                chain.answers.append(answer.json)
            elif not is_invalid_grant(answer):
                yield f"the code is answered {answer.status}"
        else:
            *older, newest = self._statuses(chain)
            answer = self._application.refresh(chain.newest["refresh_token"])
            if 200 in older or (newest, answer.status) not in {(200, 200), (401, 400)}:
                yield f"access tokens are answered {[*older, newest]}, the refresh {answer.status}"
            if answer.status == 200:
                chain.answers.append(answer.json)
        yield from self._is_over_after_replay(chain)


def twice_in_sql(url: str) -> list[Any]:
    """Codes and refresh tokens for which there are two pairs in the database."""
    token, grant = schema.token, schema.grant
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        twice = (
            sa.select(token.c.grant_id, token.c.predecessor, sa.func.count())
            .group_by(token.c.grant_id, token.c.predecessor)
            .having(sa.func.count() > 1)
        )
        live = (
            sa.select(token.c.grant_id)
            .join(grant, grant.c.id == token.c.grant_id)
            .where(~token.c.rotated, ~grant.c.revoked)
            .group_by(token.c.grant_id)
            .having(sa.func.count() > 1)
        )
        unused = (
            sa.select(token.c.grant_id)
            .join(grant, grant.c.id == token.c.grant_id)
            .where(~grant.c.code_used)
        )
        return [row for query in (twice, live, unused) for row in connection.execute(query)]


def twice_in_redis(engine: Redis) -> list[Any]:
    """The same in Redis."""
    script = (
        "local found = {} for _, key in ipairs(redis.call('KEYS', 'djoauth2:r:*')) do "
        "table.insert(found, redis.call('GET', key)) end return found"
    )
    pairs = [json.loads(text) for text in engine.ask("EVAL", script, "0")]
    by_origin = Counter((pair["grant_id"], pair["predecessor"]) for pair in pairs)
    by_grant = Counter(pair["grant_id"] for pair in pairs if not pair["rotated"])
    return [each for counter in (by_origin, by_grant) for each, count in counter.items() if count > 1]


# The stores.


def on_sqlite(folder: Path, stack: ExitStack) -> tuple[System, Callable[[], list[Any]]]:
    """Both servers on one file."""
    prepared = prepare(folder)
    url = f"sqlite:///{prepared.database}"
    return System(prepared, (), None), partial(twice_in_sql, url)


def on_server(
    kind: type[Engine], folder: Path, stack: ExitStack
) -> tuple[System, Callable[[], list[Any]]]:
    """Everything in an engine of the test's own, copied there as an operator does."""
    engine = stack.enter_context(running(kind))
    prepared = prepare(folder)
    for command in (
        ["--database", engine.url, "database", "upgrade"],
        ["database", "copy", "--to", engine.url],
    ):
        done = run(*DJOAUTH2, *command, folder=folder)
        assert done.returncode == 0, done.stderr
    system = System(prepared, ("--database", engine.url), engine)
    return system, partial(twice_in_sql, engine.url)


def on_redis(folder: Path, stack: ExitStack) -> tuple[System, Callable[[], list[Any]]]:
    """Codes and tokens in Redis, the rest in a file."""
    engine = stack.enter_context(running(Redis))
    system = System(prepare(folder), ("--token-store", engine.url), engine)
    return system, partial(twice_in_redis, engine)


STORES: dict[str, Any] = {
    "sqlite": on_sqlite,
    "postgresql": partial(on_server, PostgreSQL),
    "mariadb": partial(on_server, MariaDB),
    "redis": on_redis,
}


@contextmanager
def load(system: System, ledger: Ledger) -> Iterator[Callable[[], bool]]:
    """Workers who work meanwhile. Gives what tells whether one of them has given up."""
    workers = [Worker(system, ledger, seed) for seed in range(WORKERS)]
    enough = Event()
    with ThreadPoolExecutor(WORKERS) as pool:
        working = [pool.submit(worker.work, enough) for worker in workers]
        try:
            yield lambda: any(each.done() for each in working)
        finally:
            enough.set()
        for each in working:
            each.result(PATIENCE)


@pytest.mark.parametrize("store", STORES)
def test_the_ledger(store: str, tmp_path: Path):
    """Killed at random under load, again and again, nothing that was acknowledged is lost or doubled."""
    chance = random.Random()
    ledger = Ledger()
    with ExitStack() as stack:
        system, twice = STORES[store](tmp_path, stack)
        stack.callback(system.end)

        def some_more() -> None:
            wanted = ledger.acknowledged() + chance.randrange(5, 60)
            wait_for(lambda: given_up() or ledger.acknowledged() >= wanted, "answers", system.logs)

        with load(system, ledger) as given_up:
            for _ in range(ROUNDS):
                some_more()
                system.kill_servers(chance.choice([[0], [1], [0, 1]]))
                if system.engine is not None:
                    some_more()
                    system.kill_engine()
            some_more()
        system.wait()
        assert ledger.wrong == []
        assert twice() == []
        parts = [ledger.chains[number::4] for number in range(4)]
        auditors = [Auditor(system.servers[number % 2]) for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(Auditor.audit, auditors, parts))
        assert [fault for part in found for fault in part] == []
        assert twice() == []
        logs = system.logs()
        assert not re.search(r"Traceback|Unhandled|critical", logs), logs[-5000:]
    unsure = sum(chain.unsure for chain in ledger.chains)
    print(f"{store}: {ROUNDS} rounds, {dict(ledger.counts)}, left unsure: {unsure}")
