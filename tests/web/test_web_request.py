"""Requests have an end: to their size and to their time. And the log says little of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from web_driver import (
    FORM,
    App,
    Browser,
    System,
    Wire,
    assert_token_error,
    basic,
    encoded,
    tokens_of,
)

from djoauth2_twisted.web.channel import IDLE_TIMEOUT
from djoauth2_twisted.web.mounting import Mount
from djoauth2_twisted.web.reading import MAX_BODY_SIZE
from djoauth2_twisted.web.sharing import PAUSE
from djoauth2_twisted.web.site import MAX_READ, REQUEST_DEADLINE, LimitedRequest

MakeSystem = Callable[..., System]

PLACES = ["/oauth2/token/", "/oauth2/login/", "/oauth2/authorization/", "/api/user_info/", "/nothing"]


def head(place: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {place} HTTP/1.1", "Host: as.example", *lines, "", ""]).encode()


def chunked(total: int, size: int = 8192) -> list[bytes]:
    """Chunks of a body, and its end."""
    chunks = [b"%x\r\n%s\r\n" % (size, b"x" * size)] * (total // size)
    rest = total % size
    return [*chunks, *([b"%x\r\n%s\r\n" % (rest, b"x" * rest)] if rest else []), b"0\r\n\r\n"]


def too_large(wire: Wire, system: System) -> None:
    answer = wire.answer
    system.oracle.check(answer, b"", ours=False)
    assert_token_error(answer, 413, "invalid_request")
    assert answer.header("connection") == "close"
    assert len(answer.body) < 100


# Size.


@pytest.mark.parametrize("place", PLACES)
def test_a_body_too_large_by_its_length(system: System, place: str) -> None:
    """HT-05: 413 as soon as it is there, and none of it is kept."""
    wire = system.wire()
    wire.send(head(place, f"Content-Length: {MAX_BODY_SIZE + 1}", ": ".join(FORM)))
    wire.send(b"x" * (MAX_BODY_SIZE + 1))
    too_large(wire, system)
    wire.hang_up()


@pytest.mark.parametrize("place", PLACES)
def test_a_body_too_large_in_chunks(system: System, place: str) -> None:
    """HT-05."""
    wire = system.wire()
    wire.send(head(place, "Transfer-Encoding: chunked", ": ".join(FORM)))
    for chunk in chunked(MAX_BODY_SIZE + 1):
        wire.send(chunk)
    too_large(wire, system)
    wire.hang_up()


@pytest.mark.parametrize("encoding", ["length", "chunked"])
def test_the_largest_body_is_read(system: System, encoding: str) -> None:
    """One byte less is an ordinary request."""
    wire = system.wire()
    if encoding == "length":
        wire.send(head("/oauth2/token/", f"Content-Length: {MAX_BODY_SIZE}", ": ".join(FORM)))
        wire.send(b"x" * MAX_BODY_SIZE)
    else:
        wire.send(head("/oauth2/token/", "Transfer-Encoding: chunked", ": ".join(FORM)))
        for chunk in chunked(MAX_BODY_SIZE):
            wire.send(chunk)
    assert_token_error(wire.answer, 401, "invalid_client")
    wire.hang_up()


@pytest.mark.parametrize("place", PLACES)
def test_no_body_is_kept_in_a_file(system: System, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-05: Twisted would, if the length is not known, or is 100,000 or more."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *_, **named: pytest.fail("a file was made"))
    for lines in (["Transfer-Encoding: chunked"], [f"Content-Length: {10 * MAX_BODY_SIZE}"]):
        wire = system.wire()
        wire.send(head(place, *lines, ": ".join(FORM)))
        for chunk in chunked(10 * MAX_BODY_SIZE):
            wire.send(chunk)
        assert wire.answer.status == 413
        wire.hang_up()


@pytest.mark.parametrize("fields", [100, 101])
def test_a_form_has_so_many_fields_at_most(system: System, fields: int) -> None:
    """HT-07."""
    body = b"&".join(b"a%d=b" % number for number in range(fields))
    wire = system.wire()
    wire.send(head("/oauth2/token/", f"Content-Length: {len(body)}", ": ".join(FORM)) + body)
    expected = (401, "invalid_client") if fields <= 100 else (400, "invalid_request")
    assert_token_error(wire.answer, *expected)
    wire.hang_up()


@pytest.mark.parametrize("lines", [99, 101])
def test_a_head_has_so_many_lines_at_most(system: System, lines: int) -> None:
    """HT-07."""
    wire = system.wire()
    wire.send(head("/healthz", *["A: b"] * (lines - 1), method="GET"))
    assert wire.answer.status == (200 if lines <= 100 else 400)
    wire.hang_up()


@pytest.mark.parametrize("encoding", ["length", "chunked"])
def test_an_endless_body_is_cut_off(system: System, encoding: str) -> None:
    """HT-05: beyond what is read for politeness' sake."""
    wire = system.wire()
    line = "Transfer-Encoding: chunked" if encoding == "chunked" else f"Content-Length: {2**40}"
    wire.send(head("/oauth2/token/", line))
    chunk = b"10000\r\n%s\r\n" % (b"x" * 65536) if encoding == "chunked" else b"x" * 65536
    sent = 0
    while not wire.closed and sent < 3 * MAX_READ:
        wire.send(chunk)
        sent += 65536
    assert wire.closed
    assert sent <= MAX_READ + 65536


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 3", "Transfer-Encoding: chunked"],
        ["Content-Length: 3", "Content-Length: 3"],
        ["Content-Length: 3", "Content-Length: 4"],
        ["Content-Length: +3"],
        ["Content-Length: " + "9" * 5000],
        ["Content-Length: -1"],
        ["Content-Length: 0x3"],
        ["Content-Length: 3, 3"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: identity", "Content-Length: 3"],
        ["Content-Length: 3", "Transfer-Encoding: identity", "Expect: 100-continue"],
    ],
)
def test_ambiguous_length_is_refused(system: System, lines: list[str]) -> None:
    """HT-01: refused, and the connection ends."""
    wire = system.wire()
    wire.send(head("/oauth2/token/", *lines) + b"abc" + head("/healthz", method="GET"))
    assert wire.value().startswith(b"HTTP/1.1 400 ")
    assert wire.value().count(b"HTTP/1.1 ") == 1
    assert wire.closed


