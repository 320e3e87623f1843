"""The time that the stores take, by verb."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy
from zope.interface.interface import InterfaceClass

from ..errors import TemporarilyUnavailable
from .durations import Durations

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


class StoreMetrics(Collector):
    """Times the verbs of stores."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # By store and verb.
        self._durations = defaultdict[tuple[str, str], Durations](partial(Durations, BUCKETS))
        self._failures = defaultdict[tuple[str, str], int](int)
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The metrics of stores; see prometheus_client."""
        durations = HistogramMetricFamily(
            "djoauth2_store_duration_seconds",
            "The time from a step's call to its answer.",
            labels=("store", "verb"),
        )
        for labels, measured in self._durations.items():
            measured.add_to(durations, labels)
        yield durations
        failures = CounterMetricFamily(
            "djoauth2_store_failures",
            "Steps that the store could not take.",
            labels=("store", "verb"),
        )
        for labels, count in self._failures.items():
            failures.add_metric(labels, count)
        yield failures

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
        labels = store, verb

        def ended(result: Any, begun: float) -> Any:
            if isinstance(result, Failure):
                if result.check(CancelledError):
                    return result
                if result.check(TemporarilyUnavailable):
                    self._failures[labels] += 1
            self._durations[labels].observe(perf_counter() - begun)
            return result

        def timed(*arguments: Any, **named: Any) -> Deferred[Any]:
            begun = perf_counter()
            return call(*arguments, **named).addBoth(ended, begun)

        return timed
