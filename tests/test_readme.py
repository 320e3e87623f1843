"""Every block of the README is tried, as its reader would."""

from __future__ import annotations

import configparser
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from service_kit import (
    DJOAUTH2,
    ROOT,
    TWISTD,
    Application,
    Browser,
    Connection,
    Prepared,
    Server,
    ask,
    bearer,
    environment,
    free_port,
    run,
)
from waiting import wait_for

from djoauth2_twisted.cli.certificate import make_certificate

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"<!-- ([^\n]+) -->\n```\w+\n(.*?)```\n", README, re.DOTALL))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

#: Blocks that are one command for an empty machine, as what lands is tried by.
INSTALLING = {
    "demo command": (
        "python3 -m venv .venv && . .venv/bin/activate && pip install . && djoauth2 demo\n"
    ),
    "test command": (
        "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[dev]' && pytest\n"
    ),
}
TRIED = {
    "quickstart: prepare",
    "quickstart: keep",
    "quickstart: serve",
    "quickstart: open",
    "quickstart: exchange",
    "quickstart: call",
    "quickstart: refresh",
    "databases",
    "embedding",
    "guarding",
    "decorating",
    "administration",
    "production: settings",
    "production: privileges",
    "production: backup",
    "production: restore",
}
#: The unit that the README names.
UNIT = Path(__file__).parents[1] / "deploy" / "systemd" / "djoauth2.service"
PASSWORD = "correct horse battery staple"


def filled_in(text: str, **values: str) -> str:
    """A text in which the reader has written what he was given in the place of the dots."""
    for name, value in values.items():
        assert f"export {name}=..." in text
        text = text.replace(f"export {name}=...", f"export {name}={shlex.quote(value)}")
    assert "=..." not in text
    return text


def replaced(text: str, **places: str) -> str:
    """A text with other words in place of those that are keys, all of which are in it."""
    for old, new in places.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def in_shell(text: str, folder: Path, variables: dict[str, str] | None = None) -> str:
    """What commands print that are typed into a shell."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = run(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        text,
        folder=folder,
        variables={"PATH": path} | (variables or {}),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Started:
    """Servers that end with the test."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def __call__(
        self, command: list[str], port: int, prepared: Prepared, healthy: str = "/healthz"
    ) -> Server:
        """Run a command, and wait until it answers at a port."""
        out, errors = prepared.folder / "out.log", prepared.folder / "err.log"
        with out.open("wb") as stdout, errors.open("wb") as stderr:
            process = subprocess.Popen(
                command, cwd=prepared.folder, env=environment(), stdout=stdout, stderr=stderr
            )
        self._processes.append(process)
        server = Server(prepared, process, out, errors, [port])
        wait_for(lambda: self._answers(server, healthy), "an answer", server.text)
        return server

    def _answers(self, server: Server, path: str) -> bool:
        assert server.process.poll() is None, server.text()
        try:
            return Browser(server).get(path).status == 200
        except OSError:
            return False

    def end(self) -> None:
        """End all of them."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def started() -> Iterator[Started]:
    started = Started()
    yield started
    started.end()


def words(block: str) -> list[str]:
    """A command of one line that begins with `twistd`, for the Twisted of this environment."""
    first, *rest = shlex.split(block)
    assert first.rpartition("/")[2] == "twistd"
    return [*TWISTD, *rest]


def client_of(printed: str) -> tuple[str, str]:
    """The id and the secret that were printed for a new client."""
    (client_id,) = re.findall(r"^client id +(\S+)$", printed, re.MULTILINE)
    (secret,) = re.findall(r"^client secret +(\S+)$", printed, re.MULTILINE)
    return client_id, secret


def add_alice(folder: Path, database: str = "sqlite:///djoauth2.db") -> Prepared:
    """A user, a scope, a client and a certificate, made by the quickstart's own commands."""
    printed = in_shell(BLOCKS["quickstart: prepare"], folder, {"DJOAUTH2_DATABASE": database})
    client_id, client_secret = client_of(printed)
    return Prepared(folder, client_id, client_secret, "alice", PASSWORD)


