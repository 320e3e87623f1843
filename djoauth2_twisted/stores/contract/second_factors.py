"""The contract of `ISecondFactors`."""

from __future__ import annotations

import attrs

from ...errors import AlreadyExists
from ...interfaces import IRegistry
from .samples import CROWDS, HOSTILE, NOT_UTF_8, new_second_factor, new_user, random_digest
from .steps import assert_fails, at_once


class SecondFactorsContract:
    """What a registry promises as `ISecondFactors`."""

    async def test_second_factor_is_found_and_removed(self, registry: IRegistry) -> None:
        """A subject has one at most. Hostile names stay distinct."""
        factors = {name: new_second_factor(name) for name in HOSTILE}
        for factor in factors.values():
            await registry.add_second_factor(factor)
        for name, factor in factors.items():
            assert await registry.find_second_factor(name) == factor
            await assert_fails(AlreadyExists, registry.add_second_factor(new_second_factor(name)))
            assert await registry.find_second_factor(name) == factor
            assert await registry.remove_second_factor(name) is True
            assert await registry.find_second_factor(name) is None
            assert await registry.remove_second_factor(name) is False
        for name in ("unknown", NOT_UTF_8):
            assert await registry.find_second_factor(name) is None

    async def test_secrets_are_sealed_again_if_they_are_still_the_same(
        self, registry: IRegistry
    ) -> None:
        """Those of other subjects stay."""
        one, other = new_second_factor("s-1"), new_second_factor("s-2")
        for factor in (one, other):
            await registry.add_second_factor(factor)
        await registry.seal_again("s-1", b"again", one.sealed)
        await registry.seal_again("s-1", b"too late", one.sealed)
        await registry.seal_again("s-3", b"again", one.sealed)
        assert await registry.find_second_factor("s-1") == attrs.evolve(one, sealed=b"again")
        assert await registry.find_second_factor("s-2") == other
        assert await registry.find_second_factor("s-3") is None

    async def test_time_step_is_used_once_and_never_an_earlier_one(self, registry: IRegistry) -> None:
        """RFC 6238, section 5.2. Other subjects are not concerned."""
        other = new_second_factor("s-2")
        await registry.add_second_factor(new_second_factor("s-1", last_step=7))
        await registry.add_second_factor(other)
        used = [await registry.use_time_step("s-1", step) for step in (6, 7, 9, 9, 8, 10)]
        assert used == [False, False, True, False, False, True]
        found = await registry.find_second_factor("s-1")
        assert found is not None
        assert found.last_step == 10
        assert await registry.find_second_factor("s-2") == other
        assert await registry.use_time_step("s-3", 11) is False

    async def test_one_of_many_uses_of_a_time_step_wins(self, registry: IRegistry) -> None:
        """A code that two requests send at the same moment is accepted once."""
        await registry.add_second_factor(new_second_factor("s-1", last_step=0))
        for crowd in CROWDS:
            used = await at_once(registry.use_time_step("s-1", crowd) for _ in range(crowd))
            assert used.count(True) == 1

    async def test_recovery_code_is_used_once(self, registry: IRegistry) -> None:
        """By its own subject, and the others stay."""
        one, two = new_second_factor("s-1"), new_second_factor("s-2")
        for factor in (one, two):
            await registry.add_second_factor(factor)
        code, *_ = one.recovery_digests
        assert await registry.use_recovery_code("s-2", code) is False
        assert await registry.use_recovery_code("s-1", random_digest()) is False
        assert [await registry.use_recovery_code("s-1", code) for _ in range(2)] == [True, False]
        left = attrs.evolve(one, recovery_digests=one.recovery_digests - {code})
        assert await registry.find_second_factor("s-1") == left
        assert await registry.find_second_factor("s-2") == two

    async def test_one_of_many_uses_of_a_recovery_code_wins(self, registry: IRegistry) -> None:
        """Also where all begin at the same moment."""
        factor = new_second_factor("s-1", codes=len(CROWDS))
        await registry.add_second_factor(factor)
        for crowd, code in zip(CROWDS, factor.recovery_digests, strict=True):
            used = await at_once(registry.use_recovery_code("s-1", code) for _ in range(crowd))
            assert used.count(True) == 1

    async def test_removed_second_factor_takes_its_recovery_codes_along(
        self, registry: IRegistry
    ) -> None:
        """A new one has none of them."""
        old = new_second_factor("s-1")
        await registry.add_second_factor(old)
        await registry.remove_second_factor("s-1")
        for code in old.recovery_digests:
            assert await registry.use_recovery_code("s-1", code) is False
        new = new_second_factor("s-1")
        await registry.add_second_factor(new)
        assert await registry.find_second_factor("s-1") == new

    async def test_deleted_user_has_no_second_factor(self, registry: IRegistry) -> None:
        """That of another user stays."""
        for name in ("one", "two"):
            await registry.add_user(new_user(name, subject=f"s-{name}"))
            await registry.add_second_factor(new_second_factor(f"s-{name}"))
        await registry.delete_user("one")
        assert await registry.find_second_factor("s-one") is None
        assert await registry.find_second_factor("s-two") is not None
