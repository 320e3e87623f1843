"""A server in memory with people, clients and tokens, and a good request for each address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, urlsplit

from fuzz_grammar import Request
from web_driver import CHALLENGE, PASSWORDS, SCOPES, VERIFIER, App, Browser, System, wait

from djoauth2_twisted import Settings
from djoauth2_twisted.models import Scope
from djoauth2_twisted.testing import Form, MemoryAgent, basic

ADMIN = "root"
ADMIN_PASSWORD = "a password of the root"
#: Peers from here are believed what they forward.
PROXIES = "10.0.0.0/8"
YEAR = 366 * 86400

FORM = (b"Content-Type", b"application/x-www-form-urlencoded")

_PAGES = (
    "authorization/", "account/", "missing_redirect_uri/", "image/", "style.css", "admin/",
    "admin/clients/", "admin/clients/add/", "admin/client/?id={victim}",
    "admin/client/secret/?id={victim}",
    "admin/client/new-secret/?id={victim}", "admin/client/image/?id={victim}",
    "admin/client/delete/?id={victim}",
    "admin/scopes/", "admin/scopes/add/", "admin/scope/?id=example", "admin/scope/delete/?id=example",
    "admin/users/", "admin/users/?search=a", "admin/users/add/", "admin/user/?id=victim",
    "admin/user/password/?id=victim", "admin/user/delete/?id=victim", "admin/grants/?user=bob",
    "admin/audit/",
    "nothing/",
)  # fmt: skip
_OTHERS = (
    "/", "/healthz", "/livez", "/favicon.ico", "/.well-known/oauth-authorization-server", "/nothing",
    "/.well-known/oauth-protected-resource/api/user_info",
)  # fmt: skip


class World:
    """One server for the whole run, whose people and tokens `renew` replaces.

    :ivar templates: good requests.
    :ivar secrets: what no answer and no log may show: codes, tokens, passwords, cookies.
    """

    def __init__(self) -> None:
        # A small cache of access tokens is soon full, and then no longer grows.
        self.system = System(Settings(trusted_proxies=(PROXIES,), access_token_cache=10))
        self.system.add_user(ADMIN, ADMIN_PASSWORD, admin=True)
        self.app, self.other = self.system.add_client("App"), self.system.add_client("Other")
        self.resource_server = self.system.add_client("Resource", resource_server=True)
        self._alice = self.system.browser()
        self._of_people: list[Request] = []
        self.templates: list[Request] = []
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        self.secrets: frozenset[str] = frozenset()
        self.renew()

    def stop(self) -> None:
        """Stop the server."""
        self.system.stop()

    def renew(self) -> None:
        """Let time pass, undo what was changed, log in again, and make codes, tokens and templates."""
        self.pass_time(3600)
        self._restore()
        # An agent of `treq.testing` never closes its connections.
        self.system.agent = MemoryAgent(self.system.site)
        self.system.oracle.secrets = set()
        root = self.system.browser()
        self._alice = self.system.browser()
        assert self._alice.log_in("alice").status == 303
        assert root.log_in(ADMIN, ADMIN_PASSWORD).status == 303
        victim = self.system.add_client("Victim")
        self._of_people = list(self._of_pages(self._alice, root, victim))
        self.renew_tokens()

    def renew_tokens(self) -> None:
        """Make new codes, tokens and templates for applications, if alice has not been logged out."""
        if self.app.ask(self._alice).is_consent:
            of_applications = list(self._of_tokens(self._alice))
            others = [Request(b"GET", path.encode()) for path in _OTHERS]
            self.templates = [*of_applications, *self._of_people, *others]
        secrets = {*self.system.oracle.secrets, *PASSWORDS.values(), ADMIN_PASSWORD, VERIFIER}
        self.secrets = frozenset(secrets) | {
            self.app.secret,
            self.other.secret,
            self.resource_server.secret,
        }
        known = {self.app.client_id, self.other.client_id, self.app.redirect_uri, "alice"}
        self._names = sorted(value.encode() for value in known)
        self._values = sorted(value.encode() for value in known | self.secrets)

    def values_for(self, request: Request) -> list[bytes]:
        """What is known of the system, as it may be put into wrong places of a request. The pages of an
        administrator show the names that were typed there, so no secrets are typed there.
        """
        return self._names if request.path.startswith(b"/oauth2/admin/") else self._values

    def pass_time(self, seconds: int) -> None:
        """Let time pass, and the server prune what has expired meanwhile."""
        self.system.advance(seconds)
        for _ in range(20):
            self.system.advance(61)

    def _restore(self) -> None:
        """Undo what the requests of an administrator have changed."""
        system, administration = self.system, self.system.administration
        kept = {self.app.client_id, self.other.client_id, self.resource_server.client_id}
        for client in system.clients():
            if client.client_id not in kept:
                system.do(administration.delete_client(client.client_id))
        assert kept == {client.client_id for client in system.clients()}
        for scope in wait(system.registry.scopes()):
            if scope.name not in SCOPES:
                system.do(administration.delete_scope(scope.name))
        for missing in set(SCOPES) - {scope.name for scope in wait(system.registry.scopes())}:
            wait(system.registry.add_scope(Scope(missing, f"what {missing} is for")))
        for user in system.people():
            if user.username not in (*PASSWORDS, ADMIN):
                system.do(administration.delete_user(user.username))
        assert {user.username for user in system.people()} == {*PASSWORDS, ADMIN}
        system.add_user("victim", "the password of a victim")

    def _of_tokens(self, alice: Browser) -> Iterator[Request]:
        """What applications send. The requests of one code, one refresh token and one access token."""
        app = self.app
        good = app.tokens(alice, scope="user_info verify")
        code, with_pkce = (
            app.code(alice),
            app.code(alice, code_challenge=CHALLENGE, code_challenge_method="S256"),
        )
        exchange = {"grant_type": "authorization_code", "redirect_uri": app.redirect_uri}
        refresh = {"grant_type": "refresh_token", "refresh_token": good["refresh_token"]}
        bearer = (b"Authorization", f"Bearer {good['access_token']}".encode())
        yield Request(b"GET", b"/api/user_info/", headers=[bearer])
        yield Request(b"POST", b"/api/user_info/", headers=[bearer, FORM], form=[(b"a", b"b")])
        for _ in range(2):
            yield self._post("token", app, {**exchange, "code": code})
            yield self._post("token", app, {**exchange, "code": with_pkce, "code_verifier": VERIFIER})
            yield self._post("token", app, {**refresh, "scope": "user_info"}, in_body=True)
            yield self._post("introspect", self.resource_server, {"token": good["access_token"]})
        yield self._post("token", self.other, {**exchange, "code": code})
        yield self._post("token", self.other, refresh)
        yield self._post(
            "introspect", app, {"token": good["refresh_token"], "token_type_hint": "refresh_token"}
        )
        yield self._post("revoke", app, {"token": app.tokens(alice)["access_token"]})
        yield self._post("revoke", app, {"token": app.tokens(alice)["refresh_token"]}, in_body=True)

    def _post(self, endpoint: str, app: App, fields: dict[str, str], in_body: bool = False) -> Request:
        headers = [FORM]
        if in_body:
            fields = {**fields, "client_id": app.client_id, "client_secret": app.secret}
        else:
            headers.append((b"Authorization", basic(app.client_id, app.secret).encode()))
        return Request(b"POST", f"/oauth2/{endpoint}/".encode(), [], headers, _fields(fields.items()))

    def _of_pages(self, alice: Browser, root: Browser, victim: App) -> Iterator[Request]:
        """What browsers send: the pages, and the forms that are on them."""
        more = {
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "scope": "user_info verify",
        }
        asked = [self.app.address(), self.app.address(**more), victim.address(state="a&b=c é")]
        pages = ["/oauth2/" + page.format(victim=victim.client_id) for page in _PAGES]
        for browser in (alice, root):
            for address in (*asked, *pages):
                if browser is root or "admin/" not in address:
                    yield from _page(browser, address)
        # Logins and logouts end a session, so they are those of others.
        bob, stranger = self.system.browser("bob"), self.system.browser()
        self.app.tokens(bob)
        for address in ("/oauth2/login/", "/oauth2/logout/", "/oauth2/account/"):
            yield from _page(bob, address)
        for address in (
            asked[0],
            "/oauth2/login/?next=/oauth2/account/",
            "/oauth2/account/",
            "/oauth2/admin/users/",
        ):
            yield from _page(stranger, address)


def _page(browser: Browser, address: str) -> Iterator[Request]:
    """A page of a browser, and the forms on it."""
    cookies = [(name.encode(), value.encode()) for name, value in browser.cookie(address)]
    path, _, query = address.partition("?")
    yield Request(b"GET", path.encode(), _fields(parse_qsl(query)), cookies)
    answer = browser.get(address)
    if answer.status == 200 and "html" in (answer.header("content-type") or ""):
        cookies = [(name.encode(), value.encode()) for name, value in browser.cookie(address)]
        for form in answer.page.forms:
            if form.method == "POST":
                yield _filled_in(form, address, cookies)


def _filled_in(form: Form, page: str, cookies: list[tuple[bytes, bytes]]) -> Request:
    """A form as a person sends it."""
    action = urlsplit(form.action or page)
    values = {**form.values, **form.hidden}
    if "user_action" in form.names:
        values["user_action"] = "Accept"
    if "password" in form.names and "username" in form.names:
        values.update(username="alice", password=PASSWORDS["alice"])
    fields = _fields(values.items())
    return Request(
        b"POST", action.path.encode(), _fields(parse_qsl(action.query)), [FORM, *cookies], fields
    )


def _fields(pairs: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in pairs
    ]
