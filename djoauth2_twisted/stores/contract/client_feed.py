"""The contract of a registry that also provides `IClientFeed`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from ...errors import ChangedMeanwhile, NotFound
from ...interfaces import IClientFeed
from ...models import Client, Image, Scope
from .samples import NOW, new_client, random_digest
from .steps import assert_fails, at_once, until


class ClientFeedContract:
    """All that `IClientFeed` promises. Needs the fixture ``registry``."""

    def test_provides_the_interface_of_the_client_feed(self, registry: Any) -> None:
        """The registry declares `IClientFeed` and has all of its methods."""
        verifyObject(IClientFeed, registry)

    async def test_change_of_a_client_is_reported_before_it_is_answered(self, registry: Any) -> None:
        """CA-27: a new secret, a disabled client, a picture, a deleted scope, a deleted client."""
        changes = await Changes.of(registry)
        verbs: tuple[Callable[[Client], Deferred[Any]], ...] = (
            lambda client: registry.update_client(
                attrs.evolve(client, secret_digest=random_digest()), {"secret_digest"}
            ),
            lambda client: registry.update_client(attrs.evolve(client, disabled=True)),
            lambda client: registry.set_image(client.client_id, Image("image/png", b"x")),
            lambda client: registry.delete_scope("read"),
            lambda client: registry.delete_client(client.client_id),
        )
        for change in verbs:
            client = new_client(scopes=("read",))
            await registry.add_client(client)
            if "read" not in await registry.find_scopes(("read",)):
                await registry.add_scope(Scope("read", ""))
            changes.forget()
            assert await change(client).addCallback(changes.at_answer)
            assert await registry.find_client(client.client_id) != client

    async def test_what_changes_no_client_is_not_reported(self, registry: Any) -> None:
        """Neither a use of a client, a new client, a look-up, nor a change that was refused."""
        changes = await Changes.of(registry)
        client = new_client()
        # A store that lost its connection for a moment may report a change, but not each time.
        for attempt in range(5):
            changes.forget()
            other = new_client()
            await registry.add_client(other)
            await registry.find_client(other.client_id)
            await registry.note_uses({other.client_id: NOW + attempt})
            await assert_fails(NotFound, registry.update_client(client))
            await assert_fails(NotFound, registry.delete_client(client.client_id))
            refused = registry.update_client(other, instead_of=random_digest())
            await assert_fails(ChangedMeanwhile, refused)
            await until(registry.clients_are_current)
            if not changes.count:
                break
        else:
            raise AssertionError("a change is reported each time")

    async def test_cancelled_change_is_reported_where_it_was_made(self, registry: Any) -> None:
        """The step may have been taken, though its Deferred was cancelled."""
        clients = [new_client() for _ in range(10)]
        await at_once(registry.add_client(client) for client in clients)
        changes = await Changes.of(registry)
        for client in clients:
            step = registry.update_client(attrs.evolve(client, disabled=True))
            step.addErrback(lambda failure: failure.trap(CancelledError))
            step.cancel()
        # The steps that were under way have ended when these have.
        await at_once(registry.add_client(new_client()) for _ in range(10))
        await until(registry.clients_are_current)
        await until(changes.has_settled)
        made = [await registry.find_client(client.client_id) for client in clients]
        assert made == clients or changes.count

    async def test_feed_of_clients_becomes_current(self, registry: Any) -> None:
        """It does soon after the first call of `clients_are_current`, and stays so."""
        changes = await Changes.of(registry)
        client = new_client()
        await registry.add_client(client)
        changes.forget()
        await registry.update_client(attrs.evolve(client, disabled=True))
        await until(registry.clients_are_current)
        assert changes.count


class Changes:
    """How often a registry has reported that clients have changed."""

    def __init__(self, registry: Any) -> None:
        self.count = self._settled = 0
        registry.subscribe_to_clients(self._note)

    @classmethod
    async def of(cls, registry: Any) -> Changes:
        """Those from now on, and not those that the feed may have missed before."""
        await until(registry.clients_are_current)
        return cls(registry)

    def _note(self) -> None:
        self.count += 1

    def forget(self) -> None:
        """Begin to count again."""
        self.count = 0

    def at_answer(self, _: object) -> bool:
        """Whether there was one, as a callback of a step's Deferred."""
        return self.count > 0

    def has_settled(self) -> bool:
        """Whether there was none since this was last asked."""
        before, self._settled = self._settled, self.count
        return before == self.count
