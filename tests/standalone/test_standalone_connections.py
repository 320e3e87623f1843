"""How many connections there may be, and which of them make way."""

from __future__ import annotations

import errno
import resource
from typing import Any

import pytest
from crowd import LOST, REQUEST, Crowd, gone
from twisted.internet import tcp
from twisted.logger import capturedLogs
from twisted.web.resource import Resource

from djoauth2_twisted.standalone import connections as limits
from djoauth2_twisted.standalone import descriptors
from djoauth2_twisted.standalone.connections import (
    LOG_INTERVAL,
    MAX_ACCEPTED_AT_ONCE,
    PAUSE,
    SHARE_OF_SILENT,
    Connections,
    Gate,
)
from djoauth2_twisted.web.site import LimitedSite


class TestRoom:
    """In all."""

    def test_there_is_room_until_all_places_are_taken(self):
        crowd = Crowd(3)
        assert crowd.connections.make_room() == 3
        clients = [crowd.come(None) for _ in range(2)]
        assert crowd.connections.make_room() == 1
        assert gone(*clients) == [False, False]

    def test_the_oldest_that_never_sent_anything_is_closed_first(self):
        """So a flood of them closes no connection that has sent something, however long ago."""
        crowd = Crowd(3)
        spoke = crowd.come(None)
        spoke.dataReceived(b"G")
        crowd.clock.advance(1)
        silent, later = (crowd.come(None) for _ in range(2))
        assert crowd.connections.make_room() == 1
        assert gone(spoke, silent, later) == [False, True, False]
        crowd.come(None)
        assert crowd.connections.make_room() == 1
        assert gone(spoke, silent, later) == [False, True, True]

    def test_few_new_connections_have_time_for_their_handshakes(self):
        """One that has sent something is closed, if it was idle for longer."""
        crowd = Crowd(SHARE_OF_SILENT)
        spoke = [crowd.come(None) for _ in range(SHARE_OF_SILENT - 1)]
        for client in spoke:
            client.dataReceived(b"G")
        crowd.clock.advance(1)
        new = crowd.come(None)
        assert crowd.connections.make_room() == 1
        assert gone(*spoke, new) == [True, *[False] * (SHARE_OF_SILENT - 1)]
        crowd.clock.advance(1)
        for client in spoke[1:]:
            client.dataReceived(b"E")
        crowd.come(None).dataReceived(b"G")
        assert crowd.connections.make_room() == 1
        assert gone(*spoke[1:], new) == [*[False] * (SHARE_OF_SILENT - 2), True]

    def test_then_the_one_that_was_idle_longest_is_closed(self):
        crowd = Crowd(3)
        clients = [crowd.come(None) for _ in range(3)]
        for client in clients:
            client.dataReceived(b"G")
        clients[0].dataReceived(b"E")
        assert crowd.connections.make_room() == 1
        assert gone(*clients) == [False, True, False]

    def test_a_clock_that_is_set_back_does_not_stop_the_order(self):
        crowd = Crowd(2)
        clients = [crowd.come(None) for _ in range(2)]
        for client in clients:
            client.dataReceived(b"G")
        crowd.clock.rightNow -= 3600
        clients[0].dataReceived(b"E")
        assert crowd.connections.make_room() == 1
        assert gone(*clients) == [False, True]

    def test_a_request_that_waits_does_not_begin_on_a_connection_that_is_dropped(self):
        """TCP tells the end of a connection that is aborted in the next turn of the reactor."""
        crowd = Crowd(1)
        client, site = crowd.come(None), crowd.connections.site
        begun: list[bytes] = []

        class Noting(Resource):
            isLeaf = True

            def render(self, request: Any) -> bytes:
                begun.append(request.uri)
                return b""

        site.resource = Noting()
        client.transport.abortConnection = lambda: None
        client.dataReceived(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        client.dataReceived(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert crowd.connections.make_room() == 1
        crowd.clock.advance(0)
        assert begun == [b"/1"]

    def test_a_request_that_is_answered_is_not_given_up(self):
        """Neither for one who comes nor for a hundred; once it is, its connection is as good as idle."""
        crowd = Crowd(2)
        clients = [crowd.come(None) for _ in range(2)]
        for client in clients:
            client.dataReceived(REQUEST)
        assert [crowd.connections.make_room() for _ in range(100)] == [0] * 100
        assert gone(*clients) == [False, False]
        crowd.finish()
        assert crowd.connections.make_room() == 1
        assert sum(gone(*clients)) == 1

    def test_half_a_request_is_idle(self):
        crowd = Crowd(1)
        client = crowd.come(None)
        client.dataReceived(REQUEST[:-2])
        assert crowd.connections.make_room() == 1
        assert gone(client) == [True]

    def test_an_idle_one_is_found_behind_many_at_work(self):
        """If not at once, then soon: those that were looked at are not looked at again before it."""
        crowd = Crowd(limits.MAX_EXAMINED * 3 + 1)
        for _ in range(crowd.connections.most - 1):
            crowd.come(None).dataReceived(REQUEST)
        idle = crowd.come(None)
        idle.dataReceived(b"G")
        for _ in range(4):
            crowd.connections.make_room()
        assert gone(idle) == [True]
        crowd.finish()

    def test_one_that_was_dropped_makes_room_only_once(self):
        crowd = Crowd(1)
        client = crowd.come(None)
        assert crowd.connections.make_room() == 1
        newcomer = crowd.come(None)
        client.dataReceived(b"late")
        client.connectionLost(LOST)
        assert len(crowd.connections._all) == 1
        newcomer.connectionLost(LOST)
        assert len(crowd.connections._all) == 0

    def test_full_connections_are_logged_now_and_then(self):
        crowd = Crowd(1)
        with capturedLogs() as logged:
            for _ in range(100):
                crowd.come(None)
                crowd.connections.make_room()
            crowd.clock.advance(LOG_INTERVAL)
            crowd.come(None)
            crowd.connections.make_room()
        lines = [event["log_format"].format(**event) for event in logged]
        told = [line for line in lines if "limit" in line]
        assert (
            told == ["The limit of connections is reached. The longest idle connections are closed."] * 2
        )


class TestAddress:
    """Of one address."""

    @pytest.mark.parametrize(
        ("hosts", "other"),
        [
            (["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"], "192.0.2.2"),
            (["2001:db8::1", "2001:db8::2", "2001:db8::3:4"], "2001:db8:0:1::1"),
        ],
    )
    def test_its_own_idlest_makes_way(self, hosts, other):
        crowd = Crowd(100, 2)
        stranger = crowd.come(other)
        first, second, third = (crowd.come(host) for host in hosts)
        assert gone(stranger, first, second, third) == [False, True, False, False]

    def test_one_too_many_is_closed_while_all_others_are_answered(self):
        crowd = Crowd(100, 2)
        for _ in range(2):
            crowd.come().dataReceived(REQUEST)
        assert crowd.come() is None
        assert crowd.come("192.0.2.2") is not None
        crowd.finish()
        assert crowd.come() is not None

    @pytest.mark.parametrize("host", [None, "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
    def test_a_peer_on_this_machine_has_none(self, host):
        """It may be a proxy, with everybody behind it."""
        crowd = Crowd(100, 2)
        assert gone(*[crowd.come(host) for _ in range(10)]) == [False] * 10

    def test_a_quarter_of_all_where_nothing_is_said(self):
        crowd = Crowd(8)
        assert gone(*[crowd.come() for _ in range(3)]) == [True, False, False]

    def test_nothing_is_kept_of_a_closed_connection(self):
        crowd = Crowd(100, 2)
        for number in range(50):
            crowd.come(f"192.0.2.{number}").connectionLost(LOST)
        assert not crowd.connections._by_key
        assert not crowd.connections.protocols


class FakePort:
    """What a gate needs of a port."""

    numberAccepts = 100

    def __init__(self) -> None:
        self.accepted: list[int] = []
        self.reading = True
        self.closed = False

    def doRead(self) -> None:
        self.accepted.append(self.numberAccepts)

    def stopReading(self) -> None:
        self.reading = False

    def startReading(self) -> None:
        self.reading = True

    def connectionLost(self, _: object) -> None:
        self.closed = True


class TestGate:
    """What stands before a port."""

    def test_connections_wait_until_it_is_open(self):
        crowd, port = Crowd(1), FakePort()
        gate = Gate(crowd.connections, port)
        assert not port.reading
        gate.open()
        assert port.reading

    def test_connections_that_wait_are_accepted_before_the_port_closes(self):
        """Otherwise the system would reset them."""
        crowd, port = Crowd(7), FakePort()
        Gate(crowd.connections, port).open()
        port.numberAccepts = 1
        port.connectionLost(None)
        assert (port.accepted, port.closed) == ([7], True)

    def test_a_queue_that_outlives_the_port_is_left_to_the_next_process(self):
        crowd, port = Crowd(7), FakePort()
        Gate(crowd.connections, port, is_shared=True).open()
        port.connectionLost(None)
        assert (port.accepted, port.closed) == ([], True)

    def test_none_is_accepted_before_the_port_closes_if_it_was_never_open(self):
        crowd, port = Crowd(7), FakePort()
        Gate(crowd.connections, port)
        port.connectionLost(None)
        assert (port.accepted, port.closed) == ([], True)

    def test_no_more_are_accepted_than_there_is_room_for(self):
        crowd, port = Crowd(MAX_ACCEPTED_AT_ONCE + 2), FakePort()
        Gate(crowd.connections, port)
        port.doRead()
        for _ in range(MAX_ACCEPTED_AT_ONCE):
            crowd.come(None)
        port.numberAccepts = 120
        port.doRead()
        assert port.accepted == [MAX_ACCEPTED_AT_ONCE, 2]

    def test_a_new_connection_waits_while_all_others_are_answered(self):
        crowd, port = Crowd(1), FakePort()
        Gate(crowd.connections, port)
        crowd.come(None).dataReceived(REQUEST)
        port.doRead()
        assert (port.accepted, port.reading) == ([], False)
        crowd.finish()
        crowd.clock.advance(PAUSE)
        assert port.reading
        port.doRead()
        assert port.accepted == [1]

    def test_descriptors_that_run_out_are_no_flood(self, monkeypatch):
        """F-27: idle connections make way, and the port rests rather than spin."""
        crowd, port = Crowd(100), FakePort()
        Gate(crowd.connections, port)
        client = crowd.come(None)

        def fail(_: int) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patched, capturedLogs() as logged:
            patched.setattr(descriptors.os, "dup", fail)
            for _ in range(100):
                port.doRead()
                assert not port.reading
                crowd.clock.advance(PAUSE)
        assert gone(client) == [True]
        (told,) = [event["log_format"].format(**event) for event in logged]
        assert told == "The process may open no more files. The longest idle connections are closed."
        assert port.reading
        port.doRead()
        assert len(port.accepted) == 1

    def test_a_port_that_is_closed_stays_so(self):
        crowd, port = Crowd(1), FakePort()
        gate = Gate(crowd.connections, port)
        crowd.come(None).dataReceived(REQUEST)
        port.doRead()
        gate.close()
        gate.close()
        crowd.clock.advance(PAUSE * 2)
        assert not port.reading
        crowd.finish()

    def test_ports_of_twisted_have_what_a_gate_needs(self):
        """A name of another spelling would be no limit."""
        from twisted.internet import reactor

        port: Any = tcp.Port(0, Connections(LimitedSite(Resource(), reactor)), interface="127.0.0.1")
        port.startListening()
        try:
            assert port.numberAccepts > 0
            assert callable(port.doRead)
        finally:
            port.connectionLost(None)


class TestDescriptors:
    """How many this process may open."""

    @pytest.mark.parametrize(
        ("wanted", "soft", "hard", "raised", "served"),
        [
            (0, 1024, 1_048_576, 8128, 8000),
            (0, 1024, resource.RLIM_INFINITY, 8128, 8000),
            (0, 65536, 1_048_576, None, 8000),
            (0, 1024, 1024, None, 896),
            (0, 256, 256, None, 128),
            (0, 64, 64, None, 32),
            (0, 64, 128, 128, 64),
            (100, 64, 4096, 228, 100),
            (10_000, 1024, 4096, 4096, 3968),
        ],
    )
    def test_the_soft_limit_is_raised_as_far_as_needed(
        self, monkeypatch, wanted, soft, hard, raised, served
    ):
        """And some are kept for what is no connection."""
        said: list[Any] = []
        monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(descriptors.resource, "setrlimit", lambda _, limits: said.append(limits[0]))
        assert descriptors.provide(wanted) == served
        assert said == ([] if raised is None else [raised])

    def test_a_limit_that_cannot_be_raised(self, monkeypatch):
        """Is kept to."""

        def fail(*_: object) -> None:
            raise ValueError

        monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: (1024, 4096))
        monkeypatch.setattr(descriptors.resource, "setrlimit", fail)
        assert descriptors.provide(0) == 896

    @pytest.mark.parametrize(("number", "left"), [(errno.EMFILE, False), (errno.EBADF, True)])
    def test_standard_input_may_be_closed(self, monkeypatch, number, left):
        def fail(_: int) -> int:
            raise OSError(number, "")

        monkeypatch.setattr(descriptors.os, "dup", fail)
        assert descriptors.is_one_left() is left
        monkeypatch.undo()
        assert descriptors.is_one_left()
