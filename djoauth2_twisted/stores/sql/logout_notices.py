"""`ILogoutNotices` on SQL: the table ``djoauth2_logout``."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs
import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import ILogoutNotices
from ...models import LogoutNotice
from . import schema, statements
from .database import OnDatabase


@implementer(ILogoutNotices)
class SQLLogoutNotices(OnDatabase):
    """The notices. Each verb is one step; the steps are the functions below the class."""

    def add_notices(self, notices: Sequence[LogoutNotice]) -> Deferred[None]:
        return self.database.write(_add, notices, key="logout notices")

    def claim_notices(
        self, now: int, until: int, limit: int, without: Collection[str] = ()
    ) -> Deferred[list[LogoutNotice]]:
        return self.database.write(_claim, now, until, limit, without, key="logout notices")

    def postpone_notice(self, notice_id: str, due: int) -> Deferred[None]:
        return self.database.write(_postpone, notice_id, due, key="logout notices")

    def replace_notice(self, notice_id: str, notices: Sequence[LogoutNotice] = ()) -> Deferred[None]:
        return self.database.write(_replace, notice_id, notices, key="logout notices")


_notice = schema.logout_notice


def _add(connection: sa.Connection, notices: Sequence[LogoutNotice]) -> None:
    for notice in notices:
        statements.insert(connection, _notice, statements.row_of(notice))


def _claim(
    connection: sa.Connection, now: int, until: int, limit: int, without: Collection[str]
) -> list[LogoutNotice]:
    # Locked, and without those that another process has locked: so each is claimed once.
    due = sa.select(_notice).where(_notice.c.due <= now).order_by(_notice.c.due)
    if without:
        due = due.where(_notice.c.client_id.not_in(without))
    rows = connection.execute(due.limit(limit).with_for_update(skip_locked=True)).all()
    if not rows:
        return []
    ids = [row.id for row in rows]
    claimed = sa.update(_notice).where(_notice.c.id.in_(ids))
    connection.execute(claimed.values(due=until, attempts=_notice.c.attempts + 1))
    found = (LogoutNotice(**row._mapping) for row in rows)
    return [attrs.evolve(notice, due=until, attempts=notice.attempts + 1) for notice in found]


def _postpone(connection: sa.Connection, notice_id: str, due: int) -> None:
    connection.execute(sa.update(_notice).where(_notice.c.id == notice_id).values(due=due))


def _replace(connection: sa.Connection, notice_id: str, notices: Sequence[LogoutNotice]) -> None:
    deleted = connection.execute(sa.delete(_notice).where(_notice.c.id == notice_id))
    if deleted.rowcount == 1:
        _add(connection, notices)
