"""Ports, as descriptions of endpoints say."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import OpenSSL
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.error import CannotListenError, VerifyError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from zope.interface import implementer

from ..errors import ConfigurationError
from .connections import Connections, Gate
from .folder import read_folder
from .tls import HardeningReactor, certificates_of

#: The order in which ssl: takes what is not named.
_OF_SSL = (
    "port",
    "privateKey",
    "certKey",
    "sslmethod",
    "interface",
    "backlog",
    "extraCertChain",
    "dhParameters",
)
_FILES = ("privateKey", "certKey", "extraCertChain", "dhParameters")


class StartError(Exception):
    """The server cannot start. The message says why, in one line."""


@implementer(IStreamServerEndpoint)
class Endpoint:
    """The endpoint that a description says, with TLS as it has to be.

    Its files are read now, by names that hold wherever the process goes.

    :raises UsageError: it cannot be listened at so.
    """

    def __init__(self, reactor: Any, description: str) -> None:
        self._description = description
        self._absolute = _with_absolute_files(description)
        folder = _folder(description) if description.startswith("tls:") else None
        parse: Any = partial(certificates_of, reactor, self._absolute, serverFromString)
        self._reactor = HardeningReactor(reactor, partial(read_folder, folder) if folder else parse)
        with self._judged():
            self._endpoint: IStreamServerEndpoint = serverFromString(self._reactor, self._absolute)
            if folder:
                read_folder(folder)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; see IStreamServerEndpoint."""
        return self._endpoint.listen(factory)

    def reload(self) -> bool:
        """Read the certificates anew; False where there are none.

        :raises UsageError: they are no good. Those that were read before stay in use.
        """
        if self._reactor.certificates is None:
            return False
        with self._judged():
            self._reactor.certificates.reload()
        return True

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Say what is wrong, in a line, and how to mend it in another."""
        port = f"--port {self._description}"
        try:
            yield
        except FileNotFoundError as error:
            raise UsageError(
                f"{port}: there is no file {error.filename}\n"
                "Make a development certificate with `djoauth2 certificate localhost`, or name yours: "
                "--port ssl:443:privateKey=key.pem:certKey=cert.pem"
            ) from None
        except OSError as error:
            raise UsageError(f"{port}: {error.filename}: {error.strerror}") from None
        except VerifyError:
            raise UsageError(f"{port}: the key and the certificate do not belong together") from None
        except (OpenSSL.crypto.Error, OpenSSL.SSL.Error):
            raise UsageError(f"{port}: the key or certificate cannot be read") from None
        except ConfigurationError as error:
            raise UsageError(f"{port}: {error}") from None
        except LookupError:
            raise UsageError(f"{port}: systemd has not passed such a socket") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{port}: {error}\nWrite it like ssl:443:privateKey=key.pem:certKey=cert.pem"
            ) from None


def _folder(description: str) -> Path:
    """The folder of a ``tls:`` endpoint, which must not be ``tls:8443``: Twisted takes that for one."""
    match = re.match(r"tls:(?:.*:)?path=(?P<path>[^:]*)|tls:(?P<first>[^:]*)", description)
    name = (match["path"] or match["first"]) if match else None
    if not name or not any(Path(name).rglob("*.pem")):
        raise UsageError(
            f"--port {description}: there is no folder {name!r} with certificates in it\n"
            "Write it like tls:/srv/certificates:port=443"
        )
    return Path(name).absolute()


def _with_absolute_files(description: str) -> str:
    """An ``ssl:`` description whose files can be found from every folder; any other as it is."""
    begin, kind, rest = description.partition("ssl:")
    if not kind or begin not in ("", "haproxy:"):
        return description
    fields = re.split(r"(?<!\\):", rest)
    names = [_name(position, field) for position, field in enumerate(fields)]
    if "privateKey" not in names:
        # Twisted's own default.
        fields.append("privateKey=server.pem")
        names.append("privateKey")
    for position, name in enumerate(names):
        if name in _FILES:
            path = fields[position].removeprefix(f"{name}=").replace("\\", "")
            fields[position] = f"{name}={quoteStringArgument(os.path.abspath(path))}"
    return begin + kind + ":".join(fields)


def _name(position: int, field: str) -> str:
    """What an argument of ``ssl:`` is: by its name, or by its position."""
    name, equals, _ = field.partition("=")
    if equals:
        return name
    return _OF_SSL[position] if position < len(_OF_SSL) else ""


class Port:
    """An endpoint that is listened at.

    :param reload: reads its certificates anew, and says whether there are any.
    """

    _log = Logger()

    def __init__(
        self,
        description: str,
        endpoint: IStreamServerEndpoint,
        connections: Connections,
        reload: Callable[[], bool] = lambda: False,
    ) -> None:
        self._description = description
        self._endpoint = endpoint
        self._connections = connections
        self._reload = reload
        self._listening: list[IListeningPort] = []
        self._gates: list[Gate] = []

    def listen(self) -> None:
        """Begin to listen, unless it was begun.

        :raises StartError: the port is taken or forbidden, or its certificates are no good.
        """
        if self._listening:
            return
        failures: list[Failure] = []
        # Endpoints of ports of this machine answer at once.
        self._endpoint.listen(self._connections).addCallbacks(self._opened, failures.append)
        for failure in failures:
            error: Any = failure.value
            reason = error.socketError if isinstance(error, CannotListenError) else error
            reason = getattr(reason, "strerror", None) or reason
            raise StartError(f"cannot listen at {self._description}: {reason}")

    def _opened(self, port: IListeningPort) -> None:
        self._listening.append(port)
        if IReadDescriptor.providedBy(port):
            self._gates.append(Gate(self._connections, port))

    def reload(self) -> None:
        """Read the certificates anew, and log what came of it; no good ones change nothing."""
        try:
            if self._reload():
                self._log.info("{port}: the certificates are read anew.", port=self._description)
        except UsageError as error:
            line = str(error).partition("\n")[0]
            self._log.error("{error}. The certificates that were read before stay in use.", error=line)

    def stop(self) -> Deferred[Any]:
        """Stop listening; connections go on."""
        for gate in self._gates:
            gate.close()
        return gatherResults([maybeDeferred(port.stopListening) for port in self._listening])
