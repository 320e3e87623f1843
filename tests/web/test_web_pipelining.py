"""Pipelined requests: one after the other, no more than the client reads, and others in between.

Nothing here is timed: a turn is one step of the clock, and a cost is a number of calls.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from web_driver import App, Browser, SteppedReactor, System, Wire

from djoauth2_twisted.web.channel import (
    IDLE_TIMEOUT,
    MAX_FRAMING,
    MAX_NAME_LENGTH,
    MAX_WAITING,
    SLOWEST_READER,
)
from djoauth2_twisted.web.reading import MAX_BODY_SIZE
from djoauth2_twisted.web.sharing import PAUSE, Memory
from djoauth2_twisted.web.site import (
    MAX_ARGUMENTS,
    MAX_COOKIES,
    MAX_PATH_LENGTH,
    REQUEST_DEADLINE,
    LimitedSite,
)

#: What TCP reads at once.
READ = 64 * 1024

FORM = "Content-Type: application/x-www-form-urlencoded"
CHUNKED = "Transfer-Encoding: chunked"


def request(path: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    head = [f"{method} {path} HTTP/1.1", "Host: as.example", *lines, *length, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


class Echo(Resource):
    """Answers with the path; where the path says so, it answers later."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.waiting: list[Any] = []
        self.size = 0

    def render(self, request: Any) -> bytes | int:
        path = request.path.decode()
        self.begun.append(path)
        if path.startswith("/slow"):
            self.waiting.append(request)
            return NOT_DONE_YET
        return b"[%s %s]" % (request.path, request.content.read()[:20]) + b"." * self.size


class Worker(Wire):
    """A connection whose reading stops when the server says so, as on a network."""

    def send_all(self, data: bytes) -> int:
        """Send in pieces while the server reads; how much it took."""
        sent = 0
        while sent < len(data) and self.producerState == "producing" and not self.closed:
            self.send(data[sent : sent + READ])
            sent += READ
        return min(sent, len(data))

    def stop_reading(self) -> None:
        """The client reads no more, and the transport is full."""
        assert IPushProducer.providedBy(self.producer)
        self.producer.pauseProducing()

    def read_on(self) -> None:
        assert IPushProducer.providedBy(self.producer)
        self.producer.resumeProducing()

    @property
    def bodies(self) -> list[bytes]:
        return [
            answer.partition(b"\r\n\r\n")[2].rstrip(b".")
            for answer in self.value().split(b"HTTP/1.1 200 OK\r\n")[1:]
        ]


class Bench:
    """A site of ours with nothing in it but an `Echo`."""

    def __init__(self, **named: Any) -> None:
        self.reactor = SteppedReactor()
        self.echo = Echo()
        self.site = LimitedSite(self.echo, self.reactor, **named)

    def worker(self) -> Worker:
        return Worker(self.site)

    def end_turn(self) -> None:
        """What is to be done in the next turn of the reactor, and nothing that waits for a time."""
        self.reactor.advance(0)

    def turns(self, number: int = 1) -> None:
        """Let so many pipelined requests have their turn."""
        self.end_turn()
        for _ in range(number):
            self.reactor.advance(PAUSE)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# One after the other.


def test_two_requests_do_not_begin_in_one_turn(bench: Bench) -> None:
    """HT-04"""
    worker = bench.worker()
    worker.send(request("/1") + request("/2"))
    assert bench.echo.begun == ["/1"]
    bench.end_turn()
    assert bench.echo.begun == ["/1"]
    bench.turns()
    assert bench.echo.begun == ["/1", "/2"]
    worker.hang_up()


def test_a_request_that_comes_after_an_answer_begins_in_the_next_turn(bench: Bench) -> None:
    """HT-04: and what TLS hands on in pieces, though it was read at once, is pipelined behind it."""
    worker = bench.worker()
    for number in range(1, 5):
        worker.send(request(f"/{number}"))
    assert bench.echo.begun == ["/1"]
    bench.end_turn()
    assert bench.echo.begun == ["/1", "/2"]
    bench.end_turn()
    assert bench.echo.begun == ["/1", "/2"]
    bench.turns(2)
    assert bench.echo.begun == ["/1", "/2", "/3", "/4"]
    assert worker.bodies == [b"[/1 ]", b"[/2 ]", b"[/3 ]", b"[/4 ]"]
    worker.hang_up()
    assert bench.reactor.getDelayedCalls() == []


