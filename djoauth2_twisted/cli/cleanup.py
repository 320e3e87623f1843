"""``djoauth2 cleanup``: deletes what has expired."""

from __future__ import annotations

import time

import click

from .output import json_option, print_result
from .running import Store


@click.command()
@json_option
@click.pass_obj
def cleanup(store: Store, as_json: bool) -> None:
    """Remove grants and logins that are over.

    A running server does so by itself. Nothing that is still good is touched.
    """
    now = int(time.time())
    grants, sessions = store.run(lambda administration: administration.clean_up(now))
    print_result(
        as_json,
        {"grants": grants, "sessions": sessions},
        f"Removed what was over: {_count(grants, 'grant')} and {_count(sessions, 'login')}.",
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
