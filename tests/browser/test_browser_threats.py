"""What only a real browser can tell: what it keeps, frames, runs and takes back after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
import sqlalchemy as sa
from browser_kit import WALKED, ExampleApplication, Person, running
from service_kit import Browser as Visitor
from service_kit import Prepared, Server
from waiting import wait_for

from djoauth2_twisted.stores.sql import schema

#: Whatever of it came to life would rename the page, ask for an address or turn the words around.
HOSTILE = (
    "\"'><img src=/hit onerror=document.title=1><script>document.title=2</script>"
    "<style>@import '/hit'</style></main>{{7*7}}&lt;\u202egnol"
)


#: As a person's name, of which all characters must be printable.
NAME = "".join(character for character in HOSTILE if character.isprintable())


def words_in(person: Person) -> int:
    """How often one or the other stands on the page."""
    return person.text.replace(HOSTILE, NAME).count(NAME)


def come_to_consent(person: Person, application: ExampleApplication) -> None:
    """Log in on the way."""
    prepared = application.server.prepared
    person.open(application.authorization_address())
    person.log_in(prepared.username, prepared.password)


def started_again(server: Server) -> AbstractContextManager[Server]:
    """Another server at the port of one that is ended."""
    server.stop()
    return running(server.prepared, ports=(f"ssl:{server.port}:interface=127.0.0.1",), log="again")


def test_cookie_is_for_this_host_by_tls_and_not_for_scripts(
    person: Person, application: ExampleApplication, server: Server
):
    """UI-14, UI-15: for this host, by TLS, for no script; another after each login and logout."""

    def cookie() -> dict[str, object]:
        assert person.run("return document.cookie") == ""
        found = person.driver.execute_cdp_cmd("Network.getCookies", {})["cookies"]
        # The other one shows that its user has logged in with this browser before.
        names = {"__Host-djoauth2", "__Host-djoauth2-device"}
        assert all(each["name"] in names and each["httpOnly"] and each["secure"] for each in found)
        [login] = [each for each in found if each["name"] == "__Host-djoauth2"]
        return login

    person.open(f"https://localhost:{server.port}/oauth2/login/")
    strangers = cookie()
    for name, expected in {
        "name": "__Host-djoauth2",
        "path": "/",
        "secure": True,
        "httpOnly": True,
        "sameSite": "Lax",
        "session": True,
        "domain": "localhost",  # one for subdomains, too, would begin with a dot
    }.items():
        assert strangers.get(name) == expected, name
    come_to_consent(person, application)
    alices = cookie()
    person.open(f"https://localhost:{server.port}/oauth2/logout/")
    person.press("Log out")
    assert len({str(each["value"]) for each in (strangers, alices, cookie())}) == 3


def test_frames(person: Person, application: ExampleApplication, server: Server):
    """UI-17: in a frame, where clicks could be stolen, the consent page stays blank."""
    come_to_consent(person, application)

    def consents() -> int:
        return server.text().count("GET /oauth2/authorization/ 200")

    # The access log is written a moment later.
    wait_for(lambda: consents() == 1, "the line of the first page", server.text)
    # With a page of our own host around it the browser sends the cookie: the consent page is framed.
    person.driver.get(f"https://localhost:{application.port}/frames")
    texts = []
    for frame in range(2):
        person.driver.switch_to.frame(frame)
        texts.append(person.text)
        person.driver.switch_to.default_content()
    wait_for(lambda: consents() == 2, "the line of the framed page", server.text)
    assert "Tried" not in texts[0]
    assert "This page may be framed." in texts[1]
    [complaint] = person.console()
    assert "frame-ancestors 'none'" in complaint


class TestHostileWords:
    """UI-19: words of others that are stored stay words, on every page that shows them."""

    @pytest.fixture
    def prepared(self, prepared: Prepared) -> Prepared:
        """What no registration would take, kept before the server starts."""
        engine = sa.create_engine(f"sqlite:///{prepared.database}", poolclass=sa.pool.NullPool)
        image_url = f"{ExampleApplication.address}/image.png"
        with engine.begin() as connection:
            words = {"name": HOSTILE, "description": HOSTILE, "image_url": image_url}
            connection.execute(sa.update(schema.client).values(words))
            connection.execute(sa.update(schema.scope).values(description=HOSTILE))
        return prepared

    @pytest.fixture
    def server(self, prepared: Prepared) -> Iterator[Server]:
        """A server that knows someone of a hostile name."""
        (prepared.folder / "passwords").write_text(f"{NAME}:{prepared.password}\n", "utf-8")
        with running(prepared, "--auth", "file:passwords") as server:
            yield server

    @pytest.mark.parametrize("screen", WALKED, ids=str)
    def test_hostile_texts_have_no_effect(
        self, person: Person, application: ExampleApplication, server: Server
    ):
        """UI-21, too: no page tells the application of itself, or asks for anything of others."""
        person.open(application.address)
        person.press("Log in")
        person.log_in(NAME, server.prepared.password)
        assert HOSTILE in person.heading
        assert words_in(person) == 6
        self.check_inert(person)
        person.press("Accept")
        assert '"username"' in person.text
        for page, count in {"account": 4, "login": 1, "logout": 1}.items():
            person.open(f"https://localhost:{server.port}/oauth2/{page}/")
            assert words_in(person) == count
            self.check_inert(person)
        pages = [asked for asked in application.asked if asked[0] != "/favicon.ico"]
        assert pages == [("/", None), ("/cb", None)]

    def check_inert(self, person: Person) -> None:
        """Nothing of it has become an element, and what follows it stands where it would."""
        assert person.driver.title in (
            "Let an application use your account?",
            "Your applications",
            "You are logged in",
            "Log out",
            "You are logged out",
        )
        assert (
            person.run("return document.querySelectorAll('main img, main script, main style').length")
            == 0
        )
        assert not any(address.endswith("/hit") for address in person.requests())
        assert person.driver.execute_script(_TURNED_AROUND, HOSTILE) == []


#: What follows a hostile text in its block and stands on its last line, but not to the right of it.
_TURNED_AROUND = """
    const [hostile] = arguments, turned = [];
    const rects = (node, start, end) => {
        const range = document.createRange();
        range.setStart(node, start);
        range.setEnd(node, end);
        return [...range.getClientRects()];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const nodes = [];
    while (walker.nextNode()) nodes.push(walker.currentNode);
    nodes.forEach((node, number) => {
        const end = node.data.indexOf(hostile) + hostile.length;
        if (end < hostile.length) return;
        const [next, start] = node.data.length > end ? [node, end] : [nodes[number + 1], 0];
        if (!next || !next.data.trim()) return;
        const bottom = Math.max(...rects(node, 0, end).map(rect => rect.bottom));
        const last = rects(node, 0, end).filter(rect => rect.bottom > bottom - 1);
        const [first] = rects(next, start, next.data.length);
        const right = Math.max(...last.map(rect => rect.right));
        if (first.top < bottom - 1 && first.left < right - 1) turned.push(next.data.slice(start));
    });
    return turned;
"""


def test_restart_before_accept(person: Person, application: ExampleApplication, server: Server):
    """UI-25: the consent page is as good as before."""
    come_to_consent(person, application)
    with started_again(server):
        person.press("Accept")
        assert len(application.tokens) == 1


def test_restart_before_log_in(person: Person, application: ExampleApplication, server: Server):
    """UI-25: so is the login page, which leads to what was asked for."""
    person.open(application.authorization_address())
    person.fill("Name", "alice")
    person.fill("Password", server.prepared.password)
    with started_again(server):
        person.press("Log in")
        assert person.heading == "Let Tried use your account?"
        person.press("Accept")
        assert len(application.tokens) == 1


def test_too_many_attempts(
    person: Person, application: ExampleApplication, prepared: Prepared, server: Server
):
    """UI-24: the page asks to wait, and keeps what was asked for."""
    server.stop()
    # One attempt is forgotten after a minute, so that a slow machine finds it there still.
    with running(prepared, variables={"DJOAUTH2_MAX_WRONG_PASSWORDS": "1"}, log="strict") as strict:
        application.serve(strict)
        assert Visitor(strict).log_in("alice", "a wrong one").status == 403
        person.open(application.authorization_address())
        person.fill("Name", "alice")
        person.fill("Password", "a wrong one")
        person.send(status=429)
        assert "There were too many attempts." in person.text
        assert person.run("return document.querySelector('[name=next]').value").startswith(
            "/oauth2/auth"
        )
