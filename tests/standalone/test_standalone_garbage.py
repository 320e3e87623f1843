"""Garbage collection adapts to how long it stops the reactor."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from djoauth2_twisted.standalone.garbage import FREQUENT, LONG, RARE, GarbageCollection


@pytest.fixture(autouse=True)
def _kept() -> Iterator[None]:
    """The collector as it was."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    yield
    gc.set_threshold(*before)
    if not frozen:
        gc.unfreeze()


def _collect(collection: GarbageCollection, clock: Clock, seconds: float, generation: int = 2) -> int:
    """Let a collection take so long. Returns the threshold of the next one of all objects."""
    info = {"generation": generation}
    collection.watch("start", info)
    clock.advance(seconds)
    collection.watch("stop", info)
    return gc.get_threshold()[2]


def test_all_objects_are_collected_rarely_after_that_has_taken_long() -> None:
    clock = Clock()
    collection = GarbageCollection(clock.seconds)
    assert _collect(collection, clock, LONG * 2) == RARE
    assert _collect(collection, clock, LONG * 2) == RARE
    assert _collect(collection, clock, LONG / 2) == FREQUENT


def test_collections_of_young_objects_change_nothing() -> None:
    clock = Clock()
    collection = GarbageCollection(clock.seconds)
    before = gc.get_threshold()
    for generation in (0, 1):
        _collect(collection, clock, LONG * 2, generation)
    assert gc.get_threshold() == before


def test_it_is_adapted_only_between_start_and_stop() -> None:
    collection = GarbageCollection()
    collection.start()
    assert collection.watch in gc.callbacks
    collection.stop()
    collection.stop()
    assert collection.watch not in gc.callbacks
    assert gc.get_threshold()[2] == FREQUENT
