"""The files that ``twistd`` and ``twist`` make for us: not for everybody, and the log begun anew."""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any, Self

from twisted.logger import FileLogObserver, textFileLogObserver
from twisted.python.logfile import LogFile

#: What a file may be at most: its owner's to write, and its group's to read.
MODE = 0o640

#: The same, and folders that the group may enter.
_UMASK = 0o027


class ServiceLog(LogFile):
    """A log file that no stranger can read, and that can be begun anew once it was renamed."""

    @classmethod
    def at(cls, path: str) -> Self:
        """The log of this name; one that is there goes on."""
        log: Self = cls.fromFullPath(path, defaultMode=_mode(path))
        return log

    def reopen(self) -> None:
        """Go on with the file that has this name now, which is made where there is none.

        :raises OSError: it cannot be opened. The one before goes on.
        """
        os.close(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, MODE))
        self.defaultMode = _mode(self.path)
        super().reopen()


def _mode(path: str) -> int:
    """What the mode of a log is to be: no wider than it is, and what is no file stays as it is."""
    try:
        found = os.stat(path).st_mode
    except FileNotFoundError:
        return MODE
    return stat.S_IMODE(found) & MODE if stat.S_ISREG(found) else stat.S_IMODE(found)


class Files:
    """The files of a process that was started by ``twistd`` or ``twist``.

    :param starter: its options, which are changed.
    """

    def __init__(self, starter: Any) -> None:
        self._log: ServiceLog | None = None
        os.umask(os.umask(0o077) | _UMASK)
        if starter.get("umask") is not None:
            starter["umask"] |= _UMASK
        if "logFile" in starter:
            self._take_over(starter)
        else:
            self._stand_in(starter)

    def _take_over(self, twist: Any) -> None:
        """`twist` has opened its log already, as wide as it was let."""
        opened = twist["logFile"]
        if opened not in (sys.stdout, sys.stderr):
            opened.close()
            self._log = twist["logFile"] = ServiceLog.at(opened.name)

    def _stand_in(self, twistd: Any) -> None:
        """`twistd` opens its log later, unless it is told how."""
        background = not (twistd["nodaemon"] or twistd["debug"])
        path = twistd["logfile"] or ("twistd.log" if background else "-")
        if path != "-" and not twistd["syslog"] and not twistd.get("logger"):
            # By its name in this folder, for it is opened before the process goes elsewhere.
            twistd["logger"] = lambda: self._open(os.path.abspath(path))

    def _open(self, path: str) -> FileLogObserver:
        log: Any = ServiceLog.at(path)
        self._log = log
        # So does twistd with a log that it has opened itself.
        if not signal.getsignal(signal.SIGUSR1):
            signal.signal(signal.SIGUSR1, lambda *_: _from_signal(log.rotate))
        return textFileLogObserver(log)

    def reopen_log(self) -> Path | None:
        """Go on with the log file that has its name now; None where the log is no file.

        :raises OSError: it cannot be opened. The one before goes on.
        """
        if self._log is None:
            return None
        self._log.reopen()
        return Path(self._log.path)


def _from_signal(work: Any) -> None:
    """Do something in the reactor's next turn."""
    from twisted.internet import reactor

    caller: Any = reactor
    caller.callFromThread(work)
