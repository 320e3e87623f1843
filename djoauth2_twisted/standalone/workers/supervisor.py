"""The parent of the workers: it opens the ports, and serves nothing but the metrics."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, gatherResults

from ...clock import ICrewReactor
from ..listening import ListeningService, Surroundings
from ..notify import READY, STOPPING
from ..ports import Port
from .crew import Crew


class Supervisor(ListeningService):
    """A server whose ports are served by worker processes.

    :param ports: those that the workers serve.
    :param metrics_port: where the sums of their metrics are read; None without metrics.
    :param issuer: for the log.
    """

    def __init__(
        self,
        reactor: ICrewReactor,
        ports: Sequence[Port],
        crew: Crew,
        around: Surroundings,
        issuer: str,
        metrics_port: Port | None = None,
    ) -> None:
        self._shared = ports
        self._own = [] if metrics_port is None else [metrics_port]
        super().__init__(reactor, [*ports, *self._own], around)
        self._crew = crew
        self._issuer = issuer

    def startService(self) -> None:
        """Listen, start the workers, and let them accept connections once all could.

        :raises StartError: the server cannot listen at a port, or a worker cannot start.
        """
        super().startService()
        with self._start_errors_logged():
            self._listen()
            self._crew.begin(tuple(port.shared_descriptor() for port in self._shared))
        self._started()
        self._crew.serve()
        for port in self._own:
            port.accept()
        count = len(self._crew.running())
        self._log.info("{count} workers serve {issuer}", count=count, issuer=self._issuer)
        self._notify(READY)

    def reload(self) -> None:
        """Reopen the log, and let the workers read the certificates again. SIGHUP calls it."""
        super().reload()
        self._crew.reload()

    def stopService(self) -> Deferred[None]:
        """Close the ports of the parent, and let the workers, which have them too, end in order."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._notify(STOPPING)
        self._stop_looking()
        # Once the last worker closes a port, it is closed: connections are refused then, and not reset.
        await gatherResults([port.stop() for port in self._shared])
        await self._crew.stop()
        await gatherResults([port.stop() for port in self._own])
        self._restore_sighup()
