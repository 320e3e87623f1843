"""The contract of `IAudit`."""

from __future__ import annotations

import itertools

import attrs

from ...errors import AlreadyExists
from ...interfaces import IRegistry
from ...models import Page
from .samples import HOSTILE, NOW, new_event
from .steps import assert_fails


class AuditContract:
    """What a registry promises as `IAudit`."""

    async def test_events_are_listed_newest_first(self, registry: IRegistry) -> None:
        """By offset, and after an event."""
        made = [
            new_event(time=1000 * NOW + age // 2, subject=text[:63], details={"name": text, "x": ""})
            for age, text in enumerate(HOSTILE)
        ]
        for event in made:
            await registry.add_event(event)
        whole = await registry.events(Page())
        assert whole == sorted(made, key=lambda event: (-event.time, event.id))
        pages = [await registry.events(Page(offset, 7)) for offset in range(0, len(made), 7)]
        assert list(itertools.chain(*pages)) == whole
        assert await registry.events(Page(len(made), 7)) == []
        for index, event in enumerate(whole):
            following = await registry.events(Page(size=3, after=(event.time, event.id)))
            assert following == whole[index + 1 : index + 4]

    async def test_event_id_that_is_taken_is_refused(self, registry: IRegistry) -> None:
        """The first event stays, so that what is done once is noted once."""
        event = new_event()
        await registry.add_event(event)
        await assert_fails(AlreadyExists, registry.add_event(attrs.evolve(event, action="other")))
        assert await registry.events(Page()) == [event]

    async def test_old_events_are_pruned(self, registry: IRegistry) -> None:
        """No more at once than asked for."""
        kept = new_event(time=1000)
        await registry.add_event(kept)
        for time_ in (997, 998, 999):
            await registry.add_event(new_event(time=time_))
        assert [await registry.prune_events(1000, 2) for _ in range(3)] == [2, 1, 0]
        assert await registry.events(Page()) == [kept]
