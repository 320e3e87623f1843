"""Plain requests are read in one step, and are the same as Twisted's parser makes them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from web_driver import Wire

from djoauth2_twisted.web import channel
from djoauth2_twisted.web.plain_request import MAX_LENGTH, MAX_NAME_LENGTH, read_plain
from djoauth2_twisted.web.site import LimitedSite

HOST = b"Host: as.example\r\n"


#: The lines of an answer that differ from one to the next.
_CHANGING = re.compile(rb"\r\n(Date|X-Request-Id): [^\r]*")


class Told(Resource):
    """Keeps what its requests are."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def render(self, request: Any) -> bytes:
        named = list(request.requestHeaders.getAllRawHeaders())
        target = (request.method, request.uri, request.path, request.args, request.clientproto)
        content = (request.content.tell(), request.content.read(), request.received)
        connection = (request.channel.persistent, request.queued, request.prepath, request.postpath)
        self.seen.append((target, named, request.received_cookies, content, connection))
        return b"here"


def told(data: bytes, in_one_step: bool, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a server sees of some bytes and of a request behind them, and what it answers."""
    with monkeypatch.context() as patch:
        if not in_one_step:
            patch.setattr(channel, "read_plain", lambda _: None)
        clock, resource = Clock(), Told()
        wire = Wire(LimitedSite(resource, clock))
        for piece in (data, b"GET /behind HTTP/1.1\r\n" + HOST + b"\r\n"):
            wire.send(piece)
            clock.pump([0.01] * 3)
        waits = sorted(call.getTime() for call in clock.getDelayedCalls())
        closed = wire.closed
        wire.hang_up()
        assert not clock.getDelayedCalls()
        return resource.seen, _CHANGING.sub(b"", wire.value()), closed, waits


def assert_same(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert told(data, True, monkeypatch) == told(data, False, monkeypatch)


_NAMES = (
    b"Host", b"host", b"Content-Length", b"content-length", b"Transfer-Encoding", b"Connection",
    b"Cookie", b"Expect", b"Upgrade", b"Authorization", b"X-A", b"x-a", b"ETag", b"www-authenticate",
    b"TE", b"Bad Name", b"", b" Folded", b"\tFolded", b"\xe9", b"a_b",
    b"a" * MAX_NAME_LENGTH, b"a" * (MAX_NAME_LENGTH + 1),
)  # fmt: skip
_VALUES = (
    b"", b" ", b"a", b" a ", b"\ta\tb\t", b"as.example", b"0", b"1", b"3", b"03", b"+3", b"3 ", b"3, 3",
    b"-1", b"4" * 1001, b"chunked", b"close", b"keep-alive, close", b"Close", b"Upgrade", b"websocket",
    b"a=b; c=d", b"=; ;=", b"100-continue", b"\x00", b"\x0b", b"\x7f", b"\xff", b"a\rb", b"a\nb",
    b"b" * 900,
)  # fmt: skip
_METHODS = (b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"G-T", b"G\x00T", b"", b"M" * 20)
_TARGETS = (
    b"/", b"/a/b", b"/a%20b?c=d&c=e;f", b"/?", b"//x", b"*", b"http://as.example/", b"as.example:443",
    b"", b"/\x7f", b"/\x80", b"/\xb1", b"/a b", b"/a\tb", b"/" + b"a" * 4095, b"/?" + b"&" * 999,
    b"/?" + b"&" * 1000,
)  # fmt: skip
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b"")
_ENDS = (b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"", b"\r\n ")
_BODIES = (b"", b"a", b"a=b", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"b" * 1000)


def mostly(usual: tuple[bytes, ...], others: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """One of the usual values, but in one case of ten any of the others."""
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(others if n == 9 else usual))


_LINES = st.tuples(
    st.sampled_from(_NAMES), st.sampled_from((b": ", b":", b" :", b"", b":\t")), st.sampled_from(_VALUES)
).map(b"".join)
_USUAL_LINES = st.sampled_from(
    (
        b"Accept: */*",
        b"cookie: a=b",
        b"Cookie: c=d; e",
        b"Accept:a",
        b"X-Long: " + b"b" * 900,
        b"A_b:\t\xff ",
    )
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, with some things wrong in it or none."""
    body = draw(mostly((b"", b"", b"a=b"), _BODIES))
    first = (
        draw(mostly(_METHODS[:4], _METHODS)),
        draw(mostly(_TARGETS[:5], _TARGETS)),
        draw(mostly((b"HTTP/1.1",), _VERSIONS)),
    )
    lines = draw(st.lists(_USUAL_LINES, max_size=4))
    if draw(st.integers(0, 9)) < 9:
        lines.append(draw(st.sampled_from((b"Host: as.example", b"host:as.example"))))
    if body and draw(st.integers(0, 9)) < 9:
        lines.append(b"Content-Length: %d" % len(body))
    if draw(st.integers(0, 2)) == 2:
        lines.append(draw(_LINES))
    end = draw(mostly((b"\r\n",), _ENDS))
    before = draw(mostly((b"",), (b"\r\n", b"\r\n\r\n", b" ")))
    return before + end.join((b" ".join(first), *draw(st.permutations(lines)), b"", body))


def test_a_request_is_the_same_whichever_way_it_is_read() -> None:
    given(requests())(assert_same)()


def test_so_is_one_with_a_wrong_byte() -> None:
    @given(requests(), st.integers(0, 500), st.integers(0, 255))
    def check(data: bytes, place: int, byte: int) -> None:
        changed = bytearray(data)
        changed[place % len(data)] = byte
        assert_same(bytes(changed))

    check()


PLAIN = {
    "nothing but a target": b"GET / HTTP/1.1\r\n\r\n",
    "lines": b"GET /a?b=c HTTP/1.1\r\nhost: x\r\nX-A:\r\nx-a: \t1 \r\nEtag: \xff\r\nTe: a\r\n\r\n",
    "a body": b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 3\r\n\r\na=b",
    "an empty body": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
    "the last one": b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    "cookies": b'GET / HTTP/1.1\r\nCookie: a=b; c\r\nCookie: d="e\r\n\r\n',
    "too many cookies": b"GET / HTTP/1.1\r\nCookie: " + b"a;" * 300 + b"\r\n\r\n",
    "many lines": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 64 + b"\r\n",
}

RARE = {
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "too many lines": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 65 + b"\r\n",
    "half a body": b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\na=b",
    "more than a body": b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na=b",
    "no length": b"POST / HTTP/1.1\r\n\r\na=b",
    "a length in other words": b"POST / HTTP/1.1\r\nContent-Length: 03\r\n\r\na=b",
    "a length twice": b"POST / HTTP/1.1\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\na=b",
    "two": b"GET / HTTP/1.1\r\n\r\n" * 2,
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
    "chunks": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a wish": b"POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
    "another protocol": b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "a line without a name": b"GET / HTTP/1.1\r\n: b\r\n\r\n",
    "a control character": b"GET / HTTP/1.1\r\nA: \x01\r\n\r\n",
    "a bare end of line": b"GET / HTTP/1.1\nA: b\r\n\r\n",
    "an old version": b"GET / HTTP/1.0\r\n\r\n",
    "a whole address": b"GET http://as.example/ HTTP/1.1\r\n\r\n",
    "too much": b"GET /" + b"a" * MAX_LENGTH + b" HTTP/1.1\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("what", [*PLAIN, *RARE])
def test_what_is_plain(what: str) -> None:
    """HT-04."""
    data = PLAIN.get(what) or RARE[what]
    assert (read_plain(data) is not None) == (what in PLAIN)
    assert_same(data)
