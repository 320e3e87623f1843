"""What a request to an endpoint for clients costs, without a network, and with the stores in memory.

    python benchmarks/endpoints_inside.py [--instructions] [SETTING ...]

Each setting is measured twice, one request after the other on a connection that is kept:

    refresh         a refresh token is exchanged, and the next request has the new one
    introspection   a resource server asks for one access token
    revocation      a client revokes an access token, and another one with the next request
    refused         a resource server sends a wrong secret

Once the answer comes from the whole site of the stand-alone server: connections with their limits,
throttles, events with their log, metrics, and an access log. Once it is the same answer, from a resource
in a `Site` of Twisted that does nothing else: it reads no form, and has no log.

The table has the microseconds of CPU time for a request, the least of some rounds, and the ratio of the
two. With ``--instructions`` it has the thousands of instructions, which valgrind counts.
"""

import base64
import os
import re
import sys

from inside import Connection, instructions, least, measured

SETTINGS = ("refresh", "introspection", "revocation", "refused")
ADDRESSES = {"refresh": b"token", "revocation": b"revoke"}

#: Later than the end of any benchmark, in seconds since the epoch.
LATE = 2**40

REFRESH_TOKEN = re.compile(rb'"refresh_token": ?"(\w+)"')


def make_server():
    """A server in memory, as the stand-alone server makes it, and its connections."""
    from twisted.internet import reactor
    from twisted.logger import globalLogBeginner, textFileLogObserver

    from djoauth2_twisted import AuthorizationServer, Settings
    from djoauth2_twisted.metrics import Metrics
    from djoauth2_twisted.standalone.access_log import BatchedLog, text_format
    from djoauth2_twisted.standalone.connections import Connections
    from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore
    from djoauth2_twisted.web.site import LimitedSite

    nowhere = open(os.devnull, "w")  # noqa: SIM115
    globalLogBeginner.beginLoggingTo([textFileLogObserver(nowhere)], redirectStandardIO=False)
    stores, metrics = (MemoryRegistry(), MemoryTokenStore()), Metrics()
    # No number of wrong secrets makes a client wait.
    settings = Settings(max_wrong_secrets=10**6, max_failures_per_address=10**6)
    server = AuthorizationServer(
        reactor, None, *stores, issuer="https://localhost", settings=settings, metrics=metrics
    )
    server.startService()
    site = LimitedSite(server.root(), reactor)
    site.access_log = BatchedLog(reactor, text_format(None), nowhere.write)
    connections = Connections(site)
    metrics.watch_site(site)
    metrics.watch_connections(connections, [])
    return server, connections


class Client:
    """A client of a server of its own, for the requests of one setting."""

    def __init__(self, setting):
        from djoauth2_twisted import models
        from djoauth2_twisted.credentials import digest

        self._setting = setting
        self._server, connections = make_server()
        self._connection = Connection(connections)
        kind = {"redirect_uris": ("https://app.example/cb",)}
        if setting in {"introspection", "refused"}:
            kind = {"resource_server": True}
        self._server.registry.add_client(models.Client("bench", "A client", digest("secret"), **kind))
        credentials = base64.b64encode(b"bench:wrong" if setting == "refused" else b"bench:secret")
        self._head = (
            b"POST /oauth2/%b/ HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n"
            b"Authorization: Basic %b\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            % (ADDRESSES.get(setting, b"introspect"), credentials)
        )
        self._access, self._refresh = self._issue()
        status = b"401" if setting == "refused" else b"200"
        self._expected = b"HTTP/1.1 %b " % status

    def _issue(self):
        """A new access token and a new refresh token."""
        from djoauth2_twisted.credentials import digest, new_family, random_string, refresh_token
        from djoauth2_twisted.stores.contract import new_grant, new_issuance, proof_of

        family = new_family()
        access, refresh = random_string(30), refresh_token(family, 30)
        grant = new_grant(id=random_string(30), client_id="bench")
        self._server.tokens.add_code(grant)
        issuance = new_issuance(
            access_digest=digest(access),
            access_expires=LATE,
            refresh_digest=digest(refresh),
            refresh_expires=LATE,
            family_digest=digest(family),
        )
        self._server.tokens.redeem_code(grant.code_digest, proof_of(grant), issuance)
        return access.encode("ascii"), refresh.encode("ascii")

    def _request(self):
        body = b"token=%b" % self._access
        if self._setting == "refresh":
            body = b"grant_type=refresh_token&refresh_token=%b" % self._refresh
        return b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body)

    def prepare(self, count):
        """A function that sends so many requests and returns the last one, with its answer."""
        return {"refresh": self._refreshes, "revocation": self._revocations}.get(
            self._setting, self._repetitions
        )(count)

    def _refreshes(self, count):
        def send():
            for _ in range(count):
                request = self._request()
                answer = self._answer(request)
                self._refresh = REFRESH_TOKEN.search(answer)[1]
            return request, answer

        return send

    def _revocations(self, count):
        requests = []
        for _ in range(count):
            self._access, _ = self._issue()
            requests.append(self._request())
        return lambda: [(request, self._answer(request)) for request in requests][-1]

    def _repetitions(self, count):
        request = self._request()
        return lambda: [(request, self._answer(request)) for _ in range(count)][-1]

    def _answer(self, request):
        answer = self._connection.send(request)
        assert answer.startswith(self._expected), answer
        return answer


def bare(request, answer):
    """Prepares the same requests for a site of Twisted that gives the same answer."""
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = [line.split(b": ") for line in lines if not line.startswith((b"Date", b"Content-Length"))]

    class Same(Resource):
        isLeaf = True

        def render_POST(self, request):
            request.setResponseCode(int(status.split()[1]))
            for name, value in headers:
                request.setHeader(name, value)
            return body

    root = Resource()
    root.putChild(b"oauth2", Same())
    site = Site(root, parsePOSTFormSubmission=False)
    site.log = lambda request: None
    connection = Connection(site)

    def prepare(count):
        def send():
            for _ in range(count):
                assert len(connection.send(request)) == len(answer)

        return send

    return prepare


def measure(setting, counting):
    """The figures of a setting in a bare site, and in the whole server's."""
    if counting:
        return [instructions(__file__, setting, is_whole) for is_whole in (0, 1)]
    client = Client(setting)
    return least([bare(*client.prepare(1)()), client.prepare])


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        setting, is_whole, count = sys.argv[2:]
        client = Client(setting)
        prepare = client.prepare if int(is_whole) else bare(*client.prepare(1)())
        prepare(int(count))()
    else:
        measured(sys.argv[1:], SETTINGS, measure)
