"""Fills Redis for `growth.py`.

The store makes one grant. The others are copies of its keys, with their own names, digests and times.
Access tokens are left out, because they have expired and Redis has deleted them. Of an expired grant
only the entries in the sorted sets are left.
"""

import re
import socket
from urllib.parse import urlsplit

import hiredis
from attrs import frozen
from growth_sizes import RARE, REDIRECT_URI, SCOPE, Row, batches, username

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.models import CodeProof, Grant, Issuance, Issued, ResourceOwner
from djoauth2_twisted.stores.urls import from_url

_USED = 1_500_000_003
_FIRST_DIGESTS = {name: bytes([0xC0 + index]) * 32 for index, name in enumerate(("access", "refresh"))}

#: The grant that is copied. Each value is as long as those of the copies, and occurs nowhere else.
_FIRST = Row(
    id="I" * 30,
    client="C" * 30,
    user="U" * len(username(0)),
    scopes=SCOPE,
    created=1_500_000_001,
    last_used=_USED,
    expires=_USED + 86400,
    code=b"\xc2" * 32,
    family=b"\xc3" * 32,
)


class Raw:
    """A blocking connection."""

    def __init__(self, url):
        split = urlsplit(url)
        self._socket = socket.create_connection((split.hostname, split.port or 6379))
        self._reader = hiredis.Reader()
        if split.password:
            self.ask("AUTH", *filter(None, (split.username, split.password)))
        self.ask("SELECT", split.path.strip("/") or "0")

    def ask(self, *words):
        """The answer to one command."""
        (answer,) = self.send([pack(*words)])
        return answer

    def send(self, commands):
        """The answers to packed commands."""
        self._socket.sendall(b"".join(commands))
        answers = []
        while len(answers) < len(commands):
            self._reader.feed(self._socket.recv(2**16))
            while (answer := self._reader.gets()) is not False:
                if isinstance(answer, Exception):
                    raise answer
                answers.append(answer)
        return answers

    def close(self):
        """Close the connection."""
        self._socket.close()


def pack(*words):
    """A command in the protocol of Redis."""
    return hiredis.pack_command(tuple(words))


def _values(row, access, refresh):
    """The values in which two grants differ, in a fixed order."""
    values = [row.id, row.client, _short(row.client), row.user, _short(row.user)]
    values += [row.code.hex(), (row.family or b"").hex(), access.hex(), refresh.hex()]
    values += [str(row.created), str(row.last_used), str(row.expires)]
    return [value.encode("ascii") for value in values]


def _short(name):
    return digest(name).hex()[:32]


_MARKS = _values(_FIRST, **_FIRST_DIGESTS)
_CUT = re.compile(b"(" + b"|".join(map(re.escape, _MARKS)) + b")")


@frozen
class Shape:
    """The commands that make a grant, split at the values in which grants differ."""

    pieces: list[list[bytes]]

    @classmethod
    def of(cls, commands):
        """The shape of the commands that make the first grant."""
        return cls([_CUT.split(pack(*command)) for command in commands])

    def made(self, row, access, refresh):
        """The commands that make another grant."""
        values = dict(zip(_MARKS, _values(row, access, refresh), strict=True))
        return [b"".join([values.get(piece, piece) for piece in pieces]) for pieces in self.pieces]


async def _make_first(tokens, scopes, family):
    """Make the first grant through the store, and exchange its code."""
    owner = ResourceOwner(_FIRST.user, "Ada", "Lovelace", "ada@example.com")
    grant = Grant(
        id=_FIRST.id,
        client_id=_FIRST.client,
        owner=owner,
        scopes=scopes,
        created=_FIRST.created,
        last_used=_FIRST.created,
        expires=_FIRST.created + 600,
        code_digest=_FIRST.code,
        code_expires=_FIRST.created + 600,
        redirect_uri=REDIRECT_URI,
        code_challenge=None,
    )
    issuance = Issuance(
        now=_FIRST.last_used,
        access_digest=_FIRST_DIGESTS["access"],
        access_expires=_FIRST.last_used + 3600,
        refresh_digest=_FIRST_DIGESTS["refresh"],
        refresh_expires=_FIRST.expires,
        family_digest=family,
    )
    assert await tokens.add_code(grant)
    proof = CodeProof(_FIRST.client, REDIRECT_URI, None)
    assert isinstance(await tokens.redeem_code(_FIRST.code, proof, issuance), Issued)


def _read_first(raw):
    """The commands that make the first grant again. The grant is removed."""
    kept = str(_FIRST.expires) + "000"
    commands = []
    for key in raw.ask("KEYS", "*"):
        if raw.ask("TYPE", key) == b"zset":
            scores = iter(raw.ask("ZRANGE", key, 0, -1, "WITHSCORES"))
            commands += [
                ("ZADD", key, score, member) for member, score in zip(scores, scores, strict=True)
            ]
        elif _FIRST_DIGESTS["access"].hex().encode() not in key:
            commands.append(("SET", key, raw.ask("GET", key), "PXAT", kept))
    raw.ask("FLUSHDB")
    return commands


async def _shapes(tokens, raw):
    """The commands for a grant with one scope, with both scopes, and without a family."""
    found = []
    for scopes, family in (((SCOPE,), _FIRST.family), ((SCOPE, RARE), _FIRST.family), ((SCOPE,), None)):
        await _make_first(tokens, scopes, family)
        found.append(_read_first(raw))
    return found


def _used_pair(commands):
    """The commands for a used pair of a grant without a family, made from those for its current pair."""
    refresh = _FIRST_DIGESTS["refresh"].hex().encode()
    ((_, key, pair, _, kept),) = [
        command for command in commands if command[1].endswith(b"r:" + refresh)
    ]
    prefix = key.partition(b"r:")[0]
    used = pair.replace(b'"rotated": false', b'"rotated": true')
    assert used != pair
    belongings = prefix + b"t:" + _FIRST.id.encode()
    return [("SET", key, used, "PXAT", kept), ("ZADD", belongings, str(_FIRST.expires), key)]


async def load(reactor, url, bulk):
    """Fill an empty Redis database."""
    opened, _, tokens = from_url(reactor, "sqlite://", url)
    opened.open(prepare=True)
    await opened.connect()
    raw = Raw(url)
    try:
        assert not raw.ask("DBSIZE"), "this Redis is not empty"
        usual, rare, before = await _shapes(tokens, raw)
        _load_grants(raw, bulk, Shape.of(usual), Shape.of(rare), _expired_shape(usual))
        shape, used = Shape.of(before), Shape.of(_used_pair(before))
        for row in bulk.before():
            (access, refresh), *others = bulk.used(row)
            commands = shape.made(row, access, refresh)
            for pair in others:
                commands += used.made(row, *pair)
            raw.send(commands)
    finally:
        raw.close()
        await opened.close()


def _expired_shape(commands):
    """The shape of an expired grant, of which only the entries in sorted sets are left."""
    return Shape.of([command for command in commands if command[0] == "ZADD"])


def _load_grants(raw, bulk, usual, rare, expired):
    for batch in batches(bulk.pairs()):
        commands = []
        for access, refresh, row in batch:
            shape = expired if row.expires <= bulk.now else usual if row.scopes == SCOPE else rare
            commands += shape.made(row, access, refresh)
        raw.send(commands)


def size(url):
    """The memory that Redis uses, in bytes."""
    raw = Raw(url)
    try:
        return int(re.search(rb"used_memory:(\d+)", raw.ask("INFO", "memory"))[1])
    finally:
        raw.close()
