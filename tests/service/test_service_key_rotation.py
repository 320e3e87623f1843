"""The rotation of signing keys by two processes, as a client sees it that caches the key set.

For these servers, time passes as the test says; see `passing_time`.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import passing_time
import pytest
import sqlalchemy as sa
from attrs import define, field
from joserfc import jwt
from joserfc.jwk import KeySet
from servers import MARIADB, POSTGRESQL, WITH_MARIADB, WITH_POSTGRESQL
from service_kit import TWISTD, Application, Browser, Connection, Prepared, Server, ask, together
from stopping import stop
from store_kit import sql_options
from waiting import wait_for

from djoauth2_twisted.protocol.key_states import MARGIN, MAX_AGE, MAX_HINT_AGE
from djoauth2_twisted.stores.sql.keys import find_keys

#: The setting, in seconds. It is over before a new key may sign: the publication counts.
ROTATION = 1800

#: How long a key is published before it signs, in seconds. So often a key is replaced here.
PERIOD = MAX_AGE + MARGIN

#: How far time passes at once, in seconds. A round of the housekeeping is due then.
STEP = 600

ENGINES = {"postgresql": POSTGRESQL, "mariadb": MARIADB}

#: How each engine lets insertions of signing keys wait for a lock, and shows that one waits.
SQL: dict[str, dict[str, Any]] = {
    "postgresql": {
        "block": [
            """CREATE FUNCTION take_turn() RETURNS trigger LANGUAGE plpgsql
               AS 'BEGIN PERFORM pg_advisory_lock(16); RETURN NEW; END'""",
            """CREATE TRIGGER turn BEFORE INSERT ON djoauth2_signing_key
               FOR EACH ROW EXECUTE FUNCTION take_turn()""",
        ],
        "lock": "SELECT pg_advisory_lock(16)",
        "waiting": "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event = 'advisory'",
    },
    "mysql": {
        "block": [
            """CREATE TRIGGER turn BEFORE INSERT ON djoauth2_signing_key
               FOR EACH ROW SET @turn = GET_LOCK(DATABASE(), 60)""",
        ],
        "lock": "SELECT GET_LOCK(DATABASE(), 60)",
        "waiting": "SELECT count(*) FROM information_schema.processlist "
        "WHERE db = DATABASE() AND state = 'User lock'",
    },
}


class PassingTime:
    """The time of the servers, and of their clients."""

    def __init__(self, file: Path) -> None:
        self.file, self._passed = file, 0
        self.seconds = passing_time.shifted(file, time.time)
        self.let_pass(0)

    def let_pass(self, seconds: int) -> None:
        """Let time pass at once."""
        self._passed += seconds
        written = self.file.with_suffix(".new")
        written.write_text(str(self._passed), "ascii")
        # Whole, since the servers read it at any moment.
        os.replace(written, self.file)


@define
class Two:
    """Two servers with one database, and their time."""

    prepared: Prepared
    options: tuple[str, ...]
    time: PassingTime
    database: sa.Engine
    servers: list[Server] = field(factory=list)

    def start(self, number: int) -> Server:
        """Start the first or the second one."""
        program = (sys.executable, passing_time.__file__, str(self.time.file), TWISTD[1])
        server = Server.start(
            self.prepared,
            *self.options,
            program=(*program, "-n", "--pidfile="),
            variables={
                "DJOAUTH2_OPENID": "true",
                "DJOAUTH2_OPENID_KEY_FILE": str(self.prepared.folder / "keys"),
                "DJOAUTH2_OPENID_KEY_ROTATION": str(ROTATION),
            },
            log=f"server{number}",
        )
        self.servers[number:] = [server, *self.servers[number + 1 :]]
        return server.wait_until_ready()

    def wait_for(self, condition: Callable[[], bool], what: str, *servers: Server) -> None:
        """Let time pass until a condition is true, a second for each look.

        A server that has nothing to do looks at its time when a request arrives, or after a minute.
        """

        def come() -> bool:
            self.time.let_pass(1)
            for server in servers:
                server.is_healthy()
            return condition()

        wait_for(come, what, lambda: [server.text() for server in servers])

    def end(self) -> None:
        """End both."""
        for server in self.servers:
            server.kill()

    def keys(self) -> dict[str, list[str]]:
        """The ids of the signing keys with RS256, by their states, the oldest first."""
        found: dict[str, list[str]] = {}
        with self.database.connect() as connection:
            for key in find_keys(connection):
                if key.algorithm == "RS256":
                    found.setdefault(key.state, []).append(key.kid)
        return found


@pytest.fixture(params=[WITH_POSTGRESQL, WITH_MARIADB])
def two(request: pytest.FixtureRequest, prepared: Prepared) -> Iterator[Two]:
    key_file = prepared.folder / "keys"
    key_file.touch(0o600)
    key_file.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    with ExitStack() as stack:
        options = sql_options(ENGINES[request.param], prepared, stack)
        engine = sa.create_engine(options[1], poolclass=sa.pool.NullPool)
        found = Two(prepared, options, PassingTime(prepared.folder / "passed"), engine)
        stack.callback(found.end)
        # The first one makes the keys, and gets the lease.
        found.start(0)
        found.start(1)
        yield found


class RelyingParty:
    """A client that logs a user in at one server, and keeps the key set for an hour."""

    def __init__(self, server: Server, now: PassingTime) -> None:
        self.server, self._time = server, now
        self._refresh_token: str | None = None
        self._key_set, self._fetched = KeySet([]), 0.0
        #: The keys that its tokens were signed with.
        self.seen: list[str] = []

    def check_a_token(self) -> bool:
        """Get an ID token, and verify it. False if the server had no time for that."""
        token = self._id_token()
        if token is None:
            return False
        header = jwt.decode(token, self._keys(), algorithms=["RS256"]).header
        self.seen.append(header["kid"])
        return True

    def _id_token(self) -> str | None:
        with Application(self.server) as application:
            if self._refresh_token is None:
                browser, prepared = Browser(self.server), self.server.prepared
                if browser.log_in(prepared.username, prepared.password).status == 503:
                    return None
                answer = application.exchange(browser.code(scope="openid", prompt="consent"))
            else:
                answer = application.refresh(self._refresh_token)
        issued: dict[str, Any] = answer.json if answer.status == 200 else {}
        self._refresh_token = issued.get("refresh_token")
        return issued.get("id_token")

    def _keys(self) -> KeySet:
        now = self._time.seconds()
        if now - self._fetched >= MAX_AGE:
            answer = ask(Connection(self.server), "GET", "/oauth2/jwks/")
            assert answer.headers["cache-control"] == f"public, max-age={MAX_AGE}"
            self._key_set, self._fetched = KeySet.import_key_set(answer.json), now
        return self._key_set


def check_tokens(parties: list[RelyingParty]) -> None:
    """Let clients get tokens at the same moment, each until it has got a few."""

    def check(party: RelyingParty) -> None:
        wait_for(lambda: all(party.check_a_token() for _ in range(2)), "tokens")

    together([partial(check, party) for party in parties])


def sign_with(parties: list[RelyingParty], kid: str) -> bool:
    """Whether all servers sign with this key by now."""
    check_tokens(parties)
    return all(party.seen[-1] == kid for party in parties)


def test_client_with_a_cached_key_set_verifies_every_token(two: Two) -> None:
    """Through several rotations, at both processes, until the first key is deleted."""
    parties = [RelyingParty(server, two.time) for server in two.servers]
    (first,) = two.keys()["current"]
    signed_in_turn = [first]
    for _ in range(2):
        (successor,) = two.keys()["next"]
        signed_in_turn.append(successor)
        for _ in range(PERIOD // STEP):
            two.time.let_pass(STEP)
            check_tokens(parties)
        # The server makes the key after it first, which takes seconds on a busy machine.
        two.wait_for(partial(sign_with, parties, successor), "the rotation")
    for party in parties:
        assert [kid for kid, _ in groupby(party.seen)] == signed_in_turn
    assert first in two.keys()["retired"]
    two.time.let_pass(MAX_HINT_AGE + PERIOD)
    two.wait_for(lambda: first not in two.keys()["retired"], "the end of the first key", *two.servers)
    check_tokens(parties)


def test_server_killed_between_two_steps_of_a_key_is_followed(two: Two) -> None:
    """The holder of the lease ends when the next key is stored, before it signs."""
    parties = [RelyingParty(server, two.time) for server in two.servers]
    check_tokens(parties)
    before = two.keys()
    two.servers[0].kill()
    for _ in range(PERIOD // STEP):
        two.time.let_pass(STEP)
        check_tokens(parties[1:])
    two.wait_for(lambda: two.keys()["current"] == before["next"], "the rotation", two.servers[1])
    assert two.keys()["retired"] == before["current"]
    assert_both_agree(two, parties)


@contextmanager
def blocked_insertions(two: Two) -> Iterator[Callable[[], bool]]:
    """Block insertions of signing keys. Yields a function that says whether one of them waits."""
    sql = SQL[two.database.dialect.name]
    with two.database.connect() as connection, two.database.connect() as watching:
        for statement in sql["block"]:
            connection.exec_driver_sql(statement)
        connection.commit()
        connection.exec_driver_sql(sql["lock"])
        yield lambda: bool(watching.exec_driver_sql(sql["waiting"]).scalar())


def test_server_killed_in_the_middle_of_a_rotation_loses_nothing(two: Two) -> None:
    """Its transaction has changed the states of two keys, and has not inserted the new one."""
    parties = [RelyingParty(server, two.time) for server in two.servers]
    check_tokens(parties)
    before = two.keys()
    first, second = two.servers
    stop(second.process.pid)
    with blocked_insertions(two) as is_waiting:
        two.time.let_pass(PERIOD)
        two.wait_for(is_waiting, "the rotation", first)
        first.kill()
    assert two.keys() == before
    second.signal(signal.SIGCONT)
    # The lease of the first one is over.
    two.time.let_pass(STEP)
    two.wait_for(lambda: two.keys() != before, "the rotation by the other", second)
    after = two.keys()
    assert (after["current"], after["retired"]) == (before["next"], before["current"])
    assert len(after["next"]) == 1
    assert_both_agree(two, parties)


def assert_both_agree(two: Two, parties: list[RelyingParty]) -> None:
    """Start the first server again: both sign with the same key, which the clients have cached."""
    parties[0].server = two.start(0)
    check_tokens(parties)
    assert [party.seen[-1] for party in parties] == two.keys()["current"] * 2
    one, other = (ask(Connection(server), "GET", "/oauth2/jwks/").json for server in two.servers)
    assert one == other
