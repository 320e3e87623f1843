"""People log in at our page, by the Portal that an application has already.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny host_portal.py

Open the Quickstart's address, and log in as bob with the password "secret".
"""

from typing import Any

from twisted.application import service, strports
from twisted.cred import checkers, portal
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web
from zope.interface import implementer

from djoauth2_twisted import AuthorizationServer, IResourceOwner
from djoauth2_twisted.models import ResourceOwner


@implementer(portal.IRealm)
class People:
    """A realm of the application's own; it may have avatars for other interfaces, too."""

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: object) -> Any:
        return IResourceOwner, ResourceOwner(avatarId.decode(), email="bob@example.com"), lambda: None


passwords = checkers.InMemoryUsernamePasswordDatabaseDontUse(bob=b"secret")
people = portal.Portal(People(), [passwords])

application = service.Application("portal")
issuer = "https://localhost:8443"
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer=issuer, portal=people)
server.setServiceParent(application)
root = resource.Resource()
root.putChild(b"oauth2", server.resource())
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
