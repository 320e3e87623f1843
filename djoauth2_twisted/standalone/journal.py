"""Log lines with priorities, for the journal of systemd.

sd-daemon(3): a line may begin with its priority, like ``<4>`` for a warning. journald removes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, Any

from twisted.logger import FileLogObserver, LogLevel

MakeObserver = Callable[[IO[Any]], FileLogObserver]

# As in syslog(3).
_INFO = 6
_PRIORITIES = {
    LogLevel.critical: 2,
    LogLevel.error: 3,
    LogLevel.warn: 4,
    LogLevel.info: _INFO,
    LogLevel.debug: 7,
}


def is_journal(file: IO[Any]) -> bool:
    """Whether systemd has connected a file to the journal.

    systemd.exec(5): JOURNAL_STREAM has the device and the inode of that file.
    """
    try:
        status = os.fstat(file.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def with_priorities(make: MakeObserver) -> MakeObserver:
    """Observers that begin each line with the priority of its event."""

    def observer(file: IO[Any]) -> FileLogObserver:
        formatted = make(file).formatEvent

        def prefixed(event: dict[str, Any]) -> str | None:
            text = formatted(event)
            if not text:
                return text
            priority = _PRIORITIES.get(event.get("log_level", LogLevel.info), _INFO)
            # A traceback has many lines, and journald reads each of them by itself.
            return "".join(f"<{priority}>{line}" for line in text.splitlines(keepends=True))

        return FileLogObserver(file, prefixed)

    return observer
