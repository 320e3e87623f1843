"""``djoauth2 database``, on SQLite files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result
from twisted.internet.selectreactor import SelectReactor

from djoauth2_twisted.cli import main
from djoauth2_twisted.cli.running import drive
from djoauth2_twisted.interfaces import IRegistry
from djoauth2_twisted.stores.sql import schema
from djoauth2_twisted.stores.urls import Opened, from_url


@attrs.define
class UnopenedStore:
    """Stands where the commands expect a `djoauth2_twisted.cli.running.Store`."""

    path: Path

    def run_unopened(self, action: Callable[[Opened, IRegistry], Coroutine[Any, Any, Any]]) -> Any:
        # One of its own, since the tests' reactor is running already.
        reactor = SelectReactor()
        reactor.run = partial(reactor.run, installSignalHandlers=False)  # type: ignore[method-assign]
        database, registry, _ = from_url(reactor, f"sqlite:///{self.path}")
        return drive(reactor, action(database, registry))


def invoke(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        main, ["database", *arguments], obj=UnopenedStore(path), catch_exceptions=False
    )


def said(path: Path, *arguments: str, status: int = 0) -> str:
    result = invoke(path, *arguments)
    assert result.exit_code == status
    assert result.output.count("\n") == 1
    assert (result.stderr if status == 0 else result.stdout) == ""
    return result.output.strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


def test_looking_makes_no_database(path: Path) -> None:
    assert said(path, "current") == "none"
    assert said(path, "check", status=1).endswith("run `djoauth2 database upgrade`")
    assert not path.exists()
    assert invoke(path, "current", "--json").stdout == '{\n  "version": null\n}\n'


def test_upgrade_says_what_it_did(path: Path) -> None:
    first = said(path, "upgrade")
    version = said(path, "current")
    assert first == f"The database is prepared: it has schema {version}."
    assert said(path, "upgrade") == f"The database has schema {version} already."
    assert version in said(path, "check")


def test_check_names_users_whose_names_are_alike(path: Path) -> None:
    """As an older release has added them."""
    said(path, "upgrade")
    with sqlite3.connect(path) as connection:
        for number, name in enumerate(("ju\u0308rgen", "j\u00fcrgen")):
            row = (name, schema.folded_digest(name), number)
            connection.execute(
                "INSERT INTO djoauth2_user (username, password_hash, email, first_name, last_name,"
                " admin, disabled, folded, namesake) VALUES (?, '', '', '', '', 0, 0, ?, ?)",
                row,
            )
    connection.close()
    lines = invoke(path, "check").stdout.splitlines()
    warning = "These users must log in with exactly their names, which are alike otherwise: "
    assert lines[1:] == [warning + r"'ju\u0308rgen', 'j\xfcrgen'"]
    assert json.loads(invoke(path, "check", "--json").stdout)["namesakes"] == [
        ["ju\u0308rgen", "j\u00fcrgen"]
    ]


def test_an_older_database_is_not_what_is_needed(path: Path) -> None:
    said(path, "upgrade")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE djoauth2_alembic_version SET version_num = '9999'")
    connection.close()
    assert said(path, "current") == "9999"
    assert "9999" in said(path, "check", status=1)
    assert "9999" in said(path, "upgrade", status=1)
    assert said(path, "current") == "9999"


@pytest.mark.parametrize("verb", ["current", "check", "upgrade"])
def test_what_is_no_database(path: Path, verb: str) -> None:
    path.write_text("This is a letter, not a database. " * 100)
    assert "file is not a database" in said(path, verb, status=1)


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    assert "No such file" in said(tmp_path / "missing" / "a.db", "upgrade", status=1)


def test_an_upgrade_says_from_where() -> None:
    @attrs.define
    class Upgraded:
        def run_unopened(self, action: object) -> tuple[str, str]:
            return "0001", "0002"

    result = CliRunner().invoke(main, ["database", "upgrade"], obj=Upgraded())
    assert result.stdout == "The database is upgraded from schema 0001 to 0002.\n"


def test_misuse(path: Path) -> None:
    said(path, status=2)
    said(path, "downgrade", status=2)
