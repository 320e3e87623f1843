"""The options of `twistd djoauth2`, and the service that they make, in this process."""

from __future__ import annotations

import gc
import io
import os
import socket
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from reactors import reactor
from twisted.application.service import IService
from twisted.cred.checkers import FilePasswordDB
from twisted.cred.credentials import UsernamePassword
from twisted.internet import tcp
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, connectProtocol, serverFromString
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from waiting import until
from zope.interface import implementer
from zope.interface.verify import verifyObject

from djoauth2_twisted import tap
from djoauth2_twisted.cli.certificate import make_certificate
from djoauth2_twisted.clock import IProcessReactor
from djoauth2_twisted.conf import Settings
from djoauth2_twisted.errors import ConfigurationError, TemporarilyUnavailable
from djoauth2_twisted.events import CertificatesRead, StoreBack, StoreLost
from djoauth2_twisted.finding import Finding
from djoauth2_twisted.interfaces import IResourceOwner
from djoauth2_twisted.models import ResourceOwner, Scope, SigningKey
from djoauth2_twisted.server import AuthorizationServer
from djoauth2_twisted.standalone import draining, listening, service
from djoauth2_twisted.standalone.connections import Connections
from djoauth2_twisted.standalone.endpoint_strings import check_reachable
from djoauth2_twisted.standalone.ports import Port, StartError
from djoauth2_twisted.standalone.service import StandAlone
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore
from djoauth2_twisted.stores.pool import Pool
from djoauth2_twisted.stores.sql import database
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.tap import Options, make_server, make_stores, makeService
from djoauth2_twisted.web.site import LimitedSite
from twisted.plugins import djoauth2_plugin