def code_from(browser: Browser, address: str) -> str:
    """The code that a browser comes back with from an address, after login and consent."""
    path = address.partition("://")[2].partition("/")[2]
    assert browser.get(f"/{path}").status == 303
    browser.log_in_as_user()
    form = browser.form(f"/{path}")
    answer = browser.post(form.action, {**form.fields, "user_action": "Accept"})
    assert answer.status == 303, answer.text
    assert answer.location.startswith("https://app.example/callback?code=")
    query = parse_qs(urlsplit(answer.location).query)
    assert set(query) == {"code", "state", "iss"}
    return query["code"][0]


def test_every_block_is_known():
    """For each new block, this list says how it is tried."""
    assert README.count("\n```") == 2 * len(BLOCKS)
    assert set(BLOCKS) == TRIED | set(INSTALLING)


def test_installing():
    """They install everything from nothing, and so are tried on an empty machine."""
    assert {name: BLOCKS[name] for name in INSTALLING} == INSTALLING


def test_the_extras_exist():
    """`pip` would only warn of one that does not."""
    named = re.findall(r"pip install 'djoauth2-twisted\[(\w+)\]'", BLOCKS["databases"])
    assert named == ["postgresql", "mysql", "redis"]
    assert set(named) <= set(PROJECT["optional-dependencies"])
    assert PROJECT["name"].replace("_", "-") == "djoauth2-twisted"


@pytest.mark.process
def test_the_quickstart(tmp_path: Path, started: Started):
    """From an empty folder to a refreshed token, each step by what the one before printed."""
    port = free_port()
    prepared = add_alice(tmp_path)
    client = {"CLIENT_ID": prepared.client_id, "CLIENT_SECRET": prepared.client_secret}
    in_shell(filled_in(BLOCKS["quickstart: keep"], **client), tmp_path)
    serve = words(replaced(BLOCKS["quickstart: serve"], **{"8443": str(port)}))
    browser = Browser(started(serve, port, prepared))

    def step(name: str, **values: str) -> str:
        text = BLOCKS[f"quickstart: {name}"].replace("8443", str(port))
        return in_shell(filled_in(text, **values), tmp_path, client)

    code = code_from(browser, step("open").strip())
    first = json.loads(step("exchange", CODE=code))
    assert first["token_type"] == "Bearer"
    info = step("call", ACCESS_TOKEN=first["access_token"])
    assert '"alice@example.com"' in info
    second = json.loads(step("refresh", REFRESH_TOKEN=first["refresh_token"]))
    assert step("call", ACCESS_TOKEN=second["access_token"]) == info
    # What the text beneath says.
    grant = in_shell("djoauth2 token list", tmp_path).splitlines()[1].split()[0]
    in_shell(f"djoauth2 token revoke {grant}", tmp_path)
    assert "invalid_token" in step("call", ACCESS_TOKEN=second["access_token"])
    in_shell(BLOCKS["administration"], tmp_path)
    browser = Browser(browser.server)
    assert browser.log_in("root", "another long password").status == 303
    page = browser.get("/oauth2/admin/clients/")
    assert (page.status, "My application" in page.text) == (200, True)


#: What a reader has already, and around it what the README shows.
AROUND = """
from klein import Klein
from twisted.web.static import File

files = File("files")
app = Klein()

{guarding}
{decorating}
root.putChild(b"app", app.resource())
"""


