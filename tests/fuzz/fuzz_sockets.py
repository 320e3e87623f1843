"""Sends mutated requests over sockets to a server process on 127.0.0.1, and judges what comes back."""

from __future__ import annotations

import random
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from fuzz_grammar import ODD, Mutator, Request, broken
from fuzz_oracle import MAX_SECONDS, Fault, Judge, answers_in, issued, leaked
from fuzz_world import FORM
from service_kit import (
    DJOAUTH2,
    ISSUER,
    REDIRECT_URI,
    TCP_PORT,
    TLS_PORT,
    Application,
    Browser,
    Prepared,
    Server,
    basic,
    code_form,
    prepare,
    refresh_form,
    run,
)
from web_driver import Oracle

#: The ports: with TLS, without it behind a trusted proxy, and behind one that speaks the PROXY protocol.
PORTS = (TLS_PORT, TCP_PORT, "haproxy:" + TCP_PORT)
#: Where the mutated requests come from. Good ones come from another address, with TLS.
PROXY = "127.0.0.2"
OPTIONS = ("--trusted-proxy", PROXY)

#: After how many requests new codes and tokens are made.
_TOKENS_LIVE = 300

#: How long the other side is given for an answer to what may be no whole request, in seconds. Then this
# side
#: ends what it sends, and the server must end the connection.
_PAUSE = 0.05

#: How much the memory of the server may grow after the first requests, in MiB.
_GROWTH = 32

_PAGES = (
    "/", "/healthz", "/livez", "/.well-known/oauth-authorization-server", "/nothing", "/oauth2/login/",
    "/oauth2/logout/", "/oauth2/account/", "/oauth2/admin/", "/oauth2/admin/clients/",
    "/oauth2/admin/users/",
    "/oauth2/admin/audit/", "/oauth2/missing_redirect_uri/", "/oauth2/style.css", "/api/user_info/",
)  # fmt: skip


