"""The audit trail."""

from __future__ import annotations

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from ...interfaces import IAudit
from ...models import Event, Page
from .tables import Tables, add


@implementer(IAudit)
class MemoryAudit(Tables):
    """`IAudit` in memory."""

    def add_event(self, event: Event) -> Deferred[None]:
        return maybeDeferred(add, self._events, event.id, event, "event")

    def events(self, page: Page) -> Deferred[list[Event]]:
        found = sorted(self._events.values(), key=_newest_first)
        if page.after:
            time, event_id = page.after
            found = [event for event in found if _newest_first(event) > (-int(time), event_id)]
        return succeed(found[page.offset : page.offset + page.size])

    def prune_events(self, before: int, limit: int) -> Deferred[int]:
        old = [event.id for event in self._events.values() if event.time < before][:limit]
        for event_id in old:
            del self._events[event_id]
        return succeed(len(old))


def _newest_first(event: Event) -> tuple[int, str]:
    return -event.time, event.id
