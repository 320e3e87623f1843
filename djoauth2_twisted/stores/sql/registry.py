"""`IRegistry` on SQL: one class for each of its interfaces, each in its own file."""

from __future__ import annotations

from zope.interface import implementer

from ...interfaces import IBacklog, IRegistry
from .audit import SQLAudit
from .backlog import SQLBacklog
from .clients import SQLClients
from .keys import SQLKeys
from .leases import SQLLeases
from .logout_notices import SQLLogoutNotices
from .scopes import SQLScopes
from .second_factors import SQLSecondFactors
from .sessions import SQLSessions
from .statistics import SQLStatistics
from .subjects import SQLSubjects
from .throttles import SQLThrottles
from .users import SQLUsers


@implementer(IRegistry, IBacklog)
class SQLRegistry(
    SQLClients,
    SQLScopes,
    SQLUsers,
    SQLSessions,
    SQLSecondFactors,
    SQLLogoutNotices,
    SQLThrottles,
    SQLLeases,
    SQLKeys,
    SQLSubjects,
    SQLAudit,
    SQLStatistics,
    SQLBacklog,
):
    """All that a server keeps, except grants and tokens, in the tables named ``djoauth2_...``.

    :param database: may be shared with a token store.
    """
