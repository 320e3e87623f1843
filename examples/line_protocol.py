"""A protocol that is not HTTP, at port 8444: the first line is an access token.

In the folder of the README's Quickstart, beside its server:

    twistd -ny line_protocol.py
    echo $ACCESS_TOKEN | openssl s_client -quiet -connect localhost:8444
"""

from typing import Any

from twisted.application import service, strports
from twisted.cred import error, portal
from twisted.internet import protocol, reactor
from twisted.protocols import basic
from twisted.python.failure import Failure
from zope.interface import implementer

from djoauth2_twisted import AuthorizationServer, IResourceOwner
from djoauth2_twisted.cred import BearerToken, BearerTokenChecker
from djoauth2_twisted.models import ResourceOwner


@implementer(portal.IRealm)
class Names:
    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: object) -> Any:
        return IResourceOwner, ResourceOwner(avatarId.decode()), lambda: None


application = service.Application("greeting")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)
people = portal.Portal(Names(), [BearerTokenChecker(server, scopes=("user_info",))])


class Greeting(basic.LineOnlyReceiver):
    delimiter = b"\n"
    transport: Any

    def lineReceived(self, line: bytes) -> None:
        login = people.login(BearerToken(line.strip()), None, IResourceOwner)
        login.addCallbacks(self.greet, self.refuse)
        login.addCallback(lambda _: self.transport.loseConnection())

    def greet(self, avatar: tuple[Any, ResourceOwner, Any]) -> None:
        self.sendLine(f"Hello, {avatar[1].username}.".encode())

    def refuse(self, failure: Failure) -> None:
        self.sendLine(b"No." if failure.check(error.UnauthorizedLogin) else b"Later.")


factory = protocol.Factory.forProtocol(Greeting)
strports.service("ssl:8444:interface=127.0.0.1", factory).setServiceParent(application)
