"""Stop a process for a while."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from waiting import wait_for


def stop(pid: int) -> None:
    """Stop a process until it gets SIGCONT, and wait until none of its threads runs.

    On a busy machine, its threads may run on for 20 ms after the signal.
    """
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: _states(pid) <= {"T", "Z"}, f"the stop of {pid}")


def _states(pid: int) -> set[str]:
    """The states of its threads (proc_pid_stat(5)); none if it has ended."""
    states = set()
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):
            states.add(path.read_text("utf-8", "replace").rpartition(")")[2].split()[0])
    return states
