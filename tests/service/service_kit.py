"""Real servers on real ports of this machine, and the people and applications who talk to them.

Servers listen at a port of the system's choice, which their log tells. Tests wait for conditions, with
`waiting`.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

from attrs import define, field, frozen
from forked import Forked
from waiting import PATIENCE, wait_for

from djoauth2_twisted.cli.certificate import make_certificate
from djoauth2_twisted.cli.demo.walk import Form
from djoauth2_twisted.credentials import random_string

_T = TypeVar("_T")

ROOT = Path(__file__).resolve().parent.parent.parent
ISSUER = "https://localhost"
REDIRECT_URI = "https://app.example/cb"
FORM = "application/x-www-form-urlencoded"
TLS_PORT = "ssl:0:interface=127.0.0.1"
TCP_PORT = "tcp:0:interface=127.0.0.1"

TWISTD = (sys.executable, str(Path(sys.executable).with_name("twistd")))
TWIST = (sys.executable, "-m", "twisted")
FOREGROUND = (*TWISTD, "-n", "--pidfile=")
DJOAUTH2 = (sys.executable, "-m", "djoauth2_twisted.cli")


def environment(variables: Mapping[str, str] | None = None, path: Path = ROOT) -> dict[str, str]:
    """The environment of a program that is tried: this one's, with our package from ``path``."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("DJOAUTH2_")}
    return {**own, "PYTHONPATH": str(path), **(variables or {})}