@pytest.mark.process
def test_embedding_guarding_and_decorating(tmp_path: Path, started: Started):
    """In one application: a token of the embedded server opens the guarded folder and the route."""
    port = free_port()
    tac = replaced(BLOCKS["embedding"], **{"8443": str(port)})
    tac += AROUND.format(guarding=BLOCKS["guarding"], decorating=BLOCKS["decorating"])
    (tmp_path / "app.tac").write_text(tac)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("A letter.")
    prepared = add_alice(tmp_path, "sqlite:///oauth.db")
    assert "`twistd -ny app.tac`" in README
    command = [*TWISTD, "-ny", "app.tac"]
    server = started(command, port, prepared, healthy="/oauth2/login/")
    address = f"/oauth2/authorization/?response_type=code&client_id={prepared.client_id}&state=s"
    code = code_from(Browser(server), f"https://localhost:{port}{address}&scope=user_info")
    with Application(server) as application:
        answer = application.token({"grant_type": "authorization_code", "code": code})
        token = answer.json["access_token"]
    for path, text in (("/files/a.txt", "A letter."), ("/app/me", "alice")):
        connection = Connection(server)
        try:
            assert ask(connection, "GET", path).status == 401
            guarded = ask(connection, "GET", path, headers=bearer(token))
        finally:
            connection.close()
        assert (guarded.status, guarded.text) == (200, text)


@pytest.mark.process
def test_the_embedding_alone(tmp_path: Path, started: Started):
    """As it stands there, with nothing but a certificate beside it."""
    port = free_port()
    (tmp_path / "server.pem").write_bytes(make_certificate("localhost"))
    (tmp_path / "app.tac").write_text(replaced(BLOCKS["embedding"], **{"8443": str(port)}))
    prepared = Prepared(tmp_path, "", "", "", "")
    started([*TWISTD, "-ny", "app.tac"], port, prepared, healthy="/oauth2/login/").stop()
    assert (tmp_path / "oauth.db").exists()


# In production.


def settings_file(folder: Path, port: int) -> Path:
    """The settings with paths of this folder, and what they name beside them."""
    pem = make_certificate("localhost").decode()
    (folder / "server.pem").write_text(pem)
    key, certificate = re.findall(r"-----BEGIN.*?-----END[^\n]*\n", pem, re.DOTALL)
    if "KEY" not in key.splitlines()[0]:
        key, certificate = certificate, key
    (folder / "privkey.pem").write_text(key)
    (folder / "privkey.pem").chmod(0o600)
    (folder / "fullchain.pem").write_text(certificate)
    text = replaced(
        BLOCKS["production: settings"],
        **{
            "/etc/ssl/example/": f"{folder}/",
            "/var/lib/djoauth2/": f"{folder}/",
            "ssl:443": f"ssl:{port}",
        },
    )
    path = folder / "djoauth2.toml"
    path.write_text(text)
    return path


@pytest.mark.process
def test_server_takes_the_settings_of_the_readme(tmp_path: Path, started: Started):
    """`twistd djoauth2 --config` takes them as they are, paths apart."""
    port = free_port()
    path = settings_file(tmp_path, port)
    command = [*TWISTD, "-n", "--pidfile=", "djoauth2", "--config", str(path)]
    started(command, port, Prepared(tmp_path, "", "", "", "")).stop()
    assert (tmp_path / "djoauth2.db").exists()
    assert tomllib.loads(path.read_text())["issuer"] == "https://example.com"


