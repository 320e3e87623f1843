"""The log as JSON: one object in a line for each event (``--log-format json``)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import IO, Any

from twisted.logger import FileLogObserver, formatEvent

#: The longest message or field, in characters. The rest is cut off.
MAX_LENGTH = 4096

#: The longest traceback, in characters. Its end is kept.
MAX_TRACEBACK_LENGTH = 16 * 1024

# What Twisted adds to events for observers of an older kind.
_LEGACY = frozenset({"format", "isError", "message", "system", "time", "failure", "why"})


def as_json_line(event: dict[str, Any]) -> str | None:
    """An event as a line. None if it has no message.

    The members are ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``; ``traceback`` where
    something has failed; and ``fields`` with the values that the message is made of.
    """
    message = formatEvent(event)
    failure = event.get("log_failure")
    if not message and failure is None:
        return None
    time = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    level = event.get("log_level")
    line: dict[str, Any] = {
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level.name if level is not None else "info",
        "logger": event.get("log_namespace", ""),
        "message": message[:MAX_LENGTH],
    }
    if failure is not None:
        line["traceback"] = failure.getTraceback()[-MAX_TRACEBACK_LENGTH:]
    fields = {name: _plain(value) for name, value in event.items() if _is_field(name)}
    if fields:
        line["fields"] = fields
    return json.dumps(line) + "\n"


def _is_field(name: str) -> bool:
    return not name.startswith("log_") and name not in _LEGACY


def _plain(value: object) -> object:
    """A value that JSON has, or else its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:MAX_LENGTH]


def json_log_observer(file: IO[Any]) -> FileLogObserver:
    """An observer that writes events to a file as JSON."""
    return FileLogObserver(file, as_json_line)
