"""``twistd djoauth2``: the stand-alone server's options, and the service that is made of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import OpenSSL
from service_identity import VerificationError
from twisted.application.service import Service
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from .conf import ENVIRONMENT_PREFIX, Settings, gather, read_file
from .errors import ConfigurationError
from .server import AuthorizationServer
from .web.request import LimitedSite

DEFAULT_PORT = "ssl:443"
DEFAULT_DATABASE = "sqlite:///djoauth2.db"

_REPEATABLE = ("port", "auth")
_SINGLE = ("database", "issuer", "templates")


class StartError(Exception):
    """The server cannot start. The message says why, in one line."""


class Options(BaseOptions, AuthOptionMixin):
    """The options of ``twistd djoauth2``. What is wrong with them ends the process with one line."""

    synopsis = "[options]"
    longdesc = (
        "An OAuth 2.0 authorization server. Every option and setting can also be given in the "
        "environment, as DJOAUTH2_DATABASE and so on, and in the file named by --config."
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
        """A Twisted server endpoint, as ssl:443:privateKey=key.pem:certKey=cert.pem; may be repeated.
        ssl:443 alone means server.pem in the current folder. [default: ssl:443]
        """
        self["port"].append(description)

    opt_p = opt_port

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
            self[name] = self[name] or _text(name, chosen.get(name))
        self["port"] = self["port"] or _texts("port", chosen.get("port")) or [DEFAULT_PORT]
        if "credCheckers" not in self:
            for description in _texts("auth", chosen.get("auth")):
                self.opt_auth(description)
        self["endpoints"] = [(each, _endpoint(each)) for each in self["port"]]
        self["issuer"] = self["issuer"] or _default_issuer(self["port"][0], self["settings"])
        self["server"] = self._server()

    def _server(self) -> AuthorizationServer:
        from twisted.internet import reactor

        return AuthorizationServer.from_url(
            reactor,
            self["database"] or DEFAULT_DATABASE,
            issuer=self["issuer"],
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


def _endpoint(description: str) -> IStreamServerEndpoint:
    from twisted.internet import reactor

    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
        return endpoint
    except FileNotFoundError as error:
        raise UsageError(
            f"--port {description}: there is no file {error.filename}\n"
            "Make a development certificate with `djoauth2 certificate localhost`, or name yours: "
            "--port ssl:443:privateKey=key.pem:certKey=cert.pem"
        ) from None
    except OSError as error:
        raise UsageError(f"--port {description}: {error.filename}: {error.strerror}") from None
    except OpenSSL.SSL.Error:
        raise UsageError(f"--port {description}: key and certificate cannot be used together") from None
    except (OpenSSL.crypto.Error, VerificationError):
        raise UsageError(f"--port {description}: the key or certificate cannot be read") from None
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UsageError(
            f"--port {description}: {error}\nWrite it like ssl:443:privateKey=key.pem:certKey=cert.pem"
        ) from None


def _default_issuer(description: str, settings: Settings) -> str:
    match = re.match(r"\w+:(?:.*?:)?(?:port=)?([0-9]+)(?::|$)", description)
    port = int(match[1]) if match else 443
    scheme, usual = ("http", 80) if _plain(description, settings) else ("https", 443)
    return f"{scheme}://localhost" if port == usual else f"{scheme}://localhost:{port}"


def _plain(description: str, settings: Settings) -> bool:
    return not settings.ssl_only and description.startswith("tcp:")


def makeService(options: Options) -> StandAlone:
    """The stand-alone server. Nothing is opened here, for twistd forks only after this."""
    from twisted.internet import reactor

    sys.excepthook = _say_why
    server: AuthorizationServer = options["server"]
    site = LimitedSite(server.root(), reactor)
    ports = [Port(description, endpoint, site) for description, endpoint in options["endpoints"]]
    return StandAlone(server, ports)


def _say_why(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Tell an operator in one line why nothing was started; tracebacks are for faults of ours."""
    if isinstance(error, StartError):
        print(f"djoauth2: {error}", file=sys.__stderr__)
    else:
        sys.__excepthook__(kind, error, traceback)


class Port:
    """An endpoint that is listened at."""

    def __init__(self, description: str, endpoint: IStreamServerEndpoint, site: LimitedSite) -> None:
        self._description = description
        self._endpoint = endpoint
        self._site = site
        self._listening: list[IListeningPort] = []

    def listen(self) -> None:
        """Begin to listen, unless it was begun.

        :raises StartError: the port is taken or forbidden.
        """
        if self._listening:
            return
        failures: list[Failure] = []
        # Endpoints of ports of this machine answer at once.
        self._endpoint.listen(self._site).addCallbacks(self._listening.append, failures.append)
        for failure in failures:
            error: Any = failure.value
            reason = error.socketError if isinstance(error, CannotListenError) else error
            reason = getattr(reason, "strerror", None) or reason
            raise StartError(f"cannot listen at {self._description}: {reason}")

    def stop(self) -> Deferred[Any]:
        """Stop listening; connections go on."""
        return gatherResults([maybeDeferred(port.stopListening) for port in self._listening])


class StandAlone(Service):
    """An `AuthorizationServer` with ports of its own, started and stopped in order."""

    _log = Logger()

    def __init__(self, server: AuthorizationServer, ports: list[Port]) -> None:
        self._server = server
        self._ports = ports

    def privilegedStartService(self) -> None:
        """Listen while ports under 1024 may still be opened."""
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """Open the store, then serve. `twist` calls nothing but this.

        :raises StartError: the store cannot be opened or a port not be listened at.
        """
        super().startService()
        try:
            self._server.open_now()
        except ConfigurationError as error:
            raise StartError(str(error)) from None
        self._listen()
        self._server.startService()
        self._log.info("Serving {issuer}", issuer=self._server.issuer)

    def _listen(self) -> None:
        for port in self._ports:
            port.listen()

    def stopService(self) -> Deferred[None]:
        """Let nobody in, finish what is in flight, close the store."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await gatherResults([port.stop() for port in self._ports])
        await self._server.stopService()
