"""The dictionaries of the registry, and the steps that several nouns share.

A step is atomic because nothing in it waits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any, TypeVar

import attrs

from ...errors import AlreadyExists, NotFound
from ...models import Client, Event, Image, LogoutNotice, Scope, SecondFactor, Session, SigningKey, User
from ..invalidation import InvalidationFeed

_K = TypeVar("_K")
_V = TypeVar("_V")


class Tables:
    """One dictionary for each noun. All are here, since some steps change two of them."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._client_feed = InvalidationFeed()
        self._images: dict[str, Image] = {}
        self._scopes: dict[str, Scope] = {}
        self._users: dict[str, User] = {}
        #: The names of the users, by their folded form.
        self._folded_names: dict[str, str] = {}
        self._sessions: dict[bytes, Session] = {}
        #: The second factors, by subject.
        self._second_factors: dict[str, SecondFactor] = {}
        self._notices: dict[str, LogoutNotice] = {}
        #: How full a bucket was when it was last counted in, and when that was.
        self._buckets: dict[bytes, tuple[float, int]] = {}
        #: The holder of a lease, and when it expires.
        self._leases: dict[str, tuple[str, int]] = {}
        self._signing_keys: dict[str, SigningKey] = {}
        #: The users from elsewhere by their subjects; None for those who were deleted.
        self._subjects: dict[str, str | None] = {}
        self._events: dict[str, Event] = {}
        #: The counts of each hour, by the kind of event.
        self._statistics: defaultdict[int, Counter[str]] = defaultdict(Counter)


def add(table: dict[_K, _V], key: _K, value: _V, noun: str) -> None:
    """Add a value. Raises `AlreadyExists`."""
    if key in table:
        raise AlreadyExists(f"there is a {noun} of that name")
    table[key] = value


def update(
    table: dict[_K, Any], key: _K, value: Any, noun: str, only: Collection[str] | None = None
) -> None:
    """Replace a value, or only some of its fields. Raises `NotFound`."""
    require(table, key, noun)
    if only is not None:
        value = attrs.evolve(table[key], **{name: getattr(value, name) for name in only})
    table[key] = value


def delete(table: dict[_K, _V], key: _K, noun: str) -> None:
    """Delete a value. Raises `NotFound`."""
    require(table, key, noun)
    del table[key]


def require(table: dict[_K, _V], key: _K, noun: str) -> None:
    """Raise `NotFound` where there is no such key."""
    if key not in table:
        raise NotFound(f"there is no such {noun}")


def contains(search: str, *texts: str) -> bool:
    """Whether one of the texts contains another, in capitals or not."""
    return any(search.lower() in text.lower() for text in texts)
