"""A provider, relying parties as processes, and a browser that goes from one to the other."""

from __future__ import annotations

import grp
import http.client
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from attrs import define, field, frozen
from service_kit import (
    DJOAUTH2,
    FORM,
    ROOT,
    TWISTD,
    Answer,
    Form,
    Prepared,
    Server,
    environment,
    free_port,
    is_listening,
    prepare,
    run,
    trusting,
)
from waiting import PATIENCE, wait_for

PARTIES = Path(__file__).resolve().parent / "parties"
NODE_MODULES = Path(os.environ.get("DJOAUTH2_TEST_NODE_MODULES", ROOT / "node_modules"))
#: The Python with Flask, Authlib, Django and mozilla-django-oidc.
PYTHON = os.environ.get("DJOAUTH2_TEST_PARTIES_PYTHON", sys.executable)
APACHE_MODULES = Path("/usr/lib/apache2/modules")


@frozen
class Provider:
    """A running server with OpenID Connect at a port that its issuer names."""

    server: Server
    issuer: str

    @classmethod
    def start(cls, folder: Path) -> Provider:
        """Prepare and start it."""
        prepared = prepare(folder)
        edited = ("--email", "alice@example.com", "--first-name", "Alice", "--last-name", "Example")
        command(prepared, "user", "edit", prepared.username, *edited, "--email-verified")
        port = free_port()
        server = Server.start(
            prepared,
            ports=(f"ssl:{port}:interface=127.0.0.1",),
            issuer=f"https://localhost:{port}",
            variables={"DJOAUTH2_OPENID": "true"},
        )
        try:
            server.wait_until_ready()
        except BaseException:
            server.kill()
            raise
        return cls(server, f"https://localhost:{port}")

    @property
    def pem(self) -> Path:
        """The certificate of the provider, which the relying parties have, too, and its key."""
        return self.server.prepared.certificate

    def register(self, base: str, *options: str, callback: str = "/callback") -> Mapping[str, str]:
        """Register a relying party, and return what it has to know."""
        added = command(
            self.server.prepared,
            *("client", "add", "--name", f"Relying party at {base}", "--json"),
            *("--redirect-uri", f"{base}{callback}"),
            *options,
        )
        client = json.loads(added)
        return {
            "ISSUER": self.issuer,
            "CLIENT_ID": client["client_id"],
            "CLIENT_SECRET": client["client_secret"],
            "BASE": base,
            "PORT": str(urlsplit(base).port),
            "PEM": str(self.pem),
        }


