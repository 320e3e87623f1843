"""``djoauth2 client try``, against the servers of the demo, in this process."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import attrs
import pytest
import pytest_twisted
from click.testing import CliRunner
from command_line import CommandLine
from OpenSSL.SSL import Connection
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.iweb import IPolicyForHTTPS
from waiting import result_of
from zope.interface import implementer

from djoauth2_twisted.cli import main
from djoauth2_twisted.cli.demo.system import System, start
from djoauth2_twisted.cli.demo.walk import Form
from djoauth2_twisted.cli.running import Store
from djoauth2_twisted.cli.trial import SUGGESTED, Trial, TrialFailed, local_redirect_uri
from djoauth2_twisted.errors import ConfigurationError, RegistrationError
from djoauth2_twisted.models import Client


@implementer(IPolicyForHTTPS, IOpenSSLClientConnectionCreator)
class TrustsAll:
    """A person who continues where the browser warns of the certificate."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        return self

    def clientConnectionForTLS(self, protocol: Any) -> Connection:
        connection = Connection(CertificateOptions(verify=False).getContext(), None)
        connection.set_app_data(protocol)
        return connection


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@attrs.define
class Tried:
    """A demo, and a client of it with a redirect URI on this machine."""

    system: System
    client_id: str
    secret: str
    redirect_uri: str
    roots: bytes
    said: list[str] = attrs.field(factory=list)

    def trial(self, say: Callable[[str], object] | None = None, **changes: Any) -> Trial:
        from twisted.internet import reactor

        fields: dict[str, Any] = {
            "issuer": self.system.address,
            "client_id": self.client_id,
            "client_secret": self.secret,
            "scopes": (),
            "roots": self.roots,
        }
        return Trial(reactor, **{**fields, **changes}, say=say or self.said.append)

    def walk(self, trial: Trial) -> Awaitable[dict[str, Any]]:
        return trial.walk(self.system.server.administration)


@asynccontextmanager
async def tried(folder: Path) -> AsyncIterator[Tried]:
    from twisted.internet import reactor

    system = await start(reactor, folder, 0)
    try:
        redirect_uri = f"https://127.0.0.1:{free_port()}/a/callback"
        uris = ("https://app.example/callback", redirect_uri)
        client, secret = await system.server.administration.add_client("Tried", uris)
        yield Tried(system, client.client_id, secret, redirect_uri, (folder / "server.pem").read_bytes())
    finally:
        await system.stop()


def address_in(said: list[str]) -> str:
    return next(word for line in said for word in line.split() if "/oauth2/authorization/" in word)


@attrs.define
class Person:
    """Opens the address in a browser, logs in and decides."""

    system: System
    decision: str = "Accept"
    change: Callable[[str], str] = str
    pages: list[tuple[int, str]] = attrs.field(factory=list)

    async def open(self, address: str) -> None:
        from twisted.internet import reactor

        http = HTTPClient(Agent(reactor, TrustsAll()))
        page, address = await self._get(http, address)
        typed = {"username": self.system.username, "password": self.system.password}
        page, address = await self._send(http, page, address, typed)
        form = Form(page)
        decided = {**form.fields, "user_action": self.decision}
        response = await http.post(urljoin(address, form.action), data=decided, allow_redirects=False)
        arrived = response.headers.getRawHeaders("location")[0]
        for each in (self.change(arrived), arrived):
            response = await http.get(each, allow_redirects=False)
            self.pages.append((response.code, await response.text()))
            if response.code == 200:
                break

    async def _get(self, http: HTTPClient, address: str) -> tuple[str, str]:
        response = await http.get(address)
        return await response.text(), response.request.absoluteURI.decode()

    async def _send(
        self, http: HTTPClient, page: str, address: str, typed: dict[str, str]
    ) -> tuple[str, str]:
        form = Form(page)
        target = urljoin(address, form.action)
        response = await http.post(target, data={**form.fields, **typed})
        # A busy machine does not compare each password in time.
        while response.code == 503:
            response = await http.post(target, data={**form.fields, **typed})
        return await response.text(), response.request.absoluteURI.decode()


