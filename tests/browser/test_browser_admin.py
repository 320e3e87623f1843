"""The administration in a real browser, with the keyboard alone; each page is judged at every screen."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from browser_kit import WALKED, ExampleApplication, Person, Screen, running
from selenium.webdriver.common.keys import Keys
from service_kit import (
    DJOAUTH2,
    REDIRECT_URI,
    Answer,
    Application,
    Prepared,
    Server,
    basic,
    refresh_form,
    run,
)
from service_kit import Browser as Visitor

PASSWORD = "an administrator's password"

#: A picture of one dot.
DOT = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)

pytestmark = pytest.mark.parametrize("screen", WALKED, ids=str)


def command(folder: Path, *words: str, stdin: str = "") -> str:
    """Administer on the command line."""
    done = run(*DJOAUTH2, *words, folder=folder, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def add_carol(folder: Path) -> None:
    """Make the first administrator, as docs/administration.md says."""
    command(folder, "user", "add", "carol", "--password-stdin", "--admin", stdin=f"{PASSWORD}\n")


def cause_traffic(server: Server) -> None:
    """Do what the plots count: consent, refresh, be refused."""
    code = Visitor(server).log_in_as_user().code()
    with Application(server) as application:
        tokens = application.exchange(code).json
        tokens = application.refresh(tokens["refresh_token"]).json
        assert application.refresh("never issued").status == 400
        assert application.revoke(tokens["refresh_token"]).status == 200


@pytest.fixture(scope="module")
def server(prepared_once: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all walks, which has served some requests and written its statistics."""
    prepared = prepared_once.copy_to(tmp_path_factory.mktemp("admin"))
    add_carol(prepared.folder)
    with running(prepared, log="before") as before:
        cause_traffic(before)
        before.stop()
    with running(prepared) as server:
        yield server


def open_admin(person: Person, server: Server, page: str = "") -> None:
    """Come to the administration, by the login."""
    person.open(f"https://localhost:{server.port}/oauth2/admin/{page}")
    person.log_in("carol", PASSWORD)


def shown_credentials(person: Person) -> tuple[str, str]:
    """The id and the secret that the page shows."""
    found = (
        f"return document.getElementById('{name}').innerText" for name in ("client_id", "client_secret")
    )
    client_id, secret = map(person.run, found)
    return client_id, secret


def with_credentials(server: Server, client_id: str, secret: str) -> Server:
    """The same server, for another client."""
    return attrs.evolve(
        server, prepared=attrs.evolve(server.prepared, client_id=client_id, client_secret=secret)
    )


def let_in(person: Person, application: ExampleApplication) -> dict[str, str]:
    """Consent to the application, which gets tokens."""
    person.open(application.authorization_address())
    person.press("Accept")
    assert "The API says:" in person.text
    return application.tokens[-1]


def refresh(server: Server, token: str, client_id: str, secret: str) -> Answer:
    """Use a refresh token with these credentials."""
    with Application(server) as application:
        return application.token(refresh_form(token), {"Authorization": basic(client_id, secret)})


def is_good(server: Server, token: str) -> bool:
    """Whether the API takes an access token."""
    with Application(server) as application:
        return application.user_info(token).status == 200


def is_image_shown(person: Person) -> bool:
    """Whether the page has one, and it has been loaded."""
    return person.run("return [...document.images].some(image => image.naturalWidth === 1)")


def values(person: Person, label: str) -> str:
    """What a field has in it."""
    person.reach(label, "input, textarea")
    return person.run("return document.activeElement.value")


def rows(person: Person) -> list[str]:
    """What the page's table says, by rows."""
    said: list[str] = person.run(
        "return [...document.querySelectorAll('tbody tr')].map(row => row.innerText)"
    )
    return said