# Time.


@pytest.mark.parametrize("what", ["headers", "body", "chunks"])
def test_slow_request_is_cut_off(system: System, what: str) -> None:
    """HT-06: a byte now and then keeps a connection no longer than the deadline."""
    wire = system.wire()
    wire.send(b"POST /oauth2/token/ HTTP/1.1\r\nHost: as.example\r\n")
    if what == "body":
        wire.send(b"Content-Length: 1000\r\n\r\n")
    if what == "chunks":
        wire.send(b"Transfer-Encoding: chunked\r\n\r\n")
    drop = {"headers": b"X-A: b\r\n", "body": b"x", "chunks": b"1\r\nx\r\n"}[what]
    seconds = 0
    while not wire.closed and seconds < 10 * REQUEST_DEADLINE:
        wire.send(drop)
        system.advance(1)
        seconds += 1
    assert wire.closed
    assert seconds == REQUEST_DEADLINE
    assert wire.value() == b""


@pytest.mark.parametrize("before", [b"", head("/healthz", method="GET")], ids=["first", "second"])
def test_slow_first_line_is_cut_off(system: System, before: bytes) -> None:
    """HT-06: nor does a byte now and then keep a connection on which there is no request yet."""
    wire = system.wire()
    wire.send(before)
    for _ in range(IDLE_TIMEOUT):
        assert not wire.closed
        wire.send(b"G")
        system.advance(1)
    assert wire.closed


def test_an_idle_connection_is_ended(system: System) -> None:
    wire = system.wire()
    system.advance(IDLE_TIMEOUT + 1)
    system.advance(60)
    assert wire.closed


class Clinging(Wire):
    """A client who does not answer TLS's farewell."""

    def loseConnection(self) -> None:
        StringTransport.loseConnection(self)


