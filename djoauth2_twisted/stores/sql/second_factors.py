"""`ISecondFactors` on SQL: ``djoauth2_second_factor`` and ``djoauth2_recovery_code``."""

from __future__ import annotations

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import ISecondFactors
from ...models import SecondFactor
from . import schema, statements
from .database import OnDatabase


@implementer(ISecondFactors)
class SQLSecondFactors(OnDatabase):
    """The second factors. Each verb is one step; the steps are the functions below the class."""

    def add_second_factor(self, factor: SecondFactor) -> Deferred[None]:
        return self.database.write(_add, factor, key=factor.subject)

    def find_second_factor(self, subject: str) -> Deferred[SecondFactor | None]:
        return self.database.read(_find, subject)

    def seal_again(self, subject: str, sealed: bytes, instead_of: bytes) -> Deferred[None]:
        return self.database.write(_seal_again, subject, sealed, instead_of, key=subject)

    def use_time_step(self, subject: str, step: int) -> Deferred[bool]:
        return self.database.write(_use_time_step, subject, step, key=subject)

    def use_recovery_code(self, subject: str, digest: bytes) -> Deferred[bool]:
        return self.database.write(_use_recovery_code, subject, digest, key=subject)

    def remove_second_factor(self, subject: str) -> Deferred[bool]:
        return self.database.write(remove, subject, key=subject)


_factor = schema.second_factor
_code = schema.recovery_code


def _add(connection: sa.Connection, factor: SecondFactor) -> None:
    row = statements.row_of(factor, ("subject", "sealed", "created", "last_step"))
    statements.insert(connection, _factor, row)
    # In one order, so that two steps never wait for each other.
    for digest in sorted(factor.recovery_digests):
        statements.insert(connection, _code, {"subject": factor.subject, "digest": digest})


def _find(connection: sa.Connection, subject: str) -> SecondFactor | None:
    row = connection.execute(sa.select(_factor).where(_factor.c.subject == subject)).first()
    if row is None:
        return None
    digests = connection.scalars(sa.select(_code.c.digest).where(_code.c.subject == subject))
    return SecondFactor(**row._mapping, recovery_digests=frozenset(digests))


def _seal_again(connection: sa.Connection, subject: str, sealed: bytes, instead_of: bytes) -> None:
    same = sa.update(_factor).where(_factor.c.subject == subject, _factor.c.sealed == instead_of)
    connection.execute(same.values(sealed=sealed))


def _use_time_step(connection: sa.Connection, subject: str, step: int) -> bool:
    # Of two transactions, the second one waits for the row and then finds the step of the first.
    later = sa.update(_factor).where(_factor.c.subject == subject, _factor.c.last_step < step)
    return connection.execute(later.values(last_step=step)).rowcount == 1


def _use_recovery_code(connection: sa.Connection, subject: str, digest: bytes) -> bool:
    left = sa.delete(_code).where(_code.c.subject == subject, _code.c.digest == digest)
    return connection.execute(left).rowcount == 1


def remove(connection: sa.Connection, subject: str) -> bool:
    """Delete the second factor of a subject; see `ISecondFactors.remove_second_factor`."""
    removed = connection.execute(sa.delete(_factor).where(_factor.c.subject == subject))
    connection.execute(sa.delete(_code).where(_code.c.subject == subject))
    return removed.rowcount == 1
