"""The end of a server's connections: each is closed when no request can be lost by it."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from .connections import Connections

#: A connection on which nothing arrives for this time is closed, in seconds. Those that its client uses
#: are used once more before, and closed after that answer: a client takes them one after the other.
SILENCE = 1

#: The longest time until the end of the answers that close their connections, in seconds.
DEADLINE = 3

#: How many connections are closed in one turn of the reactor. Their ends are sent after it, so that a
#: client could send a request during a long turn.
AT_ONCE = 16

#: How often the connections are looked at, in seconds.
INTERVAL = 0.05


async def drain(connections: Connections, reactor: IReactorTime) -> None:
    """Answer the requests that are in flight or on their way, and close the connections.

    Each answer says ``Connection: close``. RFC 9112, section 9.6: "A client that receives a "close"
    connection option MUST cease sending requests on that connection [...]".

    :param reactor: provides IReactorTime.
    """
    connections.close_each_after_its_answer()
    began = now = reactor.seconds()
    while now < began + DEADLINE and (still_open := connections.open_connections()):
        silent = [
            each
            for each in still_open
            if now - max(each.heard, began) >= SILENCE and not each.is_answering()
        ]
        # A client is most likely to use again the one that it has used last.
        silent.sort(key=lambda connection: connection.heard)
        for connection in silent[:AT_ONCE]:
            if not connection.has_unread():
                connection.close()
        await deferLater(reactor, 0 if len(silent) > AT_ONCE else INTERVAL)
        now = reactor.seconds()
