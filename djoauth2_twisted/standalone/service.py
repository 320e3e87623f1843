"""The stand-alone server as a service: its ports, its store and its last answers, in order."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ConfigurationError
from ..server import AuthorizationServer
from .connections import Connections
from .files import Log
from .ports import Port, StartError

#: How long clients have to take the last answers and hang up, in seconds. A client that keeps a
#: connection for later does not hang up.
CLOSING_DEADLINE = 1


class StandAlone(Service):
    """An `AuthorizationServer` with ports of its own, started and stopped in order."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        server: AuthorizationServer,
        ports: list[Port],
        connections: Connections,
        log_file: Log | None = None,
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._ports = ports
        self._connections = connections
        self._log_file = log_file
        #: The handler of SIGHUP before ours; None while ours is not set.
        self._hangup: Any = None

    def privilegedStartService(self) -> None:
        """Listen while ports under 1024 may still be opened."""
        super().privilegedStartService()
        with self._judged():
            self._listen()

    def startService(self) -> None:
        """Listen, open the store, then serve. `twist` calls nothing but this.

        The store comes last, for its threads keep alive a process that failed to start.

        :raises StartError: the store cannot be opened or a port not be listened at.
        """
        super().startService()
        with self._judged():
            self._listen()
            self._server.open_now()
        self._server.startService()
        self._server.when_ready().addErrback(self._give_up)
        self._log.info("Serving {issuer}", issuer=self._server.issuer)

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Log why the server cannot start: a daemon's parent prints only the beginning of an error."""
        try:
            yield
        except (ConfigurationError, StartError) as error:
            # Before the log is open, Twisted prints critical events by itself: the line would be there
            # twice.
            self._log.error("The server cannot start: {error}", error=error)
            raise StartError(str(error)) from None

    def _give_up(self, failure: Failure) -> None:
        """End the process with one line and a status that is not 0."""
        print(f"djoauth2: {failure.value}", file=sys.__stderr__, flush=True)
        # The reactor and twistd end in order. After that only the status is left to set.
        atexit.register(os._exit, 1)
        self._reactor.stop()

    def _listen(self) -> None:
        for port in self._ports:
            port.listen()
        if self._hangup is None:
            self._hangup = signal.signal(signal.SIGHUP, self._hang_up) or signal.SIG_DFL

    def _hang_up(self, *_: object) -> None:
        # A signal may interrupt any code.
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Open the log and read the certificates again, as SIGHUP asks."""
        try:
            path = self._log_file.reopen() if self._log_file is not None else None
            if path is not None:
                self._log.info("The log goes on in {path}.", path=path)
        except OSError as error:
            self._log.error(
                "{file} cannot be opened, so the log goes on where it was: {reason}",
                file=error.filename,
                reason=error.strerror,
            )
        for port in self._ports:
            port.reload()

    def stopService(self) -> Deferred[None]:
        """Close the ports, finish the requests in flight, close the store, and send the last answers."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await gatherResults([port.stop() for port in self._ports])
        await self._server.stopService()
        closing = self._connections.close().addTimeout(CLOSING_DEADLINE, self._reactor)
        await closing.addErrback(lambda _: None)
        if self._hangup is not None:
            signal.signal(signal.SIGHUP, self._hangup)
            self._hangup = None
