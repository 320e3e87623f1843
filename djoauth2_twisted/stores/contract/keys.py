"""The contract of `IKeys`."""

from __future__ import annotations

import attrs

from ...interfaces import IRegistry
from ...models import SigningKey
from .samples import CROWDS, NOW, new_signing_key
from .steps import at_once


class KeysContract:
    """What a registry promises as `IKeys`."""

    async def test_signing_keys_are_replaced_as_a_whole(self, registry: IRegistry) -> None:
        """From the first keys to a rotation, and until a retired key is gone."""
        assert await registry.signing_keys() == []
        current = new_signing_key("b", "current", signs_from=NOW)
        coming = new_signing_key("a", "next")
        assert await registry.replace_signing_keys([], [current, coming])
        assert await registry.signing_keys() == [coming, current]
        retired = attrs.evolve(current, state="retired", retired=NOW + 9, sealed_private=None)
        signing = attrs.evolve(coming, state="current", signs_from=NOW + 9)
        new = new_signing_key("c", "next", created=NOW + 9)
        assert await registry.replace_signing_keys([coming, current], [retired, signing, new])
        assert await registry.signing_keys() == [signing, retired, new]
        assert await registry.replace_signing_keys([signing, retired, new], [signing, new])
        assert await registry.signing_keys() == [signing, new]

    async def test_signing_keys_that_have_changed_are_not_replaced(self, registry: IRegistry) -> None:
        """In another state, or in another number."""
        key = new_signing_key("a", "current")
        assert await registry.replace_signing_keys([], [key])
        other = new_signing_key("b", "current")
        for before in ([], [attrs.evolve(key, state="next")], [key, other], [other]):
            assert not await registry.replace_signing_keys(before, [other])
        assert await registry.signing_keys() == [key]

    async def test_one_of_many_replaces_the_signing_keys(self, registry: IRegistry) -> None:
        """Also where there are none yet."""
        before: list[SigningKey] = []
        for crowd in CROWDS:
            after = [[new_signing_key(f"{crowd} {number}", "current")] for number in range(crowd)]
            done = await at_once(registry.replace_signing_keys(before, each) for each in after)
            assert done.count(True) == 1
            before = after[done.index(True)]
            assert await registry.signing_keys() == before

    async def test_private_half_of_a_signing_key_is_not_shown(self, registry: IRegistry) -> None:
        key = new_signing_key("a", "current")
        assert await registry.replace_signing_keys([], [key])
        assert "sealed_private" not in repr(await registry.signing_keys())
