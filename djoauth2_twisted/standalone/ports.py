"""The ports at which the server listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReadDescriptor, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from ..errors import ConfigurationError
from .connections import Connections, Gate
from .inherited import is_inherited


class StartError(ConfigurationError):
    """The server cannot start. The message says why, in one line."""


class Port:
    """An endpoint at which the server listens.

    :param description: its endpoint string, for the log.
    :param reload: reads its certificates again. Returns False if it has none.
    :param has_changed: whether their files have changed since.
    :param certificate_ends: when its certificate expires, in seconds since the epoch, or None.
    """

    _log = Logger()
    #: The name of the option that errors are about.
    option = "port"

    def __init__(
        self,
        description: str,
        endpoint: IStreamServerEndpoint,
        connections: Connections,
        reload: Callable[[], bool] = lambda: False,
        has_changed: Callable[[], bool] = lambda: False,
        certificate_ends: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._description = description
        self._endpoint = endpoint
        self._connections = connections
        self._reload = reload
        self._has_changed = has_changed
        self.certificate_ends = certificate_ends
        self._listening: list[IListeningPort] = []
        self._gates: list[Gate] = []

    def listen(self) -> None:
        """Listen, unless the port listens already. Connections wait until `accept`.

        :raises StartError: the port is taken or forbidden, or its certificates are not usable.
        """
        if self._listening:
            return
        failures: list[Failure] = []
        # The Deferred of a local port fires at once.
        self._endpoint.listen(self._connections).addCallbacks(self._opened, failures.append)
        for failure in failures:
            error: Any = failure.value
            reason = error.socketError if isinstance(error, CannotListenError) else error
            reason = getattr(reason, "strerror", None) or reason
            raise StartError(f"cannot listen at {self._description}: {reason}", self.option)

    def _opened(self, port: IListeningPort) -> None:
        self._listening.append(port)
        if IReadDescriptor.providedBy(port):
            self._gates.append(Gate(self._connections, port, is_inherited(self._description)))

    def accept(self) -> None:
        """Accept connections, first those that have waited since `listen`."""
        for gate in self._gates:
            gate.open()

    @property
    def number(self) -> str:
        """The number of the TCP port; empty while it does not listen, and for another kind of port."""
        return str(getattr(self._listening[0].getHost(), "port", "")) if self._listening else ""

    def reload(self) -> None:
        """Read the certificates again, and log the result. Unusable ones change nothing."""
        try:
            if self._reload():
                self._log.info("{port}: the certificates were read again.", port=self._description)
        except UsageError as error:
            line = str(error).partition("\n")[0]
            self._log.error("{error}. The previous certificates stay in use.", error=line)

    def reload_if_changed(self) -> None:
        """Read the certificates again if their files have changed."""
        if self._has_changed():
            self.reload()

    def stop(self) -> Deferred[Any]:
        """Stop listening. Open connections stay open, and those that wait are accepted."""
        for gate in self._gates:
            gate.close()
        return gatherResults([maybeDeferred(port.stopListening) for port in self._listening])
