"""The reactor that runs the tests, typed by the interfaces that it provides."""

from __future__ import annotations

from typing import cast

from twisted.internet import reactor as installed
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IListeningPort, IReactorCore, IReactorTCP

from djoauth2_twisted.clock import IWorkerReactor


class IReactor(IWorkerReactor, IReactorCore, IReactorTCP):
    """What the tests need of the reactor."""


reactor = cast("IReactor", installed)


def port_of(listening: IListeningPort) -> int:
    """The number of a TCP port that is listened at."""
    address = listening.getHost()
    assert isinstance(address, IPv4Address)
    return address.port
