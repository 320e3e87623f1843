"""Log lines with priorities, for the journal of systemd.

sd-daemon(3): a line may begin with its priority, like ``<4>`` for a warning. journald removes it.
"""

from __future__ import annotations

import os
from typing import IO, Any, cast

from twisted.logger import ILogObserver, LogLevel
from zope.interface import directlyProvides

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
    except (AttributeError, OSError, ValueError):
        # Such as a log of Twisted's, which is a file by name and has no descriptor.
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalFile:
    """A file that is connected to the journal. Each line begins with the priority of its event.

    What is written outside an event, like the access log, has the priority of information.
    """

    def __init__(self, file: IO[Any]) -> None:
        self._file = file
        self._priority = _INFO

    def with_priorities(self, observer: ILogObserver) -> ILogObserver:
        """An observer that writes to this file as another one does, with priorities."""

        def write(event: Any) -> None:
            self._priority = _PRIORITIES.get(event.get("log_level", LogLevel.info), _INFO)
            try:
                observer(event)
            finally:
                self._priority = _INFO

        directlyProvides(write, ILogObserver)
        return cast("ILogObserver", write)

    def write(self, text: str) -> None:
        """Write lines, each with the priority. journald reads each line of a traceback by itself."""
        lines = text.splitlines(keepends=True)
        self._file.write("".join(f"<{self._priority}>{line}" for line in lines))

    def flush(self) -> None:
        """Write what waits."""
        self._file.flush()