async def walk_with(tried: Tried, person: Person, **changes: Any) -> dict[str, Any]:
    """Walk through a trial, while a person does what it says. The person's failure ends it."""
    opened: list[Deferred[None]] = []

    def say(line: str) -> None:
        tried.said.append(line)
        if "/oauth2/authorization/" in line:
            opening = Deferred.fromCoroutine(person.open(address_in([line])))
            opened.append(opening.addErrback(give_up))

    def give_up(failure: Failure) -> Failure:
        walking.cancel()
        return failure

    async def act() -> dict[str, Any]:
        return await tried.walk(tried.trial(say, **changes))

    walking: Deferred[dict[str, Any]] = Deferred.fromCoroutine(act())
    try:
        return await walking
    finally:
        for each in opened:
            await each


@pytest_twisted.ensureDeferred
async def test_the_code_is_exchanged_and_the_answer_is_shown(tmp_path: Path) -> None:
    async with tried(tmp_path) as trying:
        person = Person(trying.system)
        answer = await walk_with(trying, person)
        assert set(answer) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
        assert answer["scope"].split() == ["photos", "user_info"]
        query = dict(parse_qsl(urlsplit(address_in(trying.said)).query))
        assert query["redirect_uri"] == trying.redirect_uri
        assert query["code_challenge_method"] == "S256"
        token = await trying.system.server.verify(answer["access_token"], ("photos",))
        assert (token.client_id, token.user.username) == (trying.client_id, "alice")
        assert (200, "The answer has arrived. Continue in the terminal. You can close this page.\n") in (
            person.pages
        )
        assert not any(trying.secret in line for line in trying.said)


@pytest_twisted.ensureDeferred
async def test_only_the_scopes_that_are_named_are_asked_for(tmp_path: Path) -> None:
    async with tried(tmp_path) as trying:
        answer = await walk_with(trying, Person(trying.system), scopes=("photos",))
        assert answer["scope"] == "photos"


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_said_in_one_line(tmp_path: Path) -> None:
    async with tried(tmp_path) as trying:
        with pytest.raises(TrialFailed, match=r"^the server answered access_denied"):
            await walk_with(trying, Person(trying.system, "Decline"))


@pytest_twisted.ensureDeferred
async def test_an_answer_for_another_request_is_passed_over(tmp_path: Path) -> None:
    def with_another_state(address: str) -> str:
        parts = urlsplit(address)
        query = {**dict(parse_qsl(parts.query)), "state": "another"}
        return parts._replace(query=urlencode(query)).geturl()

    async with tried(tmp_path) as trying:
        person = Person(trying.system, change=with_another_state)
        assert "access_token" in await walk_with(trying, person)
        assert person.pages[0] == (400, "The command does not wait for this answer.\n")


@pytest_twisted.ensureDeferred
async def test_an_answer_of_another_issuer_is_refused(tmp_path: Path) -> None:
    def with_another_issuer(address: str) -> str:
        parts = urlsplit(address)
        query = {**dict(parse_qsl(parts.query)), "iss": "https://other.example"}
        return parts._replace(query=urlencode(query)).geturl()

    async with tried(tmp_path) as trying:
        with pytest.raises(TrialFailed, match="another issuer"):
            await walk_with(trying, Person(trying.system, change=with_another_issuer))


@pytest_twisted.ensureDeferred
async def test_what_is_wrong_is_said_before_someone_logs_in(tmp_path: Path) -> None:
    async with tried(tmp_path) as trying:
        elsewhere = f"https://localhost:{free_port()}"
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"client_secret": "wrong"}, "this is not the client's secret"),
            ({"client_id": "nope"}, "there is no client 'nope'"),
            ({"roots": None}, "its certificate is not trusted, give it with --cacert"),
            ({"issuer": elsewhere}, f"{elsewhere} cannot be reached: Connection was refused"),
            ({"issuer": f"{trying.system.address}/x"}, "has no metadata: it answered 404"),
        ]
        for changes, said in wrong:
            with pytest.raises(RegistrationError) as raised:
                await trying.walk(trying.trial(**changes))
            assert said in str(raised.value)
        with pytest.raises(ConfigurationError, match="issuer"):
            await trying.walk(trying.trial(issuer="ftp://x"))
        with pytest.raises(ConfigurationError, match="--cacert"):
            await trying.walk(trying.trial(roots=b"no PEM"))
        assert trying.said == []
        await trying.system.server.administration.edit_client(trying.client_id, disabled=True)
        with pytest.raises(TrialFailed, match="disabled"):
            await trying.walk(trying.trial())


