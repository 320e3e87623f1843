"""Threads of a thread pool."""

from __future__ import annotations

from threading import Thread


class PoolThread(Thread):
    """A thread that a pool can stop where the system has not started it.

    Twisted's pool keeps each thread that it was to start, and waits for all of them at its end.
    """

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread's end, if it was started."""
        if self.ident is not None:
            super().join(timeout)
