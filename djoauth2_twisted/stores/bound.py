"""The limit of a user's grants with one client."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from ..models import Grant

#: How many grants one step revokes at most. There may be more beyond the limit, as after it was lowered:
#: then the next codes revoke them.
ENDED_AT_ONCE = 10

_log = Logger()


def log_ended(grant: Grant, ended: Sequence[str]) -> None:
    """Log the ids of the grants that were revoked for a new one."""
    if ended:
        _log.info(
            "{username!r} has too many grants for {client_id}. The oldest are revoked: {ids}",
            username=grant.owner.username,
            client_id=grant.client_id,
            ids=", ".join(ended),
        )
