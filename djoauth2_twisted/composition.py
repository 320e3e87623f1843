"""Which endpoint gets which parts of the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from attrs import frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import Portal

from .access_token import AccessTokenAuthenticator
from .administration import Administration
from .authorization import AuthorizationEndpoint
from .clock import SteadyClock
from .conf import Settings
from .endpoints.claims import ClaimsEndpoint
from .endpoints.client_authentication import ClientAuthentication
from .endpoints.id_tokens import IdTokens
from .endpoints.introspection import IntrospectionEndpoint
from .endpoints.key_set import KeySetEndpoint
from .endpoints.revocation import RevocationEndpoint
from .endpoints.token import TokenEndpoint
from .errors import ConfigurationError
from .events import Events
from .interfaces import AnyVerifier, IRegistry, ITokenStore
from .key_file import ServerKeys
from .key_ring import KeyRing
from .passwords import PasswordThreads
from .protocol.key_states import Rules
from .protocol.metadata import SERVER, openid_paths, well_known_path
from .protocol.openid_scopes import OPENID
from .protocol.redirection import host_of
from .resource_owners import RegistryChecker, make_portal
from .routes import OpenIDRoutes, Routes
from .stores.urls import Opened
from .web.account import Account
from .web.admin.dispatch import Admin
from .web.admission import AdmissionQueue
from .web.devices import Devices
from .web.host_login import HostLogin
from .web.image import ImageEndpoint
from .web.login import Login
from .web.pages import Pages
from .web.sessions import Sessions, Who
from .web.statistics import Statistics
from .web.throttle import Attempts, Throttle, Throttles
from .web.well_known import BelowIssuer, Document, WellKnown


@frozen(kw_only=True)
class Composition:
    """The parts of one server, of which its endpoints are made.

    :param has_own_users: whether the users are those of the registry.
    :param who: see `AuthorizationServer`.
    :param logout: see `AuthorizationServer`.
    :param sender: the sender of signals.
    :param keys: seal what is secret in the database.
    :param ring: signs ID tokens; None without OpenID Connect.
    :param verifier: checks access tokens: the server.
    :param metadata: makes the metadata of the server.
    """

    clock: SteadyClock
    issuer: str
    settings: Settings
    registry: IRegistry
    tokens: ITokenStore
    pages: Pages
    portal: Portal
    has_own_users: bool
    who: Who | None
    logout: str | None
    administration: Administration
    statistics: Statistics
    events: Events
    sender: object
    keys: ServerKeys
    ring: KeyRing | None
    verifier: AnyVerifier
    metadata: Document

    def routes(self) -> Routes:
        """The endpoints of the tree."""
        settings, registry, pages = self.settings, self.registry, self.pages
        sessions = Sessions(self.clock, registry, settings, self.issuer, self.who)
        clients = self._client_authentication()
        return Routes(
            settings,
            pages,
            self.events,
            self._authorization(sessions),
            self._login_pages(sessions),
            self._token(clients),
            RevocationEndpoint(settings, self.tokens, clients, self.statistics, self.events),
            self._introspection(clients),
            Account(settings, registry, self.tokens, sessions, pages, self.events),
            ImageEndpoint(settings, registry),
            Admin(settings, sessions, pages, self.administration, self.statistics),
            None if self.ring is None else self._openid(self.ring),
        )

    def _openid(self, ring: KeyRing) -> OpenIDRoutes:
        authenticator = AccessTokenAuthenticator(self.verifier, (OPENID,))
        return OpenIDRoutes(
            KeySetEndpoint(self.settings, ring),
            ClaimsEndpoint(self.settings, self.registry, authenticator),
            BelowIssuer(self.settings, self.issuer, self.metadata),
        )

    def _authorization(self, sessions: Sessions) -> AuthorizationEndpoint:
        return AuthorizationEndpoint(
            self.clock,
            self.issuer,
            self.settings,
            self.registry,
            self.tokens,
            sessions,
            self.pages,
            self.statistics,
            self.events,
        )

    def _token(self, clients: ClientAuthentication) -> TokenEndpoint:
        return TokenEndpoint(
            self.clock,
            self.settings,
            self.tokens,
            clients,
            self.sender,
            self.statistics,
            self.events,
            None if self.ring is None else IdTokens(self.issuer, self.settings, self.ring),
        )

    def _client_authentication(self) -> ClientAuthentication:
        of_client = self.settings.max_wrong_secrets
        throttles = Throttles(
            Throttle(self.clock, self.registry, "secret", of_client),
            Throttle(self.clock, self.registry, "client", of_client),
            Throttle(self.clock, self.registry, "clients", self.settings.max_failures_per_address),
        )
        return ClientAuthentication(self.settings, self.registry, throttles, self.clock)

    def _introspection(self, clients: ClientAuthentication) -> IntrospectionEndpoint:
        most = self.settings.max_unknown_tokens
        by_unknown = Throttle(self.clock, self.registry, "introspection", most)
        return IntrospectionEndpoint(
            self.clock, self.issuer, self.settings, self.tokens, clients, by_unknown
        )

    def _login_pages(self, sessions: Sessions) -> Login | HostLogin:
        if self.who is not None:
            return HostLogin(self.settings, sessions, self.logout)
        return Login(
            self.settings,
            self.registry,
            self.portal,
            sessions,
            self.pages,
            Attempts(self.clock, self.registry),
            self.statistics,
            self.events,
            AdmissionQueue(self.clock),
            AdmissionQueue(self.clock),
            # Guesses at an account that is kept elsewhere are for its keeper to limit.
            Devices(self.registry, sessions) if self.has_own_users else None,
        )


def with_proxies(settings: Settings, names: Sequence[str]) -> Settings:
    """The settings, with the trusted proxies that are named, if there are any.

    :raises ConfigurationError: a name is not valid.
    """
    return attrs.evolve(settings, trusted_proxies=tuple(names)) if names else settings


def keys_of(settings: Settings, database: Opened | None) -> ServerKeys:
    """The key file of a server.

    :param database: None if the store needs no opening, as one in memory.
    """
    return ServerKeys(settings.openid_key_file, None if database is None else database.key_file())


def make_administration(
    reactor: Any,
    registry: IRegistry,
    tokens: ITokenStore,
    settings: Settings,
    clock: SteadyClock,
    passwords: PasswordThreads,
    events: Events,
) -> Administration:
    """The changes that the pages of a server make.

    :param reactor: times the pauses of a cleanup.
    """
    return Administration(
        registry,
        tokens,
        settings,
        passwords.hash,
        seconds=clock.seconds,
        clock=reactor,
        publish=events.publish,
    )


def portal_of(
    registry: IRegistry, passwords: PasswordThreads, checkers: Sequence[ICredentialsChecker]
) -> Portal:
    """A Portal for the users of some checkers, or of the registry."""
    return make_portal(registry, checkers or [RegistryChecker(registry, passwords)])


def make_key_ring(
    reactor: Any, registry: IRegistry, settings: Settings, keys: ServerKeys, clock: SteadyClock
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


def make_pages(templates: str | None, issuer: str, who: Who | None, logout: str | None) -> Pages:
    """The pages of a server; the parameters are those of `AuthorizationServer`.

    :raises ConfigurationError: there is a ``logout`` without a ``who``, or the folder cannot be used.
    """
    if logout is not None and who is None:
        raise ConfigurationError("logout= is for a host application that logs people in: give who=")
    return Pages(templates, host_of(issuer), (logout or "") if who else None)
