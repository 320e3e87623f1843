"""A server, a client and two people for each test, and one more oracle: what the logs must not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from zope.interface import implementer

pytest.register_assert_rewrite("web_driver")

from web_driver import App, Browser, System, can_wait  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of this folder `wait`."""
    folder = Path(__file__).parent
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == folder:
            item.obj = can_wait(item.obj)


@implementer(ILogObserver)
class Log:
    """Everything that is logged during a test, as text."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: dict[str, Any]) -> None:
        values = [f"{name}={value!r}" for name, value in event.items() if not name.startswith("log_")]
        failure = event.get("log_failure")
        traceback = failure.getTraceback() if failure is not None else ""
        self.lines.append(" ".join([formatEvent(event), *values, traceback]))

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    globalLogPublisher.addObserver(log)
    yield log
    globalLogPublisher.removeObserver(log)


@pytest.fixture
def make_system(log: Log) -> Iterator[Callable[..., System]]:
    """Makes servers that are stopped after the test. No secret of theirs may be in the log (U-03)."""
    systems: list[System] = []

    def make(*arguments: Any, **named: Any) -> System:
        systems.append(System(*arguments, **named))
        return systems[-1]

    yield make
    for system in systems:
        system.stop()
        for secret in system.oracle.secrets:
            assert len(secret) < 8 or secret not in log, "U-03: a secret was logged"


@pytest.fixture
def system(make_system: Callable[..., System]) -> System:
    return make_system()


@pytest.fixture
def app(system: System) -> App:
    return system.add_client("App")


@pytest.fixture
def other_app(system: System) -> App:
    return system.add_client("Other")


@pytest.fixture
def alice(system: System) -> Browser:
    return system.browser("alice")


@pytest.fixture
def bob(system: System) -> Browser:
    return system.browser("bob")
