"""The end of a server's connections: each is closed when no request can be lost by it."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater

from .connections import Connections

#: A connection on which nothing arrives for this time is closed, in seconds. Those that its client uses
#: are used once more before, and closed after that answer: a client takes them one after the other.
SILENCE = 1

#: The longest time until the end of the answers that close their connections, in seconds.
DEADLINE = 3

#: How often the connections are looked at, in seconds.
INTERVAL = 0.05


async def drain(connections: Connections, reactor: Any) -> None:
    """Answer the requests that are in flight or on their way, and close the connections.

    Each answer says ``Connection: close``: "The server MUST initiate a close of the connection after it
    sends the final response" (RFC 9112, section 9.6), and its client sends no other request there.

    :param reactor: provides IReactorTime.
    """
    connections.close_each_after_its_answer()
    began = now = reactor.seconds()
    while now < began + DEADLINE and (still_open := connections.open_connections()):
        for connection in still_open:
            is_silent = now - max(connection.heard, began) >= SILENCE
            if is_silent and not connection.is_answering() and not connection.has_unread():
                connection.loseConnection()
        await deferLater(reactor, INTERVAL)
        now = reactor.seconds()
