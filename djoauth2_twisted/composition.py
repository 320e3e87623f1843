"""Which endpoint gets which parts of the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from .housekeeping import Housekeeping, Loop
from .interfaces import AnyVerifier, IRegistry, ITokenStore
from .key_file import ServerKeys
from .key_ring import KeyRing
from .logouts.delivery import LogoutDelivery
from .logouts.notices import Logouts
from .logouts.sending import Sender, make_agent
from .logouts.telling import telling
from .models import Client
from .own_account import OwnAccount
from .passwords import PasswordThreads
from .protocol.key_states import Rules
from .protocol.logout import TYPE
from .protocol.metadata import SERVER, openid_paths, well_known_path
from .protocol.openid_scopes import OPENID
from .protocol.redirection import host_of
from .resource_owners import RegistryChecker, make_portal
from .routes import OpenIDRoutes, Routes
from .stores.urls import Opened
from .web.account import Account
from .web.admin.dispatch import Admin
from .web.admission import AdmissionQueue
from .web.authentication import Authentication, Marks
from .web.brand import Brand
from .web.codes import Codes
from .web.devices import Devices
from .web.end_session import EndSession
from .web.hints import Hints
from .web.host_login import HostLogin
from .web.image import ImageEndpoint
from .web.login import Login
from .web.own_pages import OwnPages
from .web.pages import Pages
from .web.password_proof import PasswordProof
from .web.sessions import Sessions, Who
from .web.statistics import Statistics
from .web.throttle import Attempts, Throttle, Throttles
from .web.well_known import BelowIssuer, Document, WellKnown
from .web.your_account import YourAccount


@frozen(kw_only=True)
class Composition:
    """The parts of one server, of which its endpoints are made.

    :param has_own_users: whether the users are those of the registry.
    :param who: see `AuthorizationServer`.
    :param logout: see `AuthorizationServer`.
    :param sender: the sender of signals.
    :param logouts: tells clients of logouts.
    :param keys: seal what is secret in the database.
    :param ring: signs ID tokens; None without OpenID Connect.
    :param verifier: checks access tokens: the server.
    :param metadata: makes the metadata of the server.
    :param passwords: the threads in which passwords are verified and hashed.
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
    logouts: Logouts
    keys: ServerKeys
    ring: KeyRing | None
    verifier: AnyVerifier
    metadata: Document
    passwords: PasswordThreads

    def routes(self) -> Routes:
        """The endpoints of the tree."""
        settings, registry, pages = self.settings, self.registry, self.pages
        sessions = Sessions(self.clock, registry, settings, self.issuer, self.who, self.logouts)
        told = telling(self.tokens, self.logouts)
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
            self._account(sessions, told),
            YourAccount(self._own_pages(sessions)),
            ImageEndpoint(settings, registry),
            Admin(settings, sessions, pages, self.administration, self.statistics, self.ring),
            None if self.ring is None else self._openid(self.ring, sessions),
        )

    def _openid(self, ring: KeyRing, sessions: Sessions) -> OpenIDRoutes:
        read_hint = Hints(self.issuer, ring.verify).read
        authenticator = AccessTokenAuthenticator(self.verifier, (OPENID,))
        return OpenIDRoutes(
            KeySetEndpoint(self.settings, ring),
            ClaimsEndpoint(self.settings, self.registry, authenticator),
            BelowIssuer(self.settings, self.issuer, self.metadata),
            EndSession(self.settings, self.registry, sessions, self.pages, read_hint, self.logout),
        )

    def _authorization(self, sessions: Sessions) -> AuthorizationEndpoint:
        return AuthorizationEndpoint(
            self.issuer,
            self.settings,
            self.registry,
            self._codes(sessions),
            sessions,
            self.pages,
            self.statistics,
            self.events,
            self._authentication(sessions),
        )

    def _authentication(self, sessions: Sessions) -> Authentication | None:
        if self.ring is None:
            return None
        hints = Hints(self.issuer, self.ring.verify)
        return Authentication(self.clock, sessions, Marks(self.ring), hints.read)

    def _codes(self, sessions: Sessions) -> Codes:
        return Codes(
            self.clock,
            self.settings,
            self.registry,
            self.tokens,
            sessions,
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

    def _account(self, sessions: Sessions, tokens: ITokenStore) -> Account:
        return Account(
            self.settings,
            self.registry,
            tokens,
            sessions,
            self.pages,
            self.events,
            self._keeps_logins,
        )

    def _own_pages(self, sessions: Sessions) -> OwnPages:
        attempts = Attempts(self.clock, self.registry)
        proof = PasswordProof(self.settings, self.passwords, attempts)
        return OwnPages(
            self.settings,
            self.registry,
            sessions,
            self.pages,
            OwnAccount(self.registry, self.tokens, self.events, self.clock.seconds),
            proof if self._keeps_logins else None,
            Devices(self.registry, sessions),
        )

    @property
    def _keeps_logins(self) -> bool:
        """Whether users and their logins are those of the registry."""
        return self.has_own_users and self.who is None

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
    )


def make_logouts(
    registry: IRegistry, tokens: ITokenStore, settings: Settings, clock: SteadyClock
) -> Logouts:
    """What keeps the notices of logouts, if there are any with these settings."""
    return Logouts(registry, tokens, settings.openid, clock.seconds)


def make_deliveries(
    reactor: Any,
    issuer: str,
    logouts: Logouts,
    settings: Settings,
    ring: KeyRing | None,
    events: Events,
) -> list[LogoutDelivery]:
    """What sends the notices of logouts; nothing without OpenID Connect.

    :param reactor: connects to the clients.
    """
    if ring is None:
        return []

    async def sign(client: Client, claims: Mapping[str, Any]) -> str:
        return await ring.sign(await ring.signer(client.id_token_alg), claims, TYPE)

    sender = Sender(reactor, make_agent(reactor, settings.openid_private_logout_addresses))
    return [LogoutDelivery(reactor, logouts, sender, sign, issuer, events)]


def make_housekeeping(
    reactor: Any,
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
