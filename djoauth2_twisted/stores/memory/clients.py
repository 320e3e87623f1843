"""Clients and their pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from ...errors import ChangedMeanwhile
from ...interfaces import IClientFeed, IClients
from ...models import Client, Image, Page
from .tables import Tables, add, contains, delete, require, update


@implementer(IClients, IClientFeed)
class MemoryClients(Tables):
    """`IClients` in memory."""

    def subscribe_to_clients(self, invalidate: Callable[[], None]) -> None:
        self._client_feed.subscribe(lambda _: invalidate())

    def clients_are_current(self) -> bool:
        return self._client_feed.is_current()

    def add_client(self, client: Client, image: Image | None = None) -> Deferred[None]:
        return maybeDeferred(self._add_client, client, image)

    def _add_client(self, client: Client, image: Image | None) -> None:
        add(self._clients, client.client_id, client, "client")
        if image is not None:
            self._set_image(client.client_id, image)

    def find_client(self, client_id: str) -> Deferred[Client | None]:
        return succeed(self._clients.get(client_id))

    def update_client(
        self, client: Client, only: Collection[str] | None = None, instead_of: bytes | None = None
    ) -> Deferred[None]:
        return maybeDeferred(self._update_client, client, only, instead_of)

    def _update_client(
        self, client: Client, only: Collection[str] | None, instead_of: bytes | None
    ) -> None:
        image = self._images.get(client.client_id)
        stored = self._clients.get(client.client_id)
        last_used = None if stored is None else stored.last_used
        client = attrs.evolve(client, image_digest=_digest_of(image), last_used=last_used)
        if stored is not None and instead_of not in (None, stored.secret_digest):
            raise ChangedMeanwhile()
        update(self._clients, client.client_id, client, "client", only)
        self._client_feed.publish(None)

    def delete_client(self, client_id: str) -> Deferred[None]:
        return maybeDeferred(self._delete_client, client_id)

    def _delete_client(self, client_id: str) -> None:
        delete(self._clients, client_id, "client")
        self._images.pop(client_id, None)
        self._client_feed.publish(None)

    def set_image(self, client_id: str, image: Image | None) -> Deferred[None]:
        return maybeDeferred(self._set_image, client_id, image)

    def _set_image(self, client_id: str, image: Image | None) -> None:
        require(self._clients, client_id, "client")
        self._images.pop(client_id, None)
        if image is not None:
            self._images[client_id] = image
        client = attrs.evolve(self._clients[client_id], image_digest=_digest_of(image))
        self._clients[client_id] = client
        self._client_feed.publish(None)

    def find_image(self, client_id: str) -> Deferred[Image | None]:
        return succeed(self._images.get(client_id))

    def note_uses(self, uses: Mapping[str, int]) -> Deferred[None]:
        for client_id, time in uses.items():
            client = self._clients.get(client_id)
            if client is not None and (client.last_used or 0) < time:
                self._clients[client_id] = attrs.evolve(client, last_used=time)
        return succeed(None)

    def clients(self, page: Page, search: str = "") -> Deferred[list[Client]]:
        clients = sorted(self._clients.values(), key=lambda client: (client.name, client.client_id))
        found = [
            each
            for each in clients
            if (each.name, each.client_id) > page.after and contains(search, each.name, each.client_id)
        ]
        return succeed(found[page.offset : page.offset + page.size])


def _digest_of(image: Image | None) -> bytes | None:
    return None if image is None else image.digest
