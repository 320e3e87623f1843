"""`--workers`: processes that share the ports of one server, on PostgreSQL, with tokens in Redis."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from load_kit import TLS_SOCKET, Load, inheriting
from servers import POSTGRESQL
from service_kit import (
    ISSUER,
    TCP_PORT,
    TLS_PORT,
    TWIST,
    TWISTD,
    Application,
    Browser,
    PlainConnection,
    Prepared,
    Server,
    ask,
    trusting,
)
from store_kit import redis_options, sql_options
from waiting import PATIENCE, wait_for

from djoauth2_twisted.cli.certificate import make_certificate

pytestmark = [pytest.mark.process, pytest.mark.engine]

COUNT = 2

#: What `twistd` ends with.
ENDED = -signal.SIGTERM


@pytest.fixture(scope="module")
def stores(prepared_once: Prepared) -> Iterator[tuple[str, ...]]:
    """The registry in PostgreSQL and the tokens in Redis."""
    with ExitStack() as stack:
        sql = sql_options(POSTGRESQL, prepared_once, stack)
        yield (*sql, *redis_options(prepared_once, stack))


@pytest.fixture
def begin(start: Any, stores: tuple[str, ...]) -> Callable[..., Server]:
    """Start a server with workers, and do not wait for it."""
    return partial(start.begin, "--workers", str(COUNT), *stores)


@pytest.fixture
def server(begin: Callable[..., Server]) -> Server:
    """A server whose workers serve."""
    return begin("--metrics-port", TCP_PORT).wait_until_ready(2)


def workers_of(server: Server) -> set[int]:
    """The processes that a server has started and that run."""
    pid = server.process.pid
    return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def runs(pid: int) -> bool:
    """Whether a process runs, or has not been waited for."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def asked(server: Server) -> set[str]:
    """The workers that have answered calls, by the log."""
    return set(re.findall(r"\[worker (\d) \S+#info\] \S+ GET /livez 200 ", server.text()))


def ask_all(server: Server) -> None:
    """Ask on new connections, until each worker has answered one."""

    def all_asked() -> bool:
        assert Browser(server).get("/livez").status == 200
        return len(asked(server)) == COUNT

    wait_for(all_asked, "an answer of each worker", server.text)


def metrics(server: Server) -> str:
    """The text at the metrics port."""
    connection = PlainConnection(server, 1)
    try:
        answer = ask(connection, "GET", "/metrics")
    finally:
        connection.close()
    assert answer.status == 200
    return answer.text


def value(text: str, name: str) -> float:
    """The value of a metric."""
    (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found)


def test_workers_share_the_port_and_the_store(server: Server) -> None:
    """Each is a process that answers; the log says which; they end with their parent, in order."""
    workers = workers_of(server)
    assert len(workers) == COUNT
    ask_all(server)
    code = Browser(server).log_in_as_user().code()
    with Application(server) as application:
        issued = application.exchange(code).json
        assert application.refresh(issued["refresh_token"]).status == 200
    for _ in range(4):
        # A new connection each time, to either worker.
        with Application(server) as application:
            assert application.user_info(issued["access_token"]).status == 401
    assert server.stop() == ENDED
    assert not any(runs(pid) for pid in workers)
    assert "Traceback" not in server.text(), server.text()


def test_list_of_processes_shows_no_option(server: Server, stores: tuple[str, ...]) -> None:
    for pid in workers_of(server):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"djoauth2_twisted.standalone.workers" in words
        assert b"--database" not in words


def test_metrics_of_workers_add_up(server: Server) -> None:
    """A counter is the sum, and does not fall when a worker is killed."""
    ask_all(server)
    name = 'djoauth2_requests_total{endpoint="livez",method="GET",status="200"}'

    def sent() -> int:
        return len(re.findall(r"\] \S+ GET /livez 200 ", server.text()))

    before = value(metrics(server), name)
    wait_for(lambda: sent() == before, "the lines", server.text)
    os.kill(min(workers_of(server)), signal.SIGKILL)
    wait_for(lambda: value(metrics(server), "djoauth2_workers") < COUNT, "the end", server.text)
    assert value(metrics(server), name) == before
    wait_for(lambda: value(metrics(server), "djoauth2_workers") == COUNT, "another", server.text)
    assert Browser(server).get("/livez").status == 200
    text = metrics(server)
    assert value(text, name) == before + 1
    assert value(text, "djoauth2_workers_replaced_total") == 1
    assert value(text, "djoauth2_ready") == 1