ISSUER = "https://example.com"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which has a certificate, and an environment that says nothing."""
    for name in list(os.environ):
        if name.startswith("DJOAUTH2_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.pem").write_bytes(make_certificate("localhost"))
    return tmp_path


def parse(*arguments: str) -> Options:
    """The options of a command line."""
    options = Options()
    options.parseOptions(list(arguments))
    return options


def plain(options: Options) -> dict[str, Any]:
    """All options, but for what was made of them."""
    made = {"endpoints", "metrics-endpoint", "log", "credCheckers", "credInterfaces"}
    return {name: value for name, value in options.items() if name not in made}


#: A database that several processes can use.
SHARED = "postgresql://127.0.0.1/djoauth2"

DEFAULTS: dict[str, Any] = {
    "port": ["ssl:443"],
    "database": None,
    "token-store": None,
    "issuer": "https://localhost",
    "templates": None,
    "config": None,
    "check": 0,
    "log-format": "text",
    "metrics-port": None,
    "workers": 1,
    "trusted-proxy": [],
    "settings": Settings(),
}


class TestOptions:
    """What a command line, the environment and a file come to."""

    def test_defaults(self):
        """Without any."""
        assert plain(parse()) == DEFAULTS

    @pytest.mark.parametrize(
        ("arguments", "changed"),
        [
            (["--port", "ssl:80"], {"port": ["ssl:80"], "issuer": "https://localhost:80"}),
            (
                ["--trusted-proxy", "127.0.0.1", "--trusted-proxy", "unix"],
                {
                    "trusted-proxy": ["127.0.0.1", "unix"],
                    "settings": Settings(trusted_proxies=("127.0.0.1", "unix")),
                },
            ),
            (["-p", "ssl:8443"], {"port": ["ssl:8443"], "issuer": "https://localhost:8443"}),
            (
                ["-p", "ssl:8443", "--port", "tcp:8080"],
                {"port": ["ssl:8443", "tcp:8080"], "issuer": "https://localhost:8443"},
            ),
            (["--database", "sqlite:///x.db"], {"database": "sqlite:///x.db"}),
            (["--token-store", "sqlite:///t.db"], {"token-store": "sqlite:///t.db"}),
            (["--issuer", "https://a.example/b"], {"issuer": "https://a.example/b"}),
            (["--templates", "."], {"templates": "."}),
            (["--log-format", "json"], {"log-format": "json"}),
            (["--workers", "4", "--database", SHARED], {"workers": 4, "database": SHARED}),
            *(
                (["--metrics-port", port], {"metrics-port": port})
                for port in (
                    "tcp:9100:interface=127.0.0.1",
                    "tcp:9100:0.0.0.0",
                    "tcp6:port=9100:interface=\\:\\:",
                    "tcp:interface=10.0.0.5:port=9100",
                    "unix:metrics.sock",
                    "ssl:9100",
                )
            ),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else "",
    )
    def test_option_changes_what_it_names(self, arguments, changed):
        """An option changes what it names, and the default issuer follows the first port."""
        assert plain(parse(*arguments)) == {**DEFAULTS, **changed}

    def test_environment(self, monkeypatch):
        """Options and settings, by their names in capitals."""
        monkeypatch.setenv("DJOAUTH2_METRICS_PORT", "unix:metrics.sock")
        monkeypatch.setenv("DJOAUTH2_PORT", "ssl:8443 tcp:8080")
        monkeypatch.setenv("DJOAUTH2_DATABASE", "sqlite:///environment.db")
        monkeypatch.setenv("DJOAUTH2_REALM", "here")
        monkeypatch.setenv("DJOAUTH2_TRUSTED_PROXY", "10.0.0.0/8 ::1")
        monkeypatch.setenv("DJOAUTH2_UNKNOWN", "ignored")
        assert plain(parse()) == {
            **DEFAULTS,
            "port": ["ssl:8443", "tcp:8080"],
            "database": "sqlite:///environment.db",
            "issuer": "https://localhost:8443",
            "metrics-port": "unix:metrics.sock",
            "trusted-proxy": ["10.0.0.0/8", "::1"],
            "settings": Settings(realm="here", trusted_proxies=("10.0.0.0/8", "::1")),
        }

    @pytest.mark.parametrize(
        "address", ["tcp://10.0.0.1:8443", "udp://10.0.0.1:53", "tcp://[fd00::1]:80"]
    )
    def test_an_address_of_a_service_is_passed_over(self, folder: Path, monkeypatch, address: str):
        """Kubernetes and Docker set DJOAUTH2_PORT for a service of that name: one line tells of it."""
        (folder / "a.toml").write_text('port = "ssl:8443"')
        monkeypatch.setenv("DJOAUTH2_PORT", address)
        monkeypatch.setenv("DJOAUTH2_PORT_8443_TCP", address)
        monkeypatch.setenv("DJOAUTH2_PORT_8443_TCP_PORT", "8443")
        monkeypatch.setenv("DJOAUTH2_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("DJOAUTH2_SERVICE_PORT", "8443")
        with capturedLogs() as logged:
            assert parse("--config", "a.toml")["port"] == ["ssl:8443"]
        (event,) = logged
        assert formatEvent(event).startswith(f"DJOAUTH2_PORT={address} is ignored: ")
        (folder / "a.toml").write_text('port = "8443"')
        assert refusal("--config", "a.toml").startswith(
            "djoauth2: port in a.toml: 8443: Unknown endpoint"
        )

    def test_file(self, folder: Path):
        """Options and settings, in any spelling."""
        (folder / "a.toml").write_text(
            'log-format = "json"\ntrusted-proxy = "unix"\nmetrics_port = "ssl:9100"\n'
            'port = ["ssl:8443"]\nDATABASE = "sqlite:///file.db"\ntoken-store = "sqlite:///t.db"\n'
            "DJOAUTH2_REQUIRE_PKCE = true\naccess-token-length = 40\n"
        )
        assert plain(parse("--config", "a.toml")) == {
            "port": ["ssl:8443"],
            "database": "sqlite:///file.db",
            "token-store": "sqlite:///t.db",
            "issuer": "https://localhost:8443",
            "templates": None,
            "config": "a.toml",
            "check": 0,
            "log-format": "json",
            "metrics-port": "ssl:9100",
            "workers": 1,
            "trusted-proxy": ["unix"],
            "settings": Settings(require_pkce=True, access_token_length=40, trusted_proxies=("unix",)),
        }

    @pytest.mark.parametrize(("value", "workers"), [("3", 3), ("0", None), ("true", None), ('"3"', 3)])
    def test_file_has_the_workers_as_a_number(self, folder: Path, value: str, workers: int | None):
        (folder / "a.toml").write_text(f'workers = {value}\ndatabase = "{SHARED}"\n')
        if workers is None:
            assert "workers in a.toml: " in refusal("--config", "a.toml")
        else:
            assert parse("--config", "a.toml")["workers"] == workers

    def test_an_option_beats_the_environment_which_beats_the_file(self, folder: Path, monkeypatch):
        """For each name by itself."""
        (folder / "a.toml").write_text(
            f'database = "sqlite:///file.db"\nissuer = "{ISSUER}/file"\nrealm = "file"\nport = "ssl:1"\n'
        )
        monkeypatch.setenv("DJOAUTH2_CONFIG", "a.toml")
        monkeypatch.setenv("DJOAUTH2_DATABASE", "sqlite:///environment.db")
        monkeypatch.setenv("DJOAUTH2_ISSUER", f"{ISSUER}/environment")
        options = parse("--issuer", f"{ISSUER}/option")
        assert plain(options) == {
            **DEFAULTS,
            "port": ["ssl:1"],
            "database": "sqlite:///environment.db",
            "issuer": f"{ISSUER}/option",
            "settings": Settings(realm="file"),
        }

    def test_no_server_is_built(self, monkeypatch):
        """Parsing judges the options; makeService builds."""
        built = []
        monkeypatch.setattr(AuthorizationServer, "__init__", lambda *_, **__: built.append(1))
        parse("--database", "sqlite:///new.db")
        assert built == []

    def test_nothing_is_opened(self, folder: Path):
        """twistd forks after this."""
        makeService(parse("--database", "sqlite:///new.db"))
        assert [path.name for path in folder.iterdir()] == ["server.pem"]

    @pytest.mark.parametrize(
        ("port", "settings", "issuer"),
        [
            ("ssl:443", "", "https://localhost"),
            ("ssl:port=8443:privateKey=server.pem", "", "https://localhost:8443"),
            ("ssl:interface=127.0.0.1:port=8443", "", "https://localhost:8443"),
            (r"tcp6:interface=\:\:1:port=8443", "", "https://localhost:8443"),
            ("haproxy:ssl:8443", "", "https://localhost:8443"),
            ("unix:/nowhere/socket", "", "https://localhost"),
            ("tcp:8080", "", "https://localhost:8080"),
            ("tcp:8080", "false", "http://localhost:8080"),
            ("tcp:80", "false", "http://localhost"),
            ("ssl:80", "false", "https://localhost:80"),
        ],
    )
    def test_default_issuer(self, monkeypatch, port, settings, issuer):
        """localhost at the first port; without TLS only where that is allowed."""
        if settings:
            monkeypatch.setenv("DJOAUTH2_SSL_ONLY", settings)
        assert parse("--port", port, "--trusted-proxy", "127.0.0.1")["issuer"] == issuer


def refusal(*arguments: str) -> str:
    """What is said of a wrong command line, before anything is opened."""
    with pytest.raises(SystemExit) as raised:
        makeService(parse(*arguments))
    message = str(raised.value.code)
    assert message.startswith("djoauth2: ")
    assert message.count("\n") <= 1
    return message


class TestRefusals:
    """What is wrong ends the process with one or two lines."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--orange",), "option --orange not recognized"),
            (("--database",), "option --database requires argument"),
            (("orange",), "arguments"),
            (("--database", "orange"), "sqlite:///djoauth2.db"),
            (("--database", "oracle://x/y"), "sqlite:///djoauth2.db"),
            (("--database", "sqlite://djoauth2.db"), "three slashes"),
            (("--database", "postgresql://u@127.0.0.1:1/x?connect_timeout=9"), "'connect_timeout'"),
            (("--database", "postgresql://u:a@b@127.0.0.1:1/x"), "%40"),
            (("--issuer", "http://example.com"), "must be an https URL"),
            (("--issuer", "https://example.com?a=b"), "must be an https URL without query"),
            (("--issuer", "example.com"), "must be an https URL"),
            (("--templates", "nowhere"), "nowhere does not exist"),
            (("--templates", "server.pem"), "server.pem"),
            (("--config", "nowhere"), "nowhere cannot be read: No such file"),
            (("--config", "."), "cannot be read"),
            (("--auth", "orange"), "orange"),
            (("--auth", "file"), "requires a filename"),
            (("--auth", "file:nowhere"), "there is no file"),
            (("--auth", "file:."), "there is no file"),
            (("--auth", "anonymous"), "not supported"),
            (("--log-format", "xml"), "'xml' is not text or json"),
            (("--workers", "0"), "--workers: '0' is not a whole number from 1 to 256"),
            (("--workers", "two"), "--workers: 'two' is not a whole number"),
            (("--workers", "2"), "--workers: --database is SQLite, which is for one process"),
            (
                ("--workers", "2", "--database", SHARED, "--token-store", "sqlite+pysqlite:///t.db"),
                "--workers: --token-store is SQLite",
            ),
            (("--trusted-proxy", "proxy.example"), "trusted proxy 'proxy.example'"),
            (("--port", "haproxy:ssl:443"), "--trusted-proxy 10.0.0.0/8"),
            *(
                (("--metrics-port", port), f"--metrics-port {port}: every host could read the metrics")
                for port in ("tcp:9100", "tcp6:9100", "tcp:port=9100:backlog=5", "tcp:9100:")
            ),
            (("--metrics-port", "9100"), "--metrics-port 9100: Unknown endpoint type"),
            (("--metrics-port", "ssl:9100:privateKey=no.pem"), "there is no file"),
        ],
    )
    def test_options(self, arguments, words):
        """The option, and what is wrong with it."""
        assert words in refusal(*arguments)

    @pytest.mark.parametrize(
        ("port", "words"),
        [
            ("", "Write it like ssl:443:privateKey=key.pem:certKey=cert.pem"),
            ("8443", "Unknown endpoint type"),
            ("https:443", "'https'"),
            ("tcp:http", "'http'"),
            ("ssl", "Write it like"),
            ("ssl:", "Write it like"),
            ("ssl:x", "'x'"),
            ("ssl:x", "Write it like"),
            ("ssl:65536", "a port is a number from 1 to 65535"),
            ("ssl:443:orange=1", "Write it like"),
            ("ssl:443:sslmethod=orange", "Write it like"),
            ("ssl:443:1:2:3:4:5:6:7:8:9", "Write it like"),
            ("ssl:443:privateKey=nowhere.pem", "djoauth2 certificate localhost"),
            ("ssl:443:privateKey=key.pem:certKey=nowhere.pem", "djoauth2 certificate localhost"),
            ("ssl:443:privateKey=nowhere/key.pem", "there is no file"),
            ("ssl:443:privateKey=.", "Is a directory"),
            ("ssl:443:privateKey=junk.pem", "there is no certificate in "),
            ("ssl:443:privateKey=key.pem", "there is no certificate in "),
            ("ssl:443:privateKey=other.pem", "there is no private key in "),
            ("ssl:443:privateKey=key.pem:certKey=other.pem", "do not belong together"),
            ("ssl:443:privateKey=server.pem:extraCertChain=junk.pem", "junk.pem"),
            ("systemd:", "Write it like"),
            ("systemd:domain=INET", "Write it like"),
            ("systemd:domain=INET:name=orange", "systemd has not passed such a socket"),
            ("systemd:domain=INET:index=9", "systemd has not passed such a socket"),
            ("tls:", "tls:/srv/certificates:port=443"),
            ("tls:8443", "there is no folder '8443'"),
            ("tls:port=8443:path=nowhere", "there is no folder 'nowhere'"),
            ("tls:empty:port=8443", "there is no folder 'empty'"),
        ],
    )
    def test_ports(self, folder: Path, port, words):
        """The endpoint string as it was written, and how to mend it."""
        (folder / "junk.pem").write_text("junk")
        (folder / "empty").mkdir()
        key, begin, _ = (folder / "server.pem").read_bytes().partition(b"-----BEGIN CERT")
        certificate = begin + make_certificate("localhost").partition(begin)[2]
        (folder / "key.pem").write_bytes(key)
        (folder / "other.pem").write_bytes(certificate)
        message = refusal("--port", port)
        assert words in message
        assert f"--port {port}:" in message

    def test_metrics_without_their_library(self, monkeypatch):
        """What to install, and which option needs it."""
        monkeypatch.delitem(sys.modules, "djoauth2_twisted.metrics", raising=False)
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        message = refusal("--metrics-port", "unix:metrics.sock")
        assert message == (
            "djoauth2: --metrics-port: metrics need a library: pip install 'djoauth2-twisted[metrics]'"
        )

    # Twisted's own reading of certificates, as of 26.10.
    @pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")
    def test_tls_with_a_folder_of_certificates(self, folder: Path):
        """Both ways to write it are good."""
        (folder / "certificates" / "deeper").mkdir(parents=True)
        (folder / "server.pem").rename(folder / "certificates" / "deeper" / "localhost.pem")
        for port in ("tls:certificates:port=8443", "tls:port=8443:path=certificates"):
            assert parse("--port", port)["issuer"] == "https://localhost:8443"

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("orange = 1", "'orange', which is neither an option nor a setting"),
            ("access_token_length = 21", "ACCESS_TOKEN_LENGTH is 21: it must be a whole number from 22"),
            ("database = 1", "database is 1: it must be a text"),
            ("database = ['sqlite:///djoauth2.db']", "it must be a text"),
            ("port = 443", "port is 443: it must be a text or a list of texts"),
            ('port = ["tcp:80", 443]', "it must be a text or a list of texts"),
            ("auth = 1", "auth is 1: it must be a text or a list of texts"),
        ],
    )
    def test_file(self, folder: Path, line, words):
        """The name, its value and what is allowed."""
        (folder / "a.toml").write_text(line)
        assert words in refusal("--config", "a.toml")

    def test_file_in_latin_1(self, folder: Path):
        (folder / "a.toml").write_bytes(b"realm = '\xe9'\n")
        assert "a.toml cannot be read" in refusal("--config", "a.toml")

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("AUTHORIZATION_CODE_LIFETIME", "601", "AUTHORIZATION_CODE_LIFETIME is 601: it must be"),
            ("REALM", "é", "REALM is 'é': it must be a text of printable ASCII"),
            ("ISSUER", "https://x.example#a", "without query and fragment"),
        ],
    )
    def test_environment(self, monkeypatch, name: str, text: str, words: str):
        """The variable, its value and what is allowed."""
        monkeypatch.setenv(f"DJOAUTH2_{name}", text)
        said = refusal()
        assert said.startswith(f"djoauth2: DJOAUTH2_{name}: ")
        assert words in said

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("port", "8443", "8443: Unknown endpoint type"),
            ("port", "ssl:65536", "ssl:65536: a port is a number from 1 to 65535"),
            ("port", "tls:8443", "tls:8443: there is no folder '8443'"),
            ("issuer", "http://example.com", "the issuer is 'http://example.com'"),
            ("auth", "file:nowhere", "there is no file"),
            ("auth", "orange", "Auth plugin not recognized"),
            ("database", "orange", "the database's URL cannot be read"),
            ("token-store", "orange", "the database's URL cannot be read"),
            ("templates", "nowhere", "the templates' folder nowhere does not exist"),
        ],
    )
    @pytest.mark.parametrize("place", ["option", "variable", "file"])
    def test_a_wrong_value_is_named_with_its_source(
        self, folder: Path, monkeypatch, place: str, name: str, value: str, words: str
    ):
        """The option, the variable, or the file and its key."""
        if place == "option":
            said = refusal(f"--{name}", value)
            assert said.startswith(f"djoauth2: --{name}")
        elif place == "variable":
            variable = f"DJOAUTH2_{name.replace('-', '_').upper()}"
            monkeypatch.setenv(variable, value)
            said = refusal()
            assert said.startswith(f"djoauth2: {variable}: ")
        else:
            (folder / "a.toml").write_text(f'{name} = "{value}"')
            said = refusal("--config", "a.toml")
            assert said.startswith(f"djoauth2: {name.replace('-', '_')} in a.toml: ")
        assert words in said

    def test_a_wrong_setting_is_named_with_its_source(self, folder: Path, monkeypatch):
        """Also one that stands in both: the variable counts."""
        (folder / "a.toml").write_text("ssl-only = 7")
        assert refusal("--config", "a.toml").startswith("djoauth2: ssl_only in a.toml: SSL_ONLY is 7: ")
        monkeypatch.setenv("DJOAUTH2_SSL_ONLY", "perhaps")
        said = refusal("--config", "a.toml")
        assert said.startswith("djoauth2: DJOAUTH2_SSL_ONLY: SSL_ONLY is 'perhaps': ")

    def test_a_file_is_named_with_its_source(self, monkeypatch):
        """As it is an option, too."""
        monkeypatch.setenv("DJOAUTH2_CONFIG", "nowhere")
        assert refusal().startswith("djoauth2: DJOAUTH2_CONFIG: the configuration file nowhere cannot ")

    def test_a_default_blames_no_option(self, folder: Path):
        """A port that was not given is called the default."""
        (folder / "server.pem").unlink()
        assert refusal().startswith("djoauth2: the default --port ssl:443: there is no file ")

    def test_the_password_of_a_checker_is_not_told(self, monkeypatch):
        monkeypatch.setenv("DJOAUTH2_AUTH", "memory:eve:dropper:odd")
        said = refusal()
        assert said.startswith("djoauth2: DJOAUTH2_AUTH: ")
        assert "dropper" not in said

    def test_help_is_no_refusal(self, capsys):
        """It is printed in full, and the status is 0."""
        with pytest.raises(SystemExit) as raised:
            parse("--help")
        assert not raised.value.code
        assert "--token-store=" in capsys.readouterr().out


