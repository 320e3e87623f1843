"""What the guard costs in each setting, without a network: only the work of the process is counted.

    python benchmarks/guard_inside.py [--instructions] [SETTING ...]

Each setting is measured twice, without the guard and with it, one request after the other on a
connection that is kept, with one access token that the cache knows:

    tree        a resource in a `Site` of Twisted, and `OAuthGuard` around it
    below       the same, three segments below the guard
    render      a ``render_GET``, and `oauth_scope` on it
    klein       a route of Klein, and `oauth_scope` on it
    own         a resource in the stand-alone server's site with its access log, and `OAuthGuard` around
                it, beside a `Site` of Twisted
    10000       as ``tree``, with 10,000 tokens in turn
    unknown     as ``tree``, with tokens that do not exist

The table has the microseconds of CPU time for a request, the least of some rounds, and the ratio of the
two. With ``--instructions`` it has the thousands of instructions, which valgrind counts
(`--tool=callgrind`). They do not depend on what else the machine does. Reading from a socket and writing
to it is not in either.
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.testing import StringTransport
from zope.interface import implementer

BODY = b'{"resource": "' + b"x" * 83 + b'"}\n'
SETTINGS = ("tree", "below", "render", "klein", "own", "10000", "unknown")
ROUNDS, REQUESTS = 7, 3000


@implementer(ISSLTransport)
class Transport(StringTransport):
    """A connection with TLS, whose output is counted and thrown away."""

    expected = b"HTTP/1.1 200 "
    answers = 0

    def write(self, data):
        self.answers += data.count(self.expected)

    def writeSequence(self, data):
        self.write(b"".join(data))

    def getPeerCertificate(self):
        return None

    def setTcpNoDelay(self, enabled):
        pass


def make_server():
    """A server in memory, and how its tokens are issued."""
    from twisted.internet import reactor

    from djoauth2_twisted import AuthorizationServer
    from djoauth2_twisted.credentials import digest, random_string
    from djoauth2_twisted.stores.contract import new_grant, new_issuance, proof_of
    from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore

    server = AuthorizationServer(
        reactor, None, MemoryRegistry(), MemoryTokenStore(), issuer="https://localhost"
    )
    server.startService()

    def issue():
        value = random_string(30)
        grant = new_grant(id=random_string(30))
        server.tokens.add_code(grant)
        issuance = new_issuance(access_digest=digest(value), access_expires=2**40)
        server.tokens.redeem_code(grant.code_digest, proof_of(grant), issuance)
        return value

    return server, issue


def make_site(setting, guarded):
    """The site of a setting, the path that is requested, and the tokens that are sent."""
    from twisted.internet import reactor
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    from djoauth2_twisted import OAuthGuard, oauth_scope
    from djoauth2_twisted.credentials import random_string

    class Body(Resource):
        isLeaf = True

        def render_GET(self, request):
            return BODY

    server, issue = make_server()
    root, path = Resource(), b"/resource"
    tokens = [issue() for _ in range(10000 if setting == "10000" else 1)]
    if setting == "unknown":
        tokens = [random_string(30) for _ in range(REQUESTS)]
    if setting == "klein":
        from klein import Klein

        app = Klein()

        def answer(access_token, request):
            return BODY

        route = oauth_scope("read", verifier=server)(answer) if guarded else lambda request: BODY
        app.route("/resource")(route)
        return Site(app.resource()), path, tokens
    if setting == "render":

        class Guarded(Body):
            @oauth_scope("read", verifier=server)
            def render_GET(self, token, request):
                return BODY

        root.putChild(b"resource", Guarded() if guarded else Body())
        return Site(root), path, tokens
    inner = Body()
    if setting == "below":
        path = b"/resource/a/b/c"
        for name in (b"c", b"b", b"a"):
            outer = Resource()
            outer.putChild(name, inner)
            inner = outer
    root.putChild(b"resource", OAuthGuard(inner, server, scopes=("read",)) if guarded else inner)
    if setting == "own" and guarded:
        return own_site(root, reactor), path, tokens
    return Site(root), path, tokens


def own_site(root, reactor):
    """The site of the stand-alone server, whose log is a file that is thrown away."""
    from djoauth2_twisted.standalone.access_log import BatchedLog, text_format
    from djoauth2_twisted.web.site import LimitedSite

    site = LimitedSite(root, reactor)
    site.access_log = BatchedLog(reactor, text_format(None), open(os.devnull, "w").write)  # noqa: SIM115
    return site


def requester(setting, guarded):
    """A function that sends so many requests, and checks that each was answered."""
    from twisted.internet import reactor
    from twisted.internet.address import IPv4Address

    site, path, tokens = make_site(setting, guarded)
    site.startFactory()
    channel = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    transport = Transport()
    if setting == "unknown" and guarded:
        transport.expected = b"HTTP/1.1 401 "
    channel.makeConnection(transport)
    requests = itertools.cycle(
        b"GET %b HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\nAuthorization: Bearer %b\r\n\r\n"
        % (path, token.encode("ascii"))
        for token in tokens
    )

    def send(count):
        expected = transport.answers + count
        for request in itertools.islice(requests, count):
            channel.dataReceived(request)
            # What the request has left for the reactor's next turn.
            reactor.runUntilCurrent()
        assert transport.answers == expected, (transport.answers, expected)

    return send


def cpu(setting):
    """The microseconds of a request without the guard, and with it."""
    sends = [requester(setting, guarded) for guarded in (False, True)]
    least = [float("inf")] * 2
    for send in sends:
        send(2 * REQUESTS)
    for _ in range(ROUNDS):
        for place, send in enumerate(sends):
            begun = time.process_time()
            send(REQUESTS)
            least[place] = min(least[place], (time.process_time() - begun) / REQUESTS * 1e6)
    return least


def instructions(setting):
    """The thousands of instructions of a request without the guard, and with it."""
    return [
        (counted(setting, guarded, 1200) - counted(setting, guarded, 200)) / 1000 / 1000
        for guarded in (0, 1)
    ]


def counted(setting, guarded, count):
    """The instructions of a process that sends so many requests."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={folder}/out",
                sys.executable,
                __file__,
                "send",
                setting,
                str(guarded),
                str(count),
            ],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    return int(re.findall(r"Collected : (\d+)", done.stderr)[0])


def main(*arguments):
    """Measure and print."""
    settings = [each for each in arguments if each != "--instructions"] or SETTINGS
    measure = instructions if "--instructions" in arguments else cpu
    print("| setting | without | with | the guard | ratio |")
    print("|---" * 5 + "|")
    for setting in settings:
        bare, guarded = measure(setting)
        print(
            f"| {setting} | {bare:.1f} | {guarded:.1f} | {guarded - bare:+.1f} | {bare / guarded:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        requester(sys.argv[2], int(sys.argv[3]))(int(sys.argv[4]))
    else:
        main(*sys.argv[1:])
