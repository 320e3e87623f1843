"""The whole: store, settings and resource owners as a Twisted service, and its tree of addresses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Self

from twisted.application.service import Service
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from zope.interface import implementer

from .administration import Administration
from .authorization import AuthorizationEndpoint
from .clock import SteadyClock
from .conf import Settings
from .credentials import random_string
from .endpoints.client_authentication import ClientAuthentication
from .endpoints.health import HealthEndpoint
from .endpoints.introspection import IntrospectionEndpoint
from .endpoints.revocation import RevocationEndpoint
from .endpoints.token import TokenEndpoint
from .endpoints.user_info import UserInfoEndpoint
from .errors import ConfigurationError, TemporarilyUnavailable
from .guard import OAuthGuard
from .interfaces import IRegistry, IResourceServer, ITokenStore, ITokenVerifier
from .models import AccessToken
from .passwords import PasswordThreads
from .protocol.metadata import SERVER, server_metadata, well_known_path
from .protocol.redirection import host_of, origin_of
from .protocol.registration import check_issuer
from .resource_owners import RegistryChecker, make_portal
from .routes import Part, Routes, Tree
from .stores.urls import Opened, from_url
from .verification.local import StoreVerifier
from .web.account import Account
from .web.admin.dispatch import Admin
from .web.devices import Devices
from .web.endpoint import Endpoint, Folder
from .web.error_response import ErrorResponse
from .web.host_login import HostLogin
from .web.image import ImageEndpoint
from .web.login import Login
from .web.mounting import Mount
from .web.pages import Pages
from .web.sessions import Sessions, Who
from .web.statistics import Statistics
from .web.throttle import Attempts, Throttle, Throttles
from .web.well_known import WellKnown

#: How often what is over is looked for, in seconds.
PRUNE_INTERVAL = 60

#: How often what was counted is written down, in seconds.
FLUSH_INTERVAL = 30

#: How long requests in flight are waited for at the end, in seconds.
DRAIN_DEADLINE = 5

#: Failures per minute that are put up with. A client that has lost its secret tries a few times; who
#: needs more is guessing.
CLIENTS_BY_ID = 30
FAILURES_BY_ADDRESS = 300

#: Unknown tokens per minute that one client may ask for: whoever guards a busy API is sent some.
UNKNOWN_TOKENS = 1000


@implementer(ITokenVerifier, IResourceServer)
class AuthorizationServer(Service):
    """An OAuth 2.0 authorization server, to be run by itself or inside a larger application::

        server = AuthorizationServer.from_url(
            reactor, "sqlite:///oauth.db", issuer="https://example.com")
        server.setServiceParent(application)
        root.putChild(b"oauth2", server.resource())

    :param reactor: provides IReactorTime, IReactorThreads and IReactorCore.
    :param database: what has to be opened before the stores answer, or None.
    :param issuer: the public https address of this server (RFC 8414, section 2).
    :param portal: logs resource owners in: it is asked for `IResourceOwner` with a `UsernamePassword`
        of bytes. Without portal and checkers the users are those of the registry.
    :param checkers: of twisted.cred, asked in turn, where there is no portal.
    :param who: says who is logged in where that is the host application's to know: given a request and
        the path that its browser is to come back to, the `IResourceOwner`, or the address of the page to
        log in at; or a Deferred of either.
    :param templates: a folder with pages of one's own.
    :param prefix: the path at which `resource` is mounted, where the metadata cannot find it out.
    :raises ConfigurationError: the issuer or the folder is not usable.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        database: Opened | None,
        registry: IRegistry,
        tokens: ITokenStore,
        *,
        issuer: str,
        portal: Portal | None = None,
        checkers: Sequence[ICredentialsChecker] = (),
        who: Who | None = None,
        settings: Settings | None = None,
        templates: str | None = None,
        prefix: str | None = None,
    ) -> None:
        self.settings = settings or Settings()
        check_issuer(issuer, self.settings.ssl_only)
        self.issuer = issuer
        self.registry = registry
        self.tokens = tokens
        self._clock = SteadyClock(reactor)
        self.passwords = PasswordThreads(reactor)
        self.administration = Administration(
            registry,
            tokens,
            self.settings,
            self.passwords.hash,
            seconds=self._clock.seconds,
            clock=reactor,
        )
        self.pages = Pages(templates, host_of(issuer))
        self._reactor = reactor
        self._database = database
        self._verifier = StoreVerifier(self._clock, tokens, self.settings.access_token_cache)
        own_users = RegistryChecker(registry, self.passwords)
        self._portal = portal or make_portal(registry, checkers or [own_users])
        self._has_own_users = not (portal or checkers)
        self._who = who
        self._ready = False
        self._failure: Failure | None = None
        self._when_ready: list[Deferred[None]] = []
        self._opening: Deferred[None] | None = None
        #: Tells this server from the others on its store.
        self._name = random_string(22)
        self._in_flight = 0
        self._when_idle: Deferred[None] | None = None
        self._statistics = Statistics(self._clock, registry)
        self._pruning = self._again_and_again(self._prune)
        self._flushing = self._again_and_again(self._statistics.flush)
        #: What a round of pruning is about.
        self._cleaning: Deferred[object] = succeed(None)
        #: Where the tree is mounted, once that is known.
        self._mount = None if prefix is None else Mount(prefix)
        #: The paths of endpoints that were mounted by themselves, by their names in the metadata.
        self._elsewhere: dict[str, str] = {}
        #: Scopes that guards and decorators ask for.
        self.scopes_asked_for: set[str] = set()
        self.well_known = WellKnown(self.settings)
        self.well_known.add(well_known_path(SERVER, issuer), self._metadata)
        self._tree = self._make_tree()

    @classmethod
    def from_url(
        cls,
        reactor: Any,
        url: str,
        *,
        issuer: str,
        token_store: str | None = None,
        portal: Portal | None = None,
        checkers: Sequence[ICredentialsChecker] = (),
        who: Who | None = None,
        settings: Settings | None = None,
        templates: str | None = None,
        prefix: str | None = None,
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
            settings=settings,
            templates=templates,
            prefix=prefix,
        )

    # The service.

    def startService(self) -> None:
        """Open the store; the service is ready when `when_ready` says so."""
        super().startService()
        self._failure = None
        self.passwords.start()
        if not self.settings.ssl_only:
            self._log.warn("SSL_ONLY is false: secrets travel in the clear. For development alone.")
        opening = self._open()
        self._opening = opening.addCallbacks(self._opened, self._not_opened)

    def _open(self) -> Deferred[None]:
        database = self._database
        if database is None:
            return succeed(None)
        return deferToThread(database.open).addCallback(lambda _: database.connect())

    def open_now(self) -> None:
        """Open the store before the reactor runs; what follows finds it open.

        :raises ConfigurationError: it cannot be opened.
        """
        if self._database is not None:
            self._database.open()

    def _opened(self, _: object) -> None:
        if self.running:
            self._ready = True
            self._pruning.start(PRUNE_INTERVAL, now=True)
            self._flushing.start(FLUSH_INTERVAL, now=False)
            Deferred.fromCoroutine(self._warn_of_missing_scopes())
        self._tell_ready()

    async def _warn_of_missing_scopes(self) -> None:
        """A guard lets nobody in who asks for a scope that there is not; there may be one later."""
        asked_for = sorted(self.scopes_asked_for)
        with suppress(TemporarilyUnavailable):
            known = await self.registry.find_scopes(tuple(asked_for))
            for scope in asked_for:
                if scope not in known:
                    self._log.warn(
                        "A guard asks for the scope {scope}, which is not registered.", scope=scope
                    )

    def _not_opened(self, failure: Failure) -> None:
        if failure.check(ConfigurationError):
            self._log.critical("The server cannot start: {error}", error=failure.value)
        else:
            self._log.failure("The server cannot start", failure)
        self._failure = failure
        self._tell_ready()

    def _tell_ready(self) -> None:
        waiting, self._when_ready = self._when_ready, []
        for deferred in waiting:
            deferred.callback(self._failure)

    def when_ready(self) -> Deferred[None]:
        """Fires when the store is open; fails with `ConfigurationError` where it cannot be."""
        if self._ready:
            return succeed(None)
        if self._failure is not None:
            return fail(self._failure)
        waiting: Deferred[None] = Deferred()
        self._when_ready.append(waiting)
        return waiting

    def stopService(self) -> Deferred[None]:
        """Finish the requests in flight, then close the store. Does nothing where it is not running."""
        if not self.running:
            return succeed(None)
        super().stopService()
        if self._pruning.running:
            self._pruning.stop()
            self._flushing.stop()
        self._cleaning.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        # Whoever stops it in a callback of `when_ready` is called in the middle of the opening's end.
        if self._opening is not None and not self._ready and self._failure is None:
            await self._opening
        if self._in_flight:
            self._when_idle = Deferred()
            await self._when_idle.addTimeout(DRAIN_DEADLINE, self._reactor).addErrback(lambda _: None)
        if self._ready:
            await self._statistics.flush()
        self._ready = False
        self.passwords.stop()
        if self._database is not None:
            await self._database.close()

    def _again_and_again(self, work: Callable[[], Coroutine[Any, Any, None]]) -> LoopingCall:
        """A loop that goes on where its work fails, whatever with."""

        def fail(failure: Failure) -> None:
            self._log.failure("What is done now and then has failed", failure)

        loop = LoopingCall(lambda: Deferred.fromCoroutine(work()).addErrback(fail))
        loop.clock = self._reactor
        return loop

    async def _prune(self) -> None:
        """Forget what is over, batch by batch; of all processes on a store, one at a time does it."""
        try:
            if await self.registry.acquire_lease(
                "prune", self._name, self._now() + 2 * PRUNE_INTERVAL, self._now()
            ):
                self._cleaning = Deferred.fromCoroutine(self.administration.clean_up(self._now()))
                await self._cleaning
        except CancelledError:
            # The server is stopping.
            pass
        except TemporarilyUnavailable:
            self._log.warn("What is over could not be pruned; the next time may do.")

    def _now(self) -> int:
        return int(self._clock.seconds())

    # The verifier.

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        """Judge an access token; see `ITokenVerifier`."""
        if not self._ready:
            return fail(TemporarilyUnavailable())
        return self._verifier.verify(token, scopes)

    # The resource server.

    def note_scopes(self, scopes: Collection[str]) -> None:
        """Note the scopes that a guard asks for; see `IResourceServer`."""
        self.scopes_asked_for.update(scopes)

    def publish_metadata(self, address: str, scopes: tuple[str, ...]) -> None:
        """Publish the metadata of a guarded resource; see `IResourceServer`."""
        self.well_known.add_resource(address, self.issuer, scopes)

    async def check_health(self) -> None:
        """Raise TemporarilyUnavailable where requests cannot be served."""
        if not self._ready:
            raise TemporarilyUnavailable("the store is not open")
        await self.registry.find_scopes(("",))
        await self.tokens.find_access_token(bytes(32))

    # The tree.

    def resource(self) -> IResource:
        """Everything that lies under ``/oauth2/``; it follows whatever prefix it is mounted at."""
        return self._tree

    def part(
        self,
        endpoint: AuthorizationEndpoint | TokenEndpoint,
        errors: ErrorResponse | None = None,
        **elsewhere: str,
    ) -> IResource:
        """One endpoint, to be mounted by itself; see `make_authorization_endpoint`.

        :param errors: makes the responses of its errors; by default they are for clients.
        :param elsewhere: its path, under its name in the metadata.
        :raises ConfigurationError: the path is none.
        """
        for path in elsewhere.values():
            if not path.startswith("/") or path.startswith("//"):
                raise ConfigurationError(f"{path!r} is not a path: write it like /authorize")
        self._elsewhere.update(elsewhere)
        part = Part(endpoint, self._count_in, self._mount_for)
        return Endpoint(part, self.settings, errors=errors)

    def user_info(self) -> IResource:
        """The example API, guarded: ``/api/user_info/``."""
        endpoint = Endpoint(UserInfoEndpoint(self.settings, self.registry), self.settings)
        address = f"{origin_of(self.issuer)}/api/user_info"
        return OAuthGuard(endpoint, self, scopes=("user_info",), address=address)

    def well_known_resource(self) -> IResource:
        """``/.well-known/``: the metadata of this server, and of the guards that have an address."""
        return self.well_known.resource()

    async def _metadata(self, request: Any) -> dict[str, Any]:
        if not self._ready:
            raise TemporarilyUnavailable()
        scopes = [scope.name for scope in await self.registry.scopes()]
        return server_metadata(self.issuer, self._mount_for(request).path, scopes, self._elsewhere)

    def _mount_for(self, request: Any) -> Mount:
        """Where the tree is mounted, for an answer of ours from outside of it."""
        if self._mount is None:
            self._mount = Mount.within(request.site, self._tree)
        return self._mount or Mount("/oauth2")

    def root(self) -> IResource:
        """The stand-alone site: `resource` at ``/oauth2/``, beside the other addresses."""
        root, api = Folder(self.settings), Folder(self.settings)
        root.putChild(b"oauth2", self.resource())
        root.putChild(b".well-known", self.well_known_resource())
        root.putChild(b"api", api)
        api.putChild(b"user_info", self.user_info())
        health = HealthEndpoint(self.settings, self.check_health)
        root.putChild(b"healthz", Endpoint(health, self.settings))
        return root

    def _make_tree(self) -> Tree:
        clock, settings, registry, pages = self._clock, self.settings, self.registry, self.pages
        sessions = Sessions(clock, registry, settings, self.issuer, self._who)
        self.authorization_endpoint = AuthorizationEndpoint(
            clock, self.issuer, settings, registry, self.tokens, sessions, pages, self._statistics
        )
        clients = ClientAuthentication(settings, registry, self._client_throttles(), clock)
        self.token_endpoint = TokenEndpoint(
            clock, settings, self.tokens, clients, self, self._statistics
        )
        by_unknown = Throttle(clock, registry, "introspection", UNKNOWN_TOKENS)
        routes = Routes(
            settings,
            pages,
            self.authorization_endpoint,
            self._login_pages(sessions),
            self.token_endpoint,
            RevocationEndpoint(settings, self.tokens, clients, self._statistics),
            IntrospectionEndpoint(clock, self.issuer, settings, self.tokens, clients, by_unknown),
            Account(settings, registry, self.tokens, sessions, pages),
            ImageEndpoint(settings, registry),
            Admin(settings, sessions, pages, self.administration, self._statistics),
        )
        return Tree(self._begin, routes)

    def _login_pages(self, sessions: Sessions) -> Login | HostLogin:
        if self._who is not None:
            return HostLogin(self.settings, sessions)
        attempts = Attempts(self._clock, self.registry)
        return Login(
            self.settings,
            self.registry,
            self._portal,
            sessions,
            self.pages,
            attempts,
            self._statistics,
            # Guesses at an account that is kept elsewhere are for its keeper to limit.
            Devices(self.registry, sessions) if self._has_own_users else None,
        )

    def _client_throttles(self) -> Throttles:
        return Throttles(
            Throttle(self._clock, self.registry, "client", CLIENTS_BY_ID),
            Throttle(self._clock, self.registry, "clients", FAILURES_BY_ADDRESS),
        )

    def _begin(self, request: Any, mount: Mount) -> bool:
        """Count a request in flight until it ends; False where the server does not serve."""
        # The host application knows where it mounted us; we learn it here.
        self._mount = mount
        return self._count_in(request)

    def _count_in(self, request: Any) -> bool:
        if not (self._ready and self.running):
            return False
        self._in_flight += 1
        request.notifyFinish().addBoth(self._end)
        return True

    def _end(self, _: object) -> None:
        self._in_flight -= 1
        if not self._in_flight and self._when_idle is not None:
            idle, self._when_idle = self._when_idle, None
            idle.callback(None)
