"""The bound on how many grants a user may have with one client."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from ..models import Grant

#: So many are ended in one step at most: where there are more beyond the bound, as where it was lowered,
#: the next codes end them.
ENDED_AT_ONCE = 10

_log = Logger()


def tell_of_ended(grant: Grant, ended: Sequence[str]) -> None:
    """Log the ids of those that were ended for a new one."""
    if ended:
        _log.info(
            "{username!r} has too many grants with {client_id}: the oldest are ended: {ids}",
            username=grant.owner.username,
            client_id=grant.client_id,
            ids=", ".join(ended),
        )
