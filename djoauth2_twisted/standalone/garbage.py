"""Garbage collection that stops the reactor rarely, and only for a short time.

Python's collector goes through all objects again and again, to find those that only refer to each
other. With 4,000 connections, that stops the reactor for 160 ms, and finds hardly anything. So here, an
object that has survived a collection of the middle generation is exempt from the next ones, until there
is twice as much in memory as when all objects were last looked at. An exempt object is still freed at
once when nothing refers to it any more.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping

#: All objects are looked at again when the blocks of memory in use have grown by this factor. Python
#: counts these blocks in microseconds. Counting the exempt objects would take as long as a collection.
GROWTH = 2

#: The thresholds of the generations. Python counts new objects minus freed ones. Where connections come
#: and go at the same rate, its 700 are reached late, and the youngest generation becomes large.
THRESHOLDS = 200, 10, 10


class GarbageCollection:
    """The garbage collection of this process, between `start` and `stop`."""

    def __init__(self) -> None:
        #: With how many blocks in use the next collection looks at all objects.
        self._limit = 0

    def start(self) -> None:
        """Exempt what exists now, and from now on what survives.

        To look for garbage first would take longer than the garbage of a start is worth.
        """
        self._exempt_all()
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self.watch)

    def stop(self) -> None:
        """Exempt nothing more."""
        if self.watch in gc.callbacks:
            gc.callbacks.remove(self.watch)
            gc.set_threshold(*self._thresholds)

    def watch(self, phase: str, info: Mapping[str, int]) -> None:
        """Handle the begin or the end of a collection; see `gc.callbacks`."""
        generation = info["generation"]
        if phase == "start" and generation == 2 and sys.getallocatedblocks() > self._limit:
            gc.unfreeze()
            self._limit = 0
        elif phase == "stop" and generation > 0:
            if self._limit:
                gc.freeze()
            else:
                self._exempt_all()

    def _exempt_all(self) -> None:
        gc.freeze()
        self._limit = GROWTH * sys.getallocatedblocks()