def test_slow_request_is_cut_off_even_if_the_client_ignores_it(system: System) -> None:
    """HT-06: the deadline ends the connection, whether the client agrees or not."""
    wire = Clinging(system.site)
    wire.send(head("/oauth2/token/", "Content-Length: 1000"))
    for _ in range(REQUEST_DEADLINE):
        wire.send(b"x")
        system.advance(1)
    assert wire.closed


def test_endless_body_is_cut_off_even_if_the_client_ignores_it(system: System) -> None:
    """HT-05."""
    wire = Clinging(system.site)
    wire.send(head("/oauth2/token/", f"Content-Length: {2**40}"))
    wire.send(b"x" * (MAX_READ + 1))
    assert wire.closed


@pytest.mark.parametrize("line", ["Connection: close", "Expect: 100-continue"])
def test_connection_is_cut_after_an_answer_that_ends_it(system: System, line: str) -> None:
    """HT-06: a connection that was closed here ends, be it that bytes still come."""
    wire = Clinging(system.site)
    wire.send(head("/healthz", line, f"Content-Length: {MAX_BODY_SIZE + 1}"))
    wire.send(b"x" * (MAX_BODY_SIZE + 1))
    assert wire.value().startswith(b"HTTP/1.1 413 ")
    for _ in range(IDLE_TIMEOUT):
        assert not wire.closed
        wire.send(b"x")
        system.advance(1)
    assert wire.closed


def test_a_connection_is_kept_for_the_next_request(system: System) -> None:
    """HT-04: answers come in order, and no deadline of the first is left to the second."""
    wire = system.wire()
    for _ in range(5):
        wire.send(head("/healthz", method="GET"))
        system.advance(REQUEST_DEADLINE - 1)
        assert not wire.closed
    assert wire.value().count(b"HTTP/1.1 200 ") == 5
    wire.hang_up()
    assert not [call for call in system.reactor.getDelayedCalls() if "hang_up" in repr(call)]


def test_pipelined_requests_are_answered_in_order(system: System, app: App, alice: Browser) -> None:
    """HT-04."""
    tokens = [
        app.tokens(alice)["access_token"],
        "unknown",
        app.tokens(system.browser("bob"))["access_token"],
    ]
    wire = system.wire()
    wire.send(
        b"".join(head("/api/user_info", f"Authorization: Bearer {t}", method="GET") for t in tokens)
        + head("/healthz", "Connection: close", method="GET")
    )
    system.advance(0)
    for _ in range(3):
        system.advance(PAUSE)
    bodies = wire.value().split(b"HTTP/1.1 ")[1:]
    assert [body[:3] for body in bodies] == [b"200", b"401", b"200", b"200"]
    assert b'"alice"' in bodies[0]
    assert b'"bob"' in bodies[2]
    assert b'"ok"' in bodies[3]


def test_the_deadline_is_of_the_arrival_alone(make_system: MakeSystem) -> None:
    """A handler may take its time."""
    waiting: list[Any] = []

    class Slow(Resource):
        isLeaf = True

        def render(self, request: Any) -> int:
            waiting.append(request)
            return NOT_DONE_YET

    system = make_system(root=lambda _: Slow())
    wire = system.wire()
    wire.send(head("/", method="GET"))
    system.advance(10 * REQUEST_DEADLINE)
    assert not wire.closed
    waiting[0].write(b"done")
    waiting[0].finish()
    assert b"done" in wire.value()
    wire.hang_up()


def test_hang_up_during_a_request_leaves_no_timer(system: System) -> None:
    before = len(system.reactor.getDelayedCalls())
    for sent in (b"", b"POST / HTTP/1.1\r\n", head("/", "Content-Length: 100") + b"x"):
        wire = system.wire()
        wire.send(sent)
        wire.hang_up()
    assert len(system.reactor.getDelayedCalls()) == before


# Odd requests.


