"""One worker and two, on as many processors: ``twistd djoauth2 --workers``, with PostgreSQL.

    BENCH=... python benchmarks/workers.py [--write] [--redis URL] POSTGRESQL_URL

BENCH is the folder of the benchmark harness (benchmarks/README.md); `wrk` and its `gen.py` send the
requests, without TLS. The database must be empty; with ``--redis`` that store has the tokens. The guard
is that of ``/api/user_info/``, with one token; the refreshes are 32 chains.

Each pair of runs has one worker on one processor, then two on two. The load generator, PostgreSQL and
Redis take their part of the same processors. So the table has the processor time of the workers for a
request, too: its ratio says what two processors do that the workers have for themselves. ``--write``
keeps the figures for the documentation.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import plots
import recorded
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from djoauth2_twisted.credentials import digest, random_string
from djoauth2_twisted.models import Client, CodeProof, Grant, Issuance, ResourceOwner
from djoauth2_twisted.stores.urls import from_url

HARNESS = Path(os.environ["BENCH"])
PROGRAMS = Path(sys.executable).parent

CLIENT_ID, CLIENT_SECRET, REDIRECT_URI = "workers", random_string(30), "https://client.example/"
BASIC = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
OWNER = ResourceOwner("bench", subject="bench")

CONNECTIONS = 32

#: How often each number of workers is measured, and for how long, in seconds.
ROUNDS, SECONDS = 3, 4


async def seed(reactor, database, token_store, count):
    """Register the client, and issue tokens: a list of pairs, each an access and a refresh token."""
    opened, registry, tokens = from_url(reactor, database, token_store=token_store)
    opened.open()
    await opened.connect()
    now = int(time.time())

    async def issue():
        code, grant_id = random_string(30), random_string(30)
        pair = random_string(30), random_string(30)
        owned = grant_id, CLIENT_ID, OWNER, ("user_info",), now, now, now + 3600
        assert await tokens.add_code(Grant(*owned, digest(code), now + 60, REDIRECT_URI, None))
        issuance = Issuance(
            now=now,
            access_digest=digest(pair[0]),
            access_expires=now + 3600,
            refresh_digest=digest(pair[1]),
            refresh_expires=now + 3600,
        )
        await tokens.redeem_code(digest(code), CodeProof(CLIENT_ID, REDIRECT_URI, None), issuance)
        return pair

    try:
        if await registry.find_client(CLIENT_ID) is None:
            client = Client(CLIENT_ID, "bench", digest(CLIENT_SECRET), redirect_uris=(REDIRECT_URI,))
            await registry.add_client(client)
        return await gatherResults([Deferred.fromCoroutine(issue()) for _ in range(count)])
    finally:
        await opened.close()


class Server:
    """The stand-alone server with some workers, on as many processors."""

    def __init__(self, folder, stores, workers):
        self.port = 18443
        self._log = folder / f"{workers}.log"
        command = [
            *("taskset", "-c", ",".join(map(str, range(workers)))),
            *(PROGRAMS / "twistd", "-n", "--pidfile=", f"--logfile={self._log}", "djoauth2", *stores),
            *(f"--workers={workers}", f"--port=tcp:{self.port}:interface=127.0.0.1"),
            f"--issuer=http://localhost:{self.port}",
        ]
        environment = {**os.environ, "DJOAUTH2_SSL_ONLY": "False"}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while self._status() != 200:
            if self._process.poll() is not None:
                sys.exit(self._log.read_text())
            time.sleep(0.1)

    def _status(self):
        try:
            return urllib.request.urlopen(f"http://localhost:{self.port}/healthz").status
        except urllib.error.URLError:
            return 0

    def spent(self):
        """The seconds of processor time that all its processes have used."""
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return (
            sum(
                int((task / "schedstat").read_text().split()[0])
                for process in (parent, *children)
                for task in Path(f"/proc/{process}/task").iterdir()
            )
            / 1e9
        )

    def stop(self):
        """End it."""
        self._process.terminate()
        self._process.wait()


def guard(server, pairs, folder):
    """Send one access token for some seconds: how many requests were answered, in which time."""
    (folder / "token").write_text(pairs[0][0] + "\n")
    named = {"BENCH_TOKENS": str(folder / "token"), "BENCH_PATH": "/api/user_info/"}
    script, address = str(HARNESS / "wrk" / "bearer.lua"), f"http://127.0.0.1:{server.port}/"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", script, address]
    done = subprocess.run(
        command, env={**os.environ, **named}, capture_output=True, text=True, check=True
    )
    answered = json.loads(done.stdout[done.stdout.index("JSON ") + len("JSON ") :])
    assert not answered["status_errors"] + answered["socket_errors"], answered
    return answered


def refresh(server, pairs, folder):
    """Refresh in chains, one on each connection."""
    spec = {"mode": "refresh", "path": "/oauth2/token/", "headers": {"Authorization": BASIC}}
    spec |= {"port": server.port, "duration": SECONDS, "chains": [each[1] for each in pairs]}
    command = [sys.executable, str(HARNESS / "gen.py")]
    done = subprocess.run(command, input=json.dumps(spec), capture_output=True, text=True, check=True)
    answered = json.loads(done.stdout)
    assert not answered["errors"], answered
    return answered


def measured(server, send, pairs, folder):
    """Requests per second, and the microseconds of processor time of the server for each."""
    before = server.spent()
    answered = send(server, pairs, folder)
    took = (server.spent() - before) / answered["requests"] * 1e6
    return answered["requests"] / answered["seconds"], took


async def main(reactor, *words):
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("database", metavar="POSTGRESQL_URL")
    parser.add_argument("--redis", metavar="URL", help="the store of the tokens")
    parser.add_argument("--write", action="store_true", help="keep the figures in results/")
    arguments = parser.parse_args(words)
    stores = ["--database", arguments.database]
    stores += ["--token-store", arguments.redis] if arguments.redis else []
    upgrade = [PROGRAMS / "djoauth2", *stores[:2], "database", "upgrade"]
    subprocess.run(upgrade, check=True, stdout=subprocess.DEVNULL)
    figures = {"guard, one token": {"1": [], "2": []}, "refresh": {"1": [], "2": []}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(ROUNDS):
            for workers in (1, 2):
                pairs = await seed(reactor, arguments.database, arguments.redis, CONNECTIONS)
                server = Server(folder, stores, workers)
                try:
                    guard(server, pairs, folder)
                    figures["guard, one token"][str(workers)].append(
                        measured(server, guard, pairs, folder)
                    )
                    figures["refresh"][str(workers)].append(measured(server, refresh, pairs, folder))
                finally:
                    server.stop()
    print(plots.workers(figures))
    if arguments.write:
        recorded.write("workers-redis" if arguments.redis else "workers", figures)


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
