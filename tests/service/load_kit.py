"""Clients that send requests at a fixed rate, and a parent that keeps a socket, as systemd does."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import socket
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from service_kit import (
    PATIENCE,
    ROOT,
    TWISTD,
    Application,
    Browser,
    Server,
    as_bytes,
    basic,
    bearer,
    refresh_form,
    trusting,
)

#: The endpoint of a socket that a parent passes, with the certificate in the current folder.
TLS_SOCKET = "systemd:domain=INET:name=https:privateKey=server.pem"

#: Of so many requests, one is sent on a new connection, and one uses a refresh token.
ONE_NEW, ONE_REFRESH = 50, 50

#: Passes a socket to a program as systemd does: as descriptor 3, with its name. See sd_listen_fds(3).
_PASS = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='https'); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


def inheriting(kept: socket.socket) -> tuple[str, ...]:
    """A `twistd` that gets a socket from its parent. The socket must be inheritable."""
    return (sys.executable, "-c", _PASS, str(kept.fileno()), *TWISTD, "-n", "--pidfile=")


def two_behind_haproxy(folder: Path, front: int, behind: Sequence[int]) -> list[str]:
    """The command of an HAProxy that ends TLS before two servers, with the file in ``deploy``."""
    text = (ROOT / "deploy/haproxy/ending-tls.cfg").read_text("utf-8")
    for before, after in (
        ("bind :443", f"bind 127.0.0.1:{front}"),
        ("/etc/haproxy/auth.example.pem", str(folder / "server.pem")),
        ("127.0.0.1:8080", f"127.0.0.1:{behind[0]}"),
        ("# default-server observe", "default-server observe"),
        ("# server two 10.0.0.10:8080", f"server two 127.0.0.1:{behind[1]}"),
    ):
        assert before in text, before
        text = text.replace(before, after)
    configuration = folder / "haproxy.cfg"
    configuration.write_text(text)
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program, "HAProxy is not installed"
    return [program, "-db", "-f", str(configuration)]


@define
class Load:
    """Calls of the API, and refreshes among them, over TLS.

    A call on a persistent connection that is closed without an answer is sent again, as browsers and
    HTTP libraries do (RFC 9110, section 9.2.2). A refresh is sent once, and on a new connection.

    :param server: where they are sent to; its database and certificate.
    :param rate: how many a second.
    :param most: how many may be in flight. While there are as many, none is sent.
    """

    server: Server
    rate: int
    most: int
    port: int = field(init=False)
    #: What became of the requests: statuses, and errors by their names.
    outcomes: Counter[str] = field(factory=Counter)
    #: How long each answer took since the request was due, in seconds.
    waits: list[float] = field(factory=list)
    #: How long requests were sent, in seconds.
    seconds: float = 0
    #: How many calls were sent twice.
    sent_again: int = 0
    _connections: list[Any] = field(factory=list)
    _refresh_tokens: list[str] = field(factory=list)
    _access_token: str = ""
    _ended: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.port = self.server.port
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def prepare(self, grants: int) -> None:
        """Get tokens to send."""
        browser = Browser(self.server).log_in_as_user()
        with Application(self.server) as application:
            # A refresh ends the access token before it, so the API is called with one of another grant.
            self._access_token = application.exchange(browser.code()).json["access_token"]
            for _ in range(grants):
                tokens = application.exchange(browser.code()).json
                self._refresh_tokens.append(tokens["refresh_token"])

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait for the answers."""
        self._ended.set()
        self._thread.join()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        sending: set[asyncio.Task[None]] = set()
        for number in itertools.count():
            due = begun + number / self.rate
            await asyncio.sleep(due - loop.time())
            if self._ended.is_set():
                break
            if len(sending) >= self.most:
                continue
            task = loop.create_task(self._send(number, due))
            sending.add(task)
            task.add_done_callback(sending.discard)
        self.seconds = loop.time() - begun
        await asyncio.gather(*sending)
        for _, writer in self._connections:
            writer.transport.abort()
        # The sockets of aborted connections are closed in the next turn.
        await asyncio.sleep(0.01)

    async def _send(self, number: int, due: float) -> None:
        try:
            if number % ONE_REFRESH == 0 and self._refresh_tokens:
                outcome = await self._refresh(self._refresh_tokens.pop(0))
            else:
                outcome = await self._get(is_new=number % ONE_NEW == 1)
        except (TimeoutError, OSError, EOFError) as error:
            outcome = type(error).__name__
        self.outcomes[outcome] += 1
        self.waits.append(asyncio.get_running_loop().time() - due)

    async def _get(self, is_new: bool) -> str:
        sent = as_bytes(self.server, "GET", "/api/user_info/", headers=bearer(self._access_token))
        try:
            status, _ = await self._ask(sent, is_new)
        except (OSError, EOFError):
            if is_new:
                raise
            self.sent_again += 1
            status, _ = await self._ask(sent, is_new=True)
        return status

    async def _refresh(self, token: str) -> str:
        prepared = self.server.prepared
        headers = {"Authorization": basic(prepared.client_id, prepared.client_secret)}
        sent = as_bytes(self.server, "POST", "/oauth2/token/", refresh_form(token), headers)
        status, body = await self._ask(sent, is_new=True)
        if status == "200":
            self._refresh_tokens.append(json.loads(body)["refresh_token"])
        return status

    async def _ask(self, sent: bytes, is_new: bool) -> tuple[str, bytes]:
        """The status and the body of an answer. The connection is kept if the server keeps it."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await self._connect(is_new)
            try:
                writer.write(sent)
                head = await reader.readuntil(b"\r\n\r\n")
                headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                body = await reader.readexactly(int(headers[b"content-length"]))
            except BaseException:
                writer.transport.abort()
                raise
            if headers.get(b"connection") == b"close":
                writer.transport.abort()
            else:
                self._connections.append((reader, writer))
            return head.split()[1].decode(), body

    async def _connect(self, is_new: bool) -> Any:
        while self._connections and not is_new:
            reader, writer = self._connections.pop()
            # A server may close a connection between two requests.
            if not (reader.at_eof() or writer.is_closing()):
                return reader, writer
            writer.transport.abort()
        context = trusting(self.server.prepared.certificate)
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname="localhost"
        )
