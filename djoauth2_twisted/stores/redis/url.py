"""The URLs of Redis: ``redis://``, ``rediss://``, ``unix://`` and ``redis+sentinel://``."""

from __future__ import annotations

from urllib.parse import SplitResult, quote, unquote, urlsplit

from attrs import field, frozen

from ...errors import ConfigurationError

_EXAMPLE = (
    "write it like redis://user:password@host:6379/0, "
    "in a name or password @ as %40, : as %3A, / as %2F and # as %23"
)

_DEFAULT_PORT = 6379
_DEFAULT_SENTINEL_PORT = 26379


@frozen
class Address:
    """Where a Redis server is, and how to log in to it."""

    scheme: str  #: ``redis``, ``rediss`` (TLS), ``unix`` or ``redis+sentinel``
    hosts: tuple[tuple[str, int], ...]  #: host and port; of ``redis+sentinel``, each Sentinel's
    path: str  #: of the socket, for ``unix``
    service: str  #: the name by which the Sentinels know the master
    db: int
    username: str | None
    password: str | None = field(repr=False)

    def __str__(self) -> str:
        """The URL without the login."""
        if self.scheme == "unix":
            return f"unix://{quote(self.path)}?db={self.db}"
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )
        return "/".join(
            (f"{self.scheme}://{hosts}", *([self.service] if self.service else []), str(self.db))
        )


def parse_url(url: str) -> Address:
    """Read a URL of Redis.

    :raises ConfigurationError: the URL is not valid. The message never contains the password.
    """
    try:
        parts = urlsplit(url)
        if parts.fragment:
            # What stands before it would be taken for a host and a port.
            raise ValueError
        query = dict(pair.split("=", 1) for pair in parts.query.split("&") if pair)
        login, _, hosts = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        segments = [segment for segment in parts.path.split("/") if segment]
        found, path, service, db = (
            _unix_target(parts, query)
            if parts.scheme == "unix"
            else _network_target(parts.scheme, hosts, segments, query)
        )
    except ValueError:
        raise ConfigurationError(f"the token store's URL cannot be read: {_EXAMPLE}") from None
    return Address(
        parts.scheme, found, path, service, db, unquote(username) or None, unquote(password) or None
    )


#: The hosts, path, service and database of an `Address`.
_Target = tuple[tuple[tuple[str, int], ...], str, str, int]


def _unix_target(parts: SplitResult, query: dict[str, str]) -> _Target:
    if set(query) - {"db"} or not parts.path:
        raise ValueError
    return (), unquote(parts.path), "", _database(query.get("db", "0"))


def _network_target(scheme: str, hosts: str, segments: list[str], query: dict[str, str]) -> _Target:
    sentinel = scheme == "redis+sentinel"
    default_port = _DEFAULT_SENTINEL_PORT if sentinel else _DEFAULT_PORT
    found = tuple(_host(host, default_port) for host in hosts.split(","))
    if sentinel and not segments:
        raise ValueError
    service = segments.pop(0) if sentinel else ""
    if query or len(segments) > 1 or (len(found) > 1 and not sentinel):
        raise ValueError
    return found, "", service, _database(segments[0] if segments else "0")


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or default_port


def _database(text: str) -> int:
    if not text.isdecimal():
        raise ValueError
    return int(text)
