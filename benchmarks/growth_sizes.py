"""What `growth.py` measures beside: users, clients and grants as of years of use, put into a store.

Nobody knows their codes, tokens and passwords: digests are made of their numbers. They rise in the order
in which rows are written, and indexes are made last, so that a store takes them as fast as it can. Its
indexes are then as full as after they were built anew, not as after years of change.
"""

import hashlib
import struct
from itertools import islice
from math import gcd
from typing import NamedTuple

from attrs import frozen

DAY = 86400

#: A grant ends so long after its last use.
LIFETIME = 30 * DAY

#: The scope that one grant in a hundred has, beside the one that all have.
SCOPE, RARE = "user_info", "rare"

#: Rows that are written at once.
PART = 50_000

REDIRECT_URI = "https://app.example/callback"


def client_id(number):
    """The id of a client. The first has a tenth of all grants, the others share the rest."""
    return f"client{number:024}"


#: The client whose grants have used tokens, in the layout of before there were families.
OF_BEFORE = "clientofbefore" + "0" * 16


def username(number):
    """The name of a user."""
    return f"user{number:07}"


@frozen
class Size:
    """How much there is. One grant in a hundred is over since yesterday, as one in a hundred a day is.

    :param before: grants with used tokens, beside the others.
    :param used: how many used tokens each of those has.
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
    """All of it, each grant made of its number.

    :param now: in seconds since the epoch.
    """

    size: Size
    now: int

    def grant(self, number):
        """The grant of a number, with which its id and code rise."""
        size, now = self.size, self.now
        drawn = _drawn(number, b"grant")
        user, client, rare, over, age, left = _NUMBERS(drawn)
        # Over since yesterday, or good for up to 99 days more: so one in a hundred ends each day.
        expires = now + 60 + left % (99 * DAY) if over % 100 else now - left % DAY
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
        """All, in the order of their ids."""
        return map(self.grant, range(self.size.grants))

    def pairs(self):
        """Digests of an access and a refresh token, and the grant: all, in the order of the digests."""
        grants = self.size.grants
        stride = _stride(grants)
        for place in range(grants):
            rising, drawn = _rising(place, grants), _drawn(place, b"token")
            # Neighbours are of grants that lie far apart.
            yield rising + drawn[:28], rising + drawn[28:56], self.grant(place * stride % grants)

    def before(self):
        """Grants of before there were families; they are good, and have used tokens: see `used`."""
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
        """Pairs of digests of the used tokens of a grant of before; the first are of the live pair."""
        for number in range(self.size.used + 1):
            drawn = _drawn(number, grant.code[:16])
            yield drawn[:32], drawn[32:]


_NUMBERS = struct.Struct(">6I").unpack_from


def _drawn(number, kind):
    """64 bytes that look random."""
    return hashlib.blake2b(number.to_bytes(8, "big"), person=kind).digest()


def _rising(place, of):
    """Four bytes that rise from nothing to the highest."""
    return (place * (2**32 - 1) // of).to_bytes(4, "big")


def _stride(of):
    """A number without a divisor in common, about 0.6 of it: so neighbours come to lie far apart."""
    stride = max(of * 6 // 10, 1)
    while gcd(stride, of) != 1:
        stride += 1
    return stride


def parts(rows):
    """The rows in lists of so many."""
    rows = iter(rows)
    while part := list(islice(rows, PART)):
        yield part
