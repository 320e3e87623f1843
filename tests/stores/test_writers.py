"""Which writer a step meets: steps of one key the same, so that they stay in order; others any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from database_kit import ThreadedClock
from twisted.internet.defer import Deferred

from djoauth2_twisted.models import Limit, ResourceOwner
from djoauth2_twisted.stores.contract import (
    NOW,
    new_client,
    new_grant,
    new_issuance,
    new_session,
    new_user,
    proof_of,
    random_digest,
)
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.engines.sqlite import SQLite
from djoauth2_twisted.stores.sql.registry import SQLRegistry
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore
from djoauth2_twisted.stores.sql.workers import Worker

#: So many that it cannot happen that none of them meets one of the writers.
MANY = 200

Submitted = list[tuple[Worker, tuple[Any, ...]]]


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> Submitted:
    """The workers to which steps were submitted, each with its step's arguments. None is run."""
    found: Submitted = []

    def submit(worker: Worker, step: Any, arguments: tuple[Any, ...]) -> Deferred[Any]:
        found.append((worker, arguments))
        return Deferred()

    monkeypatch.setattr(Worker, "submit", submit)
    return found


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Database]:
    """A database with several writers."""
    monkeypatch.setattr(SQLite, "writers", 4)
    # One in memory would stay open: its connection is closed by the first worker that uses it.
    database = Database(ThreadedClock(), f"sqlite:///{tmp_path / 'store.db'}")
    database.open()
    yield database
    database.close()


def verbs(database: Database) -> dict[str, Callable[[str], Any]]:
    """Verbs that are called often, each for a user of a name."""
    tokens, registry = SQLTokenStore(database), SQLRegistry(database)

    def redeem(name: str) -> Any:
        return tokens.redeem_code(name.encode(), proof_of(new_grant()), new_issuance())

    return {
        "add_code": lambda name: tokens.add_code(new_grant(owner=ResourceOwner(name)), 10),
        "redeem_code": redeem,
        "revoke_grant": tokens.revoke_grant,
        "end_refresh_tokens": tokens.end_refresh_tokens,
        "add_session": lambda name: registry.add_session(new_session(name), 10),
        "end_session": lambda name: registry.end_session(name.encode()),
        "add_user": lambda name: registry.add_user(new_user(name)),
        "update_user": lambda name: registry.update_user(new_user(name)),
        "delete_user": registry.delete_user,
        "add_client": lambda name: registry.add_client(new_client(client_id=name)),
        "update_client": lambda name: registry.update_client(new_client(client_id=name)),
        "acquire_lease": lambda name: registry.acquire_lease(name, "holder", NOW + 10, NOW),
    }


VERBS = list(verbs(Database(ThreadedClock(), "sqlite://")))


@pytest.mark.parametrize("verb", VERBS)
def test_steps_of_different_keys_spread_over_the_writers(
    database: Database, submitted: Submitted, verb: str
) -> None:
    call = verbs(database)[verb]
    for number in range(MANY):
        call(f"name-{number}")
    assert len({worker for worker, _ in submitted}) == 4


@pytest.mark.parametrize("verb", VERBS)
def test_steps_of_one_key_meet_one_writer(database: Database, submitted: Submitted, verb: str) -> None:
    call = verbs(database)[verb]
    for _ in range(MANY):
        call("name")
    assert len({worker for worker, _ in submitted}) == 1


def test_steps_of_one_key_stay_in_order(database: Database, submitted: Submitted) -> None:
    """Each writer gets them in the order of the calls, whatever is called between."""
    tokens = SQLTokenStore(database)
    codes = [new_grant(owner=ResourceOwner(f"user-{number % 10}")) for number in range(MANY)]
    for code in codes:
        tokens.add_code(code)
    for owner in {code.owner for code in codes}:
        of_owner = [(worker, grant) for worker, (grant, _) in submitted if grant.owner == owner]
        assert [grant for _, grant in of_owner] == [code for code in codes if code.owner == owner]
        assert len({worker for worker, _ in of_owner}) == 1


def test_steps_that_lock_the_same_rows_meet_one_writer(database: Database, submitted: Submitted) -> None:
    """No two of them wait for each other's locks in the database."""
    tokens, registry = SQLTokenStore(database), SQLRegistry(database)
    groups: list[list[Callable[[], Any]]] = [
        [
            lambda: registry.count_failures({random_digest(): Limit(10)}, NOW),
            lambda: registry.begin_attempt({random_digest(): Limit(10)}, NOW),
            lambda: registry.give_back([random_digest()]),
        ],
        [
            lambda: registry.add_statistics({(NOW // 3600, random_digest().hex()): 1}),
            lambda: registry.prune_statistics(NOW, 10),
        ],
        [
            lambda: tokens.revoke_grants(client_id=random_digest().hex()),
            partial(tokens.prune, NOW, 10),
        ],
    ]
    for group in groups:
        submitted.clear()
        for _ in range(MANY):
            for call in group:
                call()
        assert len({worker for worker, _ in submitted}) == 1
