"""``twistd djoauth2``: the service that is made of the options."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from functools import partial
from time import thread_time
from types import TracebackType
from typing import TYPE_CHECKING, cast

from twisted.python.usage import Options as BaseOptions
from twisted.web.resource import Resource

from .clock import ICrewReactor, IProcessReactor
from .conf import (
    DEFAULT_DATABASE,
    Settings,
)
from .errors import ConfigurationError
from .finding import Finding, refuse_errors
from .interfaces import IRegistry, ITokenStore
from .options import Options
from .printable import printable_lines
from .server import AuthorizationServer
from .standalone.check.report import (
    warnings_among,
)
from .standalone.connections import MAX_ACCEPTED_AT_ONCE, Connections
from .standalone.descriptors import provide
from .standalone.endpoint_strings import (
    check_reachable,
)
from .standalone.files import Log
from .standalone.listening import ListeningService, Surroundings
from .standalone.metrics_port import make_metrics, make_metrics_port, port_for_metrics, watch
from .standalone.ports import Port, StartError
from .standalone.service import StandAlone
from .standalone.terminal import Terminal
from .standalone.workers.assignment import assigned, parent_socket
from .standalone.workers.crew import Crew
from .standalone.workers.metrics import SummedMetrics
from .standalone.workers.parent import ParentProcess
from .standalone.workers.process import Program
from .standalone.workers.starting import program_of
from .standalone.workers.supervisor import Supervisor
from .stores.urls import Opened, from_url, read_ahead
from .web.sharing import Shares
from .web.site import LimitedSite

if TYPE_CHECKING:
    from .metrics import Metrics

#: What must be opened, the registry and the token store.
Stores = tuple[Opened, IRegistry, ITokenStore]


def makeService(options: Options) -> ListeningService:
    """The stand-alone server, or the parent of its workers.

    Nothing is opened here, for twistd forks only after this.

    What is wrong with the configuration ends the process with one line.
    """
    from twisted.internet import reactor

    sys.excepthook = _say_why
    # What was imported lives as long as the process: the collections of the start pass over it.
    gc.freeze()
    try:
        metrics = make_metrics() if options["metrics-port"] else None
        stores = make_stores(options)
        server = make_server(options, stores, metrics)
        findings = options.configuration().judge(stores[0])
        refuse_errors(findings)
        if options["workers"] > 1 and assigned() is None:
            return make_supervisor(options, _surroundings(options, findings))
    except ConfigurationError as error:
        raise SystemExit(f"djoauth2: {printable_lines(options.said(error))}") from None
    if _gives_up_rights(options.parent):
        for url in (options["database"] or DEFAULT_DATABASE, options["token-store"] or ""):
            read_ahead(url)
    connections = _make_connections(options, server)
    return StandAlone(
        cast("IProcessReactor", reactor),
        server,
        _make_ports(options, connections, server, metrics),
        connections,
        _surroundings(options, findings),
        partial(check_reachable, options["port"], options["settings"]),
        _parent(metrics),
    )


def _make_connections(options: Options, server: AuthorizationServer) -> Connections:
    from twisted.internet import reactor

    settings: Settings = options["settings"]
    shares = Shares(reactor, spent=thread_time)
    connections = Connections(
        LimitedSite(server.root(), reactor, settings.trusted_proxies, shares=shares),
        provide(settings.max_connections),
        settings.max_connections_per_address,
    )
    log: Log | None = options["log"]
    if log is not None:
        connections.site.access_log = log.accesses(reactor)
    return connections


def _surroundings(options: Options, findings: Sequence[Finding]) -> Surroundings:
    # The parent of a worker has warned.
    warnings = warnings_among(findings, options.source_of) if assigned() is None else ()
    return Surroundings(options["log"], options.said, Terminal(), options.stores(), warnings)


def _parent(metrics: Metrics | None) -> ParentProcess | None:
    from twisted.internet import reactor

    connected = parent_socket()
    if connected is None:
        return None
    return ParentProcess(
        cast("ICrewReactor", reactor), connected, None if metrics is None else metrics.text
    )


def make_supervisor(options: Options, around: Surroundings) -> Supervisor:
    """The parent of workers.

    :raises ConfigurationError: workers cannot be started.
    """
    from twisted.internet import reactor

    program = program_of(options.parent, options.words, options.file, options["log"])
    crew_reactor = cast("ICrewReactor", reactor)
    unserved = Connections(LimitedSite(Resource(), reactor))
    ports = [Port(description, endpoint, unserved) for description, endpoint in options["endpoints"]]
    count, metrics_port = options["workers"], None
    if options["metrics-port"]:
        crew, metrics_port = make_measured_crew(crew_reactor, count, program, options)
    else:
        crew = Crew(crew_reactor, count, program)
    return Supervisor(crew_reactor, ports, crew, around, options["issuer"], metrics_port)


def make_measured_crew(
    reactor: ICrewReactor, count: int, program: Program, options: Options
) -> tuple[Crew, Port]:
    """Workers, and the port at which the sums of their metrics are read."""
    metrics = SummedMetrics(reactor)
    crew = Crew(reactor, count, program, metrics.lost, metrics.measured)
    endpoint = options["metrics-endpoint"]
    resource = metrics.resource(crew)
    return crew, port_for_metrics(reactor, resource, options["metrics-port"], endpoint)


def _make_ports(
    options: Options,
    connections: Connections,
    server: AuthorizationServer,
    metrics: Metrics | None,
) -> list[Port]:
    at_once = MAX_ACCEPTED_AT_ONCE if assigned() is None else 1
    ports = [
        Port(description, endpoint, connections, endpoint, server.events.publish, at_once)
        for description, endpoint in options["endpoints"]
    ]
    if metrics is None:
        return ports
    if assigned() is not None:
        watch(metrics, connections, ports)
        return ports
    endpoint = options["metrics-endpoint"]
    ports.append(make_metrics_port(metrics, options["metrics-port"], endpoint, connections, ports))
    return ports


def _gives_up_rights(twistd: BaseOptions | None) -> bool:
    """Whether the process becomes another user, or leaves most folders, after `makeService`."""
    return twistd is not None and any(twistd.get(each) is not None for each in ("uid", "gid", "chroot"))


def make_stores(options: Options) -> Stores:
    """The stores that the options name. Nothing is opened.

    :raises ConfigurationError: the database's URL or the token store's is not usable.
    """
    from twisted.internet import reactor

    return from_url(reactor, options["database"] or DEFAULT_DATABASE, options["token-store"])


def make_server(options: Options, stores: Stores, metrics: Metrics | None = None) -> AuthorizationServer:
    """The server that the options describe.

    :param stores: see `make_stores`.
    :raises ConfigurationError: the templates are not usable.
    """
    from twisted.internet import reactor

    return AuthorizationServer(
        reactor,
        *stores,
        issuer=options["issuer"],
        checkers=options.get("credCheckers", ()),
        settings=options["settings"],
        templates=options["templates"],
        metrics=metrics,
    )


def _say_why(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Tell an operator in one line why nothing was started; tracebacks are for faults of ours."""
    if isinstance(error, StartError):
        print(f"djoauth2: {printable_lines(str(error))}", file=sys.__stderr__)
    else:
        sys.__excepthook__(kind, error, traceback)
