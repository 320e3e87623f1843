"""``djoauth2 keys``: the keys that sign ID tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..models import SigningKey
from .asking import confirm, on_terminal, yes_option
from .group import Group
from .output import json_option, moment, print_json, print_table
from .running import Store


@click.group(cls=Group)
def keys() -> None:
    """List, rotate and retire the keys that sign ID tokens.

    A server with the setting OPENID makes them and rotates them by itself.
    """


@keys.command("list")
@json_option
@click.pass_obj
def list_keys(store: Store, as_json: bool) -> None:
    """List the keys, the oldest first."""
    _print(as_json, store.run(lambda administration: administration.registry.signing_keys()))


@keys.command()
@json_option
@click.pass_obj
def rotate(store: Store, as_json: bool) -> None:
    """Let the next keys sign, and publish new ones after them.

    A key signs only when every cache of the key set has it, 70 minutes after it was made.
    """
    from ..key_changes import rotate

    async def act(administration: Any) -> list[SigningKey]:
        ring = store.key_ring(administration)
        await ring.start()
        try:
            return await rotate(administration, ring)
        finally:
            ring.stop()

    _print(as_json, store.run(act))


@keys.command()
@click.argument("kid", metavar="KID")
@yes_option
@json_option
@click.pass_obj
def retire(store: Store, kid: str, yes: bool, as_json: bool) -> None:
    """Retire the key KID: it signs nothing from now on, and its private half is deleted.

    The next key follows at once, although clients may not know it yet. A key that does not sign is
    deleted. On a terminal the command asks for confirmation.
    """
    from ..key_changes import retire

    if on_terminal() and not yes:
        confirm(f"Retire the key {kid}?")
    _print(as_json, store.run(lambda administration: retire(administration, kid)))


def _print(as_json: bool, found: Sequence[SigningKey]) -> None:
    if as_json:
        print_json([entry(key) for key in found])
        return
    print_table(
        ("KEY ID", "ALGORITHM", "STATE", "MADE", "SIGNS FROM", "RETIRED"),
        (
            (
                key.kid,
                key.algorithm,
                key.state,
                moment(key.created),
                "" if key.signs_from is None else moment(key.signs_from),
                "" if key.retired is None else moment(key.retired),
            )
            for key in found
        ),
    )


def entry(key: SigningKey) -> dict[str, Any]:
    """A key as JSON, without its private half. Times are in seconds since the epoch, or null."""
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": key.state,
        "created": key.created,
        "signs_from": key.signs_from,
        "retired": key.retired,
    }
