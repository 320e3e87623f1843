"""`IntrospectionClient`: a resource server that asks elsewhere, over real TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.logger import capturedLogs
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer
from zope.interface.verify import verifyObject

from djoauth2_twisted import (
    AuthorizationServer,
    IntrospectionClient,
    ITokenVerifier,
    OAuthGuard,
)
from djoauth2_twisted.administration import Administration
from djoauth2_twisted.cli.certificate import make_certificate
from djoauth2_twisted.credentials import digest, random_string
from djoauth2_twisted.errors import (
    ConfigurationError,
    InsufficientScope,
    InvalidToken,
    TemporarilyUnavailable,
)
from djoauth2_twisted.interfaces import IResourceServer
from djoauth2_twisted.models import AccessToken, Client, CodeProof, Grant, Issuance, ResourceOwner
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore
from djoauth2_twisted.verification import remote, remote_server
from djoauth2_twisted.web.site import LimitedSite

DISCOVERY = "/.well-known/oauth-authorization-server"
INTROSPECTION = "/oauth2/introspect/"


class Shifted:
    """The real reactor, with a clock that can be put forward."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.ahead = 0.0

    def seconds(self) -> float:
        return float(self._reactor.seconds() + self.ahead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@implementer(IAgent)
class CountingAgent:
    """An agent that keeps count of what is asked."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.asked: list[str] = []

    def request(self, method: bytes, uri: bytes, *arguments: Any) -> Any:
        self.asked.append("/" + uri.decode().split("/", 3)[3])
        return self._agent.request(method, uri, *arguments)


class Says(Resource):
    """Answers all requests below it alike."""

    isLeaf = True

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        super().__init__()
        self._answer = answer

    def render(self, request: Any) -> Any:
        return self._answer(request)


@define
class World:
    """An authorization server, its site, and what a resource server has been given."""

    reactor: Any  #: a `Shifted`
    issuer: str
    server: AuthorizationServer
    site: LimitedSite
    agent: CountingAgent
    client_id: str
    secret: str

    def client(self, **named: Any) -> IntrospectionClient:
        arguments = {"client_secret": self.secret, "agent": self.agent, **named}
        return IntrospectionClient(self.reactor, self.issuer, self.client_id, **arguments)

    async def token(self) -> str:
        """An access token of alice's, for ``user_info``."""
        now = int(self.reactor.seconds())
        code, token = random_string(30), random_string(30)
        grant = Grant(
            id=random_string(30),
            client_id="app",
            owner=ResourceOwner("alice"),
            scopes=("user_info",),
            created=now,
            last_used=now,
            expires=now + 600,
            code_digest=digest(code),
            code_expires=now + 600,
            redirect_uri=None,
            code_challenge=None,
        )
        tokens = self.server.tokens
        await tokens.add_code(grant)
        issuance = Issuance(now, digest(token), now + 3600, None, None)
        await tokens.redeem_code(digest(code), CodeProof("app", None, None), issuance)
        return token

    def says(
        self, discovered: bytes | None, answered: bytes = b"", media_type: str = "application/json"
    ) -> None:
        """Let the authorization server talk nonsense."""
        good = f'{{"issuer": "{self.issuer}", "introspection_endpoint": "{self.issuer}/i"}}'.encode()
        known = good if discovered is None else discovered.replace(b"ISSUER", self.issuer.encode())

        def answer(request: Any) -> bytes:
            asked = b"well-known" in request.uri
            request.setHeader(
                b"content-type", "application/json" if asked and known is good else media_type
            )
            return known if asked else answered

        self.site.resource = Says(answer)


@pytest_twisted.async_yield_fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    from twisted.internet import reactor

    pem = tmp_path / "server.pem"
    pem.write_bytes(make_certificate("localhost"))
    shifted: Any = Shifted(reactor)
    site = LimitedSite(Resource(), reactor)
    endpoint = serverFromString(reactor, f"ssl:0:interface=127.0.0.1:privateKey={pem}")
    listening = await endpoint.listen(site)
    issuer = f"https://localhost:{listening.getHost().port}"
    server = AuthorizationServer(shifted, None, MemoryRegistry(), MemoryTokenStore(), issuer=issuer)
    server.startService()
    await server.when_ready()
    site.resource = server.root()
    administration = Administration(
        server.registry, server.tokens, server.settings, server.passwords.hash
    )
    registered, secret = await administration.add_client("API", resource_server=True)
    roots = trustRootFromCertificates([Certificate.loadPEM(pem.read_bytes())])
    pool = HTTPConnectionPool(reactor, persistent=False)
    agent = CountingAgent(Agent(reactor, BrowserLikePolicyForHTTPS(roots), pool=pool))
    yield World(shifted, issuer, server, site, agent, registered.client_id, secret)
    await listening.stopListening()
    await server.stopService()


async def refused(verdict: Deferred[AccessToken], error: type[Exception]) -> None:
    with pytest.raises(error):
        await verdict


async def test_good_token_is_accepted(world: World) -> None:
    """The endpoint is discovered once; the token is asked for each time."""
    client, token = world.client(), await world.token()
    assert verifyObject(ITokenVerifier, client)
    assert verifyObject(IResourceServer, client)
    found = await client.verify(token, ("user_info",))
    assert (found.user.username, found.client_id, found.scopes) == ("alice", "app", ("user_info",))
    assert found.expires - found.issued == 3600
    await client.verify(token, ())
    assert world.agent.asked == [DISCOVERY, INTROSPECTION, INTROSPECTION]


async def test_a_revocation_is_noticed_at_once(world: World) -> None:
    """RV-10: nothing is kept where nothing was said of keeping."""
    client, token = world.client(), await world.token()
    found = await client.verify(token, ())
    assert found.grant_id == ""
    await world.server.tokens.revoke_grants(username="alice")
    await refused(client.verify(token, ()), InvalidToken)


async def test_scopes_are_checked(world: World) -> None:
    await refused(world.client().verify(await world.token(), ("user_info", "other")), InsufficientScope)


async def test_one_request_serves_all_callers_of_a_token(world: World) -> None:
    """Also where one of them goes away."""
    client, token = world.client(), await world.token()
    gone = client.verify(token, ())
    gone.addErrback(lambda _: None)
    answers = [client.verify(token, ()) for _ in range(20)]
    gone.cancel()
    assert len(await gatherResults(answers)) == 20
    assert world.agent.asked == [DISCOVERY, INTROSPECTION]


async def test_many_requests_share_a_few_connections(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for each other, and the connections are kept."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    monkeypatch.setattr(remote, "CONNECTIONS", 4)
    client, root, ports = world.client(agent=None), world.site.resource, set()

    def note(request: Any) -> Any:
        ports.add(request.getClientAddress().port)
        return getChildForRequest(root, request).render(request)

    world.site.resource = Says(note)
    tokens = [await world.token() for _ in range(10)]
    assert len(await gatherResults([client.verify(token, ()) for token in tokens])) == 10
    assert len(ports) == 2
    await client.close()


async def test_good_answer_is_cached_for_cache_seconds(world: World) -> None:
    client, token = world.client(cache_seconds=100), await world.token()
    for ahead, asked in ((0, 1), (90, 1), (101, 2)):
        world.reactor.ahead = ahead
        await client.verify(token, ())
        assert world.agent.asked.count(INTROSPECTION) == asked


async def test_no_token_is_cached_beyond_its_lifetime(world: World) -> None:
    client, token = world.client(cache_seconds=10**6), await world.token()
    await client.verify(token, ())
    world.reactor.ahead = 3601
    await refused(client.verify(token, ()), InvalidToken)


async def test_bad_token_is_cached_for_a_short_time(world: World) -> None:
    client = world.client()
    for _ in range(5):
        await refused(client.verify("unknown", ()), InvalidToken)
    assert world.agent.asked.count(INTROSPECTION) <= 2
    world.reactor.ahead = remote.NEGATIVE_SECONDS + 1
    asked = world.agent.asked.count(INTROSPECTION)
    await refused(client.verify("unknown", ()), InvalidToken)
    assert world.agent.asked.count(INTROSPECTION) == asked + 1


async def test_caches_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_KEPT", 2)
    client = world.client(cache_seconds=100)
    tokens = [await world.token() for _ in range(3)]
    for token in (*tokens, tokens[2], tokens[0]):
        await client.verify(token, ())
    assert world.agent.asked.count(INTROSPECTION) == 4


async def test_unreachable_server_is_temporarily_unavailable(world: World) -> None:
    """BG-17: 503, neither taken for bad nor remembered; one line in the log when it begins and ends."""
    client, token = world.client(), await world.token()
    root = world.site.resource

    def hang_up(request: Any) -> int:
        request.channel.loseConnection()
        return NOT_DONE_YET

    world.site.resource = Says(hang_up)
    with capturedLogs() as logs:
        for _ in range(3):
            await refused(client.verify(token, ()), TemporarilyUnavailable)
        world.site.resource = root
        assert (await client.verify(token, ())).user.username == "alice"
    formats = [
        event["log_format"] for event in logs if event["log_namespace"].endswith("IntrospectionClient")
    ]
    assert formats == [
        "Introspection at {issuer} fails: {error}",
        "Introspection at {issuer} works again.",
    ]


async def test_refused_connection_is_temporarily_unavailable(world: World) -> None:
    client = IntrospectionClient(world.reactor, "https://localhost:1", "id", "secret", world.agent)
    await refused(client.verify("token", ()), TemporarilyUnavailable)


async def test_untrusted_certificate_is_temporarily_unavailable(world: World) -> None:
    """An agent of the client's own verifies TLS."""
    client = IntrospectionClient(world.reactor, world.issuer, world.client_id, world.secret)
    with capturedLogs() as logs:
        await refused(client.verify(await world.token(), ()), TemporarilyUnavailable)
    (error,) = [event["error"] for event in logs if "error" in event]
    assert "certificate verify failed" in error
    assert "Failure" not in error


async def test_wrong_client_secret_does_not_make_the_token_invalid(world: World) -> None:
    client = world.client(client_secret="wrong")
    with capturedLogs() as logs, pytest.raises(TemporarilyUnavailable) as caught:
        await client.verify(await world.token(), ())
    # The server of this test is in the same process, and logs the refusal, too.
    errors = [event["error"] for event in logs if "IntrospectionClient" in event["log_namespace"]]
    assert errors == ["the authorization server answered 401"]
    assert caught.value.description == "try again later"


@pytest.mark.parametrize(
    ("discovered", "answered"),
    [
        (b"no json", b""),
        (b"[]", b""),
        (b'{"issuer": "https://evil.example", "introspection_endpoint": "ISSUER/i"}', b""),
        (b'{"issuer": "ISSUER"}', b""),
        (b'{"issuer": "ISSUER", "introspection_endpoint": "http://as.example/i"}', b""),
        (b'{"issuer": "ISSUER", "introspection_endpoint": "https://user:word@as.example/i"}', b""),
        (b'{"issuer": "ISSUER", "introspection_endpoint": "https://[::1/i"}', b""),
        (b"{" + b" " * remote_server.MAX_ANSWER_SIZE, b""),
        (None, b"no json"),
        (None, b'"active"'),
        (None, b'{"active": true, "scope": 1, "exp": 2, "iat": 1, "client_id": "c"}'),
        (None, b'{"active": true, "scope": "a", "exp": true, "iat": 1}'),
        (None, b'{"active": true, "exp": "tomorrow"}'),
        (None, b'{"active": "true", "exp": 9999999999}'),
        (None, b'{"exp": 9999999999}'),
        (None, '{"active": true, "scope": "a", "exp": 9999999999}'.encode("utf-16")),
        (None, b'{"active": ' + b"[" * 30_000),
    ],
)
async def test_malformed_answer_is_temporarily_unavailable(
    world: World, discovered: bytes, answered: bytes
) -> None:
    """503, whatever a server says that is not as the RFCs have it. It is believed again afterwards."""
    root, client = world.site.resource, world.client()
    world.says(discovered, answered)
    await refused(client.verify("token", ()), TemporarilyUnavailable)
    world.site.resource = root
    assert await client.verify(await world.token(), ())


GOOD = b'{"active": true, "scope": "a", "exp": 9999999999}'


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_media_type_of_an_answer_may_have_parameters_and_any_case(
    world: World, media_type: str
) -> None:
    world.says(None, GOOD, media_type)
    assert (await world.client().verify("token", ("a",))).expires == 9999999999


@pytest.mark.parametrize("media_type", ["text/html", "application/token-introspection+jwt", ""])
async def test_answer_of_another_media_type_is_temporarily_unavailable(
    world: World, media_type: str
) -> None:
    """RFC 7662, section 2.2; RFC 8414, section 3.2."""
    world.says(None, GOOD, media_type)
    await refused(world.client().verify("token", ()), TemporarilyUnavailable)
    metadata = b'{"issuer": "ISSUER", "introspection_endpoint": "ISSUER/i"}'
    world.says(metadata, GOOD, media_type)
    await refused(world.client().verify("token", ()), TemporarilyUnavailable)


async def test_scopes_are_delimited_by_spaces(world: World) -> None:
    """RFC 6749, section 3.3: two with a tab between are one that cannot be."""
    world.says(None, b'{"active": true, "scope": "b\\ta", "exp": 9999999999}')
    await refused(world.client().verify("token", ("a",)), InsufficientScope)


@pytest.mark.parametrize(
    "said",
    [
        b'{"active": false, "exp": "tomorrow"}',
        b'{"active": true, "iss": "https://evil.example"}',
        b'{"active": true, "exp": 1}',
        b'{"active": true, "exp": 9999999999, "token_type": "DPoP"}',
        b'{"active": true, "exp": 9999999999, "token_type": "Bearer", "cnf": {"jkt": "a"}}',
    ],
)
async def test_inactive_answer_makes_the_token_invalid(world: World, said: bytes) -> None:
    world.says(None, said)
    await refused(world.client().verify("token", ()), InvalidToken)


async def test_a_redirect_is_not_followed(world: World) -> None:
    def redirect(request: Any) -> bytes:
        request.redirect(b"https://localhost:1/")
        return b""

    world.site.resource = Says(redirect)
    await refused(world.client().verify("token", ()), TemporarilyUnavailable)
    assert world.agent.asked == [DISCOVERY]


async def test_server_that_does_not_answer_is_temporarily_unavailable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "DEADLINE", 0.2)
    monkeypatch.setattr(remote_server, "DEADLINE", 0.2)
    world.site.resource = Says(lambda request: NOT_DONE_YET)
    with capturedLogs() as logs:
        await refused(world.client().verify("token", ()), TemporarilyUnavailable)
    assert [event["error"] for event in logs if "error" in event] == ["it did not answer in time"]


async def test_guard_of_a_separate_resource_server(world: World) -> None:
    """A resource is guarded as one beside the server is, and its metadata published there."""
    client, token = world.client(), await world.token()
    hello = Says(lambda request: b"hello")
    guard = OAuthGuard(hello, client, scopes=("user_info",), address="https://api.example/hello")
    root: Any = world.site.resource
    root.putChild(b"hello", guard)
    root.putChild(b"elsewhere", client.well_known_resource())
    http = HTTPClient(world.agent)

    async def get(path: str, **headers: str) -> tuple[int, str, str]:
        sent: Any = headers
        response = await http.get(world.issuer + path, headers=sent)
        challenge = (response.headers.getRawHeaders("www-authenticate") or [""])[0]
        return response.code, await response.text(), challenge

    assert await get("/hello", Authorization=f"Bearer {token}") == (200, "hello", "")
    status, _, challenge = await get("/hello")
    assert status == 401
    assert (
        'resource_metadata="https://api.example/.well-known/oauth-protected-resource/hello"' in challenge
    )
    status, said, _ = await get("/elsewhere/oauth-protected-resource/hello")
    assert status == 200
    assert f'"authorization_servers": ["{world.issuer}"]' in said


@pytest.mark.parametrize("issuer", ["http://as.example", "as.example", "https://as.example?x=1", ""])
def test_issuer_that_is_no_https_url_is_refused(issuer: str) -> None:
    from twisted.internet import reactor

    with pytest.raises(ConfigurationError):
        IntrospectionClient(reactor, issuer, "id", "secret")


async def test_client_credentials_may_have_any_characters(world: World) -> None:
    """RFC 6749, section 2.3.1: an id with a colon, and a secret with what Basic knows nothing of."""
    client_id, secret = "a:b c%+/", "a:b c%+/\u00fc&="
    registered = Client(client_id, "Odd", digest(secret), resource_server=True)
    await world.server.registry.add_client(registered)
    client = IntrospectionClient(world.reactor, world.issuer, client_id, secret, world.agent)
    with pytest.raises(InvalidToken):
        await client.verify("unknown", ())


async def test_pause_of_thousands_of_digits_is_a_long_one(world: World) -> None:
    """Python does not convert such a number."""
    client = world.client()
    await client.verify(await world.token(), ())

    def busy(request: Any) -> bytes:
        request.setResponseCode(429)
        request.setHeader(b"retry-after", b"9" * 5000)
        return b"{}"

    world.site.resource = Says(busy)
    with pytest.raises(TemporarilyUnavailable) as caught:
        await client.verify("another", ())
    assert caught.value.retry_after == remote_server.MAX_PAUSE


async def test_answer_429_pauses_requests_for_that_token(world: World) -> None:
    """RFC 6585, section 4: that token is left alone for as long as it says; others are asked for."""
    client, good = world.client(), await world.token()
    await client.verify(good, ())
    root = world.site.resource

    def busy(request: Any) -> bytes:
        request.setResponseCode(429)
        request.setHeader(b"retry-after", b"7")
        return b"{}"

    world.site.resource = Says(busy)
    for _ in range(3):
        with pytest.raises(TemporarilyUnavailable) as caught:
            await client.verify("another", ())
        assert caught.value.status_code == 503
        assert 6 <= caught.value.retry_after <= 7
    assert world.agent.asked == [DISCOVERY, INTROSPECTION, INTROSPECTION]
    world.site.resource = root
    assert await client.verify(good, ())
    assert await client.verify(await world.token(), ())
    world.reactor.ahead += 7
    await refused(client.verify("another", ()), InvalidToken)


async def test_close_ends_requests_and_connections(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`close` ends the connections of its own agent, and what is being asked."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    client = world.client(agent=None)
    token = await world.token()
    assert await client.verify(token, ())
    world.site.resource = Says(lambda request: NOT_DONE_YET)
    asked = client.verify(token, ())
    await client.close()
    await refused(asked, TemporarilyUnavailable)
    client = world.client(agent=None)
    connecting = client.verify(token, ())
    await client.close()
    await refused(connecting, TemporarilyUnavailable)
