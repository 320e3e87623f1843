"""Where logout tokens go, how often, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

import attrs
import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.events import Events, LogoutNotSent, LogoutSent
from djoauth2_twisted.logouts import sending
from djoauth2_twisted.logouts.delivery import POLL_INTERVAL, SHARE, LogoutDelivery
from djoauth2_twisted.logouts.notices import Logouts
from djoauth2_twisted.logouts.sending import DEADLINE, Answer, Sender, judge_status, make_agent
from djoauth2_twisted.logouts.telling import telling
from djoauth2_twisted.models import Client, Grant, LogoutNotice, ResourceOwner
from djoauth2_twisted.protocol.logout import PAUSES
from djoauth2_twisted.stores.contract.samples import new_grant, new_issuance, proof_of
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore
from djoauth2_twisted.testing.requests import MemoryAgent, result_of
from djoauth2_twisted.testing.verifier import memory_clock

ISSUER = "https://as.example"


class Receiver(Resource):
    """The address of a client that takes logout tokens."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.is_silent = False
        #: Whether it leaves a logout token that it has read without an answer.
        self.hangs: Callable[[Any], bool] = lambda _: False
        self.got: list[Any] = []
        #: Reads a token, as the tests of this module do not sign theirs.
        self.read: Callable[[str], Any] = json.loads
        self.flush: Callable[[], object] = lambda: None

    def render_POST(self, request: Request) -> Any:
        assert request.content is not None
        fields = parse_qs(request.content.read().decode("ascii"))
        self.got.append(self.read(fields["logout_token"][0]))
        if self.is_silent or self.hangs(self.got[-1]):
            return NOT_DONE_YET
        request.setResponseCode(self.status)
        request.setHeader("location", "https://elsewhere.example/")
        return b"thank you"


class World:
    """A server's part that sends logout tokens, and a client that takes them."""

    def __init__(self) -> None:
        self.clock: Clock = memory_clock()
        self.registry, self.tokens = MemoryRegistry(), MemoryTokenStore()
        self.receiver = Receiver()
        self.agent: Any = MemoryAgent(self.receiver)
        self.logouts = Logouts(self.registry, self.tokens, True, self.clock.seconds)
        self.events = Events(self.clock)
        self.told: list[Any] = []
        for kind in (LogoutSent, LogoutNotSent):
            self.events.subscribe(kind, self.told.append)
        self.delivery = self.another()
        self.delivery.start()

    def another(self) -> LogoutDelivery:
        """One more process."""
        sender = Sender(self.clock, self.agent)
        return LogoutDelivery(self.clock, self.logouts, sender, self.sign, ISSUER, self.events)

    async def sign(self, client: Client, claims: Mapping[str, Any]) -> str:
        return json.dumps(claims)

    def add_client(self, client_id: str = "client", **changes: Any) -> Client:
        client = Client(client_id, "App", digest("x"), backchannel_logout_uri="https://rp.example/bye")
        result_of(self.registry.add_client(attrs.evolve(client, **changes)))
        return client

    def add_grant(self, **changes: Any) -> Grant:
        grant = new_grant(**{"scopes": ("openid",), "sid": "a-sid", **changes})
        result_of(self.tokens.add_code(grant))
        result_of(self.tokens.redeem_code(grant.code_digest, proof_of(grant), new_issuance()))
        return grant

    def log_out(self, sid: str = "a-sid", subject: str = "subject-1") -> None:
        result_of(Deferred.fromCoroutine(self.logouts.login_ended("user", subject, sid)))
        self.flush()

    def flush(self) -> None:
        for _ in range(5):
            self.clock.advance(0)
            self.agent.flush()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.flush()

    def waiting(self) -> list[LogoutNotice]:
        return list(self.registry._notices.values())


@pytest.fixture
def world() -> Iterable[World]:
    world = World()
    yield world
    world.delivery.stop()


def test_the_clients_of_a_login_are_told_at_once(world: World) -> None:
    """Those that it was used with, and that take notices; each once."""
    for client_id in ("client", "another"):
        world.add_client(client_id)
        world.add_grant(client_id=client_id)
    world.add_grant()
    world.add_client("deaf", backchannel_logout_uri="")
    world.add_grant(client_id="deaf")
    world.add_client("disabled", disabled=True)
    world.add_grant(client_id="disabled")
    world.add_client("of another login")
    world.add_grant(client_id="of another login", sid="another")
    world.log_out()
    assert sorted(token["aud"] for token in world.receiver.got) == ["another", "client"]
    for token in world.receiver.got:
        assert token["iss"] == ISSUER
        assert (token["sub"], token["sid"]) == ("subject-1", "a-sid")
        assert "nonce" not in token
    assert len({token["jti"] for token in world.receiver.got}) == 2
    assert world.waiting() == []
    assert {event.client_id for event in world.told} == {"another", "client"}


def test_the_login_of_another_user_of_the_name_is_another(world: World) -> None:
    world.add_client()
    world.add_grant()
    world.log_out(subject="another")
    assert world.receiver.got == []