def test_requests_that_come_after_answers_never_wait_for_pipelined_ones(bench: Bench) -> None:
    """HT-04: on a busy server, the next request comes before its connection has rested."""
    pipelining, busy = bench.worker(), bench.worker()
    pipelining.send(b"".join(request(f"/p{number}") for number in range(20)))
    for number in range(10):
        busy.send(request(f"/{number}"))
        bench.end_turn()
        assert len(busy.bodies) == number + 1
    assert bench.echo.begun.count("/p0") == 1
    assert "/p1" not in bench.echo.begun
    for worker in (pipelining, busy):
        worker.hang_up()


def test_a_connection_that_fails_in_its_turn_stops_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, logged_failures: Any
) -> None:
    workers = [bench.worker() for _ in range(2)]
    for worker in workers:
        worker.send(request("/1"))
        worker.send(request("/2"))

    def fail(_: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(workers[0]._protocol, "dataReceived", fail)
    bench.end_turn()
    assert len(logged_failures.take(ZeroDivisionError)) == 1
    assert (workers[0].aborted, workers[1].aborted) == (True, False)
    assert workers[1].bodies == [b"[/1 ]", b"[/2 ]"]
    workers[1].hang_up()


def test_a_pipelined_request_that_fails_stops_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, logged_failures: Any
) -> None:
    workers = [bench.worker() for _ in range(2)]
    for worker in workers:
        worker.send(request("/1") + request("/2"))

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(workers[0]._protocol, "take_turn", fail)
    bench.turns(2)
    assert len(logged_failures.take(ZeroDivisionError)) == 1
    assert (workers[0].aborted, workers[1].aborted) == (True, False)
    assert workers[1].bodies == [b"[/1 ]", b"[/2 ]"]
    workers[1].hang_up()


def test_a_request_that_was_not_pipelined_does_not_wait(bench: Bench) -> None:
    worker = bench.worker()
    for number in range(3):
        worker.send(request(f"/{number}"))
        assert len(bench.echo.begun) == number + 1
        bench.end_turn()
    worker.hang_up()


def test_one_pipelined_request_begins_at_a_time_whatever_the_connection(bench: Bench) -> None:
    """Each connection has its turn, and a connection with one request is served at once."""
    workers = [bench.worker() for _ in range(3)]
    for name, worker in zip("abc", workers, strict=True):
        worker.send(b"".join(request(f"/{name}{number}") for number in range(3)))
    assert bench.echo.begun == ["/a0", "/b0", "/c0"]
    del bench.echo.begun[:]
    bench.end_turn()
    for number in range(6):
        bystander = bench.worker()
        bystander.send(request("/bystander"))
        assert bystander.bodies == [b"[/bystander ]"]
        bystander.hang_up()
        bench.reactor.advance(PAUSE)
        assert len(bench.echo.begun) == 2 * (number + 1)
    assert bench.echo.begun[1::2] == ["/a1", "/b1", "/c1", "/a2", "/b2", "/c2"]
    for worker in workers:
        worker.hang_up()


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("line", ["Content-Length: 4", CHUNKED])
def test_a_request_follows_a_body_that_came_after_its_head(
    bench: Bench, line: str, at_once: bool, secure: bool
) -> None:
    """The answer is given while the bytes of the body are handled."""
    worker = Worker(bench.site, secure=secure)
    worker.send(request("/1", line, method="POST"))
    body = b"body" if line != CHUNKED else b"4\r\nbody\r\n0\r\n\r\n"
    for piece in [body + request("/2")] if at_once else [body, request("/2")]:
        worker.send(piece)
        bench.turns()
    assert bench.echo.begun == ["/1", "/2"]
    assert b"[/1 body]" in worker.value()
    worker.hang_up()


