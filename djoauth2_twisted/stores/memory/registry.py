"""`IRegistry` in memory: one class for each of its interfaces, each in its own file."""

from __future__ import annotations

from zope.interface import implementer

from ...interfaces import IBacklog, IRegistry
from .audit import MemoryAudit
from .backlog import MemoryBacklog
from .clients import MemoryClients
from .keys import MemoryKeys
from .leases import MemoryLeases
from .logout_notices import MemoryLogoutNotices
from .scopes import MemoryScopes
from .second_factors import MemorySecondFactors
from .sessions import MemorySessions
from .statistics import MemoryStatistics
from .subjects import MemorySubjects
from .throttles import MemoryThrottles
from .users import MemoryUsers


@implementer(IRegistry, IBacklog)
class MemoryRegistry(
    MemoryClients,
    MemoryScopes,
    MemoryUsers,
    MemorySessions,
    MemorySecondFactors,
    MemoryLogoutNotices,
    MemoryThrottles,
    MemoryLeases,
    MemoryKeys,
    MemorySubjects,
    MemoryAudit,
    MemoryStatistics,
    MemoryBacklog,
):
    """All that a server keeps, except grants and tokens, in dictionaries."""

    #: What it keeps ends with the process, so that no key file is needed.
    is_in_memory = True
