"""The stand-alone server behind a real nginx and a real HAProxy, with the files in ``deploy``."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from service_kit import (
    PATIENCE,
    ROOT,
    Browser,
    Connection,
    PlainConnection,
    Prepared,
    Server,
    ask,
    free_port,
    is_listening,
    trusting,
    wait_for,
)

#: The address that clients of this machine come from, which is not the proxy's.
CLIENT = "127.0.0.77"

#: The endpoints behind each configuration.
PLAIN = "tcp:0:interface=127.0.0.1"
TLS = "ssl:0:interface=127.0.0.1"
BEHIND_PROXY_PROTOCOL = "haproxy:ssl:0:interface=127.0.0.1"


def program(name: str) -> str:
    """The path of a program. CI must have it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"{name} is not installed")
    assert found, f"{name} is not installed"
    return found


class Front(Server):
    """A proxy in front of a server. Its clients come from another address of this machine."""

    def connect(self, number: int = 0) -> ssl.SSLSocket:
        """A TLS connection to the proxy."""
        address = ("127.0.0.1", self.ports[number])
        plain = socket.create_connection(address, PATIENCE, source_address=(CLIENT, 0))
        return trusting(self.prepared.certificate).wrap_socket(plain, server_hostname="localhost")


def changed(path: Path, *changes: tuple[str, str]) -> str:
    """A configuration with other addresses. Each of them must be in it."""
    text = path.read_text("utf-8")
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return text


Begin = Callable[[list[str], int], None]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Start a proxy in the foreground, and wait until it listens."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], port: int) -> None:
        processes.append(subprocess.Popen(command, stdout=-3, stderr=-3))
        wait_for(lambda: is_listening(port), "the proxy")

    yield start
    for process in processes:
        process.terminate()
        process.wait(90)


