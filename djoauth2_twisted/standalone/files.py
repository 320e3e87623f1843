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


class Log:
    """The log of this process, where that is a file."""

    def __init__(self) -> None:
        self._path = ""
        self._file: ServiceLog | None = None

    def take_over(self, twist: Any) -> None:
        """Be the log of ``twist``, which has opened it already, as wide as it was let."""
        opened = twist["logFile"]
        if opened not in (sys.stdout, sys.stderr):
            opened.close()
            self._file = twist["logFile"] = ServiceLog.at(opened.name)

    def stand_in(self, twistd: Any) -> None:
        """Be the log of ``twistd``, which opens its own later unless it has the name of another."""
        background = not (twistd["nodaemon"] or twistd["debug"])
        path = twistd["logfile"] or ("twistd.log" if background else "-")
        if path != "-" and not twistd["syslog"] and not twistd.get("logger"):
            self._path = os.path.abspath(path)
            twistd["logger"] = f"{__name__}.LOG.open"

    def open(self) -> FileLogObserver:
        """Begin to log; see ``twistd --logger``."""
        log: Any = ServiceLog.at(self._path)
        self._file = log
        # So does twistd with a log that it has opened itself.
        if not signal.getsignal(signal.SIGUSR1):
            signal.signal(signal.SIGUSR1, lambda *_: _from_signal(log.rotate))
        return textFileLogObserver(log)

    def reopen(self) -> Path | None:
        """Go on with the log file that has its name now; None where the log is no file.

        :raises OSError: it cannot be opened. The one before goes on.
        """
        if self._file is None:
            return None
        self._file.reopen()
        return Path(self._file.path)


#: Of a process there is one; ``twistd`` finds it by its name.
LOG = Log()


def take_files(starter: Any) -> Log:
    """See to it that no file of a process is for everybody.

    :param starter: the options of ``twistd`` or ``twist``, which are changed.
    :return: the log that the process will have.
    """
    os.umask(os.umask(0o077) | _UMASK)
    if starter.get("umask") is not None:
        starter["umask"] |= _UMASK
    if "logFile" in starter:
        LOG.take_over(starter)
    else:
        LOG.stand_in(starter)
    return LOG


def _from_signal(work: Any) -> None:
    """Do something in the reactor's next turn."""
    from twisted.internet import reactor

    caller: Any = reactor
    caller.callFromThread(work)
