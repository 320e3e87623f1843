"""What metrics cost, without a network: only the work of the process is counted.

    python benchmarks/metrics.py

Two servers in memory, one with metrics and one without, answer the same requests in turn, in the
stand-alone server's site with its access log: for a guarded resource, with a token that the cache
knows, and refreshes at the token endpoint. The table has the microseconds of CPU time for a request, the
least of some rounds, and how many instructions of Python's byte code it takes, calls of built-in
functions being one each. They do not depend on what else the machine does. Reading from a socket and
writing to it, and TLS, are not in either. The last line has the size and the CPU time of a scrape.
"""

import base64
import json
import sys
import time
from urllib.parse import urlencode

from guard_inside import BODY, Transport, own_site

REDIRECT_URI = "https://app.example/cb"
KINDS = ("guard", "refresh")
ROUNDS, REQUESTS = 60, 100


class Connection(Transport):
    """A connection whose last answer is kept."""

    last = b""

    def write(self, data):
        super().write(data)
        self.last = data


class Measured:
    """A server in memory, and a client with tokens that the server has issued."""

    def __init__(self, with_metrics):
        from twisted.internet import reactor
        from twisted.web.resource import Resource

        from djoauth2_twisted import AuthorizationServer, OAuthGuard
        from djoauth2_twisted.metrics import Metrics
        from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore

        class Body(Resource):
            isLeaf = True

            def render_GET(self, request):
                return BODY

        self.metrics = Metrics() if with_metrics else None
        self.reactor = reactor
        server = AuthorizationServer(
            reactor,
            None,
            MemoryRegistry(),
            MemoryTokenStore(),
            issuer="https://localhost",
            metrics=self.metrics,
        )
        server.startService()
        root = server.root()
        root.putChild(b"guarded", OAuthGuard(Body(), server, scopes=("read",)))
        self.site = own_site(root, reactor)
        if with_metrics:
            self.metrics.watch_site(self.site)
        self._prepare(server)

    def _connect(self):
        """Make a connection. The one before may have been idle for too long."""
        from twisted.internet.address import IPv4Address

        self.channel = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self.connection = Connection()
        self.channel.makeConnection(self.connection)

    def _prepare(self, server):
        """Register a client, and exchange one of its codes."""
        from twisted.internet.defer import Deferred

        from djoauth2_twisted.credentials import digest, random_string
        from djoauth2_twisted.models import Scope
        from djoauth2_twisted.stores.contract import new_grant

        server.registry.add_scope(Scope("read", "read"))
        adding = Deferred.fromCoroutine(server.administration.add_client("bench", (REDIRECT_URI,)))
        client, secret = adding.result
        self.basic = base64.b64encode(f"{client.client_id}:{secret}".encode())
        code, now = random_string(30), int(time.time())
        grant = new_grant(
            code_digest=digest(code),
            client_id=client.client_id,
            redirect_uri=REDIRECT_URI,
            code_challenge=None,
            scopes=("read",),
            created=now,
            expires=now + 600,
            code_expires=now + 600,
        )
        server.tokens.add_code(grant)
        self._connect()
        self._exchange(grant_type="authorization_code", code=code, redirect_uri=REDIRECT_URI)

    def _send(self, request):
        expected = self.connection.answers + 1
        self.channel.dataReceived(request)
        # What the request has left for the reactor's next turn.
        self.reactor.runUntilCurrent()
        assert self.connection.answers == expected, self.connection.last

    def _exchange(self, **form):
        body = urlencode(form).encode()
        self._send(
            b"POST /oauth2/token/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %b\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b"
            % (self.basic, len(body), body)
        )
        self.tokens = json.loads(self.connection.last.rpartition(b"\r\n\r\n")[2])

    def guard(self, count):
        """Ask for a guarded resource."""
        head = b"GET /guarded HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nAuthorization: Bearer "
        self._connect()
        request = head + self.tokens["access_token"].encode() + b"\r\n\r\n"
        for _ in range(count):
            self._send(request)

    def refresh(self, count):
        """Refresh, one after the other."""
        self._connect()
        for _ in range(count):
            self._exchange(grant_type="refresh_token", refresh_token=self.tokens["refresh_token"])


def least(works):
    """The least microseconds of CPU time for one of `REQUESTS` units of each work, done in turn."""
    found = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for place, work in enumerate(works):
            begun = time.process_time()
            work(REQUESTS)
            found[place] = min(found[place], (time.process_time() - begun) / REQUESTS * 1e6)
    return found


def instructions(work):
    """The instructions of byte code for one unit of a work."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    work(REQUESTS)
    sys.settrace(trace)
    work(REQUESTS)
    sys.settrace(None)
    return count / REQUESTS


def main():
    """Measure and print."""
    servers = [Measured(with_metrics) for with_metrics in (False, True)]
    print("| request | measured | metrics off | metrics on | difference |")
    print("|---" * 5 + "|")
    for kind in KINDS:
        works = [getattr(server, kind) for server in servers]
        for what, (off, on) in (
            ("instructions", map(instructions, works)),
            ("microseconds", least(works)),
        ):
            more = f"{on - off:+.1f} ({100 * (on - off) / off:+.1f} %)"
            print(f"| {kind} | {what} | {off:.1f} | {on:.1f} | {more} |", flush=True)
    metrics = servers[1].metrics
    (scrape,) = least([lambda count: [metrics.text() for _ in range(count // 50)]])
    print(f"scrape: {len(metrics.text())} bytes, {scrape * REQUESTS / (REQUESTS // 50) / 1000:.2f} ms")


if __name__ == "__main__":
    main()
