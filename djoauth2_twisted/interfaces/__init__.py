"""The contracts between the floors, and with the authors of other stores and verifiers."""

from .backlog import IBacklog
from .client_feed import IClientFeed
from .conformance import check_providers
from .registry import (
    MAX_SEARCHED,
    IAudit,
    IClients,
    IKeys,
    ILeases,
    ILogoutNotices,
    IRegistry,
    IScopes,
    ISessions,
    IStatistics,
    ISubjects,
    IThrottles,
    IUsers,
)
from .second_factors import ISecondFactors
from .token_store import MAX_COUNTED, IInvalidationFeed, ITokenStore
from .verifier import (
    AnyVerifier,
    IAccessToken,
    IRecallingVerifier,
    IRequestCounter,
    IResourceOwner,
    IResourceServer,
    ITokenVerifier,
)

__all__ = [
    "MAX_COUNTED",
    "MAX_SEARCHED",
    "AnyVerifier",
    "IAccessToken",
    "IAudit",
    "IBacklog",
    "IClientFeed",
    "IClients",
    "IInvalidationFeed",
    "IKeys",
    "ILeases",
    "ILogoutNotices",
    "IRecallingVerifier",
    "IRegistry",
    "IRequestCounter",
    "IResourceOwner",
    "IResourceServer",
    "IScopes",
    "ISecondFactors",
    "ISessions",
    "IStatistics",
    "ISubjects",
    "IThrottles",
    "ITokenStore",
    "ITokenVerifier",
    "IUsers",
    "check_providers",
]
