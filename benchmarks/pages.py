"""The size of each page, and the time that it takes.

The requests go through the whole stand-alone site in this process, with stores in memory: the HTTP
parser, routes, checks, session, template, and the bytes of the answer. The table also has the time of
the template alone. Network and database are not measured.

    python benchmarks/pages.py [rounds]
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import alsoProvides

from djoauth2_twisted import AuthorizationServer, Settings
from djoauth2_twisted.credentials import digest
from djoauth2_twisted.models import Client, CodeProof, Event, Grant, Issuance, ResourceOwner, Scope, User
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore
from djoauth2_twisted.web.account import MAX_SHOWN
from djoauth2_twisted.web.admin.admin_request import PAGE_SIZE
from djoauth2_twisted.web.site import LimitedSite
from djoauth2_twisted.web.statistics import AUTHORIZATION, DENIAL, EXCHANGE, REFRESH

#: The limits: a page with its style sheet, in bytes, and the rendering of its template, in milliseconds.
MAX_PAGE_SIZE = 30_000
MAX_MS = 1.0

DESCRIPTION = "See your name and your e-mail address, and change neither of them."
SCOPES = ("user_info", "calendar", "contacts", "files")


class Connection(StringTransport):
    """The server's end of a persistent connection."""

    def __init__(self, site: LimitedSite) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 50000))
        alsoProvides(self, ISSLTransport)
        self._clock = site.reactor
        self._protocol = site.buildProtocol(self.getPeer())
        self._protocol.makeConnection(self)

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def setTcpKeepAlive(self, enabled: bool) -> None: ...

    def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """The head and the body of the answer, which comes at once."""
        self.clear()
        # The server reads the next request in the turn after the last answer.
        self._clock.advance(0)
        self._protocol.dataReceived(request)
        head, _, body = self.value().partition(b"\r\n\r\n")
        return head, body


class Recorder:
    """Records the arguments of the last rendering."""

    def __init__(self, server: AuthorizationServer) -> None:
        self.render = server.pages.render
        self.last: tuple[Any, ...] = ()
        server.pages.render = self  # type: ignore[assignment,method-assign]

    def __call__(self, *arguments: Any) -> str:
        self.last = arguments
        return self.render(*arguments)


def request(path: str, cookie: str = "", form: dict[str, str] | None = None) -> bytes:
    """A request as a browser sends it."""
    body = urlencode(form or {})
    lines = [
        f"{'GET' if form is None else 'POST'} {path} HTTP/1.1",
        "Host: as.example",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language: de-AT,de;q=0.8,en-US;q=0.5,en;q=0.3",
        f"Cookie: {cookie}",
        *(
            [f"Content-Length: {len(body)}", "Content-Type: application/x-www-form-urlencoded"]
            * bool(form)
        ),
    ]
    return "\r\n".join([*lines, "", body]).encode("ascii")


def fired(deferred: Deferred[Any]) -> Any:
    """The result of a Deferred that has already fired."""
    results: list[Any] = []
    deferred.addCallback(results.append)
    return results[0]


def seed(registry: MemoryRegistry, tokens: MemoryTokenStore) -> None:
    """Add scopes, as many clients as the account page shows, and a grant for each."""
    for name in SCOPES:
        fired(registry.add_scope(Scope(name, DESCRIPTION)))
    for number in range(MAX_SHOWN):
        uri = f"https://app{number}.example/callback"
        client = Client(
            f"client{number}",
            f"Weather for you {number}",
            digest("secret"),
            "Rain or shine, wherever you are, and a word of warning before each of them.",
            redirect_uris=(uri,),
        )
        fired(registry.add_client(client))
        code = digest(f"code{number}")
        owner = ResourceOwner("alice")
        name = client.client_id
        grant = Grant(f"g{number}", name, owner, SCOPES[:2], 0, 0, 9999, code, 9999, uri, None)
        fired(tokens.add_code(grant))
        issuance = Issuance(1, digest(f"access{number}"), 9999, digest(f"refresh{number}"), 9999)
        fired(tokens.redeem_code(code, CodeProof(name, uri, None), issuance))


def measure(rounds: int, step: Callable[[], object]) -> tuple[float, float]:
    """Median and 99th percentile of a step, in milliseconds of CPU, because the machine may be busy."""
    took = []
    for _ in range(rounds):
        begun = time.thread_time()
        step()
        took.append((time.thread_time() - begun) * 1000)
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