def test_a_request_behind_a_slow_one_begins_in_a_turn_after_its_answer(bench: Bench) -> None:
    worker = bench.worker()
    worker.send(request("/slow") + request("/2"))
    bench.turns(5)
    assert bench.echo.begun == ["/slow"]
    bench.echo.waiting[0].write(b"done")
    bench.echo.waiting[0].finish()
    assert bench.echo.begun == ["/slow"]
    bench.turns()
    assert bench.echo.begun == ["/slow", "/2"]
    worker.hang_up()


@pytest.mark.parametrize("size", [1, 7, 1000, READ])
def test_a_client_that_reads_gets_all_answers_in_order(bench: Bench, size: int) -> None:
    """HT-04: whatever they are, and however the network cuts them."""
    kinds = [
        request("/get"),
        request("/post", FORM, method="POST", body=b"a=b"),
        request("/empty", "Content-Length: 0", method="POST"),
        request("/chunks", "Transfer-Encoding: chunked", method="POST")
        + b"2\r\na=\r\n1\r\nb\r\n0\r\n\r\n",
    ]
    expected = [b"[/get ]", b"[/post a=b]", b"[/empty ]", b"[/chunks a=b]"]
    sent = b"".join(kinds) * 10
    worker = bench.worker()
    for start in range(0, len(sent), size):
        worker.send(sent[start : start + size])
    bench.turns(40)
    assert worker.bodies == expected * 10
    worker.hang_up()


def test_continue_is_said_in_its_turn(bench: Bench) -> None:
    """HT-04: not before the answer to the request before."""
    worker = bench.worker()
    worker.send(
        request("/slow") + request("/2", "Expect: 100-continue", "Content-Length: 3", method="POST")
    )
    bench.turns(2)
    assert worker.value() == b""
    bench.echo.waiting[0].write(b"done")
    bench.echo.waiting[0].finish()
    assert b"100 Continue" not in worker.value()
    bench.turns()
    assert worker.value().endswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    worker.send(b"a=b")
    assert worker.bodies[-1] == b"[/2 a=b]"
    worker.hang_up()


@pytest.mark.parametrize("last", [b"GET /1 HTTP/1.0\r\n\r\n", request("/1", "Connection: close")])
def test_requests_behind_the_last_one_are_ignored(bench: Bench, last: bytes) -> None:
    worker = bench.worker()
    worker.send(last + request("/2"))
    bench.turns(3)
    assert worker.closed
    assert bench.echo.begun == ["/1"]


def test_no_further_request_begins_after_the_client_hangs_up(bench: Bench) -> None:
    """U-08."""
    worker = bench.worker()
    worker.send(b"".join(request(f"/{number}") for number in range(5)))
    bench.turns()
    worker.hang_up()
    bench.turns(5)
    assert bench.echo.begun == ["/0", "/1"]
    assert bench.reactor.getDelayedCalls() == []


# No more than the client reads.


def test_no_request_begins_while_answers_are_not_taken(bench: Bench) -> None:
    worker = bench.worker()
    worker.send(b"".join(request(f"/{number}") for number in range(4)))
    bench.turns()
    worker.stop_reading()
    bench.turns(10)
    assert bench.echo.begun == ["/0", "/1"]
    worker.read_on()
    assert bench.echo.begun == ["/0", "/1"]
    bench.turns(2)
    assert bench.echo.begun == ["/0", "/1", "/2", "/3"]
    worker.hang_up()


def test_a_request_that_arrives_while_answers_are_not_taken_waits(bench: Bench) -> None:
    worker = bench.worker()
    worker.stop_reading()
    worker.send(request("/1"))
    bench.turns(3)
    assert bench.echo.begun == []
    worker.read_on()
    bench.turns()
    assert bench.echo.begun == ["/1"]
    worker.hang_up()


