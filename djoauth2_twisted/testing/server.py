"""An authorization server in memory, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import IResource
from twisted.web.server import Site

from ..administration import Administration
from ..conf import Settings
from ..models import Scope
from ..stores.memory import MemoryRegistry, MemoryTokenStore
from .browser import Browser, OAuthClient
from .requests import ORIGIN, MemorySite, result_of
from .verifier import memory_clock

if TYPE_CHECKING:
    from ..server import AuthorizationServer

_T = TypeVar("_T")

#: The password of a user who is given no other.
PASSWORD = "correct horse battery"


class MemoryServer(MemorySite):
    """An `AuthorizationServer` over the memory stores, which has been started, in its own site::

        with MemoryServer() as server:
            server.add_scope("user_info")
            alice = server.add_user("alice")
            client = server.add_client("My application", "https://app.example/cb")
            tokens = client.tokens(server.browser(alice))

    Passwords are compared as they are, so that no test waits for argon2id; the rest is what runs in
    production.

    :param root: makes the site's root resource of the server. Without it the site is that of the
        stand-alone server, and ``server.root.putChild(b"files", guard)`` adds to it.
    :param prefix: the path at which ``root`` mounts the server.
    :param options: for `AuthorizationServer`: ``portal``, ``checkers``, ``who``, ``templates``.
    """

    def __init__(
        self,
        root: Callable[[AuthorizationServer], IResource] | None = None,
        *,
        issuer: str = ORIGIN,
        settings: Settings | None = None,
        clock: Clock | None = None,
        prefix: str = "/oauth2",
        **options: Any,
    ) -> None:
        # Not at the top: the server's routes may install a reactor.
        from ..server import AuthorizationServer

        self.clock = clock or memory_clock()
        self.registry, self.tokens = MemoryRegistry(), MemoryTokenStore()
        self.settings = settings or Settings()
        self.prefix = prefix
        self._passwords = InMemoryUsernamePasswordDatabaseDontUse()
        options.setdefault("checkers", [self._passwords])
        #: The server itself: a service, and the verifier for a guard.
        self.server = AuthorizationServer(
            self.clock,
            None,
            self.registry,
            self.tokens,
            issuer=issuer,
            settings=self.settings,
            prefix=prefix,
            **options,
        )
        #: What an administrator may do; its coroutines go through `do`.
        self.administration = Administration(
            self.registry, self.tokens, self.settings, _no_hash, seconds=self.clock.seconds
        )
        self.root = (root or AuthorizationServer.root)(self.server)
        super().__init__(Site(self.root, reactor=self.clock), ORIGIN)
        self.server.startService()
        result_of(self.server.when_ready())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the server. A test that does not use ``with`` calls it at its end."""
        result_of(self.server.stopService())

    def do(self, action: Coroutine[Any, Any, _T]) -> _T:
        """The result of an action of ``administration``, as of ``edit_client(...)``."""
        return result_of(Deferred.fromCoroutine(action))

    def add_scope(self, name: str, description: str = "") -> None:
        """Register a scope."""
        result_of(self.registry.add_scope(Scope(name, description or name)))

    def add_user(self, username: str, password: str = PASSWORD, **profile: Any) -> str:
        """Register a user, and return the name.

        :param profile: ``email``, ``first_name``, ``last_name``, ``admin``.
        """
        self._passwords.addUser(username.encode(), password.encode())
        self.do(self.administration.add_user(username, password, **profile))
        return username

    def add_client(
        self, name: str, *redirect_uris: str, scopes: Iterable[str] | None = None, **fields: Any
    ) -> OAuthClient:
        """Register a client.

        :param scopes: the only ones that it may ask for.
        :param fields: ``description``, ``resource_server`` and others of `Administration.add_client`.
        """
        allowed = None if scopes is None else tuple(scopes)
        client, secret = self.do(
            self.administration.add_client(name, redirect_uris, scopes=allowed, **fields)
        )
        redirect_uri = redirect_uris[0] if redirect_uris else ""
        return OAuthClient(self, client.client_id, secret, redirect_uri, prefix=self.prefix)

    def browser(self, username: str | None = None, password: str = PASSWORD) -> Browser:
        """A browser, in which the user is logged in where a name is given."""
        browser = Browser(self, self.prefix)
        if username is not None:
            answer = browser.log_in(username, password)
            assert answer.status == 303, f"{username} is not logged in: {answer.text[:300]}"
        return browser


async def _no_hash(password: str) -> str:
    return "compared in memory"
