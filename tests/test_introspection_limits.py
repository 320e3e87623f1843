"""What made-up tokens cannot do to others: `IntrospectionClient` on a Clock, with a server in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from djoauth2_twisted import IntrospectionClient, OAuthGuard
from djoauth2_twisted.errors import (
    ConfigurationError,
    DJOAuthError,
    InvalidToken,
    TemporarilyUnavailable,
    TooManyRequests,
)
from djoauth2_twisted.models import AccessToken, ResourceOwner
from djoauth2_twisted.verification import remote
from djoauth2_twisted.verification.limits import FairSemaphore, UnknownTokens

ISSUER = "https://as.example"
HERE, THERE = "192.0.2.1", "192.0.2.2"


class AuthorizationServer(Resource):
    """Knows the tokens that begin with ``good``; answers at once, or when it is let."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.discoveries = 0
        self.limit: int | None = None
        self.holds = False
        self.held: list[Callable[[], None]] = []

    def render_GET(self, request: Any) -> Any:
        self.discoveries += 1
        said = {"issuer": ISSUER, "introspection_endpoint": f"{ISSUER}/introspect"}
        return self._answer(request, 200, said)

    def render_POST(self, request: Any) -> Any:
        token = request.args[b"token"][0].decode()
        self.asked.append(token)
        good = token.startswith("good")
        if not good and self.limit is not None and len(self.asked) > self.limit:
            request.setHeader(b"retry-after", b"9")
            return self._answer(request, 429, {"error": "temporarily_unavailable"})
        return self._answer(request, 200, {"active": good, "exp": 10**6, "username": "alice"})

    def _answer(self, request: Any, status: int, said: object) -> Any:
        def finish() -> None:
            request.setResponseCode(status)
            request.setHeader(b"content-type", b"application/json")
            request.write(json.dumps(said).encode())
            request.finish()

        if self.holds:
            self.held.append(finish)
        else:
            finish()
        return NOT_DONE_YET


@implementer(IBodyProducer)
class Whole:
    """A body that is sent at once."""

    def __init__(self, body: Any) -> None:
        self._body = body._inputFile.read()
        self.length = len(self._body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


@implementer(IAgent)
class Agent(RequestTraversalAgent):
    """One in memory that waits for no reactor."""

    def request(self, method: bytes, uri: bytes, headers: Any = None, body: Any = None) -> Any:
        return super().request(method, uri, headers, body and Whole(body))


class World:
    """A resource server's verifier, and the server that it asks."""

    def __init__(self, **named: Any) -> None:
        self.clock = Clock()
        self.server = AuthorizationServer()
        self.agent = Agent(self.server)
        self.client = IntrospectionClient(self.clock, ISSUER, "id", "secret", self.agent, **named)

    def ask(self, token: str, address: str | None = HERE) -> Asking:
        return Asking(self, self.client.verify(token, (), address))

    def flush(self) -> None:
        for _ in range(4):
            self.agent.flush()

    def let(self, count: int) -> None:
        """Have so many of those that wait answered."""
        held, self.server.held = self.server.held[:count], self.server.held[count:]
        for finish in held:
            finish()
        self.flush()


class Asking:
    """A verdict to come."""

    def __init__(self, world: World, verdict: Deferred[AccessToken]) -> None:
        self.results: list[Any] = []
        verdict.addBoth(self.results.append)
        world.flush()

    @property
    def verdict(self) -> object:
        """True, None where there is none yet, or the error."""
        if not self.results:
            return None
        return True if isinstance(self.results[0], AccessToken) else self.results[0].value


def flood(world: World, count: int, address: str | None = HERE, name: str = "bad") -> list[Any]:
    """The verdicts on so many made-up tokens."""
    return [world.ask(f"{name}-{number}", address).verdict for number in range(count)]


def kinds(verdicts: list[Any]) -> list[type]:
    return sorted({type(verdict) for verdict in verdicts}, key=lambda kind: kind.__name__)


def test_good_tokens_from_other_addresses_are_accepted() -> None:
    """However many made-up ones an address sends, and whether a token was ever seen before or not."""
    world = World()
    verdicts = flood(world, 1200)
    assert kinds(verdicts) == [InvalidToken, TooManyRequests]
    assert len(world.server.asked) == remote.UNKNOWN_TOKENS
    for number in range(50):
        assert world.ask(f"good-{number}", THERE).verdict is True


def test_fifty_unknown_tokens_are_not_throttled() -> None:
    assert kinds(flood(World(), 50)) == [InvalidToken]


def test_known_token_is_accepted_from_a_throttled_address() -> None:
    """As behind one NAT. It is asked for all the same: it may have been revoked."""
    world = World()
    assert world.ask("good-1", THERE).verdict is True
    flood(world, 1200)
    asked = len(world.server.asked)
    assert world.ask("good-1", HERE).verdict is True
    assert world.server.asked[asked:] == ["good-1"]


def test_throttled_address_is_served_again_after_a_while() -> None:
    world = World(unknown_per_minute=60)
    *_, last = flood(world, 61)
    assert isinstance(last, TooManyRequests)
    assert (last.status_code, last.retry_after) == (429, 1)
    assert isinstance(world.ask("good-new").verdict, TooManyRequests)
    world.clock.advance(1)
    assert world.ask("good-new").verdict is True
    assert world.ask("good-newer").verdict is True


def test_ipv6_network_counts_as_one_address() -> None:
    """Who has an IPv6 network has 2^64 addresses."""
    world = World(unknown_per_minute=10)
    verdicts = [world.ask(f"bad-{n}", f"2001:db8::{n:x}").verdict for n in range(11)]
    assert kinds(verdicts) == [InvalidToken, TooManyRequests]
    assert world.ask("good", "2001:db8:0:1::1").verdict is True
    flood(world, 10, "192.0.2.9", "worse")
    assert isinstance(world.ask("good-2", "::ffff:192.0.2.9").verdict, TooManyRequests)


@pytest.mark.parametrize(("address", "limit"), [(None, 10), (HERE, None)])
def test_limit_can_be_switched_off(address: str | None, limit: int | None) -> None:
    """Where the sender's address is unknown, or all requests come from one proxy."""
    assert kinds(flood(World(unknown_per_minute=limit), 300, address)) == [InvalidToken]


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ConfigurationError):
        World(unknown_per_minute=limit)


