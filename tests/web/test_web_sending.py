"""An answer goes to its socket at once, if nothing waits before it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol

from djoauth2_twisted.web.sending import send_now, socket_below

#: More than a socket takes at once.
MUCH = b"x" * 8 * 1024 * 1024


class Ends:
    """Both ends of a connection, and what the reactor was asked for."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.theirs.setblocking(False)
        self.reactor = MemoryReactor()
        self.connection: Any = Connection(ours, Protocol(), self.reactor)
        self.connection.connected = 1

    def received(self) -> bytes:
        try:
            return self.theirs.recv(65536)
        except BlockingIOError:
            return b""


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.connection.socket.close()
    ends.theirs.close()


def wrapped(kind: Any, transport: Any) -> Any:
    wrapper = kind.__new__(kind)
    wrapper.transport = transport
    return wrapper


def test_socket_is_found_below_what_passes_bytes_on_as_they_are(ends: Ends) -> None:
    factory: Any = WrappingFactory(Factory())
    wrapper: Any = ProtocolWrapper(factory, Protocol())
    wrapper.transport = ends.connection
    assert socket_below(wrapper) is ends.connection
    assert socket_below(ends.connection) is ends.connection


def test_there_is_none_below_tls_or_without_a_network(ends: Ends) -> None:
    assert socket_below(wrapped(TLSMemoryBIOProtocol, ends.connection)) is None
    assert socket_below(StringTransport()) is None
    ends.connection.TLS = True
    assert socket_below(ends.connection) is None


def test_bytes_are_sent_at_once(ends: Ends) -> None:
    assert send_now(ends.connection, b"answer") == b""
    assert ends.received() == b"answer"
    assert not ends.reactor.writers


def test_bytes_behind_others_wait(ends: Ends) -> None:
    ends.connection.write(b"before")
    assert send_now(ends.connection, b"answer") == b"answer"
    ends.connection.dataBuffer, ends.connection._tempDataBuffer = b"half sent", []
    assert send_now(ends.connection, b"answer") == b"answer"
    assert ends.received() == b""


def test_what_the_socket_does_not_take_is_returned(ends: Ends) -> None:
    rest = MUCH
    while (left := send_now(ends.connection, rest)) != rest:
        rest = left
    assert 0 < len(rest) < len(MUCH)


@pytest.mark.parametrize("how", ["lost", "closing", "not there yet"])
def test_nothing_is_sent_where_a_connection_ends(ends: Ends, how: str) -> None:
    """U-08: the reactor closes it in its own way."""
    if how == "lost":
        ends.theirs.close()
    elif how == "closing":
        ends.connection.loseConnection()
    else:
        ends.connection.connected = 0
    assert send_now(ends.connection, b"answer") == b"answer"
