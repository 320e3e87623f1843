"""``djoauth2 database copy``: from engine to engine, wholly or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
import sqlalchemy as sa
from attrs import frozen
from click.testing import CliRunner
from servers import MARIADB, POSTGRESQL, WITH_MARIADB, WITH_POSTGRESQL, made
from twisted.internet.defer import Deferred

from djoauth2_twisted.cli import main
from djoauth2_twisted.credentials import digest
from djoauth2_twisted.models import (
    Client,
    CodeProof,
    Event,
    Grant,
    GrantFilter,
    Image,
    Issuance,
    Issued,
    Limit,
    Page,
    RefreshProof,
    RefreshRetried,
    Replayed,
    ResourceOwner,
    Scope,
    SecondFactor,
    Session,
    SigningKey,
    User,
)
from djoauth2_twisted.stores.sql import copying, schema, upgrade
from djoauth2_twisted.stores.sql.engines import engine_of
from djoauth2_twisted.stores.urls import from_url

NOW = 1_700_000_000
FAR = 4_000_000_000

#: Two that differ in case and in a space, which not every engine's text would tell apart.
CLIENTS = (
    Client("abc", "R\xf6t \U0001f511", digest("s1"), 'It\'s\n"quoted" \\ %', "https://e.example/i.png"),
    Client(
        "ABC",
        "b",
        digest("s2"),
        redirect_uris=("https://a.example/",),
        scopes=("photos",),
        id_token_alg="ES256",
        post_logout_redirect_uris=("https://a.example/out",),
        backchannel_logout_uri="https://a.example/logout",
    ),
    Client("abc ", "", digest("s3"), scopes=(), resource_server=True, disabled=True),
)
SCOPES = (Scope("photos", "See your photos."), Scope("user_info", "See who you are."))
ALICE = User(
    "alice",
    "$argon2id$",
    "a@e.example",
    "Alice",
    "\u65e5\u672c",
    admin=True,
    subject="s-1",
    email_verified=True,
)
OWNER = ResourceOwner("alice", "Alice", "\u65e5\u672c", "a@e.example", "s-1", email_verified=True)
KEYS = [
    SigningKey("kid-1", "RS256", "retired", {"kty": "RSA", "n": "1"}, None, NOW, NOW, NOW + 9),
    SigningKey("kid-2", "RS256", "current", {"kty": "RSA", "n": "2"}, b"\0sealed", NOW + 1, NOW + 9),
]
SESSION = Session(digest("session"), OWNER, FAR, NOW, "::1", second_factor=True)
FACTOR = SecondFactor("s-1", b"sealed", NOW, 7, frozenset({digest("one"), digest("two")}))
IMAGE = Image("image/png", bytes(range(256)))
EVENT = Event("an-id", NOW * 1000, "alice", "client add", "abc", "::1", {"name": "R\xf6t"})


def grant(name: str) -> Grant:
    return Grant(
        id=name,
        client_id="abc",
        owner=OWNER,
        scopes=("photos", "user_info"),
        created=NOW,
        last_used=NOW,
        expires=FAR,
        code_digest=digest(f"code-{name}"),
        code_expires=FAR,
        redirect_uri="https://a.example/?\xe9",
        code_challenge=None,
        nonce="n-0",
        auth_time=NOW,
        sid="sid",
    )


def issuance(name: str, family: str, retry_seconds: int = 0) -> Issuance:
    return Issuance(
        now=NOW,
        access_digest=digest(f"access-{name}"),
        access_expires=FAR,
        refresh_digest=digest(f"refresh-{name}"),
        refresh_expires=FAR,
        family_digest=digest(f"family-{family}"),
        retry_seconds=retry_seconds,
        sealed_answer=bytes(range(256)),
    )


CODE_PROOF = CodeProof("abc", "https://a.example/?\xe9", None)
REFRESH_PROOF = RefreshProof("abc", None)


def with_stores(url: str, act: Callable[[Any, Any], Any]) -> Any:
    """Await what is done with a database's two stores."""

    async def do() -> Any:
        from twisted.internet import reactor

        database, registry, tokens = from_url(reactor, url)
        database.open()
        await database.connect()
        try:
            return await act(registry, tokens)
        finally:
            await database.close()

    return Deferred.fromCoroutine(do())


