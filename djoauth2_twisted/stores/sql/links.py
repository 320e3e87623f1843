"""Links: what a lane holds of its database, which is one connection, made anew when it is lost."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Protocol

import sqlalchemy as sa


class Displaced(OSError):
    """What a connection keeps is no longer where others look for it.

    The connection is the last that knows of it, and is kept.
    """


class WorkerConnection(Protocol):
    """One connection at a time. All but `interrupt` is called in the lane's thread."""

    #: None before the first, and after one was lost.
    connection: sa.Connection | None

    def connect(self) -> sa.Connection:
        """The connection; a new one where there is none."""

    def check(self) -> None:
        """Raise OSError where the connection would lead to another database by now."""

    def interrupt(self) -> None:
        """Free the thread where it hangs on the connection; called by another."""

    def disconnect(self) -> None:
        """Give the connection up."""


#: Which link a thread is connecting just now.
_connecting = threading.local()


def remember(raw: Any, _: object) -> None:
    """Show a link its driver's connection before anything is asked over it, since that may hang."""
    connection_of_worker: ServerLink | None = getattr(_connecting, "link", None)
    if connection_of_worker is not None:
        connection_of_worker.raw = raw


class ServerLink:
    """A connection to a server.

    :param engine: has `remember` listen to each new connection, before all others.
    :param socket_of: the number of the socket that a driver's connection waits at.
    """

    def __init__(self, engine: sa.Engine, socket_of: Callable[[Any], int]) -> None:
        self.connection: sa.Connection | None = None
        self._engine = engine
        self._socket_of = socket_of
        #: The driver's connection.
        self.raw: Any = None

    def connect(self) -> sa.Connection:
        if self.connection is None:
            _connecting.connection_of_worker = self
            self.connection = self._engine.connect()
        return self.connection

    def check(self) -> None:
        """A connection leads to the server that it was made to."""

    def interrupt(self) -> None:
        """Break the socket that the thread waits at; some drivers would wait for ever."""
        try:
            with socket.socket(fileno=os.dup(self._socket_of(self.raw))) as copy:
                copy.shutdown(socket.SHUT_RDWR)
        except Exception:  # It was closed meanwhile; drivers differ in how they say so.
            return

    def disconnect(self) -> None:
        raw, self.raw = self.raw, None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
        elif raw is not None:
            # It broke before SQLAlchemy had it.
            with contextlib.suppress(Exception):
                raw.close()
