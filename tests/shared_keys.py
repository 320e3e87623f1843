"""A few signing keys for all tests that do not look at how keys are made, which takes long."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from djoauth2_twisted.protocol import jose

#: More than any test needs that are different.
NUMBER = 8


def _shared(make: Callable[[], Any]) -> Callable[[], Any]:
    calls, keys = itertools.count(), functools.cache(lambda number: make())
    return lambda: keys(next(calls) % NUMBER)


#: They make the first keys, and then give these in turn.
MAKERS = {algorithm: _shared(make) for algorithm, make in jose._MAKERS.items()}
read_key = functools.cache(jose.read_key)
