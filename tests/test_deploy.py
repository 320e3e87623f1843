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

DEPLOY = Path(__file__).parents[1] / "deploy"
UNIT = DEPLOY / "systemd" / "djoauth2.service"

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
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text("utf-8"))
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("=djoauth2\n", "=daemon\n"))
    done = analyze("verify", str(unit))
    assert UNIT.name not in done.stderr, done.stderr


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
