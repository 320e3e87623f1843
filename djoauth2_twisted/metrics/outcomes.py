"""What happens, counted from the events of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from ..errors import DJOAuthError
from ..events import (
    AccountChanged,
    ApplicationRemoved,
    CodeIssued,
    ConsentDenied,
    Events,
    LoggedIn,
    LoginRefused,
    RequestRefused,
    ReuseDetected,
    Throttled,
    TokenRevoked,
    TokensIssued,
)

#: The events that are counted without labels: their counter, and what it counts.
PLAIN: dict[type[Any], tuple[str, str]] = {
    CodeIssued: ("djoauth2_codes_issued", "Consents, for each of which a client gets a code."),
    ConsentDenied: ("djoauth2_consents_denied", "Consent pages on which the user declined."),
    ReuseDetected: ("djoauth2_reuse_detected", "Codes and refresh tokens that were used again."),
    TokenRevoked: ("djoauth2_tokens_revoked", "Tokens that their clients revoked."),
    ApplicationRemoved: ("djoauth2_applications_removed", "Clients that a user removed."),
    AccountChanged: ("djoauth2_accounts_changed", "Changes that users made to their own account."),
    LoggedIn: ("djoauth2_logins", "Logins."),
    LoginRefused: ("djoauth2_logins_refused", "Logins with a wrong name or password."),
}


def _names(kind: type[DJOAuthError]) -> Iterator[str]:
    yield kind.error_name
    for narrower in kind.__subclasses__():
        yield from _names(narrower)


def _adder(counter: Counter) -> Callable[[object], None]:
    return lambda _: counter.inc()


def count_outcomes(registry: CollectorRegistry, events: Events) -> None:
    """Count the events of a server from now on."""
    for kind, (name, meaning) in PLAIN.items():
        counter = Counter(name, meaning, registry=registry)
        events.subscribe(kind, _adder(counter))
    issued = Counter(
        "djoauth2_tokens_issued",
        "Pairs of tokens, by what the client exchanged for them.",
        ("grant_type",),
        registry=registry,
    )
    # The library's own search for labels takes microseconds.
    issued_by = cache(issued.labels)
    for grant_type in ("authorization_code", "refresh_token"):
        # Prometheus sees an increase only from a value that it has read before.
        issued_by(grant_type)
    events.subscribe(TokensIssued, lambda event: issued_by(event.grant_type).inc())
    refused = Counter(
        "djoauth2_requests_refused",
        "Requests of clients that were refused, by endpoint and error.",
        ("endpoint", "error"),
        registry=registry,
    )
    # An application may raise its own errors, with any name.
    known = frozenset(_names(DJOAuthError))

    def count_refused(event: RequestRefused) -> None:
        refused.labels(event.endpoint, event.error if event.error in known else "other").inc()

    events.subscribe(RequestRefused, count_refused)
    throttled = Counter(
        "djoauth2_throttled",
        "Requests that were refused because too many failed before, by endpoint.",
        ("endpoint",),
        registry=registry,
    )
    for endpoint in ("token", "revoke", "introspect", "login", "account"):
        throttled.labels(endpoint)
    events.subscribe(Throttled, lambda event: throttled.labels(event.endpoint).inc())
