"""The service: a store, settings and resource owners, and the resources that a site mounts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Self

from twisted.application.service import Service
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from zope.interface import implementer

from . import opening, preloaded  # noqa: F401
from .authorization import AuthorizationEndpoint
from .clock import SteadyClock, worker_reactor
from .composition import Composition
from .conf import Settings
from .endpoints.health import HealthEndpoint, LivenessEndpoint, StoreHealth
from .endpoints.token import TokenEndpoint
from .endpoints.user_info import UserInfoEndpoint
from .errors import TemporarilyUnavailable, concerning
from .events import Events
from .guard import OAuthGuard
from .in_flight import InFlight
from .interfaces import (
    IRegistry,
    IResourceServer,
    ITokenStore,
    check_providers,
)
from .mounting import Mounting
from .parts import (
    keys_of,
    make_administration,
    make_deliveries,
    make_housekeeping,
    make_key_ring,
    make_logouts,
    make_pages,
    make_well_known,
    portal_of,
    with_proxies,
)
from .passwords import PasswordThreads
from .protocol.metadata import SERVER, server_metadata, well_known_path
from .protocol.redirection import origin_of
from .protocol.registration import check_issuer
from .readiness import Readiness
from .routes import SingleEndpoint, Tree
from .scope_lookup import names_of_scopes
from .stores.urls import Opened, from_url
from .verification.local import StoreVerifier
from .verification.serving import ServingVerifier
from .web.endpoint import Endpoint, Folder
from .web.error_response import ClientErrors, ErrorResponse
from .web.home import Home
from .web.mounting import Mount
from .web.reporting import ReportedErrors
from .web.sessions import Who
from .web.statistics import Statistics
from .web.well_known import put_below

if TYPE_CHECKING:
    from .metrics import Metrics

#: How long the end waits for requests in flight, in seconds.
DRAIN_DEADLINE = 5


@implementer(IResourceServer)
class AuthorizationServer(ServingVerifier, Service):
    """An OAuth 2.0 authorization server, to be run by itself or inside a larger application::

        server = AuthorizationServer.from_url(
            reactor, "sqlite:///oauth.db", issuer="https://example.com")
        server.setServiceParent(application)
        root.putChild(b"oauth2", server.resource())

    :param reactor: provides IReactorTime and IReactorFromThreads, and what the stores need.
    :param database: opens the stores, which do not answer before; None if they need no opening.
    :param issuer: the public https address of this server (RFC 8414, section 2).
    :param portal: logs resource owners in: it is asked for `IResourceOwner` with a `UsernamePassword`
        of bytes. Without portal and checkers the users are those of the registry.
    :param checkers: of twisted.cred, asked in turn, where there is no portal.
    :param who: says who is logged in, where the host application knows that. It gets a request and the
        path that the browser comes back to. It returns the `IResourceOwner`, or the address of the page
        to log in at, or a Deferred of either. It may have a method: see `Authentication.login_again`.
    :param logout: the address of the host application's page to log out at, which "Log out" leads to.
        It is for ``who``; without it, that link is left out.
    :param templates: a folder with pages of the host application.
    :param prefix: the path at which `resource` is mounted: no request changes it. Without it, see
        `Mounting`.
    :param trusted_proxies: the addresses and networks of the proxies in front of the site, and ``unix``
        for the peers of a Unix socket. Their ``Forwarded`` and ``X-Forwarded-*`` headers are believed.
    :param metrics: counts and times what this server does.
    :raises ConfigurationError: the issuer, the folder, the prefix, a store or the name of a proxy is not
        usable.
    """

    _log = Logger()
    #: The scopes that guards and decorators ask for.
    scopes_asked_for: set[str]
    _opening: Deferred[None] | None = None

    def __init__(
        self,
        reactor: IReactorTime,
        database: Opened | None,
        registry: IRegistry,
        tokens: ITokenStore,
        *,
        issuer: str,
        portal: Portal | None = None,
        checkers: Sequence[ICredentialsChecker] = (),
        who: Who | None = None,
        logout: str | None = None,
        settings: Settings | None = None,
        templates: str | None = None,
        prefix: str | None = None,
        trusted_proxies: Sequence[str] = (),
        metrics: Metrics | None = None,
    ) -> None:
        self.settings = with_proxies(settings or Settings(), trusted_proxies)
        check_issuer(issuer, self.settings.ssl_only)
        check_providers((IRegistry, registry), (ITokenStore, tokens))
        stores = (registry, tokens) if metrics is None else metrics.timed(registry, tokens)
        self.registry, self.tokens = stores
        self.issuer = issuer
        self.pages = make_pages(self.settings, templates, issuer, who, logout)
        self.passwords = PasswordThreads(worker_reactor(reactor))
        self.scopes_asked_for = set()
        self._reactor, self._clock = worker_reactor(reactor), SteadyClock(reactor)
        self._database, self.keys = database, keys_of(self.settings, database)
        self._verifier = StoreVerifier(self._clock, self.tokens, self.settings.access_token_cache)
        self._readiness, self._in_flight, self._mounting = Readiness(), InFlight(), Mounting(prefix)
        self.events = Events(self._clock)
        self._statistics = Statistics(self._clock, self.registry)
        self._make_administration(reactor)
        self.well_known = make_well_known(self.settings, issuer, self._metadata)
        self._portal = portal or portal_of(self.registry, self.passwords, checkers)
        self._make_tree(who, logout, has_own_users=not (portal or checkers))
        self._watch(metrics)

    def _make_administration(self, reactor: IReactorTime) -> None:
        registry, settings, clock, events = self.registry, self.settings, self._clock, self.events
        self._logouts = make_logouts(registry, self.tokens, settings, clock)
        self.administration = make_administration(
            reactor, registry, self.tokens, settings, clock, self.passwords, events, self._logouts
        )
        self.key_ring = make_key_ring(reactor, registry, settings, self.keys, clock)
        others = make_deliveries(reactor, self.issuer, self._logouts, settings, self.key_ring, events)
        self._housekeeping = make_housekeeping(
            reactor, self.administration, self._statistics, self.key_ring, clock, others
        )

    def _watch(self, metrics: Metrics | None) -> None:
        stores = self._database, self.registry, self.tokens
        if self._database is not None:
            self._database.report_outages(self.events.publish)
        self._health = StoreHealth(self._clock, self._readiness, *stores)
        if metrics is not None:
            self._housekeeping.watch_backlog(self.registry, self.tokens)
            parts = self.passwords, self._verifier.cache, self._housekeeping, self._database
            metrics.watch_server(self.events, self._readiness, *parts)

    def _make_tree(self, who: Who | None, logout: str | None, has_own_users: bool) -> None:
        composition = Composition(
            clock=self._clock,
            issuer=self.issuer,
            settings=self.settings,
            registry=self.registry,
            tokens=self.tokens,
            pages=self.pages,
            portal=self._portal,
            passwords=self.passwords,
            has_own_users=has_own_users,
            who=who,
            logout=logout,
            administration=self.administration,
            statistics=self._statistics,
            events=self.events,
            sender=self,
            logouts=self._logouts,
            keys=self.keys,
            ring=self.key_ring,
            verifier=self,
            metadata=self._metadata,
        )
        routes = composition.routes()
        self.authorization_endpoint = routes.authorization_endpoint
        self.token_endpoint = routes.token_endpoint
        self._tree = Tree(self.begin_request, self._mount_of_request, routes)

    @classmethod
    def from_url(
        cls,
        reactor: IReactorTime,
        url: str,
        *,
        issuer: str,
        token_store: str | None = None,
        portal: Portal | None = None,
        checkers: Sequence[ICredentialsChecker] = (),
        who: Who | None = None,
        logout: str | None = None,
        settings: Settings | None = None,
        templates: str | None = None,
        prefix: str | None = None,
        trusted_proxies: Sequence[str] = (),
        metrics: Metrics | None = None,
    ) -> Self:
        """A server on the database of an SQLAlchemy URL, which is opened when the service starts.

        :param token_store: the URL of another store for codes, grants and tokens.
        :raises ConfigurationError: the URL or another argument is not usable.
        """
        database, registry, tokens = from_url(reactor, url, token_store)
        return cls(
            reactor,
            database,
            registry,
            tokens,
            issuer=issuer,
            portal=portal,
            checkers=checkers,
            who=who,
            logout=logout,
            settings=settings,
            templates=templates,
            prefix=prefix,
            trusted_proxies=trusted_proxies,
            metrics=metrics,
        )

    # The service.

    def startService(self) -> None:
        """Open the store; the service is ready when `when_ready` says so."""
        super().startService()
        self._readiness.begin()
        self.passwords.start()
        if not self.settings.ssl_only:
            self._log.warn(
                "SSL_ONLY is false: secrets are not encrypted. Use this for development only."
            )
        opened = opening.open_store(self._reactor, self._database, self.keys)
        if self.key_ring is not None:
            opened.addCallback(opening.start_ring, self.key_ring)
        self._opening = opened.addCallbacks(self._opened, self._not_opened)

    def open_now(self) -> None:
        """Open the store before the reactor runs; `startService` then finds it open.

        :raises ConfigurationError: the store cannot be opened.
        """
        self.keys.check()
        if self._database is not None:
            with concerning("database"):
                self._database.open()

    def _opened(self, _: object) -> None:
        if self.running:
            self._housekeeping.start()
            Deferred.fromCoroutine(
                opening.warn(self.registry, self.scopes_asked_for, self.settings.openid)
            )
        self._readiness.started(is_ready=bool(self.running))

    def _not_opened(self, failure: Failure) -> None:
        opening.log_failure(failure)
        self._readiness.failed(failure)

    def when_ready(self) -> Deferred[None]:
        """Fires when the store is open; fails with `ConfigurationError` where it cannot be."""
        return self._readiness.wait()

    def stopService(self) -> Deferred[None]:
        """Finish the requests in flight, then close the store. Does nothing where it is not running."""
        if not self.running:
            return succeed(None)
        super().stopService()
        self._housekeeping.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        readiness = self._readiness
        # A callback of `when_ready` that stops the server runs before the opening's own end.
        if self._opening is not None and not readiness.is_ready and readiness.failure is None:
            await self._opening
        waiting = self._in_flight.when_idle().addTimeout(DRAIN_DEADLINE, self._reactor)
        await waiting.addErrback(lambda _: None)
        if readiness.is_ready:
            await self._statistics.flush()
        readiness.end()
        self.passwords.stop()
        if self.key_ring is not None:
            self.key_ring.stop()
        if self._database is not None:
            await self._database.close()

    async def check_health(self) -> None:
        """Raise TemporarilyUnavailable where requests cannot be served; see `StoreHealth`."""
        await self._health.check()

    # The resource server.

    def note_scopes(self, scopes: Collection[str]) -> None:
        """Note the scopes that a guard asks for; see `IResourceServer`."""
        self.scopes_asked_for.update(scopes)

    def publish_metadata(self, address: str, scopes: tuple[str, ...]) -> None:
        """Publish the metadata of a guarded resource; see `IResourceServer`."""
        self.well_known.add_resource(address, self.issuer, scopes)

    # The resources.

    def resource(self) -> IResource:
        """Everything below ``/oauth2/``. Its links follow the path at which it is mounted."""
        return self._tree

    def single_endpoint(
        self,
        endpoint: AuthorizationEndpoint | TokenEndpoint,
        errors: ErrorResponse | None = None,
        **elsewhere: str,
    ) -> IResource:
        """One endpoint, to be mounted by itself; see `make_authorization_endpoint`.

        :param errors: makes the responses of its errors; by default they are for clients.
        :param elsewhere: its path, by its name in the metadata.
        :raises ConfigurationError: it is not a path.
        """
        self._mounting.add_endpoints(elsewhere)
        single = SingleEndpoint(endpoint, self.begin_request, self._mount_of_tree)
        name = "token" if isinstance(endpoint, TokenEndpoint) else "authorization"
        reported = ReportedErrors(name, errors or ClientErrors(self.settings.realm), self.events)
        return Endpoint(single, self.settings, errors=reported, name=name)

    def user_info(self) -> IResource:
        """The example API, guarded: ``/api/user_info/``."""
        endpoint = Endpoint(UserInfoEndpoint(self.settings, self.registry), self.settings)
        address = f"{origin_of(self.issuer)}/api/user_info"
        return OAuthGuard(endpoint, self, scopes=("user_info",), address=address)

    def well_known_resource(self) -> IResource:
        """``/.well-known/``: the metadata of this server, and of the guards that have an address."""
        counted = self._in_flight.counted(self.well_known)
        return Endpoint(counted, self.settings, alone=False, name="well_known")

    async def _metadata(self, request: IRequest) -> dict[str, Any]:
        if not self._readiness.is_ready:
            raise TemporarilyUnavailable()
        scopes = await names_of_scopes(self.registry, self.settings.openid)
        mount, endpoint_paths = self._mount_of_tree(request), self._mounting.endpoint_paths
        languages = self.pages.languages if self.settings.openid else None
        return server_metadata(self.issuer, mount.path, scopes, endpoint_paths, languages)

    def root(self) -> IResource:
        """The stand-alone site: `resource` at ``/oauth2/``, and the other addresses."""
        metadata = f"/.well-known/{well_known_path(SERVER, self.issuer)}"
        root = Home(self.settings, self.pages, self._mount_of_tree, metadata).root()
        api = Folder(self.settings)
        root.putChild(b"oauth2", self.resource())
        root.putChild(b".well-known", self.well_known_resource())
        if self.settings.openid:
            put_below(root, self.issuer, b".well-known", self.well_known_resource(), self.settings)
        root.putChild(b"api", api)
        api.putChild(b"user_info", self.user_info())
        counted = self._in_flight.counted(HealthEndpoint(self.settings, self.check_health, self.pages))
        root.putChild(b"livez", Endpoint(LivenessEndpoint(self.settings), self.settings, name="livez"))
        root.putChild(b"healthz", Endpoint(counted, self.settings, name="healthz"))
        return root

    def _mount_of_request(self, request: IRequest) -> Mount:
        return self._mounting.of_request(request, self._tree)

    def _mount_of_tree(self, request: IRequest) -> Mount:
        return self._mounting.of_tree(request, self._tree)
