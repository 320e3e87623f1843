"""Running out of memory, threads, file descriptors or disk space.

None of these is a fault of a request or of a password. The same request may succeed a moment later.
"""

from __future__ import annotations

import errno

_BY_NUMBER = {
    errno.ENOMEM: "memory",
    errno.EMFILE: "file descriptors",
    errno.ENFILE: "file descriptors",
    errno.ENOSPC: "disk space",
    errno.EDQUOT: "disk space",
}

#: What Python says where the system starts no thread.
NO_THREAD = "can't start new thread"


def exhausted(error: BaseException | None) -> str:
    """What the system has run out of, as an error says; the empty string if it says something else."""
    # SQLAlchemy keeps the error that it met in ``orig``.
    cause = getattr(error, "orig", None) or error
    match cause:
        case MemoryError():
            return "memory"
        case OSError():
            return _BY_NUMBER.get(cause.errno or 0, "")
        case RuntimeError() if str(cause) == NO_THREAD:
            return "threads"
        case _:
            return ""
