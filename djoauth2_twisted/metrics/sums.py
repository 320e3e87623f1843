"""The metrics of several processes, added up.

Each process sends its metrics as text. Counters and histograms are added. What a process had counted
when it ended is kept, so that a counter never falls. Of gauges, see `_RULES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator

from attrs import frozen
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

#: How a gauge of several processes becomes one, by its name. Others are added.
_RULES: tuple[tuple[re.Pattern[str], Callable[[float, float], float]], ...] = (
    # The server is ready if all are; the certificate that expires first counts.
    (re.compile(r"djoauth2_ready|djoauth2_certificate_expiry_.*|process_start_time_seconds"), min),
    # One process prunes; the feed that is most behind counts; the versions are the same.
    (re.compile(r"djoauth2_prune_.*|djoauth2_invalidation_lag_seconds|djoauth2_build_info"), max),
)

_COUNTED = ("counter", "histogram")

#: The name of a sample, and its labels.
_Key = tuple[str, tuple[tuple[str, str], ...]]


def _add(first: float, second: float) -> float:
    return first + second


def _rule(family: Metric) -> Callable[[float, float], float]:
    if family.type not in _COUNTED:
        for pattern, rule in _RULES:
            if pattern.fullmatch(family.name):
                return rule
    return _add


class _Sum:
    """The sum of some families."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[str, dict[_Key, float]] = {}

    def add(self, family: Metric) -> None:
        """Add a family of one process."""
        self._families.setdefault(family.name, family)
        values, rule = self._values.setdefault(family.name, {}), _rule(family)
        for sample in family.samples:
            key = sample.name, tuple(sample.labels.items())
            values[key] = rule(values[key], sample.value) if key in values else sample.value

    def families(self) -> Iterator[Metric]:
        """The sums."""
        for name, first in self._families.items():
            family = Metric(name, first.documentation, first.type)
            for (sample, labels), value in self._values[name].items():
                family.add_sample(sample, dict(labels), value)
            yield family


class Sums:
    """The metrics of the workers of a server."""

    def __init__(self) -> None:
        self._texts: dict[Hashable, str] = {}
        #: What those had counted that have ended.
        self._ended = _Sum()

    def measured(self, process: Hashable, text: str) -> None:
        """A process has sent its metrics."""
        self._texts[process] = text

    def lost(self, process: Hashable) -> None:
        """A process has ended. What it has counted since it last sent its metrics is lost."""
        for family in text_string_to_metric_families(self._texts.pop(process, "")):
            if family.type in _COUNTED:
                self._ended.add(family)

    def _collect(self, serving: int, replaced: int) -> Iterator[Metric]:
        total = _Sum()
        for family in self._ended.families():
            total.add(family)
        for text in self._texts.values():
            for family in text_string_to_metric_families(text):
                total.add(family)
        yield from total.families()
        yield GaugeMetricFamily("djoauth2_workers", "Workers that serve.", serving)
        what = "Workers that were started because one had ended."
        yield CounterMetricFamily("djoauth2_workers_replaced", what, replaced)

    def text(self, serving: int, replaced: int) -> bytes:
        """All sums, in the text format of Prometheus, version 0.0.4.

        :param serving: how many workers serve.
        :param replaced: how many were started to replace others.
        """
        return generate_latest(_Collected(list(self._collect(serving, replaced))))


@frozen
class _Collected:
    """Families, as the library asks for them."""

    families: list[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families
