"""``djoauth2 client try``: one authorization in a browser, with this command as the client."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from ..conf import text_of
from .asking import first_line, on_terminal
from .output import json_option, print_fields, print_json
from .running import Store

DEFAULT_ISSUER = "https://localhost"

_MAX_SECRET_LENGTH = 1000


@click.command("try")
@click.argument("client_id", metavar="ID")
@click.option(
    "--issuer",
    metavar="URL",
    envvar="DJOAUTH2_ISSUER",
    show_default=DEFAULT_ISSUER,
    show_envvar=True,
    help="The server's issuer. `djoauth2 --config FILE` may name it.",
)
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE",
    multiple=True,
    help="A scope to ask for; may be repeated. Without it: every scope that the client may ask for.",
)
@click.option(
    "--secret-stdin",
    is_flag=True,
    help="Read the client's secret from the first line of standard input.",
)
@click.option(
    "--cacert",
    metavar="FILE",
    type=click.File("rb"),
    help="Trust this certificate, as one of `djoauth2 certificate`. Without it: those of the system.",
)
@json_option
@click.pass_obj
def try_client(
    store: Store,
    client_id: str,
    issuer: str | None,
    scopes: tuple[str, ...],
    secret_stdin: bool,
    cacert: Any,
    as_json: bool,
) -> None:
    """Try a client in a browser.

    The command takes the client's place. It prints the address to open, receives the code at a redirect
    URI of the client on this machine, exchanges the code, and prints what the server answers. The tokens
    are real. On a terminal the command asks for the client's secret.
    """
    from twisted.internet import reactor

    from .trial import Trial

    issuer = issuer or text_of("issuer", store.file.get("issuer")) or DEFAULT_ISSUER
    secret, roots = _secret(secret_stdin), None if cacert is None else cacert.read()
    trial = Trial(reactor, issuer, client_id, secret, scopes, roots, partial(click.echo, err=as_json))
    answer = store.run(trial.walk)
    if as_json:
        print_json(answer)
    else:
        print_fields({name: str(value) for name, value in answer.items()})


def _secret(from_stdin: bool) -> str:
    if from_stdin:
        return first_line("secret", _MAX_SECRET_LENGTH)
    if not on_terminal():
        raise click.UsageError("there is no terminal to ask for the secret: use --secret-stdin")
    answer: str = click.prompt("Client secret", hide_input=True, err=True)
    return answer
