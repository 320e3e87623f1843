"""Walks through a list that a store returns in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from .models import Page, User

_T = TypeVar("_T")

#: How many entries are read at once.
PAGE_SIZE = 500


async def entries(
    read: Callable[[Page], Awaitable[list[_T]]],
    *,
    key: Callable[[_T], tuple[int | str, ...]] | None = None,
    most: int | None = None,
) -> AsyncIterator[_T]:
    """The entries of a list, one after the other. A page is read when its first entry is asked for.

    :param read: reads a page. A page that is not full is the last one.
    :param key: the key of an entry, for a list that defines one (`Page.after`). Without it, each page is
        slower than the page before.
    :param most: stop after this many entries.
    """
    offset, left = 0, most
    after: tuple[int | str, ...] = ()
    while left is None or left > 0:
        size = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
        page = await read(Page(offset, size, after))
        for entry in page:
            yield entry
        if len(page) < size:
            return
        if key is None:
            offset += size
        else:
            after = key(page[-1])
        left = None if left is None else left - size


def by_username(user: User) -> tuple[str]:
    """The key of a user in the list of users."""
    return (user.username,)
