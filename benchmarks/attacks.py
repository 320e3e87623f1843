"""The effect of an attack on other clients: their waits, and the server's memory, before and during it.

    python benchmarks/attacks.py [--rounds N] [--pinned] [NAME ...]

The stand-alone server runs with TLS in its own process, and the attack in another. A bystander at
another address requests the login page fifty times a second, over connections that stay open. During a
thousand logins, it uses refresh tokens instead. During the other attacks on logins, there are a hundred
logins from other addresses. The table has the bystander's median and 99th percentile before and during
the attack, how many requests were not answered with 200, the server's memory, and how many descriptors
it has open in the end. A wait begins when the request is due. The attack has a low priority, because a
true one has its own processor. The slow connections need ``ulimit -n 12000``.

With ``--rounds``, the times without the attack and during it are measured in turn at one server, so
that other work of the machine is in both alike. With ``--pinned``, the server has the first processor,
and the others have the second.

To compare with another release, run this file with the Python that has it installed.
"""

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

from djoauth2_twisted.cli.demo.walk import Form

#: Addresses of this machine, for the attacker and for the bystander.
ATTACKER, BYSTANDER = "127.0.0.9", "127.0.0.2"

REDIRECT_URI = "https://app.example/cb"
PASSWORD = "correct horse battery staple"
USERS = 20

#: The bystander's requests per second, and for how many seconds they are sent.
RATE, SECONDS = 50, 20.0

#: The slow connections, in how many seconds they are opened at first, and the time between two bytes.
SLOW, SLOW_OPENED_IN, DRIP_INTERVAL = 5000, 25, 5

#: The logins at once, and how many refresh tokens the bystander has meanwhile.
LOGINS, TOKENS = 1000, 90

#: How the names of the attacks begin that take time to prepare.
SLOWLY, AT_ONCE = "5,000 slow", "1,000 logins"
PREPARED = SLOWLY, AT_ONCE

#: The addresses of an attacker who has many.
ADDRESSES = [f"127.0.{number // 250}.{2 + number % 250}" for number in range(1000, 2000)]

#: A login is good if it is answered within this time, in seconds.
GOOD_LOGIN = 3.0

#: It trusts every server, because the server is ours.
TRUSTING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE

BIN = Path(sys.executable).parent
FORM = "Content-Type: application/x-www-form-urlencoded"
PIPELINED = b"GET /oauth2/missing_redirect_uri HTTP/1.1\r\nHost: localhost\r\n\r\n"


