"""What an operator's URL and environment may say about connections to a database server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
import servers
import sqlalchemy as sa
from database_kit import SECRET, one_line
from servers import MARIADB, POSTGRESQL, WITH_MARIADB, WITH_POSTGRESQL, made
from twisted.internet import reactor as the_reactor

from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.stores.sql import schema
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.engines import engine_of
from djoauth2_twisted.stores.sql.engines.server import DatabaseServer

reactor: Any = the_reactor

PG = "postgresql://user@host/name"
MYSQL = "mysql://user@host/name"


def server_of(url: str) -> DatabaseServer:
    engine = engine_of(url)
    assert isinstance(engine, DatabaseServer)
    return engine


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://svc:a@{SECRET}@host/db",
        f"mysql://svc:a@{SECRET}@host/db",
        f"postgresql://svc:a@host/{SECRET}@host/db",
        f"postgresql://svc:a?{SECRET}@b@host/db",
        f"postgresql://svc:a@b?{SECRET}@host/db",
        f"mysql://svc:p@ss:{SECRET}@host/db",
    ],
)
def test_an_at_sign_in_a_password_is_to_be_encoded(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        engine_of(url)
    assert "%40" in one_line(raised)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["postgresql://u:p%40a%3Ab%2F@host/db", "mysql://u:p%40a%3Ab%2F@host/db"]
)
def test_an_encoded_password_is_read_whole(url: str) -> None:
    assert server_of(url).url.password == "p@a:b/"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (f"{PG}?nonsense=1", "nonsense"),
        (f"{PG}?connect_timeout=10", "connect_timeout"),
        (f"{PG}?client_encoding=latin1", "client_encoding"),
        (f"{PG}?keepalives_idle=100", "keepalives_idle"),
        (f"{PG}?autocommit=1", "autocommit"),
        (f"{PG}?row_factory=x", "row_factory"),
        (f"{PG}?service=x", "service"),
        (f"{PG}?options=-ca%3D1&options=-cb%3D2", "options"),
        (f"{PG}?options=-cstatement_timeout%3D0", "statement_timeout"),
        (f"{PG}?options=-c%20search_path%3Da%20--Lock-Timeout%3D0", "lock_timeout"),
        (f"{PG}?options=-c%20client_encoding%3Dlatin1", "client_encoding"),
        (f"{MYSQL}?nonsense=1", "nonsense"),
        (f"{MYSQL}?charset=latin1", "charset"),
        (f"{MYSQL}?init_command=SET%20x%3D1", "init_command"),
        (f"{MYSQL}?sql_mode=ANSI", "sql_mode"),
        (f"{MYSQL}?read_timeout=60", "read_timeout"),
        (f"{MYSQL}?client_flag=1", "client_flag"),
        (f"{MYSQL}?password=x", "password"),
        (f"{MYSQL}?compress=true", "compress"),
        (f"{MYSQL}?ssl_ca=a&ssl_ca=b", "ssl_ca"),
    ],
)
def test_an_option_that_cannot_be_joined_with_ours_is_refused_by_name(url: str, name: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        engine_of(url)
    assert repr(name) in one_line(raised)


def test_an_option_that_is_no_value_of_its_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError) as raised:
        engine_of(f"{MYSQL}?ssl_check_hostname={SECRET}")
    assert SECRET not in one_line(raised)


def test_what_we_do_anyway_may_be_said() -> None:
    assert server_of(f"{MYSQL}?charset=utf8mb4").url.query == {}
    assert server_of(f"{PG}?client_encoding=UTF8").url.query == {}
    kept = server_of(f"{PG}?sslmode=require&application_name=a&host=x%3A1&host=y%3A2").url.query
    assert kept == {"sslmode": "require", "application_name": "a", "host": ("x:1", "y:2")}


def test_options_are_joined_with_our_deadlines() -> None:
    server = server_of(f"{PG}?options=-csearch_path%3Dauth")
    assert server.patient["options"] == "-csearch_path=auth"
    ours = "-c statement_timeout=1000 -c lock_timeout=1000"
    assert server.deadlines["options"] == f"-csearch_path=auth {ours}"
    assert server_of(PG).deadlines["options"] == ours


def test_options_of_the_environment_are_joined_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's library takes them only for connections without options of their own."""
    monkeypatch.setenv("PGOPTIONS", "-c search_path=auth")
    server = server_of(PG)
    assert server.patient["options"] == "-c search_path=auth"
    assert server.deadlines["options"].startswith("-c search_path=auth -c statement_timeout")
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=0")
    with pytest.raises(ConfigurationError, match="lock_timeout"):
        server_of(PG)


def test_databases_behind_different_options_are_not_the_same() -> None:
    """Two schemas of one database, or two sockets."""
    locations = {
        engine_of(url).location
        for url in (PG, f"{PG}?options=-csearch_path%3Da", f"{PG}?host=/run/a", f"{PG}?host=/run/b")
    }
    assert len(locations) == 4


