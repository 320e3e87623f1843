"""The hot verbs of the token stores, without HTTP: one round is `CALLS` calls at once, as under load.

SQLite is a file, and each answer waits until it is written (``synchronous=FULL``). The CPU time is that
of all threads.
"""

import pytest
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.python.failure import Failure

from djoauth2_twisted.models import Issued, RefreshProof
from djoauth2_twisted.stores.contract import new_grant, new_issuance, proof_of, random_digest
from djoauth2_twisted.stores.memory import MemoryTokenStore
from djoauth2_twisted.stores.urls import from_url

CALLS = 64
ROUNDS, WARM_UP = 12, 2


def wait(deferreds):
    """Run the reactor until all have fired, and return their results."""
    done = gatherResults(deferreds)
    results = []
    done.addBoth(results.append)
    while not results:
        reactor.iterate(1)
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


@pytest.fixture(params=["memory", "sqlite"])
def tokens(request, tmp_path):
    """An empty token store, open."""
    if request.param == "memory":
        yield MemoryTokenStore()
        return
    opened, _, tokens = from_url(reactor, f"sqlite:///{tmp_path}/store.db")
    opened.open()
    wait([opened.connect()])
    yield tokens
    wait([opened.close()])


def measure(benchmark, verb, prepare):
    """Measure a verb. Returns the results of the last round.

    :param prepare: returns the arguments of one call, which was not made before.
    """

    def setup():
        return ([prepare() for _ in range(CALLS)],), {}

    def call(arguments):
        return wait([verb(*each) for each in arguments])

    return benchmark.pedantic(call, setup=setup, rounds=ROUNDS, warmup_rounds=WARM_UP)


def add_grants(tokens, rounds):
    """Add grants whose codes can be exchanged, `CALLS` for each round."""
    grants = [new_grant(id=f"grant-{number}") for number in range(CALLS * rounds)]
    for start in range(0, len(grants), CALLS):
        wait([tokens.add_code(grant) for grant in grants[start : start + CALLS]])
    return grants


def issue_pairs(tokens, rounds):
    """Exchange the codes of new grants. Returns the grants with what was issued for each."""
    flows = [
        (grant, new_issuance(family_digest=random_digest())) for grant in add_grants(tokens, rounds)
    ]
    for start in range(0, len(flows), CALLS):
        some = flows[start : start + CALLS]
        wait([tokens.redeem_code(grant.code_digest, proof_of(grant), pair) for grant, pair in some])
    return flows


def test_add_code(benchmark, tokens):
    assert all(measure(benchmark, tokens.add_code, lambda: (new_grant(id=random_digest().hex()),)))


def test_redeem_code(benchmark, tokens):
    grants = iter(add_grants(tokens, ROUNDS + WARM_UP))

    def prepare():
        grant = next(grants)
        return grant.code_digest, proof_of(grant), new_issuance(family_digest=random_digest())

    outcomes = measure(benchmark, tokens.redeem_code, prepare)
    assert all(isinstance(outcome, Issued) for outcome in outcomes)


def test_rotate_refresh_token(benchmark, tokens):
    flows = iter(issue_pairs(tokens, ROUNDS + WARM_UP))

    def prepare():
        grant, pair = next(flows)
        following = new_issuance(family_digest=pair.family_digest)
        return pair.refresh_digest, RefreshProof(grant.client_id, None), following

    outcomes = measure(benchmark, tokens.rotate_refresh_token, prepare)
    assert all(isinstance(outcome, Issued) for outcome in outcomes)


def test_find_access_token(benchmark, tokens):
    _, pair = issue_pairs(tokens, 1)[0]
    assert all(measure(benchmark, tokens.find_access_token, lambda: (pair.access_digest,)))


def test_find_unknown_access_token(benchmark, tokens):
    found = measure(benchmark, tokens.find_access_token, lambda: (random_digest(),))
    assert found == [None] * CALLS