@pytest.mark.parametrize(
    "line",
    [
        b"User-Agent: \xff\xfe",
        b"Referer: \xff",
        b"Cookie: \xff=\xfe; \x80",
        b"Accept: \xff, text/html",
        b"Origin: \xff",
        b"Content-Type: \xff",
        b"Authorization: \xff",
        b"Cookie: " + b"a=b; " * 2000,
        b"Accept-Language: " + b"x" * 8000,
    ],
    ids=lambda line: repr(line[:20]),
)
@pytest.mark.parametrize(
    "place", ["/oauth2/login/", "/oauth2/token/", "/api/user_info/", "/oauth2/nothing"]
)
def test_odd_headers_cause_no_fault(system: System, line: bytes, place: str) -> None:
    """HT-08, U-01."""
    for method in (b"GET", b"POST"):
        answer = system.raw(
            method + b" " + place.encode() + b" HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n"
        )
        assert answer.status < 500


@pytest.mark.parametrize("host", [b"a" * 64, b"a..b", b"\xc3\xa9" * 64, b"x, y" * 40])
@pytest.mark.parametrize("place", ["/oauth2/login/", "/oauth2/token/"])
def test_a_host_that_is_no_name_is_refused(system: System, host: bytes, place: str) -> None:
    """HT-08: found by fuzzing. Klein has no answer to it."""
    answer = system.raw(b"GET " + place.encode() + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert answer.status == 400


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50 + b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"\r\n" * 100,
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        head("/", *["X: y"] * 600, method="GET"),
    ],
    ids=lambda sent: repr(sent[:16]),
)
def test_malformed_request_causes_no_fault(system: System, sent: bytes) -> None:
    """HT-07, HT-13."""
    wire = system.wire()
    wire.send(sent)
    assert b"HTTP/1.1 5" not in wire.value()
    assert b"Traceback" not in wire.value()
    wire.hang_up()


@pytest.mark.parametrize(
    "lines",
    [
        ["Host: as.example", "Transfer-Encoding: identity", "Content-Length: 6"],
        ["Host: as.example", "Transfer-Encoding: Identity"],
        ["Host: as.example", "Transfer-Encoding: identity", "Transfer-Encoding: chunked"],
        ["Host: as.example", "Transfer-Encoding: xchunked"],
        ["Host: as.example", "Transfer-Encoding: chunked, identity"],
        ["Host: as.example", "Transfer-Encoding: chunked", "Content-Length: 6"],
        ["Host: as.example", "Content-Length: 6", "Content-Length: 6"],
        ["Host: as.example", "Content-Length: +6"],
        ["Host: as.example", "X-Folded: one", " two", "Content-Length: 6"],
        ["Host: as.example", "Authorization: Basic", "\tYTpi", "Content-Length: 6"],
        ["Host: as.example", "Host: evil.example", "Content-Length: 6"],
        ["Host: as.example", "Host: as.example", "Content-Length: 6"],
    ],
)
@pytest.mark.parametrize("place", ["/oauth2/introspect/", "/healthz", "/nothing"])
def test_a_request_that_can_be_read_in_more_than_one_way(
    system: System, lines: list[str], place: str
) -> None:
    """HT-01, CA-10, RFC 9112: 400, and nothing that follows is heard."""
    wire = system.wire()
    sent = "\r\n".join([f"POST {place} HTTP/1.1", *lines, ": ".join(FORM), "", ""])
    wire.send(sent.encode() + b"a=b&c=" + head("/healthz", method="GET"))
    assert wire.value().startswith(b"HTTP/1.1 400 ")
    assert wire.value().count(b"HTTP/1.1 ") == 1
    assert wire.closed


@pytest.mark.parametrize("size", [16_384, 17_000, 33_000, 200_000])
@pytest.mark.parametrize("before", [b"GET /?", b"GET / HTTP/1.1\r\nX: "], ids=["address", "header"])
def test_a_line_that_is_too_long_is_answered(system: System, before: bytes, size: int) -> None:
    """U-01, HT-07: at once, and what follows is not read as another request."""
    wire = system.wire()
    sent = before + b"x" * size + b" HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for start in range(0, len(sent), 16_384):
        wire.send(sent[start : start + 16_384])
    assert wire.closed
    assert wire.answer.status == 400
    assert wire.value().count(b"HTTP/1.1") == 1


