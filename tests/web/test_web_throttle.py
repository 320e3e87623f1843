"""Throttles: how much is put up with, from whom, and for how long."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from web_driver import wait

from djoauth2_twisted.errors import TooManyRequests
from djoauth2_twisted.models import Limit
from djoauth2_twisted.stores.memory import MemoryRegistry
from djoauth2_twisted.web import throttle as module
from djoauth2_twisted.web.throttle import Attempts, Throttle, ThrottleKey, Throttles


class Door:
    """A throttle, and failures that it counts."""

    def __init__(
        self, clock: Clock, registry: MemoryRegistry, per_minute: int = 10, kind: str = "k"
    ) -> None:
        self._throttle = Throttle(clock, registry, kind, per_minute)

    def fail(self, times: int, *throttle_key: str) -> None:
        for _ in range(times):
            self._throttle.check(*throttle_key)
            self.fail_unchecked(*throttle_key)

    def fail_unchecked(self, *throttle_key: str) -> None:
        wait(Deferred.fromCoroutine(self._throttle.failed(*throttle_key)))

    def lets_in(self, *throttle_key: str) -> bool:
        try:
            self._throttle.check(*throttle_key)
        except TooManyRequests:
            return False
        return True

    def retry_after(self, *throttle_key: str) -> int:
        with pytest.raises(TooManyRequests) as refused:
            self._throttle.check(*throttle_key)
        assert refused.value.status_code == 429
        return refused.value.retry_after


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1_000_000)
    return clock


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.fixture
def door(clock: Clock, registry: MemoryRegistry) -> Door:
    return Door(clock, registry)


def test_so_many_failures_are_put_up_with(door: Door) -> None:
    door.fail(10, "here")
    assert not door.lets_in("here")


def test_throttle_keys_are_counted_apart(door: Door) -> None:
    door.fail(10, "here")
    assert door.lets_in("there")
    assert door.lets_in("here", "too")
    assert door.lets_in()


def test_throttle_keys_cannot_be_confused(door: Door) -> None:
    """A name may hold whatever a person types."""
    door.fail(10, "a", "b")
    for other in (("a", '", "b'), ('a", "b',), ("ab",), ("b", "a"), ("a", "b", ""), ("a\udcff", "b")):
        assert door.lets_in(*other)


def test_kinds_are_counted_apart(clock: Clock, registry: MemoryRegistry, door: Door) -> None:
    door.fail(10, "here")
    other = Door(clock, registry, kind="other")
    other.fail(10, "here")
    assert not other.lets_in("here")


def test_processes_share_the_count(clock: Clock, registry: MemoryRegistry, door: Door) -> None:
    """Each learns of it by a failure."""
    second = Door(clock, registry)
    door.fail(9, "here")
    second.fail(1, "here")
    assert not second.lets_in("here")
    door.fail(1, "here")
    assert not door.lets_in("here")


def test_failures_leak_away(door: Door, clock: Clock) -> None:
    """Ten a minute: one more failure is allowed every six seconds."""
    door.fail(10, "here")
    clock.advance(5.9)
    assert not door.lets_in("here")
    clock.advance(0.1)
    door.fail(1, "here")
    assert not door.lets_in("here")
    clock.advance(60)
    door.fail(10, "here")
    assert not door.lets_in("here")


def test_retry_after_is_long_enough_and_no_longer(door: Door, clock: Clock) -> None:
    """RFC 6585, section 4."""
    door.fail(10, "here")
    for _ in range(5):
        door.fail_unchecked("here")
    assert door.retry_after("here") == 36
    clock.advance(35.9)
    assert door.retry_after("here") == 1
    clock.advance(0.1)
    assert door.lets_in("here")


def test_retry_after_is_at_least_a_second(clock: Clock, registry: MemoryRegistry) -> None:
    door = Door(clock, registry, 300)
    door.fail(300, "here")
    assert door.retry_after("here") == 1


def test_checking_costs_nothing(door: Door) -> None:
    for _ in range(100):
        assert door.lets_in("here")
    door.fail(10, "here")


def test_only_so_many_throttle_keys_are_remembered(
    clock: Clock, registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AB-01: memory is bounded, and who has waited longest is forgotten first."""
    monkeypatch.setattr(module, "MAX_KEYS", 3)
    door = Door(clock, registry)
    for number in range(4):
        door.fail(10, f"key {number}")
    assert [door.lets_in(f"key {number}") for number in range(4)] == [True, False, False, False]
    # What is counted is not forgotten with it.
    door.fail_unchecked("key 0")
    assert not door.lets_in("key 0")


def test_the_registry_keeps_no_names_of_throttled_clients(door: Door, registry: MemoryRegistry) -> None:
    """U-03: names that people mistype may be passwords."""
    door.fail(2, "192.0.2.1", "correct horse")
    kept = repr(vars(registry))
    assert "192.0.2.1" not in kept
    assert "horse" not in kept