def run(
    *command: str,
    folder: Path,
    variables: Mapping[str, str] | None = None,
    path: Path = ROOT,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program until it ends. Ours is forked, but where it becomes a daemon."""
    is_ours = command[:3] == DJOAUTH2 or (command[:2] == TWISTD and "-n" in command)
    if is_ours and path == ROOT:
        return _run_forked(command, folder, environment(variables), stdin)
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(variables, path),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def _run_forked(
    command: tuple[str, ...], folder: Path, env: Mapping[str, str], stdin: str
) -> subprocess.CompletedProcess[str]:
    with TemporaryDirectory() as kept:
        given, out, errors = Path(kept, "in"), Path(kept, "out"), Path(kept, "err")
        given.write_text(stdin)
        program = Forked(command, folder, env, (given, out, errors))
        try:
            status = program.wait(PATIENCE)
        finally:
            program.kill()
        return subprocess.CompletedProcess(command, status, out.read_text(), errors.read_text())


def together(functions: Iterable[Callable[[], _T]]) -> list[_T]:
    """The results of functions that are called at one instant, each in a thread of its own."""
    functions = list(functions)
    barrier = Barrier(len(functions))

    def call(function: Callable[[], _T]) -> _T:
        barrier.wait(PATIENCE)
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(call, functions))


def free_port() -> int:
    """A port where nothing listens now, below those that the system gives out itself.

    Each worker of pytest-xdist takes from 500 ports of its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20
    while True:
        port = 20_000 + 500 * worker + random.randrange(500)
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


def is_listening(port: int) -> bool:
    """Whether a program listens at a port of 127.0.0.1."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


# What a server needs.


@frozen
class Prepared:
    """A folder with a certificate and a database in which there are two scopes, a client and a user."""

    folder: Path
    client_id: str
    client_secret: str
    username: str
    password: str

    @property
    def certificate(self) -> Path:
        """The server's key and certificate."""
        return self.folder / "server.pem"

    @property
    def database(self) -> Path:
        """The database's file."""
        return self.folder / "djoauth2.db"

    def copy_to(self, folder: Path) -> Prepared:
        """The same in another folder."""
        for path in (self.certificate, self.database):
            shutil.copy(path, folder)
        return Prepared(folder, self.client_id, self.client_secret, self.username, self.password)


def prepare(folder: Path) -> Prepared:
    """Make a folder's certificate and database, as an operator does."""
    (folder / "server.pem").write_bytes(make_certificate("localhost"))

    def command(*arguments: str, stdin: str = "") -> str:
        done = run(*DJOAUTH2, *arguments, folder=folder, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    password = random_string(20)
    command("scope", "add", "user_info", "See who you are.")
    command("scope", "add", "photos", "See your photos.")
    command("user", "add", "alice", "--password-stdin", stdin=f"{password}\n")
    added = command("client", "add", "--name", "Tried", "--redirect-uri", REDIRECT_URI, "--json")
    client = json.loads(added)
    assert not (folder / "djoauth2.db-wal").exists()
    return Prepared(folder, client["client_id"], client["client_secret"], "alice", password)


# Servers.


@define
class Server:
    """A `twistd -n djoauth2`, or what else is said, in the folder of a `Prepared`."""

    prepared: Prepared
    process: subprocess.Popen[bytes] | Forked
    log: Path
    errors: Path
    ports: list[int] = field(factory=list)

    @classmethod
    def start(
        cls,
        prepared: Prepared,
        *options: str,
        ports: tuple[str, ...] = (TLS_PORT,),
        program: tuple[str, ...] | None = None,
        variables: Mapping[str, str] | None = None,
        issuer: str | None = ISSUER,
        log: str = "std",
        pass_fds: tuple[int, ...] = (),
    ) -> Server:
        """Start a server, and do not wait for it.

        :param program: what starts it, as a process from its beginning. Without it, it is forked.
        :param log: how the files begin that its output goes to.
        :param pass_fds: the descriptors that the program gets.
        """
        out, errors = prepared.folder / f"{log}out.log", prepared.folder / f"{log}err.log"
        listening = [word for port in ports for word in ("--port", port)]
        if issuer is not None:
            options = (*options, "--issuer", issuer)
        command = [*(program or FOREGROUND), "djoauth2", *listening, *options]
        with out.open("wb") as stdout, errors.open("wb") as stderr:
            process: subprocess.Popen[bytes] | Forked
            if program is None:
                files = Path(os.devnull), out, errors
                process = Forked(command, prepared.folder, environment(variables), files)
            else:
                process = subprocess.Popen(
                    command,
                    cwd=prepared.folder,
                    env=environment(variables),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=pass_fds,
                )
        return cls(prepared, process, out, errors)

    @property
    def port(self) -> int:
        """Where it listens first."""
        return self.ports[0]

    def wait_until_ready(self, count: int = 1) -> Server:
        """Wait until its log has this many ports, and it answers at the first."""

        def started() -> bool:
            found = re.findall(r"\bdjoauth2\b.* starting on (\d+)\b", self.text())
            self.ports = [int(port) for port in found]
            assert self.process.poll() is None, self.text()
            return len(self.ports) >= count

        wait_for(started, "a port", self.text)
        wait_for(self.is_healthy, "readiness", self.text)
        return self

    def is_healthy(self) -> bool:
        """Whether it says that requests can be served."""
        return Browser(self).get("/healthz").status == 200

    def text(self) -> str:
        """All that it has written."""
        return self.log.read_text("utf-8") + self.errors.read_text("utf-8")

    def signal(self, number: int) -> None:
        """Send a signal to this process."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its status, once it has ended."""
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        """End it in order."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def connect(self, number: int = 0) -> ssl.SSLSocket:
        """A TLS connection to one of its ports."""
        plain = socket.create_connection(("127.0.0.1", self.ports[number]), PATIENCE)
        try:
            return trusting(self.prepared.certificate).wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise


@cache
def trusting(certificate: Path) -> ssl.SSLContext:
    """Trust in one certificate and no other, and an offer of HTTP/1.1, which `http.client` speaks."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.set_alpn_protocols(["http/1.1"])
    return context


# Who talks to them.


@frozen
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        """The body's object."""
        return json.loads(self.text)

    @property
    def location(self) -> str:
        """Where the answer sends a browser."""
        return self.headers["location"] or ""


class Connection(http.client.HTTPSConnection):
    """An HTTPS connection to 127.0.0.1, to a server that calls itself localhost."""

    def __init__(self, server: Server, number: int = 0) -> None:
        super().__init__("localhost", server.ports[number], timeout=PATIENCE)
        self._server, self._number = server, number

    def connect(self) -> None:
        """Connect, by IPv4."""
        self.sock = self._server.connect(self._number)


class PlainConnection(http.client.HTTPConnection):
    """The same without TLS."""

    def __init__(self, server: Server, number: int = 0, source: str = "127.0.0.1") -> None:
        super().__init__("127.0.0.1", server.ports[number], timeout=PATIENCE, source_address=(source, 0))


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask once, and read the answer."""
    everything, body = dict(headers or {}), None
    if form is not None:
        body = urlencode(form)
        everything["Content-Type"] = FORM
    connection.request(method, path, body, everything)
    with connection.getresponse() as response:
        return Answer(response.status, response.headers, response.read().decode("utf-8"))


def as_bytes(
    server: Server,
    method: str,
    path: str,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A request as it is sent, for those who hang up on it."""
    body = urlencode(form or {})
    lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{server.port}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if form is not None:
        lines += [f"Content-Type: {FORM}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body]).encode("ascii")


def hang_up(connection: ssl.SSLSocket) -> None:
    """Close a connection in the rudest way: with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Browser:
    """Someone with a browser, who keeps cookies and fills in forms."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cookies: dict[str, str] = {}
        #: What could be used by someone else: cookies and forms' tokens.
        self.secrets: set[str] = set()

    @property
    def headers(self) -> dict[str, str]:
        """What a browser sends with each request."""
        if not self.cookies:
            return {}
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def _ask(self, method: str, path: str, form: Mapping[str, str] | None = None) -> Answer:
        connection = Connection(self.server)
        try:
            answer = ask(connection, method, path, form, self.headers)
        finally:
            connection.close()
        for cookie in answer.headers.get_all("set-cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
            self.secrets.add(value)
        return answer

    def get(self, path: str) -> Answer:
        """Open a page."""
        return self._ask("GET", path)

    def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Send a form."""
        return self._ask("POST", path, form)

    def form(self, path: str) -> Form:
        """The form of a page."""
        answer = self.get(path)
        assert answer.status == 200, (answer.status, answer.text)
        form = Form(answer.text)
        self.secrets.update(value for name, value in form.fields.items() if "csrf" in name)
        return form

    def log_in(self, username: str, password: str) -> Answer:
        """Log in, or try to."""
        page = Form(self.get("/oauth2/login/?next=/oauth2/login/").text)
        # The page of one who is logged in has two forms, the login's being the first.
        fields = {**page.fields, "username": username, "password": password, "next": "/oauth2/login/"}
        return self.post("/oauth2/login/", fields)

    def log_in_as_user(self) -> Browser:
        """Log in as the user that there is."""
        answer = self.log_in(self.server.prepared.username, self.server.prepared.password)
        assert answer.status == 303, (answer.status, answer.text)
        return self

    def address(self, state: str, **more: str) -> str:
        """The address that the application sends its users to."""
        asked = {
            "response_type": "code",
            "client_id": self.server.prepared.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "user_info",
            "state": state,
            **more,
        }
        return f"/oauth2/authorization/?{urlencode(asked)}"

    def consent_form(self, **more: str) -> tuple[str, dict[str, str]]:
        """The consent page's form as it is sent with Accept: where to, and its fields."""
        form = self.form(self.address(random_string(20), **more))
        return form.action, {**form.fields, "user_action": "Accept"}

    def code(self, **more: str) -> str:
        """Consent to the application, and return the code."""
        answer = self.post(*self.consent_form(**more))
        assert answer.status == 303, (answer.status, answer.text)
        return parse_qs(urlsplit(answer.location).query)["code"][0]


class Application:
    """The registered client."""

    def __init__(self, server: Server, number: int = 0) -> None:
        self.server = server
        self._connection = Connection(server, number)

    def connect(self) -> Application:
        """Connect before there is something to ask."""
        self._connection.connect()
        return self

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def __enter__(self) -> Application:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def headers(self) -> dict[str, str]:
        """The application's credentials."""
        prepared = self.server.prepared
        return {"Authorization": basic(prepared.client_id, prepared.client_secret)}

    def token(self, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """Ask the token endpoint."""
        sent = self.headers if headers is None else headers
        return ask(self._connection, "POST", "/oauth2/token/", form, sent)

    def exchange(self, code: str, **more: str) -> Answer:
        """Exchange a code."""
        return self.token({**code_form(code), **more})

    def refresh(self, token: str) -> Answer:
        """Use a refresh token."""
        return self.token(refresh_form(token))

    def revoke(self, token: str) -> Answer:
        """End a token."""
        return ask(self._connection, "POST", "/oauth2/revoke/", {"token": token}, self.headers)

    def user_info(self, token: str) -> Answer:
        """Ask the API."""
        return ask(self._connection, "GET", "/api/user_info/", headers=bearer(token))


def code_form(code: str) -> dict[str, str]:
    """The form that exchanges a code."""
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}


def refresh_form(token: str) -> dict[str, str]:
    """The form that uses a refresh token."""
    return {"grant_type": "refresh_token", "refresh_token": token}


def basic(name: str, password: str) -> str:
    """HTTP Basic credentials."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def bearer(token: str) -> dict[str, str]:
    """The header that a token is sent in."""
    return {"Authorization": f"Bearer {token}"}


def challenge(verifier: str) -> str:
    """RFC 7636, section 4.2, in its own words."""
    hashed = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode("ascii")


def walk(server: Server) -> dict[str, Any]:
    """The whole flow, from the login to a refreshed token; the last answer of the token endpoint."""
    browser = Browser(server)
    anonymous = browser.get(browser.address("s"))
    assert anonymous.status == 303
    assert anonymous.location.startswith("/oauth2/login/?next=")
    browser.log_in_as_user()
    verifier = random_string(60)
    code = browser.code(code_challenge=challenge(verifier), code_challenge_method="S256")
    with Application(server) as application:
        first = application.exchange(code, code_verifier=verifier)
        assert first.status == 200, first.text
        assert application.user_info(first.json["access_token"]).json["username"] == "alice"
        second = application.refresh(first.json["refresh_token"])
        assert second.status == 200, second.text
        assert application.user_info(second.json["access_token"]).status == 200
    answer: dict[str, Any] = second.json
    return answer