# Twisted 26.4 leaves a socket open that it could not bind.
@pytest.mark.filterwarnings("ignore:.*<socket:pytest.PytestUnraisableExceptionWarning")
@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    async with tried(tmp_path) as trying:
        port = urlsplit(trying.system.address).port
        taken = f"https://127.0.0.1:{port}/callback"
        await trying.system.server.administration.edit_client(trying.client_id, redirect_uris=(taken,))
        with pytest.raises(TrialFailed, match=f"port {port}: Address already in use"):
            await trying.walk(trying.trial())


@pytest.mark.parametrize(
    "uri",
    [
        "https://127.0.0.1:8765/callback",
        "https://localhost/",
        "https://[::1]:8765/callback",
    ],
)
def test_a_redirect_uri_on_this_machine_is_used(uri: str) -> None:
    uris = ("https://app.example/", uri, "https://127.0.0.1:1/second")
    assert local_redirect_uri(Client("id", "name", b"", redirect_uris=uris)) == uri


def test_without_one_the_error_says_what_to_register(djoauth2: CommandLine) -> None:
    result_of(
        djoauth2.administration.registry.add_client(
            Client(
                "an-id", "name", b"", redirect_uris=("https://app.example/?a=1&b=2", "http://localhost/")
            )
        )
    )
    said = djoauth2.fails("client", "try", "an-id", "--secret-stdin", stdin="secret\n")
    assert said == (
        "the client has no https redirect URI on this machine: register one with "
        "`djoauth2 client edit an-id --redirect-uri 'https://app.example/?a=1&b=2' "
        "--redirect-uri http://localhost/ "
        f"--redirect-uri {SUGGESTED}`"
    )


def test_the_secret_is_not_asked_for_without_a_terminal(djoauth2: CommandLine) -> None:
    assert "--secret-stdin" in djoauth2.fails("client", "try", "an-id", status=2)


def test_the_answer_is_printed_for_people_and_programs(
    djoauth2: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def walk(self: Trial, administration: object) -> dict[str, Any]:
        self._say("Open this address")
        return {"access_token": "a-token", "expires_in": 3600}

    monkeypatch.setattr(Trial, "walk", walk)
    arguments = ("client", "try", "an-id", "--secret-stdin")
    printed = djoauth2.done(*arguments, stdin="secret\n")
    assert printed == "Open this address\naccess_token  a-token\nexpires_in    3600\n"
    result = djoauth2(*arguments, "--json", stdin="secret\n")
    assert result.stderr == "Open this address\n"
    assert '"access_token": "a-token"' in result.stdout


@pytest.mark.parametrize(
    ("option", "variable", "file", "used"),
    [
        (None, None, "", "https://localhost"),
        (None, None, 'issuer = "https://file.example"', "https://file.example"),
        (None, "https://env.example", 'issuer = "https://file.example"', "https://env.example"),
        ("https://option.example", "https://env.example", "", "https://option.example"),
        ("https://option.example", None, 'issuer = "https://file.example"', "https://option.example"),
    ],
)
def test_issuer_comes_from_option_environment_or_file_in_this_order(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    option: str | None,
    variable: str | None,
    file: str,
    used: str,
) -> None:
    asked: list[str] = []

    def run(self: Store, action: Any) -> dict[str, Any]:
        asked.append(action.__self__._issuer)
        return {"token_type": "Bearer"}

    monkeypatch.setattr(Store, "run", run)
    if variable is not None:
        monkeypatch.setenv("DJOAUTH2_ISSUER", variable)
    path = tmp_path / "djoauth2.toml"
    path.write_text(file)
    command = ["--config", str(path), "client", "try", "an-id", "--secret-stdin"]
    command += [] if option is None else ["--issuer", option]
    result = CliRunner().invoke(main, command, input="secret\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert asked == [used]


def test_issuer_in_the_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "djoauth2.toml"
    path.write_text("issuer = 1")
    command = ["--config", str(path), "client", "try", "an-id", "--secret-stdin"]
    result = CliRunner().invoke(main, command, input="secret\n")
    assert result.exit_code == 1
    assert result.stderr == f"djoauth2: issuer in {path}: issuer is 1: it must be a text\n"
