"""The access log in a file: its lines are made and written together, not one by one.

The lines are those that the log of all events would have. They are made some time after the request, and
are in order with all other lines of the file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import formatTime

from ..web.access_log import Answered
from ..web.site import LimitedSite

#: The longest time that a line waits, in seconds.
INTERVAL = 0.1

#: The most lines that wait.
MAX_WAITING = 500

#: The most characters that are written at once. Processes that share a pipe do not tear the lines of
#: each other as long as a write has no more than this (PIPE_BUF, pipe(7)).
PIECE = 4096

_SOURCE = f"{LimitedSite.__module__}.{LimitedSite.__name__}"

#: Makes a line of the text of an access and its time, in seconds since the epoch.
Format = Callable[[str, float], str]


def text_format(worker: int | None) -> Format:
    """The format of a text log.

    :param worker: the number of this worker; None if it is none.
    """
    source = f"{_SOURCE}#info" if worker is None else f"worker {worker} {_SOURCE}#info"
    second, stamp = -1, ""

    def form(line: str, when: float) -> str:
        nonlocal second, stamp
        # The text has whole seconds.
        if int(when) != second:
            second, stamp = int(when), formatTime(when)
        return f"{stamp} [{source}] {line}\n"

    return form


def json_format(worker: int | None) -> Format:
    """The format of a JSON log; see `json_log`."""
    more = "" if worker is None else f', "worker": {worker}'

    def form(line: str, when: float) -> str:
        stamp = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
        text = json.dumps(line)
        return (
            f'{{"time": "{stamp.replace("+00:00", "Z")}", "level": "info", "logger": "{_SOURCE}", '
            f'"message": {text}, "fields": {{"line": {text}{more}}}}}\n'
        )

    return form


class BatchedLog:
    """Keeps requests until it is time to write their lines.

    :param form: makes a line.
    :param write: writes one or more lines.
    """

    def __init__(self, reactor: IReactorTime, form: Format, write: Callable[[str], object]) -> None:
        self._reactor = reactor
        self._form = form
        self._write = write
        self._waiting: list[tuple[Answered, float]] = []
        self._due: IDelayedCall | None = None
        self._is_closed = False

    def add(self, answered: Answered) -> None:
        """Write the line of a request soon; see `AccessLog`."""
        self._waiting.append((answered, time.time()))
        if len(self._waiting) >= MAX_WAITING or self._is_closed:
            self.flush()
        elif self._due is None:
            self._due = self._reactor.callLater(INTERVAL, self._on_time)

    def _on_time(self) -> None:
        self._due = None
        self.flush()

    def flush(self) -> None:
        """Write all lines that wait."""
        waiting, self._waiting = self._waiting, []
        piece: list[str] = []
        size = 0
        for answered, when in waiting:
            line = self._form(answered.line(), when)
            if piece and size + len(line) > PIECE:
                self._write("".join(piece))
                piece, size = [], 0
            piece.append(line)
            size += len(line)
        if piece:
            self._write("".join(piece))

    def close(self) -> None:
        """Write all lines that wait, and from now on each at once, for the reactor stops."""
        self._is_closed = True
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self.flush()
