"""A registry of several providers: an application brings its own users."""

from __future__ import annotations

from typing import Any, cast

import pytest
from twisted.internet.task import Clock
from zope.interface import Interface, alsoProvides
from zope.interface.verify import verifyObject

from djoauth2_twisted import AuthorizationServer, paging
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.interfaces import (
    IClientFeed,
    IClients,
    IRegistry,
    IScopes,
    ISecondFactors,
    ISessions,
    IStatistics,
    IUsers,
)
from djoauth2_twisted.models import Page
from djoauth2_twisted.stores import composed
from djoauth2_twisted.stores.composed import compose
from djoauth2_twisted.stores.contract import (
    NOW,
    RegistryContract,
    new_client,
    new_session,
    new_user,
)
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore


class Provider:
    """Some interfaces of a registry, and no others."""

    def __init__(self, *interfaces: Any) -> None:
        registry = MemoryRegistry()
        for interface in interfaces:
            alsoProvides(self, interface)
            for verb in interface.names(all=True):
                setattr(self, verb, getattr(registry, verb))


@pytest.fixture
def users() -> Any:
    """An application's own users."""
    return Provider(IUsers)


@pytest.fixture
def rest() -> MemoryRegistry:
    """All else."""
    return MemoryRegistry()


@pytest.fixture
def registry(rest: MemoryRegistry, users: Any) -> IRegistry:
    return compose(rest, users)


class TestWithOwnUsers(RegistryContract):
    """The users have another provider, and everything that a registry promises holds."""


class TestWithOwnSecondFactors(RegistryContract):
    """The second factors have another provider than the users."""

    @pytest.fixture
    def users(self) -> Any:
        return Provider(ISecondFactors)


def test_provides_a_registry(registry: IRegistry) -> None:
    assert verifyObject(IRegistry, registry)


def test_provider_without_an_argument_of_a_method_is_refused(rest: MemoryRegistry) -> None:
    """When it is composed, and not at the login that renews a password's hash."""
    users: Any = Provider(IUsers)
    users.update_user = lambda user, keep_admin=False, only=None: None
    with pytest.raises(ConfigurationError, match=r"update_user\(user, .*doesn't allow enough arguments"):
        compose(rest, users)
    del users.update_user
    with pytest.raises(ConfigurationError, match="update_user"):
        compose(rest, users)


@pytest.mark.parametrize("missing", ["update_user", "find_grant"])
def test_server_of_a_store_that_lacks_a_method_is_refused(missing: str) -> None:
    registry, tokens = MemoryRegistry(), MemoryTokenStore()
    setattr(registry if missing == "update_user" else tokens, missing, lambda: None)
    with pytest.raises(ConfigurationError, match=missing) as caught:
        AuthorizationServer(Clock(), None, registry, tokens, issuer="https://as.example")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "interfaces", [(IUsers,), (ISessions,), (IClients, IScopes), (IStatistics,), (IRegistry,)]
)
def test_provides_a_registry_with_any_provider(
    rest: MemoryRegistry, interfaces: tuple[Any, ...]
) -> None:
    assert verifyObject(IRegistry, compose(rest, Provider(*interfaces)))


async def test_clients_are_reported_by_their_own_provider(rest: MemoryRegistry) -> None:
    """If it has no feed, neither has the registry, whose clients are then not cached."""
    assert not IClientFeed.providedBy(compose(rest, Provider(IClients, IScopes)))
    provider = MemoryRegistry()
    reported: list[None] = []
    for registry in (compose(rest, Provider(IUsers)), compose(MemoryRegistry(), provider)):
        assert verifyObject(IClientFeed, registry)
        cast("Any", registry).subscribe_to_clients(lambda: reported.append(None))
    for owner in (rest, provider):
        client = new_client()
        await owner.add_client(client)
        await owner.update_client(client)
    assert len(reported) == 2


async def test_users_are_the_applications_own(
    registry: IRegistry, rest: MemoryRegistry, users: Any
) -> None:
    await registry.add_user(new_user("user"))
    assert await users.find_user("user") == await registry.find_user("user") == new_user("user")
    assert await rest.find_user("user") is None


async def test_sessions_are_the_registrys(registry: IRegistry, rest: MemoryRegistry) -> None:
    """They end with the user, whom the registry does not know."""
    await registry.add_user(new_user("user"))
    session = new_session()
    await registry.add_session(session)
    assert await rest.find_session(session.digest, NOW) == session
    await registry.delete_user("user")
    assert await rest.find_session(session.digest, NOW) is None


@pytest.mark.parametrize("count", [0, 2, 3, 5, 7])
async def test_users_are_counted_page_by_page(
    registry: IRegistry, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to one more than the limit, as in any registry."""
    monkeypatch.setattr(paging, "PAGE_SIZE", 2)
    monkeypatch.setattr(composed, "MAX_COUNTED", 4)
    for number in range(count):
        await registry.add_user(new_user(f"user-{number}"))
    assert (await registry.totals(NOW)).users == min(count, 5)
    assert len(await registry.users(Page())) == count


def test_scopes_and_clients_belong_together(rest: MemoryRegistry) -> None:
    """Deleting a scope changes clients in one step."""
    for interface in (IScopes, IClients):
        with pytest.raises(ValueError, match="same provider"):
            compose(rest, Provider(interface))


def test_a_provider_of_nothing_is_refused(rest: MemoryRegistry) -> None:
    with pytest.raises(ValueError, match="provides no interface"):
        compose(rest, Provider(Interface))