class TestClients:
    """What can be done with a client."""

    @pytest.fixture(autouse=True)
    def _administrator(self, person: Person, server: Server) -> None:
        open_admin(person, server)

    def add(self, person: Person, server: Server, screen: Screen, name: str) -> tuple[str, Server]:
        """Add a client; its name, and the server for it."""
        name = f"{name} {screen.width}"
        person.press("Clients")
        person.press("Add a client")
        person.fill("Name", name)
        person.fill("Redirect URIs", REDIRECT_URI)
        person.press("Add")
        return name, with_credentials(server, *shown_credentials(person))

    def choose_scopes(self, person: Person, *scopes: str) -> None:
        """Let the client ask only for these scopes, by their words and names."""
        person.reach("It may ask for every scope, also for those that are added later", "input")
        person.keys(Keys.DOWN)
        assert person.focused == "It may ask only for these:"
        for scope in scopes:
            person.tick(scope)

    def test_add(self, person: Person, server: Server, screen: Screen):
        """The secret is shown once; what is refused is not lost."""
        person.press("Clients")
        person.press("Add a client")
        person.fill("Name", f"Added {screen.width}")
        person.fill("Description", "Prints your photos.\nSends them to you.")
        person.fill("Redirect URIs", "http://app.example/cb")
        self.choose_scopes(person)
        person.press("Add", status=400)
        assert "2 fields must be corrected" in person.text
        person.reach("A redirect URI must be https.")
        person.keys(Keys.ENTER)
        assert person.address.endswith("#redirect_uris")
        assert person.run("return document.getElementById('redirect_uris').ariaInvalid") == "true"
        assert values(person, "Name") == f"Added {screen.width}"
        assert values(person, "Description") == "Prints your photos.\nSends them to you."
        person.fill("Redirect URIs", f"{REDIRECT_URI}\n{REDIRECT_URI}/other")
        person.tick("See who you are. user_info")
        person.press("Add")
        assert person.heading == "The client\u2019s secret"
        client_id, secret = shown_credentials(person)
        with Application(server) as application:
            header = {"Authorization": basic(client_id, secret)}
            assert application.token(refresh_form("none"), header).json["error"] == "invalid_grant"

        person.driver.find_element("id", "client_secret").click()
        assert person.run("return getSelection().toString().trim()") == secret

        person.reload()
        assert person.heading == f"Added {screen.width}"
        assert person.run("return document.getElementById('scope-2').checked")
        assert secret not in person.driver.page_source
        person.press("Clients")
        person.press(f"Added {screen.width}")
        assert client_id in person.text
        assert secret not in person.driver.page_source
        assert values(person, "Redirect URIs") == f"{REDIRECT_URI}\n{REDIRECT_URI}/other"

    def test_edit(self, person: Person, server: Server, application: ExampleApplication, screen: Screen):
        """Its words and picture are shown to those who are asked; it gets what it may have alone."""
        name, as_client = self.add(person, server, screen, "Edited")
        application.serve(as_client)
        person.press("Go on to the client")
        person.fill("Name", f"{name} anew")
        person.fill("Description", "Described anew.")
        self.choose_scopes(person, "See who you are. user_info")
        person.press("Save")
        person.press("Picture")
        picture = server.prepared.folder / "picture.png"
        picture.write_bytes(DOT)
        person.choose_file("A new picture", picture)
        person.press("Save")
        assert person.heading == f"{name} anew"
        assert is_image_shown(person)

        person.open(application.authorization_address())
        assert application.answers[-1]["error"] == "invalid_scope"
        person.open(self.address(as_client))
        assert "Authorization: a scope is unknown or not allowed" in person.text
        person.tick("See your photos. photos")
        person.press("Save")
        person.open(application.authorization_address())
        assert person.heading == f"Let {name} anew use your account?"
        assert "Described anew." in person.text
        assert is_image_shown(person)
        person.press("Accept")
        assert set(application.tokens[-1]["scope"].split()) == {"user_info", "photos"}

        person.open(self.address(as_client))
        person.press("Picture")
        assert is_image_shown(person)
        person.tick("Delete the picture")
        person.press("Save")
        assert not is_image_shown(person)

    def address(self, as_client: Server) -> str:
        """Where a client's page is."""
        query = f"?id={as_client.prepared.client_id}"
        return f"https://localhost:{as_client.port}/oauth2/admin/client/{query}"

    def test_resource_server(self, person: Person, server: Server, screen: Screen):
        """It needs no redirect URI, and may introspect what others were given."""
        name, as_client = self.add(person, server, screen, "Resource server")
        prepared = as_client.prepared
        token = refreshable(server)["access_token"]

        def introspected() -> Answer:
            return Visitor(server).post(
                "/oauth2/introspect/",
                {
                    "token": token,
                    "client_id": prepared.client_id,
                    "client_secret": prepared.client_secret,
                },
            )

        assert introspected().json == {"active": False}
        person.press("Go on to the client")
        person.reach("Redirect URIs")
        person.chord(Keys.CONTROL, "a")
        person.keys(Keys.DELETE)
        person.tick("It is a resource server, which may introspect any token")
        person.press("Save")
        assert introspected().json["active"] is True
        person.press("Clients")
        [row] = [row for row in rows(person) if name in row]
        assert "Resource server" in row

    def test_rotate(
        self, person: Person, server: Server, application: ExampleApplication, screen: Screen
    ):
        """Both secrets are good for as long as was chosen; at once ends the old one."""
        _, as_client = self.add(person, server, screen, "Rotated")
        prepared = as_client.prepared
        client_id, first = prepared.client_id, prepared.client_secret
        application.serve(as_client)
        token = let_in(person, application)["refresh_token"]

        person.open(self.address(as_client))
        person.press("New secret")
        person.reach("The current secret ends")
        person.keys(Keys.DOWN)
        person.press("Make a new secret")
        assert "The old secret is valid until" in person.text
        same, second = shown_credentials(person)
        assert (same, second != first) == (client_id, True)
        for secret in (first, second):
            answer = refresh(server, token, client_id, secret)
            assert answer.status == 200, answer.text
            token = answer.json["refresh_token"]

        person.press("Go on to the client")
        assert "It has two secrets" in person.text
        person.press("New secret")
        person.press("Make a new secret")
        _, third = shown_credentials(person)
        for secret in (first, second):
            assert refresh(server, token, client_id, secret).json["error"] == "invalid_client"
        assert refresh(server, token, client_id, third).status == 200

    def test_disable_and_delete(
        self, person: Person, server: Server, application: ExampleApplication, screen: Screen
    ):
        """Both end what was issued; the one can be taken back, the other says what goes with it."""
        name, as_client = self.add(person, server, screen, "Deleted")
        application.serve(as_client)
        first = let_in(person, application)["access_token"]
        assert is_good(server, first)
        person.open(self.address(as_client))
        person.tick("It is disabled, which ends its codes and tokens")
        person.press("Save")
        assert not is_good(server, first)
        person.open(application.authorization_address(), status=400)

        person.open(self.address(as_client))
        person.tick("It is disabled, which ends its codes and tokens")
        person.press("Save")
        second = let_in(person, application)["access_token"]
        person.open(self.address(as_client))
        person.press("Delete")
        assert person.heading == "Delete this client?"
        assert "1 grant ends at once, with its code and tokens." in person.text
        assert is_good(server, second)
        person.press("Delete")
        assert person.heading == "Clients"
        assert name not in person.text
        assert not is_good(server, second)
        person.open(self.address(as_client), status=404)


