"""Threads of a thread pool."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from threading import Thread, get_native_id

#: How much nicer than the rest of the process a `PatientThread` is (see nice(2)).
NICENESS = 10


class PoolThread(Thread):
    """A thread that a pool can stop where the system has not started it.

    Twisted's pool keeps each thread that it was to start, and waits for all of them at its end.
    """

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread's end, if it was started."""
        if self.ident is not None:
            super().join(timeout)


class PatientThread(PoolThread):
    """A thread for long computations. The system prefers the reactor and the store to it.

    One argon2id is computed by four threads, so two of them fill eight processors. Only Linux has a
    priority for each thread. A thread inherits that of the one that starts it.
    """

    def run(self) -> None:
        """Run at a lower priority."""
        if sys.platform == "linux":
            thread = get_native_id()
            # A sandbox may forbid it. Without it the passwords are hashed all the same.
            with suppress(OSError):
                before = os.getpriority(os.PRIO_PROCESS, thread)
                os.setpriority(os.PRIO_PROCESS, thread, before + NICENESS)
        super().run()
