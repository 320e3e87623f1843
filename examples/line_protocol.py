"""A protocol that is not HTTP, at port 8444: the first line is an access token.

In the folder of the README's Quickstart, beside its server:

    twistd -ny line_protocol.py
    echo $ACCESS_TOKEN | openssl s_client -quiet -connect localhost:8444
"""

from twisted.application import service, strports
from twisted.cred import error, portal
from twisted.internet import protocol, reactor
from twisted.protocols import basic
from zope.interface import Interface, implementer

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.cred import BearerToken, BearerTokenChecker


class IName(Interface):
    """Bytes to greet somebody by."""


@implementer(portal.IRealm)
class Names:
    def requestAvatar(self, avatarId, mind, *interfaces):
        return IName, avatarId, lambda: None


class Greeting(basic.LineOnlyReceiver):
    delimiter = b"\n"

    def lineReceived(self, line):
        login = self.factory.portal.login(BearerToken(line.strip()), None, IName)
        login.addCallbacks(self.greet, self.refuse)
        login.addCallback(lambda _: self.transport.loseConnection())

    def greet(self, avatar):
        self.sendLine(b"Hello, " + avatar[1] + b".")

    def refuse(self, failure):
        self.sendLine(b"No." if failure.check(error.UnauthorizedLogin) else b"Later.")


application = service.Application("greeting")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)

factory = protocol.Factory.forProtocol(Greeting)
factory.portal = portal.Portal(Names(), [BearerTokenChecker(server, scopes=("user_info",))])
strports.service("ssl:8444:interface=127.0.0.1", factory).setServiceParent(application)
