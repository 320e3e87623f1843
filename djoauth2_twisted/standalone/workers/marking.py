"""The log of a worker: each line says which worker has written it."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LogLevel,
    jsonFileLogObserver,
    textFileLogObserver,
)
from zope.interface import implementer

from ..json_log import json_log_observer
from .assignment import Assignment

_FORMATS: dict[str, Callable[[IO[Any]], FileLogObserver]] = {
    "text": textFileLogObserver,
    "json": json_log_observer,
    "twisted-json": jsonFileLogObserver,
}


@implementer(ILogObserver)
class WorkerLog:
    """Writes the events of a worker, with its number.

    In a text the number stands before the event's source, as in ``[worker 2 djoauth2...#info]``. In JSON
    it is the field ``worker``.

    :param file: where to write.
    """

    def __init__(self, assignment: Assignment, file: IO[Any]) -> None:
        self._number = assignment.number
        self._lowest = LogLevel.levelWithName(assignment.log_level)
        self._write = _FORMATS[assignment.log_format](file)

    def __call__(self, event: Any) -> None:
        """Write an event; see ILogObserver."""
        level = event.get("log_level", LogLevel.info)
        if level < self._lowest:
            return
        source = event.get("log_system") or f"{event.get('log_namespace', '-')}#{level.name}"
        marked = {**event, "log_system": f"worker {self._number} {source}", "worker": self._number}
        self._write(marked)