@pytest.mark.parametrize("while_", ["it waits its turn", "one is slow", "one is slow and half sent"])
def test_no_more_is_read_than_may_wait(bench: Bench, while_: str) -> None:
    """Twisted reads on without end where a slow answer is not taken."""
    worker = bench.worker()
    if "slow" in while_:
        worker.send(request("/slow"))
    if "half" in while_:
        bench.echo.waiting[0].write(b"half")
        worker.stop_reading()
    taken = worker.send_all(request("/more") * 10_000)
    assert taken <= READ
    assert worker.producerState == "paused"
    if "half" in while_:
        worker.read_on()
        assert worker.producerState == "paused"
    if "slow" in while_:
        bench.echo.waiting[0].finish()
    left = taken
    while worker.producerState == "paused":
        assert left > MAX_WAITING - len(request("/more"))
        bench.turns()
        left = taken - len(bench.echo.begun) * len(request("/more"))
    assert left <= MAX_WAITING + len(request("/slow")) + len(request("/more"))
    worker.hang_up()


def test_a_client_that_reads_nothing_is_dropped(bench: Bench) -> None:
    worker = bench.worker()
    worker.send(request("/slow"))
    worker.stop_reading()
    bench.reactor.advance(IDLE_TIMEOUT - 1)
    assert not worker.closed
    bench.reactor.advance(1)
    assert worker.closed
    bench.end_turn()
    assert bench.reactor.getDelayedCalls() == []


def test_a_client_that_reads_now_and_then_is_not_dropped(bench: Bench) -> None:
    worker = bench.worker()
    worker.send(request("/slow"))
    for _ in range(10):
        worker.stop_reading()
        bench.reactor.advance(IDLE_TIMEOUT - 1)
        worker.read_on()
    assert not worker.closed
    worker.hang_up()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_answer_has_time_by_its_size(bench: Bench, chunked: bool) -> None:
    """The transport does not say how much of it was sent before all of it was."""
    worker = bench.worker()
    worker.send(request("/slow"))
    (slow,) = bench.echo.waiting
    size = 100 * SLOWEST_READER
    if not chunked:
        slow.setHeader("Content-Length", str(size))
    worker.stop_reading()
    slow.write(b"x" * size)
    bench.reactor.advance(IDLE_TIMEOUT + 99)
    assert not worker.closed
    bench.reactor.advance(2)
    assert worker.closed


# All together.


def test_all_together_are_bounded_by_what_waits() -> None:
    """Those who hold most go; a request in the middle of its body stays."""
    bench = Bench(most_held=8 * READ)
    modest = bench.worker()
    modest.send(request("/modest", "Content-Length: 3", method="POST") + b"a")
    greedy = [bench.worker() for _ in range(20)]
    for worker in greedy:
        worker.send(request("/slow"))
        worker.send_all(b"x" * 10 * READ)
    assert sum(not worker.closed for worker in greedy) == 7
    # Of those who hold the same, the one that has done nothing for longer.
    assert [worker.closed for worker in greedy] == [True] * 13 + [False] * 7
    modest.send(b"=b")
    assert modest.bodies == [b"[/modest a=b]"]
    for worker in [modest, *greedy]:
        worker.hang_up()


def test_all_together_are_bounded_by_bodies() -> None:
    bench = Bench(most_held=8 * READ)
    greedy = [bench.worker() for _ in range(20)]
    for worker in greedy:
        worker.send(request("/", f"Content-Length: {MAX_BODY_SIZE}", method="POST"))
        worker.send(b"x" * (MAX_BODY_SIZE - 1))
    assert sum(not worker.closed for worker in greedy) == 7
    for worker in greedy:
        worker.hang_up()


def test_what_is_not_kept_of_a_body_does_not_count() -> None:
    bench = Bench(most_held=2 * READ)
    worker = bench.worker()
    worker.send(request("/", f"Content-Length: {40 * READ}", method="POST"))
    for _ in range(40):
        worker.send(b"x" * READ)
    assert worker.value().startswith(b"HTTP/1.1 413 ")