class TestAuth:
    """--auth makes the checkers that log resource owners in."""

    def test_file(self, folder: Path, monkeypatch):
        """A relative path is taken from the current folder now."""
        (folder / "passwords").write_text("bob:builder\n")
        (checker,) = parse("--auth", "file:passwords")["credCheckers"]
        monkeypatch.chdir("/")
        assert isinstance(checker, FilePasswordDB)
        assert checker.filename == str(folder / "passwords")

    def test_environment(self, folder: Path, monkeypatch):
        """Several at once; an option replaces them."""
        (folder / "passwords").write_text("bob:builder\n")
        monkeypatch.setenv("DJOAUTH2_AUTH", "file:passwords memory:eve:dropper")
        assert len(parse()["credCheckers"]) == 2
        assert len(parse("--auth", "memory:eve:dropper")["credCheckers"]) == 1

    @pytest_twisted.ensureDeferred
    async def test_checkers_for_every_kind_of_credentials_are_asked(self, folder: Path):
        """Whichever kind of string they compare."""
        (folder / "passwords").write_text("bob:builder\n")
        options = parse("--auth", "file:passwords", "--auth", "memory:eve:dropper")
        server = make_server(options, make_stores(options))
        server.open_now()
        server.startService()
        try:
            await server.when_ready()
            for name, password in ((b"bob", b"builder"), (b"eve", b"dropper")):
                presented = UsernamePassword(name, password)
                _, avatar, _ = await server._portal.login(presented, None, IResourceOwner)
                assert isinstance(avatar, ResourceOwner)
                assert avatar.username == name.decode()
        finally:
            await server.stopService()


