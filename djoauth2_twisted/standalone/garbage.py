"""Garbage collection that stops the reactor rarely, and only for a short time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

#: A collection of all objects that takes longer than this is a long one, in seconds.
LONG = 0.05

#: How many collections of the middle generation come before one of all objects: normally as in Python,
#: and after a long one. Thousands of connections make it long, and it finds little then. A short one
#: stays frequent, so that garbage does not make the next one long.
FREQUENT, RARE = 10, 100


class GarbageCollection:
    """The garbage collection of this process.

    :param seconds: a clock, in seconds.
    """

    def __init__(self, seconds: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = seconds
        self._begun = 0.0

    def start(self) -> None:
        """Exempt what exists now, and adapt how often all objects are collected until `stop`.

        The modules and the schema live as long as the process. To go through them again and again would
        stop the reactor for some 80 ms each time.
        """
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self.watch)

    def stop(self) -> None:
        """Adapt it no longer."""
        if self.watch in gc.callbacks:
            gc.callbacks.remove(self.watch)
            _collect_all_after(FREQUENT)

    def watch(self, phase: str, info: Mapping[str, int]) -> None:
        """Note the begin or the end of a collection; see `gc.callbacks`."""
        if info["generation"] < 2:
            return
        if phase == "start":
            self._begun = self._seconds()
        else:
            _collect_all_after(RARE if self._seconds() - self._begun > LONG else FREQUENT)


def _collect_all_after(collections: int) -> None:
    gc.set_threshold(*gc.get_threshold()[:2], collections)
