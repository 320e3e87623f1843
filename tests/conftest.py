"""What every test is held to: no timer and no unhandled error is left behind."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import shared_keys
from hypothesis import HealthCheck, settings
from leaks import cancel_new_calls
from quick_hashes import QUICK_HASHER
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, globalLogBeginner, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from djoauth2_twisted import credentials
from djoauth2_twisted.protocol import jose

pytest.register_assert_rewrite("djoauth2_twisted.stores.contract", "service_kit")

# How long an example takes says more about the machine than about the code.
settings.register_profile(
    "djoauth2", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("djoauth2")

# No test trusts the authorities of the system. Each context of TLS would read all of them, for 30 ms.
os.environ |= {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}

#: How many names lead to the folder of the tests.
DEPTH = len(Path(__file__).parent.parts)

#: The markers of whole folders and modules, by what their tests need. `pytest` alone leaves these tests
#: out; `pytest -m ""` runs all. A test elsewhere carries its marker itself.
MARKERS = {
    "browser": "browser",
    "ledger": "ledger",
    "outages": "outage",
    "service": "process",
    "test_examples.py": "process",
    "test_sdist.py": "process",
}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test by the folder or the module that it stands in, before ``-m`` selects."""
    where = item.path.parts[DEPTH]
    if where in MARKERS:
        item.add_marker(MARKERS[where])


def pytest_collection_finish() -> None:
    """Keep what was imported out of the garbage collections that follow each test.

    Until logging begins, Twisted keeps 65,536 events, and with them the servers that logged them.
    """
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _keep_collections_short() -> None:
    """The same for what earlier modules have left: each test ends with a collection."""
    gc.collect()
    gc.freeze()


#: As in production.
TRUE_HASHER = credentials._hasher


@pytest.fixture(autouse=True, scope="session")
def _quick_hashes() -> Iterator[None]:
    """Passwords are hashed quickly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials, "_hasher", QUICK_HASHER)
        yield


@pytest.fixture
def true_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are hashed as in production."""
    monkeypatch.setattr(credentials, "_hasher", TRUE_HASHER)


@pytest.fixture(scope="module")
def few_keys() -> Iterator[None]:
    """Servers share a few signing keys: to make one takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jose, "_MAKERS", shared_keys.MAKERS)
        patch.setattr(jose, "read_key", shared_keys.read_key)
        yield


@implementer(ILogObserver)
class LoggedFailures:
    """The failures logged during a test, and the unhandled errors of Deferreds."""

    def __init__(self) -> None:
        self._logged: list[Failure] = []

    def __call__(self, event: dict[str, Any]) -> None:
        if "log_failure" in event:
            self._logged.append(event["log_failure"])

    def take(self, *types: type[BaseException]) -> list[Failure]:
        """The failures of these types logged so far (of any type where none is given).

        They were expected and count no more.
        """
        gc.collect()
        taken = [failure for failure in self._logged if not types or failure.check(*types)]
        self._logged = [failure for failure in self._logged if failure not in taken]
        return taken


@pytest.fixture(autouse=True)
def logged_failures() -> Iterator[LoggedFailures]:
    """Fail a test that leaves a logged failure it has not `taken <LoggedFailures.take>`."""
    observer = LoggedFailures()
    globalLogPublisher.addObserver(observer)
    try:
        yield observer
        left = observer.take()
    finally:
        globalLogPublisher.removeObserver(observer)
    assert not left, "failures were logged:\n" + "\n".join(f.getTraceback() for f in left)


@pytest.fixture(autouse=True)
def _no_delayed_calls() -> Iterator[None]:
    """Fail a test that leaves a delayed call on the global reactor."""
    from twisted.internet import reactor

    before = set(reactor.getDelayedCalls())
    yield
    # What ends by itself within a few turns, as a closed connection does, is not left behind.
    for _ in range(5):
        if before.issuperset(reactor.getDelayedCalls()):
            return
        pytest_twisted.blockon(deferLater(reactor, 0))
    left = cancel_new_calls(reactor, before)
    assert not left, "the test left delayed calls:\n" + "\n".join(left)
