"""What a store may also provide: counts of what has expired and was not deleted yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred


class IBacklog(Interface):
    """Says how many rows the next steps of pruning will find.

    A registry or a token store may also provide this. Without it, the metrics do not show its backlog.
    """

    def count_expired(cutoffs: Mapping[str, int]) -> Deferred[Mapping[str, int]]:
        """How many rows have expired and are not deleted yet, by kind of record.

        Each count is `MAX_COUNTED` plus one where there are more than `MAX_COUNTED`, or exact where that
        costs no more. It reads the entries of an index. It fails as the verbs of the store do.

        :param cutoffs: for each kind, the time that its verb of pruning is given: ``grants`` and
            ``answers`` (kept for a retry) that of `ITokenStore.prune`, ``sessions`` that of
            `ISessions.prune_sessions`, ``throttles`` that of `IThrottles.prune_failures`, ``leases``,
            ``events`` and ``statistics`` those of the verbs of their names.
        :returns: a Deferred of the counts of the kinds that this store keeps.
        """
