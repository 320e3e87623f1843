"""The files that ``twistd`` and ``twist`` create: their modes, and a log that can be reopened."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogLevel, textFileLogObserver
from twisted.python.logfile import LogFile
from zope.interface import implementer

from .access_log import BatchedLog, json_format, text_format
from .journal import JournalFile, is_journal
from .json_log import json_log_observer
from .workers.assignment import assigned
from .workers.marking import WorkerLog

#: The widest mode of a file: the owner may write it, and the group may read it.
MODE = 0o640

#: The size at which a log file is renamed, in bytes, and how many renamed files are kept.
LOG_SIZE, OLD_LOGS = 10_000_000, 10

#: The same as a umask. The group may also enter folders.
_UMASK = 0o027


class ServiceLog(LogFile):
    """A log file that other users cannot read, and that can be reopened after a rename.

    Its size is limited, as long as its folder is writable: see `LOG_SIZE`.
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
    """The mode for a log: at most its current mode and `MODE`; unchanged if it is not a regular file."""
    try:
        found = os.stat(path).st_mode
    except FileNotFoundError:
        return MODE
    return stat.S_IMODE(found) & MODE if stat.S_ISREG(found) else stat.S_IMODE(found)


@implementer(ILogObserver)
class _InOrder:
    """Writes the accesses that wait before each event, so that all lines are in order."""

    def __init__(self, observer: ILogObserver, flush: Callable[[], None]) -> None:
        self._observer = observer
        self._flush = flush

    def __call__(self, event: Any) -> None:
        """Write an event; see ILogObserver."""
        self._flush()
        self._observer(event)


class Log:
    """The log of this process, if it is a file or standard output."""

    def __init__(self) -> None:
        self._path = ""
        self._file: ServiceLog | None = None
        self._observer: Callable[[IO[Any]], ILogObserver] = textFileLogObserver
        #: ``text``, ``json``, or ``twisted-json``, which ``twist`` writes by itself.
        self.form = "text"
        #: The file that the observer writes to; None before the start, and if it is not ours.
        self._out: Any = None
        self._has_info = True
        self._accesses: BatchedLog | None = None

    def take_over(self, twist: Any, as_json: bool) -> None:
        """Replace the log file that ``twist`` has already opened, perhaps with a wider mode."""
        self._observer = json_log_observer if as_json else twist["fileLogObserverFactory"]
        if self._observer is not textFileLogObserver:
            self.form = "json" if as_json else "twisted-json"
        self._has_info = twist["logLevel"] <= LogLevel.info
        twist["fileLogObserverFactory"] = self._observing
        opened = twist["logFile"]
        if opened not in (sys.stdout, sys.stderr):
            opened.close()
            self._file = twist["logFile"] = ServiceLog.at(opened.name)

    def stand_in(self, twistd: Any, as_json: bool) -> None:
        """Replace the log of ``twistd``, which opens its own unless it has a ``logger``."""
        worker = assigned()
        if worker is not None:
            self._observer, self.form = partial(WorkerLog, worker), worker.log_format
            self._has_info = worker.logs_info
        elif as_json:
            self._observer, self.form = json_log_observer, "json"
        background = not (twistd["nodaemon"] or twistd["debug"])
        path = twistd["logfile"] or ("twistd.log" if background else "-")
        # twistd itself refuses a daemon that logs to standard output.
        if twistd["syslog"] or twistd.get("logger") or (path == "-" and background):
            self._has_info = False
            return
        self._path = "" if path == "-" else os.path.abspath(path)
        twistd["logger"] = f"{__name__}.LOG.open"

    def open(self) -> ILogObserver:
        """Open the log, and return its observer; see ``twistd --logger``."""
        if not self._path:
            return self._observing(sys.stdout)
        log: Any = ServiceLog.at(self._path)
        self._file = log
        # twistd does the same with its own log.
        if not signal.getsignal(signal.SIGUSR1):
            signal.signal(signal.SIGUSR1, lambda *_: _from_signal(log.rotate))
        return self._observing(log)

    def _observing(self, file: IO[Any]) -> ILogObserver:
        if not is_journal(file):
            self._out, observer = file, self._observer(file)
        else:
            journal = JournalFile(file)
            self._out = journal
            observer = journal.with_priorities(self._observer(self._out))
        in_order: ILogObserver = _InOrder(observer, self.flush)
        return in_order

    # The access log.

    def accesses(self, reactor: IReactorTime) -> BatchedLog | None:
        """The access log, which is written to the same file; None if it goes where all events go.

        That is with syslog, with the operator's own ``--logger``, and with the JSON of ``twist``.
        """
        formats = {"text": text_format, "json": json_format}
        if self.form not in formats or not self._has_info:
            return None
        worker = assigned()
        form = formats[self.form](None if worker is None else worker.number)
        self._accesses = BatchedLog(reactor, form, self._write)
        return self._accesses

    def _write(self, text: str) -> None:
        if self._out is not None:
            # Such as a full disk. What is to be logged of it could not be written either.
            with suppress(OSError):
                self._out.write(text)
                self._out.flush()

    def flush(self) -> None:
        """Write the accesses that wait."""
        if self._accesses is not None:
            self._accesses.flush()

    def close(self) -> None:
        """Write the accesses that wait, and later ones at once, for the reactor stops."""
        if self._accesses is not None:
            self._accesses.close()

    @property
    def is_file(self) -> bool:
        """Whether it is a file that the server opens itself."""
        return self._file is not None or bool(self._path)

    def copy(self, lines: bytes) -> None:
        """Write lines that a worker has made."""
        if self._file is not None:
            self._file.write(lines)

    def reopen(self) -> Path | None:
        """Continue in the file that has the log's name now.

        :return: its path; None if the log is not a file.

        :raises OSError: it cannot be opened. The previous file stays open.
        """
        if self._file is None:
            return None
        self.flush()
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
