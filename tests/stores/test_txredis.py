"""The repairs of txredisapi that need no server."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from djoauth2_twisted.stores.redis.txredis import MasterFactory


@pytest.mark.parametrize("password", [None, "secret"])
def test_connection_to_a_master_that_is_lost_at_once_logs_no_failure(password: str | None) -> None:
    """As in a failover; a fixture fails the test where an error of a Deferred is not handled."""
    protocol: Any = MasterFactory.protocol(charset=None, password=password)
    protocol.factory = SimpleNamespace(is_master=True)
    protocol.makeConnection(StringTransport())
    assert b"ROLE" in protocol.transport.value()
    protocol.connectionLost(Failure(ConnectionLost()))
    gc.collect()