class SocketFuzzer:
    """Fuzzes a server that has the ports `PORTS` and the options `OPTIONS`.

    :param longest: the longest time that an answer may take, in seconds.
    """

    def __init__(self, server: Server, chance: random.Random, longest: float = MAX_SECONDS) -> None:
        self.server = server
        self.chance = chance
        self.longest = longest
        self.count = 0
        self.outcomes: Counter[str] = Counter()
        #: All that was ever secret, for the log.
        self.secrets = frozenset({server.prepared.client_secret, server.prepared.password})
        oracle = Oracle(ISSUER)
        oracle.redirect_uris.add(REDIRECT_URI)
        self._judge = Judge(oracle)
        self._live: set[str] = set()
        self._templates: list[Request] = []

    def run(self, requests: int) -> None:
        """Send so many requests.

        :raises Fault: a rule is broken.
        """
        for _ in range(requests):
            if self.count % _TOKENS_LIVE == 0:
                self._renew()
            self.count += 1
            template = self.chance.choice(self._templates)
            if template.ends_something and self.chance.randrange(8):
                template = self.chance.choice(self._templates)
            values = [
                value.encode() for value in (*self._live, self.server.prepared.client_id, REDIRECT_URI)
            ]
            request = Mutator(self.chance, sorted(values)).mutated(template)
            self._add_forwarded(request)
            data, whole = request.encoded(), True
            if self.chance.randrange(3) == 0:
                data, whole = broken(self.chance, data), False
            try:
                self._exchange(data, whole)
            except Fault as fault:
                raise Fault(f"request {self.count}: {fault}\nsent: {data[:3000]!r}") from fault

    def check_what_is_left(self) -> None:
        """Judge the process and its log."""
        if self.server.process.poll() is not None:
            raise Fault(f"the server has ended: {self.server.text()[-2000:]}")
        text = self.server.text()
        if found := leaked(self.secrets, text.encode("utf-8", "surrogateescape")):
            line = next(line for line in text.splitlines() if found[0] in line)
            raise Fault(f"U-03: {found[0]} was logged: {line[:300]}")
        for word in ("Traceback", "Unhandled", "Processing Failed"):
            if word in text:
                raise Fault(f"U-08: {word} in the log: {text[text.index(word) :][:2000]}")

    def resident(self) -> float:
        """The memory of the server, in MiB."""
        pages = Path(f"/proc/{self.server.process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * 4096 / 2**20

    def _exchange(self, data: bytes, whole: bool) -> None:
        """Send bytes, and judge the answer, within the time that it may take."""
        port, before = self._port_and_header()
        output, took = self._sent(port, before + data, whole)
        # The machine may have been busy with something else. A slow request is slow again.
        if took > self.longest:
            output, took = self._sent(port, before + data, whole)
        if took > self.longest:
            raise Fault(f"U-01: {took:.1f} s, and then {output[:200]!r}")
        answers = self._judge.check(
            data, output, frozenset(self._live | {self.server.prepared.client_secret})
        )
        self.secrets |= issued(output)
        self.outcomes[str(answers[0].status) if answers else "none"] += 1

    def _port_and_header(self) -> tuple[int, bytes]:
        """A port, and a header of the PROXY protocol where it needs one. Some are wrong."""
        if self.chance.randrange(4):
            return self.server.ports[1], b""
        good = b"PROXY TCP4 127.0.0.2 127.0.0.1 1 443\r\n"
        header = self.chance.choice((
            good, good, good, b"PROXY UNKNOWN\r\n", b"PROXY TCP6 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 x y z\r\n", good[:9],
            b"PROXY " + b"x" * 200 + b"\r\n",
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\x7f\x00\x00\x01" * 3,
            b"\r\n\r\n\x00\r\nQUIT\n\x21\xff\xff\xff",
            b"PROXY TCP4 " + self.chance.choice(ODD) + b"\r\n", b"",
        ))  # fmt: skip
        return self.server.ports[2], header

    def _sent(self, port: int, data: bytes, whole: bool) -> tuple[bytes, float]:
        """What comes back, and after how many seconds."""
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), self.longest, (PROXY, 0)) as connection:
            output = b""
            try:
                connection.sendall(data)
                connection.settimeout(self.longest if whole and port == self.server.ports[1] else _PAUSE)
                output = self._read(connection, to_head=b"HEAD " in data[:300])
            except (ConnectionError, TimeoutError) as error:
                if isinstance(error, TimeoutError):
                    output += self._end(connection)
        return output, time.monotonic() - began

    def _read(self, connection: socket.socket, to_head: bool) -> bytes:
        """One whole answer, or what there is when the connection ends."""
        output = b""
        while not _is_whole(output, to_head) and (more := connection.recv(65536)):
            output += more
        return output

    def _end(self, connection: socket.socket) -> bytes:
        """What comes after this side has ended what it sends. The server must then end, too."""
        connection.settimeout(self.longest)
        output = b""
        try:
            connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                output += more
        except ConnectionError:
            pass
        except TimeoutError as error:
            raise Fault("U-01: the connection stays open after its end was sent") from error
        return output

    def _add_forwarded(self, request: Request) -> None:
        """What a proxy adds: TLS, and another client each time, or few could continue."""
        if self.chance.randrange(10):
            request.headers.append((b"X-Forwarded-Proto", b"https"))
            client = f"198.18.{self.chance.randrange(256)}.{self.chance.randrange(256)}"
            request.headers.append((b"X-Forwarded-For", client.encode()))

    def _renew(self) -> None:
        """Log in, and make codes, tokens and templates."""
        browser = Browser(self.server).log_in_as_user()
        with Application(self.server) as application:
            tokens = application.exchange(browser.code()).json
        self._live = {
            tokens["access_token"],
            tokens["refresh_token"],
            browser.code(),
            *browser.cookies.values(),
        }
        self.secrets |= self._live
        self._templates = list(self._made(browser, tokens["access_token"], tokens["refresh_token"]))

    def _made(self, browser: Browser, access_token: str, refresh_token: str) -> Iterator[Request]:
        prepared = self.server.prepared
        authorized = (b"Authorization", basic(prepared.client_id, prepared.client_secret).encode())
        code = browser.code()
        self.secrets |= {code}
        self._live.add(code)
        for endpoint, fields in (
            ("token", code_form(code)),
            ("token", refresh_form(refresh_token)),
            ("introspect", {"token": access_token}),
            ("revoke", {"token": refresh_token}),
        ):
            form = [(name.encode(), value.encode()) for name, value in fields.items()]
            yield Request(b"POST", f"/oauth2/{endpoint}/".encode(), [], [FORM, authorized], form)
        yield Request(
            b"GET", b"/api/user_info/", [], [(b"Authorization", f"Bearer {access_token}".encode())]
        )
        cookies = [(name.encode(), value.encode()) for name, value in browser.headers.items()]
        action, consent = browser.consent_form()
        form = [(name.encode(), value.encode()) for name, value in consent.items()]
        path, _, query = browser.address("state").partition("?")
        asked = [
            tuple(pair.encode().split(b"=", 1))
            for pair in query.replace("%3A", ":").replace("%2F", "/").split("&")
        ]
        fields_of_query = [(name, value) for name, value in asked]
        yield Request(
            b"POST", action.partition("?")[0].encode(), fields_of_query, [FORM, *cookies], form
        )
        yield Request(b"GET", path.encode(), fields_of_query, cookies)
        yield Request(
            b"POST",
            b"/oauth2/login/",
            [],
            [FORM],
            [(b"username", b"alice"), (b"password", b"wrong one")],
        )
        yield from (Request(b"GET", page.encode(), [], cookies) for page in _PAGES)


