"""Sends an answer to its socket at once.

What is written to a transport of Twisted waits until the reactor finds, in its next turn, that the
socket takes it. This costs two more calls of the system and another event for each answer, and nearly
every socket takes a whole answer at once.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper


def socket_below(transport: Any) -> Connection | None:
    """The connection of TCP, or of a Unix socket, below a transport.

    None if it does not get the same bytes, as below TLS, or if there is no socket.
    """
    while isinstance(transport, ProtocolWrapper) and type(transport).write is ProtocolWrapper.write:
        transport = transport.transport
    return transport if isinstance(transport, Connection) and not transport.TLS else None


def send_now(connection: Connection, data: bytes) -> bytes:
    """Send what the socket takes now. Returns the rest, which has to be written as usual.

    If earlier bytes still wait to be sent, nothing is sent. Only a private attribute shows that.
    """
    waits = connection.dataBuffer or connection._tempDataBuffer
    if waits or connection.disconnecting or not connection.connected:
        return data
    sent = connection.writeSomeData(data)
    # If the connection is lost, the reactor finds that out when the rest is written.
    return data[sent:] if isinstance(sent, int) else data
