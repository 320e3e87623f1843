"""Finding the client of a request for clients: in the cache, or in the registry."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from .cache import Cache
from .interfaces import IClientFeed, IClients
from .models import Client


class ClientLookup:
    """Finds clients, and caches them if the registry provides `IClientFeed`.

    :param size: the most clients in the cache; 0 for no cache.
    """

    def __init__(self, registry: IClients, size: int) -> None:
        self._registry = registry
        self._cache = _cache_of(registry, size) if size and IClientFeed.providedBy(registry) else None

    def recall(self, client_id: str) -> Client | None:
        """A client that is cached and has not changed."""
        return None if self._cache is None else self._cache.recall(client_id)

    def find(self, client_id: str) -> Deferred[Client | None]:
        """A client as the registry has it now; see `IClients.find_client`."""
        find = self._registry.find_client
        return find(client_id) if self._cache is None else self._cache.look_up(client_id, find)


def _cache_of(feed: IClientFeed, size: int) -> Cache[str, Client]:
    """A cache of clients by their ids."""
    cache: Cache[str, Client] = Cache(feed.clients_are_current, _partition_of, size)
    feed.subscribe_to_clients(cache.invalidate)
    return cache


def _partition_of(client: Client) -> None:
    """All clients are in one partition: they change seldom, and the feed does not say which did."""
