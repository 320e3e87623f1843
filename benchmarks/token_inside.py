"""What a token request costs, without a network: only the work of the process is counted.

    python benchmarks/token_inside.py [--at-once N] [--profile FILE] [URL [TOKEN_STORE]] ...

Refreshes, code exchanges, introspections and revocations are sent over connections that are kept, to the
site of the stand-alone server with its access log. A URL is that of the database; after it may stand
that of a token store, such as ``redis://127.0.0.1:6379/2``, which should be empty. Without a URL it is a
SQLite file. With ``--at-once`` so many connections send at the same time, so that steps share
transactions, as under load.

The table has the microseconds of CPU time for a request, of all threads, the least of some rounds.
"""

import argparse
import base64
import cProfile
import itertools
import json
import os
import tempfile
import time
from urllib.parse import urlencode

from inside import Transport
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.credentials import digest, random_string
from djoauth2_twisted.models import Client, CodeProof, Issuance
from djoauth2_twisted.standalone.access_log import BatchedLog, text_format
from djoauth2_twisted.stores.contract import CHALLENGE, REDIRECT_URI, VERIFIER, new_grant
from djoauth2_twisted.web.site import LimitedSite

ROUNDS, REQUESTS = 7, 150
CLIENT_ID, SECRET = "bench", "s" * 30
LIFETIME = 10**6


class Answered(Transport):
    """A connection that fires a Deferred with each answer."""

    waiting = None
    received = b""

    def write(self, data):
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) == int(length):
            assert head.startswith(b"HTTP/1.1 200 "), self.received
            self.received, waiting = b"", self.waiting
            reactor.callLater(0, waiting.callback, body)


class Bench:
    """A server, some connections to it, and the kinds of requests."""

    def __init__(self, url, token_store, at_once):
        self.server = AuthorizationServer.from_url(
            reactor, url, token_store=token_store, issuer="https://localhost"
        )
        site = LimitedSite(self.server.root(), reactor)
        site.access_log = BatchedLog(reactor, text_format(None), open(os.devnull, "w").write)  # noqa: SIM115
        site.startFactory()
        self.channels = [site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)) for _ in range(at_once)]
        for channel in self.channels:
            channel.makeConnection(Answered())

    async def start(self):
        """Open the store, and register a client."""
        self.server.open_now()
        self.server.startService()
        await self.server.when_ready()
        client = Client(CLIENT_ID, "bench", digest(SECRET), redirect_uris=(REDIRECT_URI,))
        await self.server.registry.add_client(client)

    async def issue(self, kind):
        """A new credential of a kind: a code, an access token or a refresh token."""
        now, code = int(reactor.seconds()), random_string(30)
        grant = new_grant(
            id=random_string(30),
            client_id=CLIENT_ID,
            code_digest=digest(code),
            created=now,
            last_used=now,
            expires=now + LIFETIME,
            code_expires=now + LIFETIME,
            code_challenge=CHALLENGE,
        )
        await self.server.tokens.add_code(grant)
        if kind == "code":
            return code
        access, refresh, end = random_string(30), random_string(30), now + LIFETIME
        issuance = Issuance(now, digest(access), end, digest(refresh), end, digest(refresh[:22]))
        proof = CodeProof(CLIENT_ID, REDIRECT_URI, VERIFIER)
        await self.server.tokens.redeem_code(digest(code), proof, issuance)
        return access if kind == "access" else refresh

    async def send(self, channel, path, **fields):
        """Send a form, and return the answer's JSON."""
        body = urlencode(fields).encode()
        basic = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode())
        channel.transport.waiting = Deferred()
        channel.dataReceived(
            b"POST /oauth2/%b/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %b\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b"
            % (path, basic, len(body), body)
        )
        return json.loads(await channel.transport.waiting)

    async def exchange(self, channel, code):
        """``grant_type=authorization_code``."""
        form = {"code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
        await self.send(channel, b"token", grant_type="authorization_code", **form)

    async def refresh(self, channel, token):
        """``grant_type=refresh_token``; the next token."""
        answer = await self.send(channel, b"token", grant_type="refresh_token", refresh_token=token)
        return answer["refresh_token"]

    async def introspect(self, channel, token):
        """An introspection of a good token."""
        assert (await self.send(channel, b"introspect", token=token))["active"]
        return token

    async def revoke(self, channel, token):
        """A revocation of an access token."""
        await self.send(channel, b"revoke", token=token)

    async def measure(self, kind, credential, profile):
        """The microseconds of a request of a kind."""
        least = float("inf")
        for _ in range(ROUNDS):
            left = iter([await self.issue(credential) for _ in range(REQUESTS)])

            async def work(channel, left=left):
                for value in left:
                    await getattr(self, kind)(channel, value)

            begun = time.process_time()
            if profile is not None:
                profile.enable()
            await gatherResults([Deferred.fromCoroutine(work(each)) for each in self.channels])
            if profile is not None:
                profile.disable()
            least = min(least, (time.process_time() - begun) / REQUESTS * 1e6)
        return least


KINDS = {"refresh": "refresh", "exchange": "code", "introspect": "access", "revoke": "access"}


async def run(arguments):
    """Measure and print."""
    profile = cProfile.Profile() if arguments.profile else None
    with tempfile.TemporaryDirectory() as folder:
        url, token_store = itertools.islice([*arguments.urls, None, None], 2)
        bench = Bench(url or f"sqlite:///{folder}/bench.db", token_store, arguments.at_once)
        await bench.start()
        for kind in arguments.kinds.split(","):
            cost = await bench.measure(kind, KINDS[kind], profile)
            print(f"| {kind} | {cost:.0f} |", flush=True)
        await bench.server.stopService()
    if profile is not None:
        profile.dump_stats(arguments.profile)


def main():
    """Read the arguments, and run the reactor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--profile")
    parser.add_argument("urls", nargs="*")
    arguments = parser.parse_args()

    def end(result):
        if hasattr(result, "printTraceback"):
            result.printTraceback()
        reactor.stop()

    reactor.callWhenRunning(
        lambda: Deferred.fromCoroutine(run(arguments)).addBoth(end),
    )
    reactor.run()


if __name__ == "__main__":
    main()
