"""Servers with too little of something, and with too many clients."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from service_kit import (
    TWISTD,
    Application,
    Browser,
    Connection,
    Server,
    ask,
    free_port,
    hang_up,
    together,
    walk,
)
from waiting import PATIENCE, wait_for

MIB = 1024 * 1024


def size_of(server: Server) -> int:
    """The size of the address space of a server's process, in bytes."""
    fields = Path(f"/proc/{server.process.pid}/statm").read_text().split()
    return int(fields[0]) * resource.getpagesize()


def descriptors_of(server: Server) -> int:
    """How many descriptors a server's process has open."""
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@contextmanager
def starved(server: Server) -> Iterator[None]:
    """Give a server's process a tenth of the time."""
    ended = threading.Event()

    def stop_and_go_on() -> None:
        while not ended.wait(0.005):
            server.signal(signal.SIGSTOP)
            ended.wait(0.045)
            server.signal(signal.SIGCONT)

    thread = threading.Thread(target=stop_and_go_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        server.signal(signal.SIGCONT)


def test_limits_of_the_server_act_before_a_limit_of_memory(start):
    """F-28: thirty logins and twenty large bodies at once, with memory for two passwords."""
    server = start()
    assert Browser(server).log_in("alice", "wrong").status == 403
    limit = size_of(server) + 250 * MIB
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit, limit))

    def log_in(number: int) -> int:
        return Browser(server).log_in(f"nobody{number}", "wrong").status

    def send_much() -> int:
        with Application(server) as application:
            return application.token({"grant_type": "x" * 60_000}).status

    asked: list[Callable[[], int]] = [
        *(partial(log_in, number) for number in range(30)),
        *[send_much] * 20,
    ]
    found = Counter(together(asked))
    assert found[400] == 20
    assert set(found) <= {400, 403, 429, 503}
    assert found[403] >= 1
    walk(server)
    assert "MemoryError" not in server.text()


def test_little_time_makes_nothing_good_twice(start):
    """F-29: many exchanges of one code, then many refreshes of one token, at a tenth of the time."""
    server = start()
    browser = Browser(server).log_in_as_user()
    code = browser.code()
    with starved(server), ExitStack() as opened:
        clients = [opened.enter_context(Application(server)).connect() for _ in range(8)]
        # A code that is used twice ends its grant, so the refreshes are of another one.
        exchanges = together([partial(client.exchange, code) for client in clients])
        token = clients[0].exchange(browser.code()).json["refresh_token"]
        refreshes = together([partial(client.refresh, token) for client in clients])
    for answers in exchanges, refreshes:
        statuses = Counter(answer.status for answer in answers)
        assert statuses[200] <= 1
        assert set(statuses) <= {200, 400, 503}
    walk(server)


def test_a_log_that_takes_nothing_stops_no_request(start):
    """F-30: the log is on a full device, and there is no folder for temporary files."""
    port = free_port()
    server = start.begin(
        ports=(f"ssl:{port}:interface=127.0.0.1",),
        program=("bash", "-c", 'exec "$0" "$@" >/dev/full', *TWISTD, "-n", "--pidfile="),
        variables={"TMPDIR": "/nonexistent", "TMP": "/nonexistent", "TEMP": "/nonexistent"},
    )
    server.ports = [port]

    def is_healthy() -> bool:
        with suppress(OSError):
            return server.is_healthy()
        return False

    wait_for(is_healthy, "readiness", server.text)
    walk(server)
    with Application(server) as application:
        assert application.token({"grant_type": "x" * 60_000}).status == 400
        assert application.token({"grant_type": "x" * 200_000}).status == 413
    assert server.process.poll() is None


def test_slow_clients_do_not_keep_a_healthy_one_waiting(start):
    """F-32: more slow clients than there may be connections; one that is in use is kept."""
    server = start(variables={"DJOAUTH2_MAX_CONNECTIONS": "40"})
    kept = Connection(server)
    assert ask(kept, "GET", "/healthz").status == 200
    base = descriptors_of(server)
    with ExitStack() as held:
        for _ in range(60):
            slow = held.enter_context(server.connect())
            with suppress(OSError):
                slow.sendall(b"POST /oauth2/token/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: a")
            assert ask(kept, "GET", "/healthz").status == 200
        assert Browser(server).get("/oauth2/login/").status == 200
        assert descriptors_of(server) <= base + 40
    wait_for(lambda: descriptors_of(server) <= base, "the end of the connections", server.text)
    kept.close()


def test_a_flood_of_handshakes_leaves_nothing_behind(start):
    """F-33: whole handshakes, halves and noise; a client is served all the while."""
    server = start()
    kept = Connection(server)
    assert ask(kept, "GET", "/healthz").status == 200
    base = descriptors_of(server)

    def flood() -> None:
        for _ in range(20):
            with suppress(OSError):
                hang_up(server.connect())
            for noise in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
                    plain.sendall(noise)

    def be_served() -> None:
        for _ in range(20):
            assert ask(kept, "GET", "/healthz").status == 200
            assert Browser(server).get("/oauth2/login/").status == 200

    together([flood, flood, flood, be_served])
    wait_for(lambda: descriptors_of(server) <= base, "the end of the connections", server.text)
    assert "Traceback" not in server.text()
    kept.close()


def test_a_burst_is_answered_and_then_all_is_as_before(start):
    """F-37: sixty clients at once; each gets an answer, and afterwards the server is as it was."""
    server = start()
    token = walk(server)["access_token"]
    base = descriptors_of(server)
    with ExitStack() as opened:
        clients = [opened.enter_context(Application(server)).connect() for _ in range(60)]
        found = together([partial(client.user_info, token) for client in clients])
        assert {answer.status for answer in found} <= {200, 503}
        assert [client.user_info(token).status for client in clients] == [200] * 60
    # Under load the server opens a few more connections to its database, and keeps them.
    wait_for(lambda: descriptors_of(server) <= base + 10, "the end of the connections")
    walk(server)