def test_killed_worker_is_replaced(server: Server) -> None:
    """The others serve meanwhile, and the log says what has happened."""
    ask_all(server)
    before = workers_of(server)
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    for _ in range(5):
        # One that had waited for the worker is reset, as the whole process is gone.
        with suppress(ConnectionError, ssl.SSLError):
            assert Browser(server).get("/livez").status == 200

    def replaced() -> bool:
        now = workers_of(server)
        return len(now) == COUNT and killed not in now

    wait_for(replaced, "another worker", server.text)
    assert re.search(rf"Worker \d \(process {killed}\) was ended by signal 9. It is repl", server.text())
    assert server.stop() == ENDED


def test_worker_that_gets_sigterm_drains_and_is_replaced(server: Server) -> None:
    before = workers_of(server)
    os.kill(min(before), signal.SIGTERM)
    wait_for(lambda: "ended" in server.text() and len(workers_of(server) - before) == 1, "another")
    assert Browser(server).get("/livez").status == 200
    assert server.stop() == ENDED
    assert "Traceback" not in server.text(), server.text()


def test_workers_end_when_their_parent_is_killed(server: Server) -> None:
    workers = workers_of(server)
    server.kill()
    wait_for(lambda: not any(runs(pid) for pid in workers), "the end of the workers", server.text)


@pytest.mark.parametrize(
    "program", [(*TWISTD, "-n", "--pidfile="), (*TWIST, "--log-format=text")], ids=["twistd", "twist"]
)
def test_worker_that_cannot_start_ends_all_with_its_line(begin, program: tuple[str, ...]) -> None:
    server = begin("--database", f"{POSTGRESQL}-nowhere", program=program)
    assert server.wait() == 1
    (line,) = server.errors.read_text().splitlines()
    assert line.startswith("djoauth2: --database: the database ")
    assert "postgres-nowhere" in line
    assert "Traceback" not in server.text()


