"""The contract for the second factors of users; a part of `IRegistry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from ..models import SecondFactor


class ISecondFactors(Interface):
    """Keeps the second factors of users. `IUsers.delete_user` also deletes the user's."""

    def add_second_factor(factor: SecondFactor) -> Deferred[None]:
        """Keep a new second factor. Fails with `AlreadyExists` where the subject has one."""

    def find_second_factor(subject: str) -> Deferred[SecondFactor | None]:
        """The second factor of a subject."""

    def seal_again(subject: str, sealed: bytes, instead_of: bytes) -> Deferred[None]:
        """Replace the sealed secrets of a subject, if they are still those of ``instead_of``."""

    def use_time_step(subject: str, step: int) -> Deferred[bool]:
        """Make a time step the last one, and say whether it is later than the last one was.

        RFC 6238, section 5.2: "The verifier MUST NOT accept the second attempt of the OTP after the
        successful validation has been issued for the first OTP".
        """

    def use_recovery_code(subject: str, digest: bytes) -> Deferred[bool]:
        """Delete a recovery code, and say whether there was one with this digest."""

    def remove_second_factor(subject: str) -> Deferred[bool]:
        """Delete the second factor and the recovery codes of a subject, and say whether there were."""