def free_port():
    """A free port."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


async def connect(port, address):
    """A connection over TLS from an address of this machine."""
    return await asyncio.open_connection("127.0.0.1", port, ssl=TRUSTING, local_addr=(address, 0))


async def answer_of(reader):
    """The status, the head and the body of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = re.search(r"(?i)content-length: (\d+)", head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    return int(head.split(" ")[1]), head, body.decode("utf-8", "replace")


# The attacks. Each is a coroutine that runs until it is cancelled.


async def again(act):
    """Repeat an action without end, even if the server closes the connection."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            await act()
        await asyncio.sleep(0.01)


def many(count, act):
    """Repeat an action in ``count`` tasks at once."""
    return asyncio.gather(*(again(act) for _ in range(count)))


async def pipeline(port, read=True):
    """Send 60 KiB of requests on one connection, repeatedly."""
    reader, writer = await connect(port, ATTACKER)
    try:
        while True:
            writer.write(PIPELINED * (60 * 1024 // len(PIPELINED)))
            await writer.drain()
            for _ in range(60 * 1024 // len(PIPELINED) if read else 0):
                await answer_of(reader)
            if not read:
                await asyncio.sleep(0.2)
    finally:
        writer.close()


async def post(port, body, head=""):
    """Send one costly request on a new connection."""
    reader, writer = await connect(port, ATTACKER)
    try:
        start = f"POST /oauth2/token/ HTTP/1.1\r\nHost: localhost\r\n{FORM}\r\n{head}\r\n"
        writer.write(start.encode() + body)
        await writer.drain()
        await answer_of(reader)
    finally:
        writer.close()


async def ampersands(port):
    """Send a form that consists of separators."""
    await post(port, b"&" * 65536, f"Content-Length: {65536}\r\n")


async def chunks(port):
    """Send a body in chunks of one byte."""
    await post(port, b"1\r\na\r\n" * 60_000 + b"0\r\n\r\n", "Transfer-Encoding: chunked\r\n")


async def header_lines(port):
    """Send 499 header lines."""
    await post(port, b"", "".join(f"X-{number}: a\r\n" for number in range(499)))


async def drip(port, address, start, rest):
    """Send the start of a request, and then one byte of the rest every few seconds."""
    reader, writer = await connect(port, address)
    try:
        writer.write(start)
        for byte in rest:
            writer.write(bytes([byte]))
            # The server ends the connection, with an answer or without.
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), DRIP_INTERVAL)
                return
    finally:
        writer.close()


async def drip_many(port, start, rest, addresses):
    """Hold thousands of slow connections, from each of some addresses in turn."""
    tasks = []
    for number in range(SLOW):
        address = addresses[number % len(addresses)]
        act = lambda address=address: drip(port, address, start, rest)  # noqa: E731
        tasks.append(asyncio.ensure_future(again(act)))
        await asyncio.sleep(SLOW_OPENED_IN / SLOW)
    READY.set()
    await asyncio.gather(*tasks)


def slow_heads(port, addresses):
    """Send heads that never end."""
    return drip_many(
        port, b"GET /oauth2/login/ HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"a" * 100, addresses
    )


def slow_bodies(port, addresses):
    """Send bodies that never end."""
    start = f"POST /oauth2/token/ HTTP/1.1\r\nHost: localhost\r\n{FORM}\r\nContent-Length: 100\r\n\r\n"
    return drip_many(port, start.encode(), b"a" * 100, addresses)


async def login_form(pair, username, password):
    """Open the login page with a new browser. Returns the filled form, as it is to be sent."""
    reader, writer = pair
    writer.write(b"GET /oauth2/login/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _, head, page = await answer_of(reader)
    cookie = re.findall(r"(?i)set-cookie: ([^;]+)", head)[0]
    token = re.findall('name="csrf_token"[^>]*value="([^"]+)', page)[0]
    body = urlencode({"csrf_token": token, "username": username, "password": password})
    head = f"Host: localhost\r\nCookie: {cookie}\r\n{FORM}\r\nContent-Length: {len(body)}\r\n"
    return f"POST /oauth2/login/ HTTP/1.1\r\n{head}\r\n{body}".encode()


async def logins_at_once(port, addresses):
    """Keep a thousand logins waiting for their answers, from browsers that stay connected."""
    missing = set(range(LOGINS))

    async def browse(number):
        pair = await connect(port, addresses[number % len(addresses)])
        try:
            form = await login_form(pair, f"user{number % USERS}", PASSWORD)
            missing.discard(number)
            while missing:
                await asyncio.sleep(0.1)
            READY.set()
            while True:
                pair[1].write(form)
                status, _, _ = await answer_of(pair[0])
                if status == 303:
                    form = await login_form(pair, f"user{number % USERS}", PASSWORD)
        finally:
            pair[1].close()

    # A few connect at a time, and then all begin in one instant.
    tasks = []
    for number in range(LOGINS):
        tasks.append(asyncio.ensure_future(again(lambda number=number: browse(number))))
        while len(missing) > LOGINS - number + 8:
            await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)


async def log_in(port, address, username, password, wait=True):
    """Log in with a new browser. Returns the status of the answer, or None without ``wait``."""
    reader, writer = await connect(port, address)
    try:
        writer.write(await login_form((reader, writer), username, password))
        await writer.drain()
        if not wait:
            await asyncio.sleep(0.05)
            return None
        status, _, _ = await answer_of(reader)
        return status
    finally:
        writer.close()


ATTACKS = {
    "none, to see what else the machine does": lambda port: asyncio.sleep(3600),
    "5,000 slow heads from one address": lambda port: slow_heads(port, [ATTACKER]),
    "5,000 slow heads from 1,000 addresses": lambda port: slow_heads(port, ADDRESSES),
    "5,000 slow bodies from 1,000 addresses": lambda port: slow_bodies(port, ADDRESSES),
    "1,000 logins at once from one address": lambda port: logins_at_once(port, [ATTACKER]),
    "1,000 logins at once from 1,000 addresses": lambda port: logins_at_once(port, ADDRESSES),
    "one connection that pipelines": lambda port: many(1, lambda: pipeline(port)),
    "twenty that pipeline": lambda port: many(20, lambda: pipeline(port)),
    "sixty that read no answer": lambda port: many(60, lambda: pipeline(port, read=False)),
    "a form of separators, four at once": lambda port: many(4, lambda: ampersands(port)),
    "chunks of one byte, four at once": lambda port: many(4, lambda: chunks(port)),
    "499 header lines, four at once": lambda port: many(4, lambda: header_lines(port)),
    "logins: forty wrong passwords at once": lambda port: many(
        40, lambda: log_in(port, ATTACKER, "user0", "wrong")
    ),
    "logins: forty that hang up": lambda port: many(
        40, lambda: log_in(port, ATTACKER, "user0", "wrong", wait=False)
    ),
    "logins: forty right passwords at once": lambda port: many(
        40, lambda: log_in(port, ATTACKER, "user1", PASSWORD)
    ),
}


#: Set in the attacker's process, once its attack is under way.
READY = None


def run_attack(name, port, ready):
    """Run an attack. This is the target of a process."""
    global READY
    READY = ready
    # The attacks that take time to prepare would not come about at the lowest priority.
    os.setpriority(os.PRIO_PROCESS, 0, 5 if name.startswith(PREPARED) else 19)
    if not name.startswith(PREPARED):
        ready.set()
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(name, port))


async def _run(name, port):
    await ATTACKS[name](port)


# The bystander.


class Page:
    """Requests for the login page."""

    def request(self):
        """The next request."""
        return b"GET /oauth2/login/ HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def done(self, body):
        """Take the body of a good answer."""


class Refresh:
    """Uses of refresh tokens, each of which is answered with the next one."""

    def __init__(self, client, tokens):
        self._client, self._tokens = client, deque(tokens)

    def request(self):
        """The next request. It fails if too many are not answered yet."""
        token = self._tokens.popleft() if self._tokens else "none"
        return self._client.post(grant_type="refresh_token", refresh_token=token)

    def done(self, body):
        """Take the body of a good answer."""
        self._tokens.append(json.loads(body)["refresh_token"])


class Client:
    """The client of the bystander."""

    def __init__(self, identifier, secret):
        self.identifier = identifier
        self._basic = base64.b64encode(f"{identifier}:{secret}".encode()).decode()

    def post(self, **form):
        """A request to the token endpoint."""
        body = urlencode(form)
        head = f"Host: localhost\r\nAuthorization: Basic {self._basic}\r\n{FORM}"
        length = f"Content-Length: {len(body)}"
        return f"POST /oauth2/token/ HTTP/1.1\r\n{head}\r\n{length}\r\n\r\n{body}".encode()

    async def tokens(self, port, count):
        """Log in, and get this many refresh tokens by consent."""
        pair = reader, writer = await connect(port, BYSTANDER)

        async def ask(request):
            writer.write(request)
            return await answer_of(reader)

        _, head, _ = await ask(await login_form(pair, "user0", PASSWORD))
        cookie = "Cookie: " + "; ".join(re.findall(r"(?i)set-cookie: ([^;]+)", head))
        asked = {"response_type": "code", "client_id": self.identifier, "redirect_uri": REDIRECT_URI}
        found = []
        for number in range(count):
            query = urlencode({**asked, "scope": "user_info", "state": number})
            path = f"/oauth2/authorization/?{query}"
            _, _, page = await ask(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n\r\n".encode()
            )
            form = Form(page)
            body = urlencode({**form.fields, "user_action": "Accept"})
            head = f"Host: localhost\r\n{cookie}\r\n{FORM}\r\nContent-Length: {len(body)}"
            _, head, _ = await ask(f"POST {form.action} HTTP/1.1\r\n{head}\r\n\r\n{body}".encode())
            code = re.search(r"[?&]code=([^&\s]+)", head)[1]
            exchange = self.post(grant_type="authorization_code", code=code, redirect_uri=REDIRECT_URI)
            _, _, body = await ask(exchange)
            found.append(json.loads(body)["refresh_token"])
        writer.close()
        return found


async def stand_by(port, kind):
    """Send requests of a kind regularly. Returns the waits in seconds, and how many requests failed."""
    waits, refused = [], 0
    connections = asyncio.Queue()

    async def ask(when):
        nonlocal refused
        try:
            pair = (
                connections.get_nowait() if not connections.empty() else await connect(port, BYSTANDER)
            )
            pair[1].write(kind.request())
            status, _, body = await asyncio.wait_for(answer_of(pair[0]), 60)
            refused += status != 200
            if status == 200:
                kind.done(body)
            connections.put_nowait(pair)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            refused += 1
        waits.append(time.perf_counter() - when)

    begun = time.perf_counter()
    asked = []
    for number in range(int(RATE * SECONDS)):
        when = begun + number / RATE
        await asyncio.sleep(max(0, when - time.perf_counter()))
        asked.append(asyncio.ensure_future(ask(when)))
    await asyncio.gather(*asked)
    while not connections.empty():
        connections.get_nowait()[1].close()
    return waits, refused


async def good_logins(port, times=100):
    """Log in from other addresses. Returns how many logins were good, and the waits in seconds."""
    waits, good = [], 0

    async def one(number):
        nonlocal good
        begun, status = time.perf_counter(), None
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            name = f"user{2 + number % (USERS - 2)}"
            login = log_in(port, f"127.0.1.{1 + number}", name, PASSWORD)
            status = await asyncio.wait_for(login, 30)
        waits.append(time.perf_counter() - begun)
        good += status == 303 and waits[-1] <= GOOD_LOGIN

    asked = []
    for number in range(times):
        asked.append(asyncio.ensure_future(one(number)))
        await asyncio.sleep(0.3)
    await asyncio.gather(*asked)
    return good, waits


def memory_of(pid, name):
    """A process's resident memory in MiB: VmRSS for now, or VmHWM for the maximum."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024


def run(folder, *words, stdin=""):
    """Run a command of `djoauth2`, and return its output."""
    command = [BIN / "djoauth2", *words]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, input=stdin, text=True
    ).stdout


