"""Pages and counts of grants, read in batches: while a script runs, Redis answers no other client."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred

from ...interfaces import MAX_COUNTED
from ...models import Grant, GrantFilter, Page
from . import scripts
from .connection import Redis
from .keys import Keys, short
from .records import read_grant

#: How many grants one script looks at.
BATCH = 500


@frozen
class GrantLists:
    """What a store's sorted sets say of its grants."""

    _redis: Redis
    _keys: Keys

    async def grants(self, filter: GrantFilter, page: Page) -> list[Grant]:
        """A page of grants, oldest first.

        Each batch begins after the last grant of the one before, by its key. So no grant comes twice or
        is left out where others are added or deleted between two batches.
        """
        client_id = None if filter.username is None else filter.client_id
        index, wanted = self._keys.grants(filter), wanted_json(client_id, None)
        score, last = page.after or ("", "")
        skip = page.offset
        found: list[bytes] = []
        while len(found) < page.size:
            missing = skip + page.size - len(found)
            arguments: list[str | int | bytes] = [self._keys.prefix, wanted, score, last, BATCH, missing]
            looked_at, score, last, *batch = await self._redis.read(scripts.LIST, [index], arguments)
            found += batch[skip:]
            skip = max(skip - len(batch), 0)
            if looked_at < BATCH:
                break
        return [grant for grant in map(read_grant, found) if grant is not None]

    async def clients_of(self, username: str, after: str, limit: int) -> list[str]:
        """See `ITokenStore`."""
        index = self._keys.user_grants(username)
        found: set[str] = set()

        def look(first: int, last: int) -> Deferred[int]:
            def add(clients: list[bytes]) -> int:
                found.update(each.decode() for each in clients)
                return 0

            arguments: list[str | int] = [self._keys.prefix, first, last]
            return self._redis.read(scripts.CLIENTS, [index], arguments).addCallback(add)

        await self.in_batches(index, look)
        return sorted(each for each in found if each > after)[:limit]

    def in_use(self, username: str, client_id: str, limit: int) -> Deferred[list[Grant]]:
        """See `ITokenStore.grants_in_use`."""

        def read(records: list[bytes]) -> list[Grant]:
            return [grant for grant in map(read_grant, records) if grant is not None]

        index = self._keys.user_client_grants(username, client_id)
        arguments: list[str | int] = [self._keys.prefix, BATCH, limit]
        return self._redis.read(scripts.IN_USE, [index], arguments).addCallback(read)

    async def count(self, filter: GrantFilter, scope: str | None) -> int:
        """How many grants there are, up to one more than `MAX_COUNTED`."""
        index, enough = self._keys.grants(filter), MAX_COUNTED + 1
        if scope is None and None in (filter.username, filter.client_id):
            return min(await self._size(index), enough)
        wanted = wanted_json(filter.client_id, scope)

        def count(first: int, last: int) -> Deferred[int]:
            arguments: list[str | int] = [self._keys.prefix, wanted, first, last]
            return self._redis.read(scripts.COUNT, [index], arguments)

        return min(await self.in_batches(index, count, enough), enough)

    async def in_batches(
        self, index: str, step: Callable[[int, int], Deferred[int]], enough: int = sys.maxsize
    ) -> int:
        """Take a step on each batch of a set, and add up the results.

        The last batch comes first: where a step removes its batch, the ranks of the others stay.

        :param step: called with the first and the last rank of a batch.
        :param enough: stop when the sum has reached this.
        """
        total, left = 0, await self._size(index)
        while left > 0 and total < enough:
            first = max(left - BATCH, 0)
            total += await step(first, left - 1)
            left = first
        return total

    def _size(self, index: str) -> Deferred[int]:
        return self._redis.read(scripts.SIZE, [index], [])


def wanted_json(client_id: str | None, scope: str | None) -> str:
    """Which grants of a set a script takes: of a client, with a scope. None: any."""
    # Bytes that are not UTF-8 are not the name of a scope, and the replacement does not change that.
    name = scope and scope.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    client = None if client_id is None else short(client_id)
    return json.dumps({"client": client, "scope": name})
