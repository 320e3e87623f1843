"""Engines of a test's own, which may be stopped, hung and starved, and what is looked for meanwhile.

Nothing here touches a server that another program started.
"""

from __future__ import annotations

import gc
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from attrs import define, frozen
from reactors import reactor
from service_kit import free_port
from stopping import stop
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs
from waiting import PATIENCE, until, wait_for

from djoauth2_twisted.credentials import digest, random_string
from djoauth2_twisted.errors import InvalidToken, TemporarilyUnavailable
from djoauth2_twisted.interfaces import ITokenStore
from djoauth2_twisted.models import Grant, Issued, RefreshProof, Replayed, TokenPair, Unknown
from djoauth2_twisted.stores.contract import family_of, new_grant, new_issuance, proof_of, random_digest
from djoauth2_twisted.stores.redis.connection import Redis as RedisConnections
from djoauth2_twisted.stores.redis.tokens import RedisTokenStore
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore
from djoauth2_twisted.verification.local import StoreVerifier

#: The longest time that a refusal may take, in seconds. The stores' deadlines are 2 seconds; the rest is
#: for a slow machine. It is shorter than the time after which the drivers give up by themselves.
IN_TIME = 9.0
#: The longest time until all is well again, in seconds: some retries, and the rest for a slow machine.
HEALED = 60.0
#: What others have ended is refused after this time, in seconds.
FELT = 0.1


def program(*names: str) -> str:
    """Where the first of these programs is that is installed; skips where none is."""
    for name in names:
        found = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or found[-1:]
        if path:
            return path if isinstance(path, str) else path[0]
    if os.environ.get("CI"):
        pytest.fail(f"{names[0]} is not installed")
    pytest.skip(f"{names[0]} is not installed")


class Engine:
    """A program with a folder and a port of its own, ended by its process id."""

    #: Who runs it, where we may say so.
    user: str | None = None
    #: What ends it at once.
    killer = signal.SIGKILL

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="djoauth2-outage-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.as_user: dict[str, Any] = {}
        if self.user is not None and os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self.as_user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def command(self) -> list[str]:
        """How it is started."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it serves."""
        raise NotImplementedError

    def run(self, *command: str) -> None:
        """Run a program of its kind to its end."""
        subprocess.run(
            command, check=True, capture_output=True, cwd=self.folder, timeout=PATIENCE, **self.as_user
        )

    def begin(self) -> None:
        """Start it, and do not wait for it."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, stdout=log, stderr=log, **self.as_user
            )

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.begin()
        wait_for(self.is_up, (self.folder / "log").read_text("utf-8", "replace")[-2000:])

    def is_up(self) -> bool:
        """Whether it serves; fails where it has ended."""
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text("utf-8", "replace")[-2000:]
        return self.answers()

    def pids(self) -> list[int]:
        """Its processes."""
        assert self.process is not None
        found = [self.process.pid]
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(status.read_text("utf-8", "replace").rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == self.process.pid:
                found.append(int(status.parent.name))
        return found

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def hang(self) -> None:
        """It listens, and does nothing more."""
        assert self.process is not None
        # It starts the others, so it must not run while they are listed.
        stop(self.process.pid)
        for pid in self.pids()[1:]:
            with suppress(ProcessLookupError):
                stop(pid)

    def go_on(self) -> None:
        """It does what it has missed."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.go_on()
            self.process.send_signal(self.killer)
            self.process.wait(PATIENCE)
            self.process = None

    def remove(self) -> None:
        """End it, and leave nothing of it."""
        self.kill()
        shutil.rmtree(self.folder)


