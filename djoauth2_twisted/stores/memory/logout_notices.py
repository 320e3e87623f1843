"""Notices of logouts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from ...errors import AlreadyExists
from ...interfaces import ILogoutNotices
from ...models import LogoutNotice
from .tables import Tables


@implementer(ILogoutNotices)
class MemoryLogoutNotices(Tables):
    """`ILogoutNotices` in memory."""

    def add_notices(self, notices: Sequence[LogoutNotice]) -> Deferred[None]:
        return maybeDeferred(self._add_notices, notices)

    def _add_notices(self, notices: Sequence[LogoutNotice]) -> None:
        if any(notice.id in self._notices for notice in notices):
            raise AlreadyExists("there is a notice of that id")
        self._notices |= {notice.id: notice for notice in notices}

    def claim_notices(
        self, now: int, until: int, limit: int, without: Collection[str] = ()
    ) -> Deferred[list[LogoutNotice]]:
        due = [n for n in self._notices.values() if n.due <= now and n.client_id not in without]
        due.sort(key=lambda notice: notice.due)
        claimed = [
            attrs.evolve(notice, due=until, attempts=notice.attempts + 1) for notice in due[:limit]
        ]
        self._notices |= {notice.id: notice for notice in claimed}
        return succeed(claimed)

    def postpone_notice(self, notice_id: str, due: int) -> Deferred[None]:
        if notice_id in self._notices:
            self._notices[notice_id] = attrs.evolve(self._notices[notice_id], due=due)
        return succeed(None)

    def replace_notice(self, notice_id: str, notices: Sequence[LogoutNotice] = ()) -> Deferred[None]:
        if self._notices.pop(notice_id, None) is None:
            return succeed(None)
        return self.add_notices(notices)