@pytest.mark.process
def test_the_unit_of_systemd(tmp_path: Path, started: Started):
    """Its command runs, and it names the files and folders that the README names."""
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text("utf-8"))
    service = dict(unit["Service"])
    assert service["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    state = f"/var/lib/{service['StateDirectory']}/"
    assert state in tomllib.loads(BLOCKS["production: settings"])["database"]
    port = free_port()
    path = settings_file(tmp_path, port)
    text = replaced(service["ExecStart"], **{"/etc/djoauth2.toml": str(path)})
    assert BLOCKS["production: settings"].startswith("# /etc/djoauth2.toml\n")
    started(words(text), port, Prepared(tmp_path, "", "", "", "")).stop()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_privileges(open_folder: Path):
    """Started by root, the server becomes another user, and ends by its pid file."""
    port = free_port()
    path = settings_file(open_folder, port)
    data = open_folder / "data"
    data.mkdir()
    shutil.chown(data, "nobody", "nogroup")
    path.write_text(path.read_text().replace("djoauth2.db", "data/djoauth2.db"))
    text = replaced(
        BLOCKS["production: privileges"],
        **{
            "--uid djoauth2 --gid djoauth2": "--uid nobody --gid nogroup",
            "/run/djoauth2/djoauth2.pid": str(data / "djoauth2.pid"),
            "/var/log/djoauth2/djoauth2.log": str(data / "djoauth2.log"),
            "/etc/djoauth2.toml": str(path),
        },
    )
    done = run(*words(text), folder=open_folder)
    assert done.returncode == 0, done.stderr
    pid = int((data / "djoauth2.pid").read_text())
    try:
        assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        prepared = Prepared(open_folder, "", "", "", "")
        log = data / "djoauth2.log"
        running = Server(prepared, subprocess.Popen(["true"]), log, log, [port])
        running.wait()
        wait_for(running.is_healthy, "health", running.text)
        assert (data / "djoauth2.db").owner() == "nobody"
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the end")


@pytest.mark.process
def test_the_backup_and_its_restore(tmp_path: Path, started: Started):
    """The commands as they are, while the server runs."""
    prepared = add_alice(tmp_path)
    port = free_port()
    serve = words(replaced(BLOCKS["quickstart: serve"], **{"8443": str(port)}))
    server = started(serve, port, prepared)
    address = f"/oauth2/authorization/?response_type=code&client_id={prepared.client_id}&state=s"

    def new_token() -> str:
        code = code_from(Browser(server), f"https://localhost:{port}{address}&scope=user_info")
        with Application(server) as application:
            answer = application.token({"grant_type": "authorization_code", "code": code})
            token: str = answer.json["access_token"]
            return token

    def status_of(token: str) -> int:
        with Application(server) as application:
            return application.user_info(token).status

    before = new_token()
    (grant, *_) = in_shell("djoauth2 token list", tmp_path).splitlines()[1].split()
    in_shell(BLOCKS["production: backup"], tmp_path)
    with closing(sqlite3.connect(tmp_path / "backup.db")) as backup:
        assert backup.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    after = new_token()
    in_shell(f"djoauth2 token revoke {grant}", tmp_path)
    assert (status_of(before), status_of(after)) == (401, 200)
    in_shell(BLOCKS["production: backup"].replace("backup.db", "second.db"), tmp_path)
    in_shell(BLOCKS["production: backup"].replace("backup.db", "second.db"), tmp_path)
    in_shell(BLOCKS["production: restore"], tmp_path)
    # As the README says: a restore undoes revocations. The server has forgotten the token of its cache.
    wait_for(lambda: status_of(after) == 401, "what was restored")
    assert status_of(before) == 200
    in_shell(f"djoauth2 token revoke {grant}", tmp_path)
    assert status_of(before) == 401


def test_the_table_of_settings():
    """It has every setting, with its default."""
    from attrs import fields

    from djoauth2_twisted.conf import Settings

    table = README.partition("| setting | default | |")[2].partition("\n\n")[0]
    told = {
        name: default.strip()
        for row in table.splitlines()[2:]
        for cells in [row.split("|")]
        for name in re.findall(r"`(\w+)`", cells[1])
        for default in [cells[2]]
    }
    shown = {True: "true", False: "false", "": '""'}
    assert told == {
        field.name.upper(): shown.get(default, str(default))
        if isinstance(default, (bool, str))
        else str(default)
        for field in fields(Settings)
        # The option --trusted-proxy sets the proxies.
        if field.name != "trusted_proxies"
        for default in [getattr(Settings(), field.name)]
    }


@pytest.mark.process
def test_options_and_files_that_are_named_exist():
    """`twistd djoauth2 --help` knows the options, and the checkout the files."""
    told = run(*TWISTD, "djoauth2", "--help", folder=ROOT).stdout
    listed = README.partition("lists the server's options")[2].partition("\n\n")[0]
    for option in re.findall(r"`(--[\w-]+)`", listed):
        assert option in told
    told = run(*DJOAUTH2, "--help", folder=ROOT).stdout
    assert "--token-store" in told
    last = README.partition("## Where to look next")[2]
    for name in re.findall(r"`([\w/.-]+)`", last):
        assert (ROOT / name).exists(), name
