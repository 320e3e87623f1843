"""The longest time for which the reactor of the stand-alone server is busy, so that all others wait.

    python benchmarks/reactor_block.py [--seconds 10] [--write]

A turn is what the reactor does between two waits for events. The server is ``twistd djoauth2`` with
SQLite and TLS in its own process, which measures each of its turns. Some clients send one kind of
request without a pause, then another kind. While the last kind is sent, which is a mixture, the server
also prunes expired grants. Three times are measured of each turn:

    clock       by the clock
    own         without the time in which another process had the processor
    cpu         of the processor, by the reactor's thread alone

On a machine with other work, only the last one counts: the first two have times in which another thread
of the server had Python's lock, and no processor. The longest turns of over 5 ms are printed, with where
they were then. ``--write`` keeps the figures for the documentation.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
from contextlib import aclosing, closing
from pathlib import Path

#: The limit for a turn, in milliseconds.
LIMIT = 5.0

#: How many clients send at once.
CLIENTS = 16

#: How many expired grants are added before the last kind.
EXPIRED = 20_000

#: The server prunes once a minute, so the last kind takes longer than that, in seconds.
PRUNED = 75

#: The methods of `Requests` that are called in turn, for each kind.
KINDS = {
    "tokens": ["refresh"],
    "introspection": ["introspect", "introspect_unknown"],
    "guard": ["guard", "guard_unknown"],
    "login": ["login", "wrong_password"],
    "pages": ["page"],
    "mixed, and pruning": [
        "refresh",
        "introspect",
        "guard",
        "guard",
        "guard",
        "consent",
        "page",
        "login",
    ],
}

#: What the administrator's browser looks at.
PAGES = ["account/", "admin/", *(f"admin/{name}/" for name in ("clients", "users", "grants", "audit"))]

ADMINISTRATOR = "administrator"


# In the server's process.


class Turns:
    """Stands in for the reactor's epoll object, and measures the time from one `poll` to the next."""

    def __init__(self, poller):
        self._poller = poller
        self._thread = threading.get_ident()
        # The nanoseconds that this thread has run, and that it has waited for a processor.
        self._schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        self._begun = None
        self._collected = 0.0
        self._collecting_since = 0.0
        self.clear()
        gc.callbacks.append(self._collecting)
        threading.Thread(target=self._watch, daemon=True).start()

    def __getattr__(self, name):
        return getattr(self._poller, name)

    def clear(self):
        """Begin anew."""
        self.count, self.long = 0, []
        self.most = dict.fromkeys(("clock", "own", "cpu"), 0.0)
        self.over = dict.fromkeys(self.most, 0)

    def poll(self, *arguments):
        """End a turn, wait for events, and begin the next turn."""
        if self._begun is not None:
            self._ended(*self._begun)
        self._begun = None
        events = self._poller.poll(*arguments)
        self._seen, self._collected, self._events = "", 0.0, len(events)
        self._begun = (time.perf_counter(), *self._scheduled())
        return events

    def _scheduled(self):
        ran, waited, _ = os.pread(self._schedstat, 64, 0).split()
        return int(ran) / 1e9, int(waited) / 1e9

    def _ended(self, begun, ran, waited):
        clock = time.perf_counter() - begun
        ran_now, waited_now = self._scheduled()
        turn = {"clock": clock, "own": clock - (waited_now - waited), "cpu": ran_now - ran}
        turn = {name: round(1000 * seconds, 2) for name, seconds in turn.items()}
        self.count += 1
        for name, milliseconds in turn.items():
            self.most[name] = max(self.most[name], milliseconds)
            self.over[name] += milliseconds > LIMIT
        if turn["own"] > LIMIT:
            more = {"events": self._events, "gc": round(1000 * self._collected, 2), "at": self._seen}
            self.long.append({**turn, **more})

    def _collecting(self, phase, info):
        if threading.get_ident() == self._thread:
            if phase == "start":
                self._collecting_since = time.perf_counter()
            else:
                self._collected += time.perf_counter() - self._collecting_since

    def _watch(self):
        """Note where the reactor's thread is in a turn that is longer than the limit."""
        while True:
            time.sleep(0.002)
            begun = self._begun
            if begun is not None and not self._seen and time.perf_counter() - begun[0] > LIMIT / 1000:
                frame = sys._current_frames()[self._thread]
                places = traceback.extract_stack(frame)[-8:]
                self._seen = " < ".join(
                    f"{Path(place.filename).name}:{place.lineno} {place.name}"
                    for place in reversed(places)
                )

    def report(self, path):
        """Write the measured turns into a file, and forget them."""
        self.long.sort(key=lambda turn: -turn["cpu"])
        figures = {"turns": self.count, "over": self.over, "most": self.most, "long": self.long[:5]}
        path.with_suffix(".new").write_text(json.dumps(figures))
        path.with_suffix(".new").rename(path)
        self.clear()


