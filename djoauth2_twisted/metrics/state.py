"""The state of a server at the moment of a scrape."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, Protocol

from attrs import frozen
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

import twisted

from ..cache import Cache
from ..housekeeping import Housekeeping
from ..models import AccessToken
from ..passwords import PasswordThreads
from ..readiness import Readiness
from ..stores.urls import Opened


@frozen
class ServerState:
    """The parts of a server whose state is shown.

    :param cache: None where access tokens are not cached.
    :param database: None where the stores need no opening.
    """

    readiness: Readiness
    passwords: PasswordThreads
    cache: Cache[bytes, AccessToken] | None
    housekeeping: Housekeeping
    database: Opened | None


class OpenConnections(Protocol):
    """The connections of the stand-alone server."""

    #: How many there may be.
    most: int
    #: Those that are open.
    protocols: Any


class ListeningPort(Protocol):
    """A port of the stand-alone server."""

    def certificate_ends(self) -> float | None:
        """When its certificate expires, in seconds since the epoch; None if it has none."""

    @property
    def number(self) -> str:
        """The number of the TCP port."""


def build_info() -> Iterator[Metric]:
    """The versions that run."""
    versions = {
        "version": version("djoauth2_twisted"),
        "twisted": twisted.__version__,
        "python": platform.python_version(),
    }
    yield InfoMetricFamily("djoauth2_build", "The versions that run.", versions)


def of_server(state: ServerState) -> Iterator[Metric]:
    """The gauges and counters of a server."""
    yield _gauge("ready", "1 while the store is open.", int(state.readiness.is_ready))
    yield from _of_passwords(state.passwords)
    if state.cache is not None:
        yield from _of_cache(state.cache)
    yield from _of_pruning(state.housekeeping)
    if state.database is not None:
        yield from _of_store(state.database)


def of_connections(connections: OpenConnections, ports: Iterable[ListeningPort]) -> Iterator[Metric]:
    """The gauges of the stand-alone server's ports."""
    yield _gauge("connections", "Connections that are open.", len(connections.protocols))
    yield _gauge("connections_limit", "Connections that may be open.", connections.most)
    ends = {port.number: end for port in ports if (end := port.certificate_ends()) is not None}
    yield _by_label(
        "certificate_expiry_timestamp_seconds",
        "When the certificate of a port expires, in seconds since the epoch.",
        "port",
        ends,
    )


def _of_passwords(passwords: PasswordThreads) -> Iterator[Metric]:
    yield _gauge("passwords_running", "Passwords that are being hashed or verified.", passwords.running)
    yield _by_label(
        "passwords_waiting", "Passwords that wait for a thread.", "kind", passwords.waiting()
    )


def _of_cache(cache: Cache[bytes, AccessToken]) -> Iterator[Metric]:
    yield _gauge("access_token_cache_entries", "Access tokens in the cache.", len(cache))
    for name, what, value in (
        ("hits", "Look-ups that the cache answered.", cache.hits),
        ("misses", "Look-ups that the store answered.", cache.misses),
    ):
        yield CounterMetricFamily(f"djoauth2_access_token_cache_{name}", what, value)


def _of_pruning(housekeeping: Housekeeping) -> Iterator[Metric]:
    yield _gauge(
        "prune_round_seconds",
        "How long expired rows have been deleted without coming to an end; 0 between two rounds.",
        housekeeping.round_seconds(),
    )
    yield _gauge(
        "prune_last_timestamp_seconds",
        "When this process last deleted all expired rows, in seconds since the epoch.",
        housekeeping.last_pruned,
    )
    yield _by_label(
        "prune_backlog_rows",
        "Rows that had expired and were not deleted at the last count, by kind of record.",
        "kind",
        housekeeping.backlog,
    )


def _of_store(database: Opened) -> Iterator[Metric]:
    pools = database.pools()
    for name, what in (
        ("connections", "Connections to the store that are open."),
        ("busy", "Connections to the store that are used."),
        ("waiting", "Steps that wait for a connection to the store."),
    ):
        values = {pool.name: getattr(pool, name) for pool in pools}
        yield _by_label(f"pool_{name}", what, "pool", values)
    yield _gauge(
        "invalidation_lag_seconds",
        "How long ago the store was last asked which access tokens other processes have ended.",
        database.invalidation_lag(),
    )


def _gauge(name: str, what: str, value: float | None) -> Metric:
    """A gauge, which has no sample where the value is None."""
    return GaugeMetricFamily(f"djoauth2_{name}", what, value)


def _by_label(name: str, what: str, label: str, values: Mapping[str, Any]) -> Metric:
    family = GaugeMetricFamily(f"djoauth2_{name}", what, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), number)
    return family