def site(reactor: Any) -> LimitedSite:
    """A site with nothing in it."""
    return LimitedSite(Resource(), reactor)


@implementer(IStreamServerEndpoint)
class Refusing:
    """An endpoint that cannot be listened at."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def listen(self, factory: object) -> Deferred[Any]:
        """Fail."""
        return fail(self._error)


class TestPort:
    """One endpoint."""

    def test_listens_once(self):
        """However often `listen` is called."""
        reactor = MemoryReactorClock()
        port = Port("tcp:80", TCP4ServerEndpoint(reactor, 80), Connections(site(reactor)))
        port.listen()
        port.listen()
        assert [server[0] for server in reactor.tcpServers] == [80]

    def test_stop_before_it_listened(self):
        """Is nothing."""
        port = Port("tcp:80", Refusing(OSError()), Connections(site(MemoryReactorClock())))
        stopped: list[object] = []
        port.stop().addCallback(stopped.append)
        assert stopped == [[]]

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (CannotListenError("", 80, OSError(98, "Address already in use")), "Address already in use"),
            (CannotListenError("", 80, "no such interface"), "no such interface"),
            (PermissionError(13, "Permission denied"), "Permission denied"),
            (OverflowError("port must be 0-65535"), "port must be 0-65535"),
        ],
    )
    def test_says_why_it_cannot_listen(self, error, reason):
        """In the system's words."""
        port = Port("tcp:80", Refusing(error), Connections(site(MemoryReactorClock())))
        with pytest.raises(StartError, match=f"^cannot listen at tcp:80: {reason}$"):
            port.listen()


