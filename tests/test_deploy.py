"""The files in ``deploy``, as the programs judge them that read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from djoauth2_twisted.conf import gather, read_file
from djoauth2_twisted.standalone.inherited import split

DEPLOY = Path(__file__).parents[1] / "deploy"
UNIT = DEPLOY / "systemd" / "djoauth2.service"
SOCKET = DEPLOY / "systemd" / "djoauth2.socket"

#: The highest exposure of a unit that `systemd-analyze security` calls "OK" is 4.9.
MAX_EXPOSURE = 3.0

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CI"),
    reason="systemd is not installed",
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@needs_systemd
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text("utf-8"))
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("=djoauth2\n", "=daemon\n"))
    shutil.copy(SOCKET, tmp_path)
    done = analyze("verify", str(unit), str(tmp_path / SOCKET.name))
    assert "djoauth2" not in done.stderr, done.stderr


def test_port_for_the_socket_names_it_and_has_tls() -> None:
    text = SOCKET.read_text("utf-8")
    (name,) = re.findall(r"^FileDescriptorName=(.+)$", text, re.MULTILINE)
    (port,) = re.findall(r'port = "(.+)"', text)
    listening, certificates = split(port)
    assert listening == f"systemd:domain=INET6:name={name}"
    assert certificates.startswith("ssl:")
    for page in ("operation.md", "stores.md"):
        assert listening in (DEPLOY.parent / "docs" / page).read_text("utf-8")


@needs_systemd
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_files_get_their_modes_and_owners(tmp_path: Path) -> None:
    """Whatever modes they had. The user is made first."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nadm:x:4:\n")
    (tmp_path / "etc/djoauth2").mkdir()
    for name in ("etc/djoauth2.toml", "etc/djoauth2/key.pem"):
        (tmp_path / name).touch(0o666)
    for program, options in (("sysusers", ()), ("tmpfiles", ("--create",))):
        file = DEPLOY / "systemd" / f"djoauth2.{program}"
        subprocess.run([f"systemd-{program}", f"--root={tmp_path}", *options, str(file)], check=True)
    user = int((tmp_path / "etc/passwd").read_text().splitlines()[-1].split(":")[2])
    found = {
        name: (oct(state.st_mode & 0o777), state.st_uid, state.st_gid)
        for name in ("etc/djoauth2.toml", "etc/djoauth2", "etc/djoauth2/key.pem", "run/djoauth2")
        if (state := (tmp_path / name).stat())
    }
    assert found == {
        "etc/djoauth2.toml": ("0o640", 0, user),
        "etc/djoauth2": ("0o750", 0, user),
        "etc/djoauth2/key.pem": ("0o640", 0, user),
        "run/djoauth2": ("0o755", user, user),
    }


@needs_systemd
def test_unit_gives_the_server_few_privileges() -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(UNIT))
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert level is not None, done.stderr
    assert float(level[1]) <= MAX_EXPOSURE


def test_configuration_file_has_only_known_names() -> None:
    path = DEPLOY / "djoauth2.toml"
    options, settings = gather(("port", "issuer", "database"), {}, read_file(str(path)))
    assert settings.require_pkce
    assert set(options) == {"port", "issuer", "database"}
    assert tomllib.loads(path.read_text("utf-8"))["issuer"] == "https://auth.example"


def test_container_and_pods_begin_the_server_with_the_same_port() -> None:
    container = (DEPLOY / "container" / "Containerfile").read_text("utf-8")
    pods = (DEPLOY / "kubernetes" / "djoauth2.yaml").read_text("utf-8")
    endpoint = "ssl:8443:privateKey=/etc/djoauth2/tls.key:certKey=/etc/djoauth2/tls.crt"
    assert endpoint in container
    assert endpoint in pods
    assert "enableServiceLinks: false" in pods
