"""What the tests of relying parties share; the rest of it is in `parties_kit`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("service_kit", "parties_kit")

from parties_kit import Provider, what_is_missing  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    """Skip what cannot run here; in CI, fail."""
    missing = what_is_missing()
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A running server with OpenID Connect, and a user."""
    running = Provider.start(tmp_path_factory.mktemp("provider"))
    yield running
    running.server.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the relying party."""
    return tmp_path
