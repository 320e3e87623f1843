"""The check of a database that is not opened: nothing is changed, in it or beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import sqlalchemy as sa

from ...errors import ConfigurationError
from ...finding import Finding, error, note, warning
from ...models import SigningKey
from ...protocol.openid_scopes import BUILT_IN
from ...protocol.precis import MAX_NAMESAKES, warning_of
from . import token_place, upgrade
from .engines.engine import Engine, clock_findings, unusable
from .keys import find_keys
from .schema import HEAD, scope
from .users import find_namesakes


def judge(engine: Engine, place: str | None) -> list[Finding]:
    """Judge a database. Blocks.

    :param place: where the tokens will be, as `token_place` has it; None if they are in this database
        and nothing else is.
    """
    try:
        if engine.is_private:
            mend = "Name a file or a server by --database, unless this is a trial"
            return [warning("the database is in memory, and ends with the process", mend)]
        if not engine.exists():
            return list(_judge_folder(engine))
        with engine.connect_to_look() as connection:
            return [
                *engine.judge(connection),
                *clock_findings(engine, connection),
                *_judge_access(engine),
                *_judge_content(engine, connection, place),
            ]
    except ConfigurationError as found:
        return [Finding.of(found)]
    except (sa.exc.SQLAlchemyError, OSError) as found:
        return [Finding.of(unusable(engine, found))]


def read_signing_keys(engine: Engine) -> list[SigningKey]:
    """The signing keys; none where the database cannot be read, or has another schema. Blocks."""
    try:
        if engine.is_private or not engine.exists():
            return []
        with engine.connect_to_look() as connection:
            return find_keys(connection) if upgrade.current(connection) == HEAD else []
    except (ConfigurationError, sa.exc.SQLAlchemyError, OSError):
        # `judge` says why.
        return []


def _judge_folder(engine: Engine) -> Iterator[Finding]:
    """Judge the place of a file that is not there yet."""
    assert engine.path is not None
    folder = engine.path.parent
    if not folder.is_dir():
        yield error(f"there is no folder {folder} for the database {engine.name}", "Create it")
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield error(f"nothing can be written to {folder}, the folder of the database", "Change its mode")
    else:
        yield note(f"there is no database {engine.name} yet", "The server makes it when it starts")


def _judge_access(engine: Engine) -> Iterator[Finding]:
    """Judge whether a file, and the log beside it, could be written."""
    if engine.path is None:
        return
    for path in (engine.path, engine.path.parent):
        if not os.access(path, os.W_OK):
            mend = "Let the server's user write the file and its folder"
            yield error(f"the database {engine.name} cannot be written: {path} is read-only", mend)


def _judge_content(engine: Engine, connection: sa.Connection, place: str | None) -> Iterator[Finding]:
    version = upgrade.current(connection)
    if version != HEAD:
        yield _judge_version(engine, version)
        return
    for names in find_namesakes(connection, MAX_NAMESAKES):
        yield warning(warning_of(names), "Replace all but one of them by users with other names")
    yield from _judge_scopes(connection)
    recorded = token_place.find(connection)
    if place is None or recorded in (None, place):
        return
    if recorded == token_place.HERE:
        fault = f"the tokens were in the database {engine.name} until now, and will end with the start"
        yield warning(fault, "Leave --token-store out to keep them", "token_store")
    else:
        fault = f"the tokens were in {recorded} until now, and will end with the start"
        yield warning(fault, "Name it by --token-store to keep them", "token_store")


def _judge_scopes(connection: sa.Connection) -> Iterator[Finding]:
    """Find registered scopes with the names of those of OpenID Connect."""
    named = sa.select(scope.c.name).where(scope.c.name.in_(BUILT_IN)).order_by(scope.c.name)
    for name in connection.scalars(named):
        fault = f"the scope {name} is registered, and is one of OpenID Connect"
        mend = "See that its description says so: users read it in place of ours"
        yield note(fault, mend, "openid")


def _judge_version(engine: Engine, version: str | None) -> Finding:
    if not engine.prepares_itself or not (version is None or upgrade.is_known(version)):
        return Finding.of(upgrade.unknown(version))
    if version is None:
        return note(f"the database {engine.name} is empty", "The server prepares it when it starts")
    fault = f"the database has schema {version}, and this release needs {HEAD}"
    return note(fault, "The server keeps a copy and upgrades it when it starts")
