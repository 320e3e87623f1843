"""`twistd djoauth2` and `twist djoauth2`, started and ended as an operator does, and asked over TLS."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest
from service_kit import (
    DJOAUTH2,
    ISSUER,
    TCP_PORT,
    TLS_PORT,
    TWIST,
    TWISTD,
    Answer,
    Application,
    Browser,
    Connection,
    PlainConnection,
    Prepared,
    Server,
    as_bytes,
    ask,
    basic,
    bearer,
    code_form,
    run,
    walk,
)
from waiting import wait_for

#: How `twistd` and `twist` end by a signal, whatever they serve: by that signal.
ENDED = -signal.SIGTERM

LOGIN = "/oauth2/login/"


def nothing_went_wrong(server: Server) -> bool:
    """Whether a log is free of tracebacks and of unhandled errors."""
    return not re.search("Traceback|Unhandled|error|critical", server.text())


@pytest.mark.parametrize(
    "program",
    [
        pytest.param((*TWISTD, "-n", "--pidfile="), id="twistd"),
        pytest.param((*TWIST, "--log-format=text"), id="twist"),
    ],
)
def test_serves_the_whole_flow_and_ends_by_sigterm(start, program):
    """twistd -n and twist serve alike, over TLS, and leave a log in which nothing went wrong."""
    server = start(program=program)
    walk(server)
    assert server.stop() == ENDED
    assert nothing_went_wrong(server), server.text()


def test_serves_from_nothing_but_a_certificate(start, prepared: Prepared):
    """Without any option but the port there is a new database in the current folder."""
    prepared.database.unlink()
    server = start()
    assert prepared.database.stat().st_mode & 0o777 == 0o600
    assert Browser(server).get(LOGIN).status == 200
    with Application(server) as application:
        assert application.exchange("x" * 30).json["error"] == "invalid_client"


def test_twistd_as_a_daemon(prepared: Prepared):
    """The parent's status is 0 once it serves; SIGTERM by the pid file ends it and the pid file."""
    pid, log = prepared.folder / "twistd.pid", prepared.folder / "twistd.log"
    command = (*TWISTD, f"--pidfile={pid}", f"--logfile={log}")
    done = run(*command, "djoauth2", "--port", TLS_PORT, "--issuer", ISSUER, folder=prepared.folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    daemon = Daemon(prepared, pid, log)
    try:
        walk(daemon.server)
        daemon.signal(signal.SIGTERM)
        wait_for(lambda: not pid.exists(), "the end of the daemon", log.read_text)
        assert "Server Shut Down." in log.read_text()
        assert not re.search("Traceback|Unhandled", log.read_text())
    finally:
        daemon.kill()


def test_an_error_of_a_daemon_s_start_is_printed_whole(prepared: Prepared):
    """The parent of a daemon passes on no more than 100 bytes."""
    pid, log = prepared.folder / "twistd.pid", prepared.folder / "twistd.log"
    database = prepared.folder / ("missing-" + "x" * 150) / "a.db"
    command = (*TWISTD, f"--pidfile={pid}", f"--logfile={log}")
    options = ("--port", TLS_PORT, "--issuer", ISSUER, "--database", f"sqlite:///{database}")
    done = run(*command, "djoauth2", *options, folder=prepared.folder)
    assert (done.returncode, done.stdout) == (1, "")
    first, *rest = done.stderr.splitlines()
    assert (
        first
        == f"djoauth2: --database: the database {database} cannot be used: No such file or directory"
    )
    assert rest[0].endswith("StartError: see above'")
    assert str(database) in log.read_text()


def test_a_hint_names_the_server_s_own_database(prepared: Prepared):
    """Copied as it is, the command upgrades the database that the server uses."""
    with closing(sqlite3.connect(prepared.database)) as connection, connection:
        connection.execute("UPDATE djoauth2_alembic_version SET version_num = '9999'")
    database = f"sqlite:///{prepared.database}"
    options = ("--port", TLS_PORT, "--issuer", ISSUER, "--database", database)
    done = run(*TWISTD, "-n", "--pidfile=", "djoauth2", *options, folder=prepared.folder)
    assert done.returncode == 1
    assert f"run `djoauth2 --database {database} database upgrade`" in done.stderr


class Daemon:
    """A server that is no child of this process and is known by its pid file."""

    def __init__(self, prepared: Prepared, pid_file: Path, log: Path) -> None:
        self.pid = int(pid_file.read_text())
        found = re.search(r"djoauth2 \(TLS\) starting on (\d+)", log.read_text())
        assert found, log.read_text()
        self.server = Server(prepared, None, log, log, [int(found[1])])  # type: ignore[arg-type]

    def _is_alive(self) -> bool:
        try:
            # A zombie process has ended, too.
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
            command = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z" and b"djoauth2" in command

    def signal(self, number: int) -> None:
        """Send a signal, unless it is gone."""
        if self._is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, and see it gone."""
        self.signal(signal.SIGKILL)
        wait_for(lambda: not self._is_alive(), "the end of the daemon")


def test_a_stale_pid_file_does_not_stop_the_restart(start, prepared: Prepared):
    """What kill -9 leaves behind is no obstacle."""
    pid_file = prepared.folder / "twistd.pid"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    pid_file.write_text(str(ended.pid))
    server = start(program=(*TWISTD, "-n", f"--pidfile={pid_file}"))
    assert pid_file.read_text() == str(server.process.pid)
    server.stop()
    assert not pid_file.exists()


def plainly(server: Server, method: str, path: str, form=None, headers=None) -> Answer:
    """Ask at the second port, which has no TLS."""
    with closing(PlainConnection(server, 1)) as connection:
        return ask(connection, method, path, form, headers)


def test_a_port_without_tls_beside_one_with(start):
    """Without TLS no login, no token and no redirect is answered."""
    server = start(ports=(TLS_PORT, TCP_PORT))
    token = walk(server)["access_token"]
    code = Browser(server).log_in_as_user().code()
    prepared = server.prepared
    credentials = {"Authorization": basic(prepared.client_id, prepared.client_secret)}

    refused = plainly(server, "POST", "/oauth2/token/", code_form(code), credentials)
    assert (refused.status, refused.json["error"]) == (400, "invalid_request")
    guarded = plainly(server, "GET", "/api/user_info/", headers=bearer(token))
    assert guarded.status == 400
    assert 'error="invalid_request"' in guarded.headers["www-authenticate"]
    for path in (LOGIN, "/oauth2/authorization/?client_id=x", "/oauth2/missing_redirect_uri/"):
        page = plainly(server, "GET", path)
        assert (page.status, page.location, page.headers["set-cookie"]) == (400, "", None)

    # What was sent in the clear was not looked at.
    with Application(server) as application:
        assert application.exchange(code).status == 200


def test_several_ports_with_tls(start):
    """All of them serve the same."""
    server = start(ports=(TLS_PORT, TLS_PORT))
    for number in range(2):
        with closing(Connection(server, number)) as connection:
            assert ask(connection, "GET", "/healthz").json == {"status": "ok"}


def test_ssl_only_false_is_warned_of_at_every_start(start):
    """It serves in the clear then, as developers want it to, and says so each time."""
    for _ in range(2):
        server = start(ports=(TLS_PORT, TCP_PORT), variables={"DJOAUTH2_SSL_ONLY": "false"})
        assert plainly(server, "GET", LOGIN).status == 200
        assert re.search("warn.*SSL_ONLY is false", server.text())
        server.stop()


def test_ssl_only_is_the_default(start):
    """And no warning is logged."""
    server = start()
    assert "SSL_ONLY" not in server.text()


def test_logins_codes_and_tokens_survive_a_restart(start):
    """A browser that is logged in, a code and a pair of tokens are as good as before."""
    first = start()
    browser = Browser(first).log_in_as_user()
    code, tokens = browser.code(), walk(first)
    assert first.stop() == ENDED
    second = start()
    browser.server = second
    assert browser.get(browser.address("s")).status == 200
    with Application(second) as application:
        assert application.exchange(code).status == 200
        assert application.user_info(tokens["access_token"]).status == 200
        assert application.refresh(tokens["refresh_token"]).status == 200


class TestAuth:
    """--auth: who logs in, beside or instead of the database's users."""

    def test_file(self, start, prepared: Prepared):
        """A file of twisted.cred; the database's users count no more."""
        (prepared.folder / "passwords").write_text("bob:builder\nzoë:grün\n", "utf-8")
        server = start("--auth", "file:passwords")
        assert Browser(server).log_in("bob", "builder").status == 303
        assert Browser(server).log_in("zoë", "grün").status == 303
        assert Browser(server).log_in("bob", "wrong").status == 403
        assert Browser(server).log_in(prepared.username, prepared.password).status == 403

    def test_memory(self, start):
        """The checker for tests."""
        server = start("--auth", "memory:bob:builder:eve:dropper")
        assert Browser(server).log_in("bob", "builder").status == 303
        assert Browser(server).log_in("eve", "dropper").status == 303
        assert Browser(server).log_in("bob", "dropper").status == 403

    def test_several_at_once(self, start, prepared: Prepared):
        """All of them are asked, though a Portal would keep the last."""
        (prepared.folder / "passwords").write_text("bob:builder\n")
        server = start("--auth", "file:passwords", "--auth", "memory:eve:dropper")
        bob = Browser(server)
        assert bob.log_in("bob", "builder").status == 303
        assert Browser(server).log_in("eve", "dropper").status == 303
        assert Browser(server).log_in("eve", "builder").status == 403
        with Application(server) as application:
            token = application.exchange(bob.code()).json["access_token"]
            assert application.user_info(token).json["username"] == "bob"

    def test_file_with_a_folder_of_its_own(self, start, prepared: Prepared):
        """A relative path is taken from where the server was started, whatever --rundir says."""
        (prepared.folder / "passwords").write_text("bob:builder\n")
        (prepared.folder / "elsewhere").mkdir()
        program = (*TWISTD, "-n", "--pidfile=", "--rundir=elsewhere")
        server = start("--auth", "file:passwords", program=program)
        assert Browser(server).log_in("bob", "builder").status == 303
        assert list((prepared.folder / "elsewhere").iterdir()) == []


class TestConfiguration:
    """An option beats the environment, which beats the file."""

    FILE = "database = 'sqlite:///file.db'\nissuer = 'https://file.example'\nrealm = 'file'\n"
    ENVIRONMENT: ClassVar = {
        "DJOAUTH2_CONFIG": "djoauth2.toml",
        "DJOAUTH2_DATABASE": "sqlite:///environment.db",
        "DJOAUTH2_REALM": "environment",
        "DJOAUTH2_ACCESS_TOKEN_LIFETIME": "100",
    }

    def realm(self, server: Server) -> str:
        """The realm that the token endpoint tells."""
        with Application(server) as application:
            answer = application.token({"grant_type": "refresh_token"}, {})
        assert answer.status == 401
        return answer.headers["www-authenticate"].partition('"')[2].partition('"')[0]

    @pytest.fixture(autouse=True)
    def file(self, prepared: Prepared) -> None:
        """The file that is named in the environment or by an option."""
        (prepared.folder / "djoauth2.toml").write_text(self.FILE)

    def test_file(self, start, prepared: Prepared):
        """--config FILE."""
        server = start("--config", "djoauth2.toml")
        assert (prepared.folder / "file.db").exists()
        assert self.realm(server) == "file"

    def test_environment_beats_file(self, start, prepared: Prepared):
        """Of option and setting alike; what it does not name is as the file says."""
        server = start(variables=self.ENVIRONMENT)
        assert (prepared.folder / "environment.db").exists()
        assert not (prepared.folder / "file.db").exists()
        assert self.realm(server) == "environment"

    def test_option_beats_both(self, start, prepared: Prepared):
        """And a setting, which has no option, is as the environment says."""
        server = start("--database", f"sqlite:///{prepared.database}", variables=self.ENVIRONMENT)
        assert walk(server)["expires_in"] == 100
        assert not (prepared.folder / "environment.db").exists()

    def test_ports_and_issuer_of_the_file(self, start, prepared: Prepared):
        """Options that may be repeated are lists there."""
        text = (
            f"port = ['{TLS_PORT}', '{TCP_PORT}']\nissuer = 'https://file.example/x'\nssl-only = false"
        )
        (prepared.folder / "djoauth2.toml").write_text(text)
        server = start.begin("--config", "djoauth2.toml", ports=(), issuer=None)
        server.wait_until_ready(2)
        assert plainly(server, "GET", LOGIN).status == 200
        assert "Serving https://file.example/x" in server.text()


def test_the_commands_work_on_the_database_of_a_server_that_runs(start, prepared: Prepared):
    """What an operator changes counts at once."""
    server = start()
    token = walk(server)["access_token"]
    deleted = run(*DJOAUTH2, "user", "delete", "alice", folder=prepared.folder)
    assert deleted.returncode == 0, deleted.stderr
    with Application(server) as application:
        assert application.user_info(token).status == 401
    assert Browser(server).log_in(prepared.username, prepared.password).status == 403


def test_sigterm_finishes_what_is_in_flight(start):
    """Logins that were sent before SIGTERM are answered after it, and the server ends."""
    # Whether all were read and one was in flight is seen afterwards. Where not, the machine was slower
    # or faster.
    for _ in range(10):
        server = start()
        if _end_with_logins_in_flight(server):
            break
    else:
        pytest.fail("no login was in flight at the end of the server")


def _end_with_logins_in_flight(server: Server) -> bool:
    prepared = server.prepared
    browser = Browser(server)
    form = {**browser.form(LOGIN).fields, "username": prepared.username, "password": prepared.password}
    sent = as_bytes(server, "POST", LOGIN, form, {**browser.headers, "Connection": "close"})
    connections = [server.connect() for _ in range(4)]
    idle = server.connect()
    for connection in connections:
        connection.sendall(sent)
    # Usually answered after the server has begun to read the others.
    assert browser.get("/oauth2/style.css").status == 200
    server.signal(signal.SIGTERM)
    are_all_answered = True
    for connection in connections:
        answer = b""
        while part := connection.recv(65536):
            answer += part
        assert not answer or answer.startswith(b"HTTP/1.1 303 "), answer
        are_all_answered = are_all_answered and bool(answer)
        connection.close()
    assert server.wait() == ENDED
    idle.close()
    text = server.text()
    assert nothing_went_wrong(server), text
    return are_all_answered and "POST /oauth2/login/ 303" in text.partition("Received SIGTERM")[2]


@pytest.mark.parametrize("to_file", [False, True], ids=["standard output", "file"])
@pytest.mark.parametrize("program", ["twistd", "twist"])
def test_log_can_be_json(prepared: Prepared, program: str, to_file: bool) -> None:
    """INTERFACE, section 1: a line for each event."""
    log = prepared.folder / "server.log"
    starters = {"twistd": (*TWISTD, "-n", "--pidfile="), "twist": TWIST}
    option = {"twistd": f"--logfile={log}", "twist": f"--log-file={log}"}[program]
    command = (*starters[program], *([option] if to_file else []))
    server = Server.start(prepared, "--log-format", "json", program=command)
    written = log if to_file else server.log
    try:
        wait_for(lambda: written.exists() and "Serving" in written.read_text(), "a line", server.text)
    finally:
        server.stop()
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    (serving,) = [line for line in lines if line["message"].startswith("Serving")]
    assert serving["fields"] == {"issuer": ISSUER}
