"""``twistd djoauth2``: the stand-alone server's options, and the service that is made of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import TracebackType

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from .conf import ENVIRONMENT_PREFIX, Settings, gather, read_file
from .errors import ConfigurationError
from .printable import printable_lines
from .protocol.registration import check_issuer
from .server import AuthorizationServer
from .standalone.connections import Connections
from .standalone.descriptors import provide
from .standalone.endpoint_strings import HardenedEndpoint, default_issuer
from .standalone.files import take_files
from .standalone.ports import Port, StartError
from .standalone.service import StandAlone
from .standalone.terminal import Terminal
from .web.site import LimitedSite

DEFAULT_PORT = "ssl:443"
DEFAULT_DATABASE = "sqlite:///djoauth2.db"

_REPEATABLE = ("port", "auth")
_SINGLE = ("database", "token_store", "issuer", "templates")


class Options(BaseOptions, AuthOptionMixin):
    """The options of ``twistd djoauth2``. A wrong one ends the process with one line."""

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
        ["config", None, None, "a TOML file; its keys are the names of options and settings"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["port"] = []

    def opt_port(self, description: str) -> None:
        """A server endpoint, ssl:443:privateKey=k.pem:certKey=c.pem; repeatable. [default: ssl:443]"""
        self["port"].append(description)

    opt_p = opt_port

    def opt_auth(self, description: str) -> None:
        """How resource owners log in; may be repeated. [default: the database's users]"""
        kind, _, argument = description.partition(":")
        if kind == "file" and argument.strip():
            # Twisted only warns of a file that is not there, and looks for it where --rundir leads.
            path = os.path.abspath(argument)
            if not os.path.isfile(path):
                raise UsageError(f"--auth {description}: there is no file {path}")
            description = f"file:{path}"
        super().opt_auth(description)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse and judge. The usage is printed only where it is asked for."""
        try:
            super().parseOptions(options)
        except (UsageError, ConfigurationError) as error:
            raise SystemExit(f"djoauth2: {printable_lines(str(error))}") from None

    def postOptions(self) -> None:
        """Add what the environment and the file say, and judge all of it. No server is built here.

        :raises UsageError: an option is wrong.
        :raises ConfigurationError: a setting, file or address is.
        """
        path = self["config"] or os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")
        file = read_file(path) if path else {}
        chosen, self["settings"] = gather((*_REPEATABLE, *_SINGLE), os.environ, file)
        for name in _SINGLE:
            option = name.replace("_", "-")
            self[option] = self[option] or _text(name, chosen.get(name))
        self["port"] = self["port"] or _texts("port", chosen.get("port")) or [DEFAULT_PORT]
        if "credCheckers" not in self:
            for description in _texts("auth", chosen.get("auth")):
                self.opt_auth(description)
        self["endpoints"] = [(each, _endpoint(each)) for each in self["port"]]
        self["issuer"] = self["issuer"] or default_issuer(self["port"][0], self["settings"])
        check_issuer(self["issuer"], self["settings"].ssl_only)
        self["log"] = None if self.parent is None else take_files(self.parent)


def _text(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{name} is {value!r}: it must be a text")
    return value


def _texts(name: str, value: object) -> list[str]:
    """An option that may be repeated: a list in a file, words in the environment."""
    if value is None:
        return []
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise ConfigurationError(f"{name} is {value!r}: it must be a text or a list of texts")


def _endpoint(description: str) -> HardenedEndpoint:
    from twisted.internet import reactor

    return HardenedEndpoint(reactor, description)


def makeService(options: Options) -> StandAlone:
    """The stand-alone server. Nothing is opened here, for twistd forks only after this.

    What is wrong with the configuration ends the process with one line.
    """
    from twisted.internet import reactor

    sys.excepthook = _say_why
    try:
        server = make_server(options)
    except ConfigurationError as error:
        raise SystemExit(f"djoauth2: {printable_lines(str(error))}") from None
    settings: Settings = options["settings"]
    connections = Connections(
        LimitedSite(server.root(), reactor),
        provide(settings.max_connections),
        settings.max_connections_per_address,
    )
    ports = [
        Port(description, endpoint, connections, endpoint.reload)
        for description, endpoint in options["endpoints"]
    ]
    stores = {f"--{name}": options[name] for name in ("database", "token-store") if options[name]}
    return StandAlone(reactor, server, ports, connections, options["log"], Terminal(), stores)


def make_server(options: Options) -> AuthorizationServer:
    """The server that the options describe.

    :raises ConfigurationError: the database's URL, the token store's or the templates are not usable.
    """
    from twisted.internet import reactor

    return AuthorizationServer.from_url(
        reactor,
        options["database"] or DEFAULT_DATABASE,
        issuer=options["issuer"],
        token_store=options["token-store"],
        checkers=options.get("credCheckers", ()),
        settings=options["settings"],
        templates=options["templates"],
    )


def _say_why(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Tell an operator in one line why nothing was started; tracebacks are for faults of ours."""
    if isinstance(error, StartError):
        print(f"djoauth2: {printable_lines(str(error))}", file=sys.__stderr__)
    else:
        sys.__excepthook__(kind, error, traceback)
