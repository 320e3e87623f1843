"""Statements that SQLAlchemy compiles once, and that run on the driver's own cursor.

They are for the verbs of a token request. Each time that SQLAlchemy executes a statement, it looks up
the compiled form and makes objects for the execution, the result and the rows. That takes several times
as long as the statement itself takes in SQLite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

_Processor = Callable[[Any], Any] | None


class Compiled:
    """A statement whose values are all given by ``bindparam``, or are the columns of an insertion.

    Each method runs it in the transaction that the connection has begun, and raises what SQLAlchemy
    raises: `sqlalchemy.exc.DBAPIError` with the driver's error.
    """

    def __init__(self, statement: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete) -> None:
        self._statement = statement
        self._forms: dict[type[sa.Dialect], _Form] = {}

    def first(self, connection: sa.Connection, **values: Any) -> list[Any] | None:
        """The first row that is found; None if there is none."""
        form = self._form(connection)
        row = _run(connection, "execute", form.text, form.bind(values), _fetch_one)
        return None if row is None else form.convert(row)

    def change(self, connection: sa.Connection, **values: Any) -> int:
        """Change rows, and say how many."""
        form = self._form(connection)
        changed: int = _run(connection, "execute", form.text, form.bind(values), _count)
        return changed

    def change_each(self, connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run the statement for each of some rows of values."""
        form = self._form(connection)
        _run(connection, "executemany", form.text, list(map(form.bind, rows)), _count)

    def _form(self, connection: sa.Connection) -> _Form:
        dialect = connection.dialect
        form = self._forms.get(type(dialect))
        if form is None:
            form = self._forms[type(dialect)] = _Form(self._statement, dialect)
        return form


class _Form:
    """A statement as one dialect has it: its text, and how its values are converted."""

    def __init__(
        self, statement: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete, dialect: sa.Dialect
    ) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.text: str = compiled.string
        self._is_positional: bool = compiled.positional
        self._names: list[str] = compiled.positiontup if compiled.positional else list(compiled.binds)
        types = [compiled.binds[name].type for name in self._names]
        processors = [each.dialect_impl(dialect).bind_processor(dialect) for each in types]
        self._binds: list[tuple[str, _Processor]] = list(zip(self._names, processors, strict=True))
        columns = statement.selected_columns if isinstance(statement, sa.Select) else ()
        results = [each.type.dialect_impl(dialect).result_processor(dialect, None) for each in columns]
        self._results = [(place, process) for place, process in enumerate(results) if process]

    def bind(self, values: Mapping[str, Any]) -> Any:
        """The driver's parameters."""
        bound = [process(values[name]) if process else values[name] for name, process in self._binds]
        return bound if self._is_positional else dict(zip(self._names, bound, strict=True))

    def convert(self, row: Iterable[Any]) -> list[Any]:
        """A row of the driver's with the values that its columns' types give."""
        converted = list(row)
        for place, process in self._results:
            converted[place] = process(converted[place])
        return converted


def _run(
    connection: sa.Connection, how: str, text: str, parameters: Any, take: Callable[[Any], Any]
) -> Any:
    """Run a statement on a new cursor of the driver's, and take the result from that."""
    raw: Any = connection.connection.dbapi_connection
    try:
        cursor = raw.cursor()
        getattr(cursor, how)(text, parameters)
        return take(cursor)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _as_of_sqlalchemy(connection, error) from error


_count = attrgetter("rowcount")


def _fetch_one(cursor: Any) -> Any:
    row = cursor.fetchone()
    # SQLite would keep the statement, and what it locks, open for a further row.
    cursor.close()
    return row


def _as_of_sqlalchemy(connection: sa.Connection, error: Exception) -> BaseException:
    """The error that SQLAlchemy would have raised, after the same was done with the connection."""
    dialect: Any = connection.dialect
    is_lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
    if is_lost:
        connection.invalidate(error)
    return sa.exc.DBAPIError.instance(
        # Neither the statement's text nor its values: an error's text may end in a log.
        None,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=dialect,
    )
