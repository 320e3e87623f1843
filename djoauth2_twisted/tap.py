"""``twistd djoauth2``: the service that is made of the options."""

from __future__ import annotations

import sys
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, cast

from twisted.python.usage import Options as BaseOptions

from .clock import IProcessReactor
from .conf import (
    DEFAULT_DATABASE,
    Settings,
)
from .errors import ConfigurationError
from .finding import refuse_errors
from .interfaces import IRegistry, ITokenStore
from .options import Options
from .printable import printable_lines
from .server import AuthorizationServer
from .standalone.check.report import (
    warnings_among,
)
from .standalone.connections import Connections
from .standalone.descriptors import provide
from .standalone.endpoint_strings import (
    check_reachable,
)
from .standalone.metrics_port import make_metrics, make_metrics_port
from .standalone.ports import Port, StartError
from .standalone.service import StandAlone
from .standalone.terminal import Terminal
from .stores.urls import Opened, from_url, read_ahead
from .web.site import LimitedSite

if TYPE_CHECKING:
    from .metrics import Metrics

#: What must be opened, the registry and the token store.
Stores = tuple[Opened, IRegistry, ITokenStore]


def makeService(options: Options) -> StandAlone:
    """The stand-alone server. Nothing is opened here, for twistd forks only after this.

    What is wrong with the configuration ends the process with one line.
    """
    from twisted.internet import reactor

    sys.excepthook = _say_why
    try:
        metrics = make_metrics() if options["metrics-port"] else None
        stores = make_stores(options)
        server = make_server(options, stores, metrics)
        findings = options.configuration().judge(stores[0])
        refuse_errors(findings)
    except ConfigurationError as error:
        raise SystemExit(f"djoauth2: {printable_lines(options.said(error))}") from None
    if _gives_up_rights(options.parent):
        for url in (options["database"] or DEFAULT_DATABASE, options["token-store"] or ""):
            read_ahead(url)
    settings: Settings = options["settings"]
    connections = Connections(
        LimitedSite(server.root(), reactor, settings.trusted_proxies),
        provide(settings.max_connections),
        settings.max_connections_per_address,
    )
    ports = _make_ports(options, connections, server, metrics)
    return StandAlone(
        cast("IProcessReactor", reactor),
        server,
        ports,
        connections,
        options["log"],
        options.said,
        Terminal(),
        options.stores(),
        partial(check_reachable, options["port"], settings),
        warnings_among(findings, options.source_of),
    )


def _make_ports(
    options: Options,
    connections: Connections,
    server: AuthorizationServer,
    metrics: Metrics | None,
) -> list[Port]:
    ports = [
        Port(description, endpoint, connections, endpoint, server.events.publish)
        for description, endpoint in options["endpoints"]
    ]
    if metrics is not None:
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
