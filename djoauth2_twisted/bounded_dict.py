"""A dictionary of bounded size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class BoundedDict(Generic[_K, _V]):
    """A dictionary of bounded size. Where it is full, the entry that was set longest ago is dropped."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[_K, _V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: _K) -> bool:
        return key in self._entries

    def get(self, key: _K) -> _V | None:
        """The entry of a key, or None."""
        return self._entries.get(key)

    def items(self) -> Iterable[tuple[_K, _V]]:
        """The entries with their keys, of which the one that was set last is the last."""
        return self._entries.items()

    def set(self, key: _K, value: _V) -> None:
        """Keep a value as the newest."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def discard(self, key: _K) -> None:
        """Forget an entry, if there is one."""
        self._entries.pop(key, None)
