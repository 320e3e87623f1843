"""A database from before OpenID Connect is upgraded on each engine, with logins and tokens in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
import sqlalchemy as sa
from servers import MARIADB, POSTGRESQL, WITH_MARIADB, WITH_POSTGRESQL, made

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.models import Client, Issuance, Issued, RefreshProof, ResourceOwner, User
from djoauth2_twisted.stores.sql import schema, upgrade
from djoauth2_twisted.stores.sql.engines import engine_of
from djoauth2_twisted.stores.urls import from_url

NOW, FAR = 1_700_000_000, 4_000_000_000
BEFORE = "0009"

PROFILE = {"first_name": "Alice", "last_name": "", "email": "a@e.example", "subject": "s-1"}
ROWS: dict[str, dict[str, Any]] = {
    "djoauth2_client": {
        "client_id": "abc",
        "name": "App",
        "secret_digest": digest("secret"),
        "description": "",
        "image_url": "",
        "redirect_uris": ["https://a.example/"],
        "scopes": None,
        "resource_server": False,
        "disabled": False,
    },
    "djoauth2_user": {
        "username": "alice",
        "password_hash": "$argon2id$",
        "email": "a@e.example",
        "first_name": "Alice",
        "last_name": "",
        "admin": False,
        "disabled": False,
        "subject": "s-1",
        "folded": schema.folded_digest("alice"),
        "namesake": 0,
    },
    "djoauth2_session": {
        "digest": digest("session"),
        "username": "alice",
        "profile": PROFILE,
        "expires": FAR,
        "auth_time": NOW,
        "address": "::1",
        "second_factor": False,
    },
    "djoauth2_grant": {
        "id": "grant",
        "client_id": "abc",
        "username": "alice",
        "profile": PROFILE,
        "scopes": "user_info",
        "created": NOW,
        "last_used": NOW,
        "expires": FAR,
        "code_digest": digest("code"),
        "code_expires": NOW,
        "redirect_uri": "https://a.example/",
        "code_used": True,
        "revoked": False,
        "family_digest": digest("family"),
        "refresh_ended": False,
        "redirect_uri_sent": True,
    },
    "djoauth2_token": {
        "access_digest": digest("access"),
        "access_expires": FAR,
        "refresh_digest": digest("refresh"),
        "refresh_expires": FAR,
        "grant_id": "grant",
        "scopes": "user_info",
        "issued": NOW,
        "access_revoked": False,
        "rotated": False,
    },
}


@pytest.fixture(params=["sqlite", WITH_POSTGRESQL, WITH_MARIADB])
def url(request: Any, tmp_path: Path) -> Iterator[str]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path / 'a.db'}"
        else:
            yield stack.enter_context(
                made({"postgresql": POSTGRESQL, "mariadb": MARIADB}[request.param])
            )


@pytest_twisted.ensureDeferred
async def test_logins_and_tokens_outlast_the_upgrade(url: str) -> None:
    """And what is new has its defaults."""
    from twisted.internet import reactor

    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        upgrade.migrate(connection, BEFORE)
        for name, row in ROWS.items():
            columns = {column.name: column for column in schema.metadata.tables[name].c}
            table = sa.table(name, *(sa.column(key, columns[key].type) for key in row))
            connection.execute(sa.insert(table), row)
    with engine.begin() as connection:
        upgrade.upgrade(connection, engine_of(url).table_options)
        assert upgrade.current(connection) == schema.HEAD
    engine.dispose()
    database, registry, tokens = from_url(reactor, url)
    database.open()
    try:
        client = Client("abc", "App", digest("secret"), redirect_uris=("https://a.example/",))
        assert await registry.find_client("abc") == client
        user = User("alice", "$argon2id$", "a@e.example", "Alice", subject="s-1")
        assert await registry.find_user("alice") == user
        session = await registry.find_session(digest("session"), NOW)
        owner = ResourceOwner("alice", "Alice", "", "a@e.example", "s-1")
        assert session is not None
        assert session.owner == owner
        token = await tokens.find_access_token(digest("access"))
        assert token is not None
        assert token.user == owner
        issuance = Issuance(NOW, digest("a2"), FAR, digest("r2"), FAR, digest("family"))
        refreshed = await tokens.rotate_refresh_token(
            digest("refresh"), RefreshProof("abc", None), issuance
        )
        assert isinstance(refreshed, Issued)
        grant = refreshed.grant
        assert (grant.nonce, grant.auth_time, grant.sid) == (None, None, None)
        await registry.update_user(attrs.evolve(user, email_verified=True), only={"email_verified"})
        changed = await registry.find_user("alice")
        assert changed is not None
        assert changed.email_verified
        await registry.delete_user("alice")
        assert await registry.was_deleted("s-1")
        assert await registry.signing_keys() == []
    finally:
        await database.close()
