"""``twistd djoauth2``: the stand-alone server's options, and the service that is made of them."""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from twisted.application.service import Service
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from .conf import ENVIRONMENT_PREFIX, Settings, gather, read_file
from .errors import ConfigurationError
from .server import AuthorizationServer
from .standalone.connections import Connections
from .standalone.descriptors import provide
from .standalone.files import Log, take_files
from .standalone.ports import Endpoint, Port, StartError
from .web.site import LimitedSite

DEFAULT_PORT = "ssl:443"
DEFAULT_DATABASE = "sqlite:///djoauth2.db"
MAX_PORT = 65535

#: How long clients have to take the last answers and hang up, in seconds. A client that keeps a
#: connection for later does not.
CLOSING_DEADLINE = 1

_REPEATABLE = ("port", "auth")
_SINGLE = ("database", "token_store", "issuer", "templates")


class Options(BaseOptions, AuthOptionMixin):
    """The options of ``twistd djoauth2``. What is wrong with them ends the process with one line."""

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
        """Parse and judge; the usage in full is for who asks for it."""
        try:
            super().parseOptions(options)
        except (UsageError, ConfigurationError) as error:
            raise SystemExit(f"djoauth2: {error}") from None

    def postOptions(self) -> None:
        """Fill in what environment and file say, and judge all of it.

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
        self["issuer"] = self["issuer"] or _default_issuer(self["port"][0], self["settings"])
        self["server"] = self._server()
        self["log"] = None if self.parent is None else take_files(self.parent)

    def _server(self) -> AuthorizationServer:
        from twisted.internet import reactor

        return AuthorizationServer.from_url(
            reactor,
            self["database"] or DEFAULT_DATABASE,
            issuer=self["issuer"],
            token_store=self["token-store"],
            checkers=self.get("credCheckers", ()),
            settings=self["settings"],
            templates=self["templates"],
        )


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


def _endpoint(description: str) -> Endpoint:
    from twisted.internet import reactor

    return Endpoint(reactor, description)


def _default_issuer(description: str, settings: Settings) -> str:
    match = re.match(r"\w+:(?:.*?(?<!\\):)?(?:port=)?([0-9]+)(?::|$)", description)
    port = int(match[1]) if match else 443
    if port > MAX_PORT:
        raise UsageError(f"--port {description}: a port is a number from 1 to {MAX_PORT}")
    scheme, usual = ("http", 80) if _plain(description, settings) else ("https", 443)
    return f"{scheme}://localhost" if port == usual else f"{scheme}://localhost:{port}"


def _plain(description: str, settings: Settings) -> bool:
    return not settings.ssl_only and description.startswith("tcp:")


def makeService(options: Options) -> StandAlone:
    """The stand-alone server. Nothing is opened here, for twistd forks only after this."""
    from twisted.internet import reactor

    sys.excepthook = _say_why
    server: AuthorizationServer = options["server"]
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
    return StandAlone(reactor, server, ports, connections, options["log"])


def _say_why(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Tell an operator in one line why nothing was started; tracebacks are for faults of ours."""
    if isinstance(error, StartError):
        print(f"djoauth2: {error}", file=sys.__stderr__)
    else:
        sys.__excepthook__(kind, error, traceback)


class StandAlone(Service):
    """An `AuthorizationServer` with ports of its own, started and stopped in order."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        server: AuthorizationServer,
        ports: list[Port],
        connections: Connections,
        log_file: Log | None = None,
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._ports = ports
        self._connections = connections
        self._log_file = log_file
        #: What a hangup did before; None where it is not ours.
        self._hangup: Any = None

    def privilegedStartService(self) -> None:
        """Listen while ports under 1024 may still be opened."""
        super().privilegedStartService()
        with self._judged():
            self._listen()

    def startService(self) -> None:
        """Listen, open the store, then serve. `twist` calls nothing but this.

        The store comes last, for its threads keep alive a process that failed to start.

        :raises StartError: the store cannot be opened or a port not be listened at.
        """
        super().startService()
        with self._judged():
            self._listen()
            self._server.open_now()
        self._server.startService()
        self._server.when_ready().addErrback(self._give_up)
        self._log.info("Serving {issuer}", issuer=self._server.issuer)

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Log why nothing is started: a daemon's parent prints no more than the beginning of it."""
        try:
            yield
        except (ConfigurationError, StartError) as error:
            # What is critical, Twisted prints by itself where no log is begun: it would be there twice.
            self._log.error("The server cannot start: {error}", error=error)
            raise StartError(str(error)) from None

    def _give_up(self, failure: Failure) -> None:
        """End the process, which would serve nothing, with a line and a status that is not 0."""
        print(f"djoauth2: {failure.value}", file=sys.__stderr__, flush=True)
        # The reactor ends in order, and so does twistd; after that there is only the status to set.
        atexit.register(os._exit, 1)
        self._reactor.stop()

    def _listen(self) -> None:
        for port in self._ports:
            port.listen()
        if self._hangup is None:
            self._hangup = signal.signal(signal.SIGHUP, self._hang_up) or signal.SIG_DFL

    def _hang_up(self, *_: object) -> None:
        # A signal comes in the middle of anything.
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Read the log's name and the certificates anew: what SIGHUP asks for."""
        try:
            path = self._log_file.reopen() if self._log_file is not None else None
            if path is not None:
                self._log.info("The log goes on in {path}.", path=path)
        except OSError as error:
            self._log.error(
                "{file} cannot be opened, so the log goes on where it was: {reason}",
                file=error.filename,
                reason=error.strerror,
            )
        for port in self._ports:
            port.reload()

    def stopService(self) -> Deferred[None]:
        """Let nobody in, finish what is in flight, close the store, and send the last answers."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await gatherResults([port.stop() for port in self._ports])
        await self._server.stopService()
        closing = self._connections.close().addTimeout(CLOSING_DEADLINE, self._reactor)
        await closing.addErrback(lambda _: None)
        if self._hangup is not None:
            signal.signal(signal.SIGHUP, self._hangup)
            self._hangup = None
