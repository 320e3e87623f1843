"""The server for a benchmark harness: ``twistd -ny app.py``, with `common` on the path.

It is the server of ``twistd djoauth2``, with two more addresses: ``/resource``, behind the guard, and
``/_bench/seed``, which issues codes and tokens through the token store. The environment has PORT;
DATABASE, a URL or ``memory``; TOKEN_STORE, the URL of another store for the tokens; TLS, a key and a
certificate as in an endpoint string; OPENID, the algorithm of ID tokens, which are then issued with each
refresh and exchange; ACCESS_LOG and CACHE, ``off`` to run without.
"""

import json
import os
import tempfile
import time

from common import BODY, CHALLENGE, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, VERIFIER
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource

from djoauth2_twisted import AuthorizationServer, OAuthGuard, Settings
from djoauth2_twisted.credentials import digest, random_string
from djoauth2_twisted.models import Client, CodeProof, Grant, Issuance, ResourceOwner
from djoauth2_twisted.standalone.access_log import BatchedLog, text_format
from djoauth2_twisted.standalone.connections import Connections
from djoauth2_twisted.standalone.files import ServiceLog
from djoauth2_twisted.standalone.ports import Port
from djoauth2_twisted.standalone.service import StandAlone
from djoauth2_twisted.web.endpoint import Endpoint
from djoauth2_twisted.web.respond import as_json
from djoauth2_twisted.web.sharing import Shares
from djoauth2_twisted.web.site import LimitedSite

#: The algorithm of ID tokens; empty where none are issued.
OPENID = os.environ.get("OPENID", "")

SCOPES = ("openid", "read") if OPENID else ("read",)
OWNER = ResourceOwner("bench", subject="bench")

#: How many codes or tokens are issued at once.
CONCURRENCY = 32


class Protected(Resource):
    """The guarded resource: a hundred bytes of JSON."""

    isLeaf = True

    def render_GET(self, request):
        """Answer at once, as the harness's other applications do."""
        request.setHeader(b"content-type", b"application/json")
        return BODY


class Seed:
    """``/_bench/seed``: issues codes, access tokens or refresh tokens, and returns them."""

    def __init__(self, server):
        self.server = server

    async def __call__(self, request):
        """Answer ``{"kind": "access", "n": 10, "quiet": false}``."""
        asked = json.loads(request.content.read())
        left = iter(range(asked["n"]))
        values = []

        async def issue_some():
            for _ in left:
                value = await self.issue(asked["kind"])
                if not asked.get("quiet"):
                    values.append(value)

        await gatherResults([Deferred.fromCoroutine(issue_some()) for _ in range(CONCURRENCY)])
        return as_json(request, 200, {"values": values})

    async def issue(self, kind):
        """Issue a code; for another kind, exchange it and return the token of that kind."""
        settings, tokens = self.server.settings, self.server.tokens
        now = int(reactor.seconds())
        code = random_string(settings.authorization_code_length)
        expires = now + settings.authorization_code_lifetime
        grant_id = random_string(settings.client_key_length)
        owned = grant_id, CLIENT_ID, OWNER, SCOPES, now, now, expires
        assert await tokens.add_code(Grant(*owned, digest(code), expires, REDIRECT_URI, CHALLENGE))
        if kind == "code":
            return code
        access_token = random_string(settings.access_token_length)
        refresh_token = random_string(settings.refresh_token_length)
        issuance = Issuance(
            now=now,
            access_digest=digest(access_token),
            access_expires=now + settings.access_token_lifetime,
            refresh_digest=digest(refresh_token),
            refresh_expires=now + settings.refresh_token_lifetime,
        )
        await tokens.redeem_code(digest(code), CodeProof(CLIENT_ID, REDIRECT_URI, VERIFIER), issuance)
        return access_token if kind == "access" else refresh_token


class SilentSite(LimitedSite):
    """A site without an access log, to see what the log costs."""

    def log(self, request):
        """Log nothing."""


async def add_client(server):
    """Register the client of the harness."""
    await server.when_ready()
    algorithm = {"id_token_alg": OPENID} if OPENID else {}
    client = Client(
        CLIENT_ID, "bench", digest(CLIENT_SECRET), redirect_uris=(REDIRECT_URI,), **algorithm
    )
    await server.registry.add_client(client)


def make_server(tls):
    """An `AuthorizationServer` with the defaults, on the stores that the environment names."""
    url, cached = os.environ["DATABASE"], os.environ.get("CACHE") != "off"
    cache = {} if cached else {"access_token_cache": 0}
    settings = Settings(ssl_only=tls, openid=bool(OPENID), **cache)
    issuer = "https://localhost" if tls else "http://localhost"
    if url != "memory":
        tokens = os.environ.get("TOKEN_STORE")
        return AuthorizationServer.from_url(
            reactor, url, issuer=issuer, token_store=tokens, settings=settings
        )
    # As in `twistd djoauth2`, a server on a database does not load the stores in memory.
    from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore

    stores = MemoryRegistry(), MemoryTokenStore()
    return AuthorizationServer(reactor, None, *stores, issuer=issuer, settings=settings)


def make_service():
    """The stand-alone service on $PORT of the loopback interface."""
    tls = os.environ.get("TLS")
    server = make_server(bool(tls))
    root, bench = server.root(), Resource()
    root.putChild(b"resource", OAuthGuard(Protected(), server, scopes=("read",)))
    root.putChild(b"_bench", bench)
    bench.putChild(b"seed", Endpoint(Seed(server), server.settings))
    site_class = SilentSite if os.environ.get("ACCESS_LOG") == "off" else LimitedSite
    interface = f"{os.environ['PORT']}:interface=127.0.0.1"
    description = f"ssl:{interface}:{tls}" if tls else f"tcp:{interface}"
    site = site_class(root, reactor, shares=Shares(reactor, spent=time.thread_time))
    # As `twistd djoauth2` writes it, together with the log of all other events.
    log = ServiceLog.at(os.path.join(tempfile.gettempdir(), "djoauth2-access.log"))
    site.access_log = BatchedLog(reactor, text_format(None), log.write)
    connections = Connections(site)
    port = Port(description, serverFromString(reactor, description), connections)
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(add_client(server)))
    return StandAlone(reactor, server, [port], connections)


application = Application("djoauth2")
make_service().setServiceParent(application)
