"""What people do, done in a real browser with the keyboard alone, at both widths.

That each page fits and is accessible, that the console stays empty and that no other server is asked for
anything, is looked after by `browser_kit.Person` on every page.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from browser_kit import WALKED, ExampleApplication, Person, running
from selenium.webdriver.common.keys import Keys
from service_kit import REDIRECT_URI, Application, Prepared, Server

DOT = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)

pytestmark = pytest.mark.parametrize("screen", WALKED, ids=str)


@pytest.fixture(scope="module")
def server(prepared_once: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all walks."""
    with running(prepared_once.copy_to(tmp_path_factory.mktemp("walks"))) as server:
        yield server


@pytest.fixture
def application(application: ExampleApplication) -> Iterator[ExampleApplication]:
    """The application, which leaves nothing on that server."""
    yield application
    application.give_back()


def come_to_consent(person: Person, application: ExampleApplication) -> None:
    """Come from the application, and log in on the way."""
    prepared = application.server.prepared
    person.open(application.address)
    person.press("Log in")
    person.log_in(prepared.username, prepared.password)
    assert person.heading == "Let Tried use your account?"


def test_log_in_and_accept(person: Person, application: ExampleApplication):
    """UI-01, UI-18: a wrong password loses nothing, and the application gets what it asked for."""
    prepared = application.server.prepared
    person.open(application.address)
    person.press("Log in")
    assert person.heading == "Log in"
    assert person.focused == "Name"
    person.fill("Name", prepared.username)
    person.fill("Password", "a wrong one")
    person.send(status=403)
    assert "The name or the password is wrong." in person.text
    assert person.focused == "Password"

    person.fill("Password", prepared.password)
    person.press("Log in")
    assert person.heading == "Let Tried use your account?"
    assert "See who you are." in person.text
    assert "See your photos." in person.text
    assert "app.example" in person.text
    # The name of the account and "Use another account" are on one line.
    row = person.driver.find_element("css selector", "form .row")
    assert row.size["height"] == row.find_element("tag name", "button").size["height"]
    person.press("Accept")

    assert person.address.startswith(f"{REDIRECT_URI}?")
    assert '"username": "alice"' in person.text
    assert [set(answer) for answer in application.answers] == [{"code", "state", "iss"}]
    assert set(application.tokens[0]["scope"].split()) == {"user_info", "photos"}


def test_decline(person: Person, application: ExampleApplication):
    """The application learns that it is not wanted, and can ask again."""
    come_to_consent(person, application)
    person.reach("Accept")
    person.chord(Keys.SHIFT, Keys.TAB)
    assert person.focused == "Decline"
    person.send(Keys.SPACE)
    assert [answer["error"] for answer in application.answers] == ["access_denied"]
    assert application.tokens == []

    person.open(application.address)
    person.press("Log in")
    person.press("Accept", Keys.SPACE)
    assert len(application.tokens) == 1


@pytest.fixture
def own_server(prepared_once: Prepared, tmp_path: Path) -> Iterator[Server]:
    """A server whose users are changed."""
    with running(prepared_once.copy_to(tmp_path)) as server:
        yield server


def test_your_account(person: Person, own_server: Server):
    """The password is changed; a second factor is set up, asked for at the login, and removed."""
    prepared = own_server.prepared
    account = f"https://localhost:{own_server.port}/oauth2/account/"
    person.open(account)
    person.log_in(prepared.username, prepared.password)
    person.press("Your account")
    person.press("Change the password")
    person.fill("Password until now", prepared.password)
    person.fill("New password", "a longer password")
    person.fill("New password, again", "a longer password")
    person.press("Change the password")
    assert "Your password is changed." in person.text

    person.press("Set up a second factor")
    person.fill("Password", "a longer password")
    person.press("Continue")
    key = "".join(person.text.partition("Key:")[2].partition("Code")[0].split())
    person.fill("Code", "12345")
    person.press("Set up", status=403)
    person.fill("Code", pyotp.TOTP(key).now())
    person.press("Set up")
    assert person.heading == "Your recovery codes"
    code = re.findall(r"\w{4}-\w{4}-\w{4}", person.text)[0]
    person.press("I have kept them: go on")

    person.press("Log out")
    person.press("Log out")
    person.open(account)
    person.fill("Name", prepared.username)
    person.fill("Password", "a longer password")
    person.press("Log in")
    assert person.heading == "Second factor"
    person.fill("Code", code)
    person.press("Log in")
    person.press("Your account")
    person.press("Remove the second factor")
    person.fill("Password", "a longer password")
    person.press("Remove")
    assert "The second factor is removed." in person.text


