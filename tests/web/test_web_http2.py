"""Guards in an application's own site that speaks HTTP/2, which Twisted does where h2 is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, StreamEnded, StreamReset
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import Site
from web_driver import System, Wire, wait

from djoauth2_twisted import AuthorizationServer, OAuthGuard, oauth_scope


class Connection(Wire):
    """Both ends of an HTTP/2 connection."""

    negotiatedProtocol = b"h2"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.client = H2Connection(H2Configuration(client_side=True))
        self.client.initiate_connection()
        self._exchange()

    def get(self, path: str, token: str) -> int:
        """Send a request, and return the number of its stream."""
        stream: int = self.client.get_next_available_stream_id()
        fields = {":method": "GET", ":path": path, ":scheme": "https", ":authority": "as.example"}
        everything = {**fields, "authorization": f"Bearer {token}"}
        self.client.send_headers(stream, list(everything.items()), end_stream=True)
        self._exchange()
        return stream

    def events(self) -> list[Event]:
        """What the server has sent since, a few turns of the reactor later."""
        from twisted.internet import reactor

        # Twisted sends data from the reactor in use, not from that of the site.
        for _ in range(3):
            wait(deferLater(reactor, 0))
        received = self.value()
        self.clear()
        events: list[Event] = self.client.receive_data(received)
        self._exchange()
        return events

    def _exchange(self) -> None:
        self.send(self.client.data_to_send())


class Whole(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"a whole answer"


class FailsAtOnce(Resource):
    """It fails in the turn in which it has written."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        request.write(b"half an answer")
        raise ZeroDivisionError


def decorated(server: AuthorizationServer, failing: Deferred[Any]) -> Resource:
    """A resource whose method fails when the Deferred does."""

    class Fails(Resource):
        isLeaf = True

        @oauth_scope("user_info", verifier=server)
        def render_GET(self, access_token: Any, request: Any) -> Any:
            request.write(b"half an answer")
            return failing

    return Fails()


class Place:
    """A connection to a site with guarded resources, and an access token."""

    def __init__(self, system: System) -> None:
        self.failing: Deferred[Any] = Deferred()
        server, root = system.server, Resource()
        root.putChild(b"oauth2", server.resource())
        root.putChild(b"whole", OAuthGuard(Whole(), server))
        root.putChild(b"at-once", OAuthGuard(FailsAtOnce(), server))
        root.putChild(b"later", decorated(server, self.failing))
        self.connection = Connection(Site(root, reactor=system.reactor))
        self._token = system.add_client("App").tokens(system.browser("alice"))["access_token"]

    def get(self, path: str) -> int:
        return self.connection.get(path, self._token)

    def assert_whole(self) -> None:
        """A good answer, which ends its stream."""
        self.get("/whole")
        events = self.connection.events()
        assert data_of(events) == b"a whole answer"
        assert any(isinstance(event, StreamEnded) for event in events)


@pytest.fixture
def place(make_system: Callable[..., System]) -> Iterator[Place]:
    place = Place(make_system())
    yield place
    place.connection.hang_up()


def data_of(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, DataReceived))


def assert_reset(events: list[Event], stream: int) -> None:
    """The stream is reset, by a code that no client takes for the end of a whole answer."""
    assert not any(isinstance(event, StreamEnded) for event in events)
    (reset,) = [event for event in events if isinstance(event, StreamReset)]
    assert (reset.stream_id, reset.error_code) == (stream, ErrorCodes.INTERNAL_ERROR)


def test_tree_is_served_as_well(place: Place) -> None:
    stream = place.connection.get("/oauth2/login/", "unused")
    events = place.connection.events()
    assert b'action="/oauth2/login/"' in data_of(events)
    assert [event.stream_id for event in events if isinstance(event, StreamEnded)] == [stream]


def test_resource_that_fails_as_it_writes_resets_its_stream(place: Place, logged_failures: Any) -> None:
    """GW-13, RFC 9113, section 8.1. Other streams of the connection continue."""
    place.assert_whole()
    stream = place.get("/at-once")
    assert_reset(place.connection.events(), stream)
    assert len(logged_failures.take(ZeroDivisionError)) == 1
    place.assert_whole()


def test_resource_that_fails_half_way_resets_its_stream(place: Place, logged_failures: Any) -> None:
    """GW-13: the first half has been sent by then."""
    stream = place.get("/later")
    assert data_of(place.connection.events()) == b"half an answer"
    place.failing.errback(ZeroDivisionError())
    assert_reset(place.connection.events(), stream)
    assert len(logged_failures.take(ZeroDivisionError)) == 1
    place.assert_whole()


def test_reset_stream_is_in_flight_no_more(
    make_system: Callable[..., System], logged_failures: Any
) -> None:
    """The server does not wait for it when it stops."""
    system = make_system()
    place = Place(system)
    place.get("/at-once")
    stopping = system.server.stopService()
    assert stopping.called
    assert logged_failures.take(ZeroDivisionError)
    place.connection.hang_up()
