"""What has survived a collection is exempt from the next ones, until much more is exempt."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from djoauth2_twisted.standalone.garbage import GROWTH, GarbageCollection


class Ring:
    """An object that only a collection can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collection() -> Iterator[GarbageCollection]:
    """Garbage collection that has started. What was exempt before is exempt afterwards."""
    frozen = gc.get_freeze_count()
    started = GarbageCollection()
    started.start()
    yield started
    started.stop()
    if frozen:
        gc.freeze()
    else:
        gc.unfreeze()


def _ring() -> tuple[Ring, weakref.ref[Ring]]:
    ring = Ring()
    return ring, weakref.ref(ring)


@pytest.mark.parametrize("generation", [1, 2])
def test_what_survives_is_exempt_until_many_are(collection: GarbageCollection, generation: int) -> None:
    ring, freed = _ring()
    gc.collect(generation)
    del ring
    gc.collect()
    assert freed() is not None

    many = [object() for _ in range(GROWTH * sys.getallocatedblocks())]
    gc.collect(1)
    gc.collect()
    assert freed() is None

    # Now that there are so many, the next ones are looked at when they have grown as much.
    ring, freed = _ring()
    gc.collect()
    del ring
    more = [object() for _ in many[: len(many) // 4]]
    gc.collect()
    gc.collect()
    assert freed() is not None
    del more


def test_what_survives_only_a_collection_of_the_youngest_is_not_exempt(
    collection: GarbageCollection,
) -> None:
    ring, freed = _ring()
    gc.collect(0)
    del ring
    gc.collect()
    assert freed() is None


def test_an_exempt_object_without_references_is_freed_at_once(collection: GarbageCollection) -> None:
    held = {Ring}
    freed = weakref.ref(held)
    gc.collect()
    del held
    assert freed() is None


def test_nothing_is_exempt_after_the_end(collection: GarbageCollection) -> None:
    collection.stop()
    collection.stop()
    assert collection.watch not in gc.callbacks
    ring, freed = _ring()
    gc.collect()
    del ring
    gc.collect()
    assert freed() is None
