"""Sends mutated requests to a server in memory, byte by byte as a connection would, and judges all."""

from __future__ import annotations

import gc
import random
import time
from collections import Counter
from collections.abc import Callable

from argon2 import PasswordHasher
from fuzz_grammar import Mutator, Request, broken
from fuzz_oracle import MAX_SECONDS, Fault, Judge, Log, forget_secrets, issued
from fuzz_world import YEAR, World
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import globalLogPublisher
from web_driver import Wire

import djoauth2_twisted.credentials
import djoauth2_twisted.passwords
import djoauth2_twisted.web.refusals

#: After how many requests new codes and tokens are made, and after how many everything.
TOKENS_LIVE, WORLD_LIVES = 200, 2000

#: How long an answer may wait for the clock, in seconds, and after how long an unfinished request must
# end.
_PATIENCE, _ALL_DEADLINES = 2.0, 120


def lighten(put: Callable[[object, str, object], None] = setattr) -> None:
    """Let servers hash passwords quickly and without threads, and keep the refusals of few clients.

    The strength of argon2id is not what is looked at. What is kept of refusals is soon as much as it may
    be, and then no longer grows: each new world has a new client.

    :param put: sets an attribute, perhaps for a time.
    """

    def call(_reactor: object, _pool: object, function: Callable[[], object]) -> Deferred[object]:
        return maybeDeferred(function)

    put(
        djoauth2_twisted.credentials,
        "_hasher",
        PasswordHasher(time_cost=1, memory_cost=8, parallelism=1),
    )
    put(djoauth2_twisted.passwords, "deferToThreadPool", call)
    put(djoauth2_twisted.web.refusals, "MAX_CLIENTS", 10)


class MemoryFuzzer:
    """Fuzzes one server in memory.

    :ivar outcomes: how often each path was answered with each status.
    :ivar slowest: the longest time of a request, in seconds, and the request.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.log = Log()
        globalLogPublisher.addObserver(self.log)
        self.world = World()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.slowest: tuple[float, bytes] = (0.0, b"")
        self.count = 0
        self._judge = Judge(self.world.system.oracle)
        self._issued: set[str] = set()

    def stop(self) -> None:
        """Stop the server, and judge what it has logged."""
        try:
            self.world.stop()
            self._check_log()
        finally:
            globalLogPublisher.removeObserver(self.log)

    def run(self, requests: int) -> None:
        """Send so many requests.

        :raises Fault: a rule is broken.
        """
        for _ in range(requests):
            self.step()

    def step(self) -> None:
        """Send one request, which may be broken, and judge what comes back."""
        self.count += 1
        if self.count % TOKENS_LIVE == 0:
            self._check_log()
            if self.count % WORLD_LIVES == 0:
                self.world.renew()
            else:
                self.world.renew_tokens()
        template = self.chance.choice(self.world.templates)
        if template.ends_something and self.chance.randrange(8):
            template = self.chance.choice(self.world.templates)
        request = Mutator(self.chance, self.world.values_for(template)).mutated(template)
        data, whole = request.encoded(), True
        if self.chance.randrange(6) == 0:
            data, whole = broken(self.chance, data), False
        try:
            self._exchange(template, data, whole)
        except Fault as fault:
            raise Fault(f"request {self.count}: {fault}\nsent: {data[:3000]!r}") from fault

    def _exchange(self, template: Request, data: bytes, whole: bool) -> None:
        world = self.world
        wire, took = self._sent(data)
        # Garbage may have been collected meanwhile. A slow request is slow again.
        if took > MAX_SECONDS:
            wire.hang_up()
            wire, took = self._sent(data)
        self.slowest = max(self.slowest, (took, data[:300]))
        if took > MAX_SECONDS:
            raise Fault(f"U-01: it took {took:.1f} s")
        self._wait(wire, whole)
        output = wire.value()
        if b"ocation: http" in output:
            clients = world.system.clients()
            world.system.oracle.redirect_uris = {uri for each in clients for uri in each.redirect_uris}
        answers = self._judge.check(data, output, world.secrets)
        self._issued |= issued(output)
        said = str(answers[0].status) if answers else "none"
        self.outcomes[template.path.decode(), said] += 1
        wire.hang_up()
        world.system.advance(self.chance.choice((0, 0, 0, 0.01, 1, 2)))

    def _sent(self, data: bytes) -> tuple[Wire, float]:
        """A new connection on which the bytes were sent, and how long that took, in seconds of the
        processor: on a busy machine, this process waits for others.
        """
        wire = Wire(self.world.system.site, peer=self._peer())
        began = time.thread_time()
        for piece in self._pieces(data):
            wire.send(piece)
        return wire, time.thread_time() - began

    def _peer(self) -> str:
        """Another address each time, or few could continue: sometimes that of a proxy."""
        if self.chance.randrange(5) == 0:
            return f"10.0.0.{self.chance.randrange(1, 255)}"
        return f"198.18.{self.chance.randrange(256)}.{self.chance.randrange(256)}"

    def _pieces(self, data: bytes) -> list[bytes]:
        """The bytes as they arrive: together, or cut somewhere."""
        if self.chance.randrange(4):
            return [data]
        at = self.chance.randrange(len(data) + 1)
        return [data[:at], data[at:]]

    def _wait(self, wire: Wire, whole: bool) -> None:
        """Let the clock run until there is an answer, or until what is unfinished has been closed."""
        advance = self.world.system.advance
        waited = 0.0
        while not wire.value() and not wire.closed and waited < _PATIENCE:
            advance(0.005 if waited < 0.05 else 0.5)
            waited += 0.005 if waited < 0.05 else 0.5
        if whole and not wire.value() and not wire.closed:
            raise Fault("U-01: there is no answer")
        if self.chance.randrange(50) == 0:
            for _ in range(_ALL_DEADLINES // 10):
                advance(10)
            if not wire.closed:
                raise Fault("U-01: the connection is still open, long after its deadlines")

    def _check_log(self) -> None:
        issued_since, self._issued = self._issued, set()
        self.log.check(self.world.secrets | issued_since | self.world.system.oracle.secrets)

    def held(self) -> Counter[str]:
        """How many objects of each type there are, once all that expires has expired and was pruned."""
        self.world.pass_time(YEAR)
        self.world.renew()
        self.world.pass_time(YEAR)
        self._check_log()
        forget_secrets()
        gc.collect()
        return Counter(type(each).__name__ for each in gc.get_objects())