def test_a_fault_after_half_an_answer_ends_the_connection(
    make_system: MakeSystem,
    logged_failures,
) -> None:
    """GW-13: rather than have it look whole."""

    class Broken(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            request.write(b"half")
            raise ZeroDivisionError("secret detail")

    system = make_system(root=lambda _: Broken())
    wire = system.wire()
    wire.send(head("/", method="GET"))
    assert wire.closed
    assert b"secret" not in wire.value()
    assert not wire.value().endswith(b"0\r\n\r\n")
    assert logged_failures.take(ZeroDivisionError)


@pytest.mark.parametrize("embedded", [False, True])
def test_the_server_header_names_no_version(make_system: MakeSystem, embedded: bool) -> None:
    """U-02: not in an application's own site, either."""
    system = make_system(embedded=embedded)
    for place in ("/", "/oauth2/login/", "/oauth2/token/", "/healthz", "/api/user_info/"):
        assert system.send("GET", place).header("server") == "djoauth2"


# The log.


def test_a_request_does_not_show_its_address(system: System) -> None:
    """U-03: a log line that shows a request shows no code."""
    wire = system.wire()
    seen: list[str] = []
    system.site.resource.putChild(b"seen", _Seen(seen))
    wire.send(head("/seen?code=SECRET", method="GET"))
    wire.hang_up()
    assert seen[0].startswith("<LimitedRequest at 0x")
    assert "SECRET" not in seen[0]
    assert "seen" not in seen[0]


class _Seen(Resource):
    isLeaf = True

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen

    def render(self, request: Any) -> bytes:
        self._seen += [repr(request), str(request)]
        assert isinstance(request, LimitedRequest)
        return b""


@pytest.mark.parametrize(
    "name", ["code", "state", "access_token", "client_secret", "token", "refresh_token", "password"]
)
@pytest.mark.parametrize(
    "place", ["/oauth2/authorization/", "/oauth2/token/", "/oauth2/login/", "/api/user_info/", "/x"]
)
def test_the_log_has_paths_alone(system: System, log: Any, name: str, place: str) -> None:
    """LG-01; RFC 9700, section 4.2: neither query nor Referer."""
    headers = [
        ("Referer", f"https://as.example/?{name}=REFERRED"),
        ("Cookie", f"{name}=BAKED"),
        ("User-Agent", "AGENT"),
        ("X-Other", f"{name}=HEADED"),
    ]
    system.send("GET", f"{place}?{name}=QUERIED", None, headers)
    assert f"127.0.0.1 GET {place} " in log
    for said in ("QUERIED", "REFERRED", "BAKED", "AGENT", "HEADED"):
        assert said not in log


def test_a_log_line_is_short_and_plain(system: System, log: Any) -> None:
    """LG-03: neither an escape sequence nor another line."""
    path = b"/%1b%5b31m%0a\\'\"{0}" + b"x" * 5000
    system.raw(b"GET " + path + b"?q=QUERIED HTTP/1.1\r\nHost: x\r\n\r\n", ours=False)
    lines = [line for line in log.lines if "192.0.2.1" in line]
    assert lines
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 2000
        assert "QUERIED" not in line


def test_the_whole_flow_leaves_no_secret_in_the_log(system: System, app: App, log: Any) -> None:
    """U-03 (every test's teardown looks for the secrets of its own)."""
    alice = system.browser()
    alice.log_in("alice", "a wrong password")
    alice.log_in("alice")
    code = app.code(alice)
    said = tokens_of(app.exchange(code))
    app.refresh(said["refresh_token"])
    app.refresh(said["refresh_token"])
    app.exchange(code)
    system.call(said["access_token"])
    assert len(log.lines) > 10
    secrets = [
        code,
        said["access_token"],
        said["refresh_token"],
        app.secret,
        alice.secret,
        "a wrong password",
    ]
    assert not any(secret in log for secret in secrets)
    assert basic(app.client_id, app.secret)[6:] not in log


# Where a request is met.


@pytest.mark.parametrize(
    ("prepath", "path"),
    [
        ([], ""),
        ([b""], ""),
        ([b"oauth2"], "/oauth2"),
        ([b"a", b"b"], "/a/b"),
        ([b"a b"], "/a%20b"),
        ([b"\xff"], "/%FF"),
        ([b"a/b"], "/a%2Fb"),
    ],
)
def test_the_mount_point_is_a_path_of_a_uri(prepath: list[bytes], path: str) -> None:
    assert Mount.at(prepath).path == path


def test_form_can_be_read_twice(system: System, app: App, alice: Browser) -> None:
    """The endpoint reads it twice itself, for the parameters and for the address."""
    body = encoded(app.fields())
    headers = [FORM, ("Cookie", f"__Host-djoauth2={alice.secret}")]
    page = system.send("POST", "/oauth2/authorization/", body, headers)
    assert page.form("user_action").action == app.address()


# `Expect: 100-continue`.


@pytest.mark.parametrize("place", PLACES)
def test_a_body_that_is_too_large_is_not_asked_for(system: System, place: str) -> None:
    """BG-18: 413 instead of `100 Continue`, and the connection ends, whatever was sent already."""
    wire = system.wire()
    lines = head(place, f"Content-Length: {10 * 2**30}", "Expect: 100-continue")
    wire.send(lines + b"x" * 10_000)
    too_large(wire, system)
    assert b"100 Continue" not in wire.value()
    assert wire.value().count(b"HTTP/1.1 ") == 1
    assert wire.closed


@pytest.mark.parametrize("asked", ["100-continue", "100-Continue"])
def test_a_body_of_unknown_length_is_asked_for(
    system: System, app: App, alice: Browser, asked: str
) -> None:
    """BG-18: it is read like any other, and the next request on the connection is served."""
    authorization = f"Authorization: {basic(app.client_id, app.secret)}"
    lines = ["Transfer-Encoding: chunked", ": ".join(FORM), authorization]
    wire = system.wire()
    for expectation in ([f"Expect: {asked}"], []):
        wire.clear()
        wire.send(head("/oauth2/token/", *lines, *expectation))
        assert wire.value() == (b"HTTP/1.1 100 Continue\r\n\r\n" if expectation else b"")
        wire.clear()
        body = encoded(app.code_form(app.code(alice)))
        for chunk in (b"%x\r\n%b\r\n" % (len(body), body), b"0\r\n\r\n"):
            wire.send(chunk)
        assert tokens_of(wire.answer)
        assert not wire.closed
        system.advance(1)
    wire.hang_up()


def test_a_body_that_is_sent_without_waiting_is_read(system: System) -> None:
    """RFC 9110, section 10.1.1: a client need not wait without end."""
    wire = system.wire()
    wire.send(
        head("/oauth2/token/", "Transfer-Encoding: chunked", ": ".join(FORM), "Expect: 100-continue")
        + b"3\r\na=b\r\n0\r\n\r\n"
    )
    assert b"HTTP/1.1 401 " in wire.value()
    wire.hang_up()


@pytest.mark.parametrize("place", PLACES)
def test_a_body_of_unknown_length_that_becomes_too_large_is_refused(system: System, place: str) -> None:
    """BG-18: 413, and the connection ends as the answer says."""
    wire = system.wire()
    wire.send(head(place, "Transfer-Encoding: chunked", ": ".join(FORM), "Expect: 100-continue"))
    wire.clear()
    for chunk in chunked(MAX_BODY_SIZE + 1):
        wire.send(chunk)
    too_large(wire, system)
    assert wire.closed


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: as.example\r\nBad Name: x\r\n\r\n",
        head("/healthz", "Content-Length: x"),
        head("/oauth2/token/", "Transfer-Encoding: chunked") + b"no chunk\r\n",
        head("/healthz", "Transfer-Encoding: identity", "Expect: 100-continue", method="GET"),
        head("/healthz", *["A: b"] * 200, method="GET"),
        head("/healthz", "A: " + "b" * 20_000, method="GET"),
    ],
    ids=lambda sent: repr(sent[-20:]),
)
def test_a_connection_that_is_closed_is_said_to_close(system: System, bytes_sent: bytes) -> None:
    """RFC 9112, section 9.6: a sender announces by `Connection: close` that it will close."""
    wire = system.wire()
    wire.send(bytes_sent)
    assert wire.answer.status == 400
    assert wire.answer.header("connection") == "close"
    assert wire.closed