def test_my_applications(person: Person, application: ExampleApplication, server: Server):
    """A granted application is listed, and can be removed at once."""
    come_to_consent(person, application)
    person.press("Accept")
    token = application.tokens[0]["access_token"]
    person.open(f"https://localhost:{server.port}/oauth2/login/")
    person.press("Your applications")
    assert person.heading == "Your applications"
    assert "Tried" in person.text
    person.reach("Remove … Tried")
    person.keys(Keys.ENTER)
    person.press("Remove Tried")
    assert "Tried" not in person.text
    assert "You have not allowed any application." in person.text
    with Application(server) as tried:
        assert tried.user_info(token).status == 401


def test_log_out(person: Person, application: ExampleApplication, server: Server):
    """UI-20: after a logout, the browser's Back button shows no page of the user."""
    come_to_consent(person, application)
    person.open(f"https://localhost:{server.port}/oauth2/account/")
    assert "alice" in person.text
    person.press("Log out")
    assert person.heading == "Log out"
    person.press("Log out")
    assert person.heading == "You are logged out"
    seen = []
    while person.heading != "Application":
        person.back()
        seen.append(person.heading)
        assert "alice" not in person.text
    # Where there was a page, one is asked to log in; the consent page is not among them.
    assert seen == ["Log out", "Log in", "Log in", "Log in", "Application"]


def test_pages_of_errors(person: Person, server: Server):
    """Pages for what cannot be answered are as good as any other."""
    root = f"https://localhost:{server.port}/oauth2"
    person.open(f"{root}/authorization/?client_id=nobody", status=400)
    assert person.heading == "This request cannot be answered"
    person.open(f"{root}/nothing", status=404)
    assert person.heading == "That did not work"


def test_the_first_page(person: Person, server: Server):
    """The root of the site leads to one's applications; for an address that is none there is a page."""
    person.open(f"https://localhost:{server.port}/")
    assert person.heading == "One account for your applications"
    person.press("Your applications")
    assert person.heading == "Log in"
    person.open(f"https://localhost:{server.port}/nothing", status=404)
    assert person.heading == "That did not work"


def test_the_look_of_an_operator(person: Person, application: ExampleApplication, prepared: Prepared):
    """A name, a logo, a colour and links by settings are as accessible as the pages without."""
    logo = prepared.folder / "logo.png"
    logo.write_bytes(DOT)
    look = {
        "DJOAUTH2_SITE_NAME": "Example Cloud",
        "DJOAUTH2_SITE_LOGO": str(logo),
        "DJOAUTH2_SITE_LOGO_DARK": str(logo),
        "DJOAUTH2_ACCENT_COLOR": "#7a1f5c",
        "DJOAUTH2_SUPPORT_URL": "https://cloud.example/help",
        "DJOAUTH2_RECOVERY_URL": "https://cloud.example/forgotten",
    }
    with running(prepared, variables=look) as branded:
        application.serve(branded)
        person.open(application.address)
        person.press("Log in")
        assert "Example Cloud" in person.text
        assert "to go on to Tried" in person.text
        assert person.run("return document.querySelector('.brand img').naturalWidth") == 1
        person.reach("Forgotten your password?")
        person.fill("Name", branded.prepared.username)
        person.fill("Password", branded.prepared.password)
        person.press("Log in")
        person.reach("Help")
        person.press("Decline")
        assert application.answers[-1]["error"] == "access_denied"
