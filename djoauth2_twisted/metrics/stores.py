"""The time that the stores take, by verb."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy
from zope.interface.interface import InterfaceClass

from ..errors import TemporarilyUnavailable

_T = TypeVar("_T")

#: The upper bounds of the buckets, in seconds. No step takes longer than two seconds.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class _Timed:
    """A store whose verbs are timed. All else is the store's own."""

    def __init__(self, store: Any, verbs: dict[str, Callable[..., Any]]) -> None:
        self._store = store
        # As attributes of the object they cost no search: guards ask `is_current` for each request.
        for interface in providedBy(store):
            vars(self).update({name: getattr(store, name) for name in interface.names(all=True)})
        vars(self).update(verbs)
        directlyProvides(self, providedBy(store))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class StoreMetrics:
    """Times the verbs of stores."""

    def __init__(self, registry: CollectorRegistry) -> None:
        durations = Histogram(
            "djoauth2_store_duration_seconds",
            "The time from a step's call to its answer.",
            ("store", "verb"),
            buckets=BUCKETS,
            registry=registry,
        )
        # The library's own search for labels takes microseconds.
        self._durations = cache(durations.labels)
        self._failures = Counter(
            "djoauth2_store_failures",
            "Steps that the store could not take.",
            ("store", "verb"),
            registry=registry,
        )

    def timed(self, store: _T, interface: InterfaceClass, name: str) -> _T:
        """The store, with the verbs of an interface timed.

        :param name: the value of the label ``store``.
        """
        verbs = {
            verb: self._timed(getattr(store, verb), name, verb) for verb in interface.names(all=True)
        }
        timed: Any = _Timed(store, verbs)
        return timed  # type: ignore[no-any-return]

    def _timed(self, call: Callable[..., Deferred[Any]], store: str, verb: str) -> Callable[..., Any]:
        def ended(result: Any, begun: float) -> Any:
            if isinstance(result, Failure):
                if result.check(CancelledError):
                    return result
                if result.check(TemporarilyUnavailable):
                    self._failures.labels(store, verb).inc()
            self._durations(store, verb).observe(perf_counter() - begun)
            return result

        def timed(*arguments: Any, **named: Any) -> Deferred[Any]:
            begun = perf_counter()
            return call(*arguments, **named).addBoth(ended, begun)

        return timed
