"""The memory of a cached access token, in bytes.

    python benchmarks/cached_tokens.py [--write] [COUNT]

A server in this process, with SQLite, looks up so many tokens, each of another grant, and keeps them in
its cache. Python counts the bytes that it has allocated for them, so what else the machine does does not
matter. ``--write`` keeps the figure for the documentation.
"""

import argparse
import gc
import sys
import tempfile
import time
import tracemalloc

import recorded
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.credentials import digest, random_string
from djoauth2_twisted.models import CodeProof, Grant, Issuance, ResourceOwner

CLIENT_ID, REDIRECT_URI = random_string(30), "https://app.example/callback"

#: How many are issued or looked up at once.
CONCURRENCY = 32


async def issue(tokens, number):
    """Issue an access token to a user of his own, and return it."""
    now, code, value = int(time.time()), random_string(30), random_string(30)
    name = f"user{number}"
    owner = ResourceOwner(name, "Ada", "Lovelace", f"{name}@example.com", random_string(22))
    scopes = ("user_info", "photos")
    owned = random_string(30), CLIENT_ID, owner, scopes, now, now, now + 600
    await tokens.add_code(Grant(*owned, digest(code), now + 600, REDIRECT_URI, None))
    issuance = Issuance(now, digest(value), now + 3600, digest(random_string(30)), now + 3600)
    await tokens.redeem_code(digest(code), CodeProof(CLIENT_ID, REDIRECT_URI, None), issuance)
    return value


async def each(items, act):
    """The results of an action for each item."""
    left, results = iter(items), []

    async def some():
        for item in left:
            results.append(await act(item))

    await gatherResults([Deferred.fromCoroutine(some()) for _ in range(CONCURRENCY)])
    return results


async def bytes_per_token(reactor, url, count):
    """Issue and look up so many tokens. Returns the bytes of each in the cache."""
    server = AuthorizationServer.from_url(reactor, url, issuer="https://localhost")
    server.startService()
    await server.when_ready()
    cache = server._verifier.cache
    try:
        values = await each(range(2 * count), lambda number: issue(server.tokens, number))
        # The first ones fill what does not grow with the cache, which begins once its feed is current.
        while len(cache) < count:
            await each(values[:count], lambda value: server.verify(value, ()))
        tracemalloc.start()
        await each(values[count:], lambda value: server.verify(value, ()))
        gc.collect()
        assert len(cache) == 2 * count
        return tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()
        await server.stopService()


async def main(reactor, *words):
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", nargs="?", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help="keep the figure in results/")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        size = await bytes_per_token(reactor, f"sqlite:///{folder}/cached.db", arguments.count)
    print(f"{size:.0f} bytes for each cached access token")
    if arguments.write:
        recorded.write("cached_tokens", {"bytes": round(size)})


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
