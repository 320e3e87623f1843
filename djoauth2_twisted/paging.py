"""Walks through a list that a store returns in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from .models import Client, Event, Grant, Page, User

_T = TypeVar("_T")

#: What a list is sorted by: numbers and texts, as many as tell its entries apart.
Key = tuple[int | str, ...]

#: How many entries are read at once.
PAGE_SIZE = 500


async def entries(
    read: Callable[[Page], Awaitable[list[_T]]],
    key: Callable[[_T], Key],
    *,
    most: int | None = None,
) -> AsyncIterator[_T]:
    """The entries of a list, one after the other. A page is read when its first entry is asked for.

    An entry that exists during the whole walk comes once, even if others are added or deleted meanwhile.

    :param read: reads a page. A page that is not full is the last one.
    :param key: the key of an entry, by which the list is sorted (`Page.after`).
    :param most: stop after this many entries.
    """
    left = most
    after: Key = ()
    while left is None or left > 0:
        size = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
        page = await read(Page(size=size, after=after))
        for entry in page:
            yield entry
        if len(page) < size:
            return
        after = key(page[-1])
        left = None if left is None else left - size


def by_username(user: User) -> tuple[str]:
    """The key of a user in the list of users."""
    return (user.username,)


def newest_first(event: Event) -> tuple[int, str]:
    """The key of an event in the audit trail."""
    return (event.time, event.id)


def by_name(client: Client) -> tuple[str, str]:
    """The key of a client in the list of clients."""
    return (client.name, client.client_id)


def by_age(grant: Grant) -> tuple[int, str]:
    """The key of a grant in the list of grants."""
    return (grant.created, grant.id)
