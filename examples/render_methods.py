"""A resource of your own, of which one method is open and another is guarded.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny render_methods.py
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" -d Hi https://localhost:8443/wall
"""

from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer, oauth_scope
from djoauth2_twisted.models import AccessToken

application = service.Application("wall")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)


class Wall(resource.Resource):
    isLeaf = True
    lines = b""

    def render_GET(self, request: web.Request) -> bytes:
        return self.lines

    @oauth_scope("user_info", verifier=server)
    def render_POST(self, access_token: AccessToken, request: web.Request) -> bytes:
        assert request.content is not None  # Twisted has read it.
        self.lines += f"{access_token.user.username}: ".encode() + request.content.read(200) + b"\n"
        return self.lines


root = resource.Resource()
root.putChild(b"oauth2", server.resource())
root.putChild(b"wall", Wall())
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