class Gate:
    """Attempts that begin, and perhaps are given back."""

    def __init__(self, clock: Clock, registry: MemoryRegistry) -> None:
        self._attempts = Attempts(clock, registry)

    def begin(self, limits: dict[ThrottleKey, Limit]) -> int:
        """How long to wait, in seconds; 0 where it has begun."""
        try:
            wait(Deferred.fromCoroutine(self._attempts.begin(limits)))
        except TooManyRequests as error:
            return error.retry_after
        return 0

    def give_back(self, limits: dict[ThrottleKey, Limit]) -> None:
        wait(Deferred.fromCoroutine(self._attempts.give_back(limits)))


@pytest.fixture
def gate(clock: Clock, registry: MemoryRegistry) -> Gate:
    return Gate(clock, registry)


HERE: dict[ThrottleKey, Limit] = {("guess", "here"): Limit(3)}


def test_attempts_count_when_they_begin(gate: Gate, clock: Clock) -> None:
    assert [gate.begin(HERE) for _ in range(5)] == [0, 0, 0, 20, 20]
    assert gate.begin({("guess", "there"): Limit(3)}) == 0
    clock.advance(19.5)
    assert gate.begin(HERE) == 1
    clock.advance(0.5)
    assert gate.begin(HERE) == 0


def test_good_attempts_are_given_back(gate: Gate) -> None:
    for _ in range(20):
        assert gate.begin(HERE) == 0
        gate.give_back(HERE)
    assert [gate.begin(HERE) for _ in range(4)] == [0, 0, 0, 20]


def test_the_longest_of_several_waits_is_answered(gate: Gate) -> None:
    limits = {**HERE, ("account", "alice"): Limit(3, 3600)}
    assert [gate.begin(limits) for _ in range(4)] == [0, 0, 0, 1200]


def test_processes_share_the_attempts(gate: Gate, clock: Clock, registry: MemoryRegistry) -> None:
    """Each learns by its own attempt that there were too many."""
    second = Gate(clock, registry)
    assert [each.begin(HERE) for each in (gate, second, gate, second, gate)] == [0, 0, 0, 20, 20]


def test_a_key_known_to_wait_is_refused_without_the_registry(
    gate: Gate, registry: MemoryRegistry
) -> None:
    """A flood that is refused does not become one of writes."""
    assert [gate.begin(HERE) for _ in range(4)] == [0, 0, 0, 20]

    def begin_attempt(limits: object, now: int) -> Deferred[dict[bytes, float]]:
        raise AssertionError("the registry was asked")

    registry.begin_attempt = begin_attempt  # type: ignore[method-assign]
    assert gate.begin(HERE) == 20


class Clients:
    """Clients of one address, with limits of 3 for a secret, 3 for a client, and 9 in all."""

    def __init__(self, clock: Clock, registry: MemoryRegistry) -> None:
        names = {"secret": 3, "client": 3, "clients": 9}
        self._throttles = Throttles(*(Throttle(clock, registry, *each) for each in names.items()))

    def has_to_wait(self, name: str, secret: str = "right") -> bool:
        """Whether even a right secret is refused."""
        try:
            self._throttles.check("proxy", name, secret)
        except TooManyRequests:
            return True
        return False

    def fails(self, name: str, secret: str = "wrong") -> bool:
        """Whether a wrong secret is answered as one, not with 429."""
        try:
            self._throttles.check("proxy", name, secret)
            wait(Deferred.fromCoroutine(self._throttles.failed("proxy", name, secret)))
        except TooManyRequests:
            return False
        return True


@pytest.fixture
def clients(clock: Clock, registry: MemoryRegistry) -> Clients:
    return Clients(clock, registry)


def test_the_good_of_a_shared_address_get_through(clients: Clients, clock: Clock) -> None:
    """A proxy's: what fails there too often only makes failures wait."""
    assert [clients.fails(f"client {number}") for number in range(11)] == [True] * 9 + [False] * 2
    assert not clients.has_to_wait("a good client")
    clock.advance(60)
    assert [clients.fails("client 0", f"guess {number}") for number in range(3)] == [True] * 3
    assert clients.has_to_wait("client 0")


def test_a_wrong_secret_that_is_repeated_makes_only_itself_wait(clients: Clients, clock: Clock) -> None:
    """CA-15: as of one machine of several, which share the address and the client."""
    for _ in range(5):
        assert [clients.fails("fleet", "mistyped") for _ in range(4)] == [True] * 3 + [False]
        assert not clients.has_to_wait("fleet")
        clock.advance(60)
    # It has been counted once; two more guesses fill the limit of the client.
    assert [clients.fails("fleet", f"guess {number}") for number in range(4)] == [True] * 3 + [False]
    assert clients.has_to_wait("fleet")


def test_wrong_secrets_are_remembered_up_to_a_number(
    clock: Clock, registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AB-01: what is forgotten counts as another secret once more."""
    monkeypatch.setattr(module, "MAX_KEYS", 2)
    clients = Clients(clock, registry)
    for number in range(3):
        assert clients.fails("fleet", f"guess {number}")
        clock.advance(60)
    assert [clients.fails("fleet", f"guess {number}") for number in (2, 0, 0, 1)] == [True] * 4
    assert not clients.has_to_wait("fleet")
    assert clients.fails("fleet", "guess 2")
    assert clients.has_to_wait("fleet")
