"""The terminal of a daemon that is starting."""

from __future__ import annotations

import os
from contextlib import suppress

_STANDARD_ERROR = 2


class Terminal:
    """Standard error as it was before ``twistd`` went into the background.

    The parent of a daemon prints only the first 100 bytes of an error.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None
        with suppress(OSError):  # standard error is closed
            self._descriptor = os.dup(_STANDARD_ERROR)

    def tell(self, line: str) -> bool:
        """Print a line if the process is in the background. Returns whether it is."""
        if self._descriptor is None or os.path.sameopenfile(self._descriptor, _STANDARD_ERROR):
            return False
        with suppress(OSError):  # the terminal is closed
            os.write(self._descriptor, f"{line}\n".encode("utf-8", "backslashreplace"))
        return True

    def close(self) -> None:
        """Let go of the terminal. A daemon must not keep it open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
