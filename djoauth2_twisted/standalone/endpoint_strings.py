"""Endpoint strings, as in ``--port``: their faults, and the issuer that they imply."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import OpenSSL
from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTCP,
    IStreamServerEndpoint,
)
from twisted.python.usage import UsageError
from zope.interface import implementer

from ..conf import Settings
from ..errors import ConfigurationError
from ..pem import refuse_encrypted
from ..protocol.forwarding import NO_PROXIES, TrustedProxies
from .endpoint_fields import PROXY, behind_proxy, fields_of
from .folder import read_chains, read_folder
from .inherited import is_inherited, split
from .pem_files import read_chain, read_pair
from .tls import HardeningReactor, ServerCertificate, unreachable
from .workers.adopting import AdoptingReactor

MAX_PORT = 65535

#: The kinds of endpoints that have no TLS, ``systemd:`` without certificates among them. Kinds that are
#: not known may have it.
_PLAIN = ("tcp:", "tcp6:", "unix:", "systemd:")

#: The order of the arguments of ``ssl:`` that have no name.
_SSL_ARGUMENTS = (
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


@implementer(IStreamServerEndpoint)
class HardenedEndpoint:
    """The endpoint of an endpoint string, with secure TLS; see `inherited` for sockets of systemd.

    It reads its files now. Their names become absolute, so that the working folder may change later.

    :param proxies: the peers that may use the PROXY protocol, at a ``haproxy:`` endpoint.
    :param name: the endpoint string and where it comes from, for errors.
    :param adopted: of a worker: the descriptor of the socket that its parent has opened.
    :raises UsageError: the server cannot listen at it. The message says why, and how to fix it.
    """

    def __init__(
        self,
        reactor: IReactorTCP,
        description: str,
        proxies: TrustedProxies = NO_PROXIES,
        name: str = "",
        adopted: int | None = None,
    ) -> None:
        self._name = name or f"--port {description}"
        inherited, certificates = split(behind_proxy(description))
        if adopted is not None:
            # The socket of systemd was passed to the parent, so Twisted would not find it here.
            adopting: Any = AdoptingReactor(reactor, adopted)
            reactor, inherited = adopting, "tcp:0"
        #: With absolute file names. For a socket of systemd, only its certificates.
        self._absolute = _with_absolute_files(certificates or description)
        if description.startswith(PROXY) and not proxies:
            raise UsageError(
                f"{self._name}: any client could pretend to be another\n"
                "Name the proxies that may connect: --trusted-proxy 10.0.0.0/8"
            )
        with self._usage_errors():
            folder = _folder(description) if behind_proxy(description).startswith("tls:") else None
        if folder:
            below = _below_tls(self._absolute)
        elif is_inherited(description):
            below = (PROXY if description.startswith(PROXY) else "") + inherited
        else:
            below = self._absolute
        #: Whether the endpoint that listens has no TLS, so that ours is put on it.
        self._adds_tls = bool(folder or certificates)
        self._folder, self._files = folder, _files(self._absolute)
        read = self._reader()
        self._reactor = HardeningReactor(reactor, read, proxies)
        self._seen = self._look()
        with self._usage_errors():
            self._endpoint = self._parsed(below, read if folder or self._files else None, certificates)

    def _parsed(
        self, below: str, read: Callable[[], ServerCertificate] | None, certificates: str
    ) -> IStreamServerEndpoint:
        """The endpoint below our TLS, once all else was read without an error."""
        if "" in _ssl_fields(self._absolute)[2]:
            raise ValueError("there are too many arguments")
        if read is not None:
            # Before Twisted reads them, which would ask for the password of an encrypted key.
            read().options()
        if certificates:
            # For its errors: no other argument than those of ``ssl:``.
            _parse(self._reactor, self._absolute)
        return _parse(self._reactor, below)

    def _reader(self) -> Callable[[], ServerCertificate]:
        if self._folder is not None:
            return partial(read_folder, self._folder)
        if not self._files:
            return unreachable
        return partial(read_pair, *self._pair())

    def _pair(self) -> tuple[Path, Path, Path | None]:
        """The files of the key, of the certificate, and of its chain."""
        key = self._files["privateKey"]
        return key, self._files.get("certKey", key), self._files.get("extraCertChain")

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; see IStreamServerEndpoint."""
        return self._endpoint.listen(self._reactor.with_tls(factory) if self._adds_tls else factory)

    def chains(self) -> list[list[x509.Certificate]]:
        """Each certificate, and those that are sent after it; empty without TLS. Nothing listens.

        :raises UsageError: they are not usable. A certificate that has expired is not an error here.
        """
        with self._usage_errors():
            if self._folder is not None:
                return read_chains(self._folder)
            return [read_chain(*self._pair())] if self._files else []

    def files(self) -> list[Path]:
        """The files of its keys and certificates."""
        return list(self._look())

    def has_changed(self) -> bool:
        """Whether a file of the certificates has changed since it was last read."""
        return self._look() != self._seen

    def certificate_ends(self) -> float | None:
        """When the certificate expires, in seconds since the epoch; None while there is none."""
        certificates = self._reactor.certificates
        return None if certificates is None else certificates.ends()

    def _look(self) -> dict[Path, tuple[int, ...] | None]:
        """The state of each file, behind all symbolic links. None: it cannot be seen."""
        folder = self._folder
        files = self._files.values() if folder is None else sorted(folder.rglob("*.pem"))
        return {path: _state_of(path) for path in files}

    def reload(self) -> bool:
        """Read the certificates again. Returns False if the endpoint has none.

        :raises UsageError: they are not usable. The previous certificates stay in use.
        """
        if self._reactor.certificates is None:
            return False
        # Before the files are read: what changes meanwhile is read again.
        self._seen = self._look()
        with self._usage_errors():
            self._reactor.certificates.reload()
        return True

    def renew_ticket_key(self) -> None:
        """Replace the key of session tickets if it is too old."""
        if self._reactor.certificates is not None:
            self._reactor.certificates.renew_ticket_key()

    @contextmanager
    def _usage_errors(self) -> Iterator[None]:
        """Turn an error into a UsageError. One line says the fault, another how to fix it."""
        port = self._name
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
    """The folder of a ``tls:`` endpoint. Twisted takes the ``8443`` of ``tls:8443`` for a folder."""
    pattern = r"tls:(?:.*:)?path=(?P<path>[^:]*)|tls:(?P<first>[^:]*)"
    match = re.match(pattern, behind_proxy(description))
    name = (match["path"] or match["first"]) if match else None
    if not name or not any(Path(name).rglob("*.pem")):
        raise ConfigurationError(
            f"there is no folder {name!r} with certificates in it\n"
            "Write it like tls:/srv/certificates:port=443"
        )
    return Path(name).absolute()


