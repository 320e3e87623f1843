"""`twisted.web.guard` with passwords, as a site may have it already, and also access tokens.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny passwords_and_tokens.py
    curl --cacert server.pem -u bob:secret https://localhost:8443/home
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" https://localhost:8443/home
"""

from typing import Any

from twisted.application import service, strports
from twisted.cred import checkers, portal
from twisted.internet import reactor
from twisted.web import guard, resource, static
from twisted.web import server as web
from zope.interface import implementer

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.cred import BearerCredentialFactory, BearerTokenChecker


@implementer(portal.IRealm)
class Homes:
    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: object) -> Any:
        home = static.Data(b"The home of " + avatarId + b".\n", "text/plain")
        return resource.IResource, home, lambda: None


application = service.Application("homes")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)

passwords = checkers.InMemoryUsernamePasswordDatabaseDontUse(bob=b"secret")
tokens = BearerTokenChecker(server, scopes=("user_info",))
schemes = [guard.BasicCredentialFactory(b"homes"), BearerCredentialFactory(server.settings)]
home = guard.HTTPAuthSessionWrapper(portal.Portal(Homes(), [passwords, tokens]), schemes)

root = resource.Resource()
root.putChild(b"oauth2", server.resource())
root.putChild(b"home", home)
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
