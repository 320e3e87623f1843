"""Counts of grants read the entries of one index, and at most `MAX_COUNTED` of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from servers import MARIADB, POSTGRESQL, WITH_MARIADB, WITH_POSTGRESQL, made, prepare

from djoauth2_twisted.interfaces import MAX_COUNTED
from djoauth2_twisted.models import GrantFilter
from djoauth2_twisted.stores.sql import many_grants, schema

pytestmark = pytest.mark.usefixtures("patient")

REVOKED = 500
MANY = MAX_COUNTED + 100

#: Each filter, the index that answers it, and how many grants of `rows` pass it.
COUNTS = [
    (GrantFilter(), "ix_djoauth2_grant_expires", MAX_COUNTED + 1),
    (GrantFilter(client_id="big"), "ix_djoauth2_grant_client", MAX_COUNTED + 1),
    (GrantFilter(client_id="small"), "ix_djoauth2_grant_client", 5),
    (GrantFilter(username="u0"), "ix_djoauth2_grant_owner", MANY // 500 + 1),
]


@contextmanager
def url_of(engine: str, tmp_path: Path) -> Iterator[str]:
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path}/counts.db"
    else:
        with made({"postgresql": POSTGRESQL, "mariadb": MARIADB}[engine]) as url:
            yield url


def rows() -> list[dict[str, Any]]:
    """Many grants of one client and few of another, and some that were revoked and not yet pruned."""
    rest = {"profile": {}, "scopes": "read", "created": 1000, "last_used": 1000, "code_expires": 1600}

    def row(number: int, client_id: str, revoked: bool) -> dict[str, Any]:
        return {
            "id": f"g{number}",
            "client_id": client_id,
            "username": f"u{number % 500}",
            "expires": 0 if revoked else 5000,
            "code_digest": number.to_bytes(32),
            "code_used": True,
            "revoked": revoked,
            **rest,
        }

    kinds = [("big", False)] * (MANY - 5) + [("small", False)] * 5 + [("small", True)] * REVOKED
    return [row(number, *kind) for number, kind in enumerate(kinds)]


@pytest.fixture(scope="module", params=["sqlite", WITH_POSTGRESQL, WITH_MARIADB])
def connection(request: Any, tmp_path_factory: Any) -> Iterator[sa.Connection]:
    with url_of(request.param, tmp_path_factory.mktemp("counts")) as url:
        prepare(url)
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.insert(schema.grant), rows())
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("VACUUM ANALYZE djoauth2_grant")
            yield connection


def plan_of(connection: sa.Connection, wanted: GrantFilter) -> str:
    """How the engine finds what `many_grants.count` asks for."""
    asked: list[tuple[str, Any]] = []
    note = lambda *call: asked.append((call[2], call[3]))  # noqa: E731
    sa.event.listen(connection, "before_cursor_execute", note)
    many_grants.count(connection, wanted)
    sa.event.remove(connection, "before_cursor_execute", note)
    [(statement, values)] = asked
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    return str(connection.exec_driver_sql(f"{explain} {statement}", values).all())


@pytest.mark.parametrize(("wanted", "index", "count"), COUNTS, ids=str)
def test_count_reads_one_index_alone(
    connection: sa.Connection, wanted: GrantFilter, index: str, count: int
) -> None:
    """Neither rows nor revoked grants make it slower."""
    assert many_grants.count(connection, wanted) == count
    plan = plan_of(connection, wanted)
    assert index in plan
    covering = {"sqlite": "COVERING INDEX", "postgresql": "Index Only Scan", "mysql": "Using index"}
    assert covering[{"mariadb": "mysql"}.get(connection.dialect.name, connection.dialect.name)] in plan
    assert "Sort" not in plan
    assert "filesort" not in plan
    assert "TEMP B-TREE" not in plan
