"""Connections: how many there may be, and which of them make way for others."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocolNegotiationFactory,
)
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import Request
from zope.interface import implementer

from ..idle import WhenIdle
from ..protocol.addresses import throttle_address
from ..web.site import LimitedSite
from .descriptors import MAX_CONNECTIONS, is_one_left

#: Of one address, where the settings do not say otherwise: this part of all connections.
PART_OF_AN_ADDRESS = 4

#: At most so many are accepted in one turn of the reactor, so that those that are there are served.
MAX_ACCEPTED_AT_ONCE = 16

#: So many that might be idle are looked at, at most, to find one that is.
MAX_EXAMINED = 64

#: How long nobody is accepted where no connection can make way, in seconds. Who comes then waits in
#: the system's queue.
PAUSE = 0.05

#: How often it is logged that connections make way, in seconds.
TOLD_EVERY = 60

# RFC 1122, section 3.2.1.3; and the network of ::1, in which nothing else is.
_THIS_MACHINE = ("127.", throttle_address("::1"))


class Connection(ProtocolWrapper):
    """A connection to a site, which tells when something was heard of it."""

    factory: Connections
    wrappedProtocol: Any
    #: What its address counts as; nothing for a peer that has none of its own.
    place: str = ""

    def dataReceived(self, data: bytes) -> None:
        """Take what the client has sent, which over TLS is after the handshake."""
        self.factory.heard(self)
        super().dataReceived(data)

    def is_answering(self) -> bool:
        """Whether a whole request has arrived and its answer is not at its end."""
        requests = getattr(self.wrappedProtocol, "requests", ())
        # Twisted notes what was asked for once all of it is there.
        return any(request.uri != Request.uri for request in requests)


class Idleness:
    """Connections by how idle they are: who has never sent anything, then who sent something last."""

    def __init__(self) -> None:
        self._silent: OrderedDict[Connection, None] = OrderedDict()
        self._heard: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._silent) + len(self._heard)

    def add(self, connection: Connection) -> None:
        """A new one."""
        self._silent[connection] = None

    def heard(self, connection: Connection) -> None:
        """It has sent something."""
        self._silent.pop(connection, None)
        self._heard[connection] = None
        self._heard.move_to_end(connection)

    def remove(self, connection: Connection) -> None:
        """It is lost, or as good as lost."""
        self._silent.pop(connection, None)
        self._heard.pop(connection, None)

    def idlest(self) -> Connection | None:
        """The one that can best be spared, or None where all are at work."""
        for connection in self._silent:
            return connection
        for connection in list(islice(self._heard, MAX_EXAMINED)):
            if not connection.is_answering():
                return connection
            self._heard.move_to_end(connection)
        return None


@implementer(IProtocolNegotiationFactory)
class Connections(WrappingFactory):
    """A site's connections, no more than there is room for.

    Where there is no room for one more, the idlest makes way; where none is idle, the new one waits. So
    it is with the connections of one address, but that there the new one is closed. Peers on this
    machine have no address of their own: they may be a proxy, and have no limit but that for all.

    :param most: how many there are in all, at most.
    :param most_of_an_address: of an IPv4 address, or a /64 of IPv6; 0: a quarter of all.
    """

    _log = Logger()
    protocol = Connection

    def __init__(
        self, site: LimitedSite, most: int = MAX_CONNECTIONS, most_of_an_address: int = 0
    ) -> None:
        super().__init__(site)
        self._site = site
        self.reactor: Any = site.reactor
        self.most = most
        self._most_of_an_address = most_of_an_address or max(1, most // PART_OF_AN_ADDRESS)
        self._all = Idleness()
        self._places: defaultdict[str, Idleness] = defaultdict(Idleness)
        self._told = -float(TOLD_EVERY)
        self._when_none = WhenIdle(lambda: not self.protocols)

    def logPrefix(self) -> str:
        """What Twisted calls our ports in the log."""
        return "djoauth2"

    def acceptableProtocols(self) -> list[bytes]:
        """What is offered by ALPN."""
        return self._site.acceptableProtocols()

    # Those who come.

    def make_room(self) -> int:
        """How many may come in now; where all places are taken, the idlest makes way for one."""
        free = self.most - len(self._all)
        if free > 0:
            return free
        return int(self.drop_idlest())

    def drop_idlest(self) -> bool:
        """End the connection that can best be spared; False where all are at work."""
        self._tell()
        return self._drop(self._all.idlest())

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Make a connection's protocol; None, so that it is closed, where its address has too many."""
        place = _place(addr)
        neighbours = self._places.get(place)
        full = neighbours if neighbours and len(neighbours) >= self._most_of_an_address else None
        if full is not None and not self._drop(full.idlest()):
            return None
        connection: Any = super().buildProtocol(addr)
        connection.place = place
        return connection

    def registerProtocol(self, protocol: Any) -> None:
        """A connection is made."""
        super().registerProtocol(protocol)
        self._all.add(protocol)
        if protocol.place:
            self._places[protocol.place].add(protocol)

    def heard(self, connection: Connection) -> None:
        """A connection has sent something."""
        if connection in self.protocols:
            self._all.heard(connection)
            if connection.place:
                self._places[connection.place].heard(connection)

    # Those who go.

    def _drop(self, connection: Connection | None) -> bool:
        if connection is None:
            return False
        self._forget(connection)
        transport: Any = connection.transport
        transport.abortConnection()
        return True

    def _forget(self, connection: Connection) -> None:
        self._all.remove(connection)
        place = connection.place
        if place in self._places:
            self._places[place].remove(connection)
            if not self._places[place]:
                del self._places[place]

    def _tell(self) -> None:
        now = self.reactor.seconds()
        if now - self._told >= TOLD_EVERY:
            self._told = now
            self._log.warn("No room for more connections: the idlest make way.")

    def unregisterProtocol(self, protocol: Any) -> None:
        """A connection is lost."""
        super().unregisterProtocol(protocol)
        self._forget(protocol)
        self._when_none.check()

    def close(self) -> Deferred[None]:
        """Close all, each when what was written to it is sent; fires when none is left."""
        for connection in list(self.protocols):
            connection.loseConnection()
        return self._when_none.wait()


def _place(address: IAddress | None) -> str:
    """What an address counts as; nothing for a peer on this machine, as a Unix socket's."""
    place = throttle_address(getattr(address, "host", ""))
    return "" if place.startswith(_THIS_MACHINE) else place


class Gate:
    """Lets those who come to a port in by and by, as far as there is room for them.

    It stands before the port's own reading. Where descriptors run out all the same, idle connections
    make way and the port rests, for Twisted would close whoever comes and log a line for each.
    """

    def __init__(self, connections: Connections, port: Any) -> None:
        self._connections = connections
        self._port = port
        self._accept: Callable[[], None] = port.doRead
        self._resting: IDelayedCall | None = None
        port.doRead = self._read

    def _read(self) -> None:
        if not is_one_left():
            for _ in range(MAX_ACCEPTED_AT_ONCE):
                self._connections.drop_idlest()
            self._rest()
            return
        room = self._connections.make_room()
        if room:
            # Twisted makes this larger while many come.
            self._port.numberAccepts = min(self._port.numberAccepts, room, MAX_ACCEPTED_AT_ONCE)
            self._accept()
        else:
            self._rest()

    def _rest(self) -> None:
        self._port.stopReading()
        self._resting = self._connections.reactor.callLater(PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._resting = None
        self._port.startReading()

    def close(self) -> None:
        """Let nobody in any more; the port is closed by its owner."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