# Header fields.


@pytest.mark.parametrize("place", ["first", "middle", "last", "alone"])
@pytest.mark.parametrize("control", [*range(0x20), 0x7F])
def test_control_character_in_a_header_is_refused(system: System, control: int, place: str) -> None:
    """RFC 9110, section 5.5: no character of a field value but the tab is a control character."""
    character = bytes([control])
    shapes = {"first": b"%bb", "middle": b"a%bb", "last": b"a%b", "alone": b"%b"}
    wire = system.wire()
    value = shapes[place] % character
    wire.send(b"GET /healthz HTTP/1.1\r\nHost: as.example\r\nX-Other: " + value + b"\r\n\r\n")
    assert wire.answer.status == (200 if character == b"\t" else 400)
    assert wire.closed == (character != b"\t")
    wire.hang_up()


@pytest.mark.parametrize(
    "line",
    [
        b"GET /healthz\x00 HTTP/1.1",
        b"GET /health\x7fz HTTP/1.1",
        b"G\x01T /healthz HTTP/1.1",
        b"GET /healthz HTTP/1.1\r\nX-Na\x01me: x",
        b"GET /healthz HTTP/1.1\r\nAuthorization: Bearer a\x1bb",
        b"GET /healthz HTTP/1.1\r\nCookie: a=b\x08",
        b"GET /healthz HTTP/1.1\r\nHost: as.example\x0b",
    ],
)
def test_control_character_in_another_place_of_the_head_is_refused(system: System, line: bytes) -> None:
    wire = system.wire()
    wire.send(line + b"\r\n\r\n")
    assert wire.answer.status == 400
    assert wire.closed


