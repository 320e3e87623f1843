"""Repairs of txredisapi 1.6, which keeps the connections. Each says what it repairs, and why.

Nothing else in this package subclasses the library. A class here can go when the library does the same
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import txredisapi
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

#: The delay between two attempts to connect grows from the first to the second number, in seconds. The
#: library waits up to 10 seconds, but an outage should end soon after its cause has.
FIRST_DELAY = 0.1
MAX_DELAY = 1.0


class _KeepConnecting:
    """Repairs ``stopTrying`` of a factory, so that it never gives up.

    The library's factory stops for good where the server refuses the login or is silent during it: while
    its password is changed, while it loads its data, or while it hangs.
    """

    def stopTrying(self) -> Deferred[None]:
        """Do not stop, where ``reconnect`` says so."""
        if self.reconnect:  # type: ignore[attr-defined]
            return succeed(None)
        stopping: Deferred[None] = super().stopTrying()  # type: ignore[misc]
        return stopping


class ConnectionQueue(txredisapi.PeekableQueue):  # type: ignore[misc]
    """Repairs ``peek``, so that a cancelled wait for a connection leaves the memory.

    The library keeps its Deferred until there is a connection.

    It also prefers a connection that already waits for answers. The library chooses at random, and so
    writes to all connections in one turn of the reactor. On one connection the commands of a turn are
    one write, and their answers one read, which halves the processor time of a command under load.
    """

    def peek(self) -> Deferred[Any]:
        for connection in self.pending:
            if connection.replyQueue.waiting:
                return succeed(connection)
        if self.pending:
            peeked: Deferred[Any] = super().peek()
            return peeked
        waiting: Deferred[Any] = Deferred(self.peekers.remove)
        self.peekers.append(waiting)
        return waiting


class ServerFactory(_KeepConnecting, txredisapi.RedisFactory):  # type: ignore[misc]
    """Connections to one server."""

    initialDelay, maxDelay = FIRST_DELAY, MAX_DELAY


class _MasterProtocol(txredisapi.SentinelRedisProtocol):  # type: ignore[misc]
    """Repairs the check of the server's role.

    The library compares the role with text, but gets bytes where it does not decode answers. And nothing
    takes the failure of its questions where the connection is lost meanwhile, as in a failover.
    """

    def connectionMade(self) -> None:
        if self.password is not None:
            # ROLE needs the login. When the role is known, the library logs in again, and reports
            # a failure.
            self.auth(self.password, self.username).addErrback(_leave_to_the_factory)
        self.role().addCallback(self._check_role).addErrback(_leave_to_the_factory)

    def _check_role(self, answer: Sequence[Any]) -> Deferred[Any] | None:
        if answer[0] != b"master":
            self.transport.loseConnection()
            return None
        connecting: Deferred[Any] = txredisapi.RedisProtocol.connectionMade(self)
        return connecting


def _leave_to_the_factory(failure: Failure) -> None:
    """Take the failure of a question. The connection is lost, and the factory makes a new one."""
    failure.trap(txredisapi.RedisError)


class MasterFactory(_KeepConnecting, txredisapi.SentinelConnectionFactory):  # type: ignore[misc]
    """Connections to the master that the Sentinels name."""

    protocol = _MasterProtocol
    initialDelay, maxDelay = FIRST_DELAY, MAX_DELAY


class _SubscriberMixin:
    """Repairs how a subscribed connection reads answers.

    The library's own class cuts a list to its last three elements, also the answer to ``ROLE`` that a
    connection found by Sentinels asks for.
    """

    def replyReceived(self, reply: Any) -> None:
        if isinstance(reply, list) and reply[:1] == [b"message"]:
            self.factory.on_message(reply[2])  # type: ignore[attr-defined]
        else:
            super().replyReceived(reply)  # type: ignore[misc]


class _SubscriberFactoryMixin:
    """Subscribes each new connection to a channel. The library leaves that to its caller."""

    channel: str
    #: Called with each message; and with None where messages may have been missed.
    on_message: Callable[[bytes | None], None]
    #: The connection that is subscribed, once there is one. It may be lost again.
    subscribed: Any = None

    def addConnection(self, connection: Any) -> None:
        super().addConnection(connection)  # type: ignore[misc]
        if connection.connected:
            asked = connection.execute_command("SUBSCRIBE", self.channel)
            asked.addCallbacks(
                lambda _: self._begin(connection), lambda _: connection.transport.abortConnection()
            )

    def _begin(self, connection: Any) -> None:
        self.on_message(None)
        self.subscribed = connection


class _ServerSubscriberProtocol(_SubscriberMixin, txredisapi.RedisProtocol):  # type: ignore[misc]
    """To one server."""


class ServerSubscriberFactory(_SubscriberFactoryMixin, ServerFactory):
    """A subscribed connection to one server."""

    protocol = _ServerSubscriberProtocol


class _MasterSubscriberProtocol(_SubscriberMixin, _MasterProtocol):
    """To the master that the Sentinels name."""


class MasterSubscriberFactory(_SubscriberFactoryMixin, MasterFactory):
    """A subscribed connection to the master that the Sentinels name."""

    protocol = _MasterSubscriberProtocol


def sentinels(hosts: Sequence[tuple[str, int]], deadline: float) -> Any:
    """A client of Sentinels, as patient as ours is. The library waits ten seconds for an answer.

    :param deadline: for a connection and for an answer, in seconds.
    """
    client = txredisapi.Sentinel(list(hosts), connectTimeout=deadline, replyTimeout=deadline)
    client.discovery_timeout = deadline
    for sentinel in client.sentinels:
        sentinel._factory.initialDelay, sentinel._factory.maxDelay = FIRST_DELAY, MAX_DELAY
    return client


def disconnect(factory: Any) -> Deferred[Any]:
    """Close a factory's connections at once.

    The library waits for a server that hangs until it closes its side.
    """
    leaving: Deferred[Any] = factory.disconnect()
    for connection in list(factory.pool):
        connection.transport.abortConnection()
    return leaving
