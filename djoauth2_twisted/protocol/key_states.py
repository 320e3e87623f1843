"""The life of the keys that sign ID tokens: next, current, retired, gone.

For each algorithm one key is current and signs. The next one is published already, so that it is in
every cache of the key set before it signs. A retired key has no private half any more. Its public half
is published until nothing that it has signed is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
from attrs import frozen

from ..models import SigningKey
from .registration import ID_TOKEN_ALGORITHMS

NEXT = "next"
CURRENT = "current"
RETIRED = "retired"

#: How long caches may keep the key set, in seconds: the ``max-age`` of its ``Cache-Control``.
MAX_AGE = 3600

#: What a published key waits beyond that, in seconds: clocks differ, and caches may be slow.
MARGIN = 600

#: How long a process may use the keys that it has read, in seconds.
MAX_STALENESS = 10

#: The lifetime of a login, in seconds: as long, an ID token can be the hint of a logout.
MAX_HINT_AGE = 12 * 3600


@frozen
class Rules:
    """The times of one server, in seconds.

    :param rotation: how long a key is current; 0: until it is rotated by hand.
    :param token_lifetime: of ID tokens.
    """

    rotation: int
    token_lifetime: int

    @property
    def kept(self) -> int:
        """How long the public half of a retired key is published."""
        return max(self.token_lifetime, MAX_HINT_AGE) + MARGIN


def slot_of(key: SigningKey) -> str | None:
    """What there is only one of: the current and the next key of each algorithm."""
    return None if key.state == RETIRED else f"{key.algorithm} {key.state}"


def states_of(keys: Iterable[SigningKey]) -> set[tuple[str, str]]:
    """By which a store sees whether the keys are those that were read."""
    return {(key.kid, key.state) for key in keys}


def find(keys: Iterable[SigningKey], algorithm: str, state: str) -> SigningKey | None:
    """The key of an algorithm in a state, of which there is at most one."""
    return next((key for key in keys if (key.algorithm, key.state) == (algorithm, state)), None)


def is_published_long_enough(key: SigningKey, now: int) -> bool:
    """Whether every cache of the key set has a key by now."""
    return now - key.created >= MAX_AGE + MARGIN


def without_next(keys: Sequence[SigningKey]) -> list[str]:
    """The algorithms that need a new key, since they have no next one."""
    return [name for name in ID_TOKEN_ALGORITHMS if find(keys, name, NEXT) is None]


def advanced(keys: Sequence[SigningKey], rules: Rules, now: int) -> list[SigningKey]:
    """The keys, after those have changed their state whose time has come."""
    left = [key for key in keys if not (key.retired is not None and key.retired + rules.kept <= now)]
    for algorithm in ID_TOKEN_ALGORITHMS:
        current = find(left, algorithm, CURRENT)
        if current is None or (rules.rotation and (current.signs_from or 0) + rules.rotation <= now):
            left = rotated(left, algorithm, now, must_be_known=current is not None)
    return left


def rotated(
    keys: Sequence[SigningKey], algorithm: str, now: int, must_be_known: bool = True
) -> list[SigningKey]:
    """The keys, after the next one has become the current one; unchanged where that cannot be.

    :param must_be_known: whether it must be in every cache of the key set.
    """
    coming = find(keys, algorithm, NEXT)
    if coming is None or (must_be_known and not is_published_long_enough(coming, now)):
        return list(keys)

    def moved(key: SigningKey) -> SigningKey:
        if key is coming:
            return attrs.evolve(key, state=CURRENT, signs_from=now)
        if (key.algorithm, key.state) == (algorithm, CURRENT):
            return _retired(key, now)
        return key

    return [moved(key) for key in keys]


def without(keys: Sequence[SigningKey], kid: str, now: int) -> list[SigningKey]:
    """The keys, after one has been retired by hand. It signs nothing from then on.

    A current key is followed by the next one at once, in caches or not. The public half of a current key
    stays. That of another goes: a next key has signed nothing, and a retired one is not needed.
    """
    (ended,) = [key for key in keys if key.kid == kid]
    if ended.state != CURRENT:
        return [key for key in keys if key.kid != kid]
    left = [_retired(key, now) if key.kid == kid else key for key in keys]
    return rotated(left, ended.algorithm, now, must_be_known=False)


def _retired(key: SigningKey, now: int) -> SigningKey:
    return attrs.evolve(key, state=RETIRED, retired=now, sealed_private=None)
