"""What the commands print: text for people, JSON for programs, and errors of one line.

Names and descriptions are not trusted. Characters that a terminal might obey or hide are printed as
escapes.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def plain(text: str) -> str:
    """A text on one line, with its unprintable characters as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_json(value: object) -> None:
    """Print a value as JSON, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_result(as_json: bool, value: object, line: str) -> None:
    """Print what a command did: the value as JSON, or the line for people."""
    if as_json:
        print_json(value)
    else:
        click.echo(plain(line))


def print_fields(fields: dict[str, str]) -> None:
    """Print names and values, one to a line."""
    width = max(map(len, fields))
    for name, value in fields.items():
        click.echo(f"{name.ljust(width)}  {plain(value)}".rstrip())


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns under their titles."""
    lines = [list(titles), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


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
    click.echo(f"djoauth2: {plain(' '.join(message.split()))}", err=True)


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
