"""Which endpoint gets which parts of the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import attrs
from attrs import frozen
from twisted.cred.portal import Portal
from twisted.web.iweb import IRequest

from .administration import Administration
from .authorization import AuthorizationEndpoint
from .clock import SteadyClock
from .conf import Settings
from .endpoints.client_authentication import ClientAuthentication
from .endpoints.introspection import IntrospectionEndpoint
from .endpoints.revocation import RevocationEndpoint
from .endpoints.token import TokenEndpoint
from .errors import ConfigurationError
from .events import Events, TokensIssued
from .interfaces import IRegistry, ITokenStore
from .key_file import ServerKeys
from .own_account import OwnAccount
from .passwords import ACQUAINTANCES, STRANGERS, PasswordThreads
from .protocol.redirection import host_of
from .routes import Routes
from .stores.urls import Opened
from .web.account import Account
from .web.admin.dispatch import Admin
from .web.admission import AdmissionQueue
from .web.brand import Brand
from .web.devices import Devices
from .web.host_login import HostLogin
from .web.image import ImageEndpoint
from .web.login import Login
from .web.login_start import LoginStart
from .web.own_pages import OwnPages
from .web.pages import Pages
from .web.password_proof import PasswordProof
from .web.refusals import RecentRefusals
from .web.second_factor_page import SecondFactorPage
from .web.second_factors import SecondFactors
from .web.second_step import SecondStep
from .web.sessions import Sessions, Who
from .web.statistics import Statistics
from .web.throttle import Attempts, Throttle, Throttles
from .web.your_account import YourAccount


@frozen(kw_only=True)
class Composition:
    """The parts of one server, of which its endpoints are made.

    :param has_own_users: whether the users are those of the registry.
    :param metadata: makes the metadata of the server, for a request.
    :param who: see `AuthorizationServer`.
    :param logout: see `AuthorizationServer`.
    :param sender: the sender of signals.
    :param keys: seal what is secret in the database.
    :param passwords: the threads in which passwords are verified and hashed.
    """

    clock: SteadyClock
    issuer: str
    settings: Settings
    registry: IRegistry
    tokens: ITokenStore
    pages: Pages
    portal: Portal
    passwords: PasswordThreads
    has_own_users: bool
    who: Who | None
    logout: str | None
    administration: Administration
    statistics: Statistics
    events: Events
    sender: object
    keys: ServerKeys
    metadata: Callable[[IRequest], Awaitable[dict[str, Any]]]

    def routes(self) -> Routes:
        """The endpoints of the tree."""
        settings, registry, pages = self.settings, self.registry, self.pages
        check_second_factors(settings, self.keys, self._keeps_logins)
        self.events.subscribe(TokensIssued, self.statistics.note_use)
        sessions = Sessions(self.clock, registry, settings, self.issuer, self.who)
        own_pages, factors = self._own_pages(sessions), self._second_factors(sessions)
        second_step = self._second_step(sessions, factors, own_pages.account)
        clients = self._client_authentication()
        return Routes(
            settings,
            pages,
            self.events,
            self._authorization(sessions),
            self._login_pages(sessions, second_step),
            TokenEndpoint(
                self.clock, settings, self.tokens, clients, self.sender, self.statistics, self.events
            ),
            RevocationEndpoint(settings, self.tokens, clients, self.statistics, self.events),
            self._introspection(clients),
            self._account(sessions),
            YourAccount(own_pages, factors),
            SecondFactorPage(own_pages, factors),
            second_step,
            ImageEndpoint(settings, registry),
            self._admin(sessions),
        )

    def _admin(self, sessions: Sessions) -> Admin:
        return Admin(
            self.settings,
            sessions,
            self.pages,
            self.administration,
            self.statistics,
            RecentRefusals(self.clock, self.events),
            self.metadata,
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

    def _account(self, sessions: Sessions) -> Account:
        return Account(
            self.settings,
            self.registry,
            self.tokens,
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

    def _second_factors(self, sessions: Sessions) -> SecondFactors:
        return SecondFactors(
            self.settings,
            self.clock,
            self.registry,
            self.keys,
            Attempts(self.clock, self.registry),
            Devices(self.registry, sessions),
            self.settings.site_name or host_of(self.issuer),
        )

    def _second_step(
        self, sessions: Sessions, factors: SecondFactors, account: OwnAccount
    ) -> SecondStep | None:
        if not self._keeps_logins:
            return None
        return SecondStep(sessions, self.pages, factors, account, self._login_start(sessions))

    def _login_start(self, sessions: Sessions) -> LoginStart:
        # Guesses at an account that is kept elsewhere are for its keeper to limit.
        devices = Devices(self.registry, sessions) if self.has_own_users else None
        return LoginStart(sessions, self.statistics, self.events, devices)

    def _login_pages(self, sessions: Sessions, second_step: SecondStep | None) -> Login | HostLogin:
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
            AdmissionQueue(self.clock, partial(self.passwords.are_many, STRANGERS)),
            AdmissionQueue(self.clock, partial(self.passwords.are_many, ACQUAINTANCES)),
            start := self._login_start(sessions),
            start.devices,
            second_step,
        )


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