def test_worker_that_cannot_start_ends_a_daemon_with_its_line(prepared: Prepared) -> None:
    """On the terminal where it was started."""
    nowhere = ("--workers", "2", "--database", f"{POSTGRESQL}-nowhere", "--issuer", ISSUER)
    done = subprocess.run(
        [*TWISTD, "djoauth2", "--port", TLS_PORT, *nowhere],
        cwd=prepared.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("djoauth2: --database: the database ")


def test_reload_reaches_all_workers(server: Server, prepared: Prepared) -> None:
    """SIGHUP: each has the new certificate from then on."""
    prepared.certificate.write_bytes(make_certificate("localhost"))
    trusting.cache_clear()
    server.signal(signal.SIGHUP)
    read = re.compile(r"\[worker (\d) \S+\] ssl:0:interface=127.0.0.1: the certificates were read again")
    wait_for(lambda: len(set(read.findall(server.text()))) == COUNT, "the reload", server.text)
    ask_all(server)


@pytest.mark.parametrize("program", ["twistd", "twist"])
def test_log_file_is_one_for_all_and_is_reopened(begin, prepared: Prepared, program: str) -> None:
    """The parent writes it, for itself and the workers."""
    log = prepared.folder / "the.log"
    if program == "twistd":
        command = (*TWISTD, "-n", "--pidfile=", f"--logfile={log}")
    else:
        command = (*TWIST, "--log-format=text", f"--log-file={log}")
    server: Server = begin(program=command)
    server.log = log
    log.touch()
    server.wait_until_ready()
    ask_all(server)
    log.rename(prepared.folder / "the.log.old")
    server.signal(signal.SIGHUP)
    wait_for(log.exists, "the new log")
    ask_all(server)
    server.stop()
    assert "[worker 1 " in log.read_text()


def test_json_log_has_the_worker_as_a_field(begin) -> None:
    server: Server = begin("--log-format", "json").wait_until_ready()
    pattern = re.compile(r'"fields": {.*"worker": (\d)}')
    wait_for(lambda: set(pattern.findall(server.text())) == {"1", "2"}, "lines of both", server.text)


def test_service_manager_is_told_by_the_parent_once_all_are_ready(begin, prepared: Prepared) -> None:
    address = prepared.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(PATIENCE)
        server: Server = begin(variables={"NOTIFY_SOCKET": str(address)})
        assert manager.recv(100) == b"READY=1"
        assert len(set(re.findall(r"\[worker (\d) ", server.text()))) == COUNT
        server.wait_until_ready()
        assert server.stop() == ENDED
        assert manager.recv(100) == b"STOPPING=1"
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


def wait_for_more(load: Load) -> None:
    """Wait for some more answers."""
    most = len(load.waits) + 25
    wait_for(lambda: len(load.waits) >= most, "answers", lambda: load.outcomes)


def test_restart_of_workers_at_a_socket_of_systemd_loses_no_request(begin) -> None:
    """Under load, one server after the other, each with its workers."""
    with socket.create_server(("127.0.0.1", 0), backlog=socket.SOMAXCONN) as kept:
        kept.set_inheritable(True)

        def another(name: str) -> Server:
            server = begin(
                ports=(TLS_SOCKET,), program=inheriting(kept), pass_fds=(kept.fileno(),), log=name
            )
            server.ports = [kept.getsockname()[1]]
            wait_for(lambda: "workers serve" in server.text(), "the start", server.text)
            return server

        server = another("first")
        load = Load(server, 50, 10)
        load.prepare(5)
        load.start()
        try:
            for name in ("second", "third"):
                wait_for_more(load)
                assert server.stop() == ENDED
                server = another(name)
            wait_for_more(load)
        finally:
            load.stop()
        assert set(load.outcomes) == {"200"}, load.outcomes
        assert server.stop() == ENDED


def test_workers_share_a_socket_in_the_file_system(begin, prepared: Prepared) -> None:
    """Its file is removed once, by the parent."""
    path = prepared.folder / "socket"
    server: Server = begin("--trusted-proxy", "unix", ports=(f"unix:{path}",))
    wait_for(lambda: "workers serve" in server.text(), "the start", server.text)
    head = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"

    def all_asked() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(head)
            assert client.recv(12) == b"HTTP/1.1 200"
        return len(asked(server)) == COUNT

    wait_for(all_asked, "an answer of each worker", server.text)
    assert server.stop() == ENDED
    assert not path.exists()
    assert "Traceback" not in server.text(), server.text()


def test_workers_have_what_the_file_said_at_the_start(begin, prepared: Prepared) -> None:
    """Also one that takes the place of another later."""
    file = prepared.folder / "server.toml"
    file.write_text('realm = "first"\n')
    server: Server = begin("--config", str(file)).wait_until_ready()
    file.write_text("what = is this\n")
    before = workers_of(server)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(workers_of(server) - before) == COUNT, "other workers", server.text)
    wait_for(server.is_healthy, "readiness", server.text)
    answer = Browser(server).get("/api/user_info/")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="first"')


def test_files_of_a_folder_that_is_left_are_found(
    begin: Any, prepared: Prepared, tmp_path: Path
) -> None:
    """`--rundir`: names on the command line are relative to the folder of the start."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(prepared.certificate, prepared.folder / "key.pem")
    port = f"{TLS_PORT}:privateKey=key.pem:certKey=key.pem"
    program = (*TWISTD, "-n", "--pidfile=", f"--rundir={elsewhere}")
    server: Server = begin(ports=(port,), program=program).wait_until_ready()
    for pid in workers_of(server):
        assert os.readlink(f"/proc/{pid}/cwd") == str(elsewhere)
