"""Tells the service manager that the server is ready or stops (sd_notify(3), ``Type=notify``)."""

from __future__ import annotations

import os
import socket

READY, STOPPING = "READY=1", "STOPPING=1"


def notify(state: str) -> None:
    """Send a state to the service manager, if there is one.

    :raises OSError: it does not take messages.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        # A name that begins with "@" is in the abstract namespace.
        manager.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        manager.sendall(state.encode("ascii"))
