"""The costs of the guard, with and without the cache of access tokens.

    python benchmarks/guard.py [REQUESTS [URL ...]]

Each URL names a store, as for `stores.py`; the default is a SQLite file. A server in its own process
guards a resource of a hundred bytes. Eight connections request it over plain HTTP, each time with one of
a thousand tokens. The table has the server's CPU time for a request, in milliseconds, and the requests
per second: for a resource without a guard, without the cache and with it. It also has the memory that
the server needs for the cache of the thousand tokens.
"""

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CONNECTIONS = 8
TOKENS = 1000
BODY = b'{"resource": "' + b"x" * 83 + b'"}\n'


def serve(url, cache):
    """Run the server. It prints its port and its tokens, and serves until it is killed."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    from djoauth2_twisted import AuthorizationServer, OAuthGuard, Settings
    from djoauth2_twisted.credentials import digest, random_string
    from djoauth2_twisted.stores.contract import new_grant, new_issuance, proof_of

    class Body(Resource):
        isLeaf = True

        def render_GET(self, request):
            return BODY

    settings = Settings(ssl_only=False, access_token_cache=int(cache))
    database, tokens = ("sqlite://", url) if url.startswith("redis") else (url, None)
    server = AuthorizationServer.from_url(
        reactor, database, issuer="http://localhost", token_store=tokens, settings=settings
    )

    async def begin():
        server._database.open(prepare=True)
        server.startService()
        await server.when_ready()
        values = [random_string(30) for _ in range(TOKENS)]
        for value in values:
            grant = new_grant(id=random_string(30))
            await server.tokens.add_code(grant)
            issuance = new_issuance(access_digest=digest(value))
            await server.tokens.redeem_code(grant.code_digest, proof_of(grant), issuance)
        root = Resource()
        root.putChild(b"open", Body())
        root.putChild(b"guarded", OAuthGuard(Body(), server, scopes=("read",)))
        port = reactor.listenTCP(0, Site(root), interface="127.0.0.1")
        print(port.getHost().port, *values, flush=True)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(begin()))
    reactor.run()


def state(process):
    """The CPU time that a process has used, in seconds, and its memory, in KiB."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages * 4


def load(port, path, tokens, count):
    """Send ``count`` requests."""

    def some(number):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for turn in range(count // CONNECTIONS):
            token = tokens[(turn * CONNECTIONS + number) % len(tokens)]
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            with connection.getresponse() as response:
                assert response.status == 200
                response.read()
        connection.close()

    threads = [threading.Thread(target=some, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(url, cache, count, path="/guarded"):
    """The CPU time of a request in ms, requests per second, and memory in MiB after using all tokens."""
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", url, str(cache)], stdout=subprocess.PIPE, text=True
    )
    try:
        port, *tokens = process.stdout.readline().split()
        load(int(port), path, tokens, 2 * TOKENS)
        used, begun = state(process)[0], time.perf_counter()
        load(int(port), path, tokens, count)
        took = time.perf_counter() - begun
        now, memory = state(process)
        return 1000 * (now - used) / count, count / took, memory / 1024
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main(count="20000", *urls):
    """Measure and print."""
    print("| store | no guard | cache off | cache on | memory |")
    print("|---" * 5 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for url in urls or (f"sqlite:///{folder}/store.db",):
            ways = ((0, "/open"), (0, "/guarded"), (10000, "/guarded"))
            found = [measure(url, cache, int(count), path) for cache, path in ways]
            cells = [f"{cpu:.3f} ms, {rate:.0f}/s" for cpu, rate, _ in found]
            more = found[2][2] - found[1][2]
            print(
                f"| {url.partition(':')[0]} | " + " | ".join(cells) + f" | {more:+.1f} MiB |", flush=True
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
