"""The ports at which the server listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReadDescriptor, IStreamServerEndpoint
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from ..errors import ConfigurationError
from ..events import CertificatesRead, CertificatesRefused, write_line
from .connections import MAX_ACCEPTED_AT_ONCE, Connections, Gate
from .inherited import is_inherited

#: How many connections may wait to be accepted, if the system allows as many (net.core.somaxconn). The
#: 50 of Twisted are too few where many clients come at once: the system ignores further ones, which try
#: again after one second and after three.
BACKLOG = 512


class StartError(ConfigurationError):
    """The server cannot start. The message says why, in one line."""


class Renewable(Protocol):
    """The certificates of a port, which change while the server runs."""

    def reload(self) -> bool:
        """Read them again. Returns False if there are none.

        :raises UsageError: they are not usable. The previous ones stay in use.
        """

    def has_changed(self) -> bool:
        """Whether a file has changed since they were last read."""

    def renew_ticket_key(self) -> None:
        """Replace the key of session tickets if it is too old."""

    def certificate_ends(self) -> float | None:
        """When the certificate expires, in seconds since the epoch; None if there is none."""


class Port:
    """An endpoint at which the server listens.

    :param description: its endpoint string, for the log.
    :param certificates: its certificates; None if it cannot have any.
    :param publish: gets an event whenever the certificates are read again.
    :param at_once: see `Gate`.
    """

    #: The name of the option that errors are about.
    option = "port"

    def __init__(
        self,
        description: str,
        endpoint: IStreamServerEndpoint,
        connections: Connections,
        certificates: Renewable | None = None,
        publish: Callable[[CertificatesRead | CertificatesRefused], object] = write_line,
        at_once: int = MAX_ACCEPTED_AT_ONCE,
    ) -> None:
        self._description = description
        self._endpoint = endpoint
        self._connections = connections
        self._certificates = certificates
        self._publish = publish
        self._at_once = at_once
        #: Why the certificates could not be read the last time; empty if they could.
        self._fault = ""
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
            is_shared = is_inherited(self._description)
            if not is_shared:
                listening: Any = port
                listening.socket.listen(BACKLOG)
            self._gates.append(Gate(self._connections, port, is_shared, self._at_once))

    def shared_descriptor(self) -> int:
        """The descriptor at which other processes listen, too. The end of this port does not end theirs.

        :raises StartError: the port is of a kind that has no descriptor.
        """
        for port in self._listening:
            if IReadDescriptor.providedBy(port):
                shared: Any = port
                # Twisted shuts a socket down when it closes it, for all processes that have it.
                shared._shouldShutdown = False
                descriptor: int = shared.fileno()
                return descriptor
        raise StartError(f"workers cannot share {self._description}", self.option)

    def accept(self) -> None:
        """Accept connections, first those that have waited since `listen`."""
        for gate in self._gates:
            gate.open()

    @property
    def number(self) -> str:
        """The number of the TCP port; empty while it does not listen, and for another kind of port."""
        return str(getattr(self._listening[0].getHost(), "port", "")) if self._listening else ""

    def certificate_ends(self) -> float | None:
        """When its certificate expires, in seconds since the epoch; None if it has none."""
        return None if self._certificates is None else self._certificates.certificate_ends()

    def reload(self) -> None:
        """Read the certificates again, and publish the result. Unusable ones change nothing."""
        self._fault = ""
        self._read()

    def look(self) -> None:
        """Read certificates that have changed, or could not be read, and renew the key of tickets.

        The same fault is logged once.
        """
        if self._certificates is not None:
            self._certificates.renew_ticket_key()
            if self._fault or self._certificates.has_changed():
                self._read()

    def _read(self) -> None:
        try:
            if self._certificates is not None and self._certificates.reload():
                self._publish(CertificatesRead(port=self._description))
            self._fault = ""
        except UsageError as error:
            line = str(error).partition("\n")[0]
            if line != self._fault:
                self._publish(CertificatesRefused(port=self._description, reason=line))
            self._fault = line

    def stop(self) -> Deferred[Any]:
        """Stop listening. Open connections stay open, and those that wait are accepted."""
        for gate in self._gates:
            gate.close()
        return gatherResults([maybeDeferred(port.stopListening) for port in self._listening])
