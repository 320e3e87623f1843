"""`/healthz`: whether the stores answer and take writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from web_driver import Answer, System, wait

from djoauth2_twisted.endpoints.health import WRITE_INTERVAL
from djoauth2_twisted.errors import TemporarilyUnavailable
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore

MakeSystem = Callable[..., System]


class Stores:
    """Stores in memory that are asked whether they take writes."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Callable[[], Deferred[None]] = lambda: succeed(None)

    def open(self, prepare: bool | None = None) -> None:
        """They are open."""

    def connect(self, serves: bool = True) -> Deferred[None]:
        return succeed(None)

    def version(self) -> str | None:
        return None

    def report_outages(self, report: Any) -> None: ...

    def key_file(self) -> None: ...

    def check_writable(self) -> Deferred[None]:
        self.asked += 1
        return self.answer()

    def close(self) -> Deferred[None]:
        return succeed(None)


@pytest.fixture
def stores() -> Stores:
    return Stores()


@pytest.fixture
def system(make_system: MakeSystem, stores: Stores) -> System:
    system = make_system(stores=(stores, MemoryRegistry(), MemoryTokenStore()))
    stores.asked = 0
    return system


def health(system: System) -> Answer:
    return system.send("GET", "/healthz", None, (), True)


def test_store_without_writes_is_not_ready(system: System, stores: Stores) -> None:
    """INTERFACE, section 2: 503 with the reason's name."""
    stores.answer = lambda: fail(TemporarilyUnavailable())
    answer = health(system)
    assert (answer.status, answer.json) == (503, {"status": "writes"})
    assert int(answer.header("retry-after") or 0) >= 1
    stores.answer = lambda: succeed(None)
    system.advance(WRITE_INTERVAL)
    assert health(system).json == {"status": "ok"}


def test_one_write_serves_the_probes_of_some_seconds(system: System, stores: Stores) -> None:
    for _ in range(100):
        assert health(system).status == 200
    assert stores.asked == 1
    system.advance(WRITE_INTERVAL)
    assert health(system).status == 200
    assert stores.asked == 2


def test_failed_writes_are_no_more_frequent(system: System, stores: Stores) -> None:
    stores.answer = lambda: fail(TemporarilyUnavailable())
    for _ in range(100):
        assert health(system).json == {"status": "writes"}
    assert stores.asked == 1


def test_probes_at_once_share_a_write(system: System, stores: Stores) -> None:
    writing: Deferred[None] = Deferred()
    stores.answer = lambda: writing
    sent = [system.begin("GET", "/healthz") for _ in range(5)]
    assert stores.asked == 1
    writing.callback(None)
    system.agent.flush()
    assert [each.answer.status for each in sent] == [200] * 5


@pytest.mark.parametrize("first", [True, False])
def test_probe_that_hangs_up_stops_no_other(system: System, stores: Stores, first: bool) -> None:
    writing: Deferred[None] = Deferred()
    stores.answer = lambda: writing
    wires = [system.wire(), system.wire()]
    for wire in wires:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: as.example\r\n\r\n")
    gone, other = wires if first else reversed(wires)
    gone.hang_up()
    writing.callback(None)
    assert other.answer.status == 200
    assert stores.asked == 1


def test_check_that_raises_holds_up_no_probe(
    system: System, stores: Stores, logged_failures: Any
) -> None:
    stores.answer = lambda: [][0]
    for _ in range(2):
        assert health(system).status == 500
        system.advance(WRITE_INTERVAL)
    assert len(logged_failures.take(IndexError)) == 2


def test_fault_in_the_check_is_no_full_disk(
    system: System, stores: Stores, logged_failures: Any
) -> None:
    stores.answer = lambda: fail(ZeroDivisionError())
    assert health(system).status == 500
    assert logged_failures.take(ZeroDivisionError)


def test_database_is_written_to(make_system: MakeSystem, tmp_path: Path) -> None:
    """And what was written is deleted with what has expired."""
    system = make_system(url=f"sqlite:///{tmp_path / 'oauth.db'}")
    now = int(system.reactor.seconds())
    assert health(system).json == {"status": "ok"}
    assert wait(system.registry.prune_leases(now, 100)) == 1
    system.advance(WRITE_INTERVAL)
    assert health(system).json == {"status": "ok"}
    system.advance(WRITE_INTERVAL)
    assert health(system).json == {"status": "ok"}
    assert wait(system.registry.prune_leases(now + 100, 100)) == 1
