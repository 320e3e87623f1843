"""Connections: their limits, and which of them are closed to make room for others."""

from __future__ import annotations

import select
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import Request
from zope.interface import implementer

from ..idle import WhenIdle
from ..protocol.addresses import throttle_address
from ..web.site import LimitedSite
from .descriptors import MAX_CONNECTIONS, is_one_left

#: By default an address may have the number of all connections, divided by this.
SHARE_OF_AN_ADDRESS = 4

#: How many connections are accepted in one turn of the reactor, so that the open ones are served too. To
#: accept one takes half a millisecond.
MAX_ACCEPTED_AT_ONCE = 4

#: How many connections are examined to find an idle one.
MAX_EXAMINED = 64

#: How long a port pauses if no connection can be closed, in seconds. New connections wait in the
#: system's queue.
PAUSE = 0.05

#: The least time between two log lines about connections that are closed to make room, in seconds.
LOG_INTERVAL = 60

#: The limit of connections, divided by this, is how many may be silent. Beyond it, a silent connection
#: is closed before one that has sent something.
SHARE_OF_SILENT = 8

# RFC 1122, section 3.2.1.3, and the network of ::1, which has no other address.
_THIS_MACHINE = ("127.", throttle_address("::1"))


class Connection(ProtocolWrapper):
    """A connection to a site. It reports when its client sends something."""

    factory: Connections
    wrappedProtocol: Any
    #: The throttle key of the peer's address; empty for a peer on this machine.
    key: str = ""
    #: When the last bytes were received, or else when it was made, by the reactor's clock in seconds.
    heard: float = 0

    def dataReceived(self, data: bytes) -> None:
        """Receive bytes from the client; with TLS only after the handshake."""
        self.heard = self.factory.reactor.seconds()
        self.factory.heard(self)
        super().dataReceived(data)

    def close(self) -> None:
        """Close the connection after its output is sent.

        TLS would not send its end as long as the channel is registered as a producer.
        """
        self.wrappedProtocol.loseConnection()

    def has_unread(self) -> bool:
        """Whether the system has bytes of the client, or its end, that were not read yet."""
        looked = select.poll()
        # The descriptor of the transport below TLS.
        looked.register(self.fileno(), select.POLLIN)
        return bool(looked.poll(0))

    def is_answering(self) -> bool:
        """Whether a complete request has arrived and its answer is not finished."""
        requests = getattr(self.wrappedProtocol, "requests", ())
        # Twisted sets the URI of a request once the whole request is there.
        return any(request.uri != Request.uri for request in requests)


class Idleness:
    """Connections in the order of their idleness.

    While many connections have never sent anything, the oldest of them comes first, so that a flood of
    them closes no other connection. While few have not, the one that was idle for longest comes first.
    So a new connection has time for its handshake.

    :param most: the most connections.
    """

    def __init__(self, most: int) -> None:
        self._many = most // SHARE_OF_SILENT
        self._silent: OrderedDict[Connection, None] = OrderedDict()
        self._heard: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._silent) + len(self._heard)

    def add(self, connection: Connection) -> None:
        """Add a new connection."""
        self._silent[connection] = None

    def heard(self, connection: Connection) -> None:
        """A connection has sent something."""
        self._silent.pop(connection, None)
        self._heard[connection] = None
        self._heard.move_to_end(connection)

    def remove(self, connection: Connection) -> None:
        """Remove a connection that is lost or is being closed."""
        self._silent.pop(connection, None)
        self._heard.pop(connection, None)

    def idlest(self) -> Connection | None:
        """The connection to close first, or None if all are being answered."""
        silent, heard = next(iter(self._silent), None), self._idlest_heard()
        if silent is None or heard is None:
            return silent or heard
        is_first = len(self._silent) > self._many or silent.heard < heard.heard
        return silent if is_first else heard

    def _idlest_heard(self) -> Connection | None:
        for connection in list(islice(self._heard, MAX_EXAMINED)):
            if not connection.is_answering():
                return connection
            self._heard.move_to_end(connection)
        return None


