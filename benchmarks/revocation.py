"""The time until a revocation at one process takes effect at another.

    python benchmarks/revocation.py [ROUNDS [URL ...]]

Each URL names a store for two `twistd djoauth2`: an empty SQL database, or a numbered database of Redis;
the default is a SQLite file. In each round a token is issued and used at the second process, which then
has it in its cache. The token is revoked at the first process by ``POST /oauth2/revoke/``, and used at
the second without a pause until it is refused. The table has the time from the answer to the revocation
to the first refusal, in milliseconds; in how many rounds the token was still accepted, and how long
after the answer the last such use began; and the CPU time of the second process while it is in use and,
in brackets, while it is idle.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "service"))

from service_kit import (
    DJOAUTH2,
    Application,
    Browser,
    Server,
    prepare,
    run,
)

#: Uses of a token before it is revoked. The first one looks it up.
USES = 5
#: How long CPU time is measured, in seconds.
WATCHED = 10


def options_for(url, prepared):
    """Prepare a store. Returns the server's options for it."""
    if not url:
        return ()
    if url.startswith("redis"):
        return ("--token-store", url)
    for words in (["--database", url, "database", "upgrade"], ["database", "copy", "--to", url]):
        done = run(*DJOAUTH2, *words, folder=prepared.folder)
        assert done.returncode == 0, done.stderr
    return ("--database", url)


def rounds_of(first, second, count):
    """For each round the time to the first refusal, and to the last accepted use, or 0, in ms."""
    code = Browser(first).log_in_as_user().code()
    with Application(first) as one, Application(second) as other:
        pair = one.exchange(code).json
        for _ in range(count):
            token = pair["access_token"]
            for _ in range(USES):
                assert other.user_info(token).status == 200
            assert one.revoke(token).status == 200
            revoked, accepted = time.perf_counter(), 0
            while (asked := time.perf_counter()) and other.user_info(token).status == 200:
                accepted = asked - revoked
            yield 1000 * (time.perf_counter() - revoked), 1000 * accepted
            pair = one.refresh(pair["refresh_token"]).json


def cpu(server):
    """The CPU time that a process has used, in seconds."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watched(server, token):
    """The CPU time of a process in percent, with two requests a second, and without requests."""
    used = []
    for asks in (True, False):
        time.sleep(3)
        before = cpu(server)
        with Application(server) as application:
            for _ in range(2 * WATCHED):
                if asks:
                    assert application.user_info(token).status == 200
                time.sleep(0.5)
        used.append(100 * (cpu(server) - before) / WATCHED)
    return used


def measure(count, url):
    """Measure one store, and print its row."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(Path(folder))
        options = options_for(url, prepared)
        first, second = (Server.start(prepared, *options, log=name) for name in ("first", "second"))
        try:
            first.wait_until_ready()
            second.wait_until_ready()
            results = list(rounds_of(first, second, count))
            code = Browser(first).log_in_as_user().code()
            with Application(first) as one:
                token = one.exchange(code).json["access_token"]
            busy, idle = watched(second, token)
        finally:
            first.kill()
            second.kill()
    times = sorted(time for time, _ in results)
    shares = (0.5, 0.9, 0.99)
    cells = [f"{times[int(share * (len(times) - 1))]:.1f}" for share in shares]
    accepted = [late for _, late in results if late]
    cells += [f"{times[-1]:.1f}", f"{len(accepted)}, {max(accepted, default=0):.1f}"]
    cells.append(f"{busy:.1f} % ({idle:.1f} %)")
    name = url.partition(":")[0].partition("+")[0] or "sqlite"
    print(f"| {name} | {count} | " + " | ".join(cells) + " |", flush=True)


def main(rounds="1000", *urls):
    """Measure and print."""
    heads = "store", "rounds", "p50", "p90", "p99", "max", "let in, at the latest", "CPU in use (idle)"
    print(f"| {' | '.join(heads)} |")
    print("|---" * len(heads) + "|")
    for url in urls or ("",):
        measure(int(rounds), url)


if __name__ == "__main__":
    main(*sys.argv[1:])
