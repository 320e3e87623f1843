"""The contract of `IScopes`."""

from __future__ import annotations

from ...errors import AlreadyExists, NotFound
from ...interfaces import IRegistry
from ...models import Page, Scope
from .samples import NOT_UTF_8, new_client
from .steps import assert_fails


class ScopesContract:
    """What a registry promises as `IScopes`."""

    async def test_scopes_are_listed_and_found_by_name(self, registry: IRegistry) -> None:
        """Names that do not exist are left out."""
        made = {name: Scope(name, f"to {name}") for name in ("write", "admin", "read")}
        assert await registry.scopes() == []
        for scope in made.values():
            await registry.add_scope(scope)
        assert await registry.scopes() == [made["admin"], made["read"], made["write"]]
        assert await registry.find_scopes(("write", "read")) == {
            "write": made["write"],
            "read": made["read"],
        }
        unknown = ("READ", "rea", "read ", "%", "r_ad", "", NOT_UTF_8)
        assert await registry.find_scopes(("read", *unknown)) == {"read": made["read"]}
        assert await registry.find_scopes(unknown) == await registry.find_scopes(()) == {}
        many = tuple(f"scope {number}" for number in range(2000))
        assert await registry.find_scopes((*many, "read")) == {"read": made["read"]}

    async def test_scope_name_that_is_taken_is_refused(self, registry: IRegistry) -> None:
        """The first scope keeps the name."""
        await registry.add_scope(Scope("read", "first"))
        await assert_fails(AlreadyExists, registry.add_scope(Scope("read", "second")))
        assert await registry.scopes() == [Scope("read", "first")]

    async def test_description_of_a_scope_is_updated(self, registry: IRegistry) -> None:
        """Other scopes stay as they are."""
        await registry.add_scope(Scope("read", "first"))
        await registry.add_scope(Scope("Read", "other"))
        await registry.update_scope(Scope("read", "second"))
        assert await registry.find_scopes(("read", "Read")) == {
            "read": Scope("read", "second"),
            "Read": Scope("Read", "other"),
        }
        await assert_fails(NotFound, registry.update_scope(Scope("READ", "third")))
        assert len(await registry.scopes()) == 2

    async def test_deleted_scope_leaves_the_allow_lists(self, registry: IRegistry) -> None:
        """An allow-list that becomes empty allows nothing."""
        for name in ("read", "Read", "reader"):
            await registry.add_scope(Scope(name, ""))
        lists = (None, (), ("read",), ("reader", "read", "Read"), ("reader",))
        clients = [new_client(name=str(number), scopes=scopes) for number, scopes in enumerate(lists)]
        for client in clients:
            await registry.add_client(client)
        await registry.delete_scope("read")
        assert [scope.name for scope in await registry.scopes()] == ["Read", "reader"]
        left = [client.scopes for client in await registry.clients(Page())]
        assert left == [None, (), (), ("reader", "Read"), ("reader",)]
        await assert_fails(NotFound, registry.delete_scope("read"))

    async def test_unknown_scope_is_not_deleted(self, registry: IRegistry) -> None:
        """Allow-lists stay as they are."""
        client = new_client(scopes=("read",))
        await registry.add_client(client)
        for name in ("read", "%", "", NOT_UTF_8):
            await assert_fails(NotFound, registry.delete_scope(name))
        assert await registry.find_client(client.client_id) == client
