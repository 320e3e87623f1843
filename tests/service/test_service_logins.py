"""A true server under an attack by logins: a login from another address has its turn."""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from attrs import frozen
from service_kit import FORM, Prepared, Server, trusting
from waiting import PATIENCE

from djoauth2_twisted.passwords import MAX_QUEUE_LENGTH

HEAD = "Host: localhost\r\nConnection: close\r\n"


@frozen
class Client:
    """A person at one address of this machine, with one browser."""

    server: Server
    address: str

    def connect(self) -> ssl.SSLSocket:
        """A connection from this address."""
        where = ("127.0.0.1", self.server.port)
        plain = socket.create_connection(where, PATIENCE, source_address=(self.address, 0))
        context = trusting(self.server.prepared.certificate)
        return context.wrap_socket(plain, server_hostname="localhost")

    def ask(self, request: str) -> str:
        """The whole answer to a request."""
        connection = self.connect()
        connection.sendall(request.encode("ascii"))
        return _read(connection)

    def login(self, username: str, password: str) -> bytes:
        """The request by which this browser logs in."""
        page = self.ask(f"GET /oauth2/login/ HTTP/1.1\r\n{HEAD}\r\n")
        cookie = re.findall("(?i)set-cookie: ([^;]+)", page)[0]
        token = re.findall('name="csrf_token"[^>]*value="([^"]+)', page)[0]
        body = urlencode({"csrf_token": token, "username": username, "password": password})
        head = f"{HEAD}Cookie: {cookie}\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}\r\n"
        return f"POST /oauth2/login/ HTTP/1.1\r\n{head}\r\n{body}".encode("ascii")


def _read(connection: ssl.SSLSocket) -> str:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("utf-8")


def _status(answer: str) -> int:
    return int(answer.split(" ")[1])


def test_many_logins_from_one_address_do_not_block_another_address(
    prepared: Prepared, start: Any
) -> None:
    """CC-10, AB-03: whether it waits for its answers or hangs up before them."""
    server = start()
    attacker, alice = Client(server, "127.0.0.2"), Client(server, "127.0.0.3")
    guess = attacker.login("stranger00", "a guess")
    guesses = [guess.replace(b"stranger00", b"stranger%02d" % number) for number in range(64)]
    for hangs_up in (False, True):
        good = alice.login(prepared.username, prepared.password)
        crowd = [attacker.connect() for _ in guesses]
        mine = alice.connect()
        for connection, sent in zip(crowd, guesses, strict=True):
            connection.sendall(sent)
        if hangs_up:
            for connection in crowd:
                # Without a farewell, as a client that is cut off.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()
        mine.sendall(good)
        assert _status(_read(mine)) == 303
        if not hangs_up:
            statuses = [_status(_read(connection)) for connection in crowd]
            assert set(statuses) <= {403, 503}
            # How many passwords are compared in time depends on the machine.
            assert 403 in statuses
    assert len(guesses) > MAX_QUEUE_LENGTH
