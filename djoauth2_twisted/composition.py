"""Which endpoint gets which parts of the server."""

from __future__ import annotations

from functools import partial

from attrs import frozen
from twisted.cred.portal import Portal

from .access_token import AccessTokenAuthenticator
from .administration import Administration
from .authorization import AuthorizationEndpoint
from .client_lookup import ClientLookup
from .clock import SteadyClock
from .conf import Settings
from .endpoints.claims import ClaimsEndpoint
from .endpoints.client_authentication import ClientAuthentication
from .endpoints.id_tokens import IdTokens
from .endpoints.introspection import IntrospectionEndpoint
from .endpoints.key_set import KeySetEndpoint
from .endpoints.revocation import RevocationEndpoint
from .endpoints.token import TokenEndpoint
from .events import Events, TokensIssued
from .interfaces import AnyVerifier, IRegistry, ITokenStore
from .key_file import ServerKeys
from .key_ring import KeyRing
from .logouts.notices import Logouts
from .logouts.telling import telling
from .own_account import OwnAccount
from .parts import check_second_factors
from .passwords import ACQUAINTANCES, STRANGERS, PasswordThreads
from .protocol.openid_scopes import OPENID
from .protocol.redirection import host_of
from .routes import OpenIDRoutes, Routes
from .web.account import Account
from .web.admin.dispatch import Admin
from .web.admission import AdmissionQueue
from .web.authentication import Authentication, Marks
from .web.codes import Codes
from .web.devices import Devices
from .web.end_session import EndSession
from .web.hints import Hints
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
from .web.well_known import BelowIssuer, Document
from .web.your_account import YourAccount


@frozen(kw_only=True)
class Composition:
    """The parts of one server, of which its endpoints are made.

    :param has_own_users: whether the users are those of the registry.
    :param who: see `AuthorizationServer`.
    :param logout: see `AuthorizationServer`.
    :param sender: the sender of signals.
    :param logouts: keeps notices of logouts for clients.
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
    passwords: PasswordThreads
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

    def routes(self) -> Routes:
        """The endpoints of the tree."""
        settings, registry, pages = self.settings, self.registry, self.pages
        check_second_factors(settings, self.keys, self._keeps_logins)
        self.events.subscribe(TokensIssued, self.statistics.note_use)
        sessions = Sessions(self.clock, registry, settings, self.issuer, self.who, self.logouts)
        own_pages, factors = self._own_pages(sessions), self._second_factors(sessions)
        second_step = self._second_step(sessions, factors, own_pages.account)
        clients = self._client_authentication()
        return Routes(
            settings,
            pages,
            self.events,
            self._authorization(sessions),
            self._login_pages(sessions, second_step),
            self._token(clients),
            RevocationEndpoint(settings, self.tokens, clients, self.statistics, self.events),
            self._introspection(clients),
            self._account(sessions, telling(self.tokens, self.logouts)),
            YourAccount(own_pages, factors),
            SecondFactorPage(own_pages, factors),
            second_step,
            ImageEndpoint(settings, registry),
            self._admin(sessions),
            None if self.ring is None else self._openid(self.ring, sessions),
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
            self.ring,
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
        clients = ClientLookup(self.registry, self.settings.access_token_cache)
        return ClientAuthentication(self.settings, clients, throttles, self.clock)

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
        # Accounts that are kept elsewhere have their own limits on guesses.
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