def test_a_grant_without_openid_is_no_login(world: World) -> None:
    world.add_client()
    world.add_grant(scopes=("read",))
    world.log_out()
    assert world.receiver.got == []
    assert world.waiting() == []


@pytest.mark.parametrize("status", [200, 204])
def test_a_client_takes_a_token(world: World, status: int) -> None:
    world.receiver.status = status
    world.add_client()
    world.add_grant()
    world.log_out()
    assert world.waiting() == []


@pytest.mark.parametrize("status", [400, 404, 301, 302, 307, 308, 418])
def test_a_client_that_refuses_is_not_asked_again(world: World, status: int) -> None:
    """No redirect is followed."""
    world.receiver.status = status
    world.add_client()
    world.add_grant()
    world.log_out()
    assert len(world.receiver.got) == 1
    assert world.waiting() == []
    (told,) = world.told
    assert told.again_in is None
    assert str(status) in told.reason


def test_a_client_that_fails_is_asked_again_and_not_for_ever(world: World) -> None:
    world.receiver.status = 503
    world.add_client()
    world.add_grant()
    world.log_out()
    for number, pause in enumerate(PAUSES, 2):
        world.advance(pause - 1)
        assert len(world.receiver.got) == number - 1
        world.advance(1)
        assert len(world.receiver.got) == number
    world.advance(100_000)
    assert len(world.receiver.got) == len(PAUSES) + 1
    assert world.waiting() == []
    assert [told.again_in for told in world.told] == [*PAUSES, None]
    issued = [token["iat"] for token in world.receiver.got]
    assert issued == sorted(set(issued))


def test_a_client_that_hangs_does_not_hold_up_others(world: World) -> None:
    """It has a deadline; the logout is long done."""
    world.receiver.is_silent = True
    world.add_client("client")
    world.add_grant()
    world.log_out()
    world.advance(DEADLINE - 1)
    assert world.told == []
    world.advance(2)
    (told,) = world.told
    assert told.reason == "it did not answer in time"
    world.receiver.is_silent = False
    world.advance(PAUSES[0])
    world.advance(POLL_INTERVAL)
    assert isinstance(world.told[-1], LogoutSent)


