"""The stand-alone server as a service that starts and stops its ports and its store in order."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from ..clock import IProcessReactor
from ..errors import ConfigurationError
from ..server import AuthorizationServer
from .connections import Connections
from .draining import drain
from .garbage import GarbageCollection
from .listening import ListeningService, Surroundings
from .notify import READY, STOPPING
from .ports import Port

#: How long clients may take to read the last answers and close their connections, in seconds. A client
#: with a persistent connection does not close it.
CLOSING_DEADLINE = 1


class Parent(Protocol):
    """The process that has started this one as a worker."""

    def listen(
        self, serve: Callable[[], None], reload: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        """Say that this worker is ready, and wait for messages.

        :param serve: is called once the worker may accept connections.
        :param reload: is called for SIGHUP.
        :param stop: is called once it has to end, also because its parent has ended.
        """


class StandAlone(ListeningService):
    """An `AuthorizationServer` with its own ports.

    :param check: raises ConfigurationError for what is found only when all else is right.
    :param parent: of a worker: the process that has started it.
    """

    def __init__(
        self,
        reactor: IProcessReactor,
        server: AuthorizationServer,
        ports: list[Port],
        connections: Connections,
        around: Surroundings | None = None,
        check: Callable[[], None] | None = None,
        parent: Parent | None = None,
    ) -> None:
        super().__init__(reactor, ports, around or Surroundings())
        self._server = server
        self._connections = connections
        self._garbage = GarbageCollection()
        self._check = check
        self._parent = parent
        self._is_ending = False

    def startService(self) -> None:
        """Listen, open the store, then accept connections. `twist` calls only this method.

        The store comes last, because its threads would keep a process alive that failed to start.

        :raises StartError: the store cannot be opened, or the server cannot listen at a port.
        """
        super().startService()
        with self._start_errors_logged():
            self._listen()
            self._server.open_now()
            if self._check is not None:
                self._check()
        self._started()
        self._server.startService()
        self._server.when_ready().addCallbacks(self._ready, self._give_up)

    def _ready(self, _: object) -> None:
        """Serve. Until now, connections have waited in the system's queue."""
        if not self.running:
            return
        self._reactor.callWhenRunning(self._garbage.start)
        if self._parent is None:
            self._serve()
        else:
            self._parent.listen(self._serve, self.reload, self._end)

    def _serve(self) -> None:
        for port in self._ports:
            port.accept()
        self._log.info("Serving {issuer}", issuer=self._server.issuer)
        self._notify(READY)

    def _end(self) -> None:
        # The parent may say so, and end itself then. SIGTERM may have come before.
        if self.running and not self._is_ending:
            self._is_ending = True
            self._reactor.stop()

    def _give_up(self, failure: Failure) -> None:
        """End the process with one line on standard error, and with exit status 1."""
        error: Any = failure.value
        line = self._around.said(error) if failure.check(ConfigurationError) else str(error)
        print(f"djoauth2: {self._why(line)}", file=sys.__stderr__, flush=True)
        # The reactor and twistd end in order. After that, this sets the status.
        atexit.register(os._exit, 1)
        self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Close the ports, finish the requests, close the store, and send the last answers."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._notify(STOPPING)
        self._stop_looking()
        self._garbage.stop()
        await gatherResults([port.stop() for port in self._ports])
        await drain(self._connections, self._reactor)
        self._connections.begin_all()
        await self._server.stopService()
        closing = self._connections.close().addTimeout(CLOSING_DEADLINE, self._reactor)
        await closing.addErrback(lambda _: None)
        self._restore_sighup()
        if self._around.log_file is not None:
            self._around.log_file.close()
