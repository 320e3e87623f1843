"""Each example, as its reader starts it: it refuses requests without a token."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from attrs import define, field, frozen
from service_kit import (
    DJOAUTH2,
    ROOT,
    TWISTD,
    Answer,
    Application,
    Browser,
    Connection,
    Prepared,
    Server,
    ask,
    basic,
    bearer,
    environment,
    free_port,
    is_listening,
    prepare,
    run,
)
from waiting import PATIENCE, wait_for

EXAMPLES = ROOT / "examples"
#: A whole application, which docs/clients.md names; it is tried in tests/relying_parties.
LONG = EXAMPLES / "log_in_with.py"
SHORT = sorted(path for path in EXAMPLES.glob("*.py") if path != LONG)
GUIDES = "".join((ROOT / "docs" / name).read_text("utf-8") for name in ("guard.md", "embedding.md"))


@frozen
class Quickstart:
    """What the README's reader has by then, and two access tokens."""

    prepared: Prepared
    reads: str
    writes: str


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Quickstart:
    prepared = prepare(tmp_path_factory.mktemp("quickstart"))
    assert run(*DJOAUTH2, "scope", "add", "write", "Write.", folder=prepared.folder).returncode == 0
    server = Server.start(prepared)
    try:
        browser = Browser(server.wait_until_ready()).log_in_as_user()
        with Application(server) as application:
            tokens = [
                application.exchange(browser.code(scope=scope)).json["access_token"]
                for scope in ("user_info", "user_info write")
            ]
        server.stop()
    finally:
        server.kill()
    return Quickstart(prepared, *tokens)


