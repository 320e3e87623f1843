"""A cache of values from a store. A value stays until the store reports that it has changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

_K = TypeVar("_K")
_V = TypeVar("_V")


class Cache(Generic[_K, _V]):
    """Values by key. A full cache drops the least recently used value.

    It returns no value while the invalidation feed is not current.

    :param is_current: whether `invalidate` was called for all that has changed; see `IInvalidationFeed`.
    :param partition_of: the partition that a value belongs to.
    :param size: the most values in the cache.
    """

    def __init__(
        self, is_current: Callable[[], bool], partition_of: Callable[[_V], Hashable], size: int
    ) -> None:
        self.is_current = is_current
        self._partition_of = partition_of
        self._size = size
        self._values: OrderedDict[_K, _V] = OrderedDict()
        self._partitions: dict[Hashable, set[_K]] = {}
        #: The number of invalidations so far; then its value at the last invalidation of each partition,
        #: and at the last invalidation of all partitions.
        self._generation = 0
        self._invalidated: dict[Hashable, int] = {}
        self._all_invalidated = 0
        #: How many look-ups the cache has answered, and how many it has not.
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._values)

    def recall(self, key: _K) -> _V | None:
        """A cached value. It has not been invalidated. The caller counts it in `hits` if it is used."""
        # The question also tells the feed that it is used, so it is asked where there is no value, too.
        if not self.is_current() or key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def look_up(self, key: _K, find: Callable[[_K], Deferred[_V | None]]) -> Deferred[_V | None]:
        """Find a value in the store, and cache it, unless it was invalidated since the look-up began.

        :param find: asks the store. If it finds None, nothing is cached.
        """
        self.misses += 1
        generation = self._generation
        return find(key).addCallback(self._put, key, generation)

    def _put(self, found: _V | None, key: _K, generation: int) -> _V | None:
        if found is None:
            # The value was deleted, and the feed has not reported it yet. It must not be returned again.
            if key in self._values:
                self._drop(key, self._values.pop(key))
            return None
        partition = self._partition_of(found)
        if generation >= self._all_invalidated and generation >= self._invalidated.get(partition, 0):
            self._values[key] = found
            self._values.move_to_end(key)
            self._partitions.setdefault(partition, set()).add(key)
            if len(self._values) > self._size:
                self._drop(*self._values.popitem(last=False))
        return found

    def _drop(self, key: _K, value: _V) -> None:
        partition = self._partition_of(value)
        keys = self._partitions[partition]
        keys.remove(key)
        if not keys:
            del self._partitions[partition]

    def invalidate(self, partitions: Collection[Hashable] | None = None) -> None:
        """Forget the values of some partitions, or all.

        :param partitions: None for all.
        """
        self._generation += 1
        if partitions is None:
            self._values.clear()
            self._partitions.clear()
        else:
            for partition in partitions:
                self._invalidated[partition] = self._generation
                for key in self._partitions.pop(partition, ()):
                    del self._values[key]
        if partitions is None or len(self._invalidated) > self._size:
            # This bounds the memory. The results of look-ups under way are then not cached.
            self._invalidated.clear()
            self._all_invalidated = self._generation