class Store:
    """A store that opens, or does not, and remembers what was done to it."""

    def __init__(self, opening: Exception | None = None, connecting: Exception | None = None) -> None:
        self._opening, self._connecting = opening, connecting
        self.connected: Deferred[None] = succeed(None)
        self.events: list[str] = []
        self.name = "here"

    def open(self, prepare: bool | None = None) -> None:
        """Open, or raise."""
        self.events.append("open")
        if self._opening is not None:
            raise self._opening

    def version(self) -> str | None:
        """None: it is new."""

    def tokens_elsewhere(self) -> Deferred[str | None]:
        """They are here."""
        return succeed(None)

    def connect(self, serves: bool = True) -> Deferred[None]:
        """Connect, or fail."""
        return fail(self._connecting) if self._connecting else self.connected

    def check_writable(self) -> Deferred[None]:
        """Write."""
        return succeed(None)

    def pools(self) -> list[Pool]:
        """No connection is needed."""
        return []

    def report_outages(self, report: Any) -> None:
        """It has none."""

    def files(self) -> list[Path]:
        """It has none."""
        return []

    def key_file(self) -> Path | None:
        """It has none."""

    def judge(self) -> Deferred[list[Finding]]:
        """Find nothing."""
        return succeed([])

    def signing_keys_at_rest(self) -> list[SigningKey]:
        """It has none."""
        return []

    def invalidation_lag(self) -> float | None:
        """No other process is there."""

    def close(self) -> Deferred[None]:
        """Close."""
        self.events.append("close")
        return succeed(None)


