"""What the commands print: text for people, JSON for programs, and errors of one line.

Names and descriptions are not trusted. All text is made printable before it is printed.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import wcwidth

from ..printable import printable

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

#: The space between two columns of a table.
_GAP = "  "

#: A column that is cut to fit the terminal keeps this width at least.
_NARROWEST = 12

_CUT = "..."


def print_json(value: object) -> None:
    """Print a value as JSON, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_result(as_json: bool, value: object, line: str) -> None:
    """Print what a command did: the value as JSON, or the line for people."""
    if as_json:
        print_json(value)
    else:
        click.echo(printable(line))


def print_fields(fields: Mapping[str, str | Sequence[str]]) -> None:
    """Print names and values, one to a line. A list has a line for each of its values."""
    width = max(map(len, fields))
    for name, value in fields.items():
        values = [value] if isinstance(value, str) else value
        for each in values or [""]:
            click.echo(f"{name.ljust(width)}  {printable(each)}".rstrip())
            name = ""


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], flexible: Collection[str] = ()
) -> None:
    """Print rows in columns under their titles.

    On a terminal, a line is cut to the terminal's width, and a table that is longer than the screen is
    shown in a pager.

    :param flexible: the titles of the columns that may be cut.
    """
    if not sys.stdout.isatty():
        click.echo("\n".join(table(titles, rows)))
        return
    size = shutil.get_terminal_size()
    lines = table(titles, rows, flexible, size.columns)
    if len(lines) < size.lines:
        click.echo("\n".join(lines))
    else:
        click.echo_via_pager("\n".join(lines))


def table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str]],
    flexible: Collection[str] = (),
    columns: int | None = None,
) -> list[str]:
    """The lines of a table. Widths are those of a terminal: an East Asian letter has two columns.

    :param columns: the longest line. None for any length.
    """
    cells = [list(titles), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    if columns is not None:
        narrowable = [number for number, title in enumerate(titles) if title in flexible]
        _narrow(widths, narrowable, columns)
    return [
        _GAP.join(map(_fitted, line, widths)).rstrip()  #
        for line in cells
    ]


def _narrow(widths: list[int], narrowable: Collection[int], columns: int) -> None:
    """Narrow the widest of some columns, until a line fits or none of them can be narrower."""
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - columns
    while excess > 0 and narrowable:
        widest = max(narrowable, key=lambda number: widths[number])
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1
        excess -= 1


def _width(text: str) -> int:
    return wcwidth.width(text, control_codes="ignore")


def _fitted(text: str, width: int) -> str:
    """A text of exactly this width: filled with spaces, or cut."""
    if _width(text) > width:
        text = wcwidth.clip(text, 0, width - len(_CUT)) + _CUT
    return text + " " * (width - _width(text))


def first_of(texts: Sequence[str]) -> str:
    """The first text of a list, and how many more there are: "https://app.example/ +9"."""
    return " ".join([*texts[:1], *([f"+{len(texts) - 1}"] if len(texts) > 1 else [])])


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 grant", "2 grants"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def state_of(**states: bool) -> str:
    """The names of the true states, separated by commas."""
    return ", ".join(name.replace("_", " ") for name, true in states.items() if true)


def moment(seconds: int) -> str:
    """A time in UTC, in ISO 8601.

    :param seconds: the time in seconds since the epoch.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return str(seconds)


def complain(message: str) -> None:
    """Print an error on standard error, as one line."""
    click.echo(f"djoauth2: {printable(' '.join(message.split()))}", err=True)


def escape_what_cannot_be_encoded() -> None:
    """Print escapes on a terminal that is not UTF-8, instead of failing."""
    stream: Any = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def close_output() -> None:
    """Discard the unwritten output, so that Python does not fail to write it again at exit."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        null_device = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null_device, sys.stdout.fileno())
        os.close(null_device)
