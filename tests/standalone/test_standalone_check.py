"""``--check``: every part is judged by itself, and nothing is changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from reactors import reactor

from djoauth2_twisted import options
from djoauth2_twisted.cli.certificate import make_certificate
from djoauth2_twisted.models import Scope
from djoauth2_twisted.standalone import files
from djoauth2_twisted.stores.urls import from_url
from djoauth2_twisted.tap import Options, makeService

PORT = "ssl:8443"

Check = Callable[..., Coroutine[Any, Any, tuple[int, list[str]]]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which has a certificate, and an environment that says nothing."""
    for name in list(os.environ):
        if name.startswith(("DJOAUTH2_", "LISTEN_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.pem").write_bytes(make_certificate("localhost"))
    (tmp_path / "server.pem").chmod(0o600)
    return tmp_path


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Check a command line. The coroutine returns the exit status and the lines."""
    mains: list[Callable[[Any], Any]] = []
    # The reactor runs already.
    monkeypatch.setattr(options, "react", mains.append)

    async def check(*arguments: str) -> tuple[int, list[str]]:
        Options().parseOptions([*arguments, "--check"])
        with pytest.raises(SystemExit) as raised:
            await mains.pop()(reactor)
        assert isinstance(raised.value.code, int), raised.value.code
        return raised.value.code, capsys.readouterr().out.splitlines()

    return check


def weights(lines: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in lines]


@pytest_twisted.ensureDeferred
async def test_notes_alone_are_no_reason_against_a_start(folder: Path, check: Check) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    status, lines = await check("--port", PORT)
    assert status == 0
    assert set(weights(lines)) == {"note"}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("openid", ["true", "false"])
async def test_a_registered_scope_of_openid_connect_is_noted(
    folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch, openid: str
) -> None:
    """Only with the setting."""
    url = f"sqlite:///{folder / 'scopes.db'}"
    database, registry, _ = from_url(reactor, url)
    database.open(prepare=True)
    await registry.add_scope(Scope("email", "write you letters"))
    await registry.add_scope(Scope("photos", "see your photos"))
    await database.close()
    monkeypatch.setenv("DJOAUTH2_OPENID", openid)
    status, lines = await check("--port", PORT, "--database", url)
    said = [line for line in lines if "is one of OpenID Connect" in line]
    assert status == 0
    assert len(said) == (openid == "true")
    assert all("the scope email is registered" in line for line in said)


@pytest_twisted.ensureDeferred
async def test_a_warning_is_no_reason_against_a_start(check: Check) -> None:
    status, lines = await check("--port", PORT, "--issuer", "https://as.example:8443")
    assert status == 0
    assert lines[0].startswith("warning: --issuer: no certificate is for as.example")


@pytest_twisted.ensureDeferred
async def test_every_part_is_judged_where_others_are_broken(
    folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The errors come first; each has its source, and no password is shown."""
    (folder / "a.toml").write_text(
        'orange = 1\nACCESS_TOKEN_LIFETIME = 864000\nrealm = 7\nissuer = "http://as.example"\n'
        'token-store = "redis://:geheim@127.0.0.1:1/0"\nlog-format = "xml"\ntemplates = "nowhere"\n'
        'REQUIRE_STATE = false\nport = ["ssl:8443", "ssl:x"]\n'
    )
    monkeypatch.setenv("DJOAUTH2_SSL_ONLY", "perhaps")
    monkeypatch.setenv("DJOAUTH2_TRUSTED_PROXY", "0.0.0.0/0")
    status, lines = await check("--config", "a.toml")
    assert status == 1
    assert weights(lines) == sorted(weights(lines), key=["error", "warning", "note"].index)
    for begin in (
        "error: orange in a.toml: the configuration file names 'orange'",
        "error: realm in a.toml: REALM is 7",
        "error: DJOAUTH2_SSL_ONLY: SSL_ONLY is 'perhaps'",
        "error: issuer in a.toml: the issuer is 'http://as.example'",
        "error: log_format in a.toml: 'xml' is not text or json",
        "error: templates in a.toml: the templates' folder nowhere does not exist",
        "error: port in a.toml: ssl:x: ",
        "error: require_state in a.toml: REQUIRE_STATE and REQUIRE_PKCE are both false",
        "error: DJOAUTH2_TRUSTED_PROXY: 0.0.0.0/0 is wider than a /8",
        "error: token_store in a.toml: the token store cannot be used",
        "warning: access_token_lifetime in a.toml: ACCESS_TOKEN_LIFETIME is 864000 seconds",
        "note: port in a.toml: ssl:8443: the certificate of localhost is self-signed",
        "note: there is no database",
    ):
        assert [line for line in lines if line.startswith(begin)], begin
    assert "geheim" not in str(lines)


@pytest_twisted.ensureDeferred
async def test_a_url_that_cannot_be_read_hides_nothing(check: Check) -> None:
    status, lines = await check("--port", PORT, "--database", "orange", "--templates", "nowhere")
    assert status == 1
    assert [line.partition(": ")[2].partition(":")[0] for line in lines[:2]] == [
        "--database",
        "--templates",
    ]


@pytest_twisted.ensureDeferred
async def test_a_port_that_can_serve_nothing_is_an_error(check: Check) -> None:
    status, lines = await check("--port", "tcp:8080", "--issuer", "https://as.example")
    assert status == 1
    assert "nothing could be served, because it has no TLS" in lines[0]


@pytest_twisted.ensureDeferred
async def test_a_socket_of_systemd_is_passed_over(check: Check) -> None:
    """systemd passes it to the server, and not to a check."""
    status, lines = await check("--port", PORT, "--port", "systemd:domain=INET:index=0")
    assert status == 0
    assert "systemd:" not in str(lines)


# Twisted's own reading of certificates, as of 26.10.
@pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")
@pytest_twisted.ensureDeferred
async def test_a_folder_of_certificates_is_judged(folder: Path, check: Check) -> None:
    (folder / "all").mkdir()
    (folder / "server.pem").rename(folder / "all" / "a.pem")
    (folder / "all" / "b.pem").write_bytes(make_certificate("b.example"))
    status, lines = await check("--port", "tls:all:port=8443", "--issuer", "https://b.example:8443")
    assert status == 0
    assert len([line for line in lines if "is self-signed" in line]) == 2
    assert "no certificate is for" not in str(lines)


@pytest_twisted.ensureDeferred
async def test_a_key_of_another_certificate_is_an_error(folder: Path, check: Check) -> None:
    begin = b"-----BEGIN CERT"
    certificate = begin + make_certificate("localhost").partition(begin)[2]
    (folder / "other.pem").write_bytes(certificate)
    status, lines = await check("--port", "ssl:8443:privateKey=server.pem:certKey=other.pem")
    assert status == 1
    assert "the key and the certificate do not belong together" in lines[0]


@pytest_twisted.ensureDeferred
async def test_the_log_of_the_starter_is_left_alone(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is it opened, nor is the umask changed."""
    monkeypatch.setattr(options, "take_files", lambda *_: pytest.fail("the log was taken"))
    mask = os.umask(0o022)
    try:
        assert (await check("--port", PORT))[0] == 0
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(mask)
    assert files.LOG._file is None


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (("--trusted-proxy", "0.0.0.0/0"), {}, "--trusted-proxy: 0.0.0.0/0 is wider than a /8"),
        ((), {"REQUIRE_STATE": "false"}, "DJOAUTH2_REQUIRE_STATE: REQUIRE_STATE and REQUIRE_PKCE are"),
        (("--port", PORT), {"SSL_ONLY": "false"}, "DJOAUTH2_SSL_ONLY: SSL_ONLY is false"),
    ],
)
def test_an_error_stops_a_start_in_two_lines(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"DJOAUTH2_{name}", value)
    options = Options()
    options.parseOptions(list(arguments))
    with pytest.raises(SystemExit) as raised:
        makeService(options)
    fault, mend = str(raised.value.code).split("\n")
    assert fault.startswith(f"djoauth2: {words}")
    assert mend


def test_warnings_are_for_the_log_of_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJOAUTH2_ACCESS_TOKEN_LIFETIME", "864000")
    options = Options()
    options.parseOptions(["--port", PORT])
    [warning] = makeService(options)._around.warnings
    assert warning.startswith("DJOAUTH2_ACCESS_TOKEN_LIFETIME: ACCESS_TOKEN_LIFETIME is 864000 seconds")


@pytest_twisted.ensureDeferred
async def test_second_factor_that_is_required_without_a_key_file_is_an_error(check: Check) -> None:
    """As at a start. With users from elsewhere, it cannot be required."""
    arguments = ("--port", PORT, "--issuer", "https://a.example")
    Path("a.toml").write_text('require_second_factor = "all"\n')
    status, lines = await check(*arguments, "--config", "a.toml", "--database", "sqlite://")
    assert status == 1
    assert any("it needs a key file, which OPENID_KEY_FILE names" in line for line in lines), lines
    status, lines = await check(*arguments, "--config", "a.toml", "--auth", "memory:a:b")
    assert status == 1
    assert any("REQUIRE_SECOND_FACTOR" in line and "has its own" in line for line in lines), lines
    status, lines = await check(*arguments, "--config", "a.toml")
    assert not any("REQUIRE_SECOND_FACTOR" in line for line in lines), lines