async def fill(registry: Any, tokens: Any) -> None:
    """One of everything, in every state."""
    for scope in SCOPES:
        await registry.add_scope(scope)
    for client in CLIENTS:
        await registry.add_client(client)
    await registry.add_user(ALICE)
    await registry.add_session(SESSION)
    await registry.add_second_factor(FACTOR)
    assert await registry.replace_signing_keys([], KEYS)
    await registry.subject_of("carol", "of carol")
    await registry.note_deleted("of dave")
    await registry.set_image("ABC", IMAGE)
    await registry.add_event(EVENT)
    await registry.add_statistics({(NOW // 3600, "login"): 3})
    await registry.acquire_lease("prune", "somebody", FAR, NOW)
    await registry.count_failures({digest("place"): Limit(10)}, NOW)
    for name in ("unused", "exchanged", "refreshed", "revoked"):
        await tokens.add_code(grant(name))
    for name in ("exchanged", "refreshed", "revoked"):
        assert isinstance(
            await tokens.redeem_code(digest(f"code-{name}"), CODE_PROOF, issuance(name, name)), Issued
        )
    second = issuance("second", "refreshed", 60)
    await tokens.rotate_refresh_token(digest("refresh-refreshed"), REFRESH_PROOF, second)
    await tokens.revoke_grant("revoked")


async def check(registry: Any, tokens: Any) -> None:
    """All of it is there, and continues where it was."""
    assert await registry.scopes() == list(SCOPES)
    for client in CLIENTS:
        digest_of_image = IMAGE.digest if client.client_id == "ABC" else None
        kept_client = await registry.find_client(client.client_id)
        assert kept_client == attrs.evolve(client, image_digest=digest_of_image)
    assert await registry.find_image("ABC") == IMAGE
    assert await registry.events(Page()) == [EVENT]
    assert await registry.statistics(0, 1) == {(NOW // 3600, "login"): 3}
    assert await registry.find_user("alice") == ALICE
    assert await registry.find_session(SESSION.digest, NOW) == SESSION
    assert await registry.find_second_factor("s-1") == FACTOR
    assert await registry.signing_keys() == KEYS
    assert await registry.subject_of("carol", "another") == "of carol"
    assert await registry.was_deleted("of dave")
    # Failures and the lease were of the servers on the other one.
    assert await registry.acquire_lease("prune", "somebody else", FAR, NOW)
    assert await registry.count_failures({digest("place"): Limit(10)}, NOW) == {digest("place"): 1}
    kept = await tokens.grants(GrantFilter(), Page())
    assert {each.id for each in kept} == {"unused", "exchanged", "refreshed"}
    assert {each.owner for each in kept} == {OWNER}
    assert {(each.nonce, each.auth_time, each.sid) for each in kept} == {("n-0", NOW, "sid")}
    for name, good in (("exchanged", True), ("second", True), ("refreshed", False), ("revoked", False)):
        found = await tokens.find_access_token(digest(f"access-{name}"))
        assert (found is not None) is good, name
    redeemed = await tokens.redeem_code(digest("code-unused"), CODE_PROOF, issuance("later", "later"))
    assert isinstance(redeemed, Issued)

    def refresh(name: str, following: Issuance) -> Any:
        return tokens.rotate_refresh_token(digest(f"refresh-{name}"), REFRESH_PROOF, following)

    assert isinstance(await refresh("refreshed", issuance("again", "refreshed", 60)), RefreshRetried)
    assert isinstance(await refresh("second", issuance("third", "refreshed")), Issued)
    assert isinstance(await refresh("refreshed", issuance("x", "refreshed")), Replayed)
    replayed = await tokens.redeem_code(digest("code-exchanged"), CODE_PROOF, issuance("y", "y"))
    assert isinstance(replayed, Replayed)


@frozen
class Databases:
    """Empty databases of the test's own, which are prepared or not."""

    folder: Path
    stack: ExitStack

    def __call__(self, engine: str, name: str = "a", prepared: bool = True) -> str:
        if engine == "sqlite":
            return f"sqlite:///{self.folder / name}.db"
        url = self.stack.enter_context(made({"postgresql": POSTGRESQL, "mariadb": MARIADB}[engine]))
        if prepared:
            with connected(url) as connection:
                upgrade.upgrade(connection, engine_of(url).table_options)
        return url


def connected(url: str) -> Any:
    return sa.create_engine(url, poolclass=sa.pool.NullPool).begin()


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    with ExitStack() as stack:
        yield Databases(tmp_path, stack)


def copied(source: str, target: str) -> Any:
    result = CliRunner().invoke(
        main,
        ["--database", source, "database", "copy", "--to", target, "--json"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refused(source: str, target: str) -> str:
    result = CliRunner().invoke(
        main, ["--database", source, "database", "copy", "--to", target], catch_exceptions=False
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("djoauth2: ").strip()


def contents(url: str) -> dict[str, list[Any]]:
    """All rows of all tables that are copied."""
    with connected(url) as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for table in schema.metadata.sorted_tables
            if table not in (schema.lease, schema.failure, schema.invalidation_counter)
        }


@pytest.mark.parametrize("engine", [WITH_POSTGRESQL, WITH_MARIADB])
@pytest_twisted.ensureDeferred
async def test_to_a_server_and_back(databases: Databases, engine: str):
    """Everything arrives as it was, and tokens issued before work after, also on the way back."""
    source, server, back = databases("sqlite"), databases(engine), databases("sqlite", "back")
    await with_stores(source, fill)
    counts = copied(source, server)
    assert counts == {
        "djoauth2_client": 3,
        "djoauth2_event": 1,
        "djoauth2_grant": 4,
        "djoauth2_image": 1,
        "djoauth2_logout": 0,
        "djoauth2_recovery_code": 2,
        "djoauth2_retry": 1,
        "djoauth2_scope": 2,
        "djoauth2_second_factor": 1,
        "djoauth2_session": 1,
        "djoauth2_signing_key": 2,
        "djoauth2_subject": 2,
        "djoauth2_tally": 1,
        "djoauth2_token": 3,
        "djoauth2_token_place": 1,
        "djoauth2_user": 1,
    }
    assert copied(server, back) == counts
    assert contents(source) == contents(server) == contents(back)
    await with_stores(server, check)
    await with_stores(back, check)


@pytest.mark.engine
@pytest_twisted.ensureDeferred
async def test_rows_are_copied_between_servers(databases: Databases):
    source, target = databases("postgresql"), databases("mariadb")
    await with_stores(source, fill)
    copied(source, target)
    await with_stores(target, check)


@pytest_twisted.ensureDeferred
async def test_many_rows_are_copied_in_parts(databases: Databases, monkeypatch: pytest.MonkeyPatch):
    """As many rows as there may be, a part at a time."""
    monkeypatch.setattr(copying, "BATCH", 2)
    source, target = databases("sqlite"), databases("sqlite", "b")
    await with_stores(source, fill)
    assert copied(source, target)["djoauth2_grant"] == 4
    assert contents(source) == contents(target)


@pytest.mark.parametrize("engine", ["sqlite", WITH_POSTGRESQL, WITH_MARIADB])
@pytest_twisted.ensureDeferred
async def test_a_target_that_is_not_empty(databases: Databases, engine: str):
    """One row is enough, in whatever table, and nothing comes to it."""
    source, target = databases("sqlite"), databases(engine, "b")
    await with_stores(source, fill)
    await with_stores(target, lambda registry, tokens: registry.add_user(ALICE))
    before = contents(target)
    assert "is not empty: nothing was copied" in refused(source, target)
    assert contents(target) == before


@pytest.mark.parametrize("engine", [WITH_POSTGRESQL, WITH_MARIADB])
@pytest_twisted.ensureDeferred
async def test_a_server_that_is_not_prepared(databases: Databases, engine: str):
    source, target = databases("sqlite"), databases(engine, prepared=False)
    await with_stores(source, fill)
    said = refused(source, target)
    assert "run `djoauth2 " in said
    assert said.endswith("database upgrade`")
    with connected(target) as connection:
        assert sa.inspect(connection).get_table_names() == []
    assert "no schema" in refused(target, databases("sqlite", "b"))


@pytest.mark.engine
@pytest_twisted.ensureDeferred
async def test_a_value_that_does_not_fit(databases: Databases):
    """Nothing is copied where only SQLite can store a value, and the error does not show the value."""
    source, target = databases("sqlite"), databases("postgresql")
    await with_stores(source, fill)
    with connected(source) as connection:
        connection.execute(sa.update(schema.user).values(last_name="secretive" * 100))
    said = refused(source, target)
    assert "cannot be used: value too long" in said
    assert "secretive" not in said
    assert not any(contents(target).values())


@pytest_twisted.ensureDeferred
async def test_a_new_file_that_is_not_filled_goes_again(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
):
    source, target = databases("sqlite"), databases("sqlite", "b")
    await with_stores(source, fill)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copying, "_copy_table", fail)
    assert "b.db cannot be used: No space left on device" in refused(source, target)
    assert [path.name for path in databases.folder.iterdir() if path.name.startswith("b")] == []


@pytest_twisted.ensureDeferred
async def test_where_the_tokens_are_is_copied(databases: Databases):
    """Also into a database on which a server was started before."""
    source, target = databases("sqlite"), databases("sqlite", "b")
    await with_stores(source, fill)
    with connected(source) as connection:
        connection.execute(sa.update(schema.token_place).values(place="redis://host:6379/0"))

    async def nothing(*_: object) -> None:
        return None

    await with_stores(target, nothing)
    assert copied(source, target)["djoauth2_token_place"] == 1
    assert contents(target)["djoauth2_token_place"] == [(1, "redis://host:6379/0")]


def test_a_source_that_is_missing(databases: Databases):
    assert "there is no database" in refused(databases("sqlite"), databases("sqlite", "b"))
    assert list(databases.folder.iterdir()) == []


def test_a_source_that_is_none(databases: Databases):
    (databases.folder / "a.db").write_text("This is a letter, not a database. " * 100)
    assert "a.db cannot be used: file is not a database" in refused(
        databases("sqlite"), databases("sqlite", "b")
    )
    assert not (databases.folder / "b.db").exists()


def test_a_folder_that_is_missing(databases: Databases):
    copied_from = databases("sqlite")
    with connected(copied_from) as connection:
        upgrade.upgrade(connection, {})
    said = refused(copied_from, f"sqlite:///{databases.folder}/missing/b.db")
    assert said.endswith("b.db cannot be used: No such file or directory")


def test_the_same_database(databases: Databases):
    """By whatever name it is called."""
    source = databases("sqlite")
    with connected(source) as connection:
        upgrade.upgrade(connection, {})
    assert refused(source, source) == "a database cannot be copied into itself"
    (databases.folder / "link.db").symlink_to(databases.folder / "a.db")
    assert refused(source, databases("sqlite", "link")) == "a database cannot be copied into itself"


@pytest.mark.engine
def test_the_same_database_of_a_server(databases: Databases):
    server = databases("postgresql")
    assert refused(server, server) == "a database cannot be copied into itself"


def test_in_memory(databases: Databases):
    assert "cannot be copied" in refused("sqlite://", databases("sqlite"))
    assert "cannot be copied" in refused(databases("sqlite"), "sqlite:///:memory:")
