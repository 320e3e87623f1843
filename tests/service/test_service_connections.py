"""More connections than there are descriptors for, as an attacker holds them open."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from service_kit import TWISTD, Browser, Connection, Server, ask
from waiting import PATIENCE, wait_for

ENOUGH_FOR = ("bash", "-c", 'ulimit -n 256; exec "$0" "$@"', *TWISTD, "-n", "--pidfile=")


@contextmanager
def idle(server: Server, count: int) -> Iterator[None]:
    """Hold connections open and say nothing."""
    with ExitStack() as held:
        for _ in range(count):
            held.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
        yield


def is_quiet(server: Server) -> bool:
    """Whether the log has nothing of descriptors but that connections make way."""
    text = server.text()
    return "EMFILE" not in text and "Traceback" not in text and text.count("No room") <= 2


def test_idle_connections_do_not_block_new_ones(start):
    """400 of them at 256 descriptors: a new one is answered, and one that was open before."""
    server = start(program=ENOUGH_FOR)
    kept = Connection(server)
    assert ask(kept, "GET", "/healthz").status == 200
    with idle(server, 400):
        for _ in range(3):
            assert Browser(server).get("/oauth2/login/").status == 200
        assert ask(kept, "GET", "/healthz").status == 200
    kept.close()
    assert is_quiet(server), server.text()


def test_descriptors_that_are_taken_away_come_back(start):
    """F-27: without a spin, a flood or an end; connections that are idle make way for new ones."""
    server = start(program=ENOUGH_FOR)
    with idle(server, 100):
        wait_for(server.is_healthy, "an answer", server.text)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (64, 256))
        # Those who come meanwhile wait in the system's queue, and are not closed.
        assert Browser(server).get("/oauth2/login/").status == 200
    assert server.is_healthy()
    assert is_quiet(server), server.text()
