"""What a worker gets from its parent: its number, its sockets, and the configuration."""

from __future__ import annotations

import json
import socket
from typing import Any

import attrs
from attrs import frozen


@frozen
class Assignment:
    """One worker's part.

    :param number: which worker it is, from 1.
    :param descriptors: the sockets of the ports, in the order of ``--port``.
    :param options: the words of the command line after ``djoauth2``.
    :param file: what the file of ``--config`` said when the parent read it.
    :param log_format: ``text``, ``json``, or ``twisted-json``, which ``twist`` writes by itself.
    :param log_level: the name of the lowest level that is logged.
    :param starter: more options of ``twistd``.
    """

    number: int
    descriptors: tuple[int, ...]
    options: tuple[str, ...]
    file: dict[str, Any]
    log_format: str = "text"
    log_level: str = "info"
    starter: tuple[str, ...] = ()

    @property
    def logs_info(self) -> bool:
        """Whether events of the level ``info`` are logged."""
        return self.log_level in ("debug", "info")

    def message(self) -> dict[str, Any]:
        """What `read` makes the same assignment of."""
        return attrs.asdict(self)

    @classmethod
    def of(cls, message: dict[str, Any]) -> Assignment:
        """The assignment of a message."""
        lists = ("descriptors", "options", "starter")
        return cls(**{**message, **{name: tuple(message[name]) for name in lists}})


class _Worker:
    """Whether this process is a worker."""

    assignment: Assignment | None = None
    socket: socket.socket | None = None


_THIS_PROCESS = _Worker()


def read(parent: socket.socket) -> Assignment:
    """Read the assignment of this process. From now on it is a worker.

    :param parent: the socket to its parent. Later messages stay in it.
    :raises EOFError: the parent has ended.
    """
    line = b""
    # Byte by byte, so that nothing behind the line is taken.
    while not line.endswith(b"\n"):
        byte = parent.recv(1)
        if not byte:
            raise EOFError
        line += byte
    _THIS_PROCESS.assignment = Assignment.of(json.loads(line))
    _THIS_PROCESS.socket = parent
    return _THIS_PROCESS.assignment


def assigned() -> Assignment | None:
    """The assignment of this process; None if it is not a worker."""
    return _THIS_PROCESS.assignment


def parent_socket() -> socket.socket | None:
    """The socket to the parent of this process; None if it is not a worker."""
    return _THIS_PROCESS.socket