def test_all_together_are_bounded_by_answers() -> None:
    bench = Bench(most_held=2**20)
    greedy = [bench.worker() for _ in range(20)]
    for worker in greedy:
        worker.send(request("/slow"))
        worker.stop_reading()
        bench.echo.waiting[-1].write(b"x" * READ)
    left = [worker for worker in greedy if not worker.closed]
    assert len(left) == 5
    # What was sent counts no more.
    for worker in left:
        worker.read_on()
    modest = [bench.worker() for _ in range(5)]
    for worker in modest:
        worker.send(request("/slow"))
        worker.stop_reading()
        bench.echo.waiting[-1].write(b"x" * READ)
    assert not any(worker.closed for worker in left + modest)
    for worker in [*greedy, *modest]:
        worker.hang_up()


def test_a_served_connection_holds_nothing() -> None:
    bench = Bench(most_held=2000)
    worker = bench.worker()
    for _ in range(50):
        worker.send(request("/"))
        bench.end_turn()
    assert not worker.closed
    assert len(worker.bodies) == 50
    worker.hang_up()


class Connection:
    """One that is counted."""

    dropped = False

    def rested(self) -> bool:
        return False

    def take_turn(self) -> None: ...

    def drop(self) -> None:
        self.dropped = True


def test_a_connection_that_goes_without_a_word_is_forgotten() -> None:
    """As one does that became a WebSocket."""
    memory = Memory(100)
    gone, left = Connection(), Connection()
    memory.hold(gone, 60)
    del gone
    gc.collect()
    memory.hold(left, 60)
    assert not left.dropped
    memory.hold(left, 101)
    assert left.dropped


# Cheap requests that cost much.


def calls(action: Callable[[], None]) -> int:
    """How many functions are called: what a request costs, the same on every machine."""
    counted = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return counted


MAX_LENGTH = 14_000

