"""``twistd djoauth2 --check`` as a process: its status, its lines, and that it starts nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from service_kit import DJOAUTH2, ISSUER, TLS_PORT, TWIST, TWISTD, free_port, is_listening, run

from djoauth2_twisted.cli.certificate import make_certificate

pytestmark = pytest.mark.process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "server.pem").write_bytes(make_certificate("localhost"))
    (tmp_path / "server.pem").chmod(0o600)
    assert run(*DJOAUTH2, "scope", "add", "read", "See it.", folder=tmp_path).returncode == 0
    return tmp_path


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("starter", [TWISTD, TWIST], ids=["twistd", "twist"])
def test_a_check_starts_nothing(folder: Path, starter: tuple[str, ...]) -> None:
    """No port, no pid file, no log, and no file of SQLite; the status tells whether it would start."""
    before, port = files_of(folder), free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1"
    command = (*starter, "djoauth2", "--port", endpoint, "--check")
    done = run(*command, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == {"note"}
    done = run(*command, "--trusted-proxy", "0.0.0.0/0", folder=folder)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("error: --trusted-proxy: 0.0.0.0/0 is wider than a /8")
    assert files_of(folder) == before
    assert not is_listening(port)


def test_a_file_is_judged_and_a_pid_file_is_left(folder: Path) -> None:
    """It may be that of a server that runs."""
    (folder / "a.toml").write_text(f'port = "{TLS_PORT}"\nissuer = "{ISSUER}"\nREQUIRE_PKCE = true\n')
    pid_file = folder / "twistd.pid"
    pid_file.write_text("1")
    done = run(*TWISTD, "djoauth2", "--config", "a.toml", "--check", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert pid_file.read_text() == "1"


def test_a_file_that_cannot_be_read_is_one_line(folder: Path) -> None:
    done = run(*TWISTD, "djoauth2", "--config", "nowhere", "--check", folder=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("djoauth2: --config: the configuration file nowhere cannot be read")
    assert len(done.stderr.splitlines()) == 1


def test_a_start_logs_the_warnings(start: Any) -> None:
    server = start(variables={"DJOAUTH2_ACCESS_TOKEN_LIFETIME": "864000"})
    assert re.search("warn.*ACCESS_TOKEN_LIFETIME is 864000 seconds: .*Set it to 86400", server.text())