def _below_tls(description: str) -> str:
    """The ``tcp6:`` endpoint on which a ``tls:`` endpoint runs.

    Twisted would read the folder too. If a root certificate is in it, this never ends (26.10).
    """
    begin, _, rest = description.partition("tls:")
    fields = fields_of(rest)
    names = ("path", "port", "backlog", "interface")
    named = {"port": "443"}
    for name, field in zip(names, fields, strict=False):
        given, equals, value = field.partition("=")
        named |= {given: value} if equals else {name: field}
    named.pop("path")
    return f"{begin}tcp6:" + ":".join(f"{name}={value}" for name, value in named.items())


def _parse(reactor: HardeningReactor, description: str) -> IStreamServerEndpoint:
    """The endpoint of a description with absolute file names. No encrypted file is read."""
    for path in _files(description).values():
        refuse_encrypted(path)
    endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    return endpoint


def _files(description: str) -> dict[str, Path]:
    """The files of an ``ssl:`` endpoint, by the names of its arguments."""
    _, fields, names = _ssl_fields(description)
    return {
        name: Path(field.removeprefix(f"{name}=").replace("\\", ""))
        for name, field in zip(names, fields, strict=True)
        if name in _FILES
    }


def _ssl_fields(description: str) -> tuple[str, list[str], list[str]]:
    """The beginning of an ``ssl:`` endpoint, its fields, and their names; nothing for another."""
    begin, kind, rest = description.partition("ssl:")
    if not kind or begin not in ("", PROXY):
        return "", [], []
    fields = fields_of(rest)
    return begin + kind, fields, [_name(position, field) for position, field in enumerate(fields)]


def _with_absolute_files(description: str) -> str:
    """The description, with absolute file names if it is an ``ssl:`` endpoint."""
    begin, fields, names = _ssl_fields(description)
    if not begin:
        return description
    if "privateKey" not in names:
        # This is Twisted's default.
        fields.append("privateKey=server.pem")
        names.append("privateKey")
    for position, name in enumerate(names):
        if name in _FILES:
            path = fields[position].removeprefix(f"{name}=").replace("\\", "")
            fields[position] = f"{name}={quoteStringArgument(os.path.abspath(path))}"
    return begin + ":".join(fields)


def _state_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    # The time of the inode shows that a file has become readable.
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _name(position: int, field: str) -> str:
    """The name of an argument of ``ssl:``, which its position may imply."""
    name, equals, _ = field.partition("=")
    if equals:
        return name
    return _SSL_ARGUMENTS[position] if position < len(_SSL_ARGUMENTS) else ""


def check_reachable(descriptions: Sequence[str], settings: Settings) -> None:
    """Raise ConfigurationError where no port can serve a request, because there is no TLS anywhere.

    TLS may end at a trusted proxy, which says so in a header; but not behind the PROXY protocol, which
    puts the client's address in the place of the proxy's.
    """
    if not settings.ssl_only:
        return
    for description in descriptions:
        if _has_tls(description) or (settings.trusted_proxies and not description.startswith(PROXY)):
            return
    raise ConfigurationError(
        f"--port {descriptions[0]}: nothing could be served, because it has no TLS\n"
        "Write it like ssl:443:privateKey=key.pem:certKey=cert.pem, or name the proxy that ends TLS: "
        "--trusted-proxy 127.0.0.1"
    )


def _has_tls(description: str) -> bool:
    listening, certificates = split(behind_proxy(description))
    return bool(certificates) or not listening.startswith(_PLAIN)


def default_issuer(description: str, settings: Settings, name: str = "") -> str:
    """The issuer of a server at localhost whose first port is this one.

    :param name: see `HardenedEndpoint`.
    :raises UsageError: the port's number is too large.
    """
    found = port_number(description)
    port = 443 if found is None else found
    if port > MAX_PORT:
        name = name or f"--port {description}"
        raise UsageError(f"{name}: a port is a number from 1 to {MAX_PORT}")
    scheme, usual = ("http", 80) if _is_plain(description, settings) else ("https", 443)
    return f"{scheme}://localhost" if port == usual else f"{scheme}://localhost:{port}"


def waits_for_systemd(description: str) -> bool:
    """Whether a port is one of systemd's, which has not started this process."""
    return is_inherited(description) and "LISTEN_FDS" not in os.environ


def port_number(description: str) -> int | None:
    """The number of the TCP port in an endpoint string; None if it names none."""
    match = re.match(r"\w+:(?:.*?(?<!\\):)?(?:port=)?([0-9]+)(?::|$)", description)
    return int(match[1]) if match else None


def _is_plain(description: str, settings: Settings) -> bool:
    return not settings.ssl_only and description.startswith("tcp:")
