"""``djoauth2 audit``: the administrators' changes."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from ..models import Event
from ..paging import entries, newest_first
from ..protocol.precis import folded
from .output import json_option, moment, print_json, print_table
from .running import Store

if TYPE_CHECKING:
    from ..interfaces import IRegistry

_AGE = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

#: As `--json` prints it. Shorter numbers are dates of ISO 8601.
_EPOCH_SECONDS = re.compile(r"[0-9]{9,11}")


def moment_of(text: str, now: int) -> int:
    """A time in seconds since the epoch: written in ISO 8601, as that number, or as an age.

    A time without a zone is in UTC.

    :param now: in seconds since the epoch.
    :raises ValueError: it is written in another way.
    """
    if age := _AGE.fullmatch(text):
        return now - int(age[1]) * _UNITS[age[2]]
    if _EPOCH_SECONDS.fullmatch(text):
        return int(text)
    read = datetime.fromisoformat(text)
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp())


def _moment(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else moment_of(text, int(time.time()))
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is not a time: write it like 2026-11-29, 2026-11-29T08:30:00Z or 7d"
        ) from None


@click.command()
@click.option("--user", "username", metavar="NAME", help="Only changes by this user, or to this user.")
@click.option(
    "--since",
    metavar="TIME",
    callback=_moment,
    help="Only changes since this time (UTC): a date, a time like 2026-11-29T08:30:00Z, or an age: "
    "30m, 12h, 7d.",
)
@json_option
@click.pass_obj
def audit(store: Store, username: str | None, since: int | None, as_json: bool) -> None:
    """List the administrators' changes, newest first.

    Each has its time, who made it and from where, what was changed, and the new values. Secrets and
    passwords are not recorded. Changes are kept for a year.
    """
    found = store.run(lambda administration: events(administration.registry, username, since))
    if as_json:
        print_json([entry(event) for event in found])
    else:
        print_table(
            ("TIME", "BY", "FROM", "ACTION", "OF", "NEW VALUES"),
            (
                (
                    moment(event.time // 1000),
                    event.actor,
                    event.address,
                    event.action,
                    event.subject,
                    ", ".join(f"{name}={value}" for name, value in event.details.items()),
                )
                for event in found
            ),
            flexible=("BY", "NEW VALUES"),
        )


async def events(registry: IRegistry, username: str | None, since: int | None) -> list[Event]:
    """The events since a time that concern a user, newest first.

    :param username: None for all users.
    :param since: in seconds since the epoch; None for all that are kept.
    """
    found: list[Event] = []
    async for event in entries(registry.events, newest_first):
        if since is not None and event.time < since * 1000:
            break
        if username is None or _concerns(event, folded(username)):
            found.append(event)
    return found


def _concerns(event: Event, username: str) -> bool:
    """Whether a user made a change, or is the one that it changed."""
    changed = event.subject if event.action.startswith("user ") else event.details.get("user", "")
    return username in (folded(event.actor), folded(changed))


def entry(event: Event) -> dict[str, Any]:
    """An event as JSON, with its time in seconds since the epoch."""
    return {
        "time": event.time // 1000,
        "actor": event.actor,
        "address": event.address,
        "action": event.action,
        "subject": event.subject,
        "details": dict(event.details),
    }