def test_bytes_beyond_ascii_in_a_header_are_taken(system: System) -> None:
    """RFC 9110, section 5.5: they are opaque data (obs-text)."""
    assert system.raw(head("/healthz", "X-Other: Zoë", method="GET"), ours=False).status == 200


class Parting(Wire):
    """A connection whose other end takes its time to close, as TLS allows."""

    def loseConnection(self) -> None:
        self.disconnecting = True


def test_body_that_was_not_asked_for_is_ignored(system: System) -> None:
    """BG-18; U-08."""
    wire = Parting(system.site)
    wire.send(head("/oauth2/token/", f"Content-Length: {MAX_BODY_SIZE + 1}", "Expect: 100-continue"))
    assert wire.disconnecting
    for _ in range(2):
        wire.send(b"x" * (MAX_BODY_SIZE + 1) + head("/healthz", method="GET"))
    wire.send(b"x" * (MAX_READ + 1))
    too_large(wire, system)
    assert wire.value().count(b"HTTP/1.1 ") == 1
    wire.hang_up()


def test_a_body_that_is_not_too_large_is_asked_for(system: System) -> None:
    wire = system.wire()
    wire.send(head("/oauth2/token/", "Content-Length: 3", ": ".join(FORM), "Expect: 100-continue"))
    assert wire.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"a=b")
    assert b"HTTP/1.1 401 " in wire.value()
    wire.hang_up()


def test_after_a_body_that_was_too_large_the_connection_ends(system: System) -> None:
    """As its header says; nothing that follows is taken for a request."""
    wire = system.wire()
    wire.send(head("/oauth2/token/", f"Content-Length: {MAX_BODY_SIZE + 1}"))
    wire.send(b"x" * (MAX_BODY_SIZE + 1) + head("/healthz", method="GET"))
    too_large(wire, system)
    assert wire.closed


def test_expectation_without_a_body_is_refused_in_its_turn(system: System) -> None:
    """HT-01: there is nothing to spare, and the refusal comes in its turn."""
    wire = system.wire()
    wire.send(head("/healthz", "Transfer-Encoding: identity", "Expect: 100-continue", method="GET"))
    assert wire.value().startswith(b"HTTP/1.1 400 ")
    assert wire.closed
