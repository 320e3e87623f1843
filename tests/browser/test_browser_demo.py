"""The demo as people see it: its pages, the example application, and both who can log in."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_kit import SCREENS, ExampleApplication, Person, chromium
from service_kit import DJOAUTH2, environment

ANNOUNCED = 7


@pytest.fixture
def demo(tmp_path: Path, prepared_once: object, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """A running demo, with the options of the test; what it has printed.

    :param prepared_once: skips or fails where there is no browser.
    """
    command = (*DJOAUTH2, "demo", "--port", "0", *getattr(request, "param", ()))
    variables = environment({"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"})
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        try:
            yield [process.stdout.readline() for _ in range(ANNOUNCED)]
        finally:
            process.terminate()


def test_the_demo_by_browser(demo: list[str], tmp_path: Path, looked_over: Path) -> None:
    """Every page is looked over; the application shows who is logged in, and keeps its session."""
    found = re.search(r"https://localhost:\d+", demo[0])
    assert found, demo
    name, password, admin_name, admin_password = (demo[at].split()[-1] for at in (1, 2, 4, 5))
    application = ExampleApplication(tmp_path)
    (certificate,) = tmp_path.glob("djoauth2-demo-*/server.pem")
    try:
        with chromium(application, certificate) as driver:
            person = Person(driver, SCREENS[0], looked_over)
            person.open(f"{found[0]}/")
            assert password in person.text
            person.press("Open the application")
            person.press(f"Log in with {found[0].removeprefix('https://')}")
            person.log_in(name, password)
            assert person.heading == "Let Holiday Prints use your account?"
            person.press("Accept")
            assert person.heading == "Hello, Alice"
            person.press("Refresh the tokens")
            assert "1 times" in person.text
            person.reload()
            assert person.heading == "Hello, Alice"
            person.press("Log out")
            person.press("About this demo")
            person.open(f"{found[0]}/oauth2/logout/")
            person.press("Log out")
            person.press("Log in again")
            person.log_in(admin_name, admin_password)
            person.open(f"{found[0]}/oauth2/admin/")
            assert person.heading == "Administration"
            person.leave()
    finally:
        application.stop()


@pytest.mark.parametrize("demo", [("--openid",)], indirect=True)
def test_the_demo_with_openid_by_browser(demo: list[str], tmp_path: Path, looked_over: Path) -> None:
    """The application shows the claims, and its logout ends the login at the server, too."""
    found = re.search(r"https://localhost:\d+", demo[0])
    assert found, demo
    name, password = (demo[at].split()[-1] for at in (1, 2))
    application = ExampleApplication(tmp_path)
    (certificate,) = tmp_path.glob("djoauth2-demo-*/server.pem")
    try:
        with chromium(application, certificate) as driver:
            person = Person(driver, SCREENS[0], looked_over)
            person.open(f"{found[0]}/app/")
            person.press(f"Log in with {found[0].removeprefix('https://')}")
            person.log_in(name, password)
            assert "log you in with your account here" in person.text
            person.press("Accept")
            assert person.heading == "Hello, Alice"
            assert "nonce" in person.text
            person.press("Refresh the tokens")
            assert "1 times" in person.text
            assert "nonce" not in person.text
            person.press("Log out")
            assert person.heading == "Your best photos, on paper, at your door"
            person.press(f"Log in with {found[0].removeprefix('https://')}")
            person.log_in(name, password)
            person.leave()
    finally:
        application.stop()
