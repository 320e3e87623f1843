"""Requests: how many, for which endpoint, with which status, and how long their answers take.

Every label has a bounded number of values. None is a path, a method or a status as a stranger sent it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from twisted.web.server import Request, Site

from ..guard import OAuthGuard
from ..protocol import paths
from ..routes import Tree
from ..web.endpoint import Endpoint
from .durations import Durations

#: The upper bounds of the buckets, in seconds. A look-up in the cache takes less than a millisecond, and
#: a store that does not answer is given up within two seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

#: The methods that are counted apart.
METHODS = {
    name: name.decode() for name in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
}

#: The endpoints below the server's mount point, by the first segment of their address.
TREE = {
    address.strip("/").encode(): address.strip("/").partition(".")[0]
    for address in (
        paths.AUTHORIZATION,
        paths.TOKEN,
        paths.REVOCATION,
        paths.INTROSPECTION,
        paths.MISSING_REDIRECT_URI,
        paths.LOGIN,
        paths.LOGOUT,
        paths.ACCOUNT,
        paths.ADMIN,
        paths.IMAGE,
        paths.STYLE,
        paths.LOGO,
        paths.ICON,
    )
}

#: The endpoint of a request that is not for this server, or that was refused before it was read.
OTHER = "other"

#: The endpoint of a request for a guarded resource.
GUARDED = "guarded"

#: The status of a request whose client did not wait for the answer.
HUNG_UP = "hung up"


def endpoint_of(request: Request, resource: Any) -> str:
    """The name of the endpoint that a request has reached.

    :param resource: what the site has found for the request.
    """
    match resource:
        case Tree():
            segments = request.postpath or [b""]
            return TREE.get(segments[0], OTHER)
        case OAuthGuard():
            return GUARDED
        case Endpoint():
            return resource.name or OTHER
        case _:
            return OTHER


#: The attribute of a request that is measured.
_MEASURED = "_djoauth2_measured"


class RequestMetrics(Collector):
    """Counts and times the requests of sites.

    All is counted in the reactor's thread, so no count needs a lock, as those of the library do.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        #: How many requests are being answered.
        self._begun = 0
        #: By endpoint, method and status, as in the labels.
        self._counts: defaultdict[tuple[str, str, int | str], int] = defaultdict(int)
        self._durations = defaultdict[str, Durations](partial(Durations, BUCKETS))
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The metrics of requests; see prometheus_client."""
        requests = CounterMetricFamily(
            "djoauth2_requests",
            "Requests that have ended.",
            labels=("endpoint", "method", "status"),
        )
        for labels, count in self._counts.items():
            requests.add_metric(tuple(map(str, labels)), count)
        yield requests
        durations = HistogramMetricFamily(
            "djoauth2_request_duration_seconds",
            "The time from the begin to the end of an answer.",
            labels=("endpoint",),
        )
        for endpoint, measured in self._durations.items():
            measured.add_to(durations, (endpoint,))
        yield durations
        what = "Requests that are being answered."
        yield GaugeMetricFamily("djoauth2_requests_in_flight", what, self._begun)

    def watch(self, site: Site) -> None:
        """Count and time the requests of a site from now on."""
        # Every request of a site passes these two methods. So a site that is not watched does no work.
        watched: Any = site
        locate, log = watched.getResourceFor, watched.log

        def locate_and_begin(request: Request) -> Any:
            resource = locate(request)
            vars(request)[_MEASURED] = True
            self._begun += 1
            endpoint = endpoint_of(request, resource)
            request.notifyFinish().addBoth(self._end, request, endpoint, perf_counter())
            return resource

        def log_and_count(request: Request) -> None:
            log(request)
            if _MEASURED not in vars(request):
                self._counts[OTHER, METHODS.get(request.method, OTHER), request.code] += 1

        watched.getResourceFor, watched.log = locate_and_begin, log_and_count

    def _end(self, result: object, request: Request, endpoint: str, begun: float) -> None:
        self._begun -= 1
        self._durations[endpoint].observe(perf_counter() - begun)
        status = request.code if result is None else HUNG_UP
        self._counts[endpoint, METHODS.get(request.method, OTHER), status] += 1