def _is_whole(output: bytes, to_head: bool) -> bool:
    """Whether there is a whole answer."""
    try:
        return any(True for _ in answers_in(output, to_head))
    except (Fault, ValueError):
        return False


def with_an_administrator(folder: Path) -> Prepared:
    """What a server needs, with a user who may administer."""
    prepared = prepare(folder)
    done = run(*DJOAUTH2, "user", "edit", prepared.username, "--admin", folder=folder)
    assert done.returncode == 0, done.stderr
    return prepared


def fuzz_a_server(requests: int, chance: random.Random) -> str:
    """Start a server, fuzz it, and end it; the summary.

    :raises Fault: a rule is broken.
    """
    with tempfile.TemporaryDirectory() as folder:
        server = Server.start(with_an_administrator(Path(folder)), *OPTIONS, ports=PORTS)
        try:
            fuzzer = SocketFuzzer(server.wait_until_ready(len(PORTS)), chance)
            first = min(1000, requests)
            fuzzer.run(first)
            before = fuzzer.resident()
            for part in _parts(requests - first, 5000):
                fuzzer.run(part)
                fuzzer.check_what_is_left()
                print(
                    f"{fuzzer.count} requests: {fuzzer.resident():.0f} MiB, {_sorted(fuzzer.outcomes)}",
                    flush=True,
                )
            fuzzer.check_what_is_left()
            after = fuzzer.resident()
            if after > before + _GROWTH:
                raise Fault(f"growth: {before:.0f} MiB at first, {after:.0f} MiB at last")
        finally:
            server.kill()
    return (
        f"{fuzzer.count} requests over sockets, no fault. {_sorted(fuzzer.outcomes)}. "
        f"Memory of the server: {before:.0f} MiB after {first} requests, {after:.0f} MiB at last"
    )


def _parts(total: int, size: int) -> Iterable[int]:
    return (min(size, total - begun) for begun in range(0, total, size))


def _sorted(outcomes: Counter[str]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(outcomes.items()))
