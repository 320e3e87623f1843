"""The schema: the migrations and the tables of today."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from djoauth2_twisted.errors import AlreadyExists
from djoauth2_twisted.models import GrantFilter, Page, User
from djoauth2_twisted.stores.sql import many_grants, schema, sessions, statements, upgrade, users
from djoauth2_twisted.stores.urls import read_ahead


class TestSchema:
    """The migrations and the tables of today."""

    @pytest.fixture
    def upgraded(self, path: Path) -> Iterator[sa.Connection]:
        with sa.create_engine(f"sqlite:///{path}").begin() as connection:
            upgrade.upgrade(connection, {})
            yield connection
        connection.engine.dispose()

    def test_migrations_make_the_tables(self, upgraded: sa.Connection) -> None:
        """Nothing is missing in either."""
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(upgraded, opts=options)
        assert compare_metadata(context, schema.metadata) == []

    def test_of_the_first_release_is_migrated(self, path: Path) -> None:
        """The migrations, one after the other, end at the tables that a new database gets at once."""
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            upgrade.migrate(connection, "0001")
            connection.exec_driver_sql(
                "INSERT INTO djoauth2_client VALUES ('id', 'name', x'00', '', '', '[]', NULL, 0, 0)"
            )
            connection.exec_driver_sql(
                "INSERT INTO djoauth2_user VALUES ('alice', '', '', '', '', 0, 0)"
            )
            connection.exec_driver_sql(
                "INSERT INTO djoauth2_session VALUES (x'00', 'alice', "
                """'{"first_name": "", "last_name": "", "email": ""}', 9)"""
            )
        with engine.begin() as connection:
            upgrade.upgrade(connection, {})
            options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, schema.metadata) == []
            assert upgrade.current(connection) == schema.HEAD
            assert connection.execute(sa.select(schema.client.c.name)).scalars().all() == ["name"]
            # Who was there before has the name for a subject, and stays logged in.
            assert users.find_user(connection, "alice") == User("alice", "", subject="alice")
            session = sessions.find_session(connection, b"\0", 0)
            assert session is not None
            assert session.auth_time == 9 - sessions.LIFETIME_BEFORE
            assert (session.address, session.second_factor) == ("", False)
        engine.dispose()

    def test_users_of_before_are_folded(self, path: Path) -> None:
        """Names that are alike stay apart, and no further one is added."""
        names = ["ALICE", "Alice", "alice", "bob", "ju\u0308rgen", "j\u00fcrgen"]
        names += [f"user {number:04}" for number in range(2500)]
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            upgrade.migrate(connection, "0005")
            row = "INSERT INTO djoauth2_user VALUES (?, '', '', '', '', 0, 0, NULL)"
            connection.exec_driver_sql(row, [(name,) for name in names])
        with engine.begin() as connection:
            upgrade.upgrade(connection, {})
            for spelling in ("alice", "ALICE", "aLiCe "):
                found = users._users_alike(connection, schema.folded_digest(spelling))
                assert [user.username for user in found] == ["ALICE", "Alice", "alice"]
            for name in ("bob", "user 0000", "user 2499"):
                (user,) = users._users_alike(connection, schema.folded_digest(name.upper()))
                assert user.username == name
            groups = [["ALICE", "Alice", "alice"], ["ju\u0308rgen", "j\u00fcrgen"]]
            assert users.find_namesakes(connection, 10) == groups
            # Also where the first of them is gone, no other takes its place.
            for name in ("ALICE", "Alice"):
                users._delete_user(connection, name, False)
            assert users.find_namesakes(connection, 10) == groups[1:]
            for name in ("ALICE", "alice", "BOB", "JÜRGEN"):
                with pytest.raises(AlreadyExists):
                    users._add_user(connection, User(name, ""), schema.folded_digest(name))
            assert None not in connection.scalars(sa.select(schema.user.c.folded)).all()
        engine.dispose()

    def test_index_refuses_a_second_user_of_a_folded_name(self, upgraded: sa.Connection) -> None:
        """It decides between two processes that have both found none."""
        row = {**statements.row_of(User("a", "")), "folded": b"x" * 32, "namesake": 0}
        statements.insert(upgraded, schema.user, row)
        with pytest.raises(sa.exc.IntegrityError):
            statements.insert(upgraded, schema.user, row | {"username": "A"})

    def test_head_is_the_newest_migration(self, upgraded: sa.Connection) -> None:
        assert upgrade.read_migrations().get_heads() == [schema.HEAD]
        assert upgrade.current(upgraded) == schema.HEAD

    @pytest.mark.parametrize(
        ("url", "times"), [("sqlite:///a.db", 1), ("sqlite+pysqlite:///a.db", 1), ("mysql://host/a", 0)]
    )
    def test_migrations_are_read_ahead_for_sqlite(
        self, monkeypatch: pytest.MonkeyPatch, url: str, times: int
    ) -> None:
        """With its driver named, or without."""
        read = Mock()
        monkeypatch.setattr(upgrade, "read_migrations", read)
        read_ahead(url)
        assert read.call_count == times

    def test_upgraded_twice(self, upgraded: sa.Connection) -> None:
        """The second time does nothing."""
        upgrade.upgrade(upgraded, {})
        assert upgrade.current(upgraded) == schema.HEAD

    def test_what_is_looked_up_has_an_index(self, upgraded: sa.Connection) -> None:
        """No request reads a whole table."""
        columns = {
            "djoauth2_grant": ("id", "code_digest", "client_id", "username", "expires", "created"),
            "djoauth2_token": ("access_digest", "refresh_digest", "grant_id"),
            "djoauth2_session": ("digest", "username", "expires"),
            "djoauth2_user": ("username", "folded", "namesake"),
        }
        for table, names in columns.items():
            for name in names:
                plan = upgraded.exec_driver_sql(
                    f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE {name} = ?", ("",)
                ).all()
                assert "USING INDEX" in str(plan), (table, name)

    @pytest.mark.parametrize("wanted", [GrantFilter("alice"), GrantFilter("alice", "client")], ids=str)
    def test_page_of_a_users_grants_reads_no_others_grants(
        self, upgraded: sa.Connection, wanted: GrantFilter
    ) -> None:
        """However many grants the client has."""
        asked: list[tuple[str, Any]] = []
        note = lambda *call: asked.append((call[2], call[3]))  # noqa: E731
        sa.event.listen(upgraded, "before_cursor_execute", note)
        assert many_grants.grants(upgraded, wanted, Page()) == []
        sa.event.remove(upgraded, "before_cursor_execute", note)
        [(statement, values)] = asked
        plan = upgraded.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
        assert "ix_djoauth2_grant_owner" in str(plan)

    def test_grants_in_use_are_one_look_up_in_the_order_of_an_index(
        self, upgraded: sa.Connection
    ) -> None:
        """Nothing is sorted, and no other user's or client's grants are read."""
        asked: list[tuple[str, Any]] = []
        note = lambda *call: asked.append((call[2], call[3]))  # noqa: E731
        sa.event.listen(upgraded, "before_cursor_execute", note)
        assert many_grants.grants_in_use(upgraded, "alice", "client", 20) == []
        sa.event.remove(upgraded, "before_cursor_execute", note)
        [(statement, values)] = asked
        plan = str(upgraded.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
        assert "ix_djoauth2_grant_owner (username=? AND revoked=? AND client_id=?)" in plan
        assert "TEMP B-TREE" not in plan
