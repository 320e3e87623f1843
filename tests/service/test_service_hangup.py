"""SIGHUP: certificates and log are read again, and the process continues. And the modes of its files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from service_kit import (
    ISSUER,
    ROOT,
    TLS_PORT,
    TWIST,
    TWISTD,
    Browser,
    Connection,
    Prepared,
    Server,
    ask,
    environment,
)
from waiting import PATIENCE, wait_for

from djoauth2_twisted.cli.certificate import make_certificate

ENDED = -signal.SIGTERM


def certificate_at(port: int, host: str = "127.0.0.1") -> bytes:
    """The certificate that a handshake shows now."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection((host, port), PATIENCE)
    with plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
        shown = secure.getpeercert(binary_form=True)
    assert shown
    return shown


def in_der(pem: bytes) -> bytes:
    """The certificate of a PEM text with a key before it."""
    return ssl.PEM_cert_to_DER_cert(pem[pem.index(b"-----BEGIN CERT") :].decode())


def hang_up_and_wait(server: Server, log: Path, line: str) -> None:
    """Send SIGHUP, and wait until a log has one more line of a kind."""
    before = len(re.findall(line, log.read_text())) if log.exists() else 0
    server.signal(signal.SIGHUP)

    def told() -> bool:
        return log.exists() and len(re.findall(line, log.read_text())) > before

    wait_for(told, "an answer to SIGHUP", server.text)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param((*TWISTD, "-n", "--pidfile=", "--logfile=the.log"), id="twistd"),
        pytest.param((*TWIST, "--log-format=text", "--log-file=the.log"), id="twist"),
    ],
)
def test_reads_certificates_and_log_anew(start, prepared: Prepared, program):
    """TL-08, F-35: new handshakes get what is new and good, open connections live, the log continues."""
    log, old = prepared.folder / "the.log", prepared.certificate.read_bytes()
    folder = prepared.folder / "certificates"
    folder.mkdir()
    (folder / "a.pem").write_bytes(old)
    server = start.begin(ports=(TLS_PORT, r"tls:certificates:port=0:interface=\:\:1"), program=program)
    server.log = log
    wait_for(log.exists, "a log")
    server.wait_until_ready(2)
    of_ssl, of_tls = server.ports
    connection = Connection(server)
    assert ask(connection, "GET", "/healthz").status == 200
    ssl_told, tls_told = r"ssl:0\S*: the certificates were read", r"tls:\S*: the certificates were read"

    # What logrotate does, and who renews certificates.
    new = make_certificate("localhost")
    prepared.certificate.write_bytes(new)
    (folder / "a.pem").write_bytes(new)
    log.rename(prepared.folder / "the.log.1")
    hang_up_and_wait(server, log, tls_told)
    assert re.search(ssl_told, log.read_text())
    assert certificate_at(of_ssl) == certificate_at(of_tls, "::1") == in_der(new)
    assert ask(connection, "GET", "/healthz").status == 200

    # Half a renewal, and none.
    prepared.certificate.write_bytes(new[:-200])
    (folder / "a.pem").write_bytes(
        old[: old.index(b"-----BEGIN CERT")] + new[new.index(b"-----BEGIN CERT") :]
    )
    hang_up_and_wait(
        server, log, "previous certificates stay in use[^\0]*previous certificates stay in use"
    )
    assert certificate_at(of_ssl) == certificate_at(of_tls, "::1") == in_der(new)
    assert ask(connection, "GET", "/healthz").status == 200
    connection.close()
    assert "Traceback" not in log.read_text()
    assert server.stop() == ENDED


def test_a_log_that_cannot_be_opened_goes_on(start, prepared: Prepared):
    """In the file that it had, which has another name now."""
    logs = prepared.folder / "logs"
    logs.mkdir()
    server = start.begin(program=(*TWISTD, "-n", "--pidfile=", "--logfile=logs/the.log"))
    server.log = logs / "the.log"
    wait_for(server.log.exists, "a log")
    server.wait_until_ready()
    server.log = (logs / "the.log").rename(prepared.folder / "renamed.log")
    logs.rmdir()
    hang_up_and_wait(server, server.log, "so the log stays where it is: No such file or directory")
    assert server.is_healthy()
    assert server.stop() == ENDED
    assert "Server Shut Down." in server.log.read_text()


@pytest.mark.skipif(
    shutil.which("logrotate", path="/usr/sbin:/usr/bin") is None and not os.environ.get("CI"),
    reason="logrotate is not installed",
)
def test_logrotate_with_the_file_in_deploy(start, prepared: Prepared):
    """It renames the log, and the server continues in the new file."""
    log, pid = prepared.folder / "djoauth2.log", prepared.folder / "djoauth2.pid"
    program = (*TWISTD, "-n", f"--pidfile={pid}", f"--logfile={log}")
    server = start.begin(program=program)
    server.log = log
    wait_for(log.exists, "a log")
    server.wait_until_ready()
    text = (ROOT / "deploy/logrotate/djoauth2").read_text("utf-8")
    owner = f"{log.owner()} {log.group()}"
    for before, after in (
        ("/var/log/djoauth2/djoauth2.log", str(log)),
        ("/run/djoauth2/djoauth2.pid", str(pid)),
        ("djoauth2 adm", owner),
    ):
        assert before in text
        text = text.replace(before, after)
    configuration = prepared.folder / "logrotate.conf"
    configuration.write_text(text)
    configuration.chmod(0o600)
    command = [
        "/usr/sbin/logrotate",
        "--force",
        "--state",
        f"{prepared.folder}/state",
        str(configuration),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (renamed,) = prepared.folder.glob("djoauth2.log-*")
    assert "Serving" in renamed.read_text()
    wait_for(lambda: "The log continues in" in log.read_text(), "the new log", server.text)
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert server.stop() == ENDED
    assert not pid.exists()


def modes(folder: Path) -> dict[str, str]:
    """The files of a folder that anyone but owner and group can touch, or the group can change."""
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}
    return {path.name: oct(mode) for path, mode in found.items() if mode & ~0o640}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-n", "--pidfile=its.pid", "--logfile=its.log"), id="foreground"),
        pytest.param(("-n", "--pidfile=its.pid", "--logfile=its.log", "--umask=0"), id="umask"),
        pytest.param(("-n", "--pidfile=its.pid", "--logfile=its.log", "twist"), id="twist"),
    ],
)
def test_no_file_is_for_everybody(prepared: Prepared, options):
    """However wide the shell's umask is, and a log that is there already was."""
    prepared.database.unlink()
    prepared.certificate.chmod(0o600)
    folder = prepared.folder
    (folder / "its.log").touch()
    (folder / "its.log").chmod(0o666)
    program = (*TWIST, "--log-file=its.log") if "twist" in options else (*TWISTD, *options)
    process = subprocess.Popen(
        [*program, "djoauth2", "--port", TLS_PORT, "--issuer", ISSUER],
        cwd=folder,
        env=environment(),
        umask=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = folder / "its.log"
    server = Server(prepared, process, log, log)
    try:
        server.wait_until_ready()
        assert Browser(server).get("/oauth2/login/").status == 200
        assert modes(folder) == {}
        assert {"djoauth2.db", "djoauth2.db-wal", "djoauth2.db-shm"} <= set(os.listdir(folder))
        log.rename(folder / "its.log.1")
        hang_up_and_wait(server, log, "certificates were read again")
        assert modes(folder) == {}
    finally:
        server.kill()
