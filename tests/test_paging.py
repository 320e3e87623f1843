"""Walking through a list that a store returns in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from twisted.internet.defer import Deferred

from djoauth2_twisted import paging
from djoauth2_twisted.models import Page
from djoauth2_twisted.paging import entries
from djoauth2_twisted.testing.requests import result_of


def taken(numbers: AsyncIterator[int], enough: int | None = None) -> list[int]:
    """The numbers up to one that is enough."""

    async def take() -> list[int]:
        found: list[int] = []
        async for number in numbers:
            found.append(number)
            if number == enough:
                break
        return found

    return result_of(Deferred.fromCoroutine(take()))


class Numbers:
    """A list of the numbers from 0 on, which keeps the pages that it was asked for."""

    def __init__(self, count: int) -> None:
        self.asked: list[Page] = []
        self._all = list(range(count))

    async def read(self, page: Page) -> list[int]:
        self.asked.append(page)
        return [number for number in self._all if (number,) > page.after][: page.size]


def by_itself(number: int) -> tuple[int]:
    """The key of a number in the list."""
    return (number,)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_SIZE", 3)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize("most", [None, 0, 1, 3, 4, 6, 100])
def test_every_entry_comes_once_up_to_the_most(count: int, most: int | None) -> None:
    numbers = Numbers(count)
    assert taken(entries(numbers.read, by_itself, most=most)) == list(range(count))[:most]
    assert sum(page.size for page in numbers.asked) <= max(3 * (count // 3 + 1), most or 0)


def test_no_page_is_read_before_it_is_needed() -> None:
    numbers = Numbers(7)
    assert taken(entries(numbers.read, by_itself), enough=2) == [0, 1, 2]
    assert numbers.asked == [Page(0, 3)]


def test_a_page_that_is_not_full_is_the_last() -> None:
    numbers = Numbers(4)
    assert taken(entries(numbers.read, by_itself)) == [0, 1, 2, 3]
    assert numbers.asked == [Page(0, 3), Page(0, 3, (2,))]