class PostgreSQL(Engine):
    """A cluster, with a database and a user who has a password but may do all."""

    user = "postgres"
    #: "Immediate": what was not committed is lost, as if it had been killed with all its children.
    killer = signal.SIGQUIT

    def __init__(self, *settings: str) -> None:
        super().__init__()
        self.settings = settings
        initdb = program("initdb")
        self.run(initdb, "-N", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        (self.folder / "data/pg_hba.conf").write_text(
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )

    def command(self) -> list[str]:
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "shared_buffers=16MB",
            "deadlock_timeout=100ms",
            *self.settings,
        ]
        chosen = [word for setting in settings for word in ("-c", setting)]
        return [program("postgres"), "-D", "data", *chosen]

    def url(self, port: int | None = None, password: str = "right") -> str:
        return f"postgresql://tried:{password}@127.0.0.1:{port or self.port}/tried"

    def administer(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Execute statements as the administrator; the rows of the last."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True
        ) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def answers(self) -> bool:
        try:
            return bool(self.administer("SELECT 1"))
        except psycopg.OperationalError:
            return False

    def make(self) -> None:
        """Make the user and the database."""
        self.administer(
            "CREATE USER tried PASSWORD 'right'", "CREATE DATABASE tried OWNER tried TEMPLATE template0"
        )

    def end_connections(self) -> None:
        """End all connections of others."""
        self.administer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tried'")

    def set(self, name: str, value: str | None) -> None:
        """Change a setting for all, or change it back."""
        change = f"ALTER SYSTEM SET {name} = {value}" if value else f"ALTER SYSTEM RESET {name}"
        before = self.administer("SELECT pg_conf_load_time()")
        self.administer(change, "SELECT pg_reload_conf()")
        # Which only asks for it; the server itself reads first, and has all others do so then.
        wait_for(lambda: self.administer("SELECT pg_conf_load_time()") != before, "a setting")

    def block(self) -> Callable[[], None]:
        """Lock a table; gives what unlocks it."""
        connection = psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname="tried", autocommit=False
        )
        connection.execute("LOCK TABLE djoauth2_grant IN ACCESS EXCLUSIVE MODE")
        return connection.close


class PgBouncer(Engine):
    """A pooler before a PostgreSQL, with fewer connections than its clients have.

    :param mode: for how long a client keeps a connection: ``session`` or ``transaction``.
    """

    user = "postgres"

    def __init__(self, postgresql: PostgreSQL, mode: str) -> None:
        super().__init__()
        self._postgresql = postgresql
        self._mode = mode

    def command(self) -> list[str]:
        (self.folder / "pgbouncer.ini").write_text(f"""
[databases]
tried = host=127.0.0.1 port={self._postgresql.port} user=tried password=right
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = {self._mode}
default_pool_size = {3 if self._mode == "transaction" else 30}
ignore_startup_parameters = options
""")
        return [program("pgbouncer"), "pgbouncer.ini"]

    def url(self) -> str:
        return self._postgresql.url(self.port)

    def answers(self) -> bool:
        with socket.socket() as asked:
            return not asked.connect_ex(("127.0.0.1", self.port))


