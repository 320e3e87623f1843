"""The addresses of the endpoints for clients, and what becomes of their work when a client hangs up."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.web.server import Site
from web_driver import System, Wire, post_bytes

from djoauth2_twisted import Settings
from djoauth2_twisted.web.endpoint import Endpoint

ADDRESSES = ("token", "revoke", "introspect")


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "spelling", ["{}", "{}/", "{}//", "/{}", "//{}/", "{}%2F", "%2F{}", "{}/?x", "{}?x=1&y=2"]
)
def test_slashes_around_an_address_make_no_difference(system: System, name: str, spelling: str) -> None:
    """As in the tree of Klein, of which these addresses were a part."""
    answer = system.raw(post_bytes("/oauth2/" + spelling.format(name), b""))
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("spelling", ["{}///", "{}/x", "{}/%20", "{};x", "{}%00", "./{}", "x/{}"])
def test_there_is_nothing_at_other_addresses(system: System, name: str, spelling: str) -> None:
    """In JSON below an address for clients, else as a page."""
    answer = system.raw(post_bytes("/oauth2/" + spelling.format(name), b""))
    assert answer.status == 404
    below = spelling.startswith("{}/")
    (kind,) = answer.headers.getRawHeaders("content-type") or ()
    assert kind.startswith("application/json" if below else "text/html")


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("host", ["x" * 64, "a..b", "\xff"])
def test_a_host_that_is_no_name_is_refused(system: System, name: str, host: str) -> None:
    """Before the request is read, as at all addresses of the tree."""
    sent = post_bytes(f"/oauth2/{name}/", b"").replace(b"as.example", host.encode("latin-1"))
    answer = system.raw(sent)
    assert answer.status == 400
    assert answer.json["error_description"] == "the address cannot be read"


class Work:
    """An endpoint that waits, and fails with an error of its own if it is cancelled."""

    def __init__(self, error: Exception | None) -> None:
        self.waiting: Deferred[Any] = Deferred(self._cancel)
        self._error = error

    def _cancel(self, waiting: Deferred[Any]) -> None:
        if self._error is not None:
            waiting.errback(self._error)

    async def __call__(self, request: Any) -> Any:
        return await self.waiting


@pytest.mark.parametrize("error", [None, RuntimeError("a fault")])
def test_a_fault_after_the_client_has_hung_up_is_logged(
    logged_failures: Any, error: Exception | None
) -> None:
    """The end of the work itself, by its cancellation, is no fault."""
    work = Work(error)
    wire = Wire(Site(Endpoint(work, Settings())))
    wire.send(post_bytes("/", b""))
    wire.hang_up()
    assert work.waiting.called
    assert [each.value for each in logged_failures.take()] == ([error] if error else [])
    assert wire.value() == b""
