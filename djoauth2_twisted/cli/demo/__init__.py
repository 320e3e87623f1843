"""``djoauth2 demo``: the whole system on one machine, without preparation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..running import drive

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from .system import System

DEFAULT_PORT = 8443


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"The port on localhost.  [default: {DEFAULT_PORT}; with --once, any free port]",
)
@click.option("--once", is_flag=True, help="Run the whole flow once, print each step, and end.")
@click.option("--openid", is_flag=True, help="Let the application's users log in by OpenID Connect.")
def demo(port: int | None, once: bool, openid: bool) -> None:
    """Run the whole system on this machine.

    The demo needs no preparation. It makes a development certificate, a temporary database, a user, an
    administrator, two scopes and a client. It serves the authorization server, an example API and an
    example application over TLS.
    """
    from twisted.internet import reactor

    if port is None:
        port = 0 if once else DEFAULT_PORT
    with tempfile.TemporaryDirectory(prefix="djoauth2-demo-") as folder:
        drive(reactor, _demonstrate(reactor, Path(folder), port, once, openid))


async def _demonstrate(reactor: IReactorTime, folder: Path, port: int, once: bool, openid: bool) -> None:
    from twisted.internet.defer import Deferred

    from .openid_walk import OpenIDWalk
    from .system import start
    from .walk import Walk, walk

    system = await start(reactor, folder, port, openid=openid)
    try:
        if once:
            await walk(OpenIDWalk(system) if openid else Walk(system))
        else:
            click.echo(_invitation(system))
            # A signal cancels it.
            endless: Deferred[None] = Deferred()
            await endless
    finally:
        await system.stop()


def _invitation(system: System) -> str:
    return (
        f"Open {system.address}/ and log in:\n"
        f"    name      {system.username}\n"
        f"    password  {system.password}\n"
        "As the administrator:\n"
        f"    name      {system.admin_name}\n"
        f"    password  {system.admin_password}\n"
        "The browser will warn once, because the certificate is new and self-signed.\n"
        "Ctrl-C ends the demo and deletes its files."
    )