class Stoppable:
    """A reactor that remembers that it was stopped."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.stopped = False

    def stop(self) -> None:
        """Stop."""
        self.stopped = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class Whole:
    """A stand-alone server on memory stores, at a port of the system's choice."""

    def __init__(self, store: Store | None = None, description: str = "tcp:0:interface=127.0.0.1"):
        from twisted.internet import reactor

        self.reactor = Stoppable(reactor)
        self.store = store or Store()
        stores = MemoryRegistry(), MemoryTokenStore()
        self.server = AuthorizationServer(reactor, self.store, *stores, issuer=ISSUER)
        self.connections = Connections(LimitedSite(self.server.root(), reactor))
        self.endpoint = Remembering(serverFromString(reactor, description))
        port = Port(description, self.endpoint, self.connections)
        self.service = StandAlone(
            cast("IProcessReactor", self.reactor), self.server, [port], self.connections
        )

    async def connect(self, protocol: Protocol) -> Any:
        """A client's connection."""
        from twisted.internet.endpoints import HostnameEndpoint

        number = self.endpoint.port.getHost().port
        return await connectProtocol(HostnameEndpoint(self.reactor, "127.0.0.1", number), protocol)


@implementer(IStreamServerEndpoint)
class Remembering:
    """An endpoint that remembers its port."""

    port: tcp.Port

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def listen(self, factory: Any) -> Deferred[Any]:
        """Listen."""

        def remember(port: Any) -> Any:
            self.port = port
            return port

        listening: Deferred[Any] = self._endpoint.listen(factory)
        return listening.addCallback(remember)


class Client(Protocol):
    """Asks once, on a connection that it would keep."""

    def __init__(self) -> None:
        self.received = b""
        self.answered: Deferred[None] = Deferred()
        self.lost: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if b'"ok"}' in self.received:
            answered, self.answered = self.answered, Deferred()
            answered.callback(None)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.lost.callback(self.received)


@pytest.mark.parametrize(
    ("ports", "proxies", "serves"),
    [
        (["tcp:80"], (), False),
        (["tcp6:80", "unix:/nowhere/socket", "systemd:domain=INET:index=0"], (), False),
        (["haproxy:tcp:80"], ("127.0.0.1",), False),
        (["tcp:80"], ("127.0.0.1",), True),
        (["haproxy:ssl:443"], ("127.0.0.1",), True),
        (["tcp:80", "ssl:443"], (), True),
        (["onion:443"], (), True),
    ],
)
def test_ports_that_could_serve_nothing_are_refused(ports, proxies, serves):
    check_reachable(ports, Settings(ssl_only=False))
    settings = Settings(trusted_proxies=proxies)
    if serves:
        check_reachable(ports, settings)
    else:
        with pytest.raises(ConfigurationError, match=f"--port {ports[0]}: .* it has no TLS"):
            check_reachable(ports, settings)


