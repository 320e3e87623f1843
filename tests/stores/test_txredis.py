"""The repairs of txredisapi that need no server."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from djoauth2_twisted.stores.redis.txredis import ConnectionQueue, MasterFactory


@pytest.mark.parametrize("password", [None, "secret"])
def test_connection_to_a_master_that_is_lost_at_once_logs_no_failure(password: str | None) -> None:
    """As in a failover; a fixture fails the test where an error of a Deferred is not handled."""
    protocol: Any = MasterFactory.protocol(charset=None, password=password)
    protocol.factory = SimpleNamespace(is_master=True)
    protocol.makeConnection(StringTransport())
    assert b"ROLE" in protocol.transport.value()
    protocol.connectionLost(Failure(ConnectionLost()))
    gc.collect()


def test_commands_share_a_connection_that_waits_for_answers() -> None:
    """Those of one turn are then one write. The others are used when nothing waits."""
    connections: list[Any] = [
        SimpleNamespace(number=number, replyQueue=SimpleNamespace(waiting=[])) for number in range(4)
    ]
    queue = ConnectionQueue()
    for connection in connections:
        queue.put(connection)

    def chosen() -> set[int]:
        found: list[Any] = []
        for _ in range(200):
            queue.peek().addCallback(found.append)
        return {connection.number for connection in found}

    assert chosen() == {0, 1, 2, 3}
    connections[2].replyQueue.waiting.append(object())
    assert chosen() == {2}
