"""The lines of the access log."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Protocol

from ..printable import printable

#: How much of a method or a path a line has, in bytes.
_MAX_LENGTH = 200


class Answered(NamedTuple):
    """A request that has ended, for the access log.

    :param address: the client's.
    :param uri: as it was sent. The line has the path alone.
    :param size: how many bytes the answer's body had.
    :param request_id: empty if it was not needed.
    """

    address: str
    method: bytes
    uri: bytes
    code: int
    size: int
    request_id: str

    def line(self) -> str:
        """The line. It has no query, which may contain codes and states (RFC 9700, section 4.2.4)."""
        method = _as_text(self.method[:_MAX_LENGTH])
        path = _as_text(self.uri.partition(b"?")[0][:_MAX_LENGTH])
        line = f"{self.address} {method} {path} {self.code} {self.size}"
        return f"{line} [{self.request_id}]" if self.request_id else line


class AccessLog(Protocol):
    """Where the access log is written."""

    def add(self, answered: Answered) -> None:
        """Write the line of a request, now or soon."""


@lru_cache(1024)
def _as_text(sent: bytes) -> str:
    return printable(sent.decode("ascii", "backslashreplace"))
