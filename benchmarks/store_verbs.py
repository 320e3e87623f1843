"""What the verbs of a token request cost in a SQL store: processor time and statements.

    python benchmarks/store_verbs.py [URL]

The URL names an empty database; a new SQLite file is used if there is none. The benchmark calls
`ITokenStore` in this process, without HTTP, with 32 calls in flight. It prints the microseconds of
processor time for a call: of the reactor's thread, of the workers' threads, and of both. Each verb is
measured in several rounds, and the least is printed: a round that other programs disturb takes longer.
Statements are counted in a further round, on SQLite alone, with those that begin and end a transaction.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import sqlalchemy as sa
from stores import CLIENT_ID, REDIRECT_URI, grant, issuance
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from djoauth2_twisted.credentials import new_family
from djoauth2_twisted.models import CodeProof, Issued, RefreshProof
from djoauth2_twisted.stores.sql import workers
from djoauth2_twisted.stores.sql.engines import engine
from djoauth2_twisted.stores.urls import from_url

IN_FLIGHT = 32
CALLS = 1000
ROUNDS = 4
CODE_PROOF = CodeProof(CLIENT_ID, REDIRECT_URI, None)
REFRESH_PROOF = RefreshProof(CLIENT_ID, None)


class Flow:
    """A grant, and the issuances of its pairs: at its exchange, a refresh, and two with a retry."""

    def __init__(self):
        now, family = int(time.time()), new_family()
        self.grant = grant(now)
        self.exchanged, self.refreshed, *kept = (issuance(now, family) for _ in range(4))
        self.kept = [attrs.evolve(each, retry_seconds=60, sealed_answer=bytes(150)) for each in kept]


async def exchange(tokens, flow):
    """Exchange the code."""
    assert isinstance(
        await tokens.redeem_code(flow.grant.code_digest, CODE_PROOF, flow.exchanged), Issued
    )


async def look_up(tokens, flow):
    """Look up the access token, as an introspection does and a guard without a cache."""
    assert await tokens.find_access_token(flow.exchanged.access_digest)


async def refresh(tokens, flow):
    """Use the first refresh token."""
    await _rotate(tokens, flow.exchanged, flow.refreshed)


async def refresh_and_keep(tokens, flow):
    """Use the second refresh token, and keep the answer for a retry."""
    await _rotate(tokens, flow.refreshed, flow.kept[0])


async def refresh_after_kept(tokens, flow):
    """The same with the third, and drop the answer that was kept for the second."""
    await _rotate(tokens, *flow.kept)


async def _rotate(tokens, before, after):
    outcome = await tokens.rotate_refresh_token(before.refresh_digest, REFRESH_PROOF, after)
    assert isinstance(outcome, Issued)


VERBS = {
    "exchange of a code": exchange,
    "look-up of an access token": look_up,
    "refresh": refresh,
    "refresh, answer kept for a retry": refresh_and_keep,
    "the same after such a refresh": refresh_after_kept,
}


async def run(act, tokens, flows):
    """Call ``act`` for each flow. Returns the seconds of processor time: of this thread, and of all."""
    left = iter(flows)

    async def some():
        for flow in left:
            await act(tokens, flow)

    here, everywhere = time.thread_time(), time.process_time()
    await gatherResults([Deferred.fromCoroutine(some()) for _ in range(IN_FLIGHT)])
    return time.thread_time() - here, time.process_time() - everywhere


async def new_flows(tokens):
    """Flows whose codes are stored."""
    flows = [Flow() for _ in range(CALLS)]
    await run(lambda tokens, flow: tokens.add_code(flow.grant), tokens, flows)
    return flows


async def measure(tokens, connections):
    """Print a row for each verb."""
    rounds = []
    for _ in range(ROUNDS):
        flows = await new_flows(tokens)
        rounds.append([await run(act, tokens, flows) for act in VERBS.values()])
    counts = await count_statements(tokens, connections)
    for name, times, counted in zip(VERBS, zip(*rounds, strict=True), counts, strict=True):
        here = min(here for here, _ in times)
        both = min(everywhere for _, everywhere in times)
        figures = [f"{1e6 * each / CALLS:.0f}" for each in (here, both - here, both)]
        print(f"| {name} | {' | '.join(figures)} | {counted} |")


async def count_statements(tokens, connections):
    """How many statements a call of each verb takes, as text."""
    if not all(hasattr(connection, "set_trace_callback") for connection in connections):
        return [""] * len(VERBS)
    flows, counts = await new_flows(tokens), []
    for act in VERBS.values():
        executed = []
        for connection in connections:
            connection.set_trace_callback(executed.append)
        await run(act, tokens, flows)
        counts.append(f"{len(executed) / CALLS:.2f}")
    return counts


async def main(reactor, url=None):
    """Measure and print."""
    # So that no call fails on a busy machine.
    workers.DEADLINE = engine.WAIT = 60
    connections = []
    sa.event.listen(sa.Engine, "connect", lambda connection, _: connections.append(connection))
    with TemporaryDirectory() as folder:
        opened, _, tokens = from_url(reactor, url or f"sqlite:///{Path(folder) / 'verbs.db'}")
        opened.open(prepare=True)
        # Those that have prepared the database are closed. The workers connect when they are first used.
        connections.clear()
        await opened.connect()
        print("| verb | reactor | workers | both | statements |")
        print("|---|---:|---:|---:|---:|")
        try:
            await measure(tokens, connections)
        finally:
            await opened.close()


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
