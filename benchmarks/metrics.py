"""The costs of metrics, on the guard and on the token endpoint.

    python benchmarks/metrics.py [REQUESTS [ROUNDS]]

Two servers, one with metrics and one without, each in its own process and with its own SQLite file,
answer the same requests in turn: for a guarded resource, with cached access tokens, and refreshes at the
token endpoint. The table has the server's CPU time for a request in milliseconds, the median of the
rounds, and the size and the cost of a scrape.
"""

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
from urllib.parse import urlencode

from guard import BODY, TOKENS, load, state

REDIRECT_URI = "https://app.example/cb"


def serve(url, with_metrics):
    """Run the server. It prints its port, a client, a code of it, and access tokens."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.web.resource import Resource

    from djoauth2_twisted import AuthorizationServer, OAuthGuard, Settings
    from djoauth2_twisted.credentials import digest, random_string
    from djoauth2_twisted.metrics import Metrics
    from djoauth2_twisted.models import Scope
    from djoauth2_twisted.stores.contract import new_grant, new_issuance, proof_of
    from djoauth2_twisted.web.site import LimitedSite

    class Body(Resource):
        isLeaf = True

        def render_GET(self, request):
            return BODY

    metrics = Metrics() if with_metrics == "on" else None
    server = AuthorizationServer.from_url(
        reactor, url, issuer="http://localhost", settings=Settings(ssl_only=False), metrics=metrics
    )

    async def begin():
        server.open_now()
        server.startService()
        await server.when_ready()
        for scope in ("read", "write"):
            await server.registry.add_scope(Scope(scope, scope))
        client, secret = await server.administration.add_client("bench", (REDIRECT_URI,))
        code, values = random_string(30), [random_string(30) for _ in range(TOKENS)]
        named = {"client_id": client.client_id, "redirect_uri": REDIRECT_URI, "code_challenge": None}
        await server.tokens.add_code(new_grant(code_digest=digest(code), **named))
        for value in values:
            grant = new_grant(id=random_string(30))
            await server.tokens.add_code(grant)
            issuance = new_issuance(access_digest=digest(value))
            await server.tokens.redeem_code(grant.code_digest, proof_of(grant), issuance)
        root = server.root()
        root.putChild(b"guarded", OAuthGuard(Body(), server, scopes=("read",)))
        site = LimitedSite(root, reactor)
        if metrics is not None:
            metrics.watch_site(site)
            root.putChild(b"metrics", metrics.resource())
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        print(port.getHost().port, client.client_id, secret, code, *values, flush=True)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(begin()))
    reactor.run()


class Server:
    """A server in a separate process."""

    def __init__(self, folder, with_metrics):
        url = f"sqlite:///{folder}/{with_metrics}.db"
        command = [sys.executable, __file__, "serve", url, with_metrics]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        port, client, secret, code, *self.tokens = self.process.stdout.readline().split()
        self.port = int(port)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)
        self.client = {"client_id": client, "client_secret": secret}
        self.refresh_token = self.exchange(
            grant_type="authorization_code", code=code, redirect_uri=REDIRECT_URI
        )

    def exchange(self, **form):
        """Exchange a code or refresh token. Returns the new refresh token."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form | self.client)
        self.connection.request("POST", "/oauth2/token/", body, headers)
        with self.connection.getresponse() as response:
            answer = json.load(response)
            assert response.status == 200, answer
        return answer["refresh_token"]

    def guard(self, count):
        """Ask for a guarded resource."""
        load(self.port, "/guarded", self.tokens, count)

    def refresh(self, count):
        """Refresh, one after the other."""
        # The server has closed the connection, if it was idle for a minute.
        self.connection.close()
        for _ in range(count):
            self.refresh_token = self.exchange(
                grant_type="refresh_token", refresh_token=self.refresh_token
            )

    def scrape(self, count):
        """Read the metrics. Returns their size in bytes."""
        self.connection.close()
        for _ in range(count):
            self.connection.request("GET", "/metrics")
            with self.connection.getresponse() as response:
                size = len(response.read())
        return size

    def cost(self, work, count):
        """The CPU time of a request in milliseconds."""
        before = state(self.process)[0]
        work(self, count)
        return 1000 * (state(self.process)[0] - before) / count

    def end(self):
        """End the process."""
        self.connection.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def main(count="20000", rounds="7"):
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        servers = {name: Server(folder, name) for name in ("off", "on")}
        try:
            print("| request | metrics off | metrics on | difference |")
            print("|---" * 4 + "|")
            for work, each in ((Server.guard, int(count)), (Server.refresh, int(count) // 10)):
                costs = {name: [] for name in servers}
                for server in servers.values():
                    server.cost(work, each // 10)
                for _ in range(int(rounds)):
                    for name, server in servers.items():
                        costs[name].append(server.cost(work, each))
                off, on = (statistics.median(costs[name]) for name in ("off", "on"))
                more = 100 * (on - off) / off
                print(f"| {work.__name__} | {off:.3f} ms | {on:.3f} ms | {more:+.1f} % |", flush=True)
            server = servers["on"]
            print(f"scrape: {server.scrape(1)} bytes, {server.cost(Server.scrape, 200):.2f} ms")
        finally:
            for server in servers.values():
                server.end()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