def nginx(name: str, folder: Path, front: int, behind: int, begin: Begin) -> None:
    """Start nginx with a configuration of ours."""
    pem = folder / "server.pem"
    changes = [
        ("listen 443 ssl", f"listen 127.0.0.1:{front} ssl"),
        ("/etc/letsencrypt/live/auth.example/fullchain.pem", str(pem)),
        ("/etc/letsencrypt/live/auth.example/privkey.pem", str(pem)),
        ("auth.example", "localhost"),
    ]
    if name == "re-encrypting.conf":
        changes += [
            ("10.0.0.9:8443", f"127.0.0.1:{behind}"),
            ("/etc/nginx/djoauth2.pem", str(pem)),
            ("auth.internal", "localhost"),
        ]
    else:
        changes.append(("127.0.0.1:8080", f"127.0.0.1:{behind}"))
    (folder / "site.conf").write_text(changed(ROOT / "deploy/nginx" / name, *changes))
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{path}_temp_path {folder}/{path};" for path in paths)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}"
        f"http {{ {temporary} include {folder}/site.conf; }}"
    )
    begin([program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")], front)


def haproxy(name: str, folder: Path, front: int, behind: int, begin: Begin) -> None:
    """Start HAProxy with a configuration of ours."""
    changes = [("bind :443", f"bind 127.0.0.1:{front}")]
    if name == "ending-tls.cfg":
        changes += [
            ("/etc/haproxy/auth.example.pem", str(folder / "server.pem")),
            ("127.0.0.1:8080", f"127.0.0.1:{behind}"),
        ]
    else:
        changes.append(("10.0.0.9:8443", f"127.0.0.1:{behind}"))
    configuration = folder / "haproxy.cfg"
    configuration.write_text(changed(ROOT / "deploy/haproxy" / name, *changes))
    begin([program("haproxy"), "-db", "-f", str(configuration)], front)


SETUPS = {
    "nginx ends TLS": (nginx, "ending-tls.conf", PLAIN),
    "nginx re-encrypts": (nginx, "re-encrypting.conf", TLS),
    "HAProxy ends TLS": (haproxy, "ending-tls.cfg", PLAIN),
    "HAProxy passes TLS through": (haproxy, "passing-through.cfg", BEHIND_PROXY_PROTOCOL),
}


@pytest.fixture(params=list(SETUPS))
def proxied(
    request: pytest.FixtureRequest, prepared: Prepared, begin: Begin
) -> Iterator[tuple[Browser, Server]]:
    run_proxy, name, endpoint = SETUPS[request.param]
    server = Server.start(prepared, "--trusted-proxy", "127.0.0.1", ports=(endpoint,))
    try:
        wait_for(lambda: re.search(r"\bdjoauth2\b.* starting on (\d+)\b", server.text()), "a port")
        behind = int(re.findall(r"\bdjoauth2\b.* starting on (\d+)\b", server.text())[0])
        server.ports = [behind]
        front = free_port()
        run_proxy(name, prepared.folder, front, behind, begin)
        proxy = Front(server.prepared, server.process, server.log, server.errors, [front])
        browser = Browser(proxy)
        wait_for(lambda: browser.get("/healthz").status == 200, "readiness", server.text)
        yield browser, server
    finally:
        server.kill()


def test_flow_works_and_the_log_has_the_address_of_the_client(
    proxied: tuple[Browser, Server],
) -> None:
    browser, server = proxied
    browser.log_in_as_user()
    assert f"'alice' logged in from {CLIENT}" in server.text()
    page = browser.get("/oauth2/account/")
    assert page.status == 200
    assert page.headers["strict-transport-security"]


def test_forwarded_headers_of_clients_change_nothing(proxied: tuple[Browser, Server]) -> None:
    browser, server = proxied
    forged = {
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=1.2.3.4;proto=http",
    }
    with closing(Connection(browser.server)) as connection:
        answer = ask(connection, "GET", "/oauth2/login/", None, forged)
    assert answer.status == 200
    assert "/evil" not in answer.text
    assert "1.2.3.4" not in server.text()


def test_port_behind_a_proxy_serves_no_other_peer(prepared: Prepared, start: Any) -> None:
    """TL-04, TL-06: neither by header nor by the PROXY protocol."""
    server = Server.start(prepared, "--trusted-proxy", "127.0.0.1", ports=(PLAIN, BEHIND_PROXY_PROTOCOL))
    try:
        found = lambda: re.findall(r"\bdjoauth2\b.* starting on (\d+)\b", server.text())  # noqa: E731
        wait_for(lambda: len(found()) == 2, "the ports", server.text)
        server.ports = [int(port) for port in found()]
        wait_for(lambda: _healthy(server), "readiness", server.text)
        for source, status in (("127.0.0.1", 200), (CLIENT, 400)):
            headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": f"10.0.0.{status // 100}"}
            with closing(PlainConnection(server, source=source)) as connection:
                assert ask(connection, "GET", "/oauth2/login/", None, headers).status == status
        with socket.create_connection(
            ("127.0.0.1", server.ports[1]), 90, source_address=(CLIENT, 0)
        ) as stranger:
            stranger.sendall(b"PROXY TCP4 1.2.3.4 127.0.0.1 1 2\r\n")
            assert _ended(stranger)
        wait_for(lambda: "only a trusted proxy may connect" in server.text(), "a line", server.text)
        assert "10.0.0.2 GET" in server.text()
        assert "10.0.0.4" not in server.text()
        assert "1.2.3.4" not in server.text()
    finally:
        server.kill()


def smuggling(field: str, body: str) -> bytes:
    """A request whose length can be read in two ways, with another request in its body."""
    hidden = "GET /oauth2/smuggled/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    lines = [
        "POST /oauth2/token/ HTTP/1.1",
        "Host: localhost",
        field.replace("LENGTH", str(len(body + hidden))),
    ]
    return "\r\n".join([*lines, "", body + hidden]).encode("ascii")


SMUGGLING = {
    "a length and chunks": ("Content-Length: LENGTH\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    "chunks and a length": ("Transfer-Encoding: chunked\r\nContent-Length: LENGTH", "0\r\n\r\n"),
    "two lengths": ("Content-Length: 0\r\nContent-Length: LENGTH", ""),
    "a length with a sign": ("Content-Length: +LENGTH", ""),
    "a list of lengths": ("Content-Length: 0, LENGTH", ""),
    "an unknown encoding": ("Content-Length: LENGTH\r\nTransfer-Encoding: xchunked", "0\r\n\r\n"),
    "an encoding after chunks": ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
    "a name with a space": ("Content-Length: LENGTH\r\nTransfer-Encoding : chunked", "0\r\n\r\n"),
    "a folded line": ("Content-Length: LENGTH\r\nTransfer-Encoding:\r\n chunked", "0\r\n\r\n"),
    "a bare line feed": ("Content-Length: LENGTH\nTransfer-Encoding: chunked", "0\r\n\r\n"),
}


def test_hidden_requests_reach_no_other_client(proxied: tuple[Browser, Server]) -> None:
    """HT-02: what one connection hides in a body is never the answer that another one gets."""
    browser, server = proxied
    for name, (field, body) in SMUGGLING.items():
        before = server.text().count("/oauth2/smuggled/")
        with browser.server.connect() as attacker:
            attacker.sendall(smuggling(field, body))
            with closing(Connection(browser.server)) as victim:
                found = [ask(victim, "GET", "/healthz").status for _ in range(4)]
            assert found == [200] * 4, name
            attacker.settimeout(PATIENCE)
            attacker.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answered = _all_of(attacker).count(b"HTTP/1.1 ")
        # A proxy may have read the hidden request as the second one of this connection.
        served = server.text().count("/oauth2/smuggled/") - before
        assert served <= max(0, answered - 1), name


def _all_of(connection: ssl.SSLSocket) -> bytes:
    """All that comes until the connection ends."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except OSError:
        pass
    return received


def _healthy(server: Server) -> bool:
    with closing(PlainConnection(server)) as connection:
        return ask(connection, "GET", "/healthz").status == 200


def _ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
