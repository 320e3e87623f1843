"""The contract of `ILogoutNotices`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ...credentials import random_string
from ...errors import AlreadyExists
from ...interfaces import IRegistry
from ...models import LogoutNotice
from .samples import CROWDS, HOSTILE, NOW
from .steps import at_once


def new_notice(**changes: Any) -> LogoutNotice:
    """A notice that is due."""
    notice = LogoutNotice(random_string(30), "user", "subject-1", "a-sid", "client", NOW)
    return attrs.evolve(notice, **changes)


def _ids(notices: Iterable[LogoutNotice]) -> list[str]:
    return [notice.id for notice in notices]


class LogoutNoticesContract:
    """What a registry promises as `ILogoutNotices`."""

    async def test_notices_are_claimed_when_they_are_due(self, registry: IRegistry) -> None:
        """The earliest first, with one more attempt; and again if nothing is done with them."""
        early, late = new_notice(due=NOW - 1), new_notice(sid=None, client_id="")
        later = new_notice(due=NOW + 1)
        await registry.add_notices([late, later, early])
        claimed = await registry.claim_notices(NOW, NOW + 60, 1)
        assert claimed == [attrs.evolve(early, due=NOW + 60, attempts=1)]
        assert _ids(await registry.claim_notices(NOW, NOW + 60, 5)) == [late.id]
        assert await registry.claim_notices(NOW, NOW + 60, 5) == []
        assert _ids(await registry.claim_notices(NOW + 59, NOW + 90, 5)) == [later.id]
        again = await registry.claim_notices(NOW + 60, NOW + 120, 5)
        assert {(notice.id, notice.attempts) for notice in again} == {(early.id, 2), (late.id, 2)}

    async def test_one_of_many_claims_a_notice(self, registry: IRegistry) -> None:
        for crowd in CROWDS:
            notices = [new_notice() for _ in range(crowd)]
            await registry.add_notices(notices)
            claims = await at_once(registry.claim_notices(NOW, NOW + 60, 3) for _ in range(crowd))
            claimed = [notice_id for claim in claims for notice_id in _ids(claim)]
            left = await registry.claim_notices(NOW, NOW + 60, crowd)
            assert sorted([*claimed, *_ids(left)]) == sorted(_ids(notices))
            for notice in notices:
                await registry.replace_notice(notice.id)

    async def test_notices_of_some_clients_are_left_alone(self, registry: IRegistry) -> None:
        notices = [new_notice(client_id=name) for name in ("a", "b", "c", "")]
        await registry.add_notices(notices)
        claimed = await registry.claim_notices(NOW, NOW + 60, 5, {"a", "c"})
        assert {notice.client_id for notice in claimed} == {"b", ""}
        left = await registry.claim_notices(NOW, NOW + 60, 5)
        assert {notice.client_id for notice in left} == {"a", "c"}

    async def test_postponed_notice_is_due_then(self, registry: IRegistry) -> None:
        """To delete one that is not there is not an error."""
        notice = new_notice()
        await registry.add_notices([notice])
        await registry.claim_notices(NOW, NOW + 60, 5)
        await registry.postpone_notice(notice.id, NOW + 10)
        await registry.postpone_notice("unknown", NOW)
        assert await registry.claim_notices(NOW + 9, NOW + 60, 5) == []
        assert _ids(await registry.claim_notices(NOW + 10, NOW + 60, 5)) == [notice.id]

    async def test_replaced_notice_makes_room_for_others_once(self, registry: IRegistry) -> None:
        """A second time nothing is kept."""
        notice, following = new_notice(), [new_notice(client_id=name) for name in ("a", "b")]
        await registry.add_notices([notice])
        await registry.replace_notice(notice.id, following)
        await registry.replace_notice(notice.id, [new_notice()])
        claimed = await registry.claim_notices(NOW, NOW + 60, 5)
        assert sorted(_ids(claimed)) == sorted(_ids(following))
        await registry.replace_notice(following[0].id)
        assert _ids(await registry.claim_notices(NOW + 60, NOW + 90, 5)) == [following[1].id]

    async def test_notices_are_added_all_or_none(self, registry: IRegistry) -> None:
        """If one of them is there already, none is added."""
        notice = new_notice()
        await registry.add_notices([notice])
        try:
            await registry.add_notices([new_notice(), notice])
        except AlreadyExists:
            claimed = await registry.claim_notices(NOW, NOW + 60, 5)
            assert _ids(claimed) == [notice.id]
        else:
            raise AssertionError("a second notice of the same id was kept")

    async def test_hostile_values_of_notices_are_kept(self, registry: IRegistry) -> None:
        """Character for character."""
        notices = [
            new_notice(id=name, username=name, subject=name, sid=name, client_id=name)
            for name in HOSTILE
        ]
        await registry.add_notices(notices)
        claimed = await registry.claim_notices(NOW, NOW, len(HOSTILE))
        assert sorted(claimed, key=lambda notice: notice.id) == sorted(
            (attrs.evolve(notice, attempts=1) for notice in notices), key=lambda notice: notice.id
        )