def refreshable(server: Server, username: str = "alice", password: str = "") -> dict[str, str]:
    """Tokens of the client that was there from the beginning."""
    visitor = Visitor(server)
    assert visitor.log_in(username, password or server.prepared.password).status == 303
    code = visitor.code()
    with Application(server) as application:
        tokens: dict[str, str] = application.exchange(code).json
    return tokens


def test_scopes(person: Person, server: Server, screen: Screen):
    """They are added, reworded and deleted, with the grants that have them."""
    name = f"albums-{screen.width}"
    open_admin(person, server, "scopes/")
    person.press("Add a scope")
    person.fill("Name", name)
    person.fill("Description", "See your albums.")
    person.press("Add")
    assert person.heading == "Scopes"
    assert "See your albums." in person.text
    person.press("Add a scope")
    person.fill("Name", name)
    person.press("Add", status=409)
    person.press("Scopes")
    person.press(name)
    person.fill("Description", "See your albums and their names.")
    person.press("Save")
    assert "See your albums and their names." in person.text

    visitor = Visitor(server).log_in_as_user()
    assert "See your albums and their names." in visitor.get(visitor.address("s", scope=name)).text
    with Application(server) as application:
        token = application.exchange(visitor.code(scope=f"user_info {name}")).json["access_token"]
    assert is_good(server, token)
    person.press(name)
    person.press("Delete")
    assert person.heading == "Delete this scope?"
    assert "1 grant ends at once" in person.text
    person.press("Delete")
    assert name not in person.text
    assert not is_good(server, token)


