"""The end of the connections: no request that a client has sent is lost."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest
from crowd import REQUEST, Crowd
from twisted.internet.defer import Deferred

from djoauth2_twisted.standalone.draining import AT_ONCE, DEADLINE, INTERVAL, SILENCE, drain

LAST = b"\r\nConnection: close\r\n"


class Drained(Crowd):
    """Clients of a site that ends when the test says so."""

    def __init__(self) -> None:
        super().__init__(100)
        self.done: list[object] = []

    def begin(self) -> None:
        """Begin to end."""
        Deferred.fromCoroutine(drain(self.connections, self.clock)).addBoth(self.done.append)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.pump([INTERVAL] * round(seconds / INTERVAL))


def closing(*clients: Any) -> list[bool]:
    """Which connections the server has begun to close."""
    return [client.transport.disconnecting for client in clients]


def sent(client: Any) -> bytes:
    """What a client has received."""
    received: bytes = client.transport.value()
    return received


def test_without_connections_it_ends_at_once():
    crowd = Drained()
    crowd.begin()
    assert crowd.done == [None]


def test_a_silent_connection_is_closed_after_a_moment():
    """A client may have begun to use it again, however long it was silent before."""
    crowd = Drained()
    silent, busy = crowd.come(), crowd.come()
    crowd.wait(SILENCE * 2)
    busy.dataReceived(REQUEST)
    crowd.begin()
    crowd.wait(SILENCE - 2 * INTERVAL)
    assert closing(silent, busy) == [False, False]
    crowd.wait(3 * INTERVAL)
    assert closing(silent, busy) == [True, False]
    crowd.finish()


def test_many_silent_connections_are_closed_in_turns():
    """The one that was used last is the last, and those that are answered hold up none."""
    crowd = Drained()
    answered = [crowd.come() for _ in range(AT_ONCE)]
    for client in answered:
        client.dataReceived(REQUEST)
    clients = [crowd.come() for _ in range(AT_ONCE + 1)]
    crowd.wait(INTERVAL)
    clients[0].dataReceived(REQUEST[:-2])
    order: list[Any] = []

    def close(client: Any) -> None:
        order.append(client)
        client.wrappedProtocol.loseConnection()

    for client in clients:
        client.close = partial(close, client)
    crowd.begin()
    crowd.clock.advance(SILENCE)
    assert order == [*clients[1:], clients[0]]
    crowd.finish()


def test_a_request_in_flight_is_answered_and_its_connection_closed():
    crowd = Drained()
    client = crowd.come()
    client.dataReceived(REQUEST)
    crowd.begin()
    crowd.wait(SILENCE * 2)
    assert (closing(client), crowd.done) == ([False], [])
    crowd.finish()
    assert closing(client) == [True]
    assert LAST in sent(client)
    crowd.wait(INTERVAL)
    assert crowd.done == [None]


def test_a_request_that_was_on_its_way_is_answered():
    """On a persistent connection, and on one that was just accepted."""
    crowd = Drained()
    persistent = crowd.come()
    persistent.dataReceived(REQUEST)
    crowd.wait(SILENCE * 2)
    crowd.finish()
    assert LAST not in sent(persistent)
    new = crowd.come()
    crowd.begin()
    crowd.wait(SILENCE / 2)
    for client in (persistent, new):
        client.dataReceived(REQUEST)
    crowd.wait(SILENCE)
    crowd.finish()
    for client in (persistent, new):
        assert LAST in sent(client)
    assert closing(persistent, new) == [True, True]


def test_a_connection_with_bytes_that_were_not_read_yet_stays():
    """A busy server reads late."""
    crowd = Drained()
    client = crowd.come()
    client.transport.descriptor, other = os.pipe()
    os.write(other, b"x")
    crowd.begin()
    crowd.wait(SILENCE * 2)
    assert closing(client) == [False]
    os.read(client.transport.descriptor, 1)
    crowd.wait(INTERVAL)
    assert closing(client) == [True]
    for descriptor in (client.transport.descriptor, other):
        os.close(descriptor)


def test_half_a_request_that_does_not_go_on_is_closed():
    crowd = Drained()
    client = crowd.come()
    client.dataReceived(REQUEST[:-2])
    crowd.begin()
    crowd.wait(SILENCE + INTERVAL)
    assert closing(client) == [True]


@pytest.mark.parametrize("sent_again", [b"X-A: b\r\n", b""], ids=["drips", "is answered slowly"])
def test_no_client_holds_up_the_end(sent_again):
    crowd = Drained()
    client = crowd.come()
    client.dataReceived(REQUEST[: -2 if sent_again else None])
    crowd.begin()
    for _ in range(round(DEADLINE / SILENCE * 2) + 1):
        assert crowd.done == []
        crowd.wait(SILENCE / 2)
        client.dataReceived(sent_again)
    assert crowd.done == [None]
    crowd.finish()
