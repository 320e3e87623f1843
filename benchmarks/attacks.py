"""The effect of an attack on other clients: their waits, and the server's memory, before and during it.

    python benchmarks/attacks.py [NAME ...]

The stand-alone server runs with TLS in its own process, and the attack in another. A bystander at
another address requests the login page fifty times a second, over connections that stay open. During an
attack on logins, there are a hundred logins from other addresses. The table has the bystander's median
and 99th percentile before and during the attack, how many requests were not answered with 200, and the
server's memory. A wait begins when the request is due. The attack has the lowest priority, because a
true one has a processor of its own.

To compare with another release, run this file with the Python that has it installed.
"""

import argparse
import asyncio
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
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

#: Addresses of this machine, for the attacker and for the bystander.
ATTACKER, BYSTANDER = "127.0.0.9", "127.0.0.2"

PASSWORD = "correct horse battery staple"
USERS = 20

#: The bystander's requests per second, and for how many seconds they go on.
RATE, SECONDS = 50, 10.0

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
    """Repeat an action for ever, even if the server closes the connection."""
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


async def log_in(port, address, username, password, wait=True):
    """Log in with a new browser. Returns the status of the answer, or None without ``wait``."""
    reader, writer = await connect(port, address)
    try:
        writer.write(b"GET /oauth2/login/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        _, head, page = await answer_of(reader)
        cookie = re.findall(r"(?i)set-cookie: ([^;]+)", head)[0]
        token = re.findall('name="csrf_token"[^>]*value="([^"]+)', page)[0]
        body = urlencode({"csrf_token": token, "username": username, "password": password})
        head = f"Host: localhost\r\nCookie: {cookie}\r\n{FORM}\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"POST /oauth2/login/ HTTP/1.1\r\n{head}\r\n{body}".encode())
        await writer.drain()
        if not wait:
            await asyncio.sleep(0.05)
            return None
        status, _, _ = await answer_of(reader)
        return status
    finally:
        writer.close()


ATTACKS = {
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


def run_attack(name, port):
    """Run an attack. This is the target of a process."""
    os.nice(19)
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(name, port))


async def _run(name, port):
    await ATTACKS[name](port)


# The bystander.


async def stand_by(port):
    """Request the login page regularly. Returns the waits in seconds, and how many requests failed."""
    waits, refused = [], 0
    connections = asyncio.Queue()

    async def ask(when):
        nonlocal refused
        try:
            pair = (
                connections.get_nowait() if not connections.empty() else await connect(port, BYSTANDER)
            )
            pair[1].write(b"GET /oauth2/login/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            status, _, _ = await asyncio.wait_for(answer_of(pair[0]), 60)
            refused += status != 200
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


def prepare(folder):
    """Make a certificate, and users that can log in."""
    subprocess.run([BIN / "djoauth2", "certificate", "localhost"], cwd=folder, check=True, stdout=-3)
    for number in range(USERS):
        command = [BIN / "djoauth2", "user", "add", f"user{number}", "--password-stdin"]
        subprocess.run(command, cwd=folder, check=True, stdout=-3, input=f"{PASSWORD}\n".encode())


@asynccontextmanager
async def server(folder):
    """A new server process, and its port."""
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1"
    command = [
        BIN / "twistd",
        "-n",
        "--pidfile=",
        "--logfile=twistd.log",
        "djoauth2",
        "--port",
        endpoint,
    ]
    process = subprocess.Popen(command, cwd=folder)
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


async def measure(name, folder):
    """Run one attack, and print its row of the table."""
    async with server(folder) as (process, port):
        base, _ = await stand_by(port)
        before = memory_of(process.pid, "VmRSS")
        attack = multiprocessing.get_context("spawn").Process(target=run_attack, args=(name, port))
        attack.start()
        try:
            await asyncio.sleep(2)
            during, refused = await stand_by(port)
            cells = [name, *(f"{value:.1f}" for value in (*percentiles(base), *percentiles(during)))]
            cells += [
                f"{refused} of {len(during)}",
                f"{before:.0f}",
                f"{memory_of(process.pid, 'VmHWM'):.0f}",
            ]
            if name.startswith("logins"):
                good, waits = await good_logins(port)
                cells.append(f"{good} of {len(waits)}, median {statistics.median(waits):.2f} s")
            else:
                cells.append("")
        finally:
            attack.terminate()
            attack.join()
    print("| " + " | ".join(cells) + " |", flush=True)


async def main(names):
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        print("| attack | median, ms | p99 | attacked: median | p99 | refused | MiB | most | in 3 s |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|---|")
        for attack in names or ATTACKS:
            await measure(attack, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "name", nargs="*", choices=[*ATTACKS, []], help="the attacks; all, if none is named"
    )
    asyncio.run(main(parser.parse_args().name))
