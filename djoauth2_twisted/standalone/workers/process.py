"""A worker, as its parent sees it: a process, its messages, and what it writes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Protocol

import attrs
from attrs import field, frozen
from twisted.python.failure import Failure

from .assignment import Assignment
from .channel import Channel, Lines

#: How much of what a worker writes to standard error before it is ready is kept, in bytes.
MAX_SAID = 16 * 1024

#: What a service manager has set for the parent alone.
_OF_PARENT = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

_MODULE = __package__


@frozen
class Program:
    """How workers are started.

    :param assignment: theirs, without number and sockets.
    :param folder: the folder in which the parent was started.
    :param output: where they write their log, unless ``copy`` gets it.
    :param copy: writes lines of their logs to the log file of the parent; None if that is not a file.
    """

    assignment: Assignment
    folder: str = field(factory=os.getcwd)
    output: IO[Any] | None = None
    copy: Callable[[bytes], object] | None = None

    def begin(self, number: int, descriptors: tuple[int, ...], theirs: socket.socket) -> Any:
        """Start a worker, and do not wait for it.

        :raises OSError: the system starts no process.
        """
        variables = {name: text for name, text in os.environ.items() if name not in _OF_PARENT}
        # "-m" would look for modules in the folder first, which may belong to another user.
        safe = [] if {"", self.folder}.intersection(sys.path) else ["-P"]
        return subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, *safe, "-m", _MODULE, str(number), str(theirs.fileno())],
            cwd=self.folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=self.output if self.copy is None else subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=(theirs.fileno(), *descriptors),
        )


class Owner(Protocol):
    """The parent of workers."""

    def ready(self, worker: Worker) -> None:
        """A worker could serve now."""

    def ended(self, worker: Worker) -> None:
        """A worker has ended. `Worker.status` says how."""

    def measured(self, worker: Worker, text: str) -> None:
        """A worker has sent its metrics."""

    def closing(self, reader: Lines) -> None:
        """A reader of a worker that has ended is about to be closed."""


class Worker:
    """A worker that was started.

    :raises OSError: the system starts no process.
    """

    def __init__(
        self, number: int, program: Program, descriptors: tuple[int, ...], owner: Owner
    ) -> None:
        self.number = number
        self._owner = owner
        #: Whether it has said that it could serve.
        self.is_ready = False
        #: The status of the process; negative for a signal. None while it runs.
        self.status: int | None = None
        self._said = b""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = program.begin(number, descriptors, theirs)
        except OSError:
            ours.close()
            raise
        self.pid: int = self._process.pid
        self._channel = Channel(ours, self._received, self._ended)
        self._written = [self._pipe(self._process.stderr, self._on_standard_error)]
        if program.copy is not None:
            self._written.append(self._pipe(self._process.stdout, program.copy))
        assignment = attrs.evolve(program.assignment, number=number, descriptors=descriptors)
        self._channel.send(**assignment.message())

    def _pipe(self, pipe: Any, received: Callable[[bytes], object]) -> Lines:
        os.set_blocking(pipe.fileno(), False)
        return Lines(pipe, pipe.read, received, lambda: None)

    def readers(self) -> list[Lines]:
        """What the parent has to read."""
        return [each for each in (self._channel.reader, *self._written) if not each.has_ended]

    # What it says.

    def _received(self, message: dict[str, Any]) -> None:
        if message.get("ready"):
            self.is_ready = True
            self._owner.ready(self)
        elif "metrics" in message:
            self._owner.measured(self, message["metrics"])

    def _on_standard_error(self, lines: bytes) -> None:
        if not self.is_ready:
            self._said = (self._said + lines)[-MAX_SAID:]
        elif sys.__stderr__ is not None:
            with suppress(OSError):
                os.write(sys.__stderr__.fileno(), lines)

    def why(self) -> str:
        """Why it could not start: its last words on standard error, or how it has ended."""
        said = self._said.decode("utf-8", "backslashreplace").strip()
        if not said:
            return f"a worker {self.ending()}"
        _, ours, line = said.rpartition("djoauth2: ")
        return line if ours else said.splitlines()[-1]

    def ending(self) -> str:
        """How it has ended, for people."""
        status = self.status or 0
        return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"

    # Messages to the worker.

    def serve(self) -> None:
        """Let it accept connections."""
        self._channel.send(do="serve")

    def reload(self) -> None:
        """Let it read its certificates again."""
        self._channel.send(do="reload")

    def stop(self) -> None:
        """Let it end in order."""
        self._channel.send(do="stop")

    def ask_metrics(self) -> bool:
        """Ask for its metrics. False if it does not listen."""
        return self._channel.send(do="metrics")

    def kill(self) -> None:
        """End it at once. Its parent learns of it as of any other end."""
        self._process.kill()

    # The end.

    def _ended(self) -> None:
        """Its end of the channel is closed, which it never does itself: it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self._process.kill()
        self.status = self._process.wait()
        for pipe in self.readers():
            while (reason := pipe.doRead()) is None:
                pass
            self._owner.closing(pipe)
            pipe.connectionLost(Failure(reason))
        self._owner.ended(self)
