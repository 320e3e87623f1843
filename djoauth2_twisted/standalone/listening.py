"""A service with ports: it starts with one line where it cannot, and SIGHUP reloads it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ..clock import IProcessReactor
from ..errors import ConfigurationError
from ..hints import repeat_options
from ..printable import printable_lines
from .files import Log
from .notify import notify
from .ports import Port, StartError
from .terminal import Terminal

#: How often the server looks whether the files of its certificates have changed, in seconds.
LOOK_INTERVAL = 60


@frozen
class Surroundings:
    """What a process of the server has around it.

    :param log_file: its log, if that is a file.
    :param said: makes the line that says why the server cannot start.
    :param options: the options that a `djoauth2` command needs for the same store.
    :param warnings: what an operator should change, a line each; they are logged at the start.
    """

    log_file: Log | None = None
    said: Callable[[ConfigurationError], str] = str
    terminal: Terminal | None = None
    options: Mapping[str, str] | None = None
    warnings: Sequence[str] = ()


class ListeningService(Service):
    """A service that listens at ports.

    :param ports: where it listens.
    """

    _log = Logger()

    def __init__(self, reactor: IProcessReactor, ports: Sequence[Port], around: Surroundings) -> None:
        self._reactor = reactor
        self._ports = ports
        self._around = around
        self._looking: IDelayedCall | None = None
        #: The previous handler of SIGHUP; None while ours is not set.
        self._previous_sighup: Any = None

    # The start.

    def privilegedStartService(self) -> None:
        """Listen while the process may still open ports below 1024."""
        super().privilegedStartService()
        with self._start_errors_logged():
            self._listen()

    def _listen(self) -> None:
        for port in self._ports:
            port.listen()
        if self._previous_sighup is None:
            self._previous_sighup = signal.signal(signal.SIGHUP, self._on_sighup) or signal.SIG_DFL

    @contextmanager
    def _start_errors_logged(self) -> Iterator[None]:
        """Log why the server cannot start. In the background, print it on the terminal too."""
        try:
            yield
        except ConfigurationError as error:
            line = self._around.said(error)
            # The level is not critical. Twisted prints critical events before the log is open, so the
            # line would appear twice.
            why = self._why(line)
            self._log.error("The server cannot start: {error}", error=why)
            terminal = self._around.terminal
            shown = terminal is not None and terminal.tell(f"djoauth2: {why}")
            raise StartError("see above" if shown else why) from None

    def _why(self, line: str) -> str:
        return printable_lines(repeat_options(line, self._around.options or {}))

    def _started(self) -> None:
        """The start has succeeded as far as the terminal is concerned."""
        if self._around.terminal is not None:
            self._around.terminal.close()
        for warning in self._around.warnings:
            self._log.warn("{warning}.", warning=warning)
        self._looking = self._reactor.callLater(LOOK_INTERVAL, self._look)

    def _notify(self, state: str) -> None:
        try:
            notify(state)
        except OSError as error:
            self._log.warn("The service manager takes no messages: {reason}", reason=error.strerror)

    # Changes of files.

    def _on_sighup(self, *_: object) -> None:
        # A signal may interrupt any code.
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Reopen the log, and read the certificates again. SIGHUP calls it."""
        log_file = self._around.log_file
        try:
            path = log_file.reopen() if log_file is not None else None
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

    # The end.

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _restore_sighup(self) -> None:
        if self._previous_sighup is not None:
            signal.signal(signal.SIGHUP, self._previous_sighup)
            self._previous_sighup = None
