"""What keeps the server from starting is said in one or two lines, and nothing is left running."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from service_kit import (
    ISSUER,
    PATIENCE,
    TCP_PORT,
    TWIST,
    TWISTD,
    Prepared,
    environment,
    is_listening,
    run,
)
from waiting import wait_for

from djoauth2_twisted.cli.certificate import make_certificate

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")

MEND_PORT = "Write it like ssl:443:privateKey=key.pem:certKey=cert.pem"
MEND_CERTIFICATE = "djoauth2 certificate localhost"


@pytest.fixture
def port() -> int:
    """A port where no program listens."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        number: int = tried.getsockname()[1]
    return number


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port where a program listens that answers nothing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture
def folder(prepared: Prepared) -> Path:
    """A folder with all that can be wrong."""
    folder = prepared.folder
    for name in ("", "other-"):
        key, begin, certificate = make_certificate("localhost").partition(b"-----BEGIN CERT")
        (folder / f"{name}key.pem").write_bytes(key)
        (folder / f"{name}cert.pem").write_bytes(begin + certificate)
    encrypted = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (folder / "encrypted.pem").write_bytes(encrypted)
    (folder / "empty").mkdir()
    (folder / "unreadable.pem").write_bytes(key)
    (folder / "unreadable.pem").chmod(0)
    (folder / "notes.txt").write_text("These are no tables. " * 100)
    for name in ("newer.db", "unreadable.db"):
        (folder / name).write_bytes(prepared.database.read_bytes())
    (folder / "unreadable.db").chmod(0)
    with closing(sqlite3.connect(folder / "newer.db")) as database, database:
        database.execute("UPDATE djoauth2_alembic_version SET version_num = '9999'")
    with closing(sqlite3.connect(folder / "half.db")) as database, database:
        database.execute("CREATE TABLE djoauth2_client (something TEXT)")
    (folder / "wrong.toml").write_text("access_token_lifetime = '1h'\n")
    (folder / "broken.toml").write_text("port = \n")
    return folder


def check(done, *words: str, most: int = 2) -> None:
    """At most two lines on standard error, with these words, and a status that is not 0."""
    lines = done.stderr.splitlines()
    assert done.returncode not in {0, None}
    assert 1 <= len(lines) <= most, done.stderr
    assert not re.search("Traceback|Unhandled", done.stdout + done.stderr)
    for word in words:
        assert word in done.stderr, done.stderr


def refuse(folder: Path, arguments: tuple[str, ...], *words: str, program=None, variables=None) -> None:
    """See a server refuse to start in a folder, and leave no more in it than was there."""
    before = set(folder.iterdir())
    done = run(
        *(program or (*TWISTD, "-n", "--pidfile=twistd.pid")),
        "djoauth2",
        *arguments,
        folder=folder,
        variables=variables,
    )
    check(done, *words)
    assert set(folder.iterdir()) == before


# One port or option for each stage of the start that can refuse it: `tests/test_tap.py` has the others.
PORTS = [
    ("8443", "'8443'", MEND_PORT),
    ("ssl:443:privateKey=nowhere.pem", "there is no file", "nowhere.pem", MEND_CERTIFICATE),
    ("ssl:443:privateKey=other-key.pem:certKey=cert.pem", "do not belong together"),
    ("systemd:domain=INET:name=web", "systemd has not passed such a socket"),
    ("tcp:-1:interface=127.0.0.1", "0-65535"),
    ("unix:nowhere/socket", "cannot listen at unix:nowhere/socket", "No such file"),
    pytest.param(
        ("ssl:443:privateKey=unreadable.pem:certKey=cert.pem", "unreadable.pem", "Permission denied"),
        marks=needs_permissions,
    ),
]


@pytest.mark.parametrize("case", PORTS, ids=lambda case: case[0])
def test_port(folder: Path, case):
    """A bad endpoint string, certificate or key is named, and how to write it well."""
    description, *words = case
    refuse(folder, ("--port", description), description, *words)


def test_an_encrypted_key_waits_for_no_password(folder: Path):
    """Not even where standard input stays open."""
    port = "ssl:443:privateKey=encrypted.pem:certKey=cert.pem"
    with subprocess.Popen(
        [*TWISTD, "-n", "--pidfile=", "djoauth2", "--port", port],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            assert process.wait(PATIENCE) == 1
            assert process.stdout is not None
            assert process.stderr is not None
            said = process.stdout.read() + process.stderr.read()
        finally:
            process.kill()
    assert b"encrypted.pem is encrypted: decrypt it with" in said
    assert b"pass phrase" not in said
    assert said.count(b"\n") == 1


def test_port_without_a_certificate_by_default(folder: Path):
    """Where there is no server.pem, the two lines tell how to make it."""
    (folder / "server.pem").unlink()
    refuse(folder, (), "--port ssl:443: there is no file", "server.pem", MEND_CERTIFICATE)


OTHERS = {
    "unknown option": (("--orange",), "option --orange not recognized"),
    "folder that is not there": (("--database", "sqlite:///nowhere/x.db"), "nowhere/x.db", "No such"),
    "folder for a file": (("--database", "sqlite:///empty"), "empty cannot be used"),
    "no SQLite file": (("--database", "sqlite:///notes.txt"), "notes.txt", "not a database"),
    "newer schema": (("--database", "sqlite:///newer.db"), "schema 9999", "database upgrade"),
    "tables of others": (("--database", "sqlite:///half.db"), "half.db", "already exists"),
    "option that no driver has": (
        ("--database", "mysql://root@127.0.0.1:1/x?nonsense=1"),
        "'nonsense'",
        "not known",
    ),
    "database that does not answer": (
        ("--database", "mysql://u:p%C3%A4@127.0.0.1:1/x"),
        "mysql://127.0.0.1:1/x cannot be used",
    ),
    "missing templates": (("--templates", "nowhere"), "nowhere does not exist"),
    "broken configuration": (("--config", "broken.toml"), "broken.toml cannot be read"),
    "wrong setting in the configuration": (
        ("--config", "wrong.toml"),
        "ACCESS_TOKEN_LIFETIME is '1h': it must be a whole number from 1 to",
    ),
}


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS.keys())
def test_other_option(folder: Path, case):
    """The option is named, with what is wrong with it and what is allowed."""
    arguments, *words = case
    refuse(folder, ("--port", TCP_PORT, "--issuer", ISSUER, *arguments), *words)