def log_in(connection: Connection) -> str:
    """Log in. Returns the cookie of the browser."""
    cookie = ""
    form = None
    for _ in range(2):
        head, body = connection.ask(request("/oauth2/login/", cookie, form))
        cookie = re.findall(rb"(?i)set-cookie: ([^;]+)", head)[0].decode()
        token = re.search(r'name="csrf_token" value="([^"]+)"', body.decode())
        form = {"username": "alice", "password": "a password"}
        form["csrf_token"] = token[1] if token else ""
    return cookie


def seed_administration(registry: MemoryRegistry, tokens: MemoryTokenStore) -> None:
    """Add an administrator, and more rows of each kind than a page of a list shows."""
    fired(registry.add_user(User("alice", "none", admin=True)))
    for number in range(PAGE_SIZE + 5):
        fired(registry.add_user(User(f"user{number}", "none", f"user{number}@mail.example")))
        uris = (f"https://listed{number}.example/callback",)
        fired(registry.add_client(Client(f"l{number}", f"Listed {number}", b"", redirect_uris=uris)))
        owner, code = ResourceOwner(f"user{number}"), digest(f"listed{number}")
        grant = Grant(f"l{number}", f"l{number}", owner, SCOPES, 0, 0, 9999, code, 9999, uris[0], None)
        fired(tokens.add_code(grant))
        details = {"name": f"Listed {number}", "redirect_uris": uris[0]}
        event = Event(f"e{number}", number, "alice", "client add", f"l{number}", "192.0.2.1", details)
        fired(registry.add_event(event))
    kinds = (AUTHORIZATION, DENIAL, EXCHANGE, REFRESH, "token/invalid_grant", "token/invalid_client")
    counts = {(hour, kind): 100 + hour % 24 for hour in range(-719, 1) for kind in kinds}
    fired(registry.add_statistics(counts))


ADMINISTRATION = {
    "administration, overview": "",
    f"administration, {PAGE_SIZE} clients": "clients/",
    "administration, a client": "client/?id=client0",
    f"administration, {PAGE_SIZE} users": "users/",
    f"administration, {PAGE_SIZE} grants": "grants/",
    f"administration, {PAGE_SIZE} rows of the audit trail": "audit/",
}


def main(rounds: int) -> None:
    """Measure and print."""
    clock, registry, tokens = Clock(), MemoryRegistry(), MemoryTokenStore()
    seed(registry, tokens)
    checker = InMemoryUsernamePasswordDatabaseDontUse(alice=b"a password")
    server = AuthorizationServer(
        clock,
        None,
        registry,
        tokens,
        issuer="https://as.example",
        checkers=[checker],
        settings=Settings(),
    )
    server.startService()
    recorder = Recorder(server)
    connection = Connection(LimitedSite(server.root(), clock))
    cookie = log_in(connection)
    style = len(connection.ask(request("/oauth2/style.css"))[1])
    admin_style = len(connection.ask(request("/oauth2/admin.css"))[1])
    asked = urlencode(
        {
            "response_type": "code",
            "client_id": "client0",
            "redirect_uri": "https://app0.example/callback",
            "scope": " ".join(SCOPES),
            "state": "af0ifjsldkj",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "code_challenge_method": "S256",
        }
    )
    pages = {
        "login": request(f"/oauth2/login/?next={quote(f'/oauth2/authorization/?{asked}', safe='')}"),
        f"consent, {len(SCOPES)} scopes": request(f"/oauth2/authorization/?{asked}", cookie),
        f"account, {MAX_SHOWN} applications": request("/oauth2/account/", cookie),
        "logout": request("/oauth2/logout/", cookie),
        "missing redirect URI": request("/oauth2/authorization/?client_id=nobody", cookie),
        "not found": request("/oauth2/nothing", cookie),
    }
    seed_administration(registry, tokens)
    for name, path in ADMINISTRATION.items():
        pages[name] = request(f"/oauth2/admin/{path}", cookie)
    print(f"The style sheet has {style} bytes, and the administration's {admin_style} bytes beside it.")
    print("Times in milliseconds of CPU.\n")
    print("| page | HTML | with style | left of 30 kB | request | p99 | template | p99 |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, sent in pages.items():
        _, body = connection.ask(sent)
        size = len(body) + style + (admin_style if name in ADMINISTRATION else 0)
        whole, whole_99 = measure(rounds, lambda sent=sent: connection.ask(sent))  # type: ignore[misc]
        alone, alone_99 = measure(rounds, lambda last=recorder.last: recorder.render(*last))  # type: ignore[misc]
        print(
            f"| {name} | {len(body)} | {size} | {MAX_PAGE_SIZE - size} "
            f"| {whole:.3f} | {whole_99:.3f} | {alone:.3f} | {alone_99:.3f} |"
        )
        if size > MAX_PAGE_SIZE or alone > MAX_MS:
            raise SystemExit(f"{name} is larger or slower than it may be")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
