"""The port of `--metrics-port`, at a separate server."""

from __future__ import annotations

import http.client
import re
import signal
import socket

import pytest
from service_kit import TCP_PORT, TLS_PORT, Browser, Prepared, Server
from waiting import PATIENCE

pytestmark = pytest.mark.process

#: What `twistd` ends with.
ENDED = -signal.SIGTERM


def get(port: int, method: str = "GET", path: str = "/metrics") -> tuple[int, str]:
    """The status and the body of an answer without TLS."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_metrics_have_a_port_of_their_own(start):
    """Which answers nothing else, while no other port answers `/metrics`."""
    server = start.begin("--metrics-port", TCP_PORT).wait_until_ready(2)
    assert Browser(server).get("/metrics").status == 404
    status, text = get(server.ports[1])
    assert status == 200
    assert "\ndjoauth2_ready 1.0\n" in text
    assert 'djoauth2_requests_total{endpoint="healthz",method="GET",status="200"}' in text
    assert 'djoauth2_requests_total{endpoint="other",method="GET",status="404"} 1.0' in text
    assert re.search(r"^djoauth2_connections_limit [1-9]", text, re.MULTILINE)
    (expiry,) = re.findall(rf'_expiry_timestamp_seconds{{port="{server.port}"}} (\S+)', text)
    assert float(expiry) > 1.7e9
    for path in ("/", "/healthz", "/oauth2/token/", "/metrics/more"):
        assert get(server.ports[1], path=path)[0] == 404
    assert get(server.ports[1], "POST")[0] == 405
    assert get(server.ports[1], "HEAD") == (200, "")


def test_server_with_a_scraper_ends_at_once(start):
    """Though Prometheus keeps its connection open."""
    server: Server = start.begin("--metrics-port", TCP_PORT).wait_until_ready(2)
    with socket.create_connection(("127.0.0.1", server.ports[1]), timeout=PATIENCE) as kept:
        kept.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(12) == b"HTTP/1.1 200"
        assert server.stop() == ENDED
        while kept.recv(65536):
            pass
    assert "Traceback" not in server.text()


def test_metrics_are_served_with_tls(start, prepared: Prepared):
    server = start.begin("--metrics-port", TLS_PORT).wait_until_ready(2)
    own = Server(prepared, server.process, server.log, server.errors, [server.ports[1]])
    answer = Browser(own).get("/metrics")
    assert answer.status == 200
    assert f'port="{server.ports[1]}"' in answer.text


def test_metrics_port_that_is_taken_is_named(start):
    """As the option that named it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        server = start.begin("--metrics-port", port)
        assert server.wait() == 1
        assert (
            f"djoauth2: --metrics-port: cannot listen at {port}: Address already in use" in server.text()
        )