def test_users(person: Person, server: Server, screen: Screen):
    """They are added, changed, locked out and deleted."""
    name = f"dora-{screen.width}"
    open_admin(person, server, "users/")
    person.press("Add a user")
    person.fill("User name", name)
    person.fill("Password", "the first")
    person.fill("First name", "Dora")
    person.fill("Email", "dora@example.com")
    person.press("Add")
    assert person.heading == name
    token = refreshable(server, name, "the first")["access_token"]
    person.fill("Last name", "Mustermann")
    person.tick("May administer")
    person.press("Save")
    person.press("Users")
    assert "Dora Mustermann" in person.text
    assert person.text.count("Administrator") == 3, "the visitor's line, carol and she"
    assert Visitor(server).log_in(name, "the first").status == 303

    person.press(name)
    person.press("New password")
    person.fill("Password", "the second")
    person.press("Save")
    assert Visitor(server).log_in(name, "the first").status == 403
    assert Visitor(server).log_in(name, "the second").status == 303

    assert is_good(server, token)
    person.tick("Disabled, which ends logins, codes and tokens")
    person.press("Save")
    assert not is_good(server, token)
    assert Visitor(server).log_in(name, "the second").status == 403
    person.press("Users")
    assert "Disabled" in person.text
    person.press(name)
    person.press("Delete")
    assert person.heading == "Delete this user?"
    person.press("Delete")
    assert name not in person.text


def test_the_last_administrator(person: Person, server: Server):
    """The last administrator can neither be disabled nor deleted, and the page says why."""
    refused = "This is the last administrator: make another one first."
    open_admin(person, server, "user/?id=carol")
    person.tick("May administer")
    person.press("Save", status=409)
    assert refused in person.text
    person.press("Delete")
    person.press("Delete", status=409)
    assert refused in person.text
    person.press("Leave it as it is")
    assert person.run("return document.getElementById('admin').checked")


def test_grants(person: Person, server: Server, screen: Screen):
    """They are found by user and by client, and ended one by one or all together."""
    added = command(
        server.prepared.folder, "client", "add", "--name", f"Found {screen.width}", "--redirect-uri",
        REDIRECT_URI, "--json",
    )  # fmt: skip
    found = json.loads(added)
    other = with_credentials(server, found["client_id"], found["client_secret"])
    erin = f"erin-{screen.width}"
    command(server.prepared.folder, "user", "add", erin, "--password-stdin", stdin=f"{PASSWORD}\n")
    given = refreshable(other), refreshable(other, erin, PASSWORD), refreshable(server, erin, PASSWORD)
    tokens = [each["access_token"] for each in given]

    open_admin(person, server, "grants/")
    person.fill("Client ID", found["client_id"])
    person.press("Search")
    assert "2 grants" in person.text
    assert "Revoke all 2 grants" in person.text
    person.press(f"Revoke what alice allowed Found {screen.width}")
    assert [is_good(server, token) for token in tokens] == [False, True, True]
    assert "1 grant" in person.text

    person.press("Grants")
    person.fill("User name", erin)
    person.press("Search")
    assert "2 grants" in person.text
    person.press("Revoke all 2 grants")
    assert "0 grants" in person.text
    assert [is_good(server, token) for token in tokens] == [False] * 3


def test_overview(person: Person, server: Server, screen: Screen):
    """How much there is, and what has happened: as bars that can be seen, and as numbers."""
    open_admin(person, server)
    assert person.heading == "Administration"
    shown = person.run(_PLOTS)
    assert len(shown) == 4
    for words, width, height, drawn in shown:
        assert width > 220
        assert height > 80
        assert drawn > 10, f"nothing is drawn of {words!r}"
    assert re.match(r"Clients allowed: [1-9]\d*\. Refreshes: [1-9]", shown[0][0])
    assert re.match(r"Refusals: [1-9]", shown[1][0])
    tops = person.run(
        "return [...document.querySelectorAll('.plot')].map(p => p.getBoundingClientRect().top)"
    )
    if screen.width > 1000:
        assert tops[0] == tops[1], "the two plots of a period stand side by side"
    assert "Token: the code or refresh token is not valid" in person.text
    person.reach("The same in numbers")
    person.keys(Keys.ENTER)
    person.look_over()
    assert (
        person.run("return document.querySelector('details table').getBoundingClientRect().height") > 500
    )


