"""The contract of `IRegistry`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from ...errors import AlreadyExists
from ...interfaces import IRegistry
from ...models import Page, Scope, User
from ...protocol.precis import folded
from .audit import AuditContract
from .clients import ClientsContract
from .keys import KeysContract
from .leases import LeasesContract
from .samples import CROWDS, HOSTILE, NOW, new_client, new_session, new_user, random_digest
from .scopes import ScopesContract
from .second_factors import SecondFactorsContract
from .sessions import SessionsContract
from .statistics import StatisticsContract
from .steps import at_once, cancelled
from .subjects import SubjectsContract
from .throttles import ThrottlesContract
from .users import UsersContract


class RegistryContract(
    ClientsContract,
    ScopesContract,
    UsersContract,
    SessionsContract,
    SecondFactorsContract,
    ThrottlesContract,
    LeasesContract,
    KeysContract,
    SubjectsContract,
    AuditContract,
    StatisticsContract,
):
    """All that `IRegistry` promises. Needs the fixture ``registry``."""

    def test_provides_the_interface(self, registry: IRegistry) -> None:
        """The store declares its interface and has all of its methods."""
        assert verifyObject(IRegistry, registry)

    async def test_hostile_names_are_told_apart(self, registry: IRegistry) -> None:
        """DB-01, DB-02, DB-11: each is found by itself alone. Of names that are equal when folded, only
        one is a user's.
        """
        of_users = list({folded(name): name for name in HOSTILE}.values())
        clients = {name: new_client(client_id=name, name=name[:63]) for name in HOSTILE}
        users = {name: new_user(name, first_name=name[:63]) for name in of_users}
        scopes = {name: Scope(name, name) for name in HOSTILE}
        sessions = {name: new_session(name) for name in HOSTILE}
        for name in HOSTILE:
            await registry.add_client(clients[name])
            if name in users:
                await registry.add_user(users[name])
            await registry.add_scope(scopes[name])
            await registry.add_session(sessions[name])
        for name in HOSTILE:
            assert await registry.find_client(name) == clients[name]
            assert await registry.find_user(name) == users.get(name)
            assert await registry.find_scopes((name,)) == {name: scopes[name]}
        assert await registry.find_scopes(HOSTILE) == scopes
        left = set(HOSTILE)
        for name in HOSTILE:
            left.remove(name)
            await registry.delete_client(name)
            if name in users:
                await registry.delete_user(name)
            await registry.end_sessions(name)
            await registry.delete_scope(name)
            assert {client.client_id for client in await registry.clients(Page())} == left
            assert {user.username for user in await registry.users(Page())} == left & users.keys()
            assert {scope.name for scope in await registry.scopes()} == left
            assert await registry.find_session(sessions[name].digest, NOW) is None

    async def test_hostile_values_are_kept_unchanged(self, registry: IRegistry) -> None:
        """Character for character."""
        for text in HOSTILE:
            client = new_client(
                name=text[:63], description=text, redirect_uris=(text,), scopes=(text, "read")
            )
            await registry.add_client(client)
            assert await registry.find_client(client.client_id) == client

    async def test_one_of_many_users_of_one_name_is_added(self, registry: IRegistry) -> None:
        """The others are refused."""
        for crowd in CROWDS:
            users = [new_user(f"user {crowd}", email=str(number)) for number in range(crowd)]
            added = await at_once(_is_added(registry, user) for user in users)
            assert added.count(True) == 1
            assert await registry.find_user(f"user {crowd}") == users[added.index(True)]

    async def test_one_of_many_users_of_one_folded_name_is_added(self, registry: IRegistry) -> None:
        """However they are written."""
        for crowd in CROWDS:
            names = [
                "".join(c.upper() if number >> at & 1 else c for at, c in enumerate("abcdef"))
                for number in range(crowd)
            ]
            added = await at_once(_is_added(registry, new_user(f"{name} {crowd}")) for name in names)
            assert added.count(True) == 1
            (kept,) = await registry.users_alike(f"ABCDEF {crowd}")
            assert kept.username == f"{names[added.index(True)]} {crowd}"

    async def test_cancelled_step_is_whole_or_not_taken(self, registry: IRegistry) -> None:
        """CC-08: it does not disturb the next."""
        for number in range(20):
            client = new_client()
            await cancelled(registry.add_client(client), number)
            await registry.end_session(random_digest())
            assert await registry.find_client(client.client_id) in (client, None)


def _is_added(registry: IRegistry, user: User) -> Deferred[bool]:
    added: Deferred[bool] = registry.add_user(user).addCallback(lambda _: True)
    return added.addErrback(lambda failure: failure.trap(AlreadyExists) is None)
