"""What `growth.py` measures beside: users, clients and grants as of years of use, put into a store.

Nobody knows their codes, tokens and passwords: digests are made of their numbers. They rise in the order
in which rows are written, and indexes are made last, so that a store takes them as fast as it can. Its
indexes are then as full as after they were built anew, not as after years of change.
"""

import csv
import hashlib
import json
import sqlite3
import struct
import tempfile
from itertools import islice
from math import gcd
from typing import NamedTuple

import sqlalchemy as sa
from attrs import frozen

from djoauth2_twisted.credentials import hash_password, random_string
from djoauth2_twisted.stores.sql import schema
from djoauth2_twisted.stores.urls import from_url

DAY = 86400

#: A grant ends so long after its last use.
LIFETIME = 30 * DAY

#: The scope that one grant in a hundred has, beside the one that all have.
SCOPE, RARE = "user_info", "rare"

#: Rows that are written at once.
PART = 100_000

PROFILE = json.dumps({"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"})
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


def _parts(rows):
    """The rows in lists of so many."""
    rows = iter(rows)
    while part := list(islice(rows, PART)):
        yield part


# SQL.


def _users(size):
    password_hash = hash_password(random_string(30))
    for number in range(size.users):
        name = username(number)
        yield {
            "username": name,
            "password_hash": password_hash,
            "email": f"{name}@example.com",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "admin": False,
            "disabled": False,
        }


def _clients(size):
    for number in range(size.clients):
        yield _client(client_id(number), f"Application {number}")
    yield _client(OF_BEFORE, "Application of before")


def _client(id, name):
    return {
        "client_id": id,
        "name": name,
        "secret_digest": hashlib.sha256(id.encode()).digest(),
        "description": "",
        "image_url": "",
        "redirect_uris": json.dumps([REDIRECT_URI]),
        "scopes": None,
        "resource_server": False,
        "disabled": False,
    }


def _grant(row):
    return {
        "id": row.id,
        "client_id": row.client,
        "username": row.user,
        "profile": PROFILE,
        "scopes": row.scopes,
        "created": row.created,
        "last_used": row.last_used,
        "expires": row.expires,
        "code_digest": row.code,
        "code_expires": row.created + 600,
        "redirect_uri": REDIRECT_URI,
        "code_used": True,
        "revoked": False,
        "family_digest": row.family,
    }


def _token(access, refresh, row, rotated=False):
    return {
        "access_digest": access,
        "access_expires": row.last_used + 3600,
        "refresh_digest": refresh,
        "refresh_expires": row.expires,
        "grant_id": row.id,
        "scopes": row.scopes,
        "issued": row.last_used,
        "access_revoked": False,
        "rotated": rotated,
    }


def _tokens(bulk):
    return (_token(*pair) for pair in bulk.pairs())


def _tokens_of_before(bulk):
    for row in bulk.before():
        for place, pair in enumerate(bulk.used(row)):
            yield _token(*pair, row, rotated=place > 0)


def load_sql(url, bulk, tokens=True):
    """Fill an SQL database that is prepared and empty. Blocks.

    :param tokens: whether grants and tokens are kept there, too.
    """
    load = _LOADS[sa.make_url(url).get_backend_name()]
    tables = [(schema.user, [_users(bulk.size)]), (schema.client, [_clients(bulk.size)])]
    if tokens:
        tables += [
            (schema.grant, [map(_grant, bulk.grants()), map(_grant, bulk.before())]),
            (schema.token, [_tokens(bulk), _tokens_of_before(bulk)]),
        ]
    engine = engine_of(url)
    try:
        for table, parts in tables:
            with engine.connect() as connection:
                for index in table.indexes:
                    index.drop(connection)
                for rows in parts:
                    load(connection, table.name, rows)
                # The sorting of many rows takes longer than a server may wait for a lock.
                for index in table.indexes:
                    index.create(connection)
        with engine.connect() as connection:
            for name, _ in tables:
                _settle(connection, name.name)
    finally:
        engine.dispose()


def engine_of(url):
    """SQLAlchemy's engine of a store's URL, with the drivers that the store uses, and no deadline."""
    url = sa.make_url(url)
    options = {}
    match url.get_backend_name():
        case "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        case "mysql" | "mariadb":
            url = url.set(drivername="mysql+pymysql")
            options["connect_args"] = {"local_infile": True, "charset": "utf8mb4"}
        case "sqlite":
            options["connect_args"] = {"isolation_level": None}
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool, **options)
    if url.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _hurry)
    return engine


def _hurry(connection, _):
    # What is lost by a crash is written anew.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-500000", "temp_store=FILE"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _settle(connection, table):
    """Have noted what the engine notes by itself in time."""
    match connection.dialect.name:
        case "postgresql":
            connection.exec_driver_sql(f"VACUUM ANALYZE {table}")
        case "mysql" | "mariadb":
            connection.exec_driver_sql(f"ANALYZE TABLE {table}").all()


def _load_sqlite(connection, table, rows):
    raw: sqlite3.Connection = connection.connection.driver_connection
    for part in _parts(rows):
        names = list(part[0])
        places = ", ".join("?" * len(names))
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"
        raw.execute("BEGIN")
        raw.executemany(statement, [tuple(row.values()) for row in part])
        raw.execute("COMMIT")


def _load_postgresql(connection, table, rows):
    raw = connection.connection.driver_connection
    for part in _parts(rows):
        with (
            raw.cursor() as cursor,
            cursor.copy(f"COPY {table} ({', '.join(part[0])}) FROM STDIN") as copy,
        ):
            for row in part:
                copy.write_row(tuple(row.values()))


def _load_mariadb(connection, table, rows):
    connection.exec_driver_sql("SET SESSION unique_checks=0, foreign_key_checks=0")
    for part in _parts(rows):
        # Bytes go as hexadecimal digits, since they are no text.
        binary = [name for name, value in part[0].items() if isinstance(value, bytes) or value is None]
        columns = ", ".join(f"@{name}" if name in binary else name for name in part[0])
        sets = ", ".join(f"{name} = UNHEX(@{name})" for name in binary)
        with tempfile.NamedTemporaryFile("w", newline="", suffix=".csv") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerows([_as_text(value) for value in row.values()] for row in part)
            file.flush()
            connection.exec_driver_sql(
                f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE {table} CHARACTER SET utf8mb4 "
                f"FIELDS TERMINATED BY ',' ENCLOSED BY '\"' ESCAPED BY '' "
                f"({columns}){' SET ' + sets if sets else ''}"
            )


def _as_text(value):
    match value:
        case None:
            return "NULL"
        case bytes():
            return value.hex()
        case bool():
            return int(value)
        case _:
            return value


_LOADS = {
    "sqlite": _load_sqlite,
    "postgresql": _load_postgresql,
    "mysql": _load_mariadb,
    "mariadb": _load_mariadb,
}


async def load(reactor, url, token_store, bulk):
    """Prepare an empty database, and fill it; tokens go into the token store where one is named."""
    opened, _, _ = from_url(reactor, url)
    opened.open(prepare=True)
    await opened.close()
    load_sql(url, bulk, tokens=not token_store)
