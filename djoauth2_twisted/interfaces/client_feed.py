"""The contract of a registry whose clients may be cached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Callable


class IClientFeed(Interface):
    """Says when clients have changed, so that a client can be cached until then.

    What provides `IClients` may also provide this. Without it, a client is looked up at each request.
    A client has changed if ``find_client`` returns something else than before. The time of its last use
    does not count, and neither does a new client.
    """

    def subscribe_to_clients(invalidate: Callable[[], None]) -> None:
        """Have ``invalidate`` called in the reactor's thread when any client has changed.

        For what a verb of this registry has changed, the call comes before the verb's Deferred fires,
        also where the verb fails and its step may have been taken. A call too many does no harm.
        """

    def clients_are_current() -> bool:
        """Whether subscribers were called for all changes that are older than 80 milliseconds.

        See `IInvalidationFeed.is_current`, which promises the same for access tokens.
        """