@needs_permissions
def test_unreadable_database(folder: Path):
    """A file of another user."""
    arguments = ("--port", TCP_PORT, "--issuer", ISSUER, "--database", "sqlite:///unreadable.db")
    refuse(folder, arguments, "unreadable.db cannot be used")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("ACCESS_TOKEN_LENGTH", "21", ("ACCESS_TOKEN_LENGTH is 21:", "from 22 to")),
        ("DATABASE", "sqlite:///nowhere/x.db", ("nowhere/x.db cannot be used",)),
    ],
)
def test_environment(folder: Path, name, text, words):
    """A wrong value is refused with its name, its problem and what is allowed."""
    variable = f"DJOAUTH2_{name}"
    arguments = ("--port", TCP_PORT, "--issuer", ISSUER)
    refuse(folder, arguments, f"{variable}: ", *words, variables={variable: text})


def test_port_that_is_the_address_of_a_service(folder: Path):
    """As Kubernetes sets it: it is passed over, so the default is judged."""
    (folder / "server.pem").unlink()
    address = {"DJOAUTH2_PORT": "tcp://10.0.0.1:8443", "DJOAUTH2_PORT_8443_TCP": "tcp://10.0.0.1:8443"}
    refuse(folder, (), "the default --port ssl:443: there is no file", variables=address)


def test_port_that_can_serve_nothing(folder: Path):
    """Without TLS and without a trusted proxy every request would be refused."""
    refuse(
        folder, ("--port", TCP_PORT, "--issuer", ISSUER), "nothing could be served", "--trusted-proxy"
    )


PROGRAMS = [
    pytest.param((*TWISTD, "-n", "--pidfile=twistd.pid"), id="twistd"),
    pytest.param((*TWIST, "--log-format=text"), id="twist"),
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_busy_port(folder: Path, busy_port: int, program):
    """It ends, though the first port could be listened at, and opens no database."""
    (folder / "djoauth2.db").unlink()
    taken = f"tcp:{busy_port}:interface=127.0.0.1"
    arguments = ("--port", TCP_PORT, "--port", taken, "--issuer", ISSUER)
    refuse(folder, arguments, f"cannot listen at {taken}: Address already in use", program=program)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--orange",), ("option --orange not recognized",)),
        (("--database", "sqlite:///notes.txt"), ("notes.txt", "not a database")),
        (("--port", "ssl:443:privateKey=nowhere.pem"), ("there is no file", MEND_CERTIFICATE)),
    ],
    ids=["option", "database", "certificate"],
)
def test_twist(folder: Path, arguments, words):
    """twist says the same."""
    first = () if "--port" in arguments else ("--port", TCP_PORT)
    program = (*TWIST, "--log-format=text")
    refuse(folder, (*first, "--issuer", ISSUER, *arguments), *words, program=program)


class TestDaemon:
    """The parent's status tells that the child could not start; the log tells why, in full."""

    def refuse(self, folder: Path, *arguments: str) -> tuple[str, str]:
        """What the parent says, and the log."""
        log = folder / "twistd.log"
        command = (*TWISTD, "--pidfile=twistd.pid", f"--logfile={log}", "djoauth2")
        done = run(*command, *arguments, folder=folder)
        # The child prints the whole line; twistd adds two of its own.
        check(done, most=3)
        # The child speaks to its parent before it ends.
        wait_for(lambda: not (folder / "twistd.pid").exists(), "the end of the child")
        return done.stderr, log.read_text("utf-8") if log.exists() else ""

    def test_busy_port(self, folder: Path, busy_port: int, port: int):
        """Nothing listens at the other port any more."""
        free, taken = (f"tcp:{number}:interface=127.0.0.1" for number in (port, busy_port))
        said, log = self.refuse(folder, "--port", free, "--port", taken)
        assert f"cannot listen at {taken}" in said
        assert f"cannot listen at {taken}: Address already in use\n" in log
        wait_for(lambda: not is_listening(port), "the end of the child")

    def test_database(self, folder: Path, port: int):
        """Though the port was free."""
        database = folder / "a-folder-with-a-rather-long-name" / "djoauth2.db"
        said, log = self.refuse(
            folder,
            "--port",
            f"tcp:{port}:interface=127.0.0.1",
            "--database",
            f"sqlite:///{database}",
        )
        assert "the database" in said
        assert f"{database} cannot be used: No such file or directory\n" in log
        wait_for(lambda: not is_listening(port), "the end of the child")

    def test_option(self, folder: Path):
        """What is judged before the fork is said by the parent itself."""
        said, log = self.refuse(folder, "--port", "8443")
        assert MEND_PORT in said
        assert log == ""


def test_help_names_every_option(folder: Path):
    """And nothing is started for it."""
    done = run(*TWISTD, "djoauth2", "--help", folder=folder)
    assert done.returncode == 0
    for option in ("port", "database", "auth", "issuer", "templates", "config"):
        assert f"--{option}=" in done.stdout
