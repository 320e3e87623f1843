"""A stand-alone server under mixed traffic for hours: does anything grow, and does anything fail?

    python benchmarks/soak.py FOLDER [--seconds 7200] [--rate 100] [--pinned]
    python benchmarks/soak.py FOLDER --saturation 20 [--pinned]

The server is ``twistd djoauth2`` with SQLite and TLS in its own process. Its settings are the defaults,
but tokens live for minutes, so that grants end and are pruned all the time. Requests are sent at a fixed
rate, in the proportions of `KINDS`. A wait begins when the request is due. FOLDER gets soak.csv,
which has a row for every ten seconds; unexpected.txt, which has every answer that was not expected, with
the lines of the server's log from that second; and the server's own log. `soak_plot.py` draws the rows.

With ``--saturation``, some clients send the same mix without a pause for so many seconds, and the number
of answers per second is printed. With ``--pinned``, the server has the first processor, and the clients
have the second.
"""

import argparse
import asyncio
import base64
import csv
import json
import os
import random
import re
import sqlite3
import statistics
import sys
import time
from collections import Counter, defaultdict, deque
from contextlib import aclosing, closing
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "service"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from service_kit import DJOAUTH2, REDIRECT_URI, TWISTD, Server, prepare, run
from soak_client import Client, Connection

from djoauth2_twisted.cli.demo.walk import Form

PASSWORD = "correct horse battery staple"
USERS = 20

#: How many grants are in use. Older ones are left alone until they end, or are revoked.
GRANTS = 400

#: Seconds. The defaults are an hour, and thirty days.
SETTINGS = {
    "DJOAUTH2_ACCESS_TOKEN_LIFETIME": "120",
    "DJOAUTH2_REFRESH_TOKEN_LIFETIME": "300",
    "DJOAUTH2_AUTHORIZATION_CODE_LIFETIME": "60",
}

#: How much may be under way at once. Beyond it, what is due is skipped, and counted.
MAX_AT_ONCE = 64

#: The time between two rows, in seconds.
SAMPLED = 10

#: Clients that send without a pause, to find the saturation.
CLOSED_LOOP = 16

#: What a row counts, and in which table.
TABLES = {
    "grants": "djoauth2_grant",
    "tokens": "djoauth2_token",
    "sessions": "djoauth2_session",
    "failures": "djoauth2_failure",
    "events": "djoauth2_event",
}


class Unexpected(Exception):
    """An answer has another status than the request should have."""

    def __init__(self, wanted, answer, path):
        super().__init__(f"{path}: {answer.status} instead of {wanted}: {answer.body[:200]!r}")
        self.path = path


class Pair:
    """An access token and a refresh token. ``uses`` says how many requests have the access token now."""

    def __init__(self, answer):
        self.access, self.refresh = answer["access_token"], answer["refresh_token"]
        self.uses = 0


class Record:
    """What has been answered since the last row."""

    def __init__(self, path):
        self._file = path.open("a")
        self.unexpected = 0
        self.clear()

    def close(self):
        """Close the file."""
        self._file.close()

    def clear(self):
        """Begin a new row."""
        self.statuses, self.waits, self.failed, self.skipped = Counter(), defaultdict(list), [], 0

    def answered(self, kind, answer, wait):
        """Count an answer."""
        self.statuses[answer.status] += 1
        self.waits[kind].append(wait)

    def fail(self, kind, error):
        """Note a failure, to be written with the log's lines."""
        self.unexpected += 1
        self.failed.append((time.time(), kind, f"{type(error).__name__}: {error}"))

    def write(self, lines):
        """Write down all failures, each with the lines of the log from its second and the next ones."""
        for when, kind, text in self.failed:
            self._file.write(f"{time.strftime('%H:%M:%S', time.gmtime(when))} {kind}: {text}\n")
            near = {time.strftime("%H:%M:%S", time.gmtime(when + offset)) for offset in (-1, 0, 1)}
            self._file.writelines(f"    {line}\n" for line in lines if line[11:19] in near)
        self._file.flush()