def test_ended_tokens_do_not_count_as_unknown() -> None:
    """Hundreds of tokens of one gateway are revoked at once: the new ones are accepted."""
    world = World()
    tokens = [f"good-{number}" for number in range(300)]
    for token in tokens:
        assert world.ask(token).verdict is True
    world.server.render_POST = lambda request: world.server._answer(  # type: ignore[method-assign]
        request, 200, {"active": request.args[b"token"][0].startswith(b"new"), "exp": 10**6}
    )
    assert kinds([world.ask(token).verdict for token in tokens]) == [InvalidToken]
    assert world.ask("new").verdict is True


def test_answer_429_is_obeyed() -> None:
    """That concerns the token: others are asked for, and it is not, until then."""
    world = World()
    world.server.limit = 5
    verdicts = flood(world, 20)
    assert kinds(verdicts) == [InvalidToken, TemporarilyUnavailable]
    assert {verdict.retry_after for verdict in verdicts[5:]} == {9}
    for number in range(20):
        assert world.ask(f"good-{number}").verdict is True
    asked = len(world.server.asked)
    world.clock.advance(4.5)
    verdict: Any = world.ask("bad-19").verdict
    assert (verdict.status_code, verdict.retry_after) == (503, 5)
    assert len(world.server.asked) == asked
    world.clock.advance(4.5)
    world.ask("bad-19")
    assert len(world.server.asked) == asked + 1


def test_answer_429_to_the_discovery_is_temporarily_unavailable() -> None:
    world = World()
    world.server.render_GET = lambda request: world.server._answer(request, 429, {})  # type: ignore[method-assign]
    for _ in range(200):
        assert type(world.ask("good").verdict) is TemporarilyUnavailable
    del world.server.render_GET
    assert world.ask("good").verdict is True


def test_unknown_tokens_do_not_evict_good_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_KEPT", 20)
    world = World(cache_seconds=100)
    assert world.ask("good").verdict is True
    flood(world, 90)
    asked = len(world.server.asked)
    assert world.ask("good").verdict is True
    assert len(world.server.asked) == asked


def test_addresses_get_slots_in_turn() -> None:
    """Half of the connections at most are one address's; who comes after a thousand is next."""
    world = World()
    assert world.ask("good-first", THERE).verdict is True
    world.server.holds = True
    many = [world.ask(f"bad-{number}") for number in range(1000)]
    assert len(world.server.held) == remote.CONNECTIONS // 2
    few = [world.ask(f"good-{number}", THERE) for number in range(remote.CONNECTIONS)]
    others = [world.ask(f"good-other-{number}", "192.0.2.3") for number in range(3)]
    assert len(world.server.held) == remote.CONNECTIONS
    world.let(len(world.server.held))
    assert [asking.verdict for asking in few].count(True) == remote.CONNECTIONS // 2
    world.let(len(world.server.held))
    assert [asking.verdict for asking in others] == [True] * 3
    while world.server.held:
        world.let(len(world.server.held))
    assert {asking.verdict for asking in few} == {True}
    assert None not in [asking.verdict for asking in many]
    assert len(world.server.asked) <= 36 + remote.UNKNOWN_TOKENS + remote.CONNECTIONS // 2


def test_waiting_for_a_slot_has_a_deadline() -> None:
    """BG-17: 503 in time. That the queue is long is no outage of the server's."""
    world = World()
    assert world.ask("good").verdict is True
    world.server.holds = True
    waiting = [world.ask(f"bad-{number}") for number in range(100)]
    world.clock.advance(remote.DEADLINE - 1)
    late = world.ask("late")
    world.clock.advance(1)
    assert kinds([asking.verdict for asking in waiting]) == [TemporarilyUnavailable]
    assert late.verdict is None
    world.clock.advance(remote.DEADLINE)
    assert isinstance(late.verdict, TemporarilyUnavailable)
    assert world.clock.getDelayedCalls() == []
    world.server.holds = False
    assert world.ask("good").verdict is True


