"""No mutated request breaks the server in memory (U-01 to U-04, U-08); `run.py` sends many more."""

from __future__ import annotations

import random
from collections.abc import Iterator

import fuzz_memory
import pytest
from fuzz_grammar import Request, broken
from fuzz_memory import MemoryFuzzer
from fuzz_oracle import Fault, Judge, Log, issued, leaked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web_driver import Oracle, Wire

#: What the requests of one example are: enough for one of them to meet what another has left.
REQUESTS = 30

#: How many more objects may be held after as many requests again. Caches fill, and Python's own grow.
GROWTH = 1.01


@pytest.fixture(autouse=True, scope="module")
def _passwords_in_this_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        fuzz_memory.lighten(patch.setattr)
        yield


@pytest.fixture
def fuzzer() -> Iterator[MemoryFuzzer]:
    """A fuzzer with a seed that Hypothesis does not know."""
    fuzzer = MemoryFuzzer(random.Random(1))
    yield fuzzer
    fuzzer.stop()


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=REQUESTS))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_no_request_breaks_the_server(seeds: list[int]) -> None:
    """Whatever is done to good requests of every address.

    Each request has a seed of its own, and each example a new server. So Hypothesis can repeat a failing
    example, and leave requests out of it.
    """
    fuzzer = MemoryFuzzer(random.Random(0))
    try:
        for seed in seeds:
            fuzzer.chance.seed(seed)
            fuzzer.step()
    finally:
        fuzzer.stop()


def test_no_request_leaves_something_behind(fuzzer: MemoryFuzzer) -> None:
    """Once all that expires has expired, the server holds as much as before (AB-01)."""
    fuzzer.run(400)
    before = fuzzer.held()
    fuzzer.run(400)
    after = fuzzer.held()
    assert after.total() <= before.total() * GROWTH, after - before


def test_every_endpoint_is_reached_and_answers_good_requests(fuzzer: MemoryFuzzer) -> None:
    """A fuzzer whose requests all fail at the door would find nothing behind it."""
    answered: dict[str, set[int]] = {}
    for number, template in enumerate(fuzzer.world.templates):
        if not template.ends_something:
            wire = Wire(fuzzer.world.system.site, peer=f"198.18.0.{number}")
            wire.send(template.encoded())
            answered.setdefault(template.path.decode(), set()).add(wire.answer.status)
            wire.hang_up()
    refused = {path for path, statuses in answered.items() if not statuses & {200, 303}}
    assert refused == {
        "/nothing", "/oauth2/nothing/", "/oauth2/image/", "/oauth2/missing_redirect_uri/",
    }  # fmt: skip
    assert len(answered) > 30


SECRET = "a-secret-of-thirty-characters."
SECRETS = frozenset({SECRET})
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


@pytest.mark.parametrize(
    "output",
    [
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 303 See Other\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n",
        GOOD % (len(SECRET), SECRET.encode()),
        b"HTTP/1.1 200 OK\r\nX: " + SECRET.encode().hex().encode() + b"\r\nContent-Length: 0\r\n\r\n",
        GOOD % (9, b"too short"[:5]),
        b"HTTP/1.1 200 OK\r\nX\x00: y\r\n\r\n",
        b"<html>no head</html>",
    ],
)
def test_the_oracle_finds_a_fault(output: bytes) -> None:
    """An answer that breaks a rule is not passed over."""
    with pytest.raises(Fault):
        Judge(Oracle("https://as.example")).check(b"GET /x HTTP/1.1\r\n\r\n", output, SECRETS)


def test_the_oracle_passes_a_good_answer() -> None:
    judge = Judge(Oracle("https://as.example"))
    (answer,) = judge.check(b"GET /x HTTP/1.1\r\n\r\n", GOOD % (4, b"fine"), SECRETS)
    assert (answer.status, answer.body) == (200, b"fine")


def test_a_challenge_that_names_its_scope_is_no_fault() -> None:
    """Also where the name of the scope was sent as a token."""
    sent = b"POST /x HTTP/1.1\r\nHost: x\r\n\r\naccess_token=user_info"
    refused = (
        b'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nWWW-Authenticate: Bearer scope="%b"\r\n\r\n'
    )
    judge = Judge(Oracle("https://as.example"))
    assert judge.check(sent, refused % b"user_info", SECRETS)
    with pytest.raises(Fault, match="D8"):
        judge.check(sent.replace(b"user_info", b"a-long-token"), refused % b"a-long-token", SECRETS)


@pytest.mark.parametrize("code", [b"authorization_code", b"authorization"])
def test_a_refusal_that_names_what_is_supported_is_no_fault(code: bytes) -> None:
    """Also where the word, or a part of it, was sent as a code."""
    sent = b"POST /oauth2/token/ HTTP/1.1\r\nHost: x\r\n\r\ngrant_type=x&code=" + code
    refused = (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\nContent-Type: application/json\r\n"
        b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        b"Referrer-Policy: no-referrer\r\n\r\n%b"
    )
    said = b'{"error_description": "grant_type must be %b"}'
    judge = Judge(Oracle("https://as.example"))
    body = said % b"authorization_code"
    assert judge.check(sent, refused % (len(body), body), SECRETS)
    body = said % b"a-long-code"
    with pytest.raises(Fault, match="D8"):
        judge.check(sent.replace(code, b"a-long-code"), refused % (len(body), body), SECRETS)


def test_a_secret_in_the_log_is_a_fault() -> None:
    """Also where it stands in a field of the event."""
    log = Log()
    log({"log_format": "a request", "token": SECRET})
    with pytest.raises(Fault, match="U-03"):
        log.check(SECRETS)
    log({"log_format": "a request"})
    log.check(SECRETS)


def test_a_secret_is_found_in_every_spelling() -> None:
    for written in (SECRET, SECRET.encode().hex(), "YS1zZWNyZXQtb2YtdGhpcnR5LWNoYXJhY3RlcnMu"):
        assert leaked(SECRETS, f"x{written}y".encode()) == [SECRET]
    assert leaked(SECRETS, b"nothing") == []


def test_a_seed_repeats_a_run() -> None:
    """So that a fault that was found can be found again."""
    request = Request(b"GET", b"/oauth2/login/").encoded()
    runs = [[broken(random.Random(seed), request) for seed in range(50)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 20


def test_only_what_the_server_gives_out_is_a_new_secret() -> None:
    """A parameter `code` that someone has sent is none."""
    code = "c" * 30
    assert issued(b"Location: https://app.example/cb?state=x&code=%b\r\n" % code.encode()) == {code}
    assert issued(b"Location: /oauth2/authorization/?state=x&code=%b\r\n" % code.encode()) == set()
