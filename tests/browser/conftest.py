"""A browser for all tests; for each a server of its own, and a person at a screen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

pytest.register_assert_rewrite("browser_kit")

from browser_kit import (  # noqa: E402
    SCREENS,
    ExampleApplication,
    Person,
    Screen,
    chromium,
    running,
    what_is_missing,
)
from service_kit import Prepared, Server, prepare  # noqa: E402


@pytest.fixture(scope="session")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A certificate and a database that all tests begin with copies of."""
    if missing := what_is_missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def application_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleApplication]:
    application = ExampleApplication(tmp_path_factory.mktemp("application"))
    yield application
    application.stop()


@pytest.fixture(scope="module")
def browser(prepared_once: Prepared, application_once: ExampleApplication) -> Iterator[Chrome]:
    """The browser, which is gone before the tests of other folders begin."""
    with chromium(application_once, prepared_once.certificate) as driver:
        yield driver


@pytest.fixture
def prepared(prepared_once: Prepared, tmp_path: Path) -> Prepared:
    """The test's own folder with a certificate and a database."""
    return prepared_once.copy_to(tmp_path)


@pytest.fixture
def server(prepared: Prepared) -> Iterator[Server]:
    """The test's own server."""
    with running(prepared) as server:
        yield server


@pytest.fixture
def application(application_once: ExampleApplication, server: Server) -> ExampleApplication:
    """The application, which knows the test's server and nothing of other tests."""
    application_once.serve(server)
    return application_once


@pytest.fixture
def screen() -> Screen:
    """One of the screens, where a test does not ask for all."""
    return SCREENS[0]


@pytest.fixture(scope="session")
def looked_over(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that the processes of a run share."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent
    folder /= "looked-over"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def person(browser: Chrome, screen: Screen, looked_over: Path) -> Iterator[Person]:
    """A person at a screen, with an empty browser."""
    person = Person(browser, screen, looked_over)
    yield person
    person.leave()