def test_one_discovery_serves_all_callers() -> None:
    world = World()
    world.server.holds = True
    asked = [world.ask(f"good-{number}", f"192.0.2.{number}") for number in range(20)]
    assert world.server.discoveries == 1
    world.let(1)
    world.let(20)
    assert {asking.verdict for asking in asked} == {True}
    assert world.server.discoveries == 1


def test_the_log_is_not_flooded() -> None:
    world = World()
    world.server.limit = 50
    with capturedLogs() as logs:
        for minute in range(3):
            for second in range(60):
                flood(world, 10, name=f"bad-{minute}-{second}")
                assert world.ask(f"good-{minute}-{second}", THERE).verdict is True
                world.clock.advance(1)
    lines = [event for event in logs if event["log_namespace"].endswith("IntrospectionClient")]
    assert 1 <= len(lines) <= 3
    assert "bad-" not in str(lines)


class Notes:
    """A verifier that wants to know who sent a token."""

    def __init__(self) -> None:
        self.addresses: list[str | None] = []

    def verify(self, token: str, scopes: tuple[str, ...], address: str | None = None) -> AccessToken:
        self.addresses.append(address)
        return AccessToken("client", ResourceOwner("alice"), (), 0, 2**40, "grant")


class Plain:
    """A verifier as everybody's own is."""

    def verify(self, token: str, scopes: tuple[str, ...]) -> AccessToken:
        return AccessToken("client", ResourceOwner("alice"), (), 0, 2**40, "grant")


class Overriding(IntrospectionClient):
    """One whose author knew nothing of addresses."""

    def verify(self, token: str, scopes: tuple[str, ...]) -> Any:  # type: ignore[override]
        return Plain().verify(token, scopes)


def guarded(verifier: Any) -> int:
    """The status of a resource that a verifier guards."""
    agent = RequestTraversalAgent(OAuthGuard(Resource(), verifier))
    answers: list[Any] = []
    headers = Headers({b"authorization": [b"Bearer t"]})
    agent.request(b"GET", b"https://api.example/x", headers).addBoth(answers.append)
    agent.flush()
    return int(answers[0].code)


def test_verifier_with_an_address_parameter_gets_the_address() -> None:
    notes = Notes()
    overriding = Overriding(Clock(), ISSUER, "id", "secret", RequestTraversalAgent(Resource()))
    # There is nothing inside: a request that gets so far was accepted.
    assert [guarded(each) for each in (notes, Plain(), overriding)] == [404, 404, 404]
    assert len(notes.addresses) == 1
    assert notes.addresses[0]


def test_a_guard_answers_429() -> None:
    class Full:
        def verify(self, token: str, scopes: tuple[str, ...]) -> AccessToken:
            raise TooManyRequests(retry_after=3)

    assert guarded(Full()) == 429


# The parts.


def test_slot_released_at_once_does_not_recurse() -> None:
    """However many wait for it."""
    shares, done = FairSemaphore(1, 1), []

    def give_back(_: object, number: int) -> None:
        done.append(number)
        shares.release("a")

    first = shares.acquire("a")
    for number in range(5000):
        shares.acquire("a").addCallback(give_back, number)
    first.addCallback(lambda _: shares.release("a"))
    assert done == list(range(5000))


def test_slots_are_dealt_in_turn() -> None:
    shares = FairSemaphore(2, 2)
    order: list[str] = []

    def note(_: object, address: str) -> None:
        order.append(address)

    for address in ("a", "a", "a", "a", "b", "c", "b"):
        shares.acquire(address).addCallback(note, address)
    for address in ("a", "a", "a", "b", "c"):
        shares.release(address)
    assert order == ["a", "a", "a", "b", "c", "a", "b"]


def test_cancelled_caller_leaves_the_queue() -> None:
    shares, failures = FairSemaphore(1, 1), []
    shares.acquire("a")
    gone = shares.acquire("b")
    gone.addErrback(lambda failure: failures.append(failure.type))
    after = shares.acquire("b")
    gone.cancel()
    shares.release("a")
    assert failures == [TemporarilyUnavailable]
    assert after.called
    assert issubclass(failures[0], DJOAuthError)


def test_retry_after_is_long_enough() -> None:
    clock = Clock()
    unknown = UnknownTokens(clock, 10)
    for _ in range(12):
        unknown.count("a")
    with pytest.raises(TooManyRequests) as refused:
        unknown.check("a")
    assert refused.value.retry_after == 18
    clock.advance(17.9)
    with pytest.raises(TooManyRequests):
        unknown.check("a")
    clock.advance(0.1)
    unknown.check("a")


def test_number_of_counted_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("djoauth2_twisted.verification.limits.MAX_ADDRESSES", 3)
    unknown = UnknownTokens(Clock(), 1)
    for number in range(4):
        unknown.count(f"place-{number}")
    unknown.check("place-0")
    for number in range(1, 4):
        with pytest.raises(TooManyRequests):
            unknown.check(f"place-{number}")