COSTLY = {
    "form of &": request("/oauth2/token/", FORM, method="POST", body=b"&" * MAX_BODY_SIZE),
    "guarded form of &": request("/api/user_info/", FORM, method="POST", body=b"&" * MAX_BODY_SIZE),
    "escapes": request(
        "/oauth2/token/", FORM, method="POST", body=b"a=" + b"%41" * (MAX_BODY_SIZE // 3 - 1)
    ),
    "broken escapes": request(
        "/oauth2/token/", FORM, method="POST", body=b"a=" + b"%4" * (MAX_BODY_SIZE // 2 - 1)
    ),
    "scopes": request(
        "/oauth2/authorization/", FORM, method="POST", body=b"client_id=C&scope=" + b"a+" * 32_000
    ),
    "chunks": request("/oauth2/token/", CHUNKED, method="POST") + b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n",
    "extensions": request("/oauth2/token/", CHUNKED, method="POST")
    + (b"1;" + b"x" * 1000 + b"\r\nx\r\n") * 2000
    + b"0\r\n\r\n",
    "trailers": request("/oauth2/token/", CHUNKED, method="POST")
    + b"0\r\n"
    + b"a\r\n" * 20_000
    + b"\r\n",
    "header lines": request("/healthz", *["a:"] * 499),
    "header names": request("/healthz", *[f"x-{number}: y" for number in range(499)]),
    "cookies": request("/oauth2/login/", "Cookie: " + ";" * MAX_LENGTH),
    "arguments": request("/healthz?" + "&" * MAX_LENGTH),
    "arguments apart by ;": request("/healthz?" + ";" * MAX_LENGTH),
    "segments": request("/" * MAX_LENGTH),
    "our segments": request("/oauth2" + "/a" * (MAX_LENGTH // 2)),
    "languages": request("/oauth2/login/", "Accept-Language: " + "a," * (MAX_LENGTH // 2)),
    "versions": request("/oauth2/style.css", "If-None-Match: " + '"a",' * (MAX_LENGTH // 4)),
}


@pytest.mark.parametrize("what", COSTLY)
def test_no_request_costs_much_more_than_another(
    system: System, app: App, alice: Browser, what: str
) -> None:
    """HT-13: that takes a page some 3,000 calls; the chunks took 1,300,000 of them."""
    token = app.tokens(alice)["access_token"]
    sent = COSTLY[what].replace(b"client_id=C", b"client_id=" + app.client_id.encode())
    if what.startswith("guarded"):
        sent = sent.replace(b"Host:", b"Authorization: Bearer %s\r\nHost:" % token.encode(), 1)
    wires = [system.wire() for _ in range(2)]

    def send(wire: Wire, data: bytes) -> Callable[[], None]:
        def action() -> None:
            for start in range(0, len(data), 16_384):
                wire.send(data[start : start + 16_384])

        return action

    send(wires[0], sent)()  # What is made once is made.
    spent = calls(send(wires[1], sent))
    assert wires[1].value() or wires[1].closed
    assert spent < 8000
    for wire in wires:
        wire.hang_up()


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        (request("/", *["a: b"] * 99), request("/", *["a: b"] * 100)),
        (request("/", "a" * MAX_NAME_LENGTH + ": b"), request("/", "a" * (MAX_NAME_LENGTH + 1) + ": b")),
        (request("/" + "a" * (MAX_PATH_LENGTH - 1)), request("/" + "a" * MAX_PATH_LENGTH)),
        (
            request("/?" + "&" * (MAX_ARGUMENTS - 1)),
            request("/?" + "&" * MAX_ARGUMENTS),
        ),
        (
            request("/", "Cookie: a" + ";" * (MAX_COOKIES - 1)),
            request("/", "Cookie: a" + ";" * 100, "Cookie: a" + ";" * (MAX_COOKIES - 100)),
        ),
        (
            request("/", CHUNKED, method="POST") + b"1\r\nx\r\n" * (MAX_FRAMING // 5) + b"0\r\n\r\n",
            request("/", CHUNKED, method="POST")
            + b"1\r\nx\r\n" * (MAX_FRAMING // 5 + 300)
            + b"0\r\n\r\n",
        ),
        (
            request("/", CHUNKED, method="POST")
            + (b"200\r\n" + b"x" * 512 + b"\r\n") * 128
            + b"0\r\n\r\n",
            request("/", CHUNKED, method="POST") + b"0\r\n" + b"a:b\r\n" * 500 + b"\r\n",
        ),
    ],
    ids=["lines", "name", "path", "arguments", "cookies", "chunks", "trailers"],
)
def test_a_request_beyond_the_limits_gets_400(bench: Bench, inside: bytes, outside: bytes) -> None:
    """HT-13: with 400, and the connection ends."""
    worker, other = bench.worker(), bench.worker()
    worker.send(inside)
    assert len(worker.bodies) == 1
    bench.end_turn()
    assert not worker.closed
    other.send(outside)
    bench.turns(2)
    assert other.value().startswith(b"HTTP/1.1 400 ")
    assert other.value().count(b"HTTP/1.1 ") == 1
    assert other.closed
    assert len(bench.echo.begun) == 1
    worker.hang_up()


class Clinging(Worker):
    """A client who does not answer TLS's farewell."""

    def loseConnection(self) -> None:
        StringTransport.loseConnection(self)


def test_a_refused_connection_is_not_read_until_it_is_closed(bench: Bench) -> None:
    worker = Clinging(bench.site)
    worker.send(request("/", *["a: b"] * 200) + request("/2"))
    for _ in range(IDLE_TIMEOUT):
        worker.send(request("/3"))
        bench.reactor.advance(1)
    assert worker.closed
    assert worker.value().count(b"HTTP/1.1 ") == 1
    assert bench.echo.begun == []


def test_the_deadline_of_a_request_is_its_own(bench: Bench) -> None:
    """HT-06: it begins when the request does, not while it waits behind another."""
    worker = bench.worker()
    worker.send(request("/slow") + b"GET /2 HTTP/1.1\r\n")
    bench.reactor.advance(10 * REQUEST_DEADLINE)
    bench.echo.waiting[0].write(b"done")
    bench.echo.waiting[0].finish()
    bench.turns()
    bench.reactor.advance(REQUEST_DEADLINE - 1)
    assert not worker.closed
    bench.reactor.advance(1)
    assert worker.closed