def command(prepared: Prepared, *arguments: str) -> str:
    """Run a `djoauth2` command in the folder of the server."""
    done = run(*DJOAUTH2, *arguments, folder=prepared.folder, variables={"DJOAUTH2_OPENID": "true"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@define
class Party:
    """A relying party: a process, and what it has written."""

    process: subprocess.Popen[bytes]
    base: str
    log: Path

    @classmethod
    def start(cls, words: Sequence[str], known: Mapping[str, str], folder: Path) -> Party:
        """Start it, and wait until it listens."""
        # Servers need their key and certificate in this folder under the usual name, too.
        shutil.copy(known["PEM"], folder / "server.pem")
        trust = {"NODE_EXTRA_CA_CERTS": known["PEM"], "REQUESTS_CA_BUNDLE": known["PEM"]}
        variables = {**known, **trust, "FOLDER": str(folder), "NODE_PATH": str(NODE_MODULES)}
        log = folder / "party.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        party = cls(process, known["BASE"], log)
        try:
            wait_for(lambda: party._is_up(int(known["PORT"])), "the relying party", party.text)
        except BaseException:
            party.stop()
            raise
        return party

    def _is_up(self, port: int) -> bool:
        assert self.process.poll() is None, self.text()
        return is_listening(port)

    def text(self) -> str:
        """What it has written."""
        return self.log.read_text("utf-8", "replace")

    def stop(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE)


def node(name: str, known: Mapping[str, str], folder: Path) -> Party:
    """A relying party on Node.js."""
    # Modules are looked up from the file's own folder, so the file is copied next to them.
    for source in PARTIES.glob("*.?js"):
        shutil.copy(source, folder)
    (folder / "node_modules").symlink_to(NODE_MODULES)
    return Party.start(["node", str(folder / name)], known, folder)


def wsgi(module: str, known: Mapping[str, str], folder: Path) -> Party:
    """A WSGI application, served by Twisted over TLS."""
    pem = known["PEM"].replace(":", "\\:")
    port = f"ssl:{known['PORT']}:interface=127.0.0.1:privateKey={pem}:certKey={pem}"
    known = {**known, "PYTHONPATH": os.pathsep.join((str(PARTIES), str(ROOT)))}
    words = [PYTHON, "-m", "twisted", "web", "--listen", port, "--wsgi", f"{module}.application"]
    return Party.start(words, known, folder)


def example(known: Mapping[str, str], folder: Path) -> Party:
    """`examples/log_in_with.py`, as its reader starts it."""
    words = [*TWISTD, "--pidfile=", "-ny", str(ROOT / "examples/log_in_with.py")]
    return Party.start(words, {**known, "SSL_CERT_FILE": known["PEM"]}, folder)


def apache(known: Mapping[str, str], folder: Path) -> Party:
    """Apache with mod_auth_openidc, in the foreground."""
    pages = folder / "pages"
    pages.mkdir()
    names = ("OIDC_CLAIM_sub", "OIDC_CLAIM_email", "OIDC_CLAIM_iss", "OIDC_access_token")
    page = "".join(f'{name}=<!--#echo encoding="none" var="{name}" -->\n' for name in names)
    (pages / "login.shtml").write_text(page)
    (pages / "bye.shtml").write_text("bye")
    # Apache's children run as a user who must reach the pages and the certificate.
    for path in (folder, *folder.parents):
        if path.owner() == "root" and path not in Path(tempfile.gettempdir()).parents:
            path.chmod(path.stat().st_mode | 0o011)
    # The key in the server's file is for the owner alone.
    trusted = folder / "trusted.pem"
    pem = Path(known["PEM"]).read_text("ascii")
    trusted.write_text(pem[pem.index("-----BEGIN CERTIFICATE") :])
    values = {
        **{name.lower(): value for name, value in known.items()},
        "folder": str(folder),
        "trusted": str(trusted),
        "modules": str(APACHE_MODULES),
        "user": pwd.getpwuid(os.getuid() or pwd.getpwnam("www-data").pw_uid).pw_name,
        "group": grp.getgrgid(os.getgid() or grp.getgrnam("www-data").gr_gid).gr_name,
    }
    configuration = folder / "apache.conf"
    configuration.write_text((PARTIES / "apache.conf").read_text("utf-8").format(**values))
    return Party.start(["apache2", "-f", str(configuration), "-DFOREGROUND"], known, folder)


@define
class Browser:
    """A browser that keeps cookies, follows redirects from site to site, and fills in forms."""

    pem: Path
    username: str
    password: str = field(repr=False)
    #: All ports of a host share its cookies, as in every browser.
    cookies: dict[str, str] = field(factory=dict)
    #: Where it is.
    address: str = ""
    #: The headings of the pages whose forms it has sent.
    seen: list[str] = field(factory=list)

    def ask(self, method: str, address: str, form: Mapping[str, str] | None = None) -> Answer:
        """Ask once, without following a redirect."""
        parts = urlsplit(address)
        assert parts.hostname == "localhost", address
        connection = http.client.HTTPSConnection(
            "localhost", parts.port, timeout=PATIENCE, context=trusting(self.pem)
        )
        headers = {"Accept": "text/html"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = None
        if form is not None:
            body, headers["Content-Type"] = urlencode(form), FORM
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request(method, path, body, headers)
        with connection.getresponse() as response:
            answer = Answer(response.status, response.headers, response.read().decode("utf-8"))
        connection.close()
        for cookie in answer.headers.get_all("set-cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        self.address = address
        return answer

    def get(self, address: str) -> Answer:
        """Open a page, and follow redirects."""
        return self._follow(self.ask("GET", address))

    def send(self, page: Answer, **fields: str) -> Answer:
        """Send the last form of a page, and follow redirects."""
        form = Form(page.text)
        target = urljoin(self.address, form.action)
        return self._follow(self.ask("POST", target, {**form.fields, **fields}))

    def _follow(self, answer: Answer) -> Answer:
        for _ in range(20):
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            answer = self.ask("GET", urljoin(self.address, answer.location))
        raise AssertionError(f"redirected without an end, last to {self.address}")

    def log_in(self, address: str) -> Answer:
        """Begin at a relying party, log in, accept, and return what is there in the end."""
        page = self.get(address)
        assert page.status == 200, (page.status, page.text)
        assert "username" in page.text
        page = self.send(page, username=self.username, password=self.password)
        assert page.status == 200, (page.status, self.address, page.text)
        return self.send(page, user_action="Accept")


def shown(answer: Answer) -> Any:
    """The object that a relying party shows."""
    assert answer.status == 200, (answer.status, answer.text)
    return answer.json


def what_is_missing() -> str:
    """Which of the programs that the relying parties need is not there, if any is."""
    for program in ("node", "apache2"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    for name in ("openid-client", "oauth4webapi", "express-openid-connect", "passport-openidconnect"):
        if not (NODE_MODULES / name).is_dir():
            return f"{name} is not in {NODE_MODULES}"
    if not (APACHE_MODULES / "mod_auth_openidc.so").is_file():
        return "mod_auth_openidc is not installed"
    modules = "import authlib.integrations.flask_client, mozilla_django_oidc"
    found = subprocess.run([PYTHON, "-c", modules], capture_output=True, text=True, check=False)
    return found.stderr.strip().rpartition("\n")[2]