#: The methods of `Traffic` that send something, and how often in proportion to the others.
KINDS = {
    "guard": 600,
    "refresh": 200,
    "introspect": 80,
    "introspect_unknown": 5,
    "health": 20,
    "metadata": 20,
    "consent": 8,
    "login": 3,
    "revoke": 5,
    "replay": 2,
    "guard_unknown": 10,
    "guard_malformed": 5,
    "wrong_secret": 2,
    "wrong_code": 5,
    "wrong_client": 3,
    "wrong_path": 3,
    "wrong_method": 3,
    "wrong_password": 0.3,
    "hang_up": 5,
}


class Traffic:
    """Applications, browsers and strangers."""

    def __init__(self, server, resource_server, record):
        self._prepared, self._port, self._record = server.prepared, server.port, record
        self._application = Client(self._port, "127.0.0.2")
        self._api = Client(self._port, "127.0.0.3")
        self._resource_server = Client(self._port, "127.0.0.4")
        self._credentials = basic(server.prepared.client_id, server.prepared.client_secret)
        self._resource_server_credentials = basic(*resource_server)
        self._pool = deque()
        self._left = deque()
        self._browsers = []
        self._users = 0
        self._due = 0.0
        self._asked = 0

    async def aclose(self):
        """Close the connections that are open."""
        for client in (self._application, self._api, self._resource_server):
            await client.aclose()

    # How requests are sent.

    async def _ask(self, kind, client, wanted, method, path, form=None, headers=()):
        """Send a request. Its answer is counted, and must have the wanted status."""
        due = self._due_of.pop(asyncio.current_task(), None) or time.perf_counter()
        self._asked += 1
        answer = await client.ask(method, path, form, headers)
        self._record.answered(kind, answer, time.perf_counter() - due)
        if answer.status != wanted:
            raise Unexpected(wanted, answer, path.partition("?")[0])
        return answer

    async def _stranger(self, kind, wanted, method, path, form=None, headers=()):
        """Send a request from one of many addresses, so that no throttle answers it."""
        async with aclosing(Client(self._port, strange_address())) as client:
            return await self._ask(kind, client, wanted, method, path, form, headers)

    def _pair(self):
        """A pair that is in use."""
        return self._pool[random.randrange(len(self._pool))]

    def _take(self, pairs):
        """Remove the oldest pair that no request has now. None if there is none."""
        for _ in range(len(pairs)):
            pair = pairs.popleft()
            if not pair.uses:
                return pair
            pairs.append(pair)
        return None

    # What is done. Each is a kind of `KINDS`.

    async def guard(self):
        pair = self._pair()
        pair.uses += 1
        try:
            headers = [bearer(pair.access)]
            await self._ask("guard", self._api, 200, "GET", "/api/user_info/", None, headers)
        finally:
            pair.uses -= 1

    async def introspect(self):
        pair = self._pair()
        pair.uses += 1
        try:
            answer = await self._introspect(pair.access, self._resource_server)
            if not json.loads(answer.body)["active"]:
                raise Unexpected("active", answer, "/oauth2/introspect/")
        finally:
            pair.uses -= 1

    async def introspect_unknown(self):
        async with aclosing(Client(self._port, strange_address())) as client:
            await self._introspect(random.randbytes(15).hex(), client)

    async def _introspect(self, token, client):
        path, headers = "/oauth2/introspect/", [self._resource_server_credentials]
        return await self._ask("introspect", client, 200, "POST", path, {"token": token}, headers)

    async def refresh(self):
        pair = self._take(self._pool)
        if pair is not None:
            self._pool.append(await self._refresh(pair))

    async def _refresh(self, pair):
        answer = await self._token(200, grant_type="refresh_token", refresh_token=pair.refresh)
        return Pair(json.loads(answer.body))

    async def _token(self, wanted, **form):
        headers = [self._credentials]
        return await self._ask(
            "token", self._application, wanted, "POST", "/oauth2/token/", form, headers
        )

    async def replay(self):
        pair = self._take(self._pool)
        if pair is not None:
            await self._refresh(pair)
            await self._token(400, grant_type="refresh_token", refresh_token=pair.refresh)

    async def revoke(self):
        pair = self._take(self._left) or self._take(self._pool)
        if pair is not None:
            form, headers = {"token": pair.refresh}, [self._credentials]
            path = "/oauth2/revoke/"
            await self._ask("revoke", self._application, 200, "POST", path, form, headers)

    async def login(self):
        """Log in with a new browser, consent, and exchange the code. An older browser logs out."""
        browser = Browser(self, self._next_user())
        await browser.log_in(PASSWORD, 303)
        await self._flow(browser)
        self._browsers.append(browser)
        if len(self._browsers) > USERS:
            await self._browsers.pop(0).log_out()

    async def consent(self):
        """Consent with a browser that is logged in, and exchange the code."""
        if self._browsers:
            # The last ones are logged in for a while yet.
            await self._flow(random.choice(self._browsers[-USERS // 2 :]))

    async def _flow(self, browser):
        code = await browser.code(self._prepared.client_id)
        answer = await self._token(
            200, grant_type="authorization_code", code=code, redirect_uri=REDIRECT_URI
        )
        self._pool.append(Pair(json.loads(answer.body)))
        if len(self._pool) > GRANTS:
            left = self._take(self._pool)
            if left is not None:
                self._left.append(left)
        if len(self._left) > USERS:
            # This grant is not used again: it expires, and is pruned.
            self._left.popleft()

    async def health(self):
        await self._ask("page", self._api, 200, "GET", "/healthz")

    async def metadata(self):
        await self._ask("page", self._api, 200, "GET", "/.well-known/oauth-authorization-server")

    async def guard_unknown(self):
        headers = [bearer(random.randbytes(15).hex())]
        await self._stranger("wrong", 401, "GET", "/api/user_info/", None, headers)

    async def guard_malformed(self):
        headers = ["Authorization: Bearer two words"]
        await self._stranger("wrong", 400, "GET", "/api/user_info/", None, headers)

    async def wrong_secret(self):
        form = {"grant_type": "refresh_token", "refresh_token": self._pair().refresh}
        headers = [basic(self._prepared.client_id, "wrong")]
        await self._stranger("wrong", 401, "POST", "/oauth2/token/", form, headers)

    async def wrong_code(self):
        await self._token(400, grant_type="authorization_code", code=random.randbytes(15).hex())

    async def wrong_client(self):
        query = urlencode({"response_type": "code", "client_id": "nobody", "state": "s"})
        await self._stranger("wrong", 400, "GET", f"/oauth2/authorization/?{query}")

    async def wrong_path(self):
        await self._stranger("wrong", 404, "GET", "/oauth2/nothing/")

    async def wrong_method(self):
        await self._stranger("wrong", 405, "GET", "/oauth2/token/")

    async def wrong_password(self):
        await Browser(self, self._next_user()).log_in("wrong", 403)

    async def hang_up(self):
        """Send a part of a request, and go away."""
        connection = await Connection.open(self._port, strange_address())
        head = b"POST /oauth2/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
        connection.send(head + b"a")
        connection.abort()

    def _next_user(self):
        self._users += 1
        return f"user{self._users % USERS}"

    # How often.

    async def begin(self):
        """Make the first grants, with one login of each user."""
        self._due_of = {}
        for _ in range(USERS):
            await self.login()
        for _ in range(GRANTS - USERS):
            await self.consent()

    async def act(self, kind, due):
        """Do what a kind says, and note its failure. ``due`` is a time of `time.perf_counter`."""
        self._due_of[asyncio.current_task()] = due
        try:
            await getattr(self, kind)()
        except (Unexpected, OSError, asyncio.IncompleteReadError, LookupError, ValueError) as error:
            self._record.fail(kind, error)
        finally:
            self._due_of.pop(asyncio.current_task(), None)

    async def at_rate(self, rate, end):
        """Send ``rate`` requests a second until a time of `time.perf_counter`."""
        kinds, weights = list(KINDS), list(KINDS.values())
        begun, self._asked, skipped, tasks = time.perf_counter(), 0, 0, set()
        while (now := time.perf_counter()) < end:
            # An action may have several requests, so the next one is due by the number of those sent.
            due = begun + (self._asked + skipped) / rate
            if due > now:
                await asyncio.sleep(due - now)
            if len(tasks) == MAX_AT_ONCE:
                skipped += 1
                self._record.skipped += 1
                continue
            task = asyncio.create_task(self.act(random.choices(kinds, weights)[0], due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    async def without_pause(self, end):
        """Send requests without a pause until a time, by several clients. Returns their number."""
        kinds, weights = list(KINDS), list(KINDS.values())
        self._asked = 0

        async def repeat():
            while time.perf_counter() < end:
                await self.act(random.choices(kinds, weights)[0], time.perf_counter())

        await asyncio.gather(*(repeat() for _ in range(CLOSED_LOOP)))
        return self._asked


class Browser:
    """A browser at its own address."""

    def __init__(self, traffic, username):
        self._traffic, self._username = traffic, username
        self._cookies = {}

    async def _ask(self, kind, wanted, method, path, form=None):
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = [f"Cookie: {cookies}"] if cookies else []
        answer = await self._traffic._stranger(kind, wanted, method, path, form, headers)
        for cookie in answer.headers("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer

    async def log_in(self, password, wanted):
        """Log in, or try to."""
        form = Form((await self._ask("page", 200, "GET", "/oauth2/login/?next=/oauth2/login/")).body)
        fields = {**form.fields, "username": self._username, "password": password}
        await self._ask("login", wanted, "POST", "/oauth2/login/", fields)

    async def log_out(self):
        """Log out."""
        form = Form((await self._ask("page", 200, "GET", "/oauth2/logout/")).body)
        await self._ask("page", 303, "POST", "/oauth2/logout/", form.fields)

    async def code(self, client_id):
        """Consent, and return the code."""
        asked = {"response_type": "code", "client_id": client_id, "redirect_uri": REDIRECT_URI}
        query = urlencode({**asked, "scope": "user_info", "state": random.randbytes(8).hex()})
        page = await self._ask("page", 200, "GET", f"/oauth2/authorization/?{query}")
        form = Form(page.body)
        fields = {**form.fields, "user_action": "Accept"}
        answer = await self._ask("page", 303, "POST", form.action, fields)
        return parse_qs(urlsplit(answer.headers("location")[0]).query)["code"][0]


def basic(name, password):
    """A header of HTTP Basic credentials."""
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def bearer(token):
    """A header of an access token."""
    return f"Authorization: Bearer {token}"


def strange_address():
    """One of 250 addresses of this machine. Failures are counted by address for two hours."""
    return f"127.0.1.{random.randrange(1, 251)}"


# The rows.


def state_of(server):
    """CPU seconds, MiB of memory, descriptors, threads, bytes of the database, and numbers of rows."""
    proc = Path(f"/proc/{server.process.pid}")
    status = (proc / "status").read_text()
    database = server.prepared.database
    wal = Path(f"{database}-wal")
    times = (proc / "stat").read_text().rpartition(")")[2].split()[11:13]
    row = {
        "cpu_seconds": sum(map(int, times)) / os.sysconf("SC_CLK_TCK"),
        "rss_mib": round(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, 1),
        "descriptors": len(list((proc / "fd").iterdir())),
        "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),
        "database_bytes": database.stat().st_size,
        "wal_bytes": wal.stat().st_size if wal.exists() else 0,
    }
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for name, table in TABLES.items():
            row[name] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return row


def answers_of(record):
    """The numbers of answers by status, and the waits in milliseconds."""
    row = {f"status_{status}": 0 for status in (200, 303, 400, 401, 403, 404, 405, 429, 500, 503)}
    row |= {f"status_{status}": count for status, count in record.statuses.items()}
    for kind in ("guard", "token", "introspect", "page", "login"):
        waits = [wait * 1000 for wait in record.waits[kind]] or [0]
        row[f"p50_{kind}_ms"] = round(statistics.median(waits), 1)
        row[f"p99_{kind}_ms"] = round(sorted(waits)[int(len(waits) * 0.99)], 1)
    return {**row, "skipped": record.skipped, "unexpected": record.unexpected}


async def write_rows(server, record, folder, end):
    """Write a row every ten seconds until a time of `time.perf_counter`."""
    begun = time.perf_counter()
    with server.log.open() as log, (folder / "soak.csv").open("w", newline="") as file:
        writer, number = None, 0
        while (now := time.perf_counter()) < end:
            number += 1
            await asyncio.sleep(begun + number * SAMPLED - now)
            row = {"seconds": round(time.perf_counter() - begun), **state_of(server)}
            row["load"] = os.getloadavg()[0]
            row |= answers_of(record)
            record.write(log.read().splitlines())
            record.clear()
            if writer is None:
                writer = csv.DictWriter(file, list(row), extrasaction="ignore")
                writer.writeheader()
            writer.writerow(row)
            file.flush()


# All together.


def make_world(folder, program=(*TWISTD, "-n", "--pidfile="), administrator=None):
    """Prepare a folder with users and a resource server, and start the server.

    :param program: runs the server, as ``twistd`` does.
    :param administrator: the name of a user who is an administrator.
    """
    prepared = prepare(folder)

    def command(*words, stdin=""):
        done = run(*DJOAUTH2, *words, folder=folder, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for number in range(USERS):
        command("user", "add", f"user{number}", "--password-stdin", stdin=f"{PASSWORD}\n")
    if administrator:
        command("user", "add", administrator, "--admin", "--password-stdin", stdin=f"{PASSWORD}\n")
    added = json.loads(command("client", "add", "--name", "API", "--resource-server", "--json"))
    server = Server.start(prepared, program=program, variables=SETTINGS).wait_until_ready()
    return server, (added["client_id"], added["client_secret"])


async def soak(server, resource_server, folder, arguments):
    """Send the traffic, and write the rows."""
    with closing(Record(folder / "unexpected.txt")) as record:
        async with aclosing(Traffic(server, resource_server, record)) as traffic:
            await traffic.begin()
            record.clear()
            if arguments.saturation:
                asked = await traffic.without_pause(time.perf_counter() + arguments.saturation)
                print(f"{asked / arguments.saturation:.0f} requests per second", answers_of(record))
            else:
                end = time.perf_counter() + arguments.seconds
                rows = asyncio.create_task(write_rows(server, record, folder, end))
                await asyncio.gather(traffic.at_rate(arguments.rate, end), rows)


def main():
    """Read the options, and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=7200)
    parser.add_argument("--rate", type=float, default=100, help="requests per second")
    parser.add_argument("--saturation", type=float, help="send without a pause for so many seconds")
    parser.add_argument("--pinned", action="store_true", help="a processor each for server and clients")
    arguments = parser.parse_args()
    # The server's key is in there.
    arguments.folder.mkdir(parents=True, mode=0o700)
    os.umask(0o077)
    program = (*TWISTD, "-n", "--pidfile=")
    if arguments.pinned:
        os.sched_setaffinity(0, {1})
        program = ("taskset", "--cpu-list", "0", *program)
    server, resource_server = make_world(arguments.folder, program=program)
    try:
        asyncio.run(soak(server, resource_server, arguments.folder, arguments))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
