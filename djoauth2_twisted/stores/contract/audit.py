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

    async def test_events(self, registry: IRegistry) -> None:
        """Rows come back as they were, newest first, by the page."""
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
        for place, event in enumerate(whole):
            part = await registry.events(Page(size=3, after=(event.time, event.id)))
            assert part == whole[place + 1 : place + 4]

    async def test_event_that_is_taken(self, registry: IRegistry) -> None:
        """The first stays: so what may be done but once is noted but once."""
        event = new_event()
        await registry.add_event(event)
        await assert_fails(AlreadyExists, registry.add_event(attrs.evolve(event, action="other")))
        assert await registry.events(Page()) == [event]

    async def test_prune_events(self, registry: IRegistry) -> None:
        """Older ones go, no more at once than asked for."""
        kept = new_event(time=1000)
        await registry.add_event(kept)
        for time_ in (997, 998, 999):
            await registry.add_event(new_event(time=time_))
        assert [await registry.prune_events(1000, 2) for _ in range(3)] == [2, 1, 0]
        assert await registry.events(Page()) == [kept]
