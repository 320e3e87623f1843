"""The port of ``--metrics-port``, which answers ``/metrics`` and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.usage import UsageError
from twisted.web.resource import IResource

from ..conf import Settings
from ..web.endpoint import Folder
from ..web.site import LimitedSite
from .connections import Connections
from .endpoint_fields import behind_proxy, fields_of
from .endpoint_strings import HardenedEndpoint
from .ports import Port

if TYPE_CHECKING:
    from ..metrics import Metrics

#: The most connections at the port. A few Prometheus servers scrape it.
MAX_CONNECTIONS = 50

# A TCP endpoint without TLS.
_PLAIN = re.compile(r"tcp6?:")


class MetricsPort(Port):
    """The port at which metrics are read. It closes its connections when it stops."""

    option = "metrics_port"

    def stop(self) -> Deferred[Any]:
        """Stop listening, and close open connections after their output is sent."""
        stopping = super().stop()
        self._connections.close()
        return stopping


def check_private(description: str, name: str) -> None:
    """Refuse a port at which everyone could read the metrics, unless its description asks for that.

    :param name: the endpoint string and where it comes from, for errors.
    :raises UsageError: it has no TLS, and listens at all interfaces because it names none.
    """
    behind = behind_proxy(description)
    plain = _PLAIN.match(behind)
    if plain is None or _names_interface(fields_of(behind[plain.end() :])):
        return
    raise UsageError(
        f"{name}: every host could read the metrics, because it has no TLS and names no interface\n"
        f"Write it like {description}:interface=127.0.0.1, or name another interface on purpose"
    )


def _names_interface(arguments: list[str]) -> bool:
    """Whether the arguments of a TCP endpoint have an interface, by name or as the second one."""
    unnamed = [each for each in arguments if "=" not in each]
    named = any(re.match("interface=.", each) for each in arguments)
    return named or bool("".join(unnamed[1:2]))


def make_metrics() -> Metrics:
    """The metrics of the server.

    :raises ConfigurationError: their library is not installed.
    """
    from ..metrics import Metrics

    return Metrics()


def make_metrics_port(
    metrics: Metrics,
    description: str,
    endpoint: HardenedEndpoint,
    connections: Connections,
    ports: Iterable[Port],
) -> Port:
    """The port at which the metrics of a stand-alone server are read.

    :param connections: those of the server.
    :param ports: those of the server.
    """
    resource = metrics.resource()
    port = port_for_metrics(connections.site.reactor, resource, description, endpoint)
    watch(metrics, connections, [*ports, port])
    return port


def watch(metrics: Metrics, connections: Connections, ports: Iterable[Port]) -> None:
    """Measure the requests, connections and ports of a server."""
    metrics.watch_site(connections.site)
    metrics.watch_connections(connections, ports)


def port_for_metrics(
    reactor: IReactorTime, resource: IResource, description: str, endpoint: HardenedEndpoint
) -> Port:
    """A port that answers ``/metrics`` with a resource."""
    root = Folder(Settings())
    root.putChild(b"metrics", resource)
    connections = Connections(LimitedSite(root, reactor), MAX_CONNECTIONS)
    return MetricsPort(description, endpoint, connections, endpoint)