def prepare(folder):
    """Make a certificate, users that can log in, and a client."""
    run(folder, "certificate", "localhost")
    for number in range(USERS):
        run(folder, "user", "add", f"user{number}", "--password-stdin", stdin=f"{PASSWORD}\n")
    run(folder, "scope", "add", "user_info", "See who you are.")
    words = "client", "add", "--name", "bystander", "--redirect-uri", REDIRECT_URI, "--json"
    added = json.loads(run(folder, *words))
    return Client(added["client_id"], added["client_secret"])


@asynccontextmanager
async def server(folder, pinned):
    """A new server process, and its port."""
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1"
    options = "-n", "--pidfile=", "--logfile=twistd.log", "djoauth2", "--port", endpoint
    process = subprocess.Popen([BIN / "twistd", *options], cwd=folder)
    if pinned:
        os.sched_setaffinity(process.pid, {0})
    try:
        while True:
            with suppress(OSError):
                _, writer = await connect(port, BYSTANDER)
                writer.close()
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        yield process, port
    finally:
        process.terminate()
        process.wait()


def percentiles(waits):
    """Median and 99th percentile, in milliseconds."""
    return statistics.median(waits) * 1000, statistics.quantiles(waits, n=100)[98] * 1000


@asynccontextmanager
async def attacked(name, port):
    """An attack that is under way."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    attack = context.Process(target=run_attack, args=(name, port, ready))
    attack.start()
    try:
        await asyncio.to_thread(ready.wait)
        await asyncio.sleep(2)
        yield
    finally:
        attack.terminate()
        attack.join()


def descriptors(process):
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))


async def measure(name, folder, client, rounds, pinned):
    """Run one attack, and print its row of the table."""
    base, during, refused, good, logins = [], [], 0, 0, []
    async with server(folder, pinned) as (process, port):
        kind = Page()
        if name.startswith(AT_ONCE):
            kind = Refresh(client, await client.tokens(port, TOKENS))
        before, opened = memory_of(process.pid, "VmRSS"), descriptors(process)
        for _ in range(rounds):
            # The connections of the last round end.
            while descriptors(process) > opened + RATE:
                await asyncio.sleep(0.5)
            base += (await stand_by(port, kind))[0]
            async with attacked(name, port):
                waits, failed = await stand_by(port, kind)
                during += waits
                refused += failed
                held = descriptors(process)
                if name.startswith("logins"):
                    answered, waits = await good_logins(port)
                    good += answered
                    logins += waits
        times = (*percentiles(base), *percentiles(during))
        cells = [name, *(f"{value:.1f}" for value in times), f"{times[3] / times[1]:.2f}"]
        cells += [f"{refused} of {len(during)}", f"{before:.0f}"]
        cells += [f"{memory_of(process.pid, 'VmHWM'):.0f}", f"{held}"]
        answers = f"{good} of {len(logins)}, median {statistics.median(logins):.2f} s" if logins else ""
        cells.append(answers)
    print("| " + " | ".join(cells) + " |", flush=True)


async def main(names, rounds, pinned):
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = prepare(folder)
        if pinned:
            os.sched_setaffinity(0, {1})
        heads = (
            "attack",
            "median, ms",
            "p99",
            "attacked: median",
            "p99",
            "ratio of p99",
            "refused",
            "MiB",
        )
        print("| " + " | ".join([*heads, "most", "descriptors", "in 3 s"]) + " |")
        print("|---|" + "---:|" * (len(heads) + 1) + "---|")
        for attack in names or ATTACKS:
            await measure(attack, folder, client, rounds, pinned)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "name", nargs="*", choices=[*ATTACKS, []], help="the attacks; all, if none is named"
    )
    parser.add_argument("--rounds", type=int, default=1, help="times without and with the attack")
    parser.add_argument("--pinned", action="store_true", help="give the server its own processor")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.name, arguments.rounds, arguments.pinned))