class MariaDB(Engine):
    """A server, with a database and a user who may do all in it, and nothing elsewhere."""

    user = "mysql"

    def __init__(self, *settings: str) -> None:
        super().__init__()
        self.settings = settings
        self.run(
            program("mariadb-install-db", "mysql_install_db"),
            "--no-defaults",
            f"--datadir={self.folder}/data",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )

    def command(self) -> list[str]:
        return [
            program("mariadbd", "mysqld"),
            "--no-defaults",
            f"--datadir={self.folder}/data",
            f"--socket={self.folder}/socket",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=16M",
            "--skip-name-resolve",
            *self.settings,
        ]

    def url(self, port: int | None = None, password: str = "right") -> str:
        return f"mysql://tried:{password}@127.0.0.1:{port or self.port}/tried"

    def connect(self) -> Any:
        """A connection of the administrator."""
        return pymysql.connect(unix_socket=f"{self.folder}/socket", user="root", autocommit=True)

    def administer(self, *statements: str) -> list[Any]:
        """Execute statements as the administrator; the rows of the last."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as tried:
            if tried.connect_ex(f"{self.folder}/socket"):
                return False
        return bool(self.administer("SELECT 1"))

    def make(self) -> None:
        """Make the user and the database."""
        self.administer(
            "CREATE DATABASE tried CHARACTER SET utf8mb4",
            "CREATE USER 'tried'@'127.0.0.1' IDENTIFIED BY 'right'",
            "GRANT ALL ON tried.* TO 'tried'@'127.0.0.1'",
        )

    def end_connections(self) -> None:
        """End all connections of others."""
        listed = "SELECT id FROM information_schema.processlist WHERE user = 'tried'"
        for (number,) in self.administer(listed):
            try:
                self.administer(f"KILL {number}")
            except pymysql.OperationalError:  # It has ended meanwhile.
                continue

    def block(self) -> Callable[[], None]:
        """Lock all tables; gives what unlocks them."""
        connection = self.connect()
        connection.cursor().execute("FLUSH TABLES WITH READ LOCK")
        return lambda: connection.close()


class Redis(Engine):
    """A server that keeps its log on disk."""

    #: Where it listens for TLS, if it does.
    tls_port = 0

    def __init__(self, *settings: str) -> None:
        super().__init__()
        self.settings = settings

    def command(self) -> list[str]:
        return [
            program("redis-server"),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
            *self.settings,
        ]

    def url(self, port: int | None = None, password: str = "") -> str:
        entrance = f":{password}@" if password else ""
        return f"redis://{entrance}127.0.0.1:{port or self.port}/0"

    def administer(self, *words: str, password: str = "") -> str:
        """Send a command as the administrator; the answer's text."""
        command = [program("redis-cli"), "-p", str(self.port), *words]
        own = {**os.environ, "REDISCLI_AUTH": password} if password else None
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, env=own, check=False
        )
        return done.stdout.strip()

    def answers(self) -> bool:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", self.port)):
                return False
            asked.sendall(b"PING\r\n")
            return asked.recv(100) not in (b"", b"-LOADING")

    def end_connections(self) -> None:
        """End all connections of others."""
        self.administer("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


# A network that is not to be relied on.


class Proxy:
    """Passes bytes on to a port of this machine, for as long and as fast as the test says.

    All of it runs in threads, as some of its clients block theirs.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._through = threading.Event()
        self._through.set()
        self._all_events = [self._through]
        self.delay = 0.0
        self.bytes_left: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                if self._listening.fileno() < 0:
                    return
                near.close()
                continue
            self._sockets += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(
                    target=self._pass_on, args=(source, target, self._through), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, through: threading.Event) -> None:
        try:
            while data := source.recv(65536):
                through.wait()
                if self.delay:
                    time.sleep(self.delay)
                if self.bytes_left is not None:
                    data = data[: self.bytes_left]
                    self.bytes_left -= len(data)
                target.sendall(data)
                if self.bytes_left == 0:
                    break
        except OSError:
            pass
        for each in (source, target):
            self._shut(each)

    def swallow(self) -> None:
        """Accept connections and read everything, but pass nothing on."""
        self._through.clear()

    def let_through(self) -> None:
        """Pass everything on, what was swallowed too."""
        self._through.set()
        self.delay, self.bytes_left = 0.0, None

    def forget(self) -> None:
        """Go on with new connections, and leave the old ones dangling."""
        assert not self._through.is_set()
        self._through = threading.Event()
        self._through.set()
        self._all_events.append(self._through)

    def cut_after(self, count: int) -> None:
        """Break all connections when so many bytes more have passed."""
        self.bytes_left = count

    def close(self) -> None:
        """End."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for event in self._all_events:
            event.set()
        for each in self._sockets:
            # A thread that reads from it would not notice that it is closed.
            self._shut(each)
            each.close()

    def _shut(self, each: socket.socket) -> None:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """A proxy, for a while."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


# What is looked for.


def error_of(deferred: Deferred[Any]) -> Deferred[Any]:
    """What a step fails with, or None with which it succeeds."""
    return deferred.addCallbacks(lambda _: None, lambda failure: failure.value)


async def refused(*steps: Deferred[Any]) -> None:
    """All fail with TemporarilyUnavailable, and in time."""
    since = time.monotonic()
    errors = await gatherResults([error_of(step) for step in steps])
    took = time.monotonic() - since
    assert [type(error) for error in errors] == [TemporarilyUnavailable] * len(steps), errors
    assert took < IN_TIME, took


async def eventually(ask: Callable[[], Deferred[Any]]) -> Any:
    """The answer to a question that is asked until it is answered, which it is soon.

    Until then it is refused, in time.
    """
    since = time.monotonic()
    while True:
        asked = time.monotonic()
        try:
            return await ask()
        except TemporarilyUnavailable:
            assert time.monotonic() - asked < IN_TIME
            assert time.monotonic() - since < HEALED
            await deferLater(reactor, 0.02)


@frozen
class Kept:
    """What a store holds when its outage begins."""

    store: ITokenStore
    grant: Grant
    pair: TokenPair
    waiting: Grant
    revoked: Grant
    revoked_pair: TokenPair

    @classmethod
    async def put_into(cls, store: ITokenStore) -> Kept:
        """A grant that is in use, one whose code waits, and one that was revoked.

        No outage has begun, so a step that is refused shows a busy machine: all begins again.
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return await cls._put_into(store)
            except TemporarilyUnavailable:
                assert time.monotonic() < end, "the store does not answer"

    @classmethod
    async def _put_into(cls, store: ITokenStore) -> Kept:
        grant, waiting, revoked = new_grant(), new_grant(), new_grant()
        pairs = []
        for each in (grant, waiting, revoked):
            assert await store.add_code(each)
        for each in (grant, revoked):
            outcome = await store.redeem_code(each.code_digest, proof_of(each), new_issuance())
            assert isinstance(outcome, Issued)
            pairs.append(outcome.pair)
        assert await store.revoke_grant(revoked.id)
        return cls(store, grant, pairs[0], waiting, revoked, pairs[1])

    def find(self) -> Deferred[Any]:
        return self.store.find_access_token(self.pair.access_digest)

    def add(self) -> Deferred[Any]:
        return self.store.add_code(new_grant())

    def redeem(self) -> Deferred[Any]:
        issuance = new_issuance(family_digest=family_of(self.waiting))
        return self.store.redeem_code(self.waiting.code_digest, proof_of(self.waiting), issuance)

    def rotate(self) -> Deferred[Any]:
        assert self.pair.refresh_digest is not None
        proof = RefreshProof(self.grant.client_id, None)
        issuance = new_issuance(family_digest=family_of(self.grant))
        return self.store.rotate_refresh_token(self.pair.refresh_digest, proof, issuance)

    def revoke(self) -> Deferred[Any]:
        """Revoke a token that does not exist."""
        return self.store.revoke(random_digest(), self.grant.client_id)

    def check_writable(self) -> Deferred[Any]:
        """What `/healthz` writes."""
        if isinstance(self.store, RedisTokenStore):
            return self.store.redis.check_writable()
        return database_of(self.store).check_writable()

    def writes(self) -> list[Deferred[Any]]:
        """Everything that writes, at once."""
        return [self.add(), self.redeem(), self.rotate()]

    def all(self) -> list[Deferred[Any]]:
        """Everything, at once."""
        return [self.find(), *self.writes(), self.revoke()]

    async def is_whole(self, strictly: bool = True) -> None:
        """Soon all is good that was good, and nothing else; and in use.

        :param strictly: nothing that was refused was done. Otherwise it may have been done wholly.
        """
        found = await eventually(self.find)
        assert (found is not None and found.grant_id == self.grant.id) or not strictly
        # Each thread of a store heals by itself.
        assert await eventually(self.find_revoked) is None
        again = await eventually(self.rotate_revoked)
        assert again == Unknown() or isinstance(again, Replayed)
        good = Issued if strictly else (Issued, Replayed)
        for ask in (self.redeem, self.rotate):
            assert isinstance(await eventually(ask), good)
        await eventually(self.check_writable)
        fresh = new_grant()
        assert await eventually(lambda: self.store.add_code(fresh))
        issuance = new_issuance()
        outcome = await eventually(
            lambda: self.store.redeem_code(fresh.code_digest, proof_of(fresh), issuance)
        )
        assert isinstance(outcome, good)
        if strictly:
            assert await eventually(lambda: self.store.find_access_token(issuance.access_digest))

    def find_revoked(self) -> Deferred[Any]:
        return self.store.find_access_token(self.revoked_pair.access_digest)

    def rotate_revoked(self) -> Deferred[Any]:
        assert self.revoked_pair.refresh_digest is not None
        proof = RefreshProof(self.revoked.client_id, None)
        return self.store.rotate_refresh_token(self.revoked_pair.refresh_digest, proof, new_issuance())


@define
class Guard:
    """A process that accepts good tokens, and caches them."""

    store: Any
    verifier: StoreVerifier

    @classmethod
    def over(cls, store: Any) -> Guard:
        return cls(store, StoreVerifier(reactor, store, 100))

    async def accepts(self, token: str) -> bool | None:
        """Whether a token is accepted; None where the store does not answer."""
        try:
            await self.verifier.verify(token, ())
        except InvalidToken:
            return False
        except TemporarilyUnavailable:
            return None
        return True

    def has_cached(self, token: str) -> bool:
        """Whether a token is accepted from the cache, without a question to the store."""
        verdict = self.verifier.verify(token, ())
        at_once = verdict.called
        verdict.addErrback(lambda failure: failure.trap(InvalidToken, TemporarilyUnavailable))
        return at_once

    async def keeps(self, *tokens: str) -> None:
        """Wait until these are in the cache."""
        for token in tokens:
            await until(partial(self.has_cached, token), "a token in the cache")

    async def refuses(self, token: str, since: float) -> None:
        """It refuses a token, at the latest `FELT` after ``since``, and then never accepts it again."""
        while (asked := time.monotonic()) and await self.accepts(token) is not False:
            assert asked < since + FELT
        for _ in range(20):
            assert await self.accepts(token) is False


async def issuance(store: Any) -> tuple[Grant, str]:
    """A grant, and an access token of it."""
    grant, token = new_grant(), random_string(30)
    assert await store.add_code(grant)
    pair = new_issuance(access_digest=digest(token))
    assert isinstance(await store.redeem_code(grant.code_digest, proof_of(grant), pair), Issued)
    return grant, token


@define
class Resources:
    """Threads and descriptors of this process."""

    threads: int
    descriptors: int

    @classmethod
    def now(cls) -> Resources:
        gc.collect()
        # The reactor's own threads, which look addresses up, are kept for others.
        ours = [each for each in threading.enumerate() if "internet.reactor" not in each.name]
        return cls(len(ours), len(os.listdir("/proc/self/fd")))


@frozen
class Tried:
    """An engine, a store on it, and what that holds."""

    engine: Any
    store: ITokenStore
    kept: Kept


@asynccontextmanager
async def opened(engine: Any, url: str | None = None) -> AsyncIterator[ITokenStore]:
    """A token store on an engine, open for a while."""
    url = url or engine.url()
    if isinstance(engine, Redis):
        redis = RedisConnections(reactor, url)
        await redis.connect()
        try:
            yield RedisTokenStore(redis)
        finally:
            await redis.close()
    else:
        database = Database(reactor, url)
        database.open(prepare=True)
        try:
            yield SQLTokenStore(database)
        finally:
            await database.close()


def database_of(store: ITokenStore) -> Database:
    """The database of an SQL store."""
    assert isinstance(store, SQLTokenStore)
    return store.database


async def back_to(base: Resources) -> None:
    """Wait until no more is in use than there was."""
    end = time.monotonic() + HEALED
    while (now := Resources.now()).threads > base.threads or now.descriptors > base.descriptors:
        assert time.monotonic() < end, (now, base)
        await deferLater(reactor, 0.05)


@contextmanager
def one_outage_is_logged(most: int = 1) -> Iterator[None]:
    """However many ask, the log has a line, or so many at most, where an outage begins."""
    with capturedLogs() as logs:
        yield
    ours = [event for event in logs if event.get("log_namespace", "").startswith("djoauth2_twisted")]
    errors = [event for event in ours if event["log_level"].name == "error"]
    assert 1 <= len(errors) <= most, [event.get("error") for event in errors]
