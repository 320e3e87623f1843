"""The options of ``twistd djoauth2``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.internet.task import react
from twisted.logger import Logger
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from .conf import (
    DEFAULT_DATABASE,
    ENVIRONMENT_PREFIX,
    OPTIONS,
    Settings,
    gather,
    is_of_platform,
    read_file,
    source_of,
    text_of,
    texts_of,
    whole_number,
    without,
)
from .errors import ConfigurationError, concerning
from .finding import Finding
from .printable import printable_lines
from .protocol.forwarding import TrustedProxies
from .protocol.registration import check_issuer
from .standalone.check.faults import faults_of
from .standalone.check.report import Configuration, has_errors, lines_of
from .standalone.endpoint_strings import (
    HardenedEndpoint,
    default_issuer,
    waits_for_systemd,
)
from .standalone.files import take_files
from .standalone.metrics_port import check_private
from .standalone.workers.assignment import assigned
from .stores.urls import refuse_processes

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

DEFAULT_PORT = "ssl:443"

#: The most workers.
MAX_WORKERS = 256

#: The formats of the log. The first is the default.
LOG_FORMATS = ("text", "json")

_SINGLE = ("database", "token_store", "issuer", "templates", "log_format", "metrics_port")


class Options(BaseOptions, AuthOptionMixin):
    """The options of ``twistd djoauth2``. A wrong one ends the process with one line."""

    _log = Logger()

    synopsis = "[options]"
    longdesc = (
        "An OAuth 2.0 authorization server. The port ssl:443 alone means server.pem in the current "
        "folder. Every option and setting can also be given in the environment, as DJOAUTH2_DATABASE "
        "and so on, and in the file named by --config."
    )
    supportedInterfaces = (IUsernamePassword,)
    optParameters = [  # noqa: RUF012 - as usage.Options has it
        [
            "database",
            None,
            None,
            f"SQLAlchemy URL of clients, users and tokens [default: {DEFAULT_DATABASE}]",
        ],
        [
            "token-store",
            None,
            None,
            "where codes, grants and tokens live: an SQLAlchemy URL or redis:// [default: the database]",
        ],
        [
            "issuer",
            None,
            None,
            "the public https address of this server [default: https://localhost and the first port]",
        ],
        ["templates", None, None, "a folder with pages of your own, looked up before the shipped ones"],
        ["workers", None, None, "how many processes share the ports; not with SQLite [default: 1]"],
        ["log-format", None, None, "text or json, a line for each event [default: text]"],
        ["metrics-port", None, None, "where Prometheus reads /metrics: tcp:9100:interface=127.0.0.1"],
        ["config", None, None, "a TOML file; its keys are the names of options and settings"],
    ]

    optFlags = [  # noqa: RUF012 - as above
        ["check", None, "judge the configuration, print what is found, and start nothing"]
    ]

    def __init__(self) -> None:
        super().__init__()
        #: What ``--check`` has found so far.
        self._faults: list[Finding] = []
        #: The files of ``--auth file:``.
        self._password_files: list[Path] = []
        self["port"] = []
        self["trusted-proxy"] = []
        #: The words of the command line.
        self.words: tuple[str, ...] = ()
        #: The options of the command line.
        self._given: frozenset[str] = frozenset()
        #: The configuration file: its path, and what it says.
        self._path = ""
        self._file: dict[str, Any] = {}

    def opt_port(self, description: str) -> None:
        """A server endpoint, ssl:443:privateKey=k.pem:certKey=c.pem; repeatable. [default: ssl:443]"""
        self["port"].append(description)

    opt_p = opt_port

    def opt_trusted_proxy(self, network: str) -> None:
        """A proxy whose Forwarded and X-Forwarded-* are believed: address, network, unix; repeatable."""
        self["trusted-proxy"].append(network)

    def opt_auth(self, description: str) -> None:
        """How resource owners log in; may be repeated. [default: the database's users]"""
        self._add_checker(description, "--auth")

    def _add_checker(self, description: str, where: str) -> None:
        """Add a checker.

        :param where: where its description comes from. The description itself may have passwords in it.
        """
        kind, _, argument = description.partition(":")
        if kind == "file" and argument.strip():
            # Twisted only warns of a file that is not there, and looks for it where --rundir leads.
            path = os.path.abspath(argument)
            if not os.path.isfile(path):
                raise UsageError(f"{where}: there is no file {path}")
            description = f"file:{path}"
            self._password_files.append(Path(path))
        try:
            super().opt_auth(description)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse and judge. The usage is printed only where it is asked for.

        :raises SystemExit: an option is wrong, or ``--check`` is given.
        """
        self.words = tuple(options or ())
        try:
            super().parseOptions(options)
        except UsageError as error:
            raise SystemExit(f"djoauth2: {printable_lines(str(error))}") from None
        except ConfigurationError as error:
            raise SystemExit(f"djoauth2: {printable_lines(self.said(error))}") from None
        if self["check"]:
            # Before twistd touches its pid file, and before it makes a service.
            react(self._report)

    def postOptions(self) -> None:
        """Add what the environment and the file say, and judge all of it. No server is built here.

        :raises UsageError: an option is wrong.
        :raises ConfigurationError: a setting, file or address is.
        """
        self._note_sources()
        chosen, self["settings"] = self._gather()
        for name in _SINGLE:
            self._take(partial(self._choose, name, chosen))
        self._take(lambda: self._choose_workers(chosen.get("workers")))
        self._take(lambda: self._choose_ports(chosen))
        if "credCheckers" not in self:
            self._take(lambda: self._choose_checkers(chosen))
        self._take(lambda: self._choose_proxies(chosen))
        self._make_endpoints()
        self._take(self._check_issuer)
        self._take(self._check_log_format)
        as_json = self["log-format"] == "json"
        is_taken = self.parent is not None and not self["check"]
        self["log"] = take_files(self.parent, as_json) if is_taken else None

    def _take(self, step: Callable[[], object]) -> None:
        """Take a step. With ``--check`` its fault is noted, and the next steps are taken too."""
        if self["check"]:
            self._faults += faults_of(step)
        else:
            step()

    def _gather(self) -> tuple[dict[str, Any], Settings]:
        """What the environment and the file say. With ``--check``, without what is wrong in it."""
        environment, file = dict(os.environ), self._file
        while True:
            try:
                return gather(OPTIONS, environment, file)
            except ConfigurationError as error:
                if not (self["check"] and self.source_of(error.about)):
                    raise
                self._faults.append(Finding.of(error))
                environment, file = without(error.about, environment, file)

    def _choose(self, name: str, chosen: Mapping[str, Any]) -> None:
        option = name.replace("_", "-")
        self[option] = self[option] or text_of(name, chosen.get(name))

    def _choose_workers(self, value: object) -> None:
        given, self["workers"] = self["workers"] or value, 1
        workers = 1 if given is None else whole_number("workers", given, MAX_WORKERS)
        if workers > 1:
            with concerning("workers"):
                refuse_processes(self["database"] or DEFAULT_DATABASE, self["token-store"])
        self["workers"] = workers

    def _choose_ports(self, chosen: Mapping[str, Any]) -> None:
        self["port"] = self["port"] or texts_of("port", chosen.get("port")) or [DEFAULT_PORT]

    def _choose_checkers(self, chosen: Mapping[str, Any]) -> None:
        for description in texts_of("auth", chosen.get("auth")):
            self._add_checker(description, self.source_of("auth"))

    def _choose_proxies(self, chosen: Mapping[str, Any]) -> None:
        self._trust(self["trusted-proxy"] or texts_of("trusted_proxy", chosen.get("trusted_proxy")))

    def _make_endpoints(self) -> None:
        settings: Settings = self["settings"]
        self["endpoints"] = []
        for port in self["port"]:
            if not (self["check"] and waits_for_systemd(port)):
                self._take(partial(self._make_endpoint, port, settings.trusted_proxies))
        # Of workers the parent has the metrics port.
        if self["metrics-port"] and assigned() is None:
            self._take(partial(self._make_metrics_endpoint, settings.trusted_proxies))
        self._take(lambda: self._choose_issuer(settings))

    def _make_endpoint(self, port: str, proxies: TrustedProxies) -> None:
        worker = assigned()
        adopted = None if worker is None else worker.descriptors[len(self["endpoints"])]
        endpoint = _endpoint(port, proxies, self._name_of_port("port", port), adopted)
        self["endpoints"].append((port, endpoint))

    def _make_metrics_endpoint(self, proxies: TrustedProxies) -> None:
        port = self["metrics-port"]
        name = self._name_of_port("metrics_port", port)
        check_private(port, name)
        self["metrics-endpoint"] = _endpoint(port, proxies, name)

    def _choose_issuer(self, settings: Settings) -> None:
        if not self["issuer"] and self["port"]:
            first = self["port"][0]
            self["issuer"] = default_issuer(first, settings, self._name_of_port("port", first))

    def _check_issuer(self) -> None:
        issuer, self["issuer"] = self["issuer"], ""
        check_issuer(issuer, self["settings"].ssl_only)
        self["issuer"] = issuer

    def _check_log_format(self) -> None:
        name = self["log-format"] = self["log-format"] or LOG_FORMATS[0]
        if name not in LOG_FORMATS:
            raise ConfigurationError(f"{name!r} is not {' or '.join(LOG_FORMATS)}", "log_format")

    def configuration(self) -> Configuration:
        """What the check judges, after the options themselves."""
        parent = self.parent
        return Configuration(
            settings=self["settings"],
            issuer=self["issuer"] or "",
            ports=self["port"],
            endpoints=[
                (self._name_of_port("port", port), endpoint) for port, endpoint in self["endpoints"]
            ],
            database=self["database"] or DEFAULT_DATABASE,
            token_store=self["token-store"],
            templates=self["templates"],
            file=self._path,
            values=self._file,
            password_files=self._password_files,
            has_checkers=bool(self.get("credCheckers")),
            server_user=None if parent is None else parent.get("uid"),
        )

    async def _report(self, reactor: IReactorTime) -> None:
        """Print a line for each finding, and end with status 1 if one is an error. Nothing is opened."""
        findings = self._faults + await self.configuration().judge_all(reactor)
        print(*lines_of(findings, self.source_of, self.stores()), sep="\n")
        raise SystemExit(int(has_errors(findings)))

    @property
    def file(self) -> dict[str, Any]:
        """What the configuration file says."""
        return self._file

    def stores(self) -> dict[str, str]:
        """The options of the stores, as a `djoauth2` command has them too."""
        return {f"--{name}": self[name] for name in ("database", "token-store") if self[name]}

    def _trust(self, networks: Sequence[str]) -> None:
        self["trusted-proxy"] = list(networks)
        if networks:
            with concerning("trusted_proxy"):
                self["settings"] = attrs.evolve(self["settings"], trusted_proxies=tuple(networks))

    def _note_sources(self) -> None:
        """Note which options were given, and read the file."""
        self._given = frozenset(
            name for name in ("config", *OPTIONS) if self.get(name.replace("_", "-"))
        )
        if "credCheckers" in self:
            self._given |= {"auth"}
        self._path = self["config"] or os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG") or ""
        worker = assigned()
        if worker is not None:
            # What the other workers have, though the file may have changed since.
            self._file = worker.file
        elif self._path:
            self._file = read_file(self._path)
        for variable, text in os.environ.items():
            if is_of_platform(variable, text):
                self._log.warn(
                    "{variable}={text} is ignored: it is the address of a service, which "
                    "Kubernetes or Docker has set.",
                    variable=variable,
                    text=text,
                )

    def source_of(self, name: str) -> str:
        """Where the value of an option or setting comes from; empty for a default.

        :param name: the name, with ``_``.
        """
        if name in self._given:
            return "--" + name.replace("_", "-")
        return source_of(name, os.environ, self._path, self._file)

    def said(self, error: ConfigurationError) -> str:
        """The line that tells of an error, with the source of the value that it is about."""
        source = self.source_of(error.about)
        return f"{source}: {error}" if source else str(error)

    def _name_of_port(self, option: str, description: str) -> str:
        """An endpoint string with its source, for people."""
        source = self.source_of(option) or "the default --port"
        return f"{source} {description}" if source.endswith("-port") else f"{source}: {description}"


def _endpoint(
    description: str, proxies: TrustedProxies, name: str, adopted: int | None = None
) -> HardenedEndpoint:
    from twisted.internet import reactor

    return HardenedEndpoint(reactor, description, proxies, name, adopted)
