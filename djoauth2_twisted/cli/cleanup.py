"""``djoauth2 cleanup``: deletes what has expired."""

from __future__ import annotations

import time

import click

from .output import counted, json_option, print_result
from .running import Store


@click.command()
@json_option
@click.pass_obj
def cleanup(store: Store, as_json: bool) -> None:
    """Delete expired grants and logins.

    A running server does this by itself. Valid grants and logins are not changed.
    """
    now = int(time.time())
    grants, sessions = store.run(lambda administration: administration.clean_up(now))
    print_result(
        as_json,
        {"grants": grants, "sessions": sessions},
        f"Deleted what had expired: {counted(grants, 'grant')} and {counted(sessions, 'login')}.",
    )
