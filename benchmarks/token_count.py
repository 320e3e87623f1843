"""What a look-up and a refresh cost among few and among many tokens.

    python benchmarks/token_count.py [--write] [COUNT ...]

For each count, a new SQLite file is filled with as many grants, each with an access and a refresh token
(`growth_sizes.py`). Then random tokens are looked up and refreshed, 64 at once, through the token store,
without HTTP and without the cache of access tokens. The table has microseconds of the process's CPU time
for each, the least of some rounds. ``--write`` keeps the figures for the documentation.
"""

import argparse
import itertools
import random
import sys
import tempfile
import time

import growth_sql
import recorded
from growth_sizes import DAY, Bulk, Size
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from djoauth2_twisted.credentials import digest, random_string
from djoauth2_twisted.models import Issuance, Issued, RefreshProof
from djoauth2_twisted.stores.urls import from_url

COUNTS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)

#: How many calls are made at once, and in how many rounds.
CALLS, ROUNDS = 64, 12


async def least(rounds, call):
    """The CPU microseconds of a call, the least of some rounds."""
    took = []
    for some in rounds:
        begun = time.process_time()
        await gatherResults([call(*each) for each in some])
        took.append((time.process_time() - begun) / len(some) * 1e6)
    return round(min(took), 1)


def sample(bulk):
    """Random tokens of grants that have not expired, in rounds."""
    step = max(1, bulk.size.grants // (3 * CALLS * ROUNDS))
    pairs = [
        pair for pair in itertools.islice(bulk.pairs(), 0, None, step) if pair[2].expires > bulk.now
    ]
    pairs = random.sample(pairs, min(len(pairs), CALLS * ROUNDS))
    return [pairs[start : start + CALLS] for start in range(0, len(pairs), CALLS)]


async def measure(reactor, url, bulk):
    """Fill a database, and measure it."""
    await growth_sql.prepare(reactor, url)
    growth_sql.load(url, bulk)
    opened, _, tokens = from_url(reactor, url)
    opened.open()
    await opened.connect()

    async def look_up(access, refresh, grant):
        # The bulk's access tokens last an hour from a use that may be long ago.
        assert await tokens.find_access_token(access)

    async def rotate(access, refresh, grant):
        issuance = Issuance(
            now=bulk.now,
            access_digest=digest(random_string(30)),
            access_expires=bulk.now + 3600,
            refresh_digest=digest(random_string(30)),
            refresh_expires=bulk.now + 30 * DAY,
            family_digest=grant.family,
        )
        proof = RefreshProof(grant.client, None)
        assert isinstance(await tokens.rotate_refresh_token(refresh, proof, issuance), Issued)

    try:
        rounds = sample(bulk)
        looked_up = await least(rounds, as_call(look_up))
        return {"look-up": looked_up, "refresh": await least(rounds, as_call(rotate))}
    finally:
        await opened.close()


def as_call(function):
    """A coroutine function as one that returns a Deferred."""
    return lambda *arguments: Deferred.fromCoroutine(function(*arguments))


async def main(reactor, *words):
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("counts", nargs="*", type=int, default=COUNTS)
    parser.add_argument("--write", action="store_true", help="keep the figures in results/")
    arguments = parser.parse_args(words)
    print("| tokens | look-up | refresh |\n|---:|---:|---:|")
    figures = {}
    for count in arguments.counts:
        size = Size(users=max(100, count // 10), clients=100, grants=count, before=0, used=0)
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/tokens.db"
            figures[count] = await measure(reactor, url, Bulk(size, int(time.time())))
        print(f"| {count:,} | {figures[count]['look-up']} | {figures[count]['refresh']} |", flush=True)
    if arguments.write:
        recorded.write("token_count", figures)


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
