"""`IAudit` on SQL: the table ``djoauth2_event``."""

from __future__ import annotations

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import IAudit
from ...models import Event, Page
from . import schema, statements
from .database import OnDatabase


@implementer(IAudit)
class SQLAudit(OnDatabase):
    """The audit trail. Each verb is one step; the steps are the functions below the class."""

    def add_event(self, event: Event) -> Deferred[None]:
        return self.database.write(statements.insert, _event, statements.row_of(event), key=event.id)

    def events(self, page: Page) -> Deferred[list[Event]]:
        return self.database.read(_events, page)

    def prune_events(self, before: int, limit: int) -> Deferred[int]:
        old = _event.c.time < before
        return self.database.write(statements.delete_some, _event.c.id, old, limit, key="prune events")


_event = schema.event


def _events(connection: sa.Connection, page: Page) -> list[Event]:
    newest_first = sa.select(_event).order_by(_event.c.time.desc(), _event.c.id)
    if page.after:
        time, event_id = page.after
        # The first condition seems to be needless. With it, the index on the time is used.
        older = (_event.c.time < time) | (_event.c.id > event_id)
        newest_first = newest_first.where(_event.c.time <= time, older)
    rows = connection.execute(statements.page_of(newest_first, page))
    return [Event(**row._mapping) for row in rows]