@pytest.mark.parametrize("error", [TypeError, ValueError, OSError, NotImplementedError])
@pytest.mark.parametrize("url", [f"postgresql://u:{SECRET}@host/db", f"mysql://u:{SECRET}@host/db"])
def test_whatever_the_driver_raises_is_a_line_without_the_password(
    monkeypatch: pytest.MonkeyPatch, url: str, error: type[Exception]
) -> None:
    database = Database(reactor, url)
    module = "psycopg" if url.startswith("postgresql") else "pymysql"

    def connect(**arguments: object) -> None:
        raise error(f"not understood: {arguments['password']!r} {SECRET}\nmore")

    monkeypatch.setattr(f"{module}.connect", connect)
    with pytest.raises(ConfigurationError) as raised:
        database.open()
    assert "not understood" in one_line(raised)
    assert SECRET not in str(raised.value)
    with pytest.raises(ConfigurationError):
        database.version()


def test_a_letter_that_a_driver_cannot_encode_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(reactor, MYSQL)
    monkeypatch.setattr("pymysql.connect", lambda **_: "\u20ac".encode("latin-1"))
    with pytest.raises(ConfigurationError) as raised:
        database.open()
    assert one_line(raised).endswith("cannot be used: UnicodeEncodeError")


def test_no_secret_is_in_the_representation() -> None:
    assert SECRET not in repr(server_of(f"mysql://u:{SECRET}@host/db"))


# On real servers.


@contextmanager
def administered(server: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty database that is not prepared."""
    with made({"postgresql": POSTGRESQL, "mariadb": MARIADB}[request.param]) as url:
        yield sa.make_url(url)


@pytest.mark.parametrize("database_url", [WITH_MARIADB], indirect=True)
@pytest.mark.parametrize("password", ["pä\u20acß", "a@b:c/d?e#f%40", "\U0001f511 "])
async def test_a_password_of_any_letters(database_url: sa.URL, password: str) -> None:
    quoted = password.replace("%", "%%")
    # The user has the name of the database: other workers make users at the same time.
    user = f"{database_url.database}@'127.0.0.1'"
    with administered(database_url.render_as_string(hide_password=False)) as connection:
        connection.exec_driver_sql(f"CREATE USER {user} IDENTIFIED BY '{quoted}'")
        connection.exec_driver_sql(f"GRANT ALL ON {database_url.database}.* TO {user}")
        login = f"{database_url.database}:{quote(password, safe='')}"
        url = f"mysql://{login}@127.0.0.1:{database_url.port}/{database_url.database}"
        try:
            await servers.prepare_now(url)
            assert Database(reactor, url).version() == schema.HEAD
        finally:
            connection.exec_driver_sql(f"DROP USER {user}")


@pytest.mark.parametrize("database_url", [WITH_POSTGRESQL], indirect=True)
@pytest.mark.parametrize("how", ["url", "environment"])
async def test_every_connection_obeys_the_operators_search_path(
    database_url: sa.URL, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema is filled where the server looks."""
    url = plain = database_url.render_as_string(hide_password=False)
    with administered(plain) as connection:
        connection.exec_driver_sql("CREATE SCHEMA auth")
    if how == "url":
        url = f"{plain}?options=-csearch_path%3Dauth"
    else:
        monkeypatch.setenv("PGOPTIONS", "-c search_path=auth")
    await servers.prepare_now(url)
    database = Database(reactor, url)
    assert database.version() == schema.HEAD
    database.open()
    for ask in (database.read, lambda step: database.write(step, key="")):
        assert await ask(lambda connection: connection.scalar(sa.text("SHOW search_path"))) == "auth"
    await database.close()
    monkeypatch.delenv("PGOPTIONS", raising=False)
    with administered(plain) as connection:
        found = sa.inspect(connection)
        assert found.get_table_names(schema="public") == []
        assert "djoauth2_user" in found.get_table_names(schema="auth")


@pytest.mark.parametrize("database_url", [WITH_MARIADB], indirect=True)
async def test_every_connection_to_mysql_refuses_what_does_not_fit(database_url: sa.URL) -> None:
    """Also the patient ones, by which rows are copied."""
    engine = engine_of(database_url.render_as_string(hide_password=False))
    for patient in (False, True):
        with engine.connect(writes=True, patient=patient) as connection:
            assert "TRADITIONAL" in connection.scalar(sa.text("SELECT @@sql_mode"))


@pytest.mark.parametrize("database_url", [WITH_POSTGRESQL], indirect=True)
async def test_an_encoding_of_the_environment_changes_nothing(
    database_url: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    engine = engine_of(database_url.render_as_string(hide_password=False))
    for patient in (False, True):
        with engine.connect(writes=True, patient=patient) as connection:
            assert connection.scalar(sa.text("SHOW client_encoding")) == "UTF8"