def test_many_notices_of_a_client_that_hangs_hold_up_no_other(world: World) -> None:
    """It has its share of what is sent at once. All are sent in the end."""
    world.receiver.hangs = lambda claims: claims["aud"] == "hanging"
    for client_id in ("hanging", "client"):
        world.add_client(client_id)
    world.delivery.stop()
    earlier = int(world.clock.seconds()) - 1
    notices = [LogoutNotice(f"{number}", "user", "s", None, "hanging", earlier) for number in range(30)]
    last = LogoutNotice("last", "user", "s", None, "client", earlier + 1)
    result_of(world.registry.add_notices([*notices, last]))
    world.delivery.start()
    world.flush()
    assert [event.client_id for event in world.told] == ["client"]
    for _ in range(30 // SHARE):
        world.advance(DEADLINE)
    assert len(world.told) == 31
    assert world.told[1].reason == "it did not answer in time"


def test_many_clients_that_hang_hold_up_no_other(world: World) -> None:
    hanging = {f"hanging {number}" for number in range(30)}
    world.receiver.hangs = lambda claims: claims["aud"] in hanging
    for client_id in (*hanging, "client"):
        world.add_client(client_id)
        world.add_grant(client_id=client_id)
    world.log_out()
    assert len(world.receiver.got) == 31
    assert [event.client_id for event in world.told] == ["client"]


def test_a_notice_of_a_process_that_has_ended_is_sent_by_another(world: World) -> None:
    """kill -9 after the logout, and while a token is under way."""
    world.delivery.stop()
    world.add_client()
    world.add_grant()
    world.log_out()
    assert world.receiver.got == []
    world.receiver.is_silent = True
    second = world.another()
    second.start()
    world.flush()
    assert len(world.receiver.got) == 1
    second.stop()
    world.receiver.is_silent = False
    third = world.another()
    third.start()
    for _ in range(8):
        world.advance(POLL_INTERVAL)
    assert len(world.receiver.got) == 2
    assert world.waiting() == []
    third.stop()


def test_a_client_that_is_gone_gets_nothing(world: World) -> None:
    world.receiver.status = 500
    world.add_client()
    world.add_grant()
    world.log_out()
    result_of(world.registry.delete_client("client"))
    world.advance(PAUSES[0])
    world.advance(POLL_INTERVAL)
    assert len(world.receiver.got) == 1
    assert world.waiting() == []


def ended(world: World, verb: str, *arguments: Any, **named: Any) -> None:
    """Take an action on the grants, as an administrator's."""
    result_of(getattr(telling(world.tokens, world.logouts), verb)(*arguments, **named))
    world.flush()


def test_a_revoked_grant_ends_its_login_at_the_client(world: World) -> None:
    world.add_client()
    grant = world.add_grant()
    ended(world, "revoke_grant", grant.id)
    (token,) = world.receiver.got
    assert (token["sub"], token["sid"]) == ("subject-1", "a-sid")
    ended(world, "revoke_grant", grant.id)
    assert len(world.receiver.got) == 1


@pytest.mark.parametrize(
    ("verb", "named", "audience"),
    [
        ("revoke_grants", {"username": "user"}, ["another", "client"]),
        ("revoke_grants", {"username": "user", "client_id": "client"}, ["client"]),
        ("revoke_grants", {"client_id": "client"}, []),
        ("revoke_grants", {}, []),
        ("revoke_grants", {"scope": "openid"}, []),
        ("end_refresh_tokens", {"username": "user"}, ["another", "client"]),
    ],
)
def test_a_user_whose_grants_end_is_logged_out_of_the_clients(
    world: World, verb: str, named: dict[str, str], audience: list[str]
) -> None:
    """Of all logins of the user: the tokens name none."""
    for client_id in ("client", "another"):
        world.add_client(client_id)
        world.add_grant(client_id=client_id)
        world.add_grant(client_id=client_id, owner=ResourceOwner("bob", subject="bob's"))
    ended(world, verb, **named)
    assert sorted(token["aud"] for token in world.receiver.got) == audience
    assert all(token["sub"] == "subject-1" and "sid" not in token for token in world.receiver.got)


def test_nothing_is_kept_where_no_notices_are_sent(world: World) -> None:
    """Without the setting ``OPENID``."""
    world.add_client()
    grant = world.add_grant()
    world.logouts.is_on = False
    world.log_out()
    ended(world, "revoke_grant", grant.id)
    ended(world, "revoke_grants", username="user")
    assert world.waiting() == []
    assert world.receiver.got == []


def test_a_status_says_whether_to_try_again() -> None:
    assert judge_status(200) == judge_status(204) == Answer(True)
    for status in (408, 425, 429, 500, 503):
        assert not judge_status(status).final
    for status in (301, 400, 404):
        assert judge_status(status).final


@implementer(IHostnameResolver)
class Names:
    """A resolver that knows the addresses of all names."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: object = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        resolutionReceiver.resolutionBegan(None)
        for address in self.addresses or [hostName]:
            kind = IPv6Address if ":" in address else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class Net(MemoryReactorClock):
    """A network of which only the names are looked up."""

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        self.nameResolver = Names(list(addresses))

    def installNameResolver(self, resolver: Any) -> Any:
        raise NotImplementedError


def sent(net: Net, address: str, private: bool = False) -> Deferred[Answer]:
    return Sender(net, make_agent(net, private)).send(address, "a token")


def connections(net: Net) -> list[tuple[str, int]]:
    return [(host, port) for host, port, *_ in net.tcpClients]


@pytest.mark.parametrize(
    ("addresses", "address"),
    [
        (["10.0.0.1"], "https://rp.example/"),
        (["127.0.0.1", "::1", "fe80::1"], "https://rp.example/"),
        (["169.254.169.254"], "https://metadata.example/"),
        (["::ffff:127.0.0.1"], "https://rp.example/"),
        ([], "https://127.0.0.1/"),
        ([], "https://[::1]:8443/"),
        ([], "https://10.1.2.3/"),
    ],
)
def test_no_connection_is_made_to_an_address_that_is_not_public(
    addresses: list[str], address: str
) -> None:
    """Whether it is written in the URI or what a name stands for."""
    net = Net(*addresses)
    answer = result_of(sent(net, address))
    assert connections(net) == []
    assert not answer.taken


def test_a_host_without_a_public_address_is_named_as_the_reason() -> None:
    answer = result_of(sent(Net("10.0.0.1"), "https://rp.example/"))
    assert answer.reason == "its host is unknown, or has no address that may be reached"


def test_no_token_is_sent_without_tls() -> None:
    """The address may have been registered while ``SSL_ONLY`` was false."""
    net = Net("8.8.8.8")
    answer = result_of(sent(net, "http://rp.example/"))
    assert connections(net) == []
    assert answer == Answer(False, True, "its address is not https")


def test_an_address_of_ipv6_is_reached() -> None:
    """It may be written in the URI, with a path of any letters."""
    net = Net()
    waiting = sent(net, "https://[2606:4700::1]:8443/bye/für")
    assert connections(net) == [("2606:4700::1", 8443)]
    waiting.cancel()
    assert not result_of(waiting).taken


def test_a_name_with_both_kinds_of_addresses_is_reached_by_the_public_ones() -> None:
    net = Net("10.0.0.1", "8.8.8.8")
    waiting = sent(net, "https://rp.example/")
    assert connections(net) == [("8.8.8.8", 443)]
    net.advance(DEADLINE + 1)
    assert result_of(waiting).reason == "it did not answer in time"


def test_a_setting_allows_private_addresses() -> None:
    net = Net("10.0.0.1")
    waiting = sent(net, "https://rp.example/", private=True)
    assert connections(net) == [("10.0.0.1", 443)]
    waiting.cancel()
    assert not result_of(waiting).taken


def test_an_answer_that_is_too_long_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_ANSWER_SIZE", 3)
    world.add_client()
    world.add_grant()
    world.log_out()
    world.advance(DEADLINE + 1)
    (told,) = world.told
    assert isinstance(told, LogoutNotSent)
