"""The contract of `ITokenStore`."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from ...interfaces import ITokenStore
from .codes import CodeContract
from .grants import GrantContract
from .pruning import PruningContract
from .races import RaceContract
from .refresh_retries import RefreshRetryContract
from .refresh_tokens import RefreshTokenContract
from .revocation import RevocationContract


class TokenStoreContract(
    CodeContract,
    RefreshTokenContract,
    RefreshRetryContract,
    RevocationContract,
    GrantContract,
    PruningContract,
    RaceContract,
):
    """All that `ITokenStore` promises. Needs the fixture ``token_store``."""

    def test_provides_the_interface(self, token_store: ITokenStore) -> None:
        """The store declares its interface and has all of its methods."""
        assert verifyObject(ITokenStore, token_store)