_TOPS = "return [...document.querySelectorAll('.plot')].map(plot => plot.getBoundingClientRect().top)"

#: What each plot says and how large it is, and how far its highest bar rises.
_PLOTS = """
    return [...document.querySelectorAll('svg.plot')].map(plot => {
        const box = plot.getBoundingClientRect();
        const heights = [...plot.querySelectorAll('g path')].map(bars => bars.getBBox().height);
        const words = plot.querySelector('desc').textContent.trim();
        return [words, box.width, box.height, Math.max(...heights)];
    });
"""


def test_audit_trail(person: Person, server: Server, screen: Screen):
    """The page lists what was done, who did it and from where."""
    name = f"told-{screen.width}"
    open_admin(person, server, "scopes/add/")
    person.fill("Name", name)
    person.fill("Description", "Noted.")
    person.press("Add")
    person.press(name)
    person.press("Delete")
    person.press("Delete")
    person.press("Audit trail")
    last, first = rows(person)[:2]
    assert ["Scope deleted" in last, "Scope added" in first] == [True, True]
    for row in (last, first):
        assert all(word in row for word in ("carol", "127.0.0.1", name))
    assert "Noted." in first
    person.fill("Who", "CAROL")
    person.reach("What")
    person.keys("S")
    person.press("Search")
    assert "what=scope" in person.address
    assert all("carol" in row and "Scope" in row for row in rows(person))
    person.fill("Who", "nobody")
    person.press("Search")
    assert "Nothing was found." in person.text
    person.open(f"https://localhost:{server.port}/oauth2/admin/audit/?what=user")
    [row] = [
        row for row in rows(person) if "User added" in row and "Command line" in row and "carol" in row
    ]
    assert "127.0.0.1" not in row


#: The left and the right edge of each cell in a list that can be seen.
_EDGES = """
    return [...document.querySelectorAll('.list tbody tr > *')].map(cell => cell.getBoundingClientRect())
        .filter(box => box.width).map(box => [box.left, box.right]);
"""


def test_nothing_lies_off_screen(person: Person, server: Server, screen: Screen):
    """Each cell of a list is within the width of the screen, and of its card."""
    open_admin(person, server)
    for page in ("Clients", "Scopes", "Users", "Grants", "Audit trail"):
        person.press(page)
        edges = person.run(_EDGES)
        assert edges
        assert all(left >= 0 and right <= screen.width for left, right in edges), page


@pytest.fixture
def empty(prepared_once: Prepared, tmp_path: Path) -> Prepared:
    """A folder with a certificate and an administrator, and nothing else."""
    shutil.copy(prepared_once.certificate, tmp_path)
    add_carol(tmp_path)
    return Prepared(tmp_path, "", "", "alice", "correct horse battery staple")


def test_quickstart(person: Person, application_once: ExampleApplication, empty: Prepared):
    """The README's, with nothing but the first administrator made on the command line."""
    with running(empty) as server:
        open_admin(person, server)
        for name, description in {"user_info": "See your name.", "photos": "See your photos."}.items():
            person.press("Scopes")
            person.press("Add a scope")
            person.fill("Name", name)
            person.fill("Description", description)
            person.press("Add")
        person.press("Users")
        person.press("Add a user")
        person.fill("User name", empty.username)
        person.fill("Password", empty.password)
        person.fill("Email", "alice@example.com")
        person.press("Add")
        person.press("Clients")
        person.press("Add a client")
        person.fill("Name", "My application")
        person.fill("Redirect URIs", REDIRECT_URI)
        person.press("Add")
        application_once.serve(with_credentials(server, *shown_credentials(person)))
        person.press("Log out")
        person.press("Log out")

        person.open(application_once.address)
        person.press("Log in")
        person.log_in(empty.username, empty.password)
        assert person.heading == "Let My application use your account?"
        person.press("Accept")
        assert person.address.startswith(f"{REDIRECT_URI}?")
        assert '"username": "alice"' in person.text
        assert len(application_once.tokens) == 1
