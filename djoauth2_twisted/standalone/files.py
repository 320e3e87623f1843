"""The files that ``twistd`` and ``twist`` create: their modes, and a log that can be reopened."""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any, Self

from twisted.logger import FileLogObserver, textFileLogObserver
from twisted.python.logfile import LogFile

from .journal import MakeObserver, is_journal, with_priorities
from .json_log import json_log_observer

#: The widest mode of a file: the owner may write it, and the group may read it.
MODE = 0o640

#: The size at which a log file is renamed, in bytes, and how many renamed files are kept.
LOG_SIZE, OLD_LOGS = 10_000_000, 10

#: The same as a umask. The group may also enter folders.
_UMASK = 0o027


class ServiceLog(LogFile):
    """A log file that other users cannot read, and that can be reopened after a rename.

    It does not grow for ever, as long as its folder is writable: see `LOG_SIZE`.
    """

    @classmethod
    def at(cls, path: str) -> Self:
        """The log file at a path. An existing file is continued."""
        log: Self = cls.fromFullPath(
            path, rotateLength=LOG_SIZE, defaultMode=_mode(path), maxRotatedFiles=OLD_LOGS
        )
        return log

    def reopen(self) -> None:
        """Continue in the file that has this name now. It is created if there is none.

        :raises OSError: it cannot be opened. The previous file stays open.
        """
        os.close(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, MODE))
        self.defaultMode = _mode(self.path)
        super().reopen()


def _mode(path: str) -> int:
    """The mode for a log: at most its current mode and `MODE`; unchanged if it is no regular file."""
    try:
        found = os.stat(path).st_mode
    except FileNotFoundError:
        return MODE
    return stat.S_IMODE(found) & MODE if stat.S_ISREG(found) else stat.S_IMODE(found)


class Log:
    """The log of this process, if it is a file."""

    def __init__(self) -> None:
        self._path = ""
        self._file: ServiceLog | None = None
        self._observer: MakeObserver = textFileLogObserver

    def take_over(self, twist: Any, as_json: bool) -> None:
        """Replace the log file that ``twist`` has already opened, perhaps with a wider mode."""
        if as_json:
            twist["fileLogObserverFactory"] = json_log_observer
        opened = twist["logFile"]
        if is_journal(opened):
            twist["fileLogObserverFactory"] = with_priorities(twist["fileLogObserverFactory"])
        if opened not in (sys.stdout, sys.stderr):
            opened.close()
            self._file = twist["logFile"] = ServiceLog.at(opened.name)

    def stand_in(self, twistd: Any, as_json: bool) -> None:
        """Replace the log of ``twistd``, which opens its own unless it has a ``logger``."""
        self._observer = json_log_observer if as_json else textFileLogObserver
        background = not (twistd["nodaemon"] or twistd["debug"])
        path = twistd["logfile"] or ("twistd.log" if background else "-")
        if twistd["syslog"] or twistd.get("logger"):
            return
        if path == "-" and is_journal(sys.stdout):
            self._observer = with_priorities(self._observer)
        if path != "-" or as_json or is_journal(sys.stdout):
            self._path = "" if path == "-" else os.path.abspath(path)
            twistd["logger"] = f"{__name__}.LOG.open"

    def open(self) -> FileLogObserver:
        """Open the log, and return its observer; see ``twistd --logger``."""
        if not self._path:
            return self._observer(sys.stdout)
        log: Any = ServiceLog.at(self._path)
        self._file = log
        # twistd does the same with its own log.
        if not signal.getsignal(signal.SIGUSR1):
            signal.signal(signal.SIGUSR1, lambda *_: _from_signal(log.rotate))
        return self._observer(log)

    def reopen(self) -> Path | None:
        """Continue in the file that has the log's name now.

        :return: its path; None if the log is not a file.

        :raises OSError: it cannot be opened. The previous file stays open.
        """
        if self._file is None:
            return None
        self._file.reopen()
        return Path(self._file.path)


#: The log of the process. ``twistd`` finds it by this name.
LOG = Log()


def take_files(starter: Any, as_json: bool = False) -> Log:
    """Restrict the modes of all files that the process will create, and choose the log's format.

    :param starter: the options of ``twistd`` or ``twist``. They are changed.
    :param as_json: whether the log is JSON. It has no effect on syslog and on a ``--logger``.
    :return: the log that the process will have.
    """
    os.umask(os.umask(0o077) | _UMASK)
    if starter.get("umask") is not None:
        starter["umask"] |= _UMASK
    if "logFile" in starter:
        LOG.take_over(starter, as_json)
    else:
        LOG.stand_in(starter, as_json)
    return LOG


def _from_signal(work: Any) -> None:
    """Call a function in the reactor's next turn."""
    from twisted.internet import reactor

    caller: Any = reactor
    caller.callFromThread(work)
