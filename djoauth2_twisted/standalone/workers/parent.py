"""The parent of this process, where this process is a worker."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

from ...clock import ICrewReactor
from .channel import Channel


class ParentProcess:
    """The parent, which says when to serve, to reload and to stop; see `service.Parent`.

    :param connected: the socket to it.
    :param metrics: makes the text of this worker's metrics; None where there are none.
    """

    def __init__(
        self, reactor: ICrewReactor, connected: socket.socket, metrics: Callable[[], bytes] | None
    ) -> None:
        self._reactor = reactor
        self._connected = connected
        self._metrics = metrics

    def listen(
        self, serve: Callable[[], None], reload: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        """Say that this worker is ready, and wait for messages; see `service.Parent`."""
        self._serve, self._reload, self._stop = serve, reload, stop
        self._channel = Channel(self._connected, self._received, stop)
        self._reactor.addReader(self._channel.reader)
        self._channel.send(ready=True)

    def _received(self, message: dict[str, Any]) -> None:
        match message:
            case {"do": "serve"}:
                self._serve()
            case {"do": "reload"}:
                self._reload()
            case {"do": "stop"}:
                # A service manager may send SIGTERM to each process. The second stop would be an error.
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                self._stop()
            case {"do": "metrics"} if self._metrics is not None:
                self._channel.send(metrics=self._metrics().decode("utf-8"))
