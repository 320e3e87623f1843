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
    """The connection of TCP, or of a Unix socket, that gets what is written to a transport.

    None if it gets something else, as below TLS, or if there is no socket.
    """
    while isinstance(transport, ProtocolWrapper) and type(transport).write is ProtocolWrapper.write:
        transport = transport.transport
    return transport if isinstance(transport, Connection) and not transport.TLS else None


def send_now(connection: Connection, data: bytes) -> bytes:
    """Send what the socket takes now. Returns the rest, which has to be written as usual.

    That is all of it, if anything was written before and waits. Twisted does not tell this otherwise.
    """
    waits = connection.dataBuffer or connection._tempDataBuffer
    if waits or connection.disconnecting or not connection.connected:
        return data
    sent = connection.writeSomeData(data)
    # Of a lost connection the reactor learns with the rest.
    return data[sent:] if isinstance(sent, int) else data