def serve(path, *arguments):
    """Run ``twistd`` with these arguments. A signal makes it report into a file."""
    from twisted.internet import reactor
    from twisted.scripts.twistd import run

    turns = reactor._poller = Turns(reactor._poller)
    signal.signal(signal.SIGUSR2, lambda number, frame: turns.report(path))
    sys.argv = ["twistd", *arguments]
    run()


# In the clients' process.


async def report_of(server, path):
    """What the server has measured since the last report."""
    server.signal(signal.SIGUSR2)
    while not path.exists():
        await asyncio.sleep(0.01)
    figures = json.loads(path.read_text())
    path.unlink()
    return figures


def add_expired_grants(database):
    """Add copies of the grants in use that have expired."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(djoauth2_grant)")]
        unique = {"id": "hex(randomblob(15))", "expires": "1"}
        for name in ("code_digest", "family_digest"):
            unique[name] = "randomblob(32)"
        values = ", ".join(unique.get(name, f"g.{name}") for name in names)
        connection.execute(
            f"INSERT INTO djoauth2_grant ({', '.join(names)}) SELECT {values} FROM djoauth2_grant g, "
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
            f"SELECT i FROM n) LIMIT {EXPIRED}"
        )


async def send(requests, methods, seconds):
    """Let some clients send requests without a pause. Returns how many actions they took."""
    end, taken = time.perf_counter() + seconds, 0

    async def repeat():
        nonlocal taken
        while time.perf_counter() < end:
            await requests.act(random.choice(methods), time.perf_counter())
            taken += 1

    await asyncio.gather(*(repeat() for _ in range(CLIENTS)))
    return taken


async def measure(server, requests, path, seconds):
    """Measure each kind. Returns the figures by kind."""
    figures = {}
    for kind, methods in KINDS.items():
        if kind == "mixed, and pruning":
            add_expired_grants(server.prepared.database)
            seconds = max(seconds, PRUNED)
        await report_of(server, path)
        taken = await send(requests, methods, seconds)
        figures[kind] = {"actions": taken, **await report_of(server, path)}
        print(row(kind, figures[kind]), flush=True)
        for turn in figures[kind]["long"]:
            print(f"    {turn}", flush=True)
    return figures


def row(kind, measured):
    """The row of the table of a kind."""
    most, over = measured["most"], measured["over"]
    times = " | ".join(f"{most[name]:.1f} ({over[name]})" for name in ("clock", "own", "cpu"))
    return f"| {kind} | {measured['actions']} | {measured['turns']} | {times} |"


def main():
    """Read the options, and run."""
    import recorded
    import soak
    from soak import PASSWORD, Browser, Record, Traffic, make_world

    # Fewer than in a soak, so that this begins sooner.
    soak.USERS, soak.GRANTS = 4, 60

    class Requests(Traffic):
        """The traffic of `soak.py`, and an administrator who looks at pages."""

        async def prepare(self):
            """Make the first grants, and log the administrator in."""
            await self.begin()
            self._administrator = Browser(self, ADMINISTRATOR)
            await self._administrator.log_in(PASSWORD, 303)

        async def page(self):
            """Look at a page."""
            await self._administrator._ask("page", 200, "GET", f"/oauth2/{random.choice(PAGES)}")

    async def run(folder, seconds):
        path = folder / "turns.json"
        program = (sys.executable, __file__, "serve", str(path), "-n", "--pidfile=")
        server, resource_server = make_world(folder, program, administrator=ADMINISTRATOR)
        try:
            with closing(Record(folder / "unexpected.txt")) as record:
                async with aclosing(Requests(server, resource_server, record)) as requests:
                    await requests.prepare()
                    figures = await measure(server, requests, path, seconds)
                    record.write([])
                    if record.unexpected:
                        print((folder / "unexpected.txt").read_text()[:2000])
                    return figures
        finally:
            server.stop()

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10, help="for each kind of request")
    parser.add_argument("--write", action="store_true", help="keep the figures in results/")
    arguments = parser.parse_args()
    print("The longest turn in ms, and in brackets how many turns were over 5 ms:\n")
    print("| requests | actions | turns | by the clock | without others | of CPU |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(run(Path(folder), arguments.seconds))
    if arguments.write:
        recorded.write("reactor_block", figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]), *sys.argv[3:])
    else:
        main()
