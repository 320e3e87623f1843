"""Requests of a client that is cached: how often the stores are asked, and what a change does.

Behaviours CA-11, CA-16, CA-27.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
from web_driver import App, Browser, System, assert_token_error, basic, tokens_of
from zope.interface.interface import InterfaceClass

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.interfaces import IRegistry, ITokenStore
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore


class Calls(Counter[str]):
    """Counts the verbs of stores that are called."""

    def of(self, store: Any, interface: InterfaceClass) -> Any:
        """The store, with each verb of an interface counted."""
        for verb in interface.names(all=True):
            setattr(store, verb, self._counted(verb, getattr(store, verb)))
        return store

    def _counted(self, verb: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self[verb] += 1
            return call(*arguments, **named)

        return counted

    def during(self, send: Callable[[], Any]) -> dict[str, int]:
        """The calls while a request is answered."""
        self.clear()
        send()
        return dict(self)


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def system(make_system: Callable[..., System], calls: Calls) -> System:
    registry, tokens = MemoryRegistry(), MemoryTokenStore()
    return make_system(stores=(None, calls.of(registry, IRegistry), calls.of(tokens, ITokenStore)))


def test_request_of_a_cached_client_makes_one_way_to_the_stores(
    app: App, alice: Browser, calls: Calls
) -> None:
    """For each endpoint that authenticates clients."""
    code, pair = app.code(alice), app.tokens(alice)
    exchange = calls.during(lambda: tokens_of(app.exchange(code)))
    refresh = calls.during(lambda: tokens_of(app.refresh(pair["refresh_token"])))
    assert exchange == {"redeem_code": 1}
    assert refresh == {"rotate_refresh_token": 1}
    token, headers = (
        app.tokens(alice)["access_token"],
        [("Authorization", basic(app.client_id, app.secret))],
    )
    for path, verb in (("introspect", "find_access_token"), ("revoke", "revoke")):
        send = partial(app.system.post, f"/oauth2/{path}/", {"token": token}, headers)
        assert calls.during(send) == {verb: 1}


def test_first_request_of_a_client_looks_it_up(app: App, alice: Browser, calls: Calls) -> None:
    code = app.code(alice)
    sent = calls.during(lambda: tokens_of(app.exchange(code)))
    assert sent == {"find_client": 1, "redeem_code": 1}


def test_secret_before_a_rotation_is_refused_although_the_client_is_cached(
    app: App, alice: Browser
) -> None:
    """CA-27: by the very next request; the new one is taken by it."""
    pair = app.tokens(alice)
    secret = app.system.do(app.system.administration.rotate_secret(app.client_id))
    app.system.oracle.secrets.add(secret)
    assert_token_error(app.refresh(pair["refresh_token"]), 401, "invalid_client")
    assert tokens_of(attrs.evolve(app, secret=secret).refresh(pair["refresh_token"]))


@pytest.mark.parametrize("way", ["disabled", "deleted"])
def test_cached_client_that_has_gone_is_refused(app: App, alice: Browser, way: str) -> None:
    """CA-11: by the very next request."""
    pair = app.tokens(alice)
    if way == "disabled":
        app.change(disabled=True)
    else:
        app.system.do(app.system.administration.delete_client(app.client_id))
    assert_token_error(app.refresh(pair["refresh_token"]), 401, "invalid_client")


def test_new_secret_is_taken_before_the_feed_has_reported_it(
    app: App, alice: Browser, system: System
) -> None:
    """CA-27: another process has rotated it just now, and the client is cached with the old one."""
    pair = app.tokens(alice)
    registry: Any = system.registry
    secret = "n" * 30
    system.oracle.secrets.add(secret)
    client = registry._clients[app.client_id]
    registry._clients[app.client_id] = attrs.evolve(client, secret_digest=digest(secret))
    assert tokens_of(attrs.evolve(app, secret=secret).refresh(pair["refresh_token"]))


def test_refusal_asks_as_much_for_a_cached_client_as_for_an_unknown_one(
    app: App, alice: Browser, calls: Calls
) -> None:
    """CA-16: the time that the stores take does not show whether a client exists."""
    app.tokens(alice)
    wrong = [
        calls.during(partial(client.refresh, "x"))
        for client in (attrs.evolve(app, secret="wrong"), attrs.evolve(app, client_id="unknown"))
    ]
    assert wrong[0] == wrong[1] == {"find_client": 1, "count_failures": 1}
