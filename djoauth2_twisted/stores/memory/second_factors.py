"""Second factors."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from ...interfaces import ISecondFactors
from ...models import SecondFactor
from .tables import Tables, add


@implementer(ISecondFactors)
class MemorySecondFactors(Tables):
    """`ISecondFactors` in memory."""

    def add_second_factor(self, factor: SecondFactor) -> Deferred[None]:
        return maybeDeferred(add, self._second_factors, factor.subject, factor, "second factor")

    def find_second_factor(self, subject: str) -> Deferred[SecondFactor | None]:
        return succeed(self._second_factors.get(subject))

    def seal_again(self, subject: str, sealed: bytes, instead_of: bytes) -> Deferred[None]:
        factor = self._second_factors.get(subject)
        if factor is not None and factor.sealed == instead_of:
            self._second_factors[subject] = attrs.evolve(factor, sealed=sealed)
        return succeed(None)

    def use_time_step(self, subject: str, step: int) -> Deferred[bool]:
        factor = self._second_factors.get(subject)
        if factor is None or step <= factor.last_step:
            return succeed(False)
        self._second_factors[subject] = attrs.evolve(factor, last_step=step)
        return succeed(True)

    def use_recovery_code(self, subject: str, digest: bytes) -> Deferred[bool]:
        factor = self._second_factors.get(subject)
        if factor is None or digest not in factor.recovery_digests:
            return succeed(False)
        left = factor.recovery_digests - {digest}
        self._second_factors[subject] = attrs.evolve(factor, recovery_digests=left)
        return succeed(True)

    def remove_second_factor(self, subject: str) -> Deferred[bool]:
        return succeed(self._second_factors.pop(subject, None) is not None)
