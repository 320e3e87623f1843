"""Fills an SQL database for `growth.py`. Rows are written in order, and indexes are made last."""

import csv
import hashlib
import json
import sqlite3
import tempfile

import sqlalchemy as sa
from growth_sizes import OF_BEFORE, REDIRECT_URI, batches, client_id, username

from djoauth2_twisted.credentials import hash_password, random_string
from djoauth2_twisted.stores.sql import schema
from djoauth2_twisted.stores.urls import from_url

PROFILE = json.dumps({"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"})


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
        for number, pair in enumerate(bulk.used(row)):
            yield _token(*pair, row, rotated=number > 0)


def load(url, bulk, tokens=True):
    """Fill an empty SQL database that has its tables. It blocks.

    :param tokens: whether the database also has the grants and tokens.
    """
    load = _LOADS[sa.make_url(url).get_backend_name()]
    fill = [(schema.user, [_users(bulk.size)]), (schema.client, [_clients(bulk.size)])]
    if tokens:
        fill += [
            (schema.grant, [map(_grant, bulk.grants()), map(_grant, bulk.before())]),
            (schema.token, [_tokens(bulk), _tokens_of_before(bulk)]),
        ]
    engine = engine_of(url)
    try:
        for table, sources in fill:
            with engine.connect() as connection:
                for index in table.indexes:
                    index.drop(connection)
                for rows in sources:
                    load(connection, table.name, rows)
                # `engine_of` sets no deadline: it takes long to sort so many rows.
                for index in table.indexes:
                    index.create(connection)
        with engine.connect() as connection:
            for table, _ in fill:
                _analyze(connection, table.name)
    finally:
        engine.dispose()


def engine_of(url):
    """An SQLAlchemy engine for a store's URL, with the store's driver, but without a deadline."""
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
        sa.event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection, _):
    # Safety is not needed: after a crash the database is filled again.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-500000", "temp_store=FILE"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _analyze(connection, table):
    """Update the statistics of the database, which it would otherwise update later by itself."""
    match connection.dialect.name:
        case "postgresql":
            connection.exec_driver_sql(f"VACUUM ANALYZE {table}")
        case "mysql" | "mariadb":
            connection.exec_driver_sql(f"ANALYZE TABLE {table}").all()


def _load_sqlite(connection, table, rows):
    raw: sqlite3.Connection = connection.connection.driver_connection
    for batch in batches(rows):
        names = list(batch[0])
        markers = ", ".join("?" * len(names))
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({markers})"
        raw.execute("BEGIN")
        raw.executemany(statement, [tuple(row.values()) for row in batch])
        raw.execute("COMMIT")


def _load_postgresql(connection, table, rows):
    raw = connection.connection.driver_connection
    for batch in batches(rows):
        with (
            raw.cursor() as cursor,
            cursor.copy(f"COPY {table} ({', '.join(batch[0])}) FROM STDIN") as copy,
        ):
            for row in batch:
                copy.write_row(tuple(row.values()))


def _load_mariadb(connection, table, rows):
    connection.exec_driver_sql("SET SESSION unique_checks=0, foreign_key_checks=0")
    for batch in batches(rows):
        # Bytes are written as hexadecimal digits, because they are not text.
        binary = [name for name, value in batch[0].items() if isinstance(value, bytes) or value is None]
        columns = ", ".join(f"@{name}" if name in binary else name for name in batch[0])
        sets = ", ".join(f"{name} = UNHEX(@{name})" for name in binary)
        with tempfile.NamedTemporaryFile("w", newline="", suffix=".csv") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerows([_as_text(value) for value in row.values()] for row in batch)
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


def prepare(reactor, url):
    """Make the tables. It blocks, and returns a Deferred that fires when the database is closed."""
    opened, _, _ = from_url(reactor, url)
    opened.open(prepare=True)
    return opened.close()
