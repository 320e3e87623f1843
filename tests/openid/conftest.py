"""A provider of OpenID Connect, its client and two people for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("web_driver", "openid_driver")

from openid_driver import Provider, provider_settings  # noqa: E402
from web_driver import App, Browser, can_wait  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of this folder `wait`."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == Path(__file__).parent:
            item.obj = can_wait(item.obj)


@pytest.fixture(autouse=True, scope="module")
def _few_keys(few_keys: None) -> None:
    """All providers share a few signing keys."""


@pytest.fixture
def make_provider(tmp_path: Path) -> Iterator[Callable[..., Provider]]:
    """Makes providers, which end with the test."""
    made: list[Provider] = []

    def make(**changed: Any) -> Provider:
        named = "who", "logout", "portal", "issuer", "checked_in_memory"
        options = {name: changed.pop(name) for name in named if name in changed}
        provider = Provider(provider_settings(tmp_path, **changed), **options)
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.stop()


@pytest.fixture
def provider(make_provider: Callable[..., Provider]) -> Provider:
    return make_provider()


@pytest.fixture
def rp(provider: Provider) -> App:
    """A client that logs its users in with the provider."""
    return provider.add_client("App", post_logout_redirect_uris=("https://app.example/bye",))


@pytest.fixture
def alice(provider: Provider) -> Browser:
    return provider.browser("alice")
