"""The contract of a store that also provides `IBacklog`."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from ...interfaces import IBacklog, IRegistry, ITokenStore
from ...models import Limit
from .samples import NOW, new_event, new_session, random_digest, retriable_issuance
from .steps import add_grant, redeemed_grant, rotate

#: What has expired by `NOW`, for each kind of record.
CUTOFFS = {
    **dict.fromkeys(("grants", "answers", "sessions", "leases", "throttles"), NOW),
    "events": NOW * 1000,
    "statistics": NOW // 3600,
}


class TokenBacklogContract:
    """What a token store promises as `IBacklog`. Needs the fixture ``token_store``."""

    def test_provides_the_backlog(self, token_store: ITokenStore) -> None:
        """The store declares `IBacklog` and has its method."""
        assert verifyObject(IBacklog, token_store)

    async def test_expired_grants_are_counted_until_they_are_pruned(
        self, token_store: ITokenStore
    ) -> None:
        """Each is one, whatever belongs to it."""
        backlog = IBacklog(token_store)
        for expires in (NOW - 1, NOW, NOW + 1):
            await add_grant(token_store, expires=expires, code_expires=expires)
        assert (await backlog.count_expired(CUTOFFS))["grants"] == 2
        while await token_store.prune(NOW, 1):
            pass
        assert (await backlog.count_expired(CUTOFFS))["grants"] == 0

    async def test_kept_answers_are_counted(self, token_store: ITokenStore) -> None:
        """Where the store does not delete them itself."""
        grant, old = await redeemed_grant(token_store)
        await rotate(token_store, grant, old, retriable_issuance())
        counts = await IBacklog(token_store).count_expired({**CUTOFFS, "answers": NOW + 10})
        assert counts.get("answers", 1) == 1
        assert counts["grants"] == 0


class RegistryBacklogContract:
    """What a registry promises as `IBacklog`. Needs the fixture ``registry``."""

    def test_provides_the_backlog(self, registry: IRegistry) -> None:
        """The registry declares `IBacklog` and has its method."""
        assert verifyObject(IBacklog, registry)

    async def test_what_has_expired_is_counted_until_it_is_pruned(self, registry: IRegistry) -> None:
        """From the second of its expiry on, as it is pruned."""
        for age in (-1, 0, 1):
            await registry.add_session(new_session(expires=NOW + age))
            await registry.count_failures({random_digest(): Limit(1)}, NOW + age)
            await registry.acquire_lease(f"lease {age}", "holder", NOW + age, NOW - 1)
            await registry.add_event(new_event(time=NOW * 1000 + age))
            await registry.add_statistics({(NOW // 3600 + age, "login"): 1})
        backlog = IBacklog(registry)
        expected = {"sessions": 2, "throttles": 1, "leases": 2, "events": 1, "statistics": 1}
        assert await backlog.count_expired(CUTOFFS) == expected
        await registry.prune_sessions(CUTOFFS["sessions"], 10)
        await registry.prune_failures(CUTOFFS["throttles"], 10)
        await registry.prune_leases(CUTOFFS["leases"], 10)
        await registry.prune_events(CUTOFFS["events"], 10)
        await registry.prune_statistics(CUTOFFS["statistics"], 10)
        assert await backlog.count_expired(CUTOFFS) == dict.fromkeys(expected, 0)
