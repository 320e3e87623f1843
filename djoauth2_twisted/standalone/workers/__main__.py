"""A worker as a process: ``python -m djoauth2_twisted.standalone.workers NUMBER DESCRIPTOR``.

`supervisor.Supervisor` starts it. It is a ``twistd`` whose options come through a socket, because the
list of processes is public.
"""

from __future__ import annotations

import signal
import socket
import sys

from twisted.scripts.twistd import run

from .assignment import read


def main() -> None:
    """Serve until the parent says stop, or has ended."""
    parent = socket.socket(fileno=int(sys.argv[2]))
    try:
        assignment = read(parent)
    except EOFError:
        raise SystemExit(0) from None
    # Ctrl-C goes to all processes of a terminal. The parent stops the workers in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv = [
        "twistd",
        "--nodaemon",
        "--pidfile=",
        *assignment.starter,
        "djoauth2",
        *assignment.options,
    ]
    run()


if __name__ == "__main__":
    main()
