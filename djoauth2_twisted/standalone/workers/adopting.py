"""Listens at a socket that the parent has opened, for every kind of endpoint."""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet.interfaces import IReactorTCP
from zope.interface import directlyProvides, providedBy

from ...clock import IListeningReactor
from ..inherited import adopt_unix_port


class AdoptingReactor:
    """A reactor for one endpoint of a worker. Each way to listen leads to the socket of the parent.

    It provides what another reactor provides.

    :param descriptor: the socket. It is closed once the reactor has its own copy.
    """

    def __init__(self, reactor: IReactorTCP, descriptor: int) -> None:
        self._reactor = cast("IListeningReactor", reactor)
        self._descriptor = descriptor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, *more: Any, **named: Any) -> Any:
        """Listen at the socket of the parent."""
        return self._adopt(factory)

    def listenUNIX(self, address: str, factory: Any, *more: Any, **named: Any) -> Any:
        """Listen at the socket of the parent."""
        return self._adopt(factory)

    def _adopt(self, factory: Any) -> Any:
        with socket.socket(fileno=self._descriptor) as opened:
            if opened.family == socket.AF_UNIX:
                return adopt_unix_port(self._reactor, opened.fileno(), factory)
            return self._reactor.adoptStreamPort(opened.fileno(), opened.family, factory)
