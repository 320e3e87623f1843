"""Runs a program of Python at a time of a test's own: ``passing_time.py FILE PROGRAM [ARGUMENT ...]``.

The program's time is the system's time and the seconds that the file has. So a test lets hours pass at
once, also for a server that runs already. Of the product, nothing is changed.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path


def shifted(file: Path, system: Callable[[], float]) -> Callable[[], float]:
    """The system's time and the seconds in a file, which is never empty."""
    return lambda: system() + float(file.read_text("ascii"))


if __name__ == "__main__":
    del sys.argv[0]
    # Before Twisted is imported, since it keeps the function.
    time.time = shifted(Path(sys.argv.pop(0)), time.time)
    runpy.run_path(sys.argv[0], run_name="__main__")
