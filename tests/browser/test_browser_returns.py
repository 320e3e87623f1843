"""How a browser returns to the application: wherever that sends it on to, and also after two presses."""

from __future__ import annotations

import pytest
from browser_kit import ExampleApplication, Person, running
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from service_kit import DJOAUTH2, REDIRECT_URI, Prepared, Server, run, wait_for

#: Where an application sends the browser on to from its callback: another host of its own, a page on the
#: user's machine (RFC 8252, section 7.3), and an installed program (RFC 8252, section 7.1).
PLACES = ["another host", "the user's machine", "a program"]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, application: ExampleApplication) -> str:
    """The address that the callback redirects to."""
    return {
        "another host": f"{application.other_address}/",
        "the user's machine": application.loopback_address,
        "a program": "myapp://done",
    }[request.param]


def come_to_consent(person: Person, application: ExampleApplication) -> None:
    """Come from the application, and log in on the way where that is needed."""
    person.open(application.address)
    person.press("Log in")
    if person.heading == "Log in":
        prepared = application.server.prepared
        person.log_in(prepared.username, prepared.password)
    assert person.heading == "Let Tried use your account?"


def assert_sent_on(person: Person, application: ExampleApplication, visits: int = 1) -> None:
    """The browser is where the callback has sent it, or it was let go to a program.

    :param visits: how often the browser has been at the callback.
    """
    place = application.moves_to
    wait_for(lambda: len(application.answers) == visits, "the callback", lambda: person.text)
    if place.startswith(("https:", "http:")):
        wait_for(lambda: person.address == place, place, lambda: person.address)
        assert person.heading == "Application"
    else:
        # No program is installed for it, so the page stays. What the policy stops is in the console.
        wait_for(lambda: person.run("return document.readyState") == "complete", "the page")
        stopped = [line for line in person.console() if "Content Security Policy" in line]
        assert stopped == []


def press(person: Person, name: str, *keys: str) -> None:
    """Press keys on a button, and do not wait for another page: there may be none."""
    person.reach(name)
    person.keys(*(keys or (Keys.ENTER,)))


@pytest.mark.parametrize("answer", ["Accept", "Decline"])
def test_the_browser_goes_wherever_the_application_sends_it(
    person: Person, application: ExampleApplication, place: str, answer: str
):
    """UI-18: Chromium checks the policy of the page with the form at every redirect that follows."""
    application.moves_to = place
    come_to_consent(person, application)
    press(person, answer)
    assert_sent_on(person, application)
    assert ["code" in each for each in application.answers] == [answer == "Accept"]


def test_the_browser_goes_on_from_the_login_where_consent_is_remembered(
    person: Person, application: ExampleApplication, prepared: Prepared, server: Server, place: str
):
    """UI-18: then the redirects begin at the form of the login page."""
    server.stop()
    with running(prepared, variables={"DJOAUTH2_REMEMBER_CONSENT": "true"}, log="again") as forgiving:
        application.serve(forgiving)
        come_to_consent(person, application)
        person.press("Accept")
        person.open(f"https://localhost:{forgiving.port}/oauth2/logout/")
        person.press("Log out")
        application.moves_to = place
        person.open(application.address)
        person.press("Log in")
        person.fill("Name", prepared.username)
        person.fill("Password", prepared.password)
        press(person, "Log in")
        assert_sent_on(person, application, visits=2)
        assert ["code" in each for each in application.answers] == [True, True]


def test_the_browser_takes_an_error_from_the_login_to_the_application(
    person: Person, application: ExampleApplication, prepared: Prepared, place: str
):
    """UI-18: the scope was deleted while the login page was open. No consent page comes between."""
    application.moves_to = place
    person.open(application.address)
    person.press("Log in")
    person.fill("Name", prepared.username)
    person.fill("Password", prepared.password)
    deleted = run(*DJOAUTH2, "scope", "delete", "user_info", "--yes", folder=prepared.folder)
    assert deleted.returncode == 0, deleted.stderr
    press(person, "Log in")
    assert_sent_on(person, application)
    assert [each.get("error") for each in application.answers] == ["invalid_scope"]


def test_accept_pressed_twice_while_the_application_is_slow(
    person: Person, application: ExampleApplication
):
    """UI-07: the browser follows the second answer, whose code works."""
    application.is_slow = True
    come_to_consent(person, application)
    person.reach("Accept")
    twice = ActionChains(person.driver).send_keys(Keys.ENTER).pause(0.5).send_keys(Keys.ENTER)
    twice.perform()
    wait_for(lambda: person.address.startswith(f"{REDIRECT_URI}?"), "the callback")
    assert '"username": "alice"' in person.text
    first, second = application.answers
    assert first["code"] != second["code"]
    assert len(application.tokens) == 1


@pytest.mark.parametrize("answer", ["Accept", "Decline"])
def test_back_and_the_same_again(person: Person, application: ExampleApplication, answer: str):
    """UI-07: each time the browser reaches the application, which exchanges the first code."""
    come_to_consent(person, application)
    for number in (1, 2):
        person.press(answer)
        assert person.address.startswith(f"{REDIRECT_URI}?")
        assert len(application.answers) == number
        person.back()
    assert len(application.tokens) == (1 if answer == "Accept" else 0)
    errors = [each.get("error") for each in application.answers]
    assert errors == [None if answer == "Accept" else "access_denied", "access_denied"]


def test_the_same_form_after_a_program_was_opened(person: Person, application: ExampleApplication):
    """UI-07: the page stays. By then the code was exchanged, and the application is told."""
    application.moves_to = "myapp://done"
    come_to_consent(person, application)
    press(person, "Accept")
    assert_sent_on(person, application)
    press(person, "Accept")
    assert_sent_on(person, application, visits=2)
    assert [answer.get("error") for answer in application.answers] == [None, "access_denied"]
    assert len(application.tokens) == 1
