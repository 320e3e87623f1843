"""The stand-alone server as a service that starts and stops its ports and its store in order."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ConfigurationError
from ..hints import repeat_options
from ..printable import printable_lines
from ..server import AuthorizationServer
from .connections import Connections
from .draining import drain
from .files import Log
from .garbage import GarbageCollection
from .notify import READY, STOPPING, notify
from .ports import Port, StartError
from .terminal import Terminal

#: How long clients may take to read the last answers and close their connections, in seconds. A client
#: with a persistent connection does not close it.
CLOSING_DEADLINE = 1

#: How often the server looks whether the files of its certificates have changed, in seconds.
LOOK_INTERVAL = 60


class StandAlone(Service):
    """An `AuthorizationServer` with its own ports.

    :param check: raises ConfigurationError for what is found only when all else is right.
    :param warnings: what an operator should change, a line each; they are logged at the start.
    :param said: makes the line that tells why the server cannot start.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        server: AuthorizationServer,
        ports: list[Port],
        connections: Connections,
        log_file: Log | None = None,
        said: Callable[[ConfigurationError], str] = str,
        terminal: Terminal | None = None,
        options: Mapping[str, str] | None = None,
        check: Callable[[], None] | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._ports = ports
        self._connections = connections
        self._log_file = log_file
        self._looking: IDelayedCall | None = None
        self._garbage = GarbageCollection()
        self._said = said
        self._terminal = terminal
        #: The options that a `djoauth2` command needs for the same store.
        self._options = options or {}
        self._check = check
        self._warnings = warnings
        #: The previous handler of SIGHUP; None while ours is not set.
        self._previous_sighup: Any = None

    def privilegedStartService(self) -> None:
        """Listen while the process may still open ports below 1024."""
        super().privilegedStartService()
        with self._start_errors_logged():
            self._listen()

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
        if self._terminal is not None:
            self._terminal.close()
        for warning in self._warnings:
            self._log.warn("{warning}.", warning=warning)
        self._server.startService()
        self._server.when_ready().addCallbacks(self._accept, self._give_up)
        self._looking = self._reactor.callLater(LOOK_INTERVAL, self._look)

    def _accept(self, _: object) -> None:
        """Serve. Until now, connections have waited in the system's queue."""
        if not self.running:
            return
        self._reactor.callWhenRunning(self._garbage.start)
        for port in self._ports:
            port.accept()
        self._log.info("Serving {issuer}", issuer=self._server.issuer)
        self._notify(READY)

    def _notify(self, state: str) -> None:
        try:
            notify(state)
        except OSError as error:
            self._log.warn("The service manager takes no messages: {reason}", reason=error.strerror)

    @contextmanager
    def _start_errors_logged(self) -> Iterator[None]:
        """Log why the server cannot start. In the background, print it on the terminal too."""
        try:
            yield
        except ConfigurationError as error:
            line = self._said(error)
            # The level is not critical. Twisted prints critical events before the log is open, so the
            # line would appear twice.
            why = self._why(line)
            self._log.error("The server cannot start: {error}", error=why)
            told = self._terminal is not None and self._terminal.tell(f"djoauth2: {why}")
            raise StartError("see above" if told else why) from None

    def _why(self, line: str) -> str:
        return printable_lines(repeat_options(line, self._options))

    def _give_up(self, failure: Failure) -> None:
        """End the process with one line on standard error, and with exit status 1."""
        error: Any = failure.value
        line = self._said(error) if failure.check(ConfigurationError) else str(error)
        print(f"djoauth2: {self._why(line)}", file=sys.__stderr__, flush=True)
        # The reactor and twistd end in order. After that, this sets the status.
        atexit.register(os._exit, 1)
        self._reactor.stop()

    def _listen(self) -> None:
        for port in self._ports:
            port.listen()
        if self._previous_sighup is None:
            self._previous_sighup = signal.signal(signal.SIGHUP, self._on_sighup) or signal.SIG_DFL

    def _on_sighup(self, *_: object) -> None:
        # A signal may interrupt any code.
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Reopen the log, and read the certificates again. SIGHUP calls it."""
        try:
            path = self._log_file.reopen() if self._log_file is not None else None
            if path is not None:
                self._log.info("The log continues in {path}.", path=path)
        except OSError as error:
            self._log.error(
                "{file} cannot be opened, so the log stays where it is: {reason}",
                file=error.filename,
                reason=error.strerror,
            )
        for port in self._ports:
            port.reload()

    def _look(self) -> None:
        """Let each port look whether its certificates have changed."""
        self._looking = self._reactor.callLater(LOOK_INTERVAL, self._look)
        for port in self._ports:
            port.look()

    def stopService(self) -> Deferred[None]:
        """Close the ports, finish the requests, close the store, and send the last answers."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._notify(STOPPING)
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self._garbage.stop()
        await gatherResults([port.stop() for port in self._ports])
        await drain(self._connections, self._reactor)
        self._connections.begin_all()
        await self._server.stopService()
        closing = self._connections.close().addTimeout(CLOSING_DEADLINE, self._reactor)
        await closing.addErrback(lambda _: None)
        if self._previous_sighup is not None:
            signal.signal(signal.SIGHUP, self._previous_sighup)
            self._previous_sighup = None
