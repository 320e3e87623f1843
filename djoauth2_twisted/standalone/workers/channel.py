"""Messages between a parent and a worker: a JSON object in a line."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

#: How long a message may take to be written, in seconds. The reader has nothing else to do.
DEADLINE = 2

_PIECE = 64 * 1024


@implementer(IReadDescriptor)
class Lines:
    """Reads whole lines from a descriptor, until its other end is closed.

    :param descriptor: a socket or a file, which is closed at the end.
    :param read: takes a number of bytes, and reads at most so many.
    :param received: gets whole lines, as bytes; at the end also an incomplete one.
    :param ended: is called after the last line.
    """

    def __init__(
        self,
        descriptor: Any,
        read: Callable[[int], bytes | None],
        received: Callable[[bytes], object],
        ended: Callable[[], None],
    ) -> None:
        self._descriptor = descriptor
        self._read = read
        self._received = received
        self._ended = ended
        self._rest = b""
        self.has_ended = False

    def logPrefix(self) -> str:
        """The name in Twisted's log."""
        return "worker"

    def fileno(self) -> int:
        """The number of the descriptor."""
        number: int = self._descriptor.fileno()
        return number

    def doRead(self) -> Exception | None:  # type: ignore[override]  # as of all descriptors of Twisted
        """Read what has arrived; see IReadDescriptor."""
        try:
            data = self._read(_PIECE)
        except OSError:
            data = b""
        if not data:
            return CONNECTION_DONE
        lines, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if newline:
            self._received(lines + newline)
        return None

    def connectionLost(self, reason: Failure) -> None:
        """The other end is closed; see IReadDescriptor."""
        if self.has_ended:
            return
        self.has_ended = True
        self._descriptor.close()
        if self._rest:
            self._received(self._rest + b"\n")
        self._ended()


class Channel:
    """One end of the connection between a parent and a worker.

    :param connected: the socket.
    :param received: gets each message.
    :param ended: is called when the other process has ended.
    """

    def __init__(
        self,
        connected: socket.socket,
        received: Callable[[dict[str, Any]], None],
        ended: Callable[[], None],
    ) -> None:
        self._socket = connected
        self._socket.settimeout(DEADLINE)
        self._message = received
        self.reader = Lines(connected, connected.recv, self._lines, ended)

    def _lines(self, lines: bytes) -> None:
        for line in lines.splitlines():
            # An incomplete message is one of a process that was killed.
            with suppress(ValueError):
                self._message(json.loads(line))

    def send(self, **message: Any) -> bool:
        """Send a message. False if the other process has ended, or reads nothing."""
        try:
            self._socket.sendall(json.dumps(message, default=str).encode("ascii") + b"\n")
        except OSError:
            return False
        return True
