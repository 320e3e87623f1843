"""The bulk data of `growth.py`: users, clients and grants as after years of use.

Their codes, tokens and passwords do not exist: each digest is made from the number of its row. Digests
ascend in the order of the rows, and indexes are made last, so that a store loads them fast. The indexes
are then as dense as after a rebuild, not as after years of changes.
"""

import hashlib
import struct
from itertools import islice
from math import gcd
from typing import NamedTuple

from attrs import frozen

DAY = 86400

#: How long after its last use a grant expires, in seconds.
LIFETIME = 30 * DAY

#: The scope that all grants have, and a second one that one grant in a hundred has.
SCOPE, RARE = "user_info", "rare"

#: How many rows are written at once.
BATCH_SIZE = 50_000

REDIRECT_URI = "https://app.example/callback"


def client_id(number):
    """The id of a client. The first one has a tenth of all grants, and the others share the rest."""
    return f"client{number:024}"


#: The client whose grants have used tokens, in the old layout without families.
OF_BEFORE = "clientofbefore" + "0" * 16


def username(number):
    """The name of a user."""
    return f"user{number:07}"


@frozen
class Size:
    """The numbers of rows. One grant in a hundred has expired within a day, as happens each day.

    :param before: how many more grants have used tokens, in the old layout without families.
    :param used: how many used tokens each of these grants has.
    """

    users: int
    clients: int
    grants: int
    before: int
    used: int


class Row(NamedTuple):
    """One grant."""

    id: str
    client: str
    user: str
    scopes: str
    created: int
    last_used: int
    expires: int
    code: bytes
    family: bytes | None


@frozen
class Bulk:
    """The bulk data. Each grant is made from its number.

    :param now: in seconds since the epoch.
    """

    size: Size
    now: int

    def grant(self, number):
        """The grant with a number. Ids and code digests ascend with the numbers."""
        size, now = self.size, self.now
        drawn = _drawn(number, b"grant")
        user, client, rare, expired, age, left = _NUMBERS(drawn)
        # It has expired within a day, or expires within 99 days: one in a hundred expires each day.
        expires = now + 60 + left % (99 * DAY) if expired % 100 else now - left % DAY
        last_used = min(expires - LIFETIME, now)
        rising = _rising(number, size.grants)
        return Row(
            id=rising.hex() + drawn[24:35].hex(),
            client=client_id(1 + client // 10 % (size.clients - 1) if client % 10 else 0),
            user=username(user % size.users),
            scopes=SCOPE if rare % 100 else f"{SCOPE} {RARE}",
            created=last_used - age % (365 * DAY),
            last_used=last_used,
            expires=expires,
            code=rising + drawn[35:63],
            family=drawn[63:] + drawn[:31],
        )

    def grants(self):
        """All grants, in the order of their ids."""
        return map(self.grant, range(self.size.grants))

    def pairs(self):
        """Digests of an access and a refresh token and their grant, in the order of the digests."""
        grants = self.size.grants
        stride = _stride(grants)
        for position in range(grants):
            rising, drawn = _rising(position, grants), _drawn(position, b"token")
            # Neighbouring tokens belong to distant grants.
            yield rising + drawn[:28], rising + drawn[28:56], self.grant(position * stride % grants)

    def before(self):
        """Valid grants in the old layout without families. They have used tokens: see `used`."""
        for number in range(self.size.before):
            drawn = _drawn(number, b"before")
            yield Row(
                id=drawn[:15].hex(),
                client=OF_BEFORE,
                user=username(number % self.size.users),
                scopes=SCOPE,
                created=self.now - LIFETIME,
                last_used=self.now - 3600,
                expires=self.now - 3600 + LIFETIME,
                code=drawn[32:],
                family=None,
            )

    def used(self, grant):
        """The digests of all token pairs of a grant of `before`. All but the first pair are used."""
        for number in range(self.size.used + 1):
            drawn = _drawn(number, grant.code[:16])
            yield drawn[:32], drawn[32:]


_NUMBERS = struct.Struct(">6I").unpack_from


def _drawn(number, kind):
    """64 bytes that look random."""
    return hashlib.blake2b(number.to_bytes(8, "big"), person=kind).digest()


def _rising(position, count):
    """Four bytes that ascend from 0 towards 2^32 - 1 with a position."""
    return (position * (2**32 - 1) // count).to_bytes(4, "big")


def _stride(count):
    """A number of about 0.6 of the count, and coprime to it. So it spreads neighbours far apart."""
    stride = max(count * 6 // 10, 1)
    while gcd(stride, count) != 1:
        stride += 1
    return stride


def batches(rows):
    """The rows in lists of `BATCH_SIZE`."""
    rows = iter(rows)
    while batch := list(islice(rows, BATCH_SIZE)):
        yield batch
