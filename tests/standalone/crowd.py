"""Clients of a site with limits, without a network."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from djoauth2_twisted.standalone.connections import Connections
from djoauth2_twisted.web.site import LimitedSite

LOST = Failure(ConnectionLost())
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


_SILENT, _KEPT_OPEN = os.pipe()


class Slow(Resource):
    """Answers when the test says so."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Any] = []

    def render_GET(self, request: Any) -> Any:
        self.waiting.append(request)
        return NOT_DONE_YET


class Transport(StringTransport):
    """A client's end, which notes how it was left."""

    aborted = False
    #: The descriptor of its socket, at which nothing arrives unless a test says so.
    descriptor = _SILENT

    def fileno(self) -> int:
        return self.descriptor

    def abortConnection(self) -> None:
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def setTcpKeepAlive(self, enabled: bool) -> None: ...


class Crowd:
    """Clients of a site with limits."""

    def __init__(self, most: int, most_of_an_address: int = 0) -> None:
        self.clock, self.resource = Clock(), Slow()
        site = LimitedSite(self.resource, self.clock)
        self.connections = Connections(site, most, most_of_an_address)

    def come(self, host: str | None = "192.0.2.1") -> Any:
        """A client that connects; None where it is turned away."""
        address: Any = UNIXAddress(None)
        if host is not None:
            address = (IPv6Address if ":" in host else IPv4Address)("TCP", host, 1)
        protocol = self.connections.buildProtocol(address)
        if protocol is not None:
            protocol.makeConnection(Transport())
        return protocol

    def finish(self) -> None:
        """Answer what waits."""
        for request in self.resource.waiting:
            request.finish()
        self.resource.waiting.clear()


def gone(*clients: Any) -> list[bool]:
    """Which of them were dropped."""
    return [client.transport.aborted for client in clients]
