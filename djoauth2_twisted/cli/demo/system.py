"""The servers of the demo, set up as in an application that embeds the authorization server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS
from twisted.web.resource import Resource

from ...conf import Settings
from ...credentials import random_string
from ...errors import ConfigurationError
from ...models import Client
from ...server import AuthorizationServer
from ...web.endpoint import Endpoint
from ...web.site import LimitedSite
from ..certificate import make_certificate, write_new
from .client import ExampleClient
from .front_page import FrontPage

USERNAME, ADMIN_NAME = "alice", "admin"


@frozen
class System:
    """A running demo: its address, its user, its administrator and its registered client."""

    address: str
    username: str
    password: str = field(repr=False)
    admin_name: str
    admin_password: str = field(repr=False)
    client: Client
    client_secret: str = field(repr=False)
    agent: Agent
    server: AuthorizationServer
    listening: IListeningPort

    async def stop(self) -> None:
        """Stop listening, and close the store."""
        await maybeDeferred(self.listening.stopListening)
        await self.server.stopService()


async def start(reactor: IReactorTime, folder: Path, port: int, *, openid: bool = False) -> System:
    """Start the demo with its files in a folder.

    :param port: 0 for any free port.
    :param openid: whether the application's users log in by OpenID Connect.
    :raises ConfigurationError: the port is taken or forbidden.
    """
    certificate = folder / "server.pem"
    write_new(str(certificate), make_certificate("localhost"))
    site = LimitedSite(Resource(), reactor)
    listening = await _listen(reactor, certificate, port, site)
    host: Any = listening.getHost()
    address = f"https://localhost:{host.port}"
    database = f"sqlite:///{folder / 'demo.db'}"
    settings = Settings(openid=openid)
    server = AuthorizationServer.from_url(reactor, database, issuer=address, settings=settings)
    server.startService()
    await server.when_ready()
    password, admin_password = random_string(12), random_string(12)
    await _add_users(server, password, admin_password)
    client, client_secret = await _add_client(server, address)
    agent = _trusting_agent(reactor, certificate)
    application = ExampleClient(address, client.client_id, client_secret, agent, openid=openid)
    root: Any = server.root()
    root.putChild(b"app", application.app.resource())
    users = (USERNAME, password, ADMIN_NAME, admin_password)
    system = System(address, *users, client, client_secret, agent, server, listening)
    root.putChild(b"", Endpoint(FrontPage(system), server.settings, name="home"))
    site.resource = root
    return system


async def _listen(
    reactor: IReactorTime, certificate: Path, port: int, site: LimitedSite
) -> IListeningPort:
    pem = quoteStringArgument(str(certificate))
    endpoint = serverFromString(reactor, f"ssl:{port}:interface=127.0.0.1:privateKey={pem}")
    try:
        listening: IListeningPort = await endpoint.listen(site)
    except CannotListenError as error:
        reason = getattr(error.socketError, "strerror", None) or error.socketError
        raise ConfigurationError(f"cannot listen at port {port}: {reason}") from None
    return listening


async def _add_users(server: AuthorizationServer, password: str, admin_password: str) -> None:
    administration = server.administration
    await administration.add_user(
        USERNAME, password, first_name="Alice", last_name="Example", email="alice@example.com"
    )
    await administration.add_user(ADMIN_NAME, admin_password, admin=True)


async def _add_client(server: AuthorizationServer, address: str) -> tuple[Client, str]:
    administration = server.administration
    await administration.add_scope("user_info", "See your name and your e-mail address.")
    await administration.add_scope("photos", "See your photos.")
    return await administration.add_client(
        "Holiday Prints",
        (f"{address}/app/callback",),
        "An example application, which shows what it learns about you when you accept.",
        homepage_url=f"{address}/app/",
        post_logout_redirect_uris=(f"{address}/app/",) if server.settings.openid else (),
        developer="djoauth2_twisted",
    )


def _trusting_agent(reactor: IReactorTime, certificate: Path) -> Agent:
    """An agent that trusts the demo's certificate and no other."""
    roots = trustRootFromCertificates([Certificate.loadPEM(certificate.read_bytes())])
    return Agent(reactor, BrowserLikePolicyForHTTPS(roots))