@define
class Example:
    """An example that runs."""

    server: Server
    reads: str
    writes: str

    def ask(
        self, method: str, path: str, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and text of an answer."""
        answer = self.answer(method, path, {**(bearer(token) if token else {}), **(headers or {})})
        return answer.status, answer.text

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        connection = Connection(self.server)
        try:
            return ask(connection, method, path, headers=headers)
        finally:
            connection.close()

    def send_chunks(self, path: str, chunks: list[bytes], **headers: str) -> tuple[int, str]:
        """Status and text of the answer to a POST whose body has no length."""
        connection = Connection(self.server)
        try:
            connection.request("POST", path, iter(chunks), {**bearer(self.reads), **headers})
            with connection.getresponse() as response:
                return response.status, response.read().decode("utf-8")
        finally:
            connection.close()

    def assert_guarded(self, method: str, path: str) -> None:
        """401 without a token and with one that was never issued."""
        for headers, error in (({}, None), (bearer("unknown"), "invalid_token")):
            answer = self.answer(method, path, headers)
            assert answer.status == 401, answer.text
            challenge = answer.headers["www-authenticate"] or ""
            assert challenge.startswith("Bearer realm=")
            assert ("error" in challenge) == (error is not None)


@define
class Start:
    """Starts examples, which end with the test."""

    folder: Path
    quickstart: Quickstart
    _processes: list[subprocess.Popen[bytes]] = field(factory=list)

    def __call__(
        self,
        name: str,
        places: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        port: str = "8443",
        is_ready: Callable[[Server], bool] | None = None,
    ) -> Example:
        """Start an example at a free port in the place of its own."""
        listening = free_port()
        text = (EXAMPLES / name).read_text("utf-8")
        for old, new in {**(places or {}), f"ssl:{port}:": f"ssl:{listening}:"}.items():
            assert old in text, old
            text = text.replace(old, new)
        prepared = self.quickstart.prepared.copy_to(self.folder)
        (self.folder / name).write_text(text)
        (self.folder / "files").mkdir()
        (self.folder / "files" / "a.txt").write_text("A letter.")
        out, errors = self.folder / "out.log", self.folder / "err.log"
        with out.open("wb") as stdout, errors.open("wb") as stderr:
            process = subprocess.Popen(
                [*TWISTD, "-ny", name],
                cwd=self.folder,
                env=environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        self._processes.append(process)
        server = Server(prepared, process, out, errors, [listening])

        def ready() -> bool:
            assert process.poll() is None, server.text()
            return is_listening(listening) and (is_ready or logs_in)(server)

        wait_for(ready, "an answer", server.text)
        return Example(server, self.quickstart.reads, self.quickstart.writes)

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            process.wait(PATIENCE)


def logs_in(server: Server) -> bool:
    """Whether the login page is there, and so the server's store is open."""
    return Browser(server).get("/oauth2/login/").status == 200


@pytest.fixture
def start(tmp_path: Path, quickstart: Quickstart) -> Iterator[Start]:
    start = Start(tmp_path, quickstart)
    yield start
    start.end()
    for log in (tmp_path / "out.log", tmp_path / "err.log"):
        text = log.read_text("utf-8")
        assert "Traceback" not in text, text
        assert "Unhandled" not in text, text
        assert quickstart.reads not in text


def test_static_files(start: Start):
    example = start("static_files.py")
    example.assert_guarded("GET", "/files/a.txt")
    example.assert_guarded("HEAD", "/files/")
    assert example.ask("GET", "/files/a.txt", example.reads) == (200, "A letter.")
    assert example.ask("GET", "/files/a.txt", example.reads, {"Range": "bytes=2-3"}) == (206, "le")


class Behind(BaseHTTPRequestHandler):
    """A server behind a proxy, which repeats what it received."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        body = f"{self.path}|{self.headers['X-Forwarded-User']}|{self.headers['Authorization']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def behind() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Behind)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_reverse_proxy(start: Start, behind: int):
    """The server behind hears of the user from the example alone, and never sees the token."""
    example = start("reverse_proxy.py", {'1", 8000': f'1", {behind}'})
    example.assert_guarded("GET", "/behind/a")
    made_up = {"X-Forwarded-User": "admin", "X_Forwarded_User": "admin"}
    assert example.ask("GET", "/behind/a?b=c", example.reads, made_up) == (200, "/a?b=c|alice|None")


#: Together more than Twisted holds in memory for a body.
CHUNKS = [b"a letter ", b"in some ", b"chunks" * 50_000]


@pytest.mark.parametrize("headers", [{}, {"Expect": "100-continue"}], ids=["", "expecting"])
def test_reverse_proxy_passes_a_chunked_body_on_whole(start: Start, behind: int, headers: Any):
    example = start("reverse_proxy.py", {'1", 8000': f'1", {behind}'})
    text = b"".join(CHUNKS).decode()
    assert example.send_chunks("/behind/a", CHUNKS, **headers) == (200, text)
    assert example.send_chunks("/behind/a", [], **headers) == (200, "")


def test_wsgi_application(start: Start):
    example = start("wsgi_application.py")
    example.assert_guarded("GET", "/app/hello")
    made_up = {"X-Forwarded-User": "admin", "X_Forwarded_User": "admin"}
    assert example.ask("GET", "/app/hello", example.reads, made_up) == (200, "Hello, alice.\n")


def test_wsgi_application_reads_a_chunked_body_whole(start: Start):
    """PEP 3333: an application reads no more than CONTENT_LENGTH says."""
    body = 'environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))'
    echo = {'[f"Hello, ': f'[{body}]\n    [f"Hello, '}
    example = start("wsgi_application.py", echo)
    assert example.send_chunks("/app/hello", CHUNKS) == (200, b"".join(CHUNKS).decode())


def test_klein_routes(start: Start):
    example = start("klein_routes.py")
    assert example.ask("GET", "/app/") == (200, "Hello, guest.\n")
    example.assert_guarded("GET", "/app/me")
    example.assert_guarded("PUT", "/notes/one")
    assert example.ask("GET", "/app/me", example.reads) == (200, "Hello, alice.\n")
    assert example.ask("PUT", "/notes/one", example.reads)[0] == 403
    assert example.ask("PUT", "/notes/one", example.writes) == (200, "alice wrote one.\n")


def test_render_methods(start: Start):
    example = start("render_methods.py")
    assert example.ask("GET", "/wall") == (200, "")
    example.assert_guarded("POST", "/wall")
    assert example.ask("POST", "/wall", example.reads) == (200, "alice: \n")


def test_nested_guards(start: Start):
    example = start("nested_guards.py")
    for path in ("/files/a.txt", "/files/diary"):
        example.assert_guarded("GET", path)
    assert example.ask("GET", "/files/a.txt", example.reads) == (200, "A letter.")
    assert example.ask("GET", "/files/diary", example.reads)[0] == 403
    assert example.ask("GET", "/files/diary", example.writes) == (200, "Dear diary.\n")


def test_scopes_by_method(start: Start):
    example = start("scopes_by_method.py")
    for method in ("GET", "HEAD", "POST", "DELETE"):
        example.assert_guarded(method, "/note")
    assert example.ask("GET", "/note", example.reads) == (200, "Nothing yet.\n")
    assert example.ask("POST", "/note", example.reads)[0] == 403
    assert example.ask("POST", "/note", example.writes) == (200, "")
    assert example.ask("DELETE", "/note", example.writes)[0] == 405


def test_optional_token(start: Start):
    example = start("optional_token.py")
    assert example.ask("GET", "/hello") == (200, "Hello, guest.\n")
    assert example.ask("GET", "/hello", "unknown")[0] == 401
    assert example.ask("GET", "/hello", example.reads) == (200, "Hello, alice.\n")


def test_by_hand(start: Start):
    example = start("by_hand.py")
    assert example.ask("GET", "/app/public") == (200, "For everyone.\n")
    example.assert_guarded("GET", "/app/bob")
    assert example.ask("GET", "/app/bob", example.reads) == (200, "alice reads the page of bob.\n")


def test_passwords_and_tokens(start: Start):
    example = start("passwords_and_tokens.py")
    for headers in ({}, bearer("unknown"), {"Authorization": basic("bob", "wrong")}):
        answer = example.answer("GET", "/home", headers)
        assert answer.status == 401
        schemes = [line.split()[0] for line in answer.headers.get_all("www-authenticate") or []]
        assert schemes == ["basic", "bearer"]
    assert example.ask("GET", "/home", example.reads) == (200, "The home of alice.\n")
    password = {"Authorization": basic("bob", "secret")}
    assert example.ask("GET", "/home", headers=password) == (200, "The home of bob.\n")


def say(server: Server, line: str) -> str:
    """What a server answers to a line that does not speak HTTP."""
    context = ssl.create_default_context(cafile=str(server.prepared.certificate))
    plain = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    with plain, context.wrap_socket(plain, server_hostname="localhost") as connection:
        connection.sendall(line.encode() + b"\n")
        return connection.recv(1000).decode()


def test_line_protocol(start: Start, quickstart: Quickstart):
    def opened(server: Server) -> bool:
        return say(server, "unknown") == "No.\n"

    example = start("line_protocol.py", port="8444", is_ready=opened)
    for line in ("", "unknown", "a b", "\u00e9", "x" * 5000):
        assert say(example.server, line) == "No.\n"
    assert say(example.server, example.reads) == "Hello, alice.\n"
    assert say(example.server, example.reads + "\r") == "Hello, alice.\n"


def test_resource_server(start: Start, tmp_path_factory: pytest.TempPathFactory, quickstart: Quickstart):
    """Beside the server of the Quickstart, which it asks; no other example uses its database."""
    prepared = quickstart.prepared.copy_to(tmp_path_factory.mktemp("server"))
    added = run(
        *DJOAUTH2, "client", "add", "--name", "API", "--resource-server", folder=prepared.folder
    ).stdout
    credentials = dict(re.findall(r"^client (id|secret) +(\S+)$", added, re.MULTILINE))
    port = free_port()
    issuer = f"https://localhost:{port}"
    server = Server.start(prepared, ports=(f"ssl:{port}:interface=127.0.0.1",), issuer=issuer)
    try:
        server.wait_until_ready()
        example = start(
            "resource_server.py",
            {"https://localhost:8443": issuer},
            {
                "CLIENT_ID": credentials["id"],
                "CLIENT_SECRET": credentials["secret"],
                "SSL_CERT_FILE": "server.pem",
            },
            port="8444",
            is_ready=lambda _: True,
        )
        example.server.prepared.database.unlink()
        example.assert_guarded("GET", "/api/me")
        assert example.ask("GET", "/api/me", example.reads) == (200, "Hello, alice.\n")
        server.stop()
        assert example.ask("GET", "/api/me", example.reads)[0] == 503
    finally:
        server.kill()


def test_host_portal(start: Start):
    server = start("host_portal.py").server
    with Application(server) as application:
        browser = Browser(server)
        assert browser.log_in("bob", "wrong").status == 403
        assert browser.log_in(server.prepared.username, server.prepared.password).status == 403
        assert browser.log_in("bob", "secret").status == 303
        assert application.exchange(browser.code()).json["access_token"]


def test_host_login(start: Start):
    """The login is the application's, the consent and the code are ours."""

    def is_up(server: Server) -> bool:
        return Browser(server).get("/oauth2/login/").status == 303

    server = start("host_login.py", is_ready=is_up).server
    with Application(server) as application:
        browser = Browser(server)
        away = browser.get(browser.address("state"))
        assert away.headers["location"].startswith("/app/login?then=/oauth2/authorization/%3F")
        page = browser.get(away.headers["location"])
        # Without it, a browser would send "zo\xeb" in an encoding that it guesses.
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        back = browser.post(away.headers["location"], {"name": "carol"})
        assert back.headers["location"].startswith("/oauth2/authorization/?")
        assert application.exchange(browser.code()).json["access_token"]


NAMES = [
    "zo\u00eb",
    "zoe\u0308",
    "\u540d\u524d",
    "\u05d0\u05dc\u05d9\u05e1",
    "\U0001f98a fox",
    "o'neil & s\u00f6ns",
]


def test_host_login_takes_any_name(start: Start):
    def is_up(server: Server) -> bool:
        return Browser(server).get("/oauth2/login/").status == 303

    server = start("host_login.py", is_ready=is_up).server
    with Application(server) as application:
        for name in NAMES:
            browser = Browser(server)
            login = browser.get(browser.address("state")).headers["location"]
            assert browser.post(login, {"name": name}).status == 302
            token = application.exchange(browser.code()).json["access_token"]
            connection = Connection(server)
            said = ask(connection, "POST", "/oauth2/introspect/", {"token": token}, application.headers)
            connection.close()
            assert said.json["username"] == name
            account = browser.get("/oauth2/account/")
            assert name in unescape(account.text)
            assert "Log out" not in account.text
        # Bytes that are no text, and a form that lacks what it should have, are no error of the example.
        for query in ("name=zo%EB&then=%FF", ""):
            assert browser.post(f"/app/login?{query}", {}).status == 302


def test_one_by_one(start: Start):
    server = start("one_by_one.py").server
    browser = Browser(server).log_in_as_user()
    address = browser.address("state").replace("/oauth2/authorization/", "/authorize")
    assert "would like to:" in browser.get(address).text
    assert browser.post("/token", {"grant_type": "refresh_token"}).status == 401


# The guides.


def test_the_guides_show_every_example_word_for_word():
    """And says where each of them is."""
    blocks = dict(re.findall(r"<!-- (examples/\S+) -->\n```python\n(.*?)```\n", GUIDES, re.DOTALL))
    assert blocks == {f"examples/{path.name}": path.read_text("utf-8") for path in SHORT}


def test_every_example_is_run():
    """For each new example, this list says what it does."""
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    for path in SHORT:
        assert path.stem in tests
        text = path.read_text("utf-8")
        assert f" twistd -ny {path.name}\n" in text
        assert len(text.splitlines()) <= 55
