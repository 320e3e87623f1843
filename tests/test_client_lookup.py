"""The cache of clients: what it keeps, what it forgets, and when the registry is asked each time.

Behaviours CA-27, CC-05, BG-17.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
from held_look_ups import HeldLookUps
from twisted.internet.defer import Deferred
from waiting import result_of
from zope.interface import implementer_only

from djoauth2_twisted.client_lookup import ClientLookup
from djoauth2_twisted.errors import TemporarilyUnavailable
from djoauth2_twisted.interfaces import IRegistry
from djoauth2_twisted.models import Client, Image, Scope
from djoauth2_twisted.stores.contract import new_client, random_digest
from djoauth2_twisted.stores.memory import MemoryRegistry


class Registry(HeldLookUps, MemoryRegistry):
    """A store in memory whose look-ups a test counts, refuses or holds."""

    def clients_are_current(self) -> bool:
        return self.sure

    def find_client(self, client_id: str) -> Deferred[Any]:
        return self.look_up(partial(super().find_client, client_id))


@implementer_only(IRegistry)
class WithoutFeed(Registry):
    """A registry that cannot say when a client has changed."""


class System:
    """A registry with a client, and the look-up over it."""

    def __init__(self, registry: Registry, size: int = 3) -> None:
        self.registry = registry
        self.lookup = ClientLookup(registry, size)
        self.client = new_client(scopes=("read",))
        result_of(registry.add_client(self.client))
        result_of(registry.add_scope(Scope("read", "")))

    def find(self) -> Client | None:
        return result_of(self.lookup.find(self.client.client_id))

    def recall(self) -> Client | None:
        return self.lookup.recall(self.client.client_id)


@pytest.fixture
def system() -> System:
    return System(Registry())


def test_client_is_recalled_after_its_look_up(system: System) -> None:
    assert system.recall() is None
    assert system.find() == system.client
    assert system.recall() == system.client
    assert system.registry.look_ups == 1


CHANGES: dict[str, Callable[[Registry, Client], Deferred[None]]] = {
    "rotated": lambda registry, client: registry.update_client(
        attrs.evolve(client, secret_digest=random_digest())
    ),
    "disabled": lambda registry, client: registry.update_client(attrs.evolve(client, disabled=True)),
    "picture": lambda registry, client: registry.set_image(client.client_id, Image("image/png", b"x")),
    "scope": lambda registry, client: registry.delete_scope("read"),
    "deleted": lambda registry, client: registry.delete_client(client.client_id),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_client_is_forgotten_at_once(system: System, change: str) -> None:
    """CA-27: what is found afterwards is as it is now."""
    system.find()
    result_of(CHANGES[change](system.registry, system.client))
    assert system.recall() is None
    assert system.find() == result_of(system.registry.find_client(system.client.client_id))
    assert system.find() != system.client


@pytest.mark.parametrize("change", CHANGES)
def test_client_that_changes_during_a_look_up_is_not_cached(system: System, change: str) -> None:
    """CC-05: the look-up began before the change, and was answered after it."""
    system.registry.holding = True
    found: list[Client | None] = []
    system.lookup.find(system.client.client_id).addCallback(found.append)
    result_of(CHANGES[change](system.registry, system.client))
    system.registry.release()
    assert found == [system.client]
    assert system.recall() is None


def test_unknown_client_is_not_cached(system: System) -> None:
    """It can be used as soon as it is added."""
    assert result_of(system.lookup.find("new")) is None
    result_of(system.registry.add_client(new_client(client_id="new")))
    assert system.lookup.recall("new") is None
    assert result_of(system.lookup.find("new")) is not None


def test_client_that_is_gone_is_forgotten_by_its_look_up(system: System) -> None:
    """Another process has deleted it, and the feed has not reported that yet."""
    system.find()
    del system.registry._clients[system.client.client_id]
    assert system.find() is None
    assert system.recall() is None


def test_nothing_is_recalled_while_the_feed_is_not_current(system: System) -> None:
    """BG-17: then the registry is asked, and if it cannot answer, neither can we."""
    system.find()
    system.registry.sure = False
    assert system.recall() is None
    system.registry.away = True
    with pytest.raises(TemporarilyUnavailable):
        system.find()
    system.registry.sure = True
    assert system.recall() == system.client


@pytest.mark.parametrize(("registry", "size"), [(WithoutFeed, 3), (Registry, 0)])
def test_registry_is_asked_each_time_without_a_cache(registry: type[Registry], size: int) -> None:
    """Where it has no feed, and where the cache is switched off."""
    system = System(registry(), size)
    for number in range(1, 4):
        assert system.recall() is None
        assert system.find() == system.client
        assert system.registry.look_ups == number


def test_number_of_clients_is_bounded(system: System) -> None:
    """The one that was not used for the longest time is forgotten."""
    names = ["one", "two", "three", "four"]
    for name in names:
        result_of(system.registry.add_client(new_client(client_id=name)))
    for name in names[:3]:
        result_of(system.lookup.find(name))
    assert system.lookup.recall("one")
    result_of(system.lookup.find("four"))
    assert [bool(system.lookup.recall(name)) for name in names] == [True, False, True, True]
