"""Sockets that systemd has opened, with TLS and in the file system.

Twisted's ``systemd:`` endpoint has no TLS. Here it takes the arguments of ``ssl:`` for certificates::

    systemd:domain=INET6:name=https:privateKey=key.pem:certKey=cert.pem
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import unix
from twisted.internet.interfaces import IReactorSocket

from .endpoint_fields import behind_proxy, fields_of

_KIND = "systemd:"

#: The arguments of Twisted's own endpoint.
_OF_SOCKET = ("domain", "index", "name")


def is_inherited(description: str) -> bool:
    """Whether an endpoint, perhaps with the PROXY protocol, is a socket that systemd keeps."""
    return behind_proxy(description).startswith(_KIND)


def split(description: str) -> tuple[str, str]:
    """The endpoint strings of a ``systemd:`` endpoint without TLS, and of its certificates.

    The second is an ``ssl:`` endpoint whose port is of no use, or empty if there is no TLS. The endpoint
    string of another kind is returned as it is.
    """
    if not description.startswith(_KIND):
        return description, ""
    of_socket: list[str] = []
    of_certificates: list[str] = []
    for field in fields_of(description.removeprefix(_KIND)):
        name, equals, _ = field.partition("=")
        (of_certificates if equals and name not in _OF_SOCKET else of_socket).append(field)
    certificates = ":".join(["ssl:0", *of_certificates]) if of_certificates else ""
    return _KIND + ":".join(of_socket), certificates


def adopt_unix_port(reactor: IReactorSocket, descriptor: int, factory: Any) -> unix.Port:
    """Listen at a Unix socket of systemd. Its file and its queue stay as systemd has made them.

    Twisted would let everyone write to the file and shorten the queue. At the end it would delete the
    file, and shut the socket down for systemd, too.
    """
    port: Any = unix.Port._fromListeningDescriptor(reactor, descriptor, factory)
    # As of a socket that has no file. Twisted 26.4 calls it "port".
    path = "_bindPath" if hasattr(port, "_bindPath") else "port"
    setattr(port, path, b"\0" + getattr(port, path))
    port._shouldShutdown = False
    port.backlog = socket.SOMAXCONN
    port.startListening()
    return port  # type: ignore[no-any-return]
