"""The answers to clients in each second, while the store is down for half a minute.

    python benchmarks/outage.py [redis | postgresql]

The benchmark starts Redis or PostgreSQL, and a `twistd djoauth2` on it. Eight clients call the API and
refresh without a pause. The store is killed after five seconds and starts again thirty seconds later.
The table has the number of each answer in each second, and the slowest answer of the second.
"""

import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS / "service"), str(TESTS / "outages")]

from outage_kit import PostgreSQL, Redis  # noqa: E402
from service_kit import DJOAUTH2, Answer, Application, Browser, Server, prepare, run  # noqa: E402

CLIENTS = 8
BEFORE, AWAY, AFTER = 5, 30, 10


class Load:
    """Clients that send requests without a pause, and their answers by second."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.began = 0.0
        self._ended = threading.Event()
        self.answers: dict[int, Counter[str]] = defaultdict(Counter)
        self.slowest: dict[int, float] = defaultdict(float)
        browser = Browser(server).log_in_as_user()
        self._codes = [browser.code() for _ in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._ask, args=(code,)) for code in self._codes]

    def start(self) -> None:
        """Start the clients."""
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the clients."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, code: str) -> None:
        tokens = Application(self._server).exchange(code).json
        while not self._ended.is_set():
            with suppress(OSError, HTTPException), Application(self._server) as application:
                while not self._ended.is_set():
                    self._time("api", application.user_info, tokens["access_token"])
                    answer = self._time("refresh", application.refresh, tokens["refresh_token"])
                    if answer.status == 200:
                        tokens = answer.json

    def _time(self, kind: str, ask: Callable[[str], Answer], token: str) -> Answer:
        asked = time.monotonic()
        status = 0
        try:
            answer = ask(token)
            status = answer.status
        finally:
            now = time.monotonic()
            second = int(now - self.began)
            self.answers[second][f"{kind} {status or 'none'}"] += 1
            self.slowest[second] = max(self.slowest[second], now - asked)
        return answer


def main(kind: str) -> None:
    """Measure, and print a table."""
    engine = PostgreSQL() if kind == "postgresql" else Redis()
    engine.start()
    if isinstance(engine, PostgreSQL):
        engine.make()
    server = None
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = prepare(Path(folder))
            options = ["--token-store", engine.url()]
            if kind == "postgresql":
                for words in (
                    ["--database", engine.url(), "database", "upgrade"],
                    ["database", "copy", "--to", engine.url()],
                ):
                    done = run(*DJOAUTH2, *words, folder=prepared.folder)
                    assert done.returncode == 0, done.stderr
                options = ["--database", engine.url()]
            server = Server.start(prepared, *options).wait_until_ready()
            load = Load(server)
            load.start()
            time.sleep(BEFORE)
            engine.kill()
            time.sleep(AWAY)
            engine.start()
            back = time.monotonic() - load.began
            time.sleep(AFTER)
            load.stop()
            _print(kind, load, back)
    finally:
        if server is not None:
            server.kill()
        engine.remove()


def _print(kind: str, load: Load, back: float) -> None:
    names = sorted({name for counter in load.answers.values() for name in counter})
    print(f"{kind}: killed at {BEFORE} s, answering again at {back:.1f} s\n")
    print("| second | " + " | ".join(names) + " | slowest |")
    print("|---" * (len(names) + 2) + "|")
    for second in sorted(load.answers):
        counts = " | ".join(str(load.answers[second][name] or "") for name in names)
        print(f"| {second} | {counts} | {load.slowest[second]:.2f} s |")
    print()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "redis")