@implementer(IProtocolNegotiationFactory)
class Connections(WrappingFactory):
    """The connections of a site, and their limits.

    If there is no room for a new connection, the idlest one is closed; if none is idle, the new one
    waits. If an address has too many connections, its idlest one is closed; if none is idle, the new one
    is closed. A trusted proxy, and a peer on this machine, which may be a proxy, have only the limit for
    all connections.

    :param most: the most connections in all.
    :param most_of_an_address: the most for an IPv4 address or an IPv6 /64. 0: a quarter of all.
    """

    _log = Logger()
    protocol = Connection

    def __init__(
        self, site: LimitedSite, most: int = MAX_CONNECTIONS, most_of_an_address: int = 0
    ) -> None:
        super().__init__(site)
        self.site = site
        self.reactor: IReactorTime = site.reactor
        self.most = most
        self._most_of_an_address = most_of_an_address or max(1, most // SHARE_OF_AN_ADDRESS)
        self._all = Idleness(most)
        self._by_key: defaultdict[str, Idleness] = defaultdict(
            lambda: Idleness(self._most_of_an_address)
        )
        self._last_logged: dict[str, float] = {}
        self._when_none = WhenIdle(lambda: not self.protocols)

    def logPrefix(self) -> str:
        """The name of our ports in Twisted's log."""
        return "djoauth2"

    def acceptableProtocols(self) -> list[bytes]:
        """The protocols that are offered by ALPN (RFC 7301)."""
        return self.site.acceptableProtocols()

    # New connections.

    def make_room(self) -> int:
        """How many connections may be accepted now. If there is no room, the idlest one is closed."""
        free = self.most - len(self._all)
        if free > 0:
            return free
        return int(self.drop_idlest("The limit of connections is reached."))

    def drop_idlest(self, reason: str) -> bool:
        """Close the idlest connection. False if all are being answered.

        :param reason: why, for the log.
        """
        self._log_full(reason)
        return self._drop(self._all.idlest())

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Make a connection's protocol. None closes it, because its address has too many."""
        key = self._key(addr)
        same_address = self._by_key.get(key)
        full = same_address if same_address and len(same_address) >= self._most_of_an_address else None
        if full is not None and not self._drop(full.idlest()):
            return None
        connection: Any = super().buildProtocol(addr)
        connection.key = key
        return connection

    def _key(self, address: IAddress | None) -> str:
        """The throttle key of a peer; empty for one that may have many connections."""
        host = getattr(address, "host", "")
        key = throttle_address(host)
        return "" if key.startswith(_THIS_MACHINE) or self.site.proxies.trusts(host) else key

    def registerProtocol(self, protocol: Any) -> None:
        """A connection is made."""
        super().registerProtocol(protocol)
        protocol.heard = self.reactor.seconds()
        self._all.add(protocol)
        if protocol.key:
            self._by_key[protocol.key].add(protocol)

    def heard(self, connection: Connection) -> None:
        """A connection has sent something."""
        if connection in self.protocols:
            self._all.heard(connection)
            if connection.key:
                self._by_key[connection.key].heard(connection)

    # Connections that end.

    def _drop(self, connection: Connection | None) -> bool:
        if connection is None:
            return False
        self._forget(connection)
        # A request that waits for the next turn of the reactor must not begin: nobody gets its answer.
        connection.wrappedProtocol.deafen()
        transport: Any = connection.transport
        transport.abortConnection()
        return True

    def _forget(self, connection: Connection) -> None:
        self._all.remove(connection)
        key = connection.key
        if key in self._by_key:
            self._by_key[key].remove(connection)
            if not self._by_key[key]:
                del self._by_key[key]

    def _log_full(self, reason: str) -> None:
        now = self.reactor.seconds()
        if now - self._last_logged.get(reason, -LOG_INTERVAL) >= LOG_INTERVAL:
            self._last_logged[reason] = now
            self._log.warn("{reason} The longest idle connections are closed.", reason=reason)

    def unregisterProtocol(self, protocol: Any) -> None:
        """A connection is lost."""
        super().unregisterProtocol(protocol)
        self._forget(protocol)
        self._when_none.check()

    def close_each_after_its_answer(self) -> None:
        """From now on, each answer says that it is the last one of its connection."""
        self.site.is_ending = True

    def open_connections(self) -> list[Connection]:
        """The connections on which another request can come, and those that are being answered."""
        return [connection for connection in self.protocols if not connection.disconnecting]

    def begin_all(self) -> None:
        """Begin the requests that have arrived whole and wait for their turn."""
        self.site.shares.begin_all()

    def close(self) -> Deferred[None]:
        """Close all connections after their output is sent. The Deferred fires when none is left."""
        for connection in list(self.protocols):
            connection.close()
        return self._when_none.wait()


class Gate:
    """Accepts connections at a port, once it is open, and while there is room for them.

    It replaces the port's own ``doRead``. If descriptors run out nevertheless, idle connections are
    closed and the port pauses. Otherwise Twisted would close each new connection and log a line.

    Until it is open, connections wait in the system's queue. The system would reset those that wait
    there when the port is closed, so they are accepted before.

    :param is_shared: whether the queue outlives the port, as that of a socket of systemd. Those who wait
        there are left to the next process.
    :param at_once: how many connections are accepted in one turn of the reactor. Workers take one, so
        that those that come together are not all taken by the same worker.
    """

    def __init__(
        self,
        connections: Connections,
        port: Any,
        is_shared: bool = False,
        at_once: int = MAX_ACCEPTED_AT_ONCE,
    ) -> None:
        self._connections = connections
        self._is_shared = is_shared
        self._at_once = at_once
        self._port = port
        self._accept: Callable[[], None] = port.doRead
        self._close_port: Callable[..., None] = port.connectionLost
        self._is_open = False
        self._paused: IDelayedCall | None = None
        port.doRead = self._read
        port.connectionLost = self._port_closes
        port.stopReading()

    def open(self) -> None:
        """Begin to accept connections."""
        self._is_open = True
        self._port.startReading()

    def _read(self) -> None:
        if not is_one_left():
            for _ in range(MAX_ACCEPTED_AT_ONCE):
                self._connections.drop_idlest("The process may open no more files.")
            self._pause()
            return
        room = self._connections.make_room()
        if room:
            # Twisted increases this number while many connections arrive.
            self._port.numberAccepts = min(self._port.numberAccepts, room, self._at_once)
            self._accept()
        else:
            self._pause()

    def _pause(self) -> None:
        self._port.stopReading()
        self._paused = self._connections.reactor.callLater(PAUSE, self._resume)

    def _resume(self) -> None:
        self._paused = None
        self._port.startReading()

    def close(self) -> None:
        """Stop pausing. The owner of the port closes it."""
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None

    def _port_closes(self, *reason: Any) -> None:
        """Accept what waits in the system's queue. Twisted accepts until the queue is empty."""
        must_accept = self._is_open and not self._is_shared
        if must_accept and (room := self._connections.make_room()):
            self._port.numberAccepts = room
            self._accept()
        self._close_port(*reason)
