"""Metrics of one server, as Prometheus reads them. docs/metrics.md describes each of them.

They need the library prometheus-client: ``pip install 'djoauth2-twisted[metrics]'``. A server without
`Metrics` does none of this work::

    from djoauth2_twisted.metrics import Metrics

    metrics = Metrics()
    server = AuthorizationServer.from_url(reactor, url, issuer=issuer, metrics=metrics)
    metrics.watch_site(site)
    private.putChild(b"metrics", metrics.resource())
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..errors import ConfigurationError

try:
    from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import generate_latest
except ImportError:
    raise ConfigurationError(
        "metrics need a library: pip install 'djoauth2-twisted[metrics]'", "metrics_port"
    ) from None

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from ..conf import Settings
from ..events import Events
from ..interfaces import IRegistry, ITokenStore
from ..web import respond
from ..web.endpoint import Endpoint
from ..web.reading import require_method
from ..web.respond import Response
from .outcomes import count_outcomes
from .requests import RequestMetrics
from .state import ListeningPort, OpenConnections, ServerState, build_info, of_connections, of_server
from .stores import StoreMetrics

__all__ = ["Metrics"]


class _Text:
    """All metrics of a registry, without the time at which each counter was created.

    The library has a switch for these times, but for the whole process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Any]:
        for family in self._registry.collect():
            family.samples = [each for each in family.samples if not each.name.endswith("_created")]
            yield family


class _Callback:
    """A collector that asks a function at each scrape."""

    def __init__(self, collect: Callable[[], Iterable[Any]]) -> None:
        self.collect = collect


class Metrics:
    """The metrics of one server, in their own registry.

    They are collected in the reactor's thread when they are asked for.
    """

    def __init__(self) -> None:
        #: An application may register more collectors here, or export these metrics in its own way.
        self.registry = CollectorRegistry()
        self._requests = RequestMetrics(self.registry)
        self._has_server = False
        ProcessCollector(registry=self.registry)
        self._collect(build_info)

    def _collect(self, collect: Callable[[], Iterable[Any]]) -> None:
        self.registry.register(_Callback(collect))

    def timed(self, registry: IRegistry, tokens: ITokenStore) -> tuple[IRegistry, ITokenStore]:
        """The stores of the server, with verbs that are timed. The server calls this.

        :raises ConfigurationError: these are the metrics of another server.
        """
        if self._has_server:
            raise ConfigurationError("metrics= of two servers is the same: make one for each")
        self._has_server = True
        verbs = StoreMetrics(self.registry)
        return verbs.timed(registry, IRegistry, "registry"), verbs.timed(tokens, ITokenStore, "tokens")

    def watch_server(self, events: Events, *parts: Any) -> None:
        """Count the events of the server, and show the state of its parts. The server calls this.

        :param parts: those of `ServerState`.
        """
        count_outcomes(self.registry, events)
        state = ServerState(*parts)
        self._collect(lambda: of_server(state))

    def watch_site(self, site: Site) -> None:
        """Count and time the requests of a site, also those for other resources than the server's."""
        self._requests.watch(site)

    def watch_connections(self, connections: OpenConnections, ports: Iterable[ListeningPort]) -> None:
        """Show the connections and certificates of the stand-alone server, which calls this."""
        ports = list(ports)
        self._collect(lambda: of_connections(connections, ports))

    def text(self) -> bytes:
        """All metrics, in the text format of Prometheus, version 0.0.4."""
        return generate_latest(_Text(self.registry))

    def resource(self) -> IResource:
        """A resource that answers GET and HEAD with `text`. Everyone who can reach it can read it."""
        return Endpoint(self._answer, Settings())

    async def _answer(self, request: IRequest) -> Response:
        require_method(request, "GET", "HEAD")
        headers = {**respond.NO_STORE, "Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        return respond.respond(request, 200, headers, self.text())
