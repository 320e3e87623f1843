"""The parts of a server, made of its settings and its stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import Portal
from twisted.internet.interfaces import IReactorTime

from .administration import Administration
from .clock import SteadyClock
from .conf import Settings
from .errors import ConfigurationError
from .events import Events
from .housekeeping import Housekeeping, Loop
from .interfaces import IRegistry, ITokenStore
from .key_file import ServerKeys
from .key_ring import KeyRing
from .logouts.notices import Logouts
from .logouts.telling import telling
from .models import Client
from .passwords import PasswordThreads
from .protocol.key_states import Rules
from .protocol.logout import TYPE
from .protocol.metadata import SERVER, openid_paths, well_known_path
from .protocol.redirection import host_of
from .resource_owners import RegistryChecker, make_portal
from .stores.urls import Opened
from .web.brand import Brand
from .web.pages import Pages
from .web.sessions import Who
from .web.statistics import Statistics
from .web.well_known import Document, WellKnown


def with_proxies(settings: Settings, names: Sequence[str]) -> Settings:
    """The settings, with the trusted proxies that are named, if there are any.

    :raises ConfigurationError: a name is not valid.
    """
    return attrs.evolve(settings, trusted_proxies=tuple(names)) if names else settings


def check_second_factors(settings: Settings, keys: ServerKeys, keeps_logins: bool) -> None:
    """Refuse to require second factors where no user could have one.

    :param keeps_logins: whether users and their logins are those of the registry.
    :raises ConfigurationError: users are kept elsewhere, or there is no key file.
    """
    if settings.require_second_factor == "none":
        return
    if not keeps_logins:
        reason = "it is for the users of the database, and a Portal, a checker or who= has its own"
    elif keys.path is None:
        reason = "it needs a key file, which OPENID_KEY_FILE names"
    else:
        return
    raise ConfigurationError(
        f"REQUIRE_SECOND_FACTOR is {settings.require_second_factor!r}: {reason}",
        "require_second_factor",
    )


def keys_of(settings: Settings, database: Opened | None) -> ServerKeys:
    """The key file of a server.

    :param database: None if the store needs no opening, as one in memory.
    """
    return ServerKeys(settings.openid_key_file, None if database is None else database.key_file())


def make_administration(
    reactor: IReactorTime,
    registry: IRegistry,
    tokens: ITokenStore,
    settings: Settings,
    clock: SteadyClock,
    passwords: PasswordThreads,
    events: Events,
    logouts: Logouts,
) -> Administration:
    """The changes that the pages of a server make.

    :param reactor: times the pauses of a cleanup.
    """
    return Administration(
        registry,
        telling(tokens, logouts),
        settings,
        passwords.hash,
        seconds=clock.seconds,
        clock=reactor,
        publish=events.publish,
        logouts=logouts,
    )


def make_logouts(
    registry: IRegistry, tokens: ITokenStore, settings: Settings, clock: SteadyClock
) -> Logouts:
    """What keeps the notices of logouts, if there are any with these settings."""
    return Logouts(registry, tokens, settings.openid, clock.seconds)


def make_deliveries(
    reactor: IReactorTime,
    issuer: str,
    logouts: Logouts,
    settings: Settings,
    ring: KeyRing | None,
    events: Events,
) -> Sequence[Loop]:
    """What sends the notices of logouts; nothing without OpenID Connect.

    :param reactor: connects to the clients.
    """
    if ring is None:
        return []
    # Only this needs treq.
    from .logouts.delivery import LogoutDelivery
    from .logouts.sending import Sender, make_agent

    async def sign(client: Client, claims: Mapping[str, Any]) -> str:
        return await ring.sign(await ring.signer(client.id_token_alg), claims, TYPE)

    agent = make_agent(reactor, settings.openid_private_logout_addresses)
    sender = Sender(reactor, agent, settings.ssl_only)
    return [LogoutDelivery(reactor, logouts, sender, sign, issuer, events)]


def make_housekeeping(
    reactor: IReactorTime,
    administration: Administration,
    statistics: Statistics,
    ring: KeyRing | None,
    clock: SteadyClock,
    others: Sequence[Loop],
) -> Housekeeping:
    """The periodic work of a server.

    :param reactor: times the rounds.
    :param others: other loops, which begin and end with it.
    """
    return Housekeeping(
        reactor,
        administration.registry,
        seconds=clock.seconds,
        clean_up=administration.clean_up,
        flush=statistics.flush,
        tend=None if ring is None else ring.tend,
        others=others,
    )


def portal_of(
    registry: IRegistry, passwords: PasswordThreads, checkers: Sequence[ICredentialsChecker]
) -> Portal:
    """A Portal for the users of some checkers, or of the registry."""
    return make_portal(registry, checkers or [RegistryChecker(registry, passwords)])


def make_key_ring(
    reactor: IReactorTime, registry: IRegistry, settings: Settings, keys: ServerKeys, clock: SteadyClock
) -> KeyRing | None:
    """The keys that sign ID tokens; None without OpenID Connect.

    :param reactor: its threads make slow signatures.
    """
    if not settings.openid:
        return None
    rules = Rules(settings.openid_key_rotation, settings.access_token_lifetime)
    return KeyRing(reactor, registry, keys, rules, clock.seconds)


def make_well_known(settings: Settings, issuer: str, metadata: Document) -> WellKnown:
    """The documents of a server below ``/.well-known/``."""
    well_known = WellKnown(settings)
    for path in (well_known_path(SERVER, issuer), *(openid_paths(issuer) if settings.openid else ())):
        well_known.add(path, metadata)
    return well_known


def make_pages(
    settings: Settings, templates: str | None, issuer: str, who: Who | None, logout: str | None
) -> Pages:
    """The pages of a server; the parameters are those of `AuthorizationServer`.

    :raises ConfigurationError: there is a ``logout`` without a ``who``, or the folder or the logo cannot
        be used.
    """
    if logout is not None and who is None:
        raise ConfigurationError("logout= is for a host application that logs people in: give who=")
    return Pages(templates, Brand.of(settings, host_of(issuer)), (logout or "") if who else None)
