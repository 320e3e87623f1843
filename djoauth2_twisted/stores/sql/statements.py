"""Statements that the tables of the registry share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs
import sqlalchemy as sa

from ...errors import NotFound
from ...models import Page
from . import schema


def row_of(value: Any, only: Collection[str] | None = None) -> dict[str, Any]:
    """A value of `models` as a row.

    :param value: an attrs instance with a field for each column.
    :param only: the names of the fields to take; None for all.
    """
    fields = [field.name for field in attrs.fields(type(value)) if only is None or field.name in only]
    row = {name: getattr(value, name) for name in fields}
    return {name: list(item) if isinstance(item, tuple) else item for name, item in row.items()}


def insert(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> None:
    """Insert a row."""
    connection.execute(sa.insert(table), row)


def update(connection: sa.Connection, key: sa.Column[str], name: str, changes: dict[str, Any]) -> None:
    """Change the row whose key has a value.

    :raises NotFound: there is no such row.
    """
    values = {column: value for column, value in changes.items() if column != key.name}
    if connection.execute(sa.update(key.table).where(key == name).values(values)).rowcount != 1:
        raise NotFound()


def delete(connection: sa.Connection, key: sa.Column[str], name: str) -> None:
    """Delete the row whose key has a value.

    :raises NotFound: there is no such row.
    """
    if connection.execute(sa.delete(key.table).where(key == name)).rowcount != 1:
        raise NotFound()


def delete_some(
    connection: sa.Connection, key: sa.Column[Any], condition: sa.ColumnElement[bool], limit: int
) -> int:
    """Delete up to ``limit`` rows that meet a condition, and say how many they were."""
    found = list(connection.scalars(sa.select(key).where(condition).limit(limit)))
    if found:
        connection.execute(sa.delete(key.table).where(key.in_(found)))
    return len(found)


def page_of(query: sa.Select[Any], page: Page) -> sa.Select[Any]:
    """One page of a query's rows. ``page.after`` is for the caller to judge."""
    return query.offset(page.offset).limit(page.size)


def after(
    page: Page, first: sa.ColumnElement[Any], second: sa.ColumnElement[Any]
) -> list[sa.ColumnElement[bool]]:
    """The condition that a row comes after ``page.after``; no condition for the first page.

    :param first: the list is sorted by this column, and then by ``second``.
    """
    if not page.after:
        return []
    one, two = page.after
    # The first condition seems to be needless. With it, an index on the first column is used.
    return [first >= one, (first > one) | (second > two)]


def containing(search: str, *texts: sa.ColumnElement[str]) -> list[sa.ColumnElement[bool]]:
    """The condition that one of the texts contains ``search``; no condition where it is empty."""
    if not search:
        return []
    if not schema.is_storable(search):
        return [sa.false()]
    # As text: MySQL keeps identifiers as bytes, and does not know which of them are capital letters.
    alike = [sa.cast(text, sa.Text).icontains(search, autoescape=True) for text in texts]
    return [sa.or_(*alike)]
