"""File descriptors: how many this process may open, and how many connections may use."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress

#: How many connections are served by default. An idle one over TLS takes about 30 KiB of memory.
MAX_CONNECTIONS = 8000

#: How many descriptors are reserved for the store, the log and other files; at most half of all.
RESERVE = 128


def provide(wanted: int) -> int:
    """Raise the soft limit of descriptors as far as the connections need and the hard limit allows.

    :param wanted: how many connections to serve; 0: `MAX_CONNECTIONS`.
    :return: how many can be served.
    """
    connections = wanted or MAX_CONNECTIONS
    soft, hard = (_finite(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    target = min(connections + RESERVE, hard)
    if soft < target:
        # The system may have another limit below the hard one.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            soft = target
    return min(connections, _room(soft))


def most_served(wanted: int) -> int:
    """How many of the wanted connections `provide` could make room for. Nothing is changed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, _room(_finite(hard)))


def _room(descriptors: int) -> int:
    return descriptors - min(RESERVE, descriptors // 2)


def _finite(limit: int) -> int:
    # On Linux no process can have more than fs.nr_open, which is less than this.
    return 2**30 if limit == resource.RLIM_INFINITY else limit


def is_one_left() -> bool:
    """Whether another descriptor could be opened now."""
    try:
        os.close(os.dup(0))
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    return True
