"""A small HTTP client for benchmarks, over TLS, from any address of this machine."""

import asyncio
import re
import ssl
import time
from contextlib import suppress
from urllib.parse import urlencode

FORM = "application/x-www-form-urlencoded"

#: The longest time for an answer, in seconds.
PATIENCE = 30

#: It trusts every server, because the server is ours.
TRUSTING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE
TRUSTING.set_alpn_protocols(["http/1.1"])


class Answer:
    """An answer: its status, its head, its body, and how long it took in seconds."""

    def __init__(self, status, head="", body="", seconds=0.0):
        self.status, self.head, self.body, self.seconds = status, head, body, seconds

    def headers(self, name):
        """All values of a header."""
        return re.findall(rf"(?im)^{name}: ([^\r\n]*)", self.head)


class Connection:
    """One connection, which is kept open."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port, address):
        """Connect from an address of this machine."""
        pair = await asyncio.open_connection("127.0.0.1", port, ssl=TRUSTING, local_addr=(address, 0))
        return cls(*pair)

    def is_open(self):
        """Whether the server has not closed the connection, as far as is known."""
        return not (self._reader.at_eof() or self._writer.is_closing())

    async def ask(self, method, path, form=None, headers=()):
        """Send a request, and read the answer."""
        body = b"" if form is None else urlencode(form).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
        if form is not None:
            lines += [f"Content-Type: {FORM}", f"Content-Length: {len(body)}"]
        begun = time.perf_counter()
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?i)content-length: (\d+)", head)
            text = await self._reader.readexactly(int(length[1]) if length else 0)
        return Answer(int(head.split(" ")[1]), head, text.decode("utf-8"), time.perf_counter() - begun)

    def send(self, data):
        """Send bytes, and read nothing."""
        self._writer.write(data)

    async def aclose(self):
        """Close the connection, and wait for its end."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def abort(self):
        """Close the connection by a reset, without TLS's close_notify."""
        self._writer.transport.abort()


class Client:
    """A client that keeps its connections open, as an HTTP library does."""

    def __init__(self, port, address):
        self._port, self._address = port, address
        self._idle = []

    async def ask(self, method, path, form=None, headers=()):
        """Send a request on an idle connection, or on a new one. Returns the answer.

        If the server has closed an idle connection meanwhile, the request is sent once more.
        """
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_open():
                await connection.aclose()
                continue
            try:
                return await self._ask(connection, method, path, form, headers)
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                if getattr(error, "partial", b""):
                    raise
                break
        connection = await Connection.open(self._port, self._address)
        return await self._ask(connection, method, path, form, headers)

    async def _ask(self, connection, method, path, form, headers):
        try:
            answer = await connection.ask(method, path, form, headers)
        except BaseException:
            connection.abort()
            raise
        if "close" in answer.headers("connection"):
            await connection.aclose()
        else:
            self._idle.append(connection)
        return answer

    async def aclose(self):
        """Close all idle connections."""
        while self._idle:
            await self._idle.pop().aclose()