class TestStandAlone:
    """The service that twistd starts and stops."""

    def test_is_made_of_the_options(self):
        """By what the plugin names."""
        service = makeService(
            parse("--port", "tcp:0", "--issuer", ISSUER, "--trusted-proxy", "127.0.0.1")
        )
        assert verifyObject(IService, service)
        assert djoauth2_plugin.djoauth2.tapname == "djoauth2"
        assert djoauth2_plugin.djoauth2.options is Options
        assert djoauth2_plugin.djoauth2.makeService is makeService

    def test_each_store_is_made_once(self, folder: Path, monkeypatch):
        """The server and the check of the files use the same objects."""
        made: list[str] = []

        class Counted(Database):
            def __init__(self, reactor: Any, url: str) -> None:
                made.append(url)
                super().__init__(reactor, url)

        monkeypatch.setattr(database, "Database", Counted)
        urls = [f"sqlite:///{folder}/{name}.db" for name in ("registry", "tokens")]
        makeService(parse("--database", urls[0], "--token-store", urls[1], "--issuer", ISSUER))
        assert made == urls

    @pytest_twisted.ensureDeferred
    async def test_certificates_that_are_read_again_are_an_event_of_the_server(self):
        """By a port as the options describe it."""
        description = "ssl:0:interface=127.0.0.1"
        service: Any = makeService(parse("--port", description, "--issuer", ISSUER))
        got: list[object] = []
        service._server.events.subscribe(CertificatesRead, got.append)
        (port,) = service._ports
        port.listen()
        try:
            port.reload()
        finally:
            await port.stop()
        assert got == [CertificatesRead(port=description)]

    @pytest_twisted.ensureDeferred
    async def test_outage_of_a_store_is_an_event_of_the_server(self, folder: Path):
        """F-17: a file that is not there and comes back."""
        options = parse("--database", f"sqlite:///{folder}/store.db", "--issuer", ISSUER)
        server = make_server(options, make_stores(options))
        server.open_now()
        server.startService()
        try:
            await server.when_ready()
            got: list[object] = []
            for kind in (StoreLost, StoreBack):
                server.events.subscribe(kind, got.append)
            (folder / "store.db").rename(folder / "away.db")
            with pytest.raises(TemporarilyUnavailable):
                await server.registry.add_scope(Scope("read", ""))
            # Reading and writing are reported apart.
            assert set(got) == {StoreLost(store="The database", reason="the file was replaced")}
            (folder / "away.db").rename(folder / "store.db")
            await server.registry.add_scope(Scope("read", ""))
            assert got[-1] == StoreBack(store="The database")
        finally:
            await server.stopService()

    @pytest.mark.parametrize("privileged", [True, False], ids=["twistd", "twist"])
    @pytest_twisted.ensureDeferred
    async def test_serves_and_ends(self, privileged):
        """twist calls no more than startService; the end closes connections, then is done."""
        whole = Whole()
        if privileged:
            whole.service.privilegedStartService()
            assert whole.store.events == []
        with capturedLogs() as logged:
            whole.service.startService()
            assert not any(event.get("issuer") == ISSUER for event in logged)
            await whole.server.when_ready()
        assert any(event.get("issuer") == ISSUER for event in logged)
        client = Client()
        await whole.connect(client)
        await client.answered
        await whole.service.stopService()
        assert (await client.lost).startswith(b"HTTP/1.1 200 OK\r\n")
        assert whole.store.events[-1] == "close"
        assert not whole.reactor.stopped

    @pytest_twisted.ensureDeferred
    async def test_connections_wait_until_the_store_is_open(self):
        """They are neither refused nor told 503."""
        whole = Whole()
        whole.store.connected = Deferred()
        whole.service.privilegedStartService()
        client = Client()
        await whole.connect(client)
        whole.service.startService()
        # The client, the reactor and the opening thread have time to do more than they should.
        await until(lambda: "open" in whole.store.events[1:], "the opening")
        for _ in range(10):
            await deferLater(reactor, 0)
        assert not whole.connections.protocols
        whole.store.connected.callback(None)
        await client.answered
        assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")
        await whole.service.stopService()
        await client.lost

    @pytest_twisted.ensureDeferred
    async def test_a_connection_that_waits_at_the_end_is_answered(self):
        whole = Whole()
        whole.service.startService()
        await whole.server.when_ready()
        whole.endpoint.port.stopReading()
        client = Client()
        await whole.connect(client)
        assert not whole.connections.protocols
        stopped = whole.service.stopService()
        received = await client.lost
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in received
        await stopped

    @pytest_twisted.ensureDeferred
    async def test_an_end_before_the_store_is_open(self):
        """Nothing is served any more."""
        whole = Whole()
        whole.store.connected = Deferred()
        whole.service.startService()
        stopped = whole.service.stopService()
        whole.store.connected.callback(None)
        await stopped
        assert whole.store.events[-1] == "close"

    @pytest.mark.parametrize("abstract", [False, True])
    @pytest_twisted.ensureDeferred
    async def test_service_manager_is_told_of_readiness_and_end(self, folder, monkeypatch, abstract):
        name = str(folder / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0" + name if abstract else name)
            manager.setblocking(False)
            monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else name)
            whole = Whole()
            whole.service.startService()
            with pytest.raises(BlockingIOError):
                manager.recv(100)
            await whole.server.when_ready()
            assert manager.recv(100) == b"READY=1"
            await whole.service.stopService()
            assert manager.recv(100) == b"STOPPING=1"

    @pytest_twisted.ensureDeferred
    async def test_garbage_collection_leaves_out_what_the_start_made(self):
        whole = Whole()
        gc.unfreeze()
        try:
            whole.service.startService()
            await whole.server.when_ready()
            assert gc.get_freeze_count() > 0
        finally:
            gc.unfreeze()
        await whole.service.stopService()

    @pytest_twisted.ensureDeferred
    async def test_looks_for_renewed_certificates(self, monkeypatch):
        looks: list[int] = []
        monkeypatch.setattr(listening, "LOOK_INTERVAL", 0)
        whole = Whole()
        monkeypatch.setattr(Port, "look", lambda _: looks.append(1))
        whole.service.startService()
        await whole.server.when_ready()
        while len(looks) < 2:
            await deferLater(reactor, 0)
        await whole.service.stopService()
        looked = len(looks)
        await deferLater(reactor, 0)
        assert len(looks) == looked

    @pytest_twisted.ensureDeferred
    async def test_service_manager_that_is_away_stops_nothing(self, folder, monkeypatch):
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "nowhere"))
        whole = Whole()
        with capturedLogs() as logged:
            whole.service.startService()
            await whole.server.when_ready()
            await whole.service.stopService()
        reasons = [event["reason"] for event in logged if "service manager" in event["log_format"]]
        assert reasons == ["No such file or directory"] * 2

    @pytest_twisted.ensureDeferred
    async def test_ends_without_connections(self):
        """At once."""
        whole = Whole()
        whole.service.startService()
        await whole.server.when_ready()
        await whole.service.stopService()
        assert whole.store.events[-1] == "close"

    @pytest_twisted.ensureDeferred
    async def test_does_not_wait_for_ever_for_clients(self, monkeypatch):
        """The stop does not wait without end for a client that stays connected."""
        monkeypatch.setattr(service, "CLOSING_DEADLINE", 0)
        monkeypatch.setattr(draining, "DEADLINE", 0)
        whole = Whole()
        whole.service.startService()
        await whole.server.when_ready()
        client = Client()
        await whole.connect(client)
        await client.answered
        (connection,) = whole.connections.protocols
        monkeypatch.setattr(connection, "loseConnection", lambda: None)
        await whole.service.stopService()
        assert client.transport is not None
        client.transport.loseConnection()
        await client.lost

    @pytest_twisted.ensureDeferred
    async def test_a_store_that_cannot_be_opened(self):
        """The error is one line, and nothing was begun."""
        whole = Whole(Store(opening=ConfigurationError("the store is locked away")))
        with capturedLogs() as logged, pytest.raises(StartError, match=r"^the store is locked away$"):
            whole.service.startService()
        assert [event["log_level"].name for event in logged if "error" in event] == ["error"]
        assert not whole.server.running
        await whole.service.stopService()

    # Twisted 26.4 leaves a socket open that it could not bind.
    @pytest.mark.filterwarnings("ignore:.*<socket:pytest.PytestUnraisableExceptionWarning")
    @pytest_twisted.ensureDeferred
    async def test_a_port_that_is_taken(self):
        """The error comes before the store is opened, by either way to start."""
        first = Whole()
        first.service.privilegedStartService()
        taken = f"tcp:{first.endpoint.port.getHost().port}:interface=127.0.0.1"
        for start in ("privilegedStartService", "startService"):
            second = Whole(description=taken)
            with pytest.raises(StartError, match=f"^cannot listen at {taken}: Address already in use$"):
                getattr(second.service, start)()
            assert second.store.events == []
        await first.service.stopService()

    @pytest_twisted.ensureDeferred
    async def test_a_store_that_cannot_be_reached(self, monkeypatch):
        """Is found out when the reactor runs already: it is ended, with a line and a status."""
        errors, registered = io.StringIO(), []
        monkeypatch.setattr(sys, "__stderr__", errors)
        monkeypatch.setattr(service.atexit, "register", lambda *what: registered.append(what[1:]))
        whole = Whole(Store(connecting=ConfigurationError("the store does not answer")))
        whole.service.startService()
        with pytest.raises(ConfigurationError):
            await whole.server.when_ready()
        assert whole.reactor.stopped
        assert errors.getvalue() == "djoauth2: the store does not answer\n"
        assert registered == [(1,)]
        await whole.service.stopService()


class TestExceptionHook:
    """What is printed when the start has failed."""

    def test_one_line_where_the_operator_can_mend_it(self, monkeypatch):
        """Whatever standard error is redirected to."""
        errors = io.StringIO()
        monkeypatch.setattr(sys, "__stderr__", errors)
        tap._say_why(StartError, StartError("it is too late"), None)
        assert errors.getvalue() == "djoauth2: it is too late\n"

    def test_a_traceback_where_it_is_our_fault(self, capsys):
        """So that it can be reported."""
        tap._say_why(ZeroDivisionError, ZeroDivisionError("division"), None)
        assert capsys.readouterr().err == "ZeroDivisionError: division\n"
