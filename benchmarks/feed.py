"""What it costs a process to learn from Redis that another process has ended an access token.

    python benchmarks/feed.py redis://127.0.0.1/9 [--write]

Another connection publishes messages as fast as Redis takes them, and the store hands them to a cache.
The figure is microseconds of the process's CPU time for each. Nothing is stored in Redis. ``--write``
keeps the figure for the documentation.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

import recorded
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from djoauth2_twisted.credentials import random_string
from djoauth2_twisted.stores.urls import from_url

MESSAGES = 20_000


async def measure(reactor, folder, url):
    """The microseconds for each message."""
    opened, _, tokens = from_url(reactor, f"sqlite:///{folder}/registry.db", url)
    opened.open()
    await opened.connect()
    seen = 0

    def note(grants):
        nonlocal seen
        seen += len(grants or ())

    tokens.subscribe(note)
    try:
        # The feed asks often only while it is used.
        while not tokens.is_current():
            await deferLater(reactor, 0.02, lambda: None)
        channel = tokens.redis.channel(tokens.prefix)
        command = f"PUBLISH {channel} {random_string(30)}\r\n".encode()
        with tempfile.TemporaryFile() as commands:
            commands.write(command * MESSAGES)
            commands.seek(0)
            pipe = ["redis-cli", "-u", url, "--pipe"]
            process = subprocess.Popen(pipe, stdin=commands, stdout=subprocess.DEVNULL, env=os.environ)
        begun = time.process_time()
        while seen < MESSAGES:
            await deferLater(reactor, 0.02, lambda: None)
            tokens.is_current()
        used = time.process_time() - begun
        process.wait()
        return used / MESSAGES * 1e6
    finally:
        await opened.close()


async def main(reactor, *words):
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--write", action="store_true", help="keep the figure in results/")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        cost = await measure(reactor, folder, arguments.url)
    print(f"{cost:.1f} microseconds for each invalidation")
    if arguments.write:
        recorded.write("feed", {"us": round(cost, 1)})


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
